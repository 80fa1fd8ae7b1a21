/* SPDX-License-Identifier: MIT */
/* Anonymous memory that is nobody's: where no malloc is known, it may be another allocator's. */
#include <elf.h>

#include "glibc.h"

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
