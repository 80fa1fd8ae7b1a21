/* SPDX-License-Identifier: MIT */
#include "leftovers.h"

#include <stdlib.h>

#include "../base/cleanup.h"
#include "idle_words.h"

#define PAGE_SHIFT  12
#define FILTER_BITS (1U << 20)
#define CHUNK_GRAIN 4096
#define TREE_HEADER 32
#define TREE_BYTES  8192 /* DEFAULT_BLOCK_SIZE */

/* Which pages hold unknown blocks: most words can be passed over without finding their block. */
struct filter {
	uint64_t bits[FILTER_BITS / 64];
};

/* Blocks whose owner is known, but not what they hold: their words are yet to be searched. */
struct worklist {
	VECTOR(block_id) blocks;
	bool failed; /* out of memory */
};

/* What one worker has found. */
struct PER_WORKER finds {
	bool unknown; /* there are unknown blocks */
	struct worklist extension, states;
};

struct search {
	struct block_map *map;
	const struct type_table *types;
	const struct layout *layout;
	const struct image *image;
	struct filter *filter;
	struct finds *finds; /* by worker */
	struct ranges idle;  /* words of static data that hold nothing */
};

static inline uint64_t filter_bit(vaddr at)
{
	return (at >> PAGE_SHIFT) % FILTER_BITS;
}

static void filter_add(struct filter *filter, vaddr at)
{
	uint64_t *word = &filter->bits[filter_bit(at) / 64], bit = 1ULL << filter_bit(at) % 64;

	if (!(__atomic_load_n(word, __ATOMIC_RELAXED) & bit))
		__atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
}

static inline bool filter_may_have(const struct filter *filter, vaddr at)
{
	return filter->bits[filter_bit(at) / 64] >> filter_bit(at) % 64 & 1;
}

static void push(struct worklist *list, block_id id)
{
	block_id *item = vector_push(&list->blocks);

	if (item)
		*item = id;
	else
		list->failed = true;
}

/* Whether the block is one of an arena that the compiler keeps a syntax tree in while it runs a
 * script: {its size, what is used of it, the next one, the address behind these}.
 * Python/pyarena.c, block_new() */
static bool holds_syntax_tree(const struct search *search, const struct block *block)
{
	const uint8_t *bytes = block->size >= TREE_HEADER + TREE_BYTES
				       ? image_at(search->image, block->start, TREE_HEADER)
				       : NULL;
	uint64_t size = bytes ? load_u64(bytes) : 0;

	return size >= TREE_BYTES && size <= block->size - TREE_HEADER &&
	       load_u64(bytes + 8) <= size && load_u64(bytes + 24) == block->start + TREE_HEADER;
}

/* Notes one block: whether it is unknown, or the state of a module. */
static void survey_block(const struct search *search, struct finds *finds,
			 const struct block *block)
{
	block_tag tag = search->map->tags[block->id];

	if (tag == BLOCK_USED && holds_syntax_tree(search, block)) {
		search->map->tags[block->id] =
			tag_make(BLOCK_BUFFER, BUFFER_SYNTAX_TREE, TYPE_NONE);
	} else if (tag == BLOCK_USED) {
		filter_add(search->filter, block->start);
		finds->unknown = true;
	} else if (tag_state(tag) == BLOCK_BUFFER && tag_detail(tag) == BUFFER_MODULE_STATE) {
		push(&finds->states, block->id);
	}
}

static void survey_run(void *context, unsigned worker, const struct block_run *run)
{
	const struct search *search = context;

	for (uint32_t i = 0; i < run->count; i++) {
		struct block block = run_block(run, i, true);

		survey_block(search, &search->finds[worker], &block);
	}
}

static void survey_chunks(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct search *search = context;
	const struct block_map *map = search->map;

	for (size_t i = begin; i < end; i++) {
		struct block block = block_get(map, map->first_chunk + (block_id)i);

		survey_block(search, &search->finds[worker], &block);
	}
}

void leftovers_claims(const struct layout *layout, const struct object *object, own_fn *report,
		      void *closure)
{
	uint64_t begin = layout_offset(layout, SIZE_OBJECT);
	uint64_t end = MIN(object->type->basic_size, object->room);

	if (!object->type->opaque)
		return;
	for (uint64_t at = begin; at + sizeof(vaddr) <= end; at += sizeof(vaddr)) {
		vaddr word = load_u64(object->bytes + at);

		if (word % sizeof(vaddr) == 0 && word)
			report(closure, word, 0, BUFFER_EXTENSION, false);
	}
}

/* The block that begins at `at`, which may be unknown. */
static bool find_open(const struct search *search, vaddr at, struct block *block)
{
	return filter_may_have(search->filter, at) && block_find(search->map, at, block) &&
	       block->start == at;
}

/* An object at work. */
struct instance {
	const struct search *search;
	struct finds *finds;
	uint32_t type;
};

/* Of several owners, none owns the block alone. */
static void claim(void *closure, vaddr at, uint64_t size, enum buffer_kind kind, bool shared)
{
	const struct instance *instance = closure;
	block_tag mine = tag_make(BLOCK_BUFFER, kind, shared ? TYPE_NONE : instance->type);
	block_tag ours = tag_make(BLOCK_BUFFER, kind, TYPE_NONE), old = BLOCK_USED;
	struct block block;
	block_tag *tag;

	(void)size;
	if (!find_open(instance->search, at, &block))
		return;
	tag = &instance->search->map->tags[block.id];
	if (__atomic_compare_exchange_n(tag, &old, mine, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		push(&instance->finds->extension, block.id);
	else if (tag_state(old) == BLOCK_BUFFER && tag_detail(old) == kind)
		__atomic_store_n(tag, ours, __ATOMIC_RELAXED);
}

/* Searches the instance in the block. */
static void search_block(const struct search *search, struct finds *finds,
			 const struct block *block)
{
	block_tag tag = search->map->tags[block->id];
	struct instance instance = { search, finds, tag_type(tag) };
	uint64_t before = tag_preheader(tag);
	struct object object = { .at = block->start + before, .room = block->size - before };

	if (tag_state(tag) != BLOCK_OBJECT)
		return;
	object.type = &search->types->list.items[tag_type(tag)];
	object.bytes = object.type->opaque ? image_at(search->image, object.at, object.room) : NULL;
	if (object.bytes)
		leftovers_claims(search->layout, &object, claim, &instance);
}

static void search_run(void *context, unsigned worker, const struct block_run *run)
{
	const struct search *search = context;

	for (uint32_t i = 0; *run->opaque && i < run->count; i++) {
		struct block block = run_block(run, i, true);

		search_block(search, &search->finds[worker], &block);
	}
}

static void search_chunks(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct search *search = context;
	const struct block_map *map = search->map;

	for (size_t i = begin; i < end; i++) {
		struct block block = block_get(map, map->first_chunk + (block_id)i);

		search_block(search, &search->finds[worker], &block);
	}
}

struct words {
	vaddr at;
	const uint8_t *bytes;
	uint64_t size;
};

/* Takes the unknown blocks that the words point to. Chunks of malloc only if `chunks`: C libraries
 * have their own. */
static void take_words(const struct search *search, struct worklist *list,
		       const struct words *words, enum buffer_kind kind, bool chunks)
{
	for (uint64_t at = 0; at + sizeof(vaddr) <= words->size; at += sizeof(vaddr)) {
		vaddr word = load_u64(words->bytes + at);
		struct block block;

		if (!find_open(search, word, &block) ||
		    (block.allocator == ALLOCATOR_MALLOC && !chunks) ||
		    search->map->tags[block.id] != BLOCK_USED ||
		    ranges_hold(&search->idle, words->at + at))
			continue;
		search->map->tags[block.id] = tag_make(BLOCK_BUFFER, kind, TYPE_NONE);
		push(list, block.id);
	}
}

static void take_module_data(const struct search *search, struct worklist *list,
			     const struct modules *modules, const struct module *python)
{
	for (size_t i = 0; i < search->image->segments.count; i++) {
		const struct segment *segment = &search->image->segments.items[i];
		const struct module *module = modules_find(modules, segment->start);
		struct words words = { segment->start, segment->bytes, 0 };

		if (!module)
			continue;
		words.size = module_writable_size(module, segment);
		take_words(search, list, &words, BUFFER_MODULE_DATA, module == python);
	}
}

/* Takes all that the blocks of the list lead to. */
static void take_closure(const struct search *search, struct worklist *list, enum buffer_kind kind)
{
	while (list->blocks.count && !list->failed) {
		block_id id = list->blocks.items[--list->blocks.count];
		struct block block = block_get(search->map, id);
		const uint8_t *bytes = image_at(search->image, block.start, block.size);
		const struct words words = { block.start, bytes, block.size };

		if (bytes)
			take_words(search, list, &words, kind, false);
	}
}

/* Takes what is left, in an order that doesn't depend on the workers'; false when out of memory. */
static bool take_all(const struct search *search, unsigned workers, const struct modules *modules,
		     const struct module *python)
{
	bool failed = false;

	for (unsigned i = 0; i < workers; i++)
		take_closure(search, &search->finds[i].extension, BUFFER_EXTENSION);
	take_module_data(search, &search->finds[0].states, modules, python);
	for (unsigned i = 0; i < workers; i++)
		take_closure(search, &search->finds[i].states, BUFFER_MODULE_DATA);
	for (unsigned i = 0; i < workers; i++)
		failed |= search->finds[i].extension.failed || search->finds[i].states.failed;
	return !failed;
}

static bool any_unknown(const struct search *search, const struct parallel *parallel)
{
	bool unknown = false;

	blocks_each_run(search->map, parallel, "looking for unknown blocks", survey_run,
			(void *)search);
	parallel_for(parallel, "looking for unknown chunks", search->map->malloc.chunks.count,
		     CHUNK_GRAIN, survey_chunks, (void *)search);
	for (unsigned i = 0; i < parallel->workers; i++)
		unknown |= search->finds[i].unknown;
	return unknown;
}

bool leftovers_attribute(struct block_map *map, const struct heap_view *view,
			 const struct modules *modules, const struct parallel *parallel)
{
	_cleanup_free_ struct filter *filter = calloc(1, sizeof(*filter));
	_cleanup_free_ struct finds *finds = parallel_results(parallel, sizeof(*finds));
	const struct python *python = view->python;
	struct search search = {
		.map = map,
		.types = &view->objects->types,
		.layout = &python->layout,
		.image = python->memory.image,
		.filter = filter,
		.finds = finds,
	};
	bool done = filter && finds && idle_words_find(&search.idle, view);

	if (done && any_unknown(&search, parallel)) {
		blocks_each_run(map, parallel, "attributing unknown blocks", search_run, &search);
		parallel_for(parallel, "attributing unknown chunks", map->malloc.chunks.count,
			     CHUNK_GRAIN, search_chunks, &search);
		done = take_all(&search, parallel->workers, modules, python->module);
	}
	for (unsigned i = 0; finds && i < parallel->workers; i++) {
		free(finds[i].extension.blocks.items);
		free(finds[i].states.blocks.items);
	}
	ranges_deinit(&search.idle);
	return done;
}
