/* SPDX-License-Identifier: MIT */
/*
 * The audit of reference counts: each object's ob_refcnt against all references to it that can be
 * found. What is missing was never given back, mostly by an extension.
 */
#pragma once

#include "counts.h"
#include "roots.h"

struct refcounts {
	uint32_t *counts; /* by object: see counts.h */
	uint32_t *known;  /* references that are known to count */
	uint32_t *words;  /* words that nobody knows, where each may be a reference */
};

/* What the audit says of an object. */
enum refcount_verdict {
	REFCOUNT_RIGHT,
	REFCOUNT_UNSURE, /* words that nobody knows must be references, or some were lost */
	REFCOUNT_LOST,   /* more references than there can be */
};

/* Counts for all objects; `ret` is to be freed in any case. */
struct memheap_error *refcounts_find(struct refcounts *ret, const struct graph *graph,
				     const struct roots *roots, const struct heap_view *view,
				     const struct parallel *parallel);

void refcounts_deinit(struct refcounts *refcounts);

/* Of how many references to the object nobody can be found, whatever words are. */
static inline uint32_t refcounts_lost(const struct refcounts *refcounts, object_id id)
{
	uint64_t found = (uint64_t)refcounts->known[id] + refcounts->words[id];
	uint32_t count = refcounts->counts[id];

	return count == COUNT_IMMORTAL || count <= found ? 0 : (uint32_t)(count - found);
}

static inline enum refcount_verdict refcounts_verdict(const struct refcounts *refcounts,
						      object_id id)
{
	uint32_t count = refcounts->counts[id];

	if (count == COUNT_IMMORTAL || count <= refcounts->known[id])
		return REFCOUNT_RIGHT;
	return refcounts_lost(refcounts, id) ? REFCOUNT_LOST : REFCOUNT_UNSURE;
}
