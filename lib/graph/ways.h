/* SPDX-License-Identifier: MIT */
/* Ways from the roots to objects, the shortest ones. */
#pragma once

#include "roots.h"

struct ways {
	object_id *before; /* by object: the one before it; graph->count: a root has it;
			    * OBJECT_NONE: nothing leads there */
	uint32_t *root;    /* by object, where a root has it: which */
};

/*
 * Finds the shortest way to each object. A way from a module is taken before one from a frame or a
 * thread, that before one from a static object, and a way from a guess last, however short it is.
 * False when out of memory.
 */
bool ways_find(struct ways *ways, const struct graph *graph, const struct roots *roots);

void ways_deinit(struct ways *ways);
