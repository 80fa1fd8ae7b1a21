/* SPDX-License-Identifier: MIT */
/* What makes the collector leave an object on a cycle to gc.garbage. */
#pragma once

#include "../base/id_map.h"
#include "graph.h"

struct finalizers {
	const struct heap_view *view;
	bool *types;                  /* by type: it has a tp_del */
	uint32_t generator, instance; /* types that 2.7 looks closer at, or TYPE_NONE */
	struct id_map classes;        /* old-style classes with __del__, by address */
};

/* False: out of memory. */
bool finalizers_find(struct finalizers *finalizers, const struct graph *graph,
		     const struct heap_view *view);

void finalizers_deinit(struct finalizers *finalizers);

bool finalizers_has(const struct finalizers *finalizers, const struct object *object);
