/* SPDX-License-Identifier: MIT */
/*
 * CPython's free lists: dead objects that are kept for the next request. To the allocator they are
 * used blocks; to the program they are free memory.
 */
#pragma once

#include "types.h"

enum free_list_kind {
#define FREE_LIST(name, text, type) FREE_LIST_##name,
#include "free_lists.def"
#undef FREE_LIST
	FREE_LIST_KINDS
};

extern const char *const free_list_names[FREE_LIST_KINDS];

/* Parks (BLOCK_PARKED) what hangs on the free lists that the layout knows (3.10 and later). */
void free_lists_mark(struct block_map *map, const struct python *python,
		     const struct type_table *types);

/*
 * Parks the blocks that nobody owns and that look like a dead object of a type with a free list:
 * up to 3.9 the lists are static variables without a name of their own.
 */
void free_lists_search(struct block_map *map, const struct python *python,
		       const struct type_table *types);
