/* SPDX-License-Identifier: MIT */
/* _pickle.Pickler and Unpickler. Modules/_pickle.c, _pickle_Pickler___sizeof___impl() */
#include "decoders.h"

static void add_memo(struct measure *measure, vaddr memo)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t allocated, table;

	if (!memo)
		return;
	own(measure, memo, layout_offset(layout, SIZE_PICKLER_MEMO_TABLE), BUFFER_PICKLE_MEMO);
	if (!memory_field(measure->memory, memo, FIELD_PICKLER_MEMO_ALLOCATED, &allocated) ||
	    !memory_field(measure->memory, memo, FIELD_PICKLER_MEMO_ENTRIES, &table) ||
	    allocated >> 48) {
		measure->unreadable = true;
		return;
	}
	allocated *= layout_offset(layout, SIZE_PICKLER_MEMO_ENTRY);
	measure->size += layout_offset(layout, SIZE_PICKLER_MEMO_TABLE) + allocated;
	own(measure, table, allocated, BUFFER_PICKLE_MEMO);
}

static bool pickler_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	vaddr output;
	uint64_t length;

	if (!basic_measure(measure, object))
		return false;
	add_memo(measure, object_field(measure, object, FIELD_PICKLER_MEMO));
	output = object_field(measure, object, FIELD_PICKLER_OUTPUT);
	if (output && memory_field(measure->memory, output, FIELD_VAR_SIZE, &length))
		measure->elsewhere = layout_offset(layout, FIELD_BYTES_DATA) + 1 + length;
	else if (output)
		measure->unreadable = true;
	measure->size += measure->elsewhere;
	return true;
}

static bool unpickler_measure(struct measure *measure, const struct object *object)
{
	static const enum field_id arrays[][2] = {
		{ FIELD_UNPICKLER_MEMO, FIELD_UNPICKLER_MEMO_SIZE },
		{ FIELD_UNPICKLER_MARKS, FIELD_UNPICKLER_MARKS_SIZE },
	};

	if (!basic_measure(measure, object))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(arrays); i++) {
		vaddr array = object_field(measure, object, arrays[i][0]);
		uint64_t bytes = object_field(measure, object, arrays[i][1]) * sizeof(vaddr);

		if (array)
			measure->size += bytes;
		own(measure, array, bytes, BUFFER_PICKLE_MEMO);
	}
	measure->size +=
		own_string(measure, object_field(measure, object, FIELD_UNPICKLER_INPUT_LINE),
			   BUFFER_PICKLE_MEMO);
	measure->size +=
		own_string(measure, object_field(measure, object, FIELD_UNPICKLER_ENCODING),
			   BUFFER_PICKLE_MEMO);
	measure->size += own_string(measure, object_field(measure, object, FIELD_UNPICKLER_ERRORS),
				    BUFFER_PICKLE_MEMO);
	return true;
}

static enum reference_kind memo_kind(const struct visitor *visitor)
{
	return layout_knows(visitor->memory->layout, CONSTANT_PICKLE_MEMO_VISITED)
		       ? (enum reference_kind)visitor->strong
		       : REFERENCE_EXTRA;
}

/* Pickler_traverse() */
static void pickler_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	uint64_t bytes = layout_offset(memory->layout, SIZE_PICKLER_MEMO_ENTRY);
	vaddr memo = visited_field(visitor, object, FIELD_PICKLER_MEMO), key;
	uint64_t allocated, table;

	refer_member(visitor, REFERENCE_EXTRA, visited_field(visitor, object, FIELD_PICKLER_OUTPUT),
		     "output_buffer");
	if (!memo || !memory_field(memory, memo, FIELD_PICKLER_MEMO_ALLOCATED, &allocated) ||
	    !memory_field(memory, memo, FIELD_PICKLER_MEMO_ENTRIES, &table))
		return;
	for (uint64_t i = 0; i < allocated; i++) {
		if (!memory_field(memory, table + i * bytes, FIELD_PICKLER_MEMO_KEY, &key)) {
			visitor->unreadable = true;
			return;
		}
		refer_as(visitor, memo_kind(visitor), key, STEP_KEY, 0);
	}
}

/* Unpickler_traverse() */
static void unpickler_visit(struct visitor *visitor, const struct object *object)
{
	vaddr memo = visited_field(visitor, object, FIELD_UNPICKLER_MEMO), to;
	uint64_t count = visited_field(visitor, object, FIELD_UNPICKLER_MEMO_SIZE);

	refer_member(visitor, REFERENCE_EXTRA,
		     visited_field(visitor, object, FIELD_UNPICKLER_BUFFER), "buffer");
	for (uint64_t i = 0; memo && i < count; i++) {
		if (!image_u64(visitor->memory->image, memo + i * sizeof(vaddr), &to)) {
			visitor->unreadable = true;
			return;
		}
		refer_as(visitor, memo_kind(visitor), to, STEP_ITEM, i);
	}
}

/* Pdata_traverse(): the stack of an Unpickler */
static void stack_visit(struct visitor *visitor, const struct object *object)
{
	refer_items(visitor, visited_field(visitor, object, FIELD_PICKLE_STACK_ITEMS),
		    visited_field(visitor, object, FIELD_VAR_SIZE));
}

const struct decoder decoder_pickle_stack = {
	.type_name = "_pickle.Pdata",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = basic_measure,
	.visit = stack_visit,
};

const struct decoder decoder_pickler = {
	.type_name = "_pickle.Pickler",
	.size = SIZE_PICKLER,
	.measure = pickler_measure,
	.visit = pickler_visit,
};

const struct decoder decoder_unpickler = {
	.type_name = "_pickle.Unpickler",
	.size = SIZE_UNPICKLER,
	.measure = unpickler_measure,
	.visit = unpickler_visit,
};
