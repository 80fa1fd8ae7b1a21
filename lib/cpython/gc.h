/* SPDX-License-Identifier: MIT */
/* The garbage collector's state: Include/internal/pycore_gc.h */
#pragma once

#include "runtime.h"

#define GENERATIONS 3

struct gc_generation {
	vaddr head;
	int64_t count, threshold;
	uint64_t collections, collected, uncollectable;
	uint64_t candidates, duration; /* 3.15; in nanoseconds */
	uint64_t objects;              /* on its list; only set by gc_count_objects() */
};

struct gc_state {
	uint32_t interpreter;
	bool lists; /* tracked objects are on lists; not in free-threaded builds */
	bool enabled, collecting;
	bool knows_duration; /* and the number of candidates */
	bool incremental;    /* the lists of generations 1 and 2 are halves of one */
	/* before 3.7 these are static variables, and where they are stripped nobody knows */
	bool knows_enabled, knows_stats, knows_garbage;
	struct gc_generation generations[GENERATIONS];
	vaddr permanent;            /* list head of the permanent generation */
	uint64_t permanent_objects; /* gc.get_freeze_count() */
	vaddr garbage_list;         /* gc.garbage; 0 until it is needed */
	uint64_t garbage;           /* len(gc.garbage) */
};

/* Reads the state of interpreter number `index`; false when it contradicts itself. */
bool gc_read(const struct python *python, uint32_t index, struct gc_state *ret);

/* Called for the GC header of an object. */
typedef void gc_fn(void *closure, vaddr head);

/* Calls `fn` for all objects on the interpreter's lists, each as far as it is not broken. */
void gc_each(const struct python *python, const struct gc_state *gc, gc_fn *fn, void *closure);

/* Walks the lists of the generations; a broken list is a gap. */
void gc_count_objects(const struct python *python, struct gc_state *gc, struct gaps *gaps);
