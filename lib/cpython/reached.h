/* SPDX-License-Identifier: MIT */
/*
 * Blocks of allocators that are not walked: jemalloc, tcmalloc, musl's malloc, one that nobody
 * knows. Where their blocks begin and end only they know; but an object that lies there is referred
 * to by others, or on a list of the garbage collector, and tells how large it is, and most that it
 * owns.
 */
#pragma once

#include "references.h"

/*
 * Follows references from all objects that are known, as long as they lead to more, and adds what
 * is found to `map`. Types and static objects must be known, and nothing judged yet. False when out
 * of memory.
 */
bool reached_find(struct block_map *map, const struct heap_view *view,
		  const struct modules *modules, const struct parallel *parallel);
