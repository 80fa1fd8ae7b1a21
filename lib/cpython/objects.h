/* SPDX-License-Identifier: MIT */
/*
 * The object table: which blocks are objects, which are the buffers of objects, and what remains.
 *
 * A used block is an object when, behind the pre-header that the type asks for, there is a
 * refcount that can be one, a known type, GC links that lead back, and contents that the type's
 * decoder accepts. Every object then claims the blocks that it owns. Where a block looks like an
 * object and is claimed too, the claim wins unless the garbage collector tracks the object.
 */
#pragma once

#include "free_lists.h"
#include "gc.h"

/* Sums over all objects of one type. */
struct type_totals {
	uint64_t objects;
	uint64_t shallow_bytes; /* as sys.getsizeof() says */
	uint64_t block_bytes;   /* the objects' own blocks */
	uint64_t buffer_bytes;  /* blocks that only they own */
	uint64_t static_bytes;  /* objects in static data */
	uint64_t tracked;       /* objects that the garbage collector tracks */
	uint64_t frozen;        /* by gc.freeze(), where each object tells */
};

/* Blocks of one use. */
struct block_totals {
	uint64_t blocks, bytes;
};

/* What the blocks of one pymalloc size class, or of one arena, are. */
struct class_totals {
	uint64_t pools;
	uint64_t used, free, untouched; /* blocks */
	uint64_t unknown;               /* used blocks that nobody knows */
};

struct objects {
	struct type_table types;
	struct type_totals *by_type; /* by index of types.list */
	struct block_totals buffers[BUFFER_KINDS];
	struct block_totals parked[FREE_LIST_KINDS];
	struct class_totals *classes;       /* by allocator state, then size class */
	struct block_totals unknown_chunks; /* used, but neither object nor buffer */
	struct block_totals interned;       /* interned str among the objects, by their blocks */
	uint32_t str_type, code_type;       /* indices of the types str and code */
	uint64_t count, tracked, untracked, frozen;
	size_t names_recovered; /* of static types, whose own text is missing */
	struct gaps gaps;
};

struct memheap_error *objects_build(struct objects *objects, struct block_map *map,
				    const struct python *python, const struct modules *modules,
				    const struct parallel *parallel);

void objects_deinit(struct objects *objects);

/* The sums of one size class of one state of pymalloc. */
static inline const struct class_totals *objects_class(const struct objects *objects, size_t state,
						       unsigned size_class)
{
	return &objects->classes[state * SIZE_CLASSES_MAX + size_class];
}

/* An object of the table, with what is known of it. */
struct object_info {
	vaddr at;
	uint32_t type;
	uint64_t shallow_bytes, occupied_bytes, refcount;
	bool gc_tracked;
	bool is_static;
	struct block block; /* unless static */
};

/* Looks at block `id`; false when it is no object. */
bool objects_get(const struct objects *objects, const struct block_map *map,
		 const struct python *python, block_id id, struct object_info *ret);

/* Whether the object of block `id` owns the block that begins at `at`, and how. */
bool objects_claims(const struct objects *objects, const struct block_map *map,
		    const struct python *python, block_id id, vaddr at, enum buffer_kind *kind,
		    bool *shared);
