/* SPDX-License-Identifier: MIT */
/*
 * Segments lie at multiples of their size, and each holds its own address xored with a cookie of
 * the process: that finds them all, those of exited threads too, and no word of a list has to be
 * trusted for it.
 */
#include "mimalloc.h"

#include <stdlib.h>

#include "../../base/bisect.h"
#include "../../base/cleanup.h"
#include "../../base/id_map.h"

#define SLICES_MAX (1ULL << 30)

/* What it takes to load. */
struct loader {
	struct mimalloc *mimalloc;
	const struct python *python;
	const struct memory *memory;
	struct gaps *gaps;
	uint64_t segment_bytes, slice_bytes;
	struct id_map heaps; /* address, or 1 + use of abandoned pages → index */
};

/* Reads the header at `at`; false when it contradicts itself, or is of no segment in use. */
static bool read_segment(const struct loader *loader, vaddr at, struct mimalloc_segment *segment,
			 uint64_t *cookie)
{
	const struct layout *layout = loader->memory->layout;
	const uint8_t *bytes = memory_struct(loader->memory, at, SIZE_MI_SEGMENT);
	uint64_t slices, entries, info, used, room = loader->segment_bytes / loader->slice_bytes;

	if (!bytes)
		return false;
	slices = field_load(layout, bytes, FIELD_MI_SEGMENT_SLICE_COUNT);
	entries = field_load(layout, bytes, FIELD_MI_SEGMENT_ENTRIES);
	info = field_load(layout, bytes, FIELD_MI_SEGMENT_INFO_SLICES);
	used = field_load(layout, bytes, FIELD_MI_SEGMENT_USED);
	*cookie = field_load(layout, bytes, FIELD_MI_SEGMENT_COOKIE) ^ at;
	if (!slices || slices > SLICES_MAX || entries != MIN(slices, room) || !info ||
	    info >= entries || !used || used > entries || !*cookie)
		return false;
	*segment = (struct mimalloc_segment){
		.start = at,
		.size = slices * loader->slice_bytes,
		.info_bytes = info * loader->slice_bytes,
		.thread_id = field_load(layout, bytes, FIELD_MI_SEGMENT_THREAD),
		.huge = field_load(layout, bytes, FIELD_MI_SEGMENT_KIND),
	};
	return (segment->huge || slices == room) &&
	       layout_offset(layout, FIELD_MI_SEGMENT_SLICES) +
			       entries * layout_offset(layout, SIZE_MI_PAGE) <=
		       layout_offset(layout, SIZE_MI_SEGMENT) &&
	       image_maps(loader->memory->image, at, segment->size);
}

/* Called for a segment that may be one, of the process with `cookie`. */
typedef bool segment_fn(struct loader *loader, const struct mimalloc_segment *segment,
			uint64_t cookie, void *context);

/* Calls `fn` for all candidates, by address, until it returns false. */
static bool each_candidate(struct loader *loader, segment_fn *fn, void *context)
{
	const struct image *image = loader->memory->image;
	vaddr next = 0;

	for (size_t i = 0; i < image->runs.count; i++) {
		const struct image_run *run = &image->runs.items[i];
		vaddr at = MAX(next, round_up(run->start, loader->segment_bytes));

		while (at >= run->start && at < run->end) {
			struct mimalloc_segment segment = { .size = loader->segment_bytes };
			uint64_t cookie;

			if (read_segment(loader, at, &segment, &cookie) &&
			    !fn(loader, &segment, cookie, context))
				return false;
			if (at > UINT64_MAX - loader->segment_bytes)
				return true;
			next = at += loader->segment_bytes;
		}
	}
	return true;
}

/* Whether candidates agree on a cookie. */
struct vote {
	uint64_t cookie;
	uint64_t votes;
};

/* Boyer and Moore's vote: what most candidates say remains. */
static bool count_vote(struct loader *loader, const struct mimalloc_segment *segment,
		       uint64_t cookie, void *context)
{
	struct vote *vote = context;

	(void)loader;
	(void)segment;
	if (!vote->votes)
		vote->cookie = cookie;
	if (vote->cookie == cookie)
		vote->votes++;
	else
		vote->votes--;
	return true;
}

/* The cookie: that of the main thread's heap, or what the segments agree on. */
static bool find_cookie(struct loader *loader)
{
	struct mimalloc *mimalloc = loader->mimalloc;
	struct vote vote = { 0 };
	struct elf_symbol symbol;

	if (python_symbol(loader->python, "_mi_heap_main", &symbol) &&
	    memory_field(loader->memory, symbol.address, FIELD_MI_HEAP_COOKIE, &mimalloc->cookie)) {
		mimalloc->found = "symbol _mi_heap_main";
		return mimalloc->cookie;
	}
	each_candidate(loader, count_vote, &vote);
	mimalloc->cookie = vote.cookie;
	mimalloc->found = "search for segments";
	return vote.votes;
}

static uint32_t add_heap(struct loader *loader, const struct mimalloc_heap *heap, uint64_t key)
{
	uint32_t index = (uint32_t)loader->mimalloc->heaps.count;
	struct mimalloc_heap *added = vector_push(&loader->mimalloc->heaps);

	if (!added || !id_map_put(&loader->heaps, key, index))
		return MIMALLOC_HEAP_NONE;
	*added = *heap;
	return index;
}

/* In free-threaded builds each thread state has its heaps; others are met in pages. */
static bool add_thread_heaps(struct loader *loader)
{
	const struct memory *memory = loader->memory;
	const struct python *python = loader->python;

	for (size_t i = 0; loader->mimalloc->divided && i < python->threads.count; i++) {
		const struct thread_state *thread = &python->threads.items[i];
		vaddr at = memory_address(memory, thread->at, FIELD_THREAD_MI_HEAPS);

		for (uint8_t use = MIMALLOC_MEM; use < MIMALLOC_USES; use++) {
			struct mimalloc_heap heap = {
				.at = at + (use - 1) * (vaddr)layout_offset(memory->layout,
									    SIZE_MI_HEAP),
				.interpreter = thread->interpreter,
				.use = use,
			};

			/* a thread that has just begun has not set them up yet */
			if (!memory_field(memory, heap.at, FIELD_MI_HEAP_THREAD, &heap.thread_id) ||
			    !heap.thread_id)
				continue;
			if (add_heap(loader, &heap, heap.at) == MIMALLOC_HEAP_NONE)
				return false;
		}
	}
	return true;
}

/* The heap of a page, found or added. */
static uint32_t heap_of_page(struct loader *loader, const uint8_t *page)
{
	const struct layout *layout = loader->memory->layout;
	struct mimalloc_heap heap = { .at = field_load(layout, page, FIELD_MI_PAGE_HEAP) };
	uint64_t key, use = field_load(layout, page, FIELD_MI_PAGE_TAG) + MIMALLOC_MEM;
	uint32_t index;

	heap.use = loader->mimalloc->divided && use < MIMALLOC_USES ? (uint8_t)use : MIMALLOC_ANY;
	if (heap.at &&
	    !memory_field(loader->memory, heap.at, FIELD_MI_HEAP_THREAD, &heap.thread_id))
		heap.at = 0;
	key = heap.at ? heap.at : 1U + heap.use;
	index = id_map_find(&loader->heaps, key);
	return index == ID_NONE ? add_heap(loader, &heap, key) : index;
}

/* Bytes between a page's start and its first block: 2.1.2 Objects/mimalloc/segment.c,
 * _mi_segment_page_start_from_slice(). Later ones say where the first block is. */
static uint64_t page_padding(uint64_t block_bytes)
{
	return block_bytes <= 64 ? 3 * block_bytes : block_bytes <= 512 ? block_bytes : 0;
}

/* Where the blocks are of the page whose mi_page_t is at `bytes`; false when it makes no sense. */
static bool read_blocks(const struct loader *loader, const uint8_t *bytes,
			struct mimalloc_page *page)
{
	const struct layout *layout = loader->memory->layout;
	vaddr end = page->span + page->span_bytes;
	uint64_t reserved = field_load(layout, bytes, FIELD_MI_PAGE_RESERVED);
	uint64_t capacity = field_load(layout, bytes, FIELD_MI_PAGE_CAPACITY);

	page->block_bytes = field_load(layout, bytes, FIELD_MI_PAGE_BLOCK_BYTES);
	page->start = layout_has(layout, FIELD_MI_PAGE_START)
			      ? field_load(layout, bytes, FIELD_MI_PAGE_START)
			      : page->span + page_padding(page->block_bytes);
	if (page->start < page->span || page->start >= end || capacity > reserved || !reserved)
		return false;
	/* MI_HUGE_BLOCK_SIZE stands for all that is as large or larger */
	if (layout->fields[FIELD_MI_PAGE_BLOCK_BYTES].size == 4 && page->block_bytes >= 1U << 31)
		page->block_bytes = end - page->start;
	if (!page->block_bytes || page->block_bytes % sizeof(vaddr) ||
	    reserved > (end - page->start) / page->block_bytes)
		return false;
	page->count = (uint32_t)reserved;
	page->carved = (uint32_t)capacity;
	page->used = (uint32_t)MIN(field_load(layout, bytes, FIELD_MI_PAGE_USED), capacity);
	return true;
}

static bool add_page(struct loader *loader, const struct mimalloc_segment *segment,
		     const uint8_t *bytes, uint64_t index, uint64_t slices)
{
	vaddr span = segment->start + index * loader->slice_bytes;
	struct mimalloc_page page = {
		.at = segment->start +
		      layout_offset(loader->memory->layout, FIELD_MI_SEGMENT_SLICES) +
		      index * layout_offset(loader->memory->layout, SIZE_MI_PAGE),
		.span = span,
		.span_bytes =
			MIN(slices * loader->slice_bytes, segment->start + segment->size - span),
	};
	struct mimalloc_page *added;

	page.readable = image_at(loader->memory->image, span, page.span_bytes);
	page.damaged = !read_blocks(loader, bytes, &page);
	if (page.damaged || !page.readable) {
		gap_add(loader->gaps, page.damaged ? GAP_PAGE_DAMAGED : GAP_PAGE_UNREADABLE, span,
			page.span_bytes);
		page.count = page.carved = page.used = 0;
	}
	page.heap = heap_of_page(loader, bytes);
	added = vector_push(&loader->mimalloc->pages);
	if (added)
		*added = page;
	return added && page.heap != MIMALLOC_HEAP_NONE;
}

/* Adds the pages of a segment; false when out of memory. A run of slices has its length in the
 * first one; those of free runs have block size 0. */
static bool add_pages(struct loader *loader, struct mimalloc_segment *segment)
{
	const struct layout *layout = loader->memory->layout;
	const uint8_t *bytes = memory_struct(loader->memory, segment->start, SIZE_MI_SEGMENT);
	uint64_t entries = field_load(layout, bytes, FIELD_MI_SEGMENT_ENTRIES), slices;

	segment->pages = (uint32_t)loader->mimalloc->pages.count;
	for (uint64_t i = segment->info_bytes / loader->slice_bytes; i < entries; i += slices) {
		const uint8_t *slice = bytes + layout_offset(layout, FIELD_MI_SEGMENT_SLICES) +
				       i * layout_offset(layout, SIZE_MI_PAGE);

		slices = field_load(layout, slice, FIELD_MI_PAGE_SLICES);
		if (!slices || (slices > entries - i && !segment->huge)) {
			gap_add(loader->gaps, GAP_PAGE_DAMAGED,
				segment->start + i * loader->slice_bytes,
				segment->size - i * loader->slice_bytes);
			break;
		}
		if (field_load(layout, slice, FIELD_MI_PAGE_BLOCK_BYTES) &&
		    !add_page(loader, segment, slice, i, slices))
			return false;
	}
	segment->page_count = (uint32_t)loader->mimalloc->pages.count - segment->pages;
	if (segment->page_count != field_load(layout, bytes, FIELD_MI_SEGMENT_USED))
		gap_add(loader->gaps, GAP_PAGE_DAMAGED, segment->start, 0);
	return true;
}

static bool add_segment(struct loader *loader, const struct mimalloc_segment *segment,
			uint64_t cookie, void *context)
{
	struct mimalloc *mimalloc = loader->mimalloc;
	size_t count = mimalloc->segments.count;
	const struct mimalloc_segment *last = count ? &mimalloc->segments.items[count - 1] : NULL;
	struct mimalloc_segment *added;

	(void)context;
	if (cookie != mimalloc->cookie || (last && segment->start < last->start + last->size))
		return true;
	added = vector_push(&mimalloc->segments);
	if (!added)
		return false;
	*added = *segment;
	return add_pages(loader, added);
}

/* The arena that a segment says it was cut from; 0: none, but for chance. */
static vaddr arena_of_segment(const struct loader *loader, const struct mimalloc_segment *segment,
			      uint64_t *id)
{
	uint64_t block;

	if (!memory_field(loader->memory, segment->start, FIELD_MI_SEGMENT_ARENA_BLOCK, &block) ||
	    !memory_field(loader->memory, segment->start, FIELD_MI_SEGMENT_ARENA, id) ||
	    block > segment->start / loader->segment_bytes)
		return 0;
	return segment->start - block * loader->segment_bytes;
}

/* Adds the arena whose mi_arena_t is at `at`, if it is the one that begins at `start`. */
static bool add_arena(struct loader *loader, vaddr at, vaddr start, uint64_t id)
{
	const struct memory *memory = loader->memory;
	struct mimalloc_arena *added;
	uint64_t value, blocks;

	if (!memory_field(memory, at, FIELD_MI_ARENA_START, &value) || value != start ||
	    !memory_field(memory, at, FIELD_MI_ARENA_ID, &value) ||
	    (uint32_t)value != (uint32_t)id ||
	    !memory_field(memory, at, FIELD_MI_ARENA_BLOCKS, &blocks) || !blocks ||
	    blocks > SLICES_MAX ||
	    !image_maps(memory->image, start, blocks * loader->segment_bytes))
		return true;
	added = vector_push(&loader->mimalloc->arenas);
	if (added)
		*added = (struct mimalloc_arena){ start, blocks * loader->segment_bytes };
	return added;
}

/* Looks for the pointer to the arena's mi_arena_t in the interpreter's data, mi_arenas. */
static bool search_arena(struct loader *loader, vaddr start, uint64_t id)
{
	const struct image *image = loader->memory->image;
	size_t before = loader->mimalloc->arenas.count;

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(loader->python->module, segment);

		for (uint64_t at = 0; at + sizeof(vaddr) <= size; at += sizeof(vaddr)) {
			vaddr pointer = load_u64(segment->bytes + at);

			if (pointer && !add_arena(loader, pointer, start, id))
				return false;
			if (loader->mimalloc->arenas.count > before)
				return true;
		}
	}
	return true;
}

static bool find_arenas(struct loader *loader)
{
	const struct mimalloc *mimalloc = loader->mimalloc;
	vaddr tried = 0;

	if (!layout_has(loader->memory->layout, FIELD_MI_ARENA_START))
		return true;
	for (size_t i = 0; i < mimalloc->segments.count; i++) {
		uint64_t id = 0;
		vaddr start = arena_of_segment(loader, &mimalloc->segments.items[i], &id);

		/* those of an arena follow each other */
		if (!start || start == tried)
			continue;
		if (!search_arena(loader, start, id))
			return false;
		tried = start;
	}
	return true;
}

/* A heap of a thread that has pages, of which none was found: their segments are not in the image,
 * or not where they are looked for. */
static void check_heaps(const struct loader *loader)
{
	const struct mimalloc *mimalloc = loader->mimalloc;

	for (uint32_t i = 0; mimalloc->divided && i < mimalloc->heaps.count; i++) {
		vaddr at = mimalloc->heaps.items[i].at;
		uint64_t count;
		size_t page = 0;

		while (page < mimalloc->pages.count && mimalloc->pages.items[page].heap != i)
			page++;
		if (at && page == mimalloc->pages.count &&
		    memory_field(loader->memory, at, FIELD_MI_HEAP_PAGE_COUNT, &count) && count)
			gap_add(loader->gaps, GAP_PAGE_UNREADABLE, at, 0);
	}
}

struct memheap_error *mimalloc_load(struct mimalloc *mimalloc, const struct python *python,
				    struct gaps *gaps)
{
	const struct layout *layout = &python->layout;
	struct loader loader = {
		.mimalloc = mimalloc,
		.python = python,
		.memory = &python->memory,
		.gaps = gaps,
		.segment_bytes = layout_constant(layout, CONSTANT_MI_SEGMENT_BYTES),
		.slice_bytes = layout_constant(layout, CONSTANT_MI_SLICE_BYTES),
	};
	bool done;

	*mimalloc = (struct mimalloc){ .divided = layout_has(layout, FIELD_THREAD_MI_HEAPS) };
	if (!layout_has(layout, FIELD_MI_SEGMENT_SLICES) || !loader.segment_bytes ||
	    !loader.slice_bytes)
		return NULL;
	done = add_thread_heaps(&loader) &&
	       (!find_cookie(&loader) ||
		(each_candidate(&loader, add_segment, NULL) && find_arenas(&loader)));
	check_heaps(&loader);
	id_map_deinit(&loader.heaps);
	return done ? NULL : &error_no_memory;
}

void mimalloc_deinit(struct mimalloc *mimalloc)
{
	free(mimalloc->arenas.items);
	free(mimalloc->segments.items);
	free(mimalloc->pages.items);
	free(mimalloc->heaps.items);
	*mimalloc = (struct mimalloc){ 0 };
}

const struct mimalloc_segment *mimalloc_find_segment(const struct mimalloc *mimalloc, vaddr at)
{
	const struct mimalloc_segment *items = mimalloc->segments.items;
	size_t found = bisect(i, mimalloc->segments.count, items[i].start + items[i].size <= at);

	return found < mimalloc->segments.count && items[found].start <= at ? &items[found] : NULL;
}

struct mimalloc_page *mimalloc_find_page(const struct mimalloc *mimalloc, vaddr at)
{
	const struct mimalloc_segment *segment = mimalloc_find_segment(mimalloc, at);
	struct mimalloc_page *pages;
	size_t found;

	if (!segment)
		return NULL;
	pages = mimalloc->pages.items + segment->pages;
	found = bisect(i, segment->page_count, pages[i].span + pages[i].span_bytes <= at);
	return found < segment->page_count && pages[found].span <= at ? &pages[found] : NULL;
}
