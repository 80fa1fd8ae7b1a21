/* SPDX-License-Identifier: MIT */
/*
 * str: compact ones have their characters behind the header, legacy ones (subclasses; up to 3.11
 * also strings made by old C API) in a block of their own. Objects/unicodeobject.c,
 * unicode_sizeof_impl()
 */
#include "decoders.h"

/* Up to 3.11: the wide form, when it is not the same as the characters. */
static bool add_wide_form(struct measure *measure, const struct object *object, vaddr data,
			  uint64_t length)
{
	const struct layout *layout = measure->memory->layout;
	bool ready;
	vaddr wide;

	if (!layout_has(layout, FIELD_STR_WSTR))
		return true;
	wide = object_field(measure, object, FIELD_STR_WSTR);
	ready = object_field(measure, object, FIELD_STR_READY);
	if (!wide || (ready && wide == data))
		return true;
	if (!(object_field(measure, object, FIELD_STR_ASCII) &&
	      object_field(measure, object, FIELD_STR_COMPACT)))
		length = object_field(measure, object, FIELD_STR_WSTR_LENGTH);
	measure->size += (length + 1) * 4;
	own(measure, wide, (length + 1) * 4, BUFFER_STR_WSTR);
	return length < UINT32_MAX;
}

static void add_utf8_form(struct measure *measure, const struct object *object, vaddr data)
{
	vaddr utf8 = object_field(measure, object, FIELD_STR_UTF8);
	uint64_t bytes;

	if (!utf8 || utf8 == data)
		return;
	bytes = object_field(measure, object, FIELD_STR_UTF8_LENGTH) + 1;
	measure->size += bytes;
	own(measure, utf8, bytes, BUFFER_STR_UTF8);
}

static bool legacy_measure(struct measure *measure, const struct object *object, uint64_t length,
			   uint64_t kind)
{
	vaddr data;

	measure->size = measure->inside = layout_offset(measure->memory->layout, SIZE_LEGACY_STR);
	if (measure->size > object->room)
		return false;
	data = object_field(measure, object, FIELD_STR_DATA);
	if (data) {
		measure->size += (length + 1) * kind;
		own(measure, data, (length + 1) * kind, BUFFER_STR_DATA);
	}
	add_utf8_form(measure, object, data);
	return add_wide_form(measure, object, data, length);
}

/* 2.7: bytes. Objects/stringobject.c, string_sizeof(), which looks not at subclasses */
static bool old_str_measure(struct measure *measure, const struct object *object)
{
	if (!plain_measure(measure, object))
		return false;
	measure->size = layout_offset(measure->memory->layout, FIELD_BYTES_DATA) + 1 +
			object_field(measure, object, FIELD_VAR_SIZE);
	return true;
}

static bool str_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t header = layout_offset(layout, SIZE_ASCII), length, kind;
	bool ascii, compact;

	if (!layout_has(layout, FIELD_STR_KIND))
		return old_str_measure(measure, object);
	if (header > object->room)
		return false;
	length = object_field(measure, object, FIELD_STR_LENGTH);
	kind = object_field(measure, object, FIELD_STR_KIND);
	ascii = object_field(measure, object, FIELD_STR_ASCII);
	compact = object_field(measure, object, FIELD_STR_COMPACT);
	if (kind == 3 || kind > 4 || (!kind && compact) || (ascii && kind != 1) ||
	    length > UINT64_MAX / 8)
		return false;
	if (!compact)
		return legacy_measure(measure, object, length, kind);
	if (!ascii)
		header = layout_offset(layout, SIZE_COMPACT_STR);
	if (header > object->room || length >= (object->room - header) / kind)
		return false;
	measure->size = measure->inside = header + (length + 1) * kind;
	if (!ascii)
		add_utf8_form(measure, object, object->at + header);
	return add_wide_form(measure, object, object->at + header, length);
}

/* 2.7 Objects/unicodeobject.c, unicode__sizeof__() */
static bool unicode_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t length, bytes;

	if (!basic_measure(measure, object) || !object_has(measure, object, FIELD_UNICODE_LENGTH))
		return false;
	length = object_field(measure, object, FIELD_UNICODE_LENGTH);
	if (length > UINT64_MAX / 8)
		return false;
	bytes = (length + 1) * layout_constant(layout, CONSTANT_UNICODE_WIDTH);
	measure->size = layout_offset(layout, SIZE_LEGACY_STR) + bytes;
	own(measure, object_field(measure, object, FIELD_UNICODE_DATA), bytes, BUFFER_STR_DATA);
	return true;
}

const struct decoder decoder_unicode = {
	.type_name = "unicode",
	.size = FIELD_COUNT,
	.measure = unicode_measure,
};

const struct decoder decoder_str = {
	.type_name = "str",
	.size = FIELD_COUNT,
	.measure = str_measure,
};
