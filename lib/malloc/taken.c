/* SPDX-License-Identifier: MIT */
/* Memory that is not malloc's, or that heaps have already. */
#include "glibc.h"

vaddr malloc_taken_until(const struct malloc_map *map, const struct malloc_taken *taken, vaddr at)
{
	const struct heap *heap = malloc_find_heap(map, at);
	const struct range *range = ranges_after(&taken->ranges, at);

	if (heap)
		return heap->end;
	if (!range || range->start > at)
		range = ranges_after(&taken->stacks, at);
	return range && range->start <= at ? range->end : 0;
}

vaddr malloc_taken_from(const struct malloc_map *map, const struct malloc_taken *taken, vaddr at,
			vaddr end)
{
	const struct range *range = ranges_after(&taken->ranges, at);
	const struct range *stack = ranges_after(&taken->stacks, at);
	const struct heap *heap = malloc_heap_after(map, at);

	if (range)
		end = MIN(end, range->start);
	if (stack)
		end = MIN(end, stack->start);
	return heap ? MIN(end, heap->start) : end;
}

bool malloc_overlaps_taken(const struct malloc_taken *taken, vaddr start, vaddr end)
{
	const struct range *range = ranges_after(&taken->ranges, start);

	return range && range->start < end;
}
