/* SPDX-License-Identifier: MIT */
/*
 * Mmapped chunks: each begins at a page, its first word is 0 and its second its size in whole
 * pages (since 2.43 less its header), with no flag but IS_MMAPPED. The kernel merges neighbouring
 * mappings, so that they must be looked for page by page in whatever anonymous memory nobody else
 * owns.
 */
#include <elf.h>

#include "../base/cleanup.h"
#include "glibc.h"

/* The size of the mapping of the mmapped chunk at the page `bytes`, or 0. */
static uint64_t mmapped_size(const struct glibc_shape *shape, const uint8_t *bytes, uint64_t room)
{
	uint64_t size = load_u64(bytes + 8);

	if (load_u64(bytes) || (size & SIZE_FLAGS) != IS_MMAPPED)
		return 0;
	size = (size & ~(uint64_t)SIZE_FLAGS) + shape->mmapped_less;
	return size && size % PAGE_BYTES == 0 && size <= room ? size : 0;
}

static bool add_mmapped(struct malloc_map *map, vaddr at, uint64_t size)
{
	struct heap *heap = vector_push(&map->heaps);
	struct chunk *chunk = vector_push(&map->chunks);

	if (!heap || !chunk)
		return false;
	*heap = (struct heap){
		.start = at,
		.end = at + size,
		.kind = HEAP_MMAPPED,
		.first = map->chunks.count - 1,
		.count = 1,
	};
	*chunk = (struct chunk){ at + CHUNK_HEADER, size - CHUNK_HEADER, CHUNK_USED };
	return true;
}

/* Searches one run of anonymous memory; `known` has the heaps found before. */
static bool search_run(struct malloc_map *map, const struct malloc_map *known,
		       const struct malloc_taken *taken, const struct image_run *run)
{
	vaddr at = round_up(run->start, PAGE_BYTES);

	while (at < run->end && run->end - at >= PAGE_BYTES) {
		vaddr until = malloc_taken_until(known, taken, at);
		uint64_t size;

		if (until) {
			at = round_up(until, PAGE_BYTES);
			continue;
		}
		size = mmapped_size(map->shape, run->bytes + (at - run->start),
				    malloc_taken_from(known, taken, at, run->end) - at);
		if (size && !add_mmapped(map, at, size))
			return false;
		at += size ? size : PAGE_BYTES;
	}
	return true;
}

/* Extends `run`, that of segment `index`, over the segments behind it whose bytes follow: a chunk
 * may reach over a change of the mapping's flags. Returns the last segment's index. */
static size_t extend_run(const struct image *image, size_t index, struct image_run *run)
{
	const struct segment *segments = image->segments.items;

	while (index + 1 < image->segments.count) {
		const struct segment *next = &segments[index + 1];

		if (next->start != run->end || next->path || !next->bytes ||
		    next->bytes != run->bytes + (run->end - run->start))
			break;
		run->end = next->end;
		index++;
	}
	return index;
}

bool glibc_find_mmapped(struct malloc_map *map, const struct image *image,
			const struct malloc_taken *taken)
{
	struct malloc_map known = { 0 };

	_cleanup_free_ struct heap *heaps = calloc(map->heaps.count + 1, sizeof(*heaps));
	if (!heaps)
		return false;
	for (size_t i = 0; i < map->heaps.count; i++)
		heaps[i] = map->heaps.items[i];
	known.heaps.items = heaps;
	known.heaps.count = map->heaps.count;
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		struct image_run run = { segment->start, segment->end, segment->bytes };

		if (!segment->bytes || segment->path || !(segment->permissions & PF_W))
			continue;
		i = extend_run(image, i, &run);
		if (!search_run(map, &known, taken, &run))
			return false;
	}
	return true;
}
