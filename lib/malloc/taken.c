/* SPDX-License-Identifier: MIT */
/* Memory that is not malloc's, or that heaps have already. */
#include "../base/bisect.h"
#include "glibc.h"

/* The first of `count` ranges that ends behind `at`, or NULL. */
static const struct malloc_range *range_after(const struct malloc_range *ranges, size_t count,
					      vaddr at)
{
	size_t found = bisect(i, count, ranges[i].end <= at);

	return found < count ? &ranges[found] : NULL;
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

bool malloc_overlaps_taken(const struct malloc_taken *taken, vaddr start, vaddr end)
{
	const struct malloc_range *range =
		range_after(taken->ranges.items, taken->ranges.count, start);

	return range && range->start < end;
}
