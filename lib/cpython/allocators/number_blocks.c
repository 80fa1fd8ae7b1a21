/* SPDX-License-Identifier: MIT */
#include "number_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "../../base/bisect.h"

#define SLACK_MAX    32 /* what malloc adds to a request, at most */
#define OBJECTS_MAX  64
#define LIST_MAX     4096
#define REFCOUNT_MAX (1ULL << 40)

/* Where the parts of a block lie, in bytes. */
struct geometry {
	uint64_t block, first, object;
	uint32_t objects;
};

struct search {
	const struct python *python;
	const struct malloc_map *malloc;
	struct geometry geometry;
	vaddr types[2]; /* those that were found to be of numbers */
};

static struct geometry read_geometry(const struct layout *layout)
{
	const struct field *objects = &layout->fields[FIELD_INT_BLOCK_OBJECTS];
	struct geometry geometry = {
		.block = layout_offset(layout, SIZE_INT_BLOCK),
		.first = objects->offset,
		.object = layout_offset(layout, SIZE_INT),
	};

	if (geometry.object)
		geometry.objects = objects->size / (uint32_t)geometry.object;
	return geometry;
}

static bool may_be_block(const struct geometry *geometry, const struct chunk *chunk)
{
	return chunk->state == CHUNK_USED && chunk->size >= geometry->block &&
	       chunk->size < geometry->block + SLACK_MAX;
}

/* The chunk that may be a block and holds `at`, or NULL. */
static const struct chunk *find_chunk(const struct search *search, vaddr at)
{
	const struct heap *heap = malloc_find_heap(search->malloc, at);
	size_t index = heap ? malloc_find_chunk(search->malloc, heap, at) : SIZE_MAX;
	const struct chunk *chunk = index == SIZE_MAX ? NULL : &search->malloc->chunks.items[index];

	return chunk && may_be_block(&search->geometry, chunk) ? chunk : NULL;
}

/* Whether `at` is a static type whose instances have the size of numbers. */
static bool is_number_type(struct search *search, vaddr at)
{
	const struct layout *layout = &search->python->layout;
	const uint8_t *bytes;

	for (size_t i = 0; i < ARRAY_SIZE(search->types); i++) {
		if (at == search->types[i])
			return true;
	}
	bytes = memory_struct(&search->python->memory, at, SIZE_TYPE);
	if (!bytes || at % sizeof(vaddr) ||
	    field_load(layout, bytes, FIELD_OBJECT_TYPE) != search->python->type_type ||
	    field_load(layout, bytes, FIELD_TYPE_BASIC_SIZE) != search->geometry.object ||
	    field_load(layout, bytes, FIELD_TYPE_ITEM_SIZE) ||
	    field_load(layout, bytes, FIELD_TYPE_FLAGS) &
		    (layout_constant(layout, CONSTANT_TYPE_GC) |
		     layout_constant(layout, CONSTANT_TYPE_HEAP)))
		return false;
	search->types[search->types[0] != 0] = at;
	return true;
}

/* Whether `at` is where an object of some block begins. */
static bool is_slot(const struct search *search, vaddr at)
{
	const struct geometry *geometry = &search->geometry;
	const struct chunk *chunk = find_chunk(search, at);
	uint64_t offset = chunk ? at - chunk->start : 0;

	return chunk && offset >= geometry->first &&
	       (offset - geometry->first) % geometry->object == 0 &&
	       (offset - geometry->first) / geometry->object < geometry->objects;
}

/* Reads the block in `chunk`; false when it is none: each object is one, or links to a free one. */
static bool read_block(struct search *search, const struct chunk *chunk, struct number_block *ret)
{
	const struct layout *layout = &search->python->layout;
	const struct geometry *geometry = &search->geometry;
	const uint8_t *bytes =
		image_at(search->python->memory.image, chunk->start, geometry->block);
	struct number_block block = { .at = chunk->start };
	const struct chunk *next;
	unsigned ends = 0;

	if (!bytes)
		return false;
	block.next = load_u64(bytes);
	next = block.next ? find_chunk(search, block.next) : NULL;
	if (block.next && (!next || next->start != block.next))
		return false;
	for (uint32_t i = 0; i < geometry->objects; i++) {
		const uint8_t *object = bytes + geometry->first + i * geometry->object;
		uint64_t refcount = field_load(layout, object, FIELD_OBJECT_REFCOUNT);
		vaddr type = field_load(layout, object, FIELD_OBJECT_TYPE);

		if (type && is_number_type(search, type)) {
			if ((block.type && type != block.type) || !refcount ||
			    refcount >= REFCOUNT_MAX)
				return false;
			block.type = type;
			continue;
		}
		if (type ? !is_slot(search, type) : ends++)
			return false;
		block.free |= 1ULL << i;
	}
	*ret = block;
	return true;
}

static bool push(struct malloc_map *malloc, vaddr start, uint64_t size)
{
	struct chunk *chunk = vector_push(&malloc->chunks);

	if (chunk)
		*chunk = (struct chunk){ .start = start, .size = size, .state = CHUNK_USED };
	return chunk;
}

/* Adds the parts of a block's chunk to `malloc`. */
static bool push_parts(struct malloc_map *malloc, const struct geometry *geometry,
		       const struct chunk *chunk, struct number_block *block)
{
	block->chunk = malloc->chunks.count;
	block->tail = chunk->size > geometry->block;
	if (!push(malloc, chunk->start, geometry->first))
		return false;
	for (uint32_t i = 0; i < geometry->objects; i++) {
		if (!push(malloc, chunk->start + geometry->first + i * geometry->object,
			  geometry->object))
			return false;
	}
	return !block->tail ||
	       push(malloc, chunk->start + geometry->block, chunk->size - geometry->block);
}

/* Adds the chunks of a heap to `malloc`, those of blocks in parts. */
static bool copy_heap(struct number_blocks *blocks, struct malloc_map *malloc,
		      struct search *search, const struct heap *heap)
{
	for (size_t i = heap->first; i < heap->first + heap->count; i++) {
		const struct chunk *chunk = &search->malloc->chunks.items[i];
		struct number_block block, *added;
		struct chunk *copy;

		if (may_be_block(&search->geometry, chunk) && read_block(search, chunk, &block)) {
			added = push_parts(malloc, &search->geometry, chunk, &block)
					? vector_push(&blocks->list)
					: NULL;
			if (!added)
				return false;
			*added = block;
			continue;
		}
		copy = vector_push(&malloc->chunks);
		if (!copy)
			return false;
		*copy = *chunk;
	}
	return true;
}

bool number_blocks_split(struct number_blocks *blocks, struct malloc_map *malloc,
			 const struct python *python)
{
	struct malloc_map before = *malloc;
	struct search search = {
		.python = python,
		.malloc = &before,
		.geometry = read_geometry(&python->layout),
	};
	bool done = true;

	if (!search.geometry.objects || search.geometry.objects > OBJECTS_MAX)
		return true;
	blocks->objects = search.geometry.objects;
	before.heaps.items = calloc(malloc->heaps.count + 1, sizeof(*before.heaps.items));
	if (!before.heaps.items)
		return false;
	memcpy(before.heaps.items, malloc->heaps.items,
	       malloc->heaps.count * sizeof(*before.heaps.items));
	malloc->chunks.items = NULL;
	malloc->chunks.count = malloc->chunks.capacity = 0;
	for (size_t i = 0; done && i < malloc->heaps.count; i++) {
		struct heap *heap = &malloc->heaps.items[i];

		heap->first = malloc->chunks.count;
		done = copy_heap(blocks, malloc, &search, &before.heaps.items[i]);
		heap->count = malloc->chunks.count - heap->first;
	}
	free(before.heaps.items);
	free(before.chunks.items);
	return done;
}

void number_blocks_deinit(struct number_blocks *blocks)
{
	free(blocks->list.items);
	*blocks = (struct number_blocks){ 0 };
}

/* The block at `at`, or NULL. */
static const struct number_block *find_block(const struct number_blocks *blocks, vaddr at)
{
	const struct number_block *items = blocks->list.items;
	size_t index = bisect(i, blocks->list.count, items[i].at < at);

	return index < blocks->list.count && items[index].at == at ? &items[index] : NULL;
}

vaddr number_block_type(const struct number_blocks *blocks, const struct number_block *block)
{
	for (int i = 0; block && !block->type && i < LIST_MAX; i++)
		block = find_block(blocks, block->next);
	return block ? block->type : 0;
}
