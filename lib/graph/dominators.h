/* SPDX-License-Identifier: MIT */
/*
 * Dominators: who keeps whom alive. An object dominates another when every way from the roots to
 * that one leads through it; what it dominates would be freed with it.
 */
#pragma once

#include "graph.h"

/* A root refers to an object. */
struct root_edge {
	object_id object;
	uint32_t group; /* index of a group, or GROUP_NONE */
};

#define GROUP_NONE UINT32_MAX

/*
 * What objects hang on. Groups are nodes of their own between the roots and all else, as the frames
 * of a thread: what several roots of one group hold, and nothing else does, is dominated by it.
 * Groups that lie in a group come right behind it, each with all that lies in it.
 */
struct root_edges {
	struct root_edge *list; /* will be sorted; may repeat */
	size_t count;
	const uint32_t *parents; /* by group; GROUP_NONE: it has none */
	uint32_t group_count;
};

/*
 * The immediate dominator of each node: objects by id, then one for all roots together, `count`,
 * which dominates those that nothing else does, then the groups. What the roots do not lead to has
 * OBJECT_NONE. Weak edges hold nothing. The result is freed by free(); NULL when out of memory.
 */
object_id *dominators_find(const struct edges *out, const struct edges *in, object_id count,
			   const struct root_edges *roots);

/*
 * Adds up `sizes` (by object) along the dominators of `count` objects and `group_count` groups:
 * what would be freed with each node, itself included, and in `retained[count]` what all roots
 * hold. Objects out of reach keep their own size. False when out of memory.
 */
bool dominators_sum(const object_id *dominators, object_id count, uint32_t group_count,
		    const uint64_t *sizes, uint64_t *retained);
