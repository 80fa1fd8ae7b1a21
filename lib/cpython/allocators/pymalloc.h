/* SPDX-License-Identifier: MIT */
/*
 * pymalloc: CPython's allocator for requests of up to 512 bytes. Arenas (mmap) are cut into
 * pools, each pool into blocks of one size. Objects/obmalloc.c
 */
#pragma once

#include "../../base/parallel.h"
#include "../runtime.h"

#define SIZE_CLASSES_MAX 64

/* One allocator state: the process's up to 3.11, an interpreter's from 3.12 on. */
struct pymalloc_state {
	uint32_t interpreter; /* index in python->interpreters */
	vaddr at;             /* _obmalloc_state of the interpreter; 0: static variables */
	vaddr map_root;       /* of the tree that finds the arena of an address; 0: not in it */
	vaddr arenas;         /* the array of arena_objects */
	uint32_t max_arenas;
	const char *found;     /* how: "symbol arenas", "search of static data" */
	bool counted;          /* whether the three counters are known */
	uint64_t arenas_total; /* ever allocated */
	uint64_t arenas_peak;  /* most at a time */
	uint64_t arenas_now;
};

/* One pool. Pools that were never used, or are free, have no blocks. */
struct pool {
	uint32_t first;  /* block_id of its first block */
	uint16_t count;  /* blocks it has room for; 0: not in use */
	uint16_t carved; /* blocks ever handed out: those before it are used or free */
	uint16_t used;
	uint8_t size_class;
	bool opaque;  /* some object of it has an opaque type; set when objects are judged */
	bool damaged; /* its header or free list contradicts itself; all carved blocks count as used
		       */
};

struct arena {
	vaddr start;      /* of the arena */
	vaddr first_pool; /* aligned */
	vaddr next_pool;  /* pools from here on were never carved */
	uint32_t pools;   /* index of its first pool in `pools` */
	uint32_t pool_count;
	uint32_t free_pools; /* as the arena's record says: free and never carved */
	uint32_t state;      /* index in pymalloc->states */
	vaddr record;
	bool readable; /* false: in whole or in part not in the image */
};

struct pymalloc {
	uint64_t arena_bytes, pool_bytes, header_bytes, alignment;
	unsigned class_count;
	VECTOR(struct pymalloc_state) states;
	VECTOR(struct arena) arenas; /* by start */
	struct pool *pools;
	size_t pool_count;
};

/* Finds the states and the arenas, and how many pools there are; the pools are not yet walked. */
struct memheap_error *pymalloc_load(struct pymalloc *pymalloc, const struct python *python,
				    struct gaps *gaps);

void pymalloc_deinit(struct pymalloc *pymalloc);

/* Called for a pool at `at`; `worker` as in parallel_fn. */
typedef void pool_fn(void *context, unsigned worker, const struct arena *arena, struct pool *pool,
		     vaddr at);

/* Calls `fn` for all pools of all arenas, in use or not, by many threads. */
void pymalloc_each_pool(const struct pymalloc *pymalloc, const struct parallel *parallel,
			const char *phase, pool_fn *fn, void *context);

/* Reads the header of a pool of `arena` (sets count, carved, size_class). */
void pymalloc_read_pool(const struct pymalloc *pymalloc, const struct memory *memory,
			const struct arena *arena, struct pool *pool, vaddr at, struct gaps *gaps);

/*
 * Walks the free list of a pool and marks free blocks in `free`, which has room for `count` bits
 * and is all zero. Sets pool->used; a damaged list is a gap.
 */
void pymalloc_walk_pool(const struct pymalloc *pymalloc, const struct memory *memory,
			struct pool *pool, vaddr at, uint64_t *free, struct gaps *gaps);

/* Bytes of a block of `size_class`. */
static inline uint64_t pymalloc_block_bytes(const struct pymalloc *pymalloc, unsigned size_class)
{
	return (size_class + 1) * pymalloc->alignment;
}

/* The address of pool `index` of an arena. */
static inline vaddr pymalloc_pool_at(const struct pymalloc *pymalloc, const struct arena *arena,
				     uint32_t index)
{
	return arena->first_pool + index * pymalloc->pool_bytes;
}

/* The arena that holds `at`, or NULL. */
const struct arena *pymalloc_find_arena(const struct pymalloc *pymalloc, vaddr at);
