/* SPDX-License-Identifier: MIT */
/*
 * Leaks: blocks of C code that nothing in the process points to, and objects that no root leads to.
 * Blocks of objects, buffers of objects and places may hold pointers, whatever they are; a block
 * that is pointed to holds what it points to.
 */
#pragma once

#include "roots.h"

/* What holds a block that C code uses. */
enum leak_hold {
	HOLD_NONE,     /* nothing points to it */
	HOLD_INDIRECT, /* only such blocks do */
	HOLD_INSIDE,   /* pointers to its middle, or from blocks that only such pointers hold */
	HOLD_BEGIN,    /* a pointer to its beginning */
};

/* A used block that no object owns. */
struct native_block {
	vaddr start;
	uint64_t size;
	block_id id;
	uint32_t hold; /* enum leak_hold */
};

/* What holds an object. */
enum object_hold {
	OBJECT_HELD,
	OBJECT_LOST,         /* no other object and no word elsewhere refers to it */
	OBJECT_HELD_BY_LOST, /* only such objects, lost blocks, or a cycle of its own */
};

struct leaks {
	VECTOR(struct native_block) blocks; /* by start */
	uint8_t *objects;                   /* by object: enum object_hold */
};

/* Finds what is lost; `ret` is to be freed in any case. */
struct memheap_error *leaks_find(struct leaks *ret, const struct graph *graph,
				 const struct roots *roots, const struct root_sources *sources,
				 const struct parallel *parallel);

void leaks_deinit(struct leaks *leaks);
