/* SPDX-License-Identifier: MIT */
/*
 * What gc.collect() would find unreachable, by its own algorithm: 3.12 Modules/gcmodule.c,
 * deduce_unreachable(), move_legacy_finalizers(). Finalizers and callbacks do not run here, so what
 * they would bring back to life counts as freed.
 */
#pragma once

#include "graph.h"

/* What a full collection would do with an object. */
enum fate {
	FATE_STAYS,
	FATE_COLLECTED,     /* unreachable: on cycles, or held by them */
	FATE_UNCOLLECTABLE, /* likewise, but its type has tp_del, or one of those leads to it */
	FATE_FREED_ALONG, /* not found by the collector: its last reference goes with the others */
	FATES
};

/* What the collector knows of an object. */
enum {
	COLLECTOR_TRACKED = 1 << 0,  /* in a generation that is collected */
	COLLECTOR_LEGACY = 1 << 1,   /* its type has tp_del */
	COLLECTOR_DEFERRED = 1 << 2, /* references in frames are not counted */
};

struct cycles {
	uint32_t *refcounts; /* by object; less what the objects that go refer to */
	uint8_t *facts;      /* by object: COLLECTOR_* */
	uint8_t *fates;      /* by object: enum fate */
	uint64_t overrun;    /* tracked objects with more references than their refcount says */
};

/* Finds the fates of all objects; `ret` is to be freed in any case. */
struct memheap_error *cycles_find(struct cycles *ret, const struct graph *graph,
				  const struct heap_view *view, const struct parallel *parallel);

/* The same from `refcounts` and `facts`, which are set; false when out of memory. */
bool cycles_decide(struct cycles *cycles, const struct graph *graph);

void cycles_deinit(struct cycles *cycles);

/* Finds cycles, one after the other. */
struct cycle_search {
	const struct graph *graph;
	const struct cycles *cycles;
	object_id *from;  /* by object: the one before it; OBJECT_NONE: not seen */
	object_id *queue; /* those seen */
	object_id *path;  /* the cycle that was found */
	size_t length;
};

/* False when out of memory. */
bool cycle_search_init(struct cycle_search *search, const struct graph *graph,
		       const struct cycles *cycles);

void cycle_search_deinit(struct cycle_search *search);

/*
 * Puts into search->path the shortest cycle through `id`, which would be collected; or one that
 * holds it, if it is on none. Each leads to the next, the last to the first. False: there is none.
 */
bool cycle_search_run(struct cycle_search *search, object_id id);
