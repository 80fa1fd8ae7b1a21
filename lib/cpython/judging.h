/* SPDX-License-Identifier: MIT */
/* Judging every block: which are objects, and which do those own. */
#pragma once

#include "classify.h"

/* Judges all blocks and static objects: sets their tags and the sums by type; false when out of
 * memory. */
bool judge_all(struct objects *objects, struct block_map *map, const struct judge *judge,
	       const struct parallel *parallel);

/* Judges an object in static data. */
bool judge_static(const struct judge *judge, const struct static_object *object,
		  struct verdict *verdict);

/* Judges block `id`, which is no static. */
bool judge_block_id(const struct judge *judge, const struct block_map *map, block_id id,
		    struct verdict *verdict);

/* The tag of a block that an object of `type` claims. */
static inline block_tag claim_tag(enum buffer_kind kind, bool shared, uint32_t type)
{
	return tag_make(BLOCK_BUFFER, kind, shared ? TYPE_NONE : type);
}
