/* SPDX-License-Identifier: MIT */
/*
 * Dominators: who keeps whom alive. An object dominates another when every way from the roots to
 * that one leads through it; what it dominates would be freed with it.
 */
#pragma once

#include "graph.h"

/*
 * The immediate dominator of each object, by id. The roots hang on one more node, `count`, which
 * dominates those that no object does; what the roots do not lead to has OBJECT_NONE. Weak edges
 * hold nothing. Roots may repeat. The result is freed by free(); NULL when out of memory.
 */
object_id *dominators_find(const struct edges *out, const struct edges *in, object_id count,
			   const object_id *roots, size_t root_count);

/*
 * Adds up `sizes` (by object) along the dominators: what would be freed with each object, itself
 * included, and in `retained[count]` what all roots hold. Objects out of reach keep their own size.
 * False when out of memory.
 */
bool dominators_sum(const object_id *dominators, object_id count, const uint64_t *sizes,
		    uint64_t *retained);
