/* SPDX-License-Identifier: MIT */
/* int and bool: digits behind the header. Objects/longobject.c, int___sizeof___impl() */
#include "decoders.h"

static uint64_t digit_count(const struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	int64_t size;

	if (layout_has(layout, FIELD_LONG_TAG))
		return object_field(measure, object, FIELD_LONG_TAG) >>
		       layout_constant(layout, CONSTANT_LONG_TAG_SHIFT);
	size = (int64_t)object_field(measure, object, FIELD_VAR_SIZE);
	return size < 0 ? -(uint64_t)size : (uint64_t)size;
}

static bool long_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t header = layout_offset(layout, FIELD_LONG_DIGITS), count;
	uint64_t digit = layout->fields[FIELD_LONG_DIGITS].size;

	/* damaged debug information may not tell how large a digit is */
	if (!digit || header > object->room)
		return false;
	count = MAX(digit_count(measure, object),
		    layout_constant(layout, CONSTANT_LONG_MIN_DIGITS));
	if (count > (object->room - header) / digit)
		return false;
	measure->size = layout_knows(layout, CONSTANT_LONG_SIZE_BY_TYPE) ? object->type->basic_size
									 : header;
	measure->size += count * digit;
	measure->inside = measure->size;
	return true;
}

/* 2.7: a word; its long is what later is int. */
static bool int_measure(struct measure *measure, const struct object *object)
{
	return layout_has(measure->memory->layout, FIELD_INT_VALUE) ? plain_measure(measure, object)
								    : long_measure(measure, object);
}

const struct decoder decoder_long = {
	.type_name = "long",
	.size = FIELD_COUNT,
	.measure = long_measure,
};

const struct decoder decoder_int = {
	.type_name = "int",
	.size = FIELD_COUNT,
	.measure = int_measure,
};
