/* SPDX-License-Identifier: MIT */
/*
 * The block map: every block of every allocator, and what each of them is.
 *
 * Blocks have dense ids: those of pymalloc's pools, pool by pool in the order of addresses, then
 * those of mimalloc's pages likewise, then malloc's chunks, then the objects in static data. One
 * 32-bit tag for each block says what it is; from an address to its block is arithmetic.
 */
#pragma once

#include "../base/parallel.h"
#include "../malloc/malloc.h"
#include "../target/stacks.h"
#include "allocators/mimalloc.h"
#include "allocators/number_blocks.h"
#include "allocators/pymalloc.h"
#include "debug_hooks.h"

typedef uint32_t block_id;

#define BLOCK_NONE UINT32_MAX

enum block_state {
	BLOCK_UNSEEN,    /* not a block */
	BLOCK_FREE,      /* handed out once, given back */
	BLOCK_UNTOUCHED, /* never handed out */
	BLOCK_USED,      /* handed out; nobody knows what for */
	BLOCK_OBJECT,    /* an object begins here, after its pre-header */
	BLOCK_BUFFER,    /* memory that an object, or the interpreter, owns */
	BLOCK_PARKED,    /* a dead object on one of CPython's free lists */
};

/*
 * A tag: the state in bits 0-2; in bits 3-8 a detail (objects: the pre-header in units of
 * TAG_PREHEADER_UNIT; buffers: enum buffer_kind; parked: enum free_list_kind); above them the type
 * of the object, or of the buffer's owner.
 */
typedef uint32_t block_tag;

#define TAG_PREHEADER_UNIT 8
#define TAG_DETAIL_SHIFT   3
#define TAG_DETAIL_MASK    0x3F
#define TAG_TYPE_SHIFT     9
#define TAG_TYPE_MAX       (UINT32_MAX >> TAG_TYPE_SHIFT)

/* The pre-header's bytes of an object, from its tag. */
static inline uint64_t tag_preheader(block_tag tag)
{
	return (uint64_t)(tag >> TAG_DETAIL_SHIFT & TAG_DETAIL_MASK) * TAG_PREHEADER_UNIT;
}

static inline block_tag tag_make(enum block_state state, unsigned detail, uint32_t type)
{
	return (block_tag)state | detail << TAG_DETAIL_SHIFT | type << TAG_TYPE_SHIFT;
}

static inline enum block_state tag_state(block_tag tag)
{
	return tag & 7;
}

static inline unsigned tag_detail(block_tag tag)
{
	return tag >> TAG_DETAIL_SHIFT & TAG_DETAIL_MASK;
}

static inline uint32_t tag_type(block_tag tag)
{
	return tag >> TAG_TYPE_SHIFT;
}

/* An object in static data: it is no allocator's block, but has a tag like one. */
struct static_object {
	vaddr at;
	uint32_t size; /* bytes that it covers */
};

struct block_map {
	struct pymalloc pymalloc;
	struct mimalloc mimalloc;
	struct malloc_map malloc;
	VECTOR(struct static_object) statics; /* by address */
	block_id first_paged, first_chunk, first_static, count;
	block_tag *tags;
	struct number_blocks numbers; /* whose objects are chunks */
	struct debug_hooks hooks;
	struct gaps gaps;
};

enum allocator {
	ALLOCATOR_PYMALLOC,
	ALLOCATOR_MIMALLOC,
	ALLOCATOR_MALLOC,
};

/* A block, found. */
struct block {
	block_id id;
	vaddr start;
	uint64_t size; /* usable bytes; the allocator's header and the debug hooks' guards excluded
			*/
	uint8_t allocator; /* enum allocator */
	uint8_t guards;    /* of the debug hooks, one within the other */
	uint8_t use;       /* enum mimalloc_use */
	uint8_t begins;    /* enum chunk_begins */
};

/* Blocks of one size in a row: those of a pool, or a page of mimalloc, that were ever handed out.
 */
struct block_run {
	block_id first;
	uint32_t count;
	vaddr start;
	uint64_t step;             /* from one block to the next: the allocator's size of a block */
	unsigned guards;           /* of a used block, one within the other */
	unsigned guard_bytes;      /* of each, at both ends */
	uint8_t use;               /* enum mimalloc_use */
	bool *opaque;              /* some object of it has an opaque type */
	const struct arena *arena; /* of pymalloc, or NULL */
	struct pool *pool;         /* likewise */
	struct mimalloc_page *page; /* of mimalloc, or NULL */
};

/* The blocks of the pool at `at`, or of a page of mimalloc. */
struct block_run pool_run(const struct block_map *map, const struct arena *arena, struct pool *pool,
			  vaddr at);
struct block_run page_run(const struct block_map *map, struct mimalloc_page *page);

/* Called for a run; `worker` as in parallel_fn. */
typedef void run_fn(void *context, unsigned worker, const struct block_run *run);

/* Calls `fn` for all runs, by many threads; malloc's chunks are in none. */
void blocks_each_run(const struct block_map *map, const struct parallel *parallel,
		     const char *phase, run_fn *fn, void *context);

/* Finds all blocks and their states; BLOCK_USED is as far as it goes. */
struct memheap_error *blocks_build(struct block_map *map, const struct python *python,
				   const struct modules *modules, const struct stacks *stacks,
				   const struct parallel *parallel);

void blocks_deinit(struct block_map *map);

/* Adds what CPython's own allocators and its stacks of frames have; false when out of memory. */
bool blocks_add_taken(struct ranges *taken, const struct block_map *map,
		      const struct python *python);

/* Makes room for the tags of `map->statics`, once they are known; false when out of memory. */
bool blocks_add_statics(struct block_map *map);

/* Adds blocks that are known in memory of an allocator that is not walked: malloc_add_known().
 * Before any block is judged; false when out of memory. */
bool blocks_add_known(struct block_map *map, const struct chunk *blocks, size_t count);

/* Forgets those of them that have turned out to be nobody's, and takes the others out of the gap.
 */
void blocks_forget_unused(struct block_map *map);

/* The bytes of the blocks of a foreign heap that were not forgotten. */
uint64_t blocks_known_bytes(const struct block_map *map, const struct heap *heap);

/* The block whose [start, start + size), or guards, hold `at`; false when there is none. */
bool block_find(const struct block_map *map, vaddr at, struct block *ret);

/* The block with `id`, which is no static. */
struct block block_get(const struct block_map *map, block_id id);

/* How many guards used blocks of `size_class` have. */
static inline unsigned pool_guards(const struct block_map *map, unsigned size_class)
{
	return map->hooks.pools &&
	       pymalloc_block_bytes(&map->pymalloc, size_class) >= map->hooks.bytes;
}

/* The same for a page of mimalloc. */
static inline unsigned page_guards(const struct block_map *map, const struct mimalloc_page *page)
{
	return map->hooks.pages && page->block_bytes >= map->hooks.bytes;
}

/* Takes the debug hooks' guards, of `bytes` each, off a block that is in use. */
static inline void block_take_off_guards(struct block *block, unsigned guards, unsigned bytes)
{
	block->guards = (uint8_t)guards;
	block->start += guards * GUARD_FRONT;
	block->size -= guards * bytes;
}

/* Block `index` of a run; `guarded`: it is in use, and has guards where there are hooks. */
static inline struct block run_block(const struct block_run *run, uint32_t index, bool guarded)
{
	struct block block = {
		.id = run->first + index,
		.start = run->start + index * run->step,
		.size = run->step,
		.allocator = run->page ? ALLOCATOR_MIMALLOC : ALLOCATOR_PYMALLOC,
		.use = run->use,
	};

	if (guarded)
		block_take_off_guards(&block, run->guards, run->guard_bytes);
	return block;
}

/* The bytes of a run, or NULL. */
static inline const uint8_t *run_bytes(const struct block_run *run, const struct image *image)
{
	return image_at(image, run->start, run->count * run->step);
}

/* How much of a block, which begins with `bytes`, the program asked for, as far as known. */
static inline uint64_t block_room(const struct block *block, const uint8_t *bytes)
{
	return block->guards ? guarded_request(bytes, block->size) : block->size;
}

static inline unsigned chunk_guards(const struct block_map *map, size_t chunk)
{
	return map->hooks.chunks ? map->hooks.chunks[chunk] : 0;
}
