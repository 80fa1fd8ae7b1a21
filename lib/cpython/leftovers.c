/* SPDX-License-Identifier: MIT */
#include "leftovers.h"

#include <stdlib.h>

#include "../base/cleanup.h"

#define PAGE_SHIFT   12
#define FILTER_BITS  (1U << 20)
#define CHUNK_GRAIN  4096
#define HEADER_BYTES 16 /* of an object: its refcount and its type */

/* Which pages hold unknown blocks: most words can be passed over without finding their block. */
struct filter {
	uint64_t bits[FILTER_BITS / 64];
};

struct search {
	struct block_map *map;
	const struct type_table *types;
	const struct image *image;
	struct filter *filter;
};

static inline uint64_t filter_bit(vaddr at)
{
	return (at >> PAGE_SHIFT) % FILTER_BITS;
}

static void filter_add(struct filter *filter, vaddr at)
{
	filter->bits[filter_bit(at) / 64] |= 1ULL << filter_bit(at) % 64;
}

static inline bool filter_may_have(const struct filter *filter, vaddr at)
{
	return filter->bits[filter_bit(at) / 64] >> filter_bit(at) % 64 & 1;
}

void leftovers_claims(const struct object *object, own_fn *report, void *closure)
{
	uint64_t end = MIN(object->type->basic_size, object->room);

	if (object->type->decoder)
		return;
	for (uint64_t at = HEADER_BYTES; at + sizeof(vaddr) <= end; at += sizeof(vaddr)) {
		vaddr word = load_u64(object->bytes + at);

		if (word % sizeof(vaddr) == 0 && word)
			report(closure, word, BUFFER_EXTENSION, false);
	}
}

/* The block that begins at `at`, if it is in use and of unknown use, or claimed by leftovers. */
static bool find_open(const struct search *search, vaddr at, struct block *block)
{
	return filter_may_have(search->filter, at) && block_find(search->map, at, block) &&
	       block->start == at;
}

/* An object at work. */
struct instance {
	const struct search *search;
	uint32_t type;
};

/* Of several owners, none owns the block alone. */
static void claim(void *closure, vaddr at, enum buffer_kind kind, bool shared)
{
	const struct instance *instance = closure;
	block_tag mine = tag_make(BLOCK_BUFFER, kind, shared ? TYPE_NONE : instance->type);
	block_tag ours = tag_make(BLOCK_BUFFER, kind, TYPE_NONE), old = BLOCK_USED;
	struct block block;
	block_tag *tag;

	if (!find_open(instance->search, at, &block))
		return;
	tag = &instance->search->map->tags[block.id];
	if (!__atomic_compare_exchange_n(tag, &old, mine, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED) &&
	    tag_state(old) == BLOCK_BUFFER && tag_detail(old) == kind)
		__atomic_store_n(tag, ours, __ATOMIC_RELAXED);
}

/* Searches the instance in the block at `at` of `size` bytes. */
static void search_object(const struct search *search, block_tag tag, vaddr at, uint64_t size)
{
	struct instance instance = { search, tag_type(tag) };
	uint64_t before = (uint64_t)tag_detail(tag) * 16;
	struct object object = {
		.at = at + before,
		.room = size - before,
		.type = &search->types->list.items[tag_type(tag)],
	};

	if (object.type->decoder || object.type->basic_size <= HEADER_BYTES)
		return;
	object.bytes = image_at(search->image, object.at, object.room);
	if (object.bytes)
		leftovers_claims(&object, claim, &instance);
}

static void search_pool(const struct search *search, const struct pool *pool, vaddr at)
{
	const struct pymalloc *pymalloc = &search->map->pymalloc;
	uint64_t size = pymalloc_block_bytes(pymalloc, pool->size_class);

	for (uint32_t i = 0; i < pool->carved; i++) {
		block_tag tag = search->map->tags[pool->first + i];

		if (tag_state(tag) == BLOCK_OBJECT)
			search_object(search, tag, at + pymalloc->header_bytes + i * size, size);
	}
}

static void search_arenas(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct search *search = context;
	const struct pymalloc *pymalloc = &search->map->pymalloc;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		const struct arena *arena = &pymalloc->arenas.items[i];

		for (uint32_t j = 0; j < arena->pool_count; j++)
			search_pool(search, &pymalloc->pools[arena->pools + j],
				    pymalloc_pool_at(pymalloc, arena, j));
	}
}

static void search_chunks(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct search *search = context;
	const struct block_map *map = search->map;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		const struct chunk *chunk = &map->malloc.chunks.items[i];
		block_tag tag = map->tags[map->first_chunk + i];

		if (tag_state(tag) == BLOCK_OBJECT)
			search_object(search, tag, chunk->start, chunk->size);
	}
}

/* Blocks that belong to modules or extension types, and whose words are yet to be searched. */
struct worklist {
	VECTOR(block_id) blocks;
	bool failed;
};

static void push(struct worklist *list, block_id id)
{
	block_id *item = vector_push(&list->blocks);

	if (item)
		*item = id;
	else
		list->failed = true;
}

/* Takes the unknown blocks that words of [bytes, bytes + size) point to. Chunks of malloc only if
 * `chunks`: C libraries have their own. */
static void take_words(const struct search *search, struct worklist *list, const uint8_t *bytes,
		       uint64_t size, enum buffer_kind kind, bool chunks)
{
	for (uint64_t at = 0; at + sizeof(vaddr) <= size; at += sizeof(vaddr)) {
		vaddr word = load_u64(bytes + at);
		struct block block;

		if (!find_open(search, word, &block) || (!block.pool && !chunks) ||
		    search->map->tags[block.id] != BLOCK_USED)
			continue;
		search->map->tags[block.id] = tag_make(BLOCK_BUFFER, kind, TYPE_NONE);
		push(list, block.id);
	}
}

static void search_modules(const struct search *search, struct worklist *list,
			   const struct modules *modules, const struct module *python)
{
	for (size_t i = 0; i < search->image->segments.count; i++) {
		const struct segment *segment = &search->image->segments.items[i];
		const struct module *module = modules_find(modules, segment->start);

		if (module)
			take_words(search, list, segment->bytes,
				   module_writable_size(module, segment), BUFFER_MODULE_DATA,
				   module == python);
	}
}

/* Pushes the blocks that are of unknown make although their owner is known. */
static void push_opaque(struct worklist *list, const struct block_map *map)
{
	for (block_id id = 0; id < map->first_static; id++) {
		block_tag tag = map->tags[id];

		if (tag_state(tag) == BLOCK_BUFFER &&
		    (tag_detail(tag) == BUFFER_EXTENSION || tag_detail(tag) == BUFFER_MODULE_STATE))
			push(list, id);
	}
}

static bool search_closure(const struct search *search, struct worklist *list)
{
	while (list->blocks.count && !list->failed) {
		block_id id = list->blocks.items[--list->blocks.count];
		enum buffer_kind kind = tag_detail(search->map->tags[id]);
		struct block block = block_get(search->map, id);
		const uint8_t *bytes = image_at(search->image, block.start, block.size);

		if (kind == BUFFER_MODULE_STATE)
			kind = BUFFER_MODULE_DATA;
		if (bytes)
			take_words(search, list, bytes, block.size, kind, false);
	}
	return !list->failed;
}

/* False when nothing is unknown. */
static bool filter_fill(struct filter *filter, const struct block_map *map)
{
	bool found = false;

	for (block_id id = 0; id < map->first_static; id++) {
		if (map->tags[id] != BLOCK_USED)
			continue;
		filter_add(filter, block_get(map, id).start);
		found = true;
	}
	return found;
}

bool leftovers_attribute(struct block_map *map, const struct type_table *types,
			 const struct python *python, const struct modules *modules,
			 const struct parallel *parallel)
{
	_cleanup_free_ struct filter *filter = calloc(1, sizeof(*filter));
	struct search search = { map, types, python->memory.image, filter };
	struct worklist list = { 0 };
	bool done;

	if (!filter)
		return false;
	if (!filter_fill(filter, map))
		return true;
	parallel_for(parallel, "attributing unknown blocks", map->pymalloc.arenas.count, 1,
		     search_arenas, &search);
	parallel_for(parallel, "attributing unknown chunks", map->malloc.chunks.count, CHUNK_GRAIN,
		     search_chunks, &search);
	push_opaque(&list, map);
	search_modules(&search, &list, modules, python->module);
	done = search_closure(&search, &list);
	free(list.blocks.items);
	return done;
}
