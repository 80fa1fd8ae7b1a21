/* SPDX-License-Identifier: MIT */
/* Anonymous memory that is nobody's: where no malloc is known, it may be another allocator's. */
#include <elf.h>

#include "glibc.h"

vaddr malloc_taken_until(const struct malloc_map *map, const struct malloc_taken *taken, vaddr at)
{
	const struct heap *heap = malloc_find_heap(map, at);
	size_t low = 0, high = taken->ranges.count;

	if (heap)
		return heap->end;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (taken->ranges.items[middle].end <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low < taken->ranges.count && taken->ranges.items[low].start <= at
		       ? taken->ranges.items[low].end
		       : 0;
}

/* The first taken address from `at` on, or `end`. */
static vaddr next_taken(const struct malloc_taken *taken, vaddr at, vaddr end)
{
	for (size_t i = 0; i < taken->ranges.count; i++) {
		if (taken->ranges.items[i].start >= at)
			return MIN(end, taken->ranges.items[i].start);
	}
	return end;
}

bool malloc_add_unwalked(struct malloc_map *map, vaddr start, vaddr end)
{
	struct malloc_range *range = vector_push(&map->unwalked);

	if (range)
		*range = (struct malloc_range){ start, end };
	return range;
}

bool malloc_find_unwalked(struct malloc_map *map, const struct image *image,
			  const struct malloc_taken *taken, struct gaps *gaps)
{
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		vaddr at = segment->start;

		if (!segment->bytes || segment->path || !(segment->permissions & PF_W))
			continue;
		while (at < segment->end) {
			vaddr end = malloc_taken_until(map, taken, at);

			if (!end) {
				end = next_taken(taken, at, segment->end);
				gap_add(gaps, GAP_MALLOC_UNKNOWN, at, end - at);
				if (!malloc_add_unwalked(map, at, end))
					return false;
			}
			at = end;
		}
	}
	return true;
}
