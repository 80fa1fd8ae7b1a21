/* SPDX-License-Identifier: MIT */
/* The nodes of the tree that a contextvars.Context is. Python/hamt.c */
#include "decoders.h"

/* hamt_node_bitmap_traverse(): keys and values by turns; without a key, the value is a node. */
static void bitmap_visit(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;

	refer_items(visitor, object->at + layout_offset(layout, FIELD_HAMT_BITMAP_ITEMS),
		    visited_field(visitor, object, FIELD_VAR_SIZE));
}

/* hamt_node_array_traverse() */
static void array_visit(struct visitor *visitor, const struct object *object)
{
	const struct field *items = &visitor->memory->layout->fields[FIELD_HAMT_ARRAY_ITEMS];

	refer_items(visitor, object->at + items->offset, items->size / sizeof(vaddr));
}

/* hamt_node_collision_traverse() */
static void collision_visit(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;

	refer_items(visitor, object->at + layout_offset(layout, FIELD_HAMT_COLLISION_ITEMS),
		    visited_field(visitor, object, FIELD_VAR_SIZE));
}

const struct decoder decoder_hamt_bitmap = {
	.type_name = "hamt_bitmap_node",
	.size = FIELD_COUNT,
	.measure = plain_measure,
	.visit = bitmap_visit,
};

const struct decoder decoder_hamt_array = {
	.type_name = "hamt_array_node",
	.size = FIELD_COUNT,
	.measure = plain_measure,
	.visit = array_visit,
};

const struct decoder decoder_hamt_collision = {
	.type_name = "hamt_collision_node",
	.size = FIELD_COUNT,
	.measure = plain_measure,
	.visit = collision_visit,
};
