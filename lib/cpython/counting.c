/* SPDX-License-Identifier: MIT */
#include "counting.h"

#include <stdlib.h>

#include "../base/cleanup.h"

#define CHUNK_GRAIN 4096

/* The sums of one worker. */
struct PER_WORKER counts {
	struct block_totals buffers[BUFFER_KINDS];
	struct block_totals parked[FREE_LIST_KINDS];
	struct block_totals unknown_chunks;
	struct class_totals *classes; /* by state, by size class */
	uint64_t *owned;              /* bytes of buffers, by type of the owner */
};

struct pass {
	const struct block_map *map;
	struct counts *counts; /* by worker */
};

static void add(struct block_totals *totals, uint64_t bytes)
{
	totals->blocks++;
	totals->bytes += bytes;
}

/* Counts a block; false when nobody knows what it is used for. */
static bool count_block(struct counts *counts, block_tag tag, uint64_t size)
{
	switch (tag_state(tag)) {
	case BLOCK_BUFFER:
		add(&counts->buffers[tag_detail(tag)], size);
		if (tag_type(tag) != TYPE_NONE)
			counts->owned[tag_type(tag)] += size;
		return true;
	case BLOCK_PARKED:
		add(&counts->parked[tag_detail(tag)], size);
		return true;
	default:
		return tag_state(tag) != BLOCK_USED;
	}
}

static void count_run(void *context, unsigned worker, const struct block_run *run)
{
	const struct pass *pass = context;
	struct counts *counts = &pass->counts[worker];
	const struct pool *pool = run->pool;
	struct class_totals *class;
	uint64_t size = run->step - run->guards * run->guard_bytes;
	uint32_t unknown = 0;

	for (uint32_t i = 0; i < run->count; i++)
		unknown += !count_block(counts, pass->map->tags[run->first + i], size);
	if (run->page) {
		run->page->unknown = unknown;
		return;
	}
	class = &counts->classes[run->arena->state * SIZE_CLASSES_MAX + pool->size_class];
	class->pools++;
	class->used += pool->used;
	class->free += (uint64_t)pool->carved - pool->used;
	class->untouched += (uint64_t)pool->count - pool->carved;
	class->unknown += unknown;
}

static void count_chunks(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct pass *pass = context;
	const struct block_map *map = pass->map;
	struct counts *counts = &pass->counts[worker];

	for (size_t i = begin; i < end; i++) {
		uint64_t size =
			map->malloc.chunks.items[i].size - chunk_guards(map, i) * map->hooks.bytes;

		if (!count_block(counts, map->tags[map->first_chunk + i], size))
			add(&counts->unknown_chunks, size);
	}
}

static void merge_totals(struct block_totals *to, const struct block_totals *from, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		to[i].blocks += from[i].blocks;
		to[i].bytes += from[i].bytes;
	}
}

static void merge_counts(struct objects *objects, const struct counts *counts, size_t states)
{
	merge_totals(objects->buffers, counts->buffers, BUFFER_KINDS);
	merge_totals(objects->parked, counts->parked, FREE_LIST_KINDS);
	merge_totals(&objects->unknown_chunks, &counts->unknown_chunks, 1);
	for (size_t i = 0; i < states * SIZE_CLASSES_MAX; i++) {
		objects->classes[i].pools += counts->classes[i].pools;
		objects->classes[i].used += counts->classes[i].used;
		objects->classes[i].free += counts->classes[i].free;
		objects->classes[i].untouched += counts->classes[i].untouched;
		objects->classes[i].unknown += counts->classes[i].unknown;
	}
	for (size_t i = 0; i < objects->types.list.count; i++)
		objects->by_type[i].buffer_bytes += counts->owned[i];
}

bool count_blocks(struct objects *objects, struct block_map *map, const struct parallel *parallel)
{
	size_t states = map->pymalloc.states.count, workers = parallel->workers;
	size_t classes = states * SIZE_CLASSES_MAX, types = objects->types.list.count;
	_cleanup_free_ struct counts *counts = parallel_results(parallel, sizeof(*counts));
	_cleanup_free_ struct class_totals *worker_classes =
		calloc(workers * classes + 1, sizeof(*worker_classes));
	_cleanup_free_ uint64_t *owned = calloc(workers * types + 1, sizeof(*owned));
	struct pass pass = { map, counts };

	objects->classes = calloc(classes + 1, sizeof(*objects->classes));
	if (!counts || !worker_classes || !owned || !objects->classes)
		return false;
	for (size_t i = 0; i < workers; i++) {
		counts[i].classes = worker_classes + i * classes;
		counts[i].owned = owned + i * types;
	}
	blocks_each_run(map, parallel, "summing up", count_run, &pass);
	parallel_for(parallel, "summing up", map->malloc.chunks.count, CHUNK_GRAIN, count_chunks,
		     &pass);
	for (size_t i = 0; i < workers; i++)
		merge_counts(objects, &counts[i], states);
	mimalloc_sum_heaps(&map->mimalloc);
	return true;
}
