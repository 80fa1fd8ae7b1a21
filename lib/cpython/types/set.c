/* SPDX-License-Identifier: MIT */
/* set and frozenset: up to 8 slots inside, more in a block. Objects/setobject.c, set_sizeof() */
#include "decoders.h"

static bool set_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t mask;
	vaddr table;

	if (!basic_measure(measure, object))
		return false;
	mask = object_field(measure, object, FIELD_SET_MASK);
	table = object_field(measure, object, FIELD_SET_TABLE);
	if (mask & (mask + 1) || mask >> 48)
		return false;
	if (table == object->at + layout_offset(layout, FIELD_SET_SMALL_TABLE))
		return true;
	measure->size += (mask + 1) * layout_offset(layout, SIZE_SET_ENTRY);
	own(measure, table, BUFFER_SET_TABLE);
	return true;
}

const struct decoder decoder_set = {
	.type_name = "set",
	.size = FIELD_COUNT,
	.measure = set_measure,
};

const struct decoder decoder_frozenset = {
	.type_name = "frozenset",
	.size = FIELD_COUNT,
	.measure = set_measure,
};
