/* SPDX-License-Identifier: MIT */
#include "objects.h"

#include <stdlib.h>

#include "../base/cleanup.h"
#include "judging.h"
#include "leftovers.h"
#include "runtime_blocks.h"
#include "statics.h"

/* Sums up the tags: what the blocks are that are no objects. */
static void count_block(struct objects *objects, block_tag tag, uint64_t size, bool pool,
			struct class_totals *class)
{
	switch (tag_state(tag)) {
	case BLOCK_BUFFER:
		objects->buffers[tag_detail(tag)].blocks++;
		objects->buffers[tag_detail(tag)].bytes += size;
		if (tag_type(tag) != TYPE_NONE)
			objects->by_type[tag_type(tag)].buffer_bytes += size;
		break;
	case BLOCK_PARKED:
		objects->parked[tag_detail(tag)].blocks++;
		objects->parked[tag_detail(tag)].bytes += size;
		break;
	case BLOCK_USED:
		if (pool) {
			class->unknown++;
		} else {
			objects->unknown_chunks.blocks++;
			objects->unknown_chunks.bytes += size;
		}
		break;
	default:
		break;
	}
}

static void count_pools(struct objects *objects, const struct block_map *map)
{
	const struct pymalloc *pymalloc = &map->pymalloc;

	for (size_t i = 0; i < pymalloc->pool_count; i++) {
		const struct pool *pool = &pymalloc->pools[i];
		struct class_totals *class = &objects->classes[pool->size_class];
		uint64_t size = pymalloc_block_bytes(pymalloc, pool->size_class);

		if (!pool->count)
			continue;
		class->pools++;
		class->used += pool->used;
		class->free += (uint64_t)pool->carved - pool->used;
		class->untouched += (uint64_t)pool->count - pool->carved;
		for (uint32_t j = 0; j < pool->carved; j++)
			count_block(objects, map->tags[pool->first + j], size, true, class);
	}
}

static void count_chunks(struct objects *objects, const struct block_map *map)
{
	for (size_t i = 0; i < map->malloc.chunks.count; i++)
		count_block(objects, map->tags[map->first_chunk + i],
			    map->malloc.chunks.items[i].size, false, NULL);
}

static void count_types(struct objects *objects)
{
	for (size_t i = 0; i < objects->types.list.count; i++) {
		const struct type *type = &objects->types.list.items[i];

		objects->count += objects->by_type[i].objects;
		objects->tracked += objects->by_type[i].tracked;
		if (!type->named)
			gap_add(&objects->gaps, GAP_TYPE_UNREADABLE, type->at, 0);
	}
	objects->untracked = objects->count - objects->tracked;
}

static uint32_t find_str(const struct type_table *types)
{
	for (uint32_t i = 0; i < types->list.count; i++) {
		if (!types->list.items[i].heap && !strcmp(types->list.items[i].name, "str"))
			return i;
	}
	return TYPE_NONE;
}

struct memheap_error *objects_build(struct objects *objects, struct block_map *map,
				    const struct python *python, const struct modules *modules,
				    const struct parallel *parallel)
{
	struct judge judge = { python, &objects->types };
	struct memheap_error *error;

	error = types_build(&objects->types, python, modules, map);
	if (error)
		return error;
	objects->str_type = find_str(&objects->types);
	objects->by_type = calloc(objects->types.list.count, sizeof(*objects->by_type));
	if (!objects->by_type || !statics_find(map, &judge, modules))
		return &error_no_memory;
	free_lists_mark(map, python, &objects->types);
	runtime_blocks_mark(map, python);
	if (!judge_all(objects, map, &judge, parallel))
		return &error_no_memory;
	free_lists_search(map, python, &objects->types);
	if (!leftovers_attribute(map, &objects->types, python, modules, parallel))
		return &error_no_memory;
	count_pools(objects, map);
	count_chunks(objects, map);
	count_types(objects);
	return NULL;
}

void objects_deinit(struct objects *objects)
{
	types_deinit(&objects->types);
	free(objects->by_type);
	*objects = (struct objects){ 0 };
}
