/* SPDX-License-Identifier: MIT */
/* collections.deque: a list of blocks of 64 items. Modules/_collectionsmodule.c, deque_sizeof() */
#include "decoders.h"

/* A block that does not point back to the one before ends the list, so that no loop can. */
static void own_blocks(struct measure *measure, const struct object *object, uint64_t count)
{
	vaddr block = object_field(measure, object, FIELD_DEQUE_LEFT_BLOCK);

	vaddr first = block, before = 0, back;

	for (uint64_t i = 0; block && i < count; i++) {
		if (i && (block == first ||
			  !memory_field(measure->memory, block, FIELD_DEQUE_BLOCK_LEFT, &back) ||
			  back != before))
			return;
		own(measure, block, layout_offset(measure->memory->layout, SIZE_DEQUE_BLOCK),
		    BUFFER_DEQUE_BLOCKS);
		before = block;
		if (!memory_field(measure->memory, block, FIELD_DEQUE_BLOCK_RIGHT, &block))
			return;
	}
}

/* Since 3.11 each deque keeps a few free blocks of its own. */
static void own_free_blocks(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t room = layout->fields[FIELD_DEQUE_FREE_BLOCKS].size / sizeof(vaddr);
	const uint8_t *blocks = object->bytes + layout_offset(layout, FIELD_DEQUE_FREE_BLOCKS);
	uint64_t count = object_field(measure, object, FIELD_DEQUE_FREE_BLOCK_COUNT);

	for (uint64_t i = 0; i < MIN(count, room); i++)
		own(measure, load_u64(blocks + i * sizeof(vaddr)),
		    layout_offset(layout, SIZE_DEQUE_BLOCK), BUFFER_DEQUE_BLOCKS);
}

static enum field_id length_field(const struct layout *layout)
{
	return layout_has(layout, FIELD_DEQUE_LENGTH) ? FIELD_DEQUE_LENGTH : FIELD_VAR_SIZE;
}

static bool deque_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t length = layout->fields[FIELD_DEQUE_BLOCK_DATA].size / sizeof(vaddr);
	uint64_t left, count, blocks;

	if (!basic_measure(measure, object) || !length)
		return false;
	count = object_field(measure, object, length_field(layout));
	left = object_field(measure, object, FIELD_DEQUE_LEFT_INDEX);
	if (count >> 48 || left > length)
		return false;
	blocks = (left + count + length - 1) / length;
	measure->size += blocks * layout_offset(layout, SIZE_DEQUE_BLOCK);
	if (!measure->own)
		return true;
	own_blocks(measure, object, blocks ? blocks : 1);
	if (layout_has(layout, FIELD_DEQUE_FREE_BLOCKS))
		own_free_blocks(measure, object);
	return true;
}

/* deque_traverse() */
static void deque_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	const struct layout *layout = memory->layout;
	uint64_t length = layout->fields[FIELD_DEQUE_BLOCK_DATA].size / sizeof(vaddr);
	uint64_t count = visited_field(visitor, object, length_field(layout));
	uint64_t at = visited_field(visitor, object, FIELD_DEQUE_LEFT_INDEX);
	vaddr block = visited_field(visitor, object, FIELD_DEQUE_LEFT_BLOCK);
	const uint8_t *bytes = NULL;

	for (uint64_t i = 0; i < count; i++, at++) {
		if (!bytes || at == length) {
			if (bytes)
				block = field_load(layout, bytes, FIELD_DEQUE_BLOCK_RIGHT);
			bytes = memory_struct(memory, block, SIZE_DEQUE_BLOCK);
			at = i ? 0 : at;
		}
		if (!bytes || at >= length) {
			visitor->unreadable = true;
			return;
		}
		refer(visitor,
		      load_u64(bytes + layout_offset(layout, FIELD_DEQUE_BLOCK_DATA) +
			       at * sizeof(vaddr)),
		      STEP_ITEM, i);
	}
}

const struct decoder decoder_deque = {
	.type_name = "collections.deque",
	.size = SIZE_DEQUE,
	.measure = deque_measure,
	.visit = deque_visit,
};
