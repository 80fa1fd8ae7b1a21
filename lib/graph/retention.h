/* SPDX-License-Identifier: MIT */
/* What each object retains: what would be freed with it, itself and its buffers included. */
#pragma once

#include "roots.h"

/* Roots that belong together: those of a thread, of a frame. */
struct root_group {
	uint32_t thread; /* index of the thread */
	uint32_t frame;  /* index of the frame in roots.frames; FRAME_NONE: the thread */
};

#define FRAME_NONE UINT32_MAX

/* Arrays by object; or by node: behind the objects all roots together, `count`, then the groups. */
struct retention {
	object_id count;
	struct roots roots;
	VECTOR(struct root_group) groups;
	VECTOR(uint32_t) parents;   /* of the groups */
	uint8_t *root_kinds;        /* 1 + the kind of its most certain root; 0: it has none, or
				     * only guesses while something known leads to it */
	object_id *dominators;      /* of nodes, as dominators_find() tells them */
	uint64_t *sizes;            /* what it occupies */
	uint64_t *retained;         /* by nodes */
	object_id *child, *sibling; /* of nodes: the tree of dominators, downwards */
};

/*
 * Finds what each object retains. Weak references hold nothing, nor does the table of interned
 * strings, below which hangs what only it leads to. Roots that are guesses hold only what no other
 * root leads to: a stale word on a stack does not take from a cache what it holds. `ret` is to be
 * freed in any case.
 */
struct memheap_error *retention_find(struct retention *ret, const struct graph *graph,
				     const struct root_sources *sources,
				     const struct parallel *parallel);

/* Whether every way to `id` leads through `above`, or it is that object. */
bool retention_is_below(const struct retention *retention, object_id id, object_id above);

/* Sums over all objects of one type; those of types of the same name are with the first of it. */
struct type_retention {
	uint64_t objects, occupied;
	uint64_t retained; /* by at least one of them, each byte counted once */
	uint32_t open;     /* while they are summed up: how many lie above the one at hand */
};

/* The sums by index of the type; freed by free(); NULL when out of memory. */
struct type_retention *retention_by_type(const struct retention *retention,
					 const struct graph *graph, const struct heap_view *view);

void retention_deinit(struct retention *retention);
