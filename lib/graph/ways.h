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

/* What the steps of ways are called. */
struct way_names {
	const struct ways *ways;
	const struct graph *graph;
	const struct roots *roots;
	const struct root_sources *sources;
	bool values; /* show those of keys that are data */
	struct strings *strings;
};

/* The name of the last step of the way to an object: its root's, or what the reference of the one
 * before it is called. NULL: out of memory, or nothing leads there. */
const char *way_step_name(const struct way_names *names, object_id id);
