/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../base/bisect.h"
#include "../base/cleanup.h"
#include "blocks.h"

#define POOL_GRAIN      64 /* pools at a time */
#define BLOCKS_MAX      (1ULL << 31)
#define POOL_BLOCKS_MAX 2048 /* of 16 KiB pools and 8-byte blocks */
#define PAGE_GRAIN      16
#define PAGE_BLOCKS_MAX (UINT16_MAX + 1)

static void cleanup_taken(struct malloc_taken *taken)
{
	ranges_deinit(&taken->ranges);
	ranges_deinit(&taken->stacks);
	free(taken->descriptors.items);
}

bool blocks_add_taken(struct ranges *taken, const struct block_map *map,
		      const struct python *python)
{
	const struct pymalloc *pymalloc = &map->pymalloc;

	for (size_t i = 0; i < pymalloc->arenas.count; i++) {
		vaddr start = pymalloc->arenas.items[i].start;

		if (!ranges_add(taken, start, start + pymalloc->arena_bytes))
			return false;
	}
	for (size_t i = 0; i < map->mimalloc.segments.count; i++) {
		const struct mimalloc_segment *segment = &map->mimalloc.segments.items[i];

		if (!ranges_add(taken, segment->start, segment->start + segment->size))
			return false;
	}
	for (size_t i = 0; i < map->mimalloc.arenas.count; i++) {
		const struct mimalloc_arena *arena = &map->mimalloc.arenas.items[i];

		if (!ranges_add(taken, arena->start, arena->start + arena->size))
			return false;
	}
	for (size_t i = 0; i < python->frame_stacks.count; i++) {
		if (!ranges_add(taken, python->frame_stacks.items[i].start,
				python->frame_stacks.items[i].end))
			return false;
	}
	return true;
}

/* What malloc can't own: other allocators' memory, stacks, stacks of Python frames. */
static bool collect_taken(struct malloc_taken *taken, const struct block_map *map,
			  const struct python *python, const struct stacks *stacks)
{
	if (!blocks_add_taken(&taken->ranges, map, python))
		return false;
	ranges_join(&taken->ranges);
	for (size_t i = 0; i < stacks->list.count; i++) {
		if (!ranges_add(&taken->stacks, stacks->list.items[i].start,
				stacks->list.items[i].end))
			return false;
	}
	for (size_t i = 0; i < stacks->pointers.count; i++) {
		vaddr *descriptor = vector_push(&taken->descriptors);

		if (!descriptor)
			return false;
		*descriptor = stacks->pointers.items[i];
	}
	return true;
}

struct walk {
	struct block_map *map;
	const struct memory *memory;
	struct gaps *gaps; /* one for each worker */
};

static void read_pool(void *context, unsigned worker, const struct arena *arena, struct pool *pool,
		      vaddr at)
{
	const struct walk *walk = context;

	pymalloc_read_pool(&walk->map->pymalloc, walk->memory, arena, pool, at,
			   &walk->gaps[worker]);
}

/* Sets the tags of one pool's blocks. */
static void tag_pool(void *context, unsigned worker, const struct arena *arena, struct pool *pool,
		     vaddr at)
{
	const struct walk *walk = context;
	struct block_map *map = walk->map;
	uint64_t free[POOL_BLOCKS_MAX / 64] = { 0 };
	block_tag *tags = map->tags + pool->first;

	(void)arena;
	if (!pool->count)
		return;
	pymalloc_walk_pool(&map->pymalloc, walk->memory, pool, at, free, &walk->gaps[worker]);
	for (uint32_t i = 0; i < pool->carved; i++)
		tags[i] = free[i / 64] >> (i % 64) & 1 ? BLOCK_FREE : BLOCK_USED;
	for (uint32_t i = pool->carved; i < pool->count; i++)
		tags[i] = BLOCK_UNTOUCHED;
}

/* Sets the tags of the blocks of mimalloc's pages [begin, end). */
static void tag_pages(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct walk *walk = context;
	struct block_map *map = walk->map;
	uint64_t free[PAGE_BLOCKS_MAX / 64];

	for (size_t i = begin; i < end; i++) {
		struct mimalloc_page *page = &map->mimalloc.pages.items[i];
		block_tag *tags = map->tags + page->first;

		memset(free, 0, (page->carved + 63) / 64 * sizeof(*free));
		mimalloc_walk_page(walk->memory, page, free, &walk->gaps[worker]);
		for (uint32_t j = 0; j < page->carved; j++)
			tags[j] = free[j / 64] >> (j % 64) & 1 ? BLOCK_FREE : BLOCK_USED;
		for (uint32_t j = page->carved; j < page->count; j++)
			tags[j] = BLOCK_UNTOUCHED;
	}
}

/* A block that another thread freed is free, although its page does not know it yet. */
static void tag_delayed(void *context, struct mimalloc_page *page, uint32_t index)
{
	struct block_map *map = context;
	block_tag *tag = &map->tags[page->first + index];

	if (*tag != BLOCK_USED)
		return;
	*tag = BLOCK_FREE;
	page->used--;
	page->delayed++;
}

/* Gives all blocks their ids; false when there are more than ids. */
static bool number_blocks(struct block_map *map)
{
	struct pymalloc *pymalloc = &map->pymalloc;
	struct mimalloc *mimalloc = &map->mimalloc;
	uint64_t count = 0;

	for (size_t i = 0; i < pymalloc->pool_count; i++) {
		pymalloc->pools[i].first = (uint32_t)count;
		count += pymalloc->pools[i].count;
		if (count + map->malloc.chunks.count > BLOCKS_MAX)
			return false;
	}
	map->first_paged = (block_id)count;
	for (size_t i = 0; i < mimalloc->pages.count; i++) {
		mimalloc->pages.items[i].first = (uint32_t)count;
		count += mimalloc->pages.items[i].count;
		if (count + map->malloc.chunks.count > BLOCKS_MAX)
			return false;
	}
	map->first_chunk = (block_id)count;
	map->first_static = map->count = (block_id)(count + map->malloc.chunks.count);
	return true;
}

static block_tag *allocate_tags(uint64_t count)
{
	void *tags = mmap(NULL, (count + 1) * sizeof(block_tag), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return tags == MAP_FAILED ? NULL : tags;
}

static void tag_chunks(struct block_map *map)
{
	block_tag *tags = map->tags + map->first_chunk;

	for (size_t i = 0; i < map->malloc.chunks.count; i++)
		tags[i] = map->malloc.chunks.items[i].state == CHUNK_USED ? BLOCK_USED : BLOCK_FREE;
}

static struct memheap_error *walk_all(struct block_map *map, const struct python *python,
				      const struct parallel *parallel)
{
	struct walk walk = { map, &python->memory, NULL };

	_cleanup_free_ struct gaps *gaps = calloc(parallel->workers, sizeof(*gaps));
	if (!gaps)
		return &error_no_memory;
	walk.gaps = gaps;
	pymalloc_each_pool(&map->pymalloc, parallel, "reading pools", read_pool, &walk);
	if (!number_blocks(map))
		return error_create(MEMHEAP_FAILED, "cannot number the blocks: more than %llu",
				    BLOCKS_MAX);
	map->tags = allocate_tags(map->count);
	if (!map->tags)
		return &error_no_memory;
	pymalloc_each_pool(&map->pymalloc, parallel, "walking pools", tag_pool, &walk);
	parallel_for(parallel, "walking pages", map->mimalloc.pages.count, PAGE_GRAIN, tag_pages,
		     &walk);
	for (size_t i = 0; i < map->mimalloc.heaps.count; i++)
		mimalloc_each_delayed(&map->mimalloc, &python->memory,
				      &map->mimalloc.heaps.items[i], tag_delayed, map);
	tag_chunks(map);
	for (unsigned i = 0; i < parallel->workers; i++)
		gaps_merge(&map->gaps, &gaps[i]);
	return NULL;
}

struct memheap_error *blocks_build(struct block_map *map, const struct python *python,
				   const struct modules *modules, const struct stacks *stacks,
				   const struct parallel *parallel)
{
	_cleanup_(cleanup_taken) struct malloc_taken taken = { 0 };
	struct memheap_error *error;

	error = pymalloc_load(&map->pymalloc, python, &map->gaps);
	if (!error)
		error = mimalloc_load(&map->mimalloc, python, &map->gaps);
	if (error)
		return error;
	if (!collect_taken(&taken, map, python, stacks))
		return &error_no_memory;
	error = malloc_load(&map->malloc, python->memory.image, modules, &taken, &map->gaps);
	if (!error && !number_blocks_split(&map->numbers, &map->malloc, python))
		error = &error_no_memory;
	if (!error)
		error = walk_all(map, python, parallel);
	if (!error && !debug_hooks_find(map, python, parallel))
		error = &error_no_memory;
	return error;
}

void blocks_deinit(struct block_map *map)
{
	if (map->tags)
		munmap(map->tags, ((uint64_t)map->count + 1) * sizeof(*map->tags));
	pymalloc_deinit(&map->pymalloc);
	mimalloc_deinit(&map->mimalloc);
	malloc_unload(&map->malloc);
	number_blocks_deinit(&map->numbers);
	debug_hooks_deinit(&map->hooks);
	free(map->statics.items);
	*map = (struct block_map){ 0 };
}

/* Makes room for the tags of `count` blocks, and of the statics behind them. */
static bool resize_tags(struct block_map *map, uint64_t first_static)
{
	uint64_t count = first_static + map->statics.count;
	void *grown;

	if (count > BLOCKS_MAX)
		return false;
	grown = mremap(map->tags, ((uint64_t)map->count + 1) * sizeof(*map->tags),
		       (count + 1) * sizeof(*map->tags), MREMAP_MAYMOVE);
	if (grown == MAP_FAILED)
		return false;
	map->tags = grown;
	map->first_static = (block_id)first_static;
	map->count = (block_id)count;
	return true;
}

bool blocks_add_statics(struct block_map *map)
{
	return resize_tags(map, map->first_static);
}

/* Gives what is known of chunks to their new indices: those that were there, `before` in number,
 * have kept their order. */
static bool renumber_chunks(struct block_map *map, size_t before)
{
	uint8_t *guards = map->hooks.chunks ? calloc(map->malloc.chunks.count + 1, 1) : NULL;
	struct number_block *numbers = map->numbers.list.items;
	size_t old = 0, number = 0;

	if (map->hooks.chunks && !guards)
		return false;
	for (size_t i = 0; i < map->malloc.heaps.count; i++) {
		const struct heap *heap = &map->malloc.heaps.items[i];
		size_t moved = heap->first - old;

		if (heap->kind == HEAP_FOREIGN)
			continue;
		for (size_t j = 0; guards && j < heap->count; j++)
			guards[heap->first + j] = map->hooks.chunks[old + j];
		old += heap->count;
		for (; number < map->numbers.list.count && numbers[number].chunk < old; number++)
			numbers[number].chunk += moved;
	}
	assert(old == before);
	free(map->hooks.chunks);
	map->hooks.chunks = guards;
	return true;
}

bool blocks_add_known(struct block_map *map, const struct chunk *blocks, size_t count)
{
	size_t before = map->malloc.chunks.count;

	if (!malloc_add_known(&map->malloc, blocks, count) || !renumber_chunks(map, before) ||
	    !resize_tags(map, (uint64_t)map->first_chunk + map->malloc.chunks.count))
		return false;
	tag_chunks(map);
	return true;
}

uint64_t blocks_known_bytes(const struct block_map *map, const struct heap *heap)
{
	uint64_t bytes = 0;

	for (size_t i = heap->first; i < heap->first + heap->count; i++) {
		if (map->tags[map->first_chunk + i] != BLOCK_UNSEEN)
			bytes += map->malloc.chunks.items[i].size;
	}
	return bytes;
}

void blocks_forget_unused(struct block_map *map)
{
	struct gap *gap = &map->gaps.kinds[GAP_MALLOC_UNKNOWN];

	for (size_t i = 0; i < map->malloc.heaps.count; i++) {
		const struct heap *heap = &map->malloc.heaps.items[i];

		if (heap->kind != HEAP_FOREIGN)
			continue;
		for (size_t j = heap->first; j < heap->first + heap->count; j++) {
			block_tag *tag = &map->tags[map->first_chunk + j];

			if (*tag == BLOCK_USED)
				*tag = BLOCK_UNSEEN;
		}
		gap->bytes -= blocks_known_bytes(map, heap);
	}
}

struct block_run pool_run(const struct block_map *map, const struct arena *arena, struct pool *pool,
			  vaddr at)
{
	return (struct block_run){
		.first = pool->first,
		.count = pool->carved,
		.start = at + map->pymalloc.header_bytes,
		.step = pymalloc_block_bytes(&map->pymalloc, pool->size_class),
		.guards = pool_guards(map, pool->size_class),
		.opaque = &pool->opaque,
		.guard_bytes = map->hooks.bytes,
		.arena = arena,
		.pool = pool,
	};
}

struct block_run page_run(const struct block_map *map, struct mimalloc_page *page)
{
	return (struct block_run){
		.first = page->first,
		.count = page->carved,
		.start = page->start,
		.step = page->block_bytes,
		.guards = page_guards(map, page),
		.guard_bytes = map->hooks.bytes,
		.use = map->mimalloc.heaps.items[page->heap].use,
		.opaque = &page->opaque,
		.page = page,
	};
}

/* A loop over runs. */
struct run_loop {
	const struct block_map *map;
	run_fn *fn;
	void *context;
};

static void visit_pool(void *context, unsigned worker, const struct arena *arena, struct pool *pool,
		       vaddr at)
{
	const struct run_loop *loop = context;
	struct block_run run = pool_run(loop->map, arena, pool, at);

	if (run.count)
		loop->fn(loop->context, worker, &run);
}

static void visit_pages(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct run_loop *loop = context;

	for (size_t i = begin; i < end; i++) {
		struct block_run run = page_run(loop->map, &loop->map->mimalloc.pages.items[i]);

		if (run.count)
			loop->fn(loop->context, worker, &run);
	}
}

void blocks_each_run(const struct block_map *map, const struct parallel *parallel,
		     const char *phase, run_fn *fn, void *context)
{
	struct run_loop loop = { map, fn, context };

	pymalloc_each_pool(&map->pymalloc, parallel, phase, visit_pool, &loop);
	parallel_for(parallel, phase, map->mimalloc.pages.count, PAGE_GRAIN, visit_pages, &loop);
}

/* Whether block `id` of a pool or page is in use and has guards: only those with hooks need to
 * know. */
static bool is_guarded(const struct block_map *map, block_id id)
{
	return (map->hooks.pools || map->hooks.pages) &&
	       tag_state(__atomic_load_n(&map->tags[id], __ATOMIC_RELAXED)) >= BLOCK_USED;
}

static bool find_in_arena(const struct block_map *map, const struct arena *arena, vaddr at,
			  struct block *ret)
{
	const struct pymalloc *pymalloc = &map->pymalloc;
	uint64_t offset = at - arena->first_pool, index = offset / pymalloc->pool_bytes, number;
	struct block_run run;
	struct pool *pool;

	if (at < arena->first_pool || index >= arena->pool_count)
		return false;
	pool = &pymalloc->pools[arena->pools + index];
	offset -= index * pymalloc->pool_bytes;
	if (!pool->count || offset < pymalloc->header_bytes)
		return false;
	number = (offset - pymalloc->header_bytes) /
		 pymalloc_block_bytes(pymalloc, pool->size_class);
	if (number >= pool->count)
		return false;
	run = pool_run(map, arena, pool, pymalloc_pool_at(pymalloc, arena, (uint32_t)index));
	*ret = run_block(&run, (uint32_t)number, is_guarded(map, pool->first + (block_id)number));
	return true;
}

static bool find_in_page(const struct block_map *map, struct mimalloc_page *page, vaddr at,
			 struct block *ret)
{
	struct block_run run = page_run(map, page);
	uint64_t number =
		page->count && at >= page->start ? (at - page->start) / run.step : UINT64_MAX;

	if (number >= page->count)
		return false;
	*ret = run_block(&run, (uint32_t)number, is_guarded(map, run.first + (block_id)number));
	return true;
}

static struct block get_chunk(const struct block_map *map, size_t index)
{
	const struct chunk *chunk = &map->malloc.chunks.items[index];
	struct block block = {
		.id = map->first_chunk + (block_id)index,
		.start = chunk->start,
		.size = chunk->size,
		.allocator = ALLOCATOR_MALLOC,
		.begins = chunk->begins,
	};

	block_take_off_guards(&block, chunk_guards(map, index), map->hooks.bytes);
	return block;
}

static bool find_in_heap(const struct block_map *map, vaddr at, struct block *ret)
{
	const struct heap *heap = malloc_find_heap(&map->malloc, at);
	size_t index = heap ? malloc_find_chunk(&map->malloc, heap, at) : SIZE_MAX;

	if (index == SIZE_MAX)
		return false;
	*ret = get_chunk(map, index);
	return true;
}

bool block_find(const struct block_map *map, vaddr at, struct block *ret)
{
	const struct arena *arena = pymalloc_find_arena(&map->pymalloc, at);
	struct mimalloc_page *page;

	if (arena)
		return find_in_arena(map, arena, at, ret);
	page = mimalloc_find_page(&map->mimalloc, at);
	return page ? find_in_page(map, page, at, ret) : find_in_heap(map, at, ret);
}

/* The pool that holds block `id`: its index. Empty ones begin with their successor. */
static size_t find_pool(const struct pymalloc *pymalloc, block_id id)
{
	return bisect(i, pymalloc->pool_count, pymalloc->pools[i].first <= id) - 1;
}

static const struct arena *arena_of_pool(const struct pymalloc *pymalloc, size_t pool)
{
	const struct arena *arenas = pymalloc->arenas.items;

	return &arenas[bisect(i, pymalloc->arenas.count, arenas[i].pools <= pool) - 1];
}

/* The page that holds block `id`. Empty ones begin with their successor. */
static struct mimalloc_page *page_of_block(const struct block_map *map, block_id id)
{
	struct mimalloc_page *pages = map->mimalloc.pages.items;

	return &pages[bisect(i, map->mimalloc.pages.count, pages[i].first <= id) - 1];
}

struct block block_get(const struct block_map *map, block_id id)
{
	const struct pymalloc *pymalloc = &map->pymalloc;
	const struct arena *arena;
	struct block_run run;
	size_t index;

	if (id >= map->first_chunk)
		return get_chunk(map, id - map->first_chunk);
	if (id >= map->first_paged) {
		run = page_run(map, page_of_block(map, id));
		return run_block(&run, id - run.first, is_guarded(map, id));
	}
	index = find_pool(pymalloc, id);
	arena = arena_of_pool(pymalloc, index);
	run = pool_run(map, arena, &pymalloc->pools[index],
		       pymalloc_pool_at(pymalloc, arena, (uint32_t)(index - arena->pools)));
	return run_block(&run, id - run.first, is_guarded(map, id));
}
