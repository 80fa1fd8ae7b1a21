/* SPDX-License-Identifier: MIT */
/* Two segments of 3.13, made by hand: one page of 1 KiB blocks, in slice 1 of the first. */
#include "../unit.h"
#include "cpython/allocators/mimalloc.h"
#include "layout/versions.h"
#include <sys/mman.h>

#define SEGMENT_BYTES (32 << 20)
#define SLICE_BYTES   (64 << 10)
#define SLICES        512
#define SEGMENT_AT    0x7f0000000000ULL
#define PAGE_AT       (SEGMENT_AT + SLICE_BYTES)
#define COOKIE        0x1234567890abcdefULL
#define HEAP_AT       0x10000ULL
#define THREAD_AT     0x20000ULL
#define BLOCK         1024
#define ROOM          64

struct segment_memory {
	uint8_t *bytes; /* of both segments */
	uint8_t heap[4096];
	uint8_t thread[1 << 14]; /* of a free-threaded build */
	struct python python;
	struct module module;
	struct image image;
	struct mimalloc mimalloc;
	struct gaps gaps;
	uint64_t free[1];
};

static void put_field(const struct layout *layout, uint8_t *structure, enum field_id id,
		      uint64_t value)
{
	const struct field *field = &layout->fields[id];

	assert_true(field->size <= sizeof(value));
	memcpy(structure + field->offset, &value, field->size);
}

static uint8_t *slice(struct segment_memory *memory, unsigned index)
{
	const struct layout *layout = &memory->python.layout;

	return memory->bytes + layout_offset(layout, FIELD_MI_SEGMENT_SLICES) +
	       index * layout_offset(layout, SIZE_MI_PAGE);
}

static void put_segment(struct segment_memory *memory, uint64_t at, uint64_t cookie)
{
	const struct layout *layout = &memory->python.layout;
	uint8_t *bytes = memory->bytes + (at - SEGMENT_AT);

	put_field(layout, bytes, FIELD_MI_SEGMENT_COOKIE, at ^ cookie);
	put_field(layout, bytes, FIELD_MI_SEGMENT_SLICE_COUNT, SLICES);
	put_field(layout, bytes, FIELD_MI_SEGMENT_ENTRIES, SLICES);
	put_field(layout, bytes, FIELD_MI_SEGMENT_INFO_SLICES, 1);
	put_field(layout, bytes, FIELD_MI_SEGMENT_USED, 1);
	put_field(layout, bytes, FIELD_MI_SEGMENT_THREAD, 64);
}

static const struct version_table *table_of(const char *name)
{
	size_t i = 0;

	while (strcmp(version_tables[i]->name, name) != 0)
		i++;
	return version_tables[i];
}

/* A page of which `capacity` blocks were handed out and `used` count as used. */
static void put_page(struct segment_memory *memory, uint64_t capacity, uint64_t used)
{
	const struct layout *layout = &memory->python.layout;
	uint8_t *page = slice(memory, 1);

	put_field(layout, page, FIELD_MI_PAGE_SLICES, 1);
	put_field(layout, page, FIELD_MI_PAGE_BLOCK_BYTES, BLOCK);
	put_field(layout, page, FIELD_MI_PAGE_RESERVED, ROOM);
	put_field(layout, page, FIELD_MI_PAGE_CAPACITY, capacity);
	put_field(layout, page, FIELD_MI_PAGE_USED, used);
	put_field(layout, page, FIELD_MI_PAGE_HEAP, HEAP_AT);
	if (layout_has(layout, FIELD_MI_PAGE_START))
		put_field(layout, page, FIELD_MI_PAGE_START, PAGE_AT);
	put_field(layout, slice(memory, 2), FIELD_MI_PAGE_SLICES, SLICES - 2);
}

static void set_up_for(struct segment_memory *memory, const char *version, uint64_t capacity,
		       uint64_t used)
{
	/* not calloc(), which touches every page under meson's MALLOC_PERTURB_ */
	void *bytes = mmap(NULL, 2UL * SEGMENT_BYTES, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(bytes, MAP_FAILED);
	*memory = (struct segment_memory){ .bytes = bytes };
	version_layout(table_of(version), EM_X86_64, &memory->python.layout);
	memory->python.module = &memory->module;
	memory->python.memory = (struct memory){ &memory->image, &memory->python.layout };
	add_segment(&memory->image, HEAP_AT, sizeof(memory->heap), memory->heap);
	add_segment(&memory->image, THREAD_AT, sizeof(memory->thread), memory->thread);
	add_segment(&memory->image, SEGMENT_AT, 2ULL * SEGMENT_BYTES, memory->bytes);
	assert_true(image_build(&memory->image, &memory->gaps));
	put_segment(memory, SEGMENT_AT, COOKIE);
	put_page(memory, capacity, used);
}

static void set_up(struct segment_memory *memory, uint64_t capacity, uint64_t used)
{
	set_up_for(memory, "3.13.0", capacity, used);
}

static void tear_down(struct segment_memory *memory)
{
	mimalloc_deinit(&memory->mimalloc);
	image_deinit(&memory->image);
	munmap(memory->bytes, 2UL * SEGMENT_BYTES);
}

static void load(struct segment_memory *memory)
{
	assert_null(mimalloc_load(&memory->mimalloc, &memory->python, &memory->gaps));
}

/* Links block after block of `list`, which ends in 0, and returns the first. */
static vaddr put_list(struct segment_memory *memory, const unsigned *list)
{
	for (size_t i = 0; list[i]; i++)
		put_u64(memory->bytes + SLICE_BYTES + list[i] * BLOCK,
			list[i + 1] ? PAGE_AT + list[i + 1] * BLOCK : 0);
	return PAGE_AT + list[0] * BLOCK;
}

static void expect_page(struct segment_memory *memory, unsigned used, uint64_t free,
			unsigned delayed, bool damaged)
{
	struct mimalloc_page *page = memory->mimalloc.pages.items;

	assert_int_equal(memory->mimalloc.pages.count, 1);
	mimalloc_walk_page(&memory->python.memory, page, memory->free, &memory->gaps);
	assert_int_equal(page->used, used);
	assert_int_equal(page->delayed, delayed);
	assert_int_equal(page->damaged, damaged);
	assert_int_equal(memory->free[0], free);
	assert_int_equal(memory->gaps.kinds[GAP_PAGE_DAMAGED].count, damaged);
}

static void reads_a_sound_page(void **state)
{
	static const unsigned own[] = { 3, 1, 0 }, local[] = { 5, 0 }, others[] = { 2, 7, 0 };
	struct segment_memory memory;
	const struct layout *layout = &memory.python.layout;

	(void)state;
	set_up(&memory, 10, 7);
	put_field(layout, slice(&memory, 1), FIELD_MI_PAGE_FREE, put_list(&memory, own));
	put_field(layout, slice(&memory, 1), FIELD_MI_PAGE_LOCAL_FREE, put_list(&memory, local));
	/* with a flag in the lowest bits */
	put_field(layout, slice(&memory, 1), FIELD_MI_PAGE_THREAD_FREE,
		  put_list(&memory, others) | 2);
	load(&memory);
	assert_int_equal(memory.mimalloc.segments.count, 1);
	assert_int_equal(memory.mimalloc.heaps.count, 1);
	assert_int_equal(memory.mimalloc.heaps.items[0].at, HEAP_AT);
	expect_page(&memory, 5, 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 7, 2, false);
	mimalloc_sum_heaps(&memory.mimalloc);
	assert_int_equal(memory.mimalloc.heaps.items[0].used_bytes, 5 * BLOCK);
	assert_int_equal(memory.mimalloc.heaps.items[0].free_bytes, (ROOM - 5) * BLOCK);
	tear_down(&memory);
}

static void finds_pages_at_borders(void **state)
{
	struct segment_memory memory;

	(void)state;
	set_up(&memory, 10, 10);
	load(&memory);
	assert_null(mimalloc_find_page(&memory.mimalloc, PAGE_AT - 1));
	assert_ptr_equal(mimalloc_find_page(&memory.mimalloc, PAGE_AT),
			 memory.mimalloc.pages.items);
	assert_ptr_equal(mimalloc_find_page(&memory.mimalloc, PAGE_AT + SLICE_BYTES - 1),
			 memory.mimalloc.pages.items);
	assert_null(mimalloc_find_page(&memory.mimalloc, PAGE_AT + SLICE_BYTES));
	assert_null(mimalloc_find_page(&memory.mimalloc, SEGMENT_AT - 1));
	assert_null(mimalloc_find_page(&memory.mimalloc, UINT64_MAX));
	tear_down(&memory);
}

static void distrusts_free_lists(void **state)
{
	static const uint64_t bad[] = { PAGE_AT + 1, PAGE_AT - BLOCK, PAGE_AT + 10 * BLOCK,
					SEGMENT_AT, UINT64_MAX };
	static const unsigned loop[] = { 3, 1, 3, 0 };
	struct segment_memory memory;
	const struct layout *layout = &memory.python.layout;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		set_up(&memory, 10, 9);
		put_field(layout, slice(&memory, 1), FIELD_MI_PAGE_FREE, bad[i]);
		load(&memory);
		expect_page(&memory, 10, 0, 0, true);
		tear_down(&memory);
	}
	set_up(&memory, 10, 8);
	put_list(&memory, loop);
	put_u64(memory.bytes + SLICE_BYTES + BLOCK, PAGE_AT + 3 * BLOCK);
	put_u64(memory.bytes + SLICE_BYTES + 3 * BLOCK, PAGE_AT + BLOCK);
	put_field(layout, slice(&memory, 1), FIELD_MI_PAGE_FREE, PAGE_AT + BLOCK);
	load(&memory);
	expect_page(&memory, 8, 1 << 1 | 1 << 3, 0, true);
	tear_down(&memory);
	/* a list that is whole, but not of as many blocks as the page says */
	set_up(&memory, 10, 7);
	load(&memory);
	expect_page(&memory, 10, 0, 0, true);
	tear_down(&memory);
}

/* What makes the header of the page nonsense, and whether the segment still has one. */
static const struct {
	enum field_id field;
	uint64_t value;
} bad_pages[] = {
	{ FIELD_MI_PAGE_RESERVED, ROOM + 1 },           { FIELD_MI_PAGE_RESERVED, 0 },
	{ FIELD_MI_PAGE_CAPACITY, ROOM + 1 },           { FIELD_MI_PAGE_BLOCK_BYTES, BLOCK + 1 },
	{ FIELD_MI_PAGE_BLOCK_BYTES, 2 * SLICE_BYTES }, { FIELD_MI_PAGE_BLOCK_BYTES, 4 },
};

static void distrusts_headers(void **state)
{
	struct segment_memory memory;
	const struct layout *layout = &memory.python.layout;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_pages); i++) {
		set_up(&memory, 10, 10);
		put_field(layout, slice(&memory, 1), bad_pages[i].field, bad_pages[i].value);
		load(&memory);
		assert_int_equal(memory.mimalloc.pages.count, 1);
		assert_int_equal(memory.mimalloc.pages.items[0].count, 0);
		assert_int_equal(memory.gaps.kinds[GAP_PAGE_DAMAGED].count, 1);
		tear_down(&memory);
	}
	/* slices that reach over the segment's end, and none at all */
	for (uint64_t slices = 0; slices <= SLICES; slices += SLICES) {
		set_up(&memory, 10, 10);
		put_field(layout, slice(&memory, 1), FIELD_MI_PAGE_SLICES, slices);
		load(&memory);
		assert_int_equal(memory.mimalloc.segments.count, 1);
		assert_int_equal(memory.mimalloc.pages.count, 0);
		assert_true(memory.gaps.kinds[GAP_PAGE_DAMAGED].count > 0);
		tear_down(&memory);
	}
}

static void believes_only_segments_with_the_cookie(void **state)
{
	struct segment_memory memory;
	const struct layout *layout = &memory.python.layout;

	(void)state;
	/* the heap of the main thread is not known: of two cookies the first wins the vote */
	set_up(&memory, 10, 10);
	put_segment(&memory, SEGMENT_AT + SEGMENT_BYTES, COOKIE);
	put_field(layout, memory.bytes + SEGMENT_BYTES, FIELD_MI_SEGMENT_ENTRIES, SLICES + 1);
	load(&memory);
	assert_int_equal(memory.mimalloc.segments.count, 1);
	tear_down(&memory);
	/* nothing is used: it was given back */
	set_up(&memory, 10, 10);
	put_field(layout, memory.bytes, FIELD_MI_SEGMENT_USED, 0);
	load(&memory);
	assert_int_equal(memory.mimalloc.segments.count, 0);
	tear_down(&memory);
	/* copied from elsewhere */
	set_up(&memory, 10, 10);
	memcpy(memory.bytes + SEGMENT_BYTES, memory.bytes, 1 << 16);
	put_segment(&memory, SEGMENT_AT, COOKIE);
	load(&memory);
	assert_true(memory.mimalloc.segments.count <= 1);
	tear_down(&memory);
}

struct seen {
	unsigned count, last;
};

static void note_delayed(void *context, struct mimalloc_page *page, uint32_t index)
{
	struct seen *seen = context;

	(void)page;
	seen->count++;
	seen->last = index;
}

static void takes_back_what_others_freed(void **state)
{
	static const unsigned list[] = { 4, 6, 0 };
	struct segment_memory memory;
	const struct layout *layout = &memory.python.layout;
	struct seen seen = { 0 };

	(void)state;
	set_up(&memory, 10, 10);
	put_field(layout, memory.heap, FIELD_MI_HEAP_DELAYED_FREE, put_list(&memory, list));
	load(&memory);
	mimalloc_each_delayed(&memory.mimalloc, &memory.python.memory, memory.mimalloc.heaps.items,
			      note_delayed, &seen);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.last, 6);
	/* in a ring */
	put_u64(memory.bytes + SLICE_BYTES + 6 * BLOCK, PAGE_AT + 4 * BLOCK);
	mimalloc_each_delayed(&memory.mimalloc, &memory.python.memory, memory.mimalloc.heaps.items,
			      note_delayed, &seen);
	assert_int_equal(seen.count, 4);
	tear_down(&memory);
}

/* Gives the thread its heaps, of which that for `use` says that it has a page. */
static vaddr put_heaps(struct segment_memory *memory, struct thread_state *thread, uint8_t use)
{
	const struct layout *layout = &memory->python.layout;
	uint32_t first = layout_offset(layout, FIELD_THREAD_MI_HEAPS);
	uint32_t size = layout_offset(layout, SIZE_MI_HEAP);

	assert_true(first + (MIMALLOC_USES - MIMALLOC_MEM) * size <= sizeof(memory->thread));
	for (uint8_t i = MIMALLOC_MEM; i < MIMALLOC_USES; i++) {
		uint8_t *heap = memory->thread + first + (i - MIMALLOC_MEM) * size;

		put_field(layout, heap, FIELD_MI_HEAP_THREAD, 64);
		put_field(layout, heap, FIELD_MI_HEAP_PAGE_COUNT, i == use);
	}
	*thread = (struct thread_state){ .at = THREAD_AT };
	memory->python.threads.items = thread;
	memory->python.threads.count = 1;
	return THREAD_AT + first + (use - MIMALLOC_MEM) * size;
}

static void knows_the_heaps_of_threads(void **state)
{
	static const char *const versions[] = { "3.13.5t", "3.14.4t", "3.14.10t", "3.15.2t" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		struct segment_memory memory;
		const struct layout *layout = &memory.python.layout;
		struct thread_state thread;
		vaddr heap;

		set_up_for(&memory, versions[i], 10, 10);
		heap = put_heaps(&memory, &thread, MIMALLOC_GC);
		put_field(layout, slice(&memory, 1), FIELD_MI_PAGE_HEAP, heap);
		load(&memory);
		expect_page(&memory, 10, 0, 0, false);
		assert_int_equal(memory.mimalloc.heaps.count, 4);
		assert_int_equal(memory.mimalloc.pages.items[0].heap, MIMALLOC_GC - MIMALLOC_MEM);
		assert_int_equal(memory.mimalloc.heaps.items[2].use, MIMALLOC_GC);
		assert_int_equal(memory.gaps.kinds[GAP_PAGE_UNREADABLE].count, 0);
		tear_down(&memory);
		/* a page that is nowhere is not passed over */
		set_up_for(&memory, versions[i], 10, 10);
		put_heaps(&memory, &thread, MIMALLOC_OBJECT);
		put_field(layout, memory.bytes, FIELD_MI_SEGMENT_USED, 0);
		load(&memory);
		assert_int_equal(memory.mimalloc.segments.count, 0);
		assert_int_equal(memory.gaps.kinds[GAP_PAGE_UNREADABLE].count, 1);
		tear_down(&memory);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_sound_page),
		cmocka_unit_test(finds_pages_at_borders),
		cmocka_unit_test(distrusts_free_lists),
		cmocka_unit_test(distrusts_headers),
		cmocka_unit_test(believes_only_segments_with_the_cookie),
		cmocka_unit_test(takes_back_what_others_freed),
		cmocka_unit_test(knows_the_heaps_of_threads),
	};

	return RUN_TESTS(tests);
}
