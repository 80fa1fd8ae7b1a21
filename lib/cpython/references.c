/* SPDX-License-Identifier: MIT */
#include "references.h"

#include "../base/bisect.h"
#include "debug_hooks.h"

#define OWN_BLOCKS_MAX 256
#define OWN_WORDS_MAX  (1 << 20)

block_id object_find(const struct block_map *map, vaddr at)
{
	const struct static_object *statics = map->statics.items;
	struct block block;
	size_t found;
	block_tag tag;

	if (block_find(map, at, &block)) {
		tag = map->tags[block.id];
		return tag_state(tag) == BLOCK_OBJECT && block.start + tag_preheader(tag) == at
			       ? block.id
			       : BLOCK_NONE;
	}
	found = bisect(i, map->statics.count, statics[i].at < at);
	if (found == map->statics.count || statics[found].at != at ||
	    tag_state(map->tags[map->first_static + found]) != BLOCK_OBJECT)
		return BLOCK_NONE;
	return map->first_static + (block_id)found;
}

bool object_in_block(const struct heap_view *view, const struct block *block, const uint8_t *bytes,
		     struct object *ret)
{
	block_tag tag = view->map->tags[block->id];
	uint64_t before = tag_preheader(tag);
	uint64_t size = block_room(block, bytes);

	if (tag_state(tag) != BLOCK_OBJECT || size < before)
		return false;
	*ret = (struct object){
		.at = block->start + before,
		.bytes = bytes + before,
		.room = size - before,
		.before = before,
		.type = &view->objects->types.list.items[tag_type(tag)],
	};
	return true;
}

static bool get_static(const struct heap_view *view, block_id id, struct object *ret)
{
	vaddr at = view->map->statics.items[id - view->map->first_static].at;
	const struct image_run *run = image_run_at(view->python->memory.image, at);

	if (!run)
		return false;
	*ret = (struct object){
		.at = at,
		.bytes = run->bytes + (at - run->start),
		.room = run->end - at,
		.before = at - run->start,
		.type = &view->objects->types.list.items[tag_type(view->map->tags[id])],
	};
	return true;
}

bool object_get(const struct heap_view *view, block_id id, struct object *ret)
{
	struct block block;
	const uint8_t *bytes;

	if (tag_state(view->map->tags[id]) != BLOCK_OBJECT)
		return false;
	if (id >= view->map->first_static)
		return get_static(view, id, ret);
	block = block_get(view->map, id);
	bytes = image_at(view->python->memory.image, block.start, block.size);
	return bytes && object_in_block(view, &block, bytes, ret);
}

/* One object's visit. */
struct walk {
	const struct heap_view *view;
	edge_fn *see;
	void *closure;
	block_id blocks[OWN_BLOCKS_MAX]; /* of its own, to be searched */
	size_t count;
};

/* Notes the block of its own that an opaque instance has at `at`. */
static void note_block(struct walk *walk, vaddr at)
{
	const struct block_map *map = walk->view->map;
	struct block block;

	if (walk->count == OWN_BLOCKS_MAX || !block_find(map, at, &block) || block.start != at ||
	    tag_state(map->tags[block.id]) != BLOCK_BUFFER ||
	    tag_detail(map->tags[block.id]) != BUFFER_EXTENSION)
		return;
	for (size_t i = 0; i < walk->count; i++) {
		if (walk->blocks[i] == block.id)
			return;
	}
	walk->blocks[walk->count++] = block.id;
}

static void see_one(void *closure, const struct reference *reference)
{
	struct walk *walk = closure;
	block_id to = object_find(walk->view->map, reference->to);

	if (to != BLOCK_NONE)
		walk->see(walk->closure, to, reference);
	else if (reference->kind == REFERENCE_CONSERVATIVE)
		note_block(walk, reference->to);
}

/* Searches the blocks that an opaque instance has, and those that they lead to. */
static void search_blocks(struct walk *walk)
{
	const struct heap_view *view = walk->view;

	for (size_t i = 0; i < walk->count; i++) {
		struct block block = block_get(view->map, walk->blocks[i]);
		uint64_t size = MIN(block.size, OWN_WORDS_MAX * sizeof(vaddr));
		const uint8_t *bytes = image_at(view->python->memory.image, block.start, size);

		for (uint64_t at = 0; bytes && at + sizeof(vaddr) <= size; at += sizeof(vaddr)) {
			struct reference reference = {
				.to = load_u64(bytes + at),
				.kind = REFERENCE_CONSERVATIVE,
				.step = STEP_WORD,
				.number = at,
			};

			if (reference.to && reference.to % sizeof(vaddr) == 0)
				see_one(walk, &reference);
		}
	}
}

bool references_visit(const struct heap_view *view, const struct object *object, edge_fn *see,
		      void *closure)
{
	struct walk walk;
	struct visitor visitor = {
		.memory = &view->python->memory,
		.see = see_one,
		.closure = &walk,
	};

	walk.view = view;
	walk.see = see;
	walk.closure = closure;
	walk.count = 0;
	object_visit(&visitor, &view->objects->types, object);
	if (walk.count)
		search_blocks(&walk);
	return !visitor.unreadable;
}
