/* SPDX-License-Identifier: MIT */
/* A main arena and its heap, made by hand. */
#include "../unit.h"
#include "malloc/glibc.h"

#define LIBC_AT    0x10000
#define LIBC_BYTES 0x2000
#define ARENA_AT   (LIBC_AT + 0x100)
#define HEAP_AT    0x100000
#define HEAP_SIZE  0x2000

struct process_memory {
	uint8_t libc[LIBC_BYTES], heap[HEAP_SIZE];
	uint64_t used; /* of the heap */
	struct module module;
	struct modules modules;
	struct image image;
	struct malloc_taken taken;
	struct malloc_map map;
	struct gaps gaps;
	const struct glibc_shape *shape;
};

static uint8_t *arena_word(struct process_memory *memory, uint64_t offset)
{
	return memory->libc + (ARENA_AT - LIBC_AT) + offset;
}

/* Appends a chunk; returns its address. */
static vaddr add_chunk(struct process_memory *memory, uint64_t size, uint64_t flags)
{
	vaddr at = HEAP_AT + memory->used;

	put_u64(memory->heap + memory->used + 8, size | flags);
	memory->used += size;
	return at;
}

static void set_up_shape(struct process_memory *memory, const struct glibc_shape *shape)
{
	*memory = (struct process_memory){ .shape = shape };
	for (unsigned i = 0; i < BIN_COUNT; i++) {
		vaddr bin = ARENA_AT + shape->bins + i * 16ULL - 16;

		put_u64(arena_word(memory, shape->bins + i * 16ULL), bin);
		put_u64(arena_word(memory, shape->bins + i * 16ULL + 8), bin);
	}
	put_u64(arena_word(memory, shape->next), ARENA_AT);
	put_u64(arena_word(memory, shape->system_bytes), HEAP_SIZE);
	memory->module = (struct module){
		.path = "/lib/libc.so.6",
		.start = LIBC_AT,
		.end = LIBC_AT + LIBC_BYTES,
		.status = MODULE_MISSING,
	};
	memory->modules.list.items = &memory->module;
	memory->modules.list.count = 1;
	add_segment(&memory->image, LIBC_AT, LIBC_BYTES, memory->libc);
	add_segment(&memory->image, HEAP_AT, HEAP_SIZE, memory->heap);
	assert_true(image_build(&memory->image, &memory->gaps));
}

static void set_up(struct process_memory *memory)
{
	set_up_shape(memory, &glibc_shapes[0]);
}

/* Ends the heap with its top chunk, and walks it. */
static void load(struct process_memory *memory)
{
	vaddr top = HEAP_AT + memory->used;

	put_u64(memory->heap + memory->used + 8, (HEAP_SIZE - memory->used) | PREVIOUS_IN_USE);
	put_u64(arena_word(memory, memory->shape->top), top);
	assert_null(malloc_load(&memory->map, &memory->image, &memory->modules, &memory->taken,
				&memory->gaps));
}

static void tear_down(struct process_memory *memory)
{
	malloc_unload(&memory->map);
	image_deinit(&memory->image);
}

static void expect_chunk(const struct process_memory *memory, size_t index, vaddr at, uint64_t size,
			 enum chunk_state state)
{
	const struct chunk *chunk = &memory->map.chunks.items[index];

	assert_true(index < memory->map.chunks.count);
	assert_int_equal(chunk->start, at + CHUNK_HEADER);
	assert_int_equal(chunk->size, size);
	assert_int_equal(chunk->state, state);
}

static void walks_a_sound_heap(void **state)
{
	struct process_memory memory;
	const struct heap *heap;
	vaddr first, second, third;

	(void)state;
	set_up(&memory);
	first = add_chunk(&memory, 32, PREVIOUS_IN_USE);
	second = add_chunk(&memory, 1040, PREVIOUS_IN_USE);
	third = add_chunk(&memory, 48, 0); /* the second is free */
	load(&memory);
	assert_string_equal(memory.map.found, "search by structure");
	assert_int_equal(memory.map.chunks.count, 4);
	expect_chunk(&memory, 0, first, 24, CHUNK_USED);
	expect_chunk(&memory, 1, second, 1032, CHUNK_FREE);
	expect_chunk(&memory, 2, third, 40, CHUNK_USED);
	expect_chunk(&memory, 3, third + 48, HEAP_SIZE - 1120 - 16, CHUNK_TOP);
	assert_int_equal(memory.gaps.kinds[GAP_HEAP_DAMAGED].count, 0);

	heap = malloc_find_heap(&memory.map, HEAP_AT);
	assert_non_null(heap);
	assert_null(malloc_find_heap(&memory.map, HEAP_AT - 1));
	assert_null(malloc_find_heap(&memory.map, HEAP_AT + HEAP_SIZE));
	assert_int_equal(malloc_find_chunk(&memory.map, heap, first + 15), SIZE_MAX);
	assert_int_equal(malloc_find_chunk(&memory.map, heap, first + 16), 0);
	assert_int_equal(malloc_find_chunk(&memory.map, heap, first + 39), 0);
	assert_int_equal(malloc_find_chunk(&memory.map, heap, second + 16), 1);
	tear_down(&memory);
}

static void goes_on_behind_damage(void **state)
{
	static const uint64_t sizes[] = {
		0, 8, 16, 33 << 4 | 8, 1 << 20, IS_MMAPPED | 64, (uint64_t)-16
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct process_memory memory;
		vaddr bad;

		set_up(&memory);
		for (int j = 0; j < 20; j++)
			add_chunk(&memory, 48, PREVIOUS_IN_USE);
		bad = add_chunk(&memory, 64, PREVIOUS_IN_USE);
		for (int j = 0; j < 20; j++)
			add_chunk(&memory, 48, PREVIOUS_IN_USE);
		put_u64(memory.heap + (bad - HEAP_AT) + 8, sizes[i]);
		load(&memory);
		assert_int_equal(memory.gaps.kinds[GAP_HEAP_DAMAGED].count, 1);
		assert_int_equal(memory.gaps.kinds[GAP_HEAP_DAMAGED].first, bad);
		assert_int_equal(memory.gaps.kinds[GAP_HEAP_DAMAGED].bytes, 64);
		assert_int_equal(memory.map.heaps.items[0].damaged, 64);
		assert_int_equal(memory.map.chunks.count, 41);
		tear_down(&memory);
	}
}

static void tells_the_shapes_of_arenas_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < GLIBC_SHAPES; i++) {
		struct process_memory memory;

		set_up_shape(&memory, &glibc_shapes[i]);
		add_chunk(&memory, 32, PREVIOUS_IN_USE);
		load(&memory);
		assert_ptr_equal(memory.map.shape, &glibc_shapes[i]);
		assert_int_equal(memory.map.main_arena, ARENA_AT);
		assert_int_equal(memory.map.chunks.count, 2);
		tear_down(&memory);
	}
}

/* The cache of a thread in glibc 2.42, behind `first`: two chunks in one bin, none in the others.
 */
static void marks_caches_that_count_free_slots(void **state)
{
	enum { BINS = 76, ENTRIES = BINS * 2, SLOTS = 16 };

	(void)state;
	for (int broken = 0; broken < 2; broken++) {
		enum chunk_state expected = broken ? CHUNK_USED : CHUNK_TCACHE;
		struct process_memory memory;
		vaddr first, second, cache;
		uint8_t *bytes;

		set_up_shape(&memory, &glibc_shapes[1]);
		first = add_chunk(&memory, 48, PREVIOUS_IN_USE);
		second = add_chunk(&memory, 48, PREVIOUS_IN_USE);
		cache = add_chunk(&memory, 0x300, PREVIOUS_IN_USE);
		bytes = memory.heap + (cache - HEAP_AT) + CHUNK_HEADER;
		for (int i = 0; i < BINS; i++)
			bytes[2 * i] = SLOTS;
		bytes[2] = (uint8_t)(SLOTS - 2 + broken);
		put_u64(bytes + ENTRIES + 8, first + CHUNK_HEADER);
		put_u64(memory.heap + (first - HEAP_AT) + 16,
			(first + CHUNK_HEADER) >> 12 ^ (second + CHUNK_HEADER));
		put_u64(memory.heap + (second - HEAP_AT) + 16, (second + CHUNK_HEADER) >> 12);
		load(&memory);
		expect_chunk(&memory, 0, first, 40, expected);
		expect_chunk(&memory, 1, second, 40, expected);
		assert_int_equal(memory.map.mangled, !broken);
		tear_down(&memory);
	}
}

static void marks_fastbins_and_survives_loops(void **state)
{
	struct process_memory memory;
	vaddr first, second;

	(void)state;
	for (int loop = 0; loop < 2; loop++) {
		set_up(&memory);
		first = add_chunk(&memory, 32, PREVIOUS_IN_USE);
		second = add_chunk(&memory, 32, PREVIOUS_IN_USE);
		put_u64(arena_word(&memory, memory.shape->fastbins), first);
		put_u64(memory.heap + 16, second);
		put_u64(memory.heap + 48, loop ? first : 0);
		load(&memory);
		expect_chunk(&memory, 0, first, 24, CHUNK_FASTBIN);
		expect_chunk(&memory, 1, second, 24, CHUNK_FASTBIN);
		assert_int_equal(memory.gaps.kinds[GAP_HEAP_LIST_DAMAGED].count, loop);
		tear_down(&memory);
	}
}

static void leaves_a_ring_of_arenas_that_misses_the_first(void **state)
{
	struct process_memory memory;
	vaddr fake = LIBC_AT + 0x1000;

	(void)state;
	set_up(&memory);
	put_u64(arena_word(&memory, memory.shape->next), fake);
	put_u64(memory.libc + (fake - LIBC_AT) + memory.shape->next - 8, 0);
	put_u64(memory.libc + (fake - LIBC_AT) + memory.shape->next, fake);
	load(&memory);
	assert_int_equal(memory.map.arenas.count, 2);
	assert_int_equal(memory.gaps.kinds[GAP_HEAP_LIST_DAMAGED].count, 1);
	tear_down(&memory);
}

static void leaves_memory_of_others_alone(void **state)
{
	struct range arena = { HEAP_AT + 0x1000, HEAP_AT + 0x1800 };
	struct process_memory memory;

	(void)state;
	set_up(&memory);
	memory.taken.ranges.items = &arena;
	memory.taken.ranges.count = 1;
	add_chunk(&memory, 32, PREVIOUS_IN_USE);
	load(&memory);
	assert_int_equal(memory.map.heaps.count, 0);
	assert_int_equal(memory.gaps.kinds[GAP_HEAP_DAMAGED].count, 1);
	tear_down(&memory);
}

static void reports_what_cannot_be_walked(void **state)
{
	struct process_memory memory;

	(void)state;
	set_up(&memory);
	memory.module.path = "/lib/libm.so.6";
	load(&memory);
	assert_null(memory.map.found);
	assert_int_equal(memory.map.chunks.count, 0);
	assert_int_equal(memory.gaps.kinds[GAP_MALLOC_UNKNOWN].bytes, HEAP_SIZE);
	tear_down(&memory);
}

static void tells_another_allocator_by_what_its_data_leads_to(void **state)
{
	struct process_memory memory;

	(void)state;
	set_up(&memory);
	memory.module.path = "/lib/libjemalloc.so.2";
	load(&memory); /* its data has the address of the top chunk */
	assert_null(memory.map.found);
	assert_int_equal(memory.map.foreign.count, 1);
	assert_int_equal(memory.map.foreign.items[0].kind, FOREIGN_JEMALLOC);
	assert_int_equal(memory.map.foreign.items[0].start, HEAP_AT);
	assert_int_equal(memory.map.foreign.items[0].end, HEAP_AT + HEAP_SIZE);
	assert_true(malloc_is_unwalked(&memory.map, HEAP_AT));
	assert_false(malloc_is_unwalked(&memory.map, LIBC_AT));
	tear_down(&memory);
}

static void keeps_blocks_that_are_known_between_its_own(void **state)
{
	const struct chunk known[] = {
		{ HEAP_AT + 64, 100, CHUNK_USED, BEGINS_HERE },
		{ HEAP_AT + 168, 8, CHUNK_USED, BEGINS_NOWHERE },
	};
	struct process_memory memory;
	const struct heap *heap;

	(void)state;
	set_up(&memory);
	memory.module.path = "/lib/libjemalloc.so.2";
	load(&memory);
	assert_true(malloc_add_known(&memory.map, known, 2));
	heap = malloc_find_heap(&memory.map, HEAP_AT + 64);
	assert_non_null(heap);
	assert_int_equal(heap->kind, HEAP_FOREIGN);
	assert_int_equal(malloc_find_chunk(&memory.map, heap, HEAP_AT + 163), 0);
	assert_int_equal(malloc_find_chunk(&memory.map, heap, HEAP_AT + 164), SIZE_MAX);
	assert_int_equal(malloc_find_chunk(&memory.map, heap, HEAP_AT + 175), 1);
	assert_int_equal(malloc_find_chunk(&memory.map, heap, HEAP_AT), SIZE_MAX);
	tear_down(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_a_sound_heap),
		cmocka_unit_test(goes_on_behind_damage),
		cmocka_unit_test(tells_the_shapes_of_arenas_apart),
		cmocka_unit_test(marks_caches_that_count_free_slots),
		cmocka_unit_test(marks_fastbins_and_survives_loops),
		cmocka_unit_test(leaves_a_ring_of_arenas_that_misses_the_first),
		cmocka_unit_test(leaves_memory_of_others_alone),
		cmocka_unit_test(reports_what_cannot_be_walked),
		cmocka_unit_test(tells_another_allocator_by_what_its_data_leads_to),
		cmocka_unit_test(keeps_blocks_that_are_known_between_its_own),
	};

	return RUN_TESTS(tests);
}
