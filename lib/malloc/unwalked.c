/* SPDX-License-Identifier: MIT */
/* Anonymous memory that is nobody's: where no malloc is known, it may be another allocator's. */
#include <elf.h>

#include "glibc.h"

/* The first of `count` ranges that ends behind `at`, or NULL. */
static const struct malloc_range *range_after(const struct malloc_range *ranges, size_t count,
					      vaddr at)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges[middle].end <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count ? &ranges[low] : NULL;
}

vaddr malloc_taken_until(const struct malloc_map *map, const struct malloc_taken *taken, vaddr at)
{
	const struct heap *heap = malloc_find_heap(map, at);
	const struct malloc_range *range =
		range_after(taken->ranges.items, taken->ranges.count, at);

	if (heap)
		return heap->end;
	if (!range || range->start > at)
		range = range_after(taken->stacks.items, taken->stacks.count, at);
	return range && range->start <= at ? range->end : 0;
}

vaddr malloc_taken_from(const struct malloc_map *map, const struct malloc_taken *taken, vaddr at,
			vaddr end)
{
	const struct malloc_range *range =
		range_after(taken->ranges.items, taken->ranges.count, at);
	const struct malloc_range *stack =
		range_after(taken->stacks.items, taken->stacks.count, at);
	const struct heap *heap = malloc_heap_after(map, at);

	if (range)
		end = MIN(end, range->start);
	if (stack)
		end = MIN(end, stack->start);
	return heap ? MIN(end, heap->start) : end;
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
				end = malloc_taken_from(map, taken, at, segment->end);
				gap_add(gaps, GAP_MALLOC_UNKNOWN, at, end - at);
				if (!malloc_add_unwalked(map, at, end))
					return false;
			}
			at = end;
		}
	}
	return true;
}
