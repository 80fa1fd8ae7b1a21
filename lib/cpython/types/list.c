/* SPDX-License-Identifier: MIT */
/* list, bytearray, array.array: a header and one block of items. */
#include "../types.h"
#include "decoders.h"

#define ITEM_BYTES_MAX 64

/* Objects/listobject.c, list___sizeof___impl(). In free-threaded builds the items stand behind
 * their number: struct _PyListArray */
static bool list_measure(struct measure *measure, const struct object *object)
{
	uint64_t allocated, count, header;
	vaddr items;

	if (!basic_measure(measure, object))
		return false;
	count = object_field(measure, object, FIELD_VAR_SIZE);
	allocated = object_field(measure, object, FIELD_LIST_ALLOCATED);
	if (count > allocated || allocated > UINT64_MAX / 64)
		return false;
	measure->size += allocated * sizeof(vaddr);
	items = object_field(measure, object, FIELD_LIST_ITEMS);
	header = layout_offset(measure->memory->layout, FIELD_LIST_ARRAY_ITEMS);
	if (items)
		own(measure, items - header, header + allocated * sizeof(vaddr), BUFFER_LIST_ITEMS);
	return true;
}

/* Objects/bytearrayobject.c, bytearray_sizeof_impl() */
static bool bytearray_measure(struct measure *measure, const struct object *object)
{
	uint64_t allocated;

	if (!basic_measure(measure, object))
		return false;
	allocated = object_field(measure, object, FIELD_BYTEARRAY_ALLOCATED);
	if (allocated >> 56)
		return false;
	/* 3.15: they lie in a bytes object, which is in no other hands */
	if (layout_has(measure->memory->layout, FIELD_BYTEARRAY_OBJECT)) {
		if (allocated)
			measure->elsewhere =
				layout_offset(measure->memory->layout, FIELD_BYTES_DATA) + 1 +
				allocated;
		measure->size += measure->elsewhere;
		return true;
	}
	measure->size += allocated;
	own(measure, object_field(measure, object, FIELD_BYTEARRAY_BYTES), allocated,
	    BUFFER_BYTEARRAY_BYTES);
	return true;
}

/* The size of an array's items, from its description, or else from what other arrays tell. */
static bool read_item_size(const struct measure *measure, const struct object *object,
			   uint64_t *ret)
{
	vaddr description = object_field(measure, object, FIELD_ARRAY_DESCRIPTION);
	const struct item_sizes *sizes = object->type->item_sizes;

	if (memory_field(measure->memory, description, FIELD_ARRAY_ITEM_SIZE, ret))
		return *ret <= ITEM_BYTES_MAX;
	for (size_t i = 0; sizes && i < sizes->count; i++) {
		*ret = sizes->bytes[i];
		if (sizes->description[i] == description)
			return *ret;
	}
	return false;
}

/* Modules/arraymodule.c, array_array___sizeof___impl() */
static bool array_measure(struct measure *measure, const struct object *object)
{
	uint64_t allocated, item_size = 0;

	if (!basic_measure(measure, object))
		return false;
	allocated = object_field(measure, object, FIELD_ARRAY_ALLOCATED);
	if (allocated >> 48)
		return false;
	if (!read_item_size(measure, object, &item_size)) {
		measure->unreadable = true;
		item_size = 0;
	}
	measure->size += allocated * item_size;
	own(measure, object_field(measure, object, FIELD_ARRAY_ITEMS), allocated * item_size,
	    BUFFER_ARRAY_ITEMS);
	return true;
}

/* Objects/listobject.c, list_traverse() */
static void list_visit(struct visitor *visitor, const struct object *object)
{
	refer_items(visitor, visited_field(visitor, object, FIELD_LIST_ITEMS),
		    visited_field(visitor, object, FIELD_VAR_SIZE));
}

const struct decoder decoder_list = {
	.type_name = "list",
	.size = FIELD_COUNT,
	.measure = list_measure,
	.visit = list_visit,
};

const struct decoder decoder_bytearray = {
	.type_name = "bytearray",
	.size = FIELD_COUNT,
	.measure = bytearray_measure,
};

const struct decoder decoder_array = {
	.type_name = "array.array",
	.size = SIZE_ARRAY,
	.measure = array_measure,
};
