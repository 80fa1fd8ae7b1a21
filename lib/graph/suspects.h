/* SPDX-License-Identifier: MIT */
/*
 * What memory has piled up in: objects that retain much while none of what they dominate retains
 * nearly all of it, as Eclipse MAT's leak suspects; objects of one type that nothing holds alone;
 * chains; and what nothing holds.
 */
#pragma once

#include "retention.h"
#include "ways.h"

enum suspect_kind {
	SUSPECT_OBJECT, /* one object, and what it retains */
	SUSPECT_GROUP,  /* many objects of one type, each with what it retains */
	SUSPECT_CHAIN,  /* many objects of one type, each of which retains the next */
	SUSPECT_LOST,   /* objects that nothing holds */
};

struct suspect {
	uint32_t kind;   /* enum suspect_kind */
	uint32_t type;   /* index of the objects' type */
	object_id first; /* the object; of a group the one that retains most; the chain's first */
	object_id above; /* of a group: what most ways to it have in common; else `first`.
			  * The count of objects: only that they come from roots */
	uint64_t objects;
	uint64_t retained; /* by all of them */
	uint64_t piled_up; /* the same without what other suspects hold */
};

struct suspects {
	VECTOR(struct suspect) list; /* the one that has piled up most first */
	uint64_t sum;                /* of all objects' sizes, held or not */
	uint64_t threshold;          /* what stands out */
};

/* Finds the suspects; false when out of memory. */
bool suspects_find(struct suspects *suspects, const struct graph *graph,
		   const struct heap_view *view, const struct retention *retention,
		   const struct ways *ways);

void suspects_deinit(struct suspects *suspects);
