/* SPDX-License-Identifier: MIT */
/* From a buffer to the object that owns it. */
#pragma once

#include "objects.h"

struct owner {
	block_id id; /* of the object; BLOCK_NONE: nobody claims the block */
	enum buffer_kind kind;
	bool shared; /* owned together with others; `id` is the first of them */
};

/* Asks every object whether it owns the block that begins at `at`. */
struct memheap_error *owner_find(struct owner *ret, vaddr at, const struct objects *objects,
				 const struct block_map *map, const struct python *python,
				 const struct parallel *parallel);
