/* SPDX-License-Identifier: MIT */
/*
 * The blocks in which 2.7 keeps int and float: each is one chunk of malloc, with a link to the next
 * block and room for 41 objects; free ones are chained through ob_type. Objects/intobject.c,
 * fill_free_list(); floatobject.c has the same.
 */
#pragma once

#include "../../malloc/malloc.h"
#include "../runtime.h"

/* One block, whose chunk was split into its parts. */
struct number_block {
	vaddr at, next;
	vaddr type;    /* of its objects; 0: all are free */
	size_t chunk;  /* index of the first part, the link; its objects are the following ones */
	uint64_t free; /* a bit for each object */
	bool tail;     /* there is a part behind the last object */
};

struct number_blocks {
	VECTOR(struct number_block) list; /* by address */
	uint32_t objects;                 /* in each block */
};

/* Finds the blocks among malloc's chunks, and splits these so that each object is one of its own;
 * false when out of memory. */
bool number_blocks_split(struct number_blocks *blocks, struct malloc_map *malloc,
			 const struct python *python);

void number_blocks_deinit(struct number_blocks *blocks);

/* The type of the objects of a block: if all are free, that of those blocks that it is linked to; 0
 * when nobody knows. */
vaddr number_block_type(const struct number_blocks *blocks, const struct number_block *block);
