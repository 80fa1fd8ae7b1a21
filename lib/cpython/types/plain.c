/* SPDX-License-Identifier: MIT */
/* Types without a decoder of their own, and what all instances have. */
#include "../dict_keys.h"
#include "../types.h"

bool basic_measure(struct measure *measure, const struct object *object)
{
	measure->size = measure->inside = object->type->basic_size;
	return measure->size <= object->room;
}

bool plain_measure(struct measure *measure, const struct object *object)
{
	const struct type *type = object->type;
	uint64_t count;

	if (!basic_measure(measure, object))
		return false;
	if (!type->item_size)
		return true;
	if (!object_has(measure, object, FIELD_VAR_SIZE))
		return false;
	count = object_field(measure, object, FIELD_VAR_SIZE);
	if (count > (object->room - measure->size) / type->item_size)
		return false;
	measure->size += count * type->item_size;
	measure->inside = measure->size;
	return true;
}

/* 3.11, 3.12: the values of an instance whose __dict__ nobody asked for. See constants.def */
static void own_managed_values(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t at = layout_constant(layout, CONSTANT_MANAGED_VALUES_AT);
	uint64_t dict_at = layout_constant(layout, CONSTANT_MANAGED_DICT_AT);
	uint64_t tag = layout_constant(layout, CONSTANT_MANAGED_VALUES_TAG);
	struct dict_keys keys;
	const uint8_t *prefix;
	uint64_t bytes = 0;
	vaddr values;

	if (!(object->type->flags & layout_constant(layout, CONSTANT_TYPE_MANAGED_DICT)) ||
	    !layout_knows(layout, CONSTANT_VALUES_PREFIX) || object->before < MAX(at, dict_at))
		return;
	values = load_u64(object->bytes - (at ? at : dict_at));
	if (!values || (tag && !(values & tag)))
		return;
	values += tag;
	prefix = image_at(measure->memory->image, values - 1, 1);
	if (!prefix)
		return;
	/* there is room for what the keys may hold, which they all share */
	if (measure->sizes && dict_keys_read(measure->memory, object->type->cached_keys, &keys))
		bytes = *prefix + (keys.used + keys.free) * sizeof(vaddr);
	own(measure, values - *prefix, bytes, BUFFER_INSTANCE_VALUES);
}

/* The size that object.__sizeof__() says of an object that its decoder has accepted. */
static void forget_buffers(struct measure *measure, const struct object *object)
{
	const struct type *type = object->type;
	uint64_t inside = measure->inside;

	measure->size = type->basic_size;
	if (type->item_size && object_has(measure, object, FIELD_VAR_SIZE)) {
		int64_t count = (int64_t)object_field(measure, object, FIELD_VAR_SIZE);

		measure->size += (count < 0 ? -(uint64_t)count : (uint64_t)count) * type->item_size;
	}
	/* static types are smaller than the heap types that tp_basicsize is of */
	measure->elsewhere = measure->size - MIN(measure->size, inside);
}

bool object_measure(struct measure *measure, const struct object *object)
{
	const struct decoder *decoder = object->type->decoder;

	measure->unreadable = false;
	measure->elsewhere = 0;
	measure->preheader = object->type->preheader;
	if (!(decoder ? decoder->measure(measure, object) : plain_measure(measure, object)))
		return false;
	if (object->type->default_sizeof)
		forget_buffers(measure, object);
	if (measure->own)
		own_managed_values(measure, object);
	return true;
}

/* Types whose instances hold values and references, and own nothing: there are many of them. */
#define PLAIN(variable, name)             \
	const struct decoder variable = { \
		.type_name = name,        \
		.size = FIELD_COUNT,      \
		.measure = plain_measure, \
	}
PLAIN(decoder_bytes, "bytes");
PLAIN(decoder_cell, "cell");
PLAIN(decoder_complex, "complex");
PLAIN(decoder_instance, "instance");
PLAIN(decoder_instance_method, "instancemethod");
PLAIN(decoder_old_class, "classobj");
PLAIN(decoder_float, "float");
PLAIN(decoder_function, "function");
PLAIN(decoder_method, "method");

/* Objects/tupleobject.c, tupletraverse(); a struct sequence has more items than it says. */
static void tuple_visit(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;
	vaddr items = object->at + layout_offset(layout, FIELD_TUPLE_ITEMS), item;
	uint64_t count = visited_field(visitor, object, FIELD_VAR_SIZE);
	uint64_t real = MAX(count, object->type->real_items);

	if (layout_knows(layout, CONSTANT_HIDDEN_ITEMS_VISITED))
		count = real;
	if (count)
		refer_items(visitor, items, count);
	for (uint64_t i = count; i < real; i++) {
		if (image_u64(visitor->memory->image, items + i * sizeof(vaddr), &item))
			refer_as(visitor, REFERENCE_EXTRA, item, STEP_ITEM, i);
	}
}

/*
 * 2.7 Objects/memoryobject.c, memory_traverse(); its base is in references.def. Later ones leave
 * the object to the managed buffer.
 */
static void memory_view_visit(struct visitor *visitor, const struct object *object)
{
	if (layout_has(visitor->memory->layout, FIELD_MEMORY_VIEW_BASE))
		refer_member(visitor, visitor->strong,
			     visited_field(visitor, object, FIELD_MEMORY_VIEW_OBJECT), "obj");
}

const struct decoder decoder_memory_view = {
	.type_name = "memoryview",
	.size = FIELD_COUNT,
	.measure = plain_measure,
	.visit = memory_view_visit,
};

const struct decoder decoder_tuple = {
	.type_name = "tuple",
	.size = FIELD_COUNT,
	.measure = plain_measure,
	.visit = tuple_visit,
};
