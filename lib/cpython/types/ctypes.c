/* SPDX-License-Identifier: MIT */
/* ctypes: instances, and what their types keep. Modules/_ctypes */
#include "decoders.h"

#define COUNT_MAX       (1ULL << 32)
#define TYPE_DATA_ALIGN 16 /* PyObject_GetTypeData(): ALIGNOF_MAX_ALIGN_T */

/* The fields of a StgDict (up to 3.12) or a StgInfo (3.13), which mean the same. */
struct storage_fields {
	enum field_id length, elements, format, dimensions, shape;
};

static const struct storage_fields dict_fields = {
	FIELD_CTYPES_DICT_LENGTH,     FIELD_CTYPES_DICT_ELEMENTS, FIELD_CTYPES_DICT_FORMAT,
	FIELD_CTYPES_DICT_DIMENSIONS, FIELD_CTYPES_DICT_SHAPE,
};

static const struct storage_fields info_fields = {
	FIELD_CTYPES_INFO_LENGTH,     FIELD_CTYPES_INFO_ELEMENTS, FIELD_CTYPES_INFO_FORMAT,
	FIELD_CTYPES_INFO_DIMENSIONS, FIELD_CTYPES_INFO_SHAPE,
};

/* Adds what hangs on the storage record at `bytes`. */
static bool add_storage(struct measure *measure, const uint8_t *bytes,
			const struct storage_fields *fields)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t length = field_load(layout, bytes, fields->length);
	uint64_t dimensions = field_load(layout, bytes, fields->dimensions);
	vaddr elements = field_load(layout, bytes, fields->elements);

	if (length >= COUNT_MAX || dimensions >= COUNT_MAX)
		return false;
	measure->size +=
		own_string(measure, field_load(layout, bytes, fields->format), BUFFER_CTYPES_DATA);
	measure->size += dimensions * sizeof(vaddr);
	if (elements)
		measure->size += (length + 1) * sizeof(vaddr);
	own(measure, elements, BUFFER_CTYPES_DATA);
	own(measure, field_load(layout, bytes, fields->shape), BUFFER_CTYPES_DATA);
	return true;
}

/* 3.12 stgdict.c, PyCStgDict_sizeof() */
static bool dict_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	extern const struct decoder decoder_dict;

	if (!decoder_dict.measure(measure, object) ||
	    layout_offset(layout, SIZE_CTYPES_DICT) > object->room)
		return false;
	/* _PyDict_SizeOf() has counted tp_basicsize already, and sizeof(StgDictObject) -
	 * sizeof(PyDictObject) is added to it */
	measure->elsewhere =
		layout_offset(layout, SIZE_CTYPES_DICT) - layout_offset(layout, SIZE_DICT);
	measure->size += measure->elsewhere;
	return add_storage(measure, object->bytes, &dict_fields);
}

/* 3.13 _ctypes.c, _ctypes_CType_Type___sizeof___impl() */
static bool type_measure(struct measure *measure, const struct object *object)
{
	extern const struct decoder decoder_type;
	const struct layout *layout = measure->memory->layout;
	uint64_t at = round_up(layout_offset(layout, SIZE_HEAP_TYPE), TYPE_DATA_ALIGN);
	const uint8_t *info = object->bytes + at;
	uint64_t size;

	if (!layout_has(layout, SIZE_CTYPES_INFO))
		return decoder_type.measure(measure, object);
	if (!plain_measure(measure, object))
		return false;
	size = measure->size;
	if (!decoder_type.measure(measure, object) ||
	    at + layout_offset(layout, SIZE_CTYPES_INFO) > object->room)
		return false;
	measure->size = size;
	return !field_load(layout, info, FIELD_CTYPES_INFO_INITIALIZED) ||
	       add_storage(measure, info, &info_fields);
}

/* Instances keep small values inside, others in a block. */
static bool data_measure(struct measure *measure, const struct object *object)
{
	vaddr pointer;

	if (!plain_measure(measure, object) ||
	    layout_offset(measure->memory->layout, SIZE_CTYPES_DATA) > object->room)
		return false;
	pointer = object_field(measure, object, FIELD_CTYPES_DATA_POINTER);
	if (object_field(measure, object, FIELD_CTYPES_DATA_NEEDS_FREE) &&
	    !range_holds(object->at, object->at + object->room, pointer, 1))
		own(measure, pointer, BUFFER_CTYPES_DATA);
	return true;
}

const struct decoder decoder_ctypes_dict = {
	.type_name = "StgDict",
	.size = FIELD_COUNT,
	.measure = dict_measure,
};

const struct decoder decoder_ctypes_type = {
	.type_name = "_ctypes.CType_Type",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = type_measure,
};

const struct decoder decoder_ctypes_data = {
	.type_name = "_ctypes._CData",
	.size = SIZE_CTYPES_DATA,
	.measure = data_measure,
};
