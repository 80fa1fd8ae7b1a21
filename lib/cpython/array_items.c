/* SPDX-License-Identifier: MIT */
/*
 * Each array says which description it has, how many items it has room for, and where they are:
 * the block there bounds the size of an item. Descriptions are rows of one table, in the order of
 * their sizes that CPython's source gives: where the table begins must fit all arrays.
 */
#include "array_items.h"

#define SIZE_BITS      3 /* of each size in CONSTANT_ARRAY_ITEM_SIZES */
#define SIZE_MAX_BYTES 16
#define GRAIN          16
#define LEAST_CHUNK    24 /* of glibc's malloc */

/* What is known of the descriptions that arrays have. */
struct evidence {
	const struct type_table *table;
	const struct block_map *map;
	const struct memory *memory;
	struct {
		vaddr at;
		unsigned sizes; /* that fit all of its arrays: bit n is for n bytes */
	} rows[ARRAY_KINDS_MAX];
	size_t count;
};

/* The items' sizes that a block of `usable` bytes can have been allocated for: allocators round up,
 * and leave a block alone that shrinks by less than a quarter. 3.11 Objects/obmalloc.c,
 * pymalloc_realloc() */
static unsigned sizes_that_fit(uint64_t allocated, uint64_t usable)
{
	unsigned sizes = 0;

	for (uint64_t size = 1; size <= SIZE_MAX_BYTES; size *= 2) {
		uint64_t bytes = allocated * size;

		if (bytes <= usable && usable - bytes < MAX((uint64_t)LEAST_CHUNK, usable / 4 + 1))
			sizes |= 1U << size;
	}
	return sizes;
}

/* Notes the array at `bytes`. */
static void add_array(struct evidence *evidence, const uint8_t *bytes)
{
	const struct layout *layout = evidence->memory->layout;
	vaddr description = field_load(layout, bytes, FIELD_ARRAY_DESCRIPTION);
	uint64_t allocated = field_load(layout, bytes, FIELD_ARRAY_ALLOCATED), size;
	unsigned sizes = UINT32_MAX;
	struct block block;
	size_t i = 0;

	if (memory_field(evidence->memory, description, FIELD_ARRAY_ITEM_SIZE, &size))
		return;
	if (allocated && !(allocated >> 48) &&
	    block_find(evidence->map, field_load(layout, bytes, FIELD_ARRAY_ITEMS), &block))
		sizes = sizes_that_fit(allocated, block.size);
	while (i < evidence->count && evidence->rows[i].at != description)
		i++;
	if (i == ARRAY_KINDS_MAX)
		return;
	if (i == evidence->count) {
		evidence->rows[i].at = description;
		evidence->rows[i].sizes = UINT32_MAX;
		evidence->count++;
	}
	evidence->rows[i].sizes &= sizes;
}

/* Notes all arrays of the types that have the decoder of array.array. */
static void collect(struct evidence *evidence, const struct decoder *decoder)
{
	const struct layout *layout = evidence->memory->layout;
	uint64_t least = layout_offset(layout, SIZE_ARRAY);

	for (block_id id = 0; id < evidence->map->first_static; id++) {
		const struct type *type;
		struct block block;
		uint32_t index;
		uint64_t at;

		if (evidence->map->tags[id] != BLOCK_USED)
			continue;
		block = block_get(evidence->map, id);
		for (uint64_t before = 0; before <= 2 * GRAIN; before += GRAIN) {
			const uint8_t *bytes =
				image_at(evidence->memory->image, block.start + before, least);

			if (block.size < before + least || !bytes)
				break;
			at = field_load(layout, bytes, FIELD_OBJECT_TYPE);
			index = type_find(evidence->table, at);
			type = index == TYPE_NONE ? NULL : &evidence->table->list.items[index];
			if (type && type->decoder == decoder && type->preheader == before)
				add_array(evidence, bytes);
		}
	}
}

/* The size of the items of the description at `at` in the table at `base`; 0 when there is none. */
static unsigned size_in(const struct layout *layout, vaddr base, vaddr at)
{
	uint64_t step = layout_offset(layout, SIZE_ARRAY_DESCRIPTION), index = (at - base) / step;
	uint64_t sizes = layout_constant(layout, CONSTANT_ARRAY_ITEM_SIZES);

	if (at < base || (at - base) % step || index >= ARRAY_KINDS_MAX)
		return 0;
	return 1U << (sizes >> index * SIZE_BITS & ((1U << SIZE_BITS) - 1)) >> 1;
}

/* Keeps what all arrays agree on when the table begins at `base`; false when they don't. */
static bool agrees(const struct evidence *evidence, vaddr base)
{
	for (size_t i = 0; i < evidence->count; i++) {
		unsigned size = size_in(evidence->memory->layout, base, evidence->rows[i].at);

		if (!size || !(evidence->rows[i].sizes >> size & 1))
			return false;
	}
	return true;
}

/* Adds the sizes that follow from a table at `base`; what another place contradicts is unknown. */
static void add_sizes(struct item_sizes *sizes, const struct evidence *evidence, vaddr base)
{
	for (size_t i = 0; i < evidence->count; i++) {
		unsigned size = size_in(evidence->memory->layout, base, evidence->rows[i].at);

		sizes->bytes[i] = !sizes->count || sizes->bytes[i] == size ? (uint8_t)size : 0;
		sizes->description[i] = evidence->rows[i].at;
	}
	sizes->count = evidence->count;
}

static void solve(struct item_sizes *sizes, const struct evidence *evidence)
{
	uint64_t step = layout_offset(evidence->memory->layout, SIZE_ARRAY_DESCRIPTION);
	vaddr first = UINT64_MAX;

	for (size_t i = 0; i < evidence->count; i++)
		first = MIN(first, evidence->rows[i].at);
	for (uint64_t i = 0; i < ARRAY_KINDS_MAX && i * step <= first; i++) {
		if (agrees(evidence, first - i * step))
			add_sizes(sizes, evidence, first - i * step);
	}
}

void array_items_find(struct type_table *table, const struct block_map *map,
		      const struct python *python)
{
	struct evidence evidence = { .table = table, .map = map, .memory = &python->memory };
	const struct decoder *decoder = NULL;

	for (size_t i = 0; i < table->list.count; i++) {
		const struct type *type = &table->list.items[i];

		if (!strcmp(type->name, "array.array"))
			decoder = type->decoder;
	}
	if (!decoder || python->module->file || !layout_has(&python->layout, SIZE_ARRAY) ||
	    !layout_knows(&python->layout, CONSTANT_ARRAY_ITEM_SIZES))
		return;
	collect(&evidence, decoder);
	if (!evidence.count)
		return;
	solve(&table->item_sizes, &evidence);
	for (size_t i = 0; i < table->list.count; i++) {
		if (table->list.items[i].decoder == decoder)
			table->list.items[i].item_sizes = &table->item_sizes;
	}
}
