/* SPDX-License-Identifier: MIT */
#include "ranges.h"

#include <stdlib.h>

#include "bisect.h"

bool ranges_add(struct ranges *ranges, vaddr start, vaddr end)
{
	struct range *range = vector_push(ranges);

	if (range)
		*range = (struct range){ start, end };
	return range;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

void ranges_join(struct ranges *ranges)
{
	struct range *items = ranges->items;
	size_t kept = 0;

	if (ranges->count)
		qsort(items, ranges->count, sizeof(*items), compare_ranges);
	for (size_t i = 0; i < ranges->count; i++) {
		if (kept && items[i].start < items[kept - 1].end)
			items[kept - 1].end = MAX(items[kept - 1].end, items[i].end);
		else
			items[kept++] = items[i];
	}
	ranges->count = kept;
}

const struct range *ranges_after(const struct ranges *ranges, vaddr at)
{
	size_t found = bisect(i, ranges->count, ranges->items[i].end <= at);

	return found < ranges->count ? &ranges->items[found] : NULL;
}

bool ranges_hold(const struct ranges *ranges, vaddr at)
{
	const struct range *range = ranges_after(ranges, at);

	return range && range->start <= at;
}

void ranges_deinit(struct ranges *ranges)
{
	free(ranges->items);
	*ranges = (struct ranges){ 0 };
}

int vaddr_compare(const void *a, const void *b)
{
	vaddr left = *(const vaddr *)a, right = *(const vaddr *)b;

	return left < right ? -1 : left > right;
}
