/* SPDX-License-Identifier: MIT */
/*
 * Heaps are walked chunk by chunk, from the first to the last: the size word of each leads to the
 * next, and the next one's PREV_INUSE flag tells whether it is used. Chunks in fastbins and thread
 * caches look used; those lists are walked apart. A size that makes no sense ends the walk: the
 * place is a gap, and the walk goes on where a run of chunks makes sense again.
 */
#include <stdlib.h>

#include "../base/bisect.h"
#include "../base/cleanup.h"
#include "../base/id_map.h"
#include "glibc.h"

#define RESYNC_CHUNKS   16         /* that many in a row make sense */
#define RESYNC_BYTES    (16 << 20) /* how far to look for them */
#define HEAP_INFO_SIZES 5

const char *chunk_state_name(enum chunk_state state)
{
	static const char *const names[CHUNK_STATES] = {
		[CHUNK_USED] = "used",     [CHUNK_FREE] = "free", [CHUNK_FASTBIN] = "fastbin",
		[CHUNK_TCACHE] = "tcache", [CHUNK_TOP] = "top",
	};

	return names[state];
}

/* One heap being walked. */
struct walk {
	struct malloc_map *map;
	const uint8_t *bytes; /* of `start` */
	vaddr start, end;     /* the heap's chunks */
	vaddr top;            /* the arena's top chunk; not in this heap: no matter */
	struct gaps *gaps;
	uint64_t damaged; /* out: bytes that were passed over */
};

/* The size of the chunk at `at`, or 0 when it makes no sense there. */
static uint64_t chunk_size(const struct walk *walk, vaddr at)
{
	uint64_t size;

	if (!range_holds(walk->start, walk->end, at, CHUNK_HEADER))
		return 0;
	size = load_u64(walk->bytes + (at - walk->start) + 8);
	if (size & IS_MMAPPED)
		return 0;
	size &= ~(uint64_t)SIZE_FLAGS;
	return size % CHUNK_ALIGNMENT || size > walk->end - at ? 0 : size;
}

/* Whether the chunk before the one at `at` is used. The end of the heap is a used neighbour. */
static bool previous_used(const struct walk *walk, vaddr at)
{
	if (!range_holds(walk->start, walk->end, at, CHUNK_HEADER))
		return true;
	return load_u64(walk->bytes + (at - walk->start) + 8) & PREVIOUS_IN_USE;
}

static bool add_chunk(struct malloc_map *map, vaddr at, uint64_t size, enum chunk_state state)
{
	struct chunk *chunk = vector_push(&map->chunks);

	/* a chunk reaches into the next one's header by 8 bytes, but for the top chunk: it has none
	 * behind it */
	if (chunk)
		*chunk = (struct chunk){ at + CHUNK_HEADER,
					 size - (state == CHUNK_TOP ? CHUNK_HEADER : 8), state };
	return chunk;
}

/* The next address from which RESYNC_CHUNKS chunks in a row make sense, or the walk's end. */
static vaddr resync(const struct walk *walk, vaddr damaged)
{
	vaddr limit = damaged + MIN(walk->end - damaged, (uint64_t)RESYNC_BYTES);

	for (vaddr at = damaged + CHUNK_ALIGNMENT; at < limit; at += CHUNK_ALIGNMENT) {
		vaddr next = at;
		int count;

		for (count = 0; count < RESYNC_CHUNKS && next != walk->top; count++) {
			uint64_t size = chunk_size(walk, next);

			if (size < CHUNK_MIN)
				break;
			next += size;
		}
		if (count == RESYNC_CHUNKS || (next == walk->top && count))
			return at;
	}
	return walk->end;
}

/* Walks from the start; false when out of memory. */
static bool walk_chunks(struct walk *walk)
{
	vaddr at = walk->start;

	while (at < walk->end) {
		uint64_t size = chunk_size(walk, at);

		if (at == walk->top && size >= CHUNK_HEADER)
			return add_chunk(walk->map, at, size, CHUNK_TOP);
		if (size < CHUNK_MIN) {
			vaddr next;

			/* a heap that was left behind ends in fenceposts of size 16 and 0 */
			if (walk->end - at <= 2 * CHUNK_MIN)
				return true;
			next = resync(walk, at);
			gap_add(walk->gaps, GAP_HEAP_DAMAGED, at, next - at);
			walk->damaged += next - at;
			if (!ranges_add(&walk->map->unwalked, at, next))
				return false;
			at = next;
			continue;
		}
		if (!add_chunk(walk->map, at, size,
			       previous_used(walk, at + size) ? CHUNK_USED : CHUNK_FREE))
			return false;
		at += size;
	}
	return true;
}

/* Adds the heap [start, end) with chunks from `first` on. Parts that are missing are gaps. */
static bool add_heap(struct malloc_map *map, const struct image *image, vaddr start, vaddr end,
		     vaddr first, vaddr top, uint32_t arena, struct gaps *gaps)
{
	struct walk walk = { map, NULL, first, end, top, gaps, 0 };
	struct heap *heap = vector_push(&map->heaps);
	uint64_t room;

	if (!heap)
		return false;
	*heap = (struct heap){
		.start = start,
		.end = end,
		.kind = arena ? HEAP_THREAD : HEAP_MAIN,
		.arena = arena,
		.first = map->chunks.count,
	};
	walk.bytes = image_room(image, first, &room);
	if (room < end - first) {
		gap_add(gaps, GAP_HEAP_UNREADABLE, first + room, end - first - room);
		walk.end = first + room;
	}
	if (walk.bytes && !walk_chunks(&walk))
		return false;
	heap = &map->heaps.items[map->heaps.count - 1];
	heap->count = map->chunks.count - heap->first;
	heap->damaged = walk.damaged;
	return true;
}

/* Whether [start, end) overlaps a heap (they are not sorted yet), or memory that is not malloc's.
 */
static bool is_taken(const struct malloc_map *map, const struct malloc_taken *taken, vaddr start,
		     vaddr end)
{
	for (size_t i = 0; i < map->heaps.count; i++) {
		if (map->heaps.items[i].start < end && map->heaps.items[i].end > start)
			return true;
	}
	return malloc_overlaps_taken(taken, start, end);
}

/* Whether a walk from `first` makes sense for its first chunks. */
static bool starts_well(const struct image *image, vaddr first, vaddr end, vaddr top)
{
	struct walk walk = { .start = first, .end = end, .top = top };
	uint64_t room;
	vaddr at = first;

	walk.bytes = image_room(image, first, &room);
	if (!walk.bytes || first % CHUNK_ALIGNMENT)
		return false;
	walk.end = first + MIN(room, end - first);
	for (int i = 0; i < RESYNC_CHUNKS && at != top && at < walk.end; i++) {
		uint64_t size = chunk_size(&walk, at);

		if (size < CHUNK_MIN)
			return i && walk.end - at <= 2 * CHUNK_MIN;
		at += size;
	}
	return true;
}

/*
 * The brk heap: it ends where the top chunk ends, and began as many bytes before as the arena got
 * from the system; where brk failed in between, at the start of the segment.
 */
static bool add_main_heap(struct malloc_map *map, const struct image *image,
			  const struct modules *modules, const struct malloc_taken *taken,
			  struct gaps *gaps)
{
	uint64_t top, size, system;
	const struct segment *segment;
	vaddr end, start;

	if (!image_u64(image, map->main_arena + map->shape->top, &top) ||
	    !image_u64(image, top + 8, &size) ||
	    !image_u64(image, map->main_arena + map->shape->system_bytes, &system))
		return true;
	end = top + (size & ~(uint64_t)SIZE_FLAGS);
	segment = image_segment(image, top);
	/* what a child of fork() adds to its heap is a mapping of its own behind the inherited one:
	 * the heap is in both, and so may be the top chunk */
	if (!segment || end < top || (end > segment->end && !image_at(image, top, end - top)))
		return true;
	start = round_up(end - system, CHUNK_ALIGNMENT);
	if (system > end || !image_at(image, start, end - start) ||
	    !starts_well(image, start, end, top))
		start = segment->start;
	glibc_find_mmap_counters(map, image, modules, end - system);
	if (is_taken(map, taken, start, end)) {
		gap_add(gaps, GAP_HEAP_DAMAGED, start, end - start);
		return true;
	}
	if (starts_well(image, start, end, top))
		return add_heap(map, image, start, end, start, top, 0, gaps);
	gap_add(gaps, GAP_HEAP_DAMAGED, start, end - start);
	return ranges_add(&map->unwalked, start, end);
}

/* Where the chunks of a heap begin, behind its heap_info and, in the first one, the arena. */
static vaddr first_chunk(const struct malloc_map *map, const struct image *image, vaddr heap,
			 vaddr arena, vaddr end, vaddr top)
{
	if (round_down(arena, HEAP_BYTES) == heap)
		return round_up(arena + map->shape->size, CHUNK_ALIGNMENT);
	for (uint64_t i = 2; i < 2 + HEAP_INFO_SIZES; i++) {
		vaddr first = heap + i * CHUNK_ALIGNMENT;

		if (starts_well(image, first, end, top))
			return first;
	}
	return 0;
}

/* The heaps of one thread arena: that of its top chunk, and those before it. */
static bool add_thread_heaps(struct malloc_map *map, const struct image *image, uint32_t index,
			     const struct malloc_taken *taken, struct gaps *gaps)
{
	vaddr arena = map->arenas.items[index].at, heap, first;
	uint64_t top, owner, size, previous;

	if (!image_u64(image, arena + map->shape->top, &top))
		return true;
	heap = round_down(top, HEAP_BYTES);
	while (heap) {
		if (!image_u64(image, heap + HEAP_INFO_ARENA, &owner) || owner != arena ||
		    !image_u64(image, heap + HEAP_INFO_SIZE, &size) || size > HEAP_BYTES ||
		    !image_u64(image, heap + HEAP_INFO_PREVIOUS, &previous) ||
		    is_taken(map, taken, heap, heap + size) ||
		    !(first = first_chunk(map, image, heap, arena, heap + size, top))) {
			gap_add(gaps, GAP_HEAP_DAMAGED, heap, 0);
			return true;
		}
		if (!add_heap(map, image, heap, heap + size, first, top, index, gaps))
			return false;
		if (round_down(arena, HEAP_BYTES) == heap)
			return true;
		heap = previous;
	}
	return true;
}

/* The ring of arenas, from the main one back to it. */
static bool find_arenas(struct malloc_map *map, const struct image *image, struct gaps *gaps)
{
	vaddr at = map->main_arena;

	_cleanup_(id_map_deinit) struct id_map met = { 0 };
	do {
		struct malloc_arena *arena;
		uint64_t next, bytes;

		if (!id_map_meet(&met, at) || !image_u64(image, at + map->shape->next, &next) ||
		    !image_u64(image, at + map->shape->system_bytes, &bytes)) {
			gap_add(gaps, GAP_HEAP_LIST_DAMAGED, at, 0);
			return true;
		}
		arena = vector_push(&map->arenas);
		if (!arena)
			return false;
		*arena = (struct malloc_arena){ at, bytes };
		at = next;
	} while (at != map->main_arena);
	return true;
}

static int compare_heaps(const void *a, const void *b)
{
	const struct heap *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

bool glibc_order_heaps(struct malloc_map *map)
{
	struct chunk *ordered = malloc((map->chunks.count + 1) * sizeof(*ordered));
	size_t count = 0;

	if (!ordered)
		return false;
	if (map->heaps.count)
		qsort(map->heaps.items, map->heaps.count, sizeof(*map->heaps.items), compare_heaps);
	for (size_t i = 0; i < map->heaps.count; i++) {
		struct heap *heap = &map->heaps.items[i];

		for (size_t j = 0; j < heap->count; j++)
			ordered[count + j] = map->chunks.items[heap->first + j];
		heap->first = count;
		count += heap->count;
	}
	free(map->chunks.items);
	map->chunks.items = ordered;
	map->chunks.count = count;
	map->chunks.capacity = count + 1;
	return true;
}

struct memheap_error *malloc_load(struct malloc_map *map, const struct image *image,
				  const struct modules *modules, const struct malloc_taken *taken,
				  struct gaps *gaps)
{
	if (!glibc_find_main_arena(map, image, modules))
		return malloc_find_unwalked(map, image, modules, taken, gaps) ? NULL
									      : &error_no_memory;
	if (!find_arenas(map, image, gaps) || !add_main_heap(map, image, modules, taken, gaps))
		return &error_no_memory;
	for (uint32_t i = 1; i < map->arenas.count; i++) {
		if (!add_thread_heaps(map, image, i, taken, gaps))
			return &error_no_memory;
	}
	if (!glibc_order_heaps(map) || !glibc_find_mmapped(map, image, taken) ||
	    !glibc_order_heaps(map) || !malloc_find_unwalked(map, image, modules, taken, gaps))
		return &error_no_memory;
	glibc_mark_lists(map, image, gaps);
	return NULL;
}

void malloc_unload(struct malloc_map *map)
{
	free(map->arenas.items);
	free(map->heaps.items);
	free(map->chunks.items);
	ranges_deinit(&map->unwalked);
	free(map->foreign.items);
	*map = (struct malloc_map){ 0 };
}

const struct heap *malloc_heap_after(const struct malloc_map *map, vaddr at)
{
	const struct heap *heaps = map->heaps.items;
	size_t found = bisect(i, map->heaps.count, heaps[i].end <= at);

	return found < map->heaps.count ? &heaps[found] : NULL;
}

const struct heap *malloc_find_heap(const struct malloc_map *map, vaddr at)
{
	const struct heap *heap = malloc_heap_after(map, at);

	return heap && heap->start <= at ? heap : NULL;
}

size_t malloc_find_chunk(const struct malloc_map *map, const struct heap *heap, vaddr at)
{
	const struct chunk *chunks = map->chunks.items + heap->first;
	size_t found = bisect(i, heap->count, chunks[i].start + chunks[i].size <= at);

	return found < heap->count && chunks[found].start <= at ? heap->first + found : SIZE_MAX;
}
