/* SPDX-License-Identifier: MIT */
/* Telling objects from other blocks. */
#pragma once

#include "objects.h"

/* A block, or an address in static data, that is to be looked at. */
struct candidate {
	const uint8_t *bytes;
	vaddr at;
	uint64_t size;
	uint64_t before; /* static data: bytes that can be read before it */
	bool is_static;
	uint8_t use;    /* enum mimalloc_use: what its heap is for */
	uint8_t begins; /* enum chunk_begins */
};

struct judge {
	const struct python *python;
	const struct type_table *types;
};

/* What a candidate turned out to be. */
struct verdict {
	struct object object;
	uint32_t type;
	bool tracked; /* by the garbage collector, with links that lead back */
	bool frozen;  /* by gc.freeze(): only known in free-threaded builds */
};

/* Whether the candidate begins with a known type, a plausible refcount and sound GC links, before
 * its decoder has seen it. */
bool judge_header(const struct judge *judge, const struct candidate *candidate,
		  struct verdict *ret);

/* The same for what is said to be an object at `at`, in memory [start, end). */
bool judge_address(const struct judge *judge, vaddr at, vaddr start, vaddr end,
		   struct verdict *ret);
