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
	own(measure, elements, (length + 1) * sizeof(vaddr), BUFFER_CTYPES_DATA);
	own(measure, field_load(layout, bytes, fields->shape), dimensions * sizeof(vaddr),
	    BUFFER_CTYPES_DATA);
	return true;
}

/* 3.12 stgdict.c, PyCStgDict_sizeof() */
static bool dict_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	extern const struct decoder decoder_dict;
	uint64_t size;

	if (!decoder_dict.measure(measure, object) ||
	    layout_offset(layout, SIZE_CTYPES_DICT) > object->room)
		return false;
	size = measure->size;
	if (!layout_knows(layout, CONSTANT_CTYPES_SIZE_WITH_STORAGE)) {
		if (!add_storage(measure, object->bytes, &dict_fields))
			return false;
		measure->size = size;
		return true;
	}
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

/* 3.13 CType_Type_traverse() */
static void type_visit(struct visitor *visitor, const struct object *object)
{
	extern const struct decoder decoder_type;
	static const struct {
		enum field_id field;
		const char *name;
	} members[] = {
		{ FIELD_CTYPES_INFO_PROTO, "_type_" },
		{ FIELD_CTYPES_INFO_ARGUMENTS, "_argtypes_" },
		{ FIELD_CTYPES_INFO_CONVERTERS, "converters" },
		{ FIELD_CTYPES_INFO_RESULT, "_restype_" },
		{ FIELD_CTYPES_INFO_CHECKER, "checker" },
		{ FIELD_CTYPES_INFO_POINTER, "__pointer_type__" },
		{ FIELD_CTYPES_INFO_MODULE, "module" },
	};
	const struct layout *layout = visitor->memory->layout;
	uint64_t at = round_up(layout_offset(layout, SIZE_HEAP_TYPE), TYPE_DATA_ALIGN);
	const uint8_t *info = object->bytes + at;

	decoder_type.visit(visitor, object);
	if (!layout_has(layout, SIZE_CTYPES_INFO) ||
	    at + layout_offset(layout, SIZE_CTYPES_INFO) > object->room ||
	    !field_load(layout, info, FIELD_CTYPES_INFO_INITIALIZED))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		if (layout_has(layout, members[i].field))
			refer_member(visitor, visitor->strong,
				     field_load(layout, info, members[i].field), members[i].name);
	}
}

/* 3.12 CDataType_traverse(): also visits the proto of the type's dict, which is a StgDict: the one
 * subclass of dict of that size. Its name may be in no file that is here. */
static void data_type_visit(struct visitor *visitor, const struct object *object)
{
	extern const struct decoder decoder_type;
	const struct memory *memory = visitor->memory;
	vaddr dict = visited_field(visitor, object, FIELD_TYPE_DICT), kind, proto;
	uint64_t size;

	decoder_type.visit(visitor, object);
	if (layout_has(memory->layout, SIZE_CTYPES_DICT) && dict &&
	    memory_field(memory, dict, FIELD_OBJECT_TYPE, &kind) &&
	    memory_field(memory, kind, FIELD_TYPE_BASIC_SIZE, &size) &&
	    size == layout_offset(memory->layout, SIZE_CTYPES_DICT) &&
	    memory_field(memory, dict, FIELD_CTYPES_DICT_PROTO, &proto))
		refer_member(visitor, visitor->strong, proto, "_type_");
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
		own(measure, pointer, 0, BUFFER_CTYPES_DATA);
	return true;
}

static void dict_visit(struct visitor *visitor, const struct object *object)
{
	extern const struct decoder decoder_dict;

	decoder_dict.visit(visitor, object);
}

const struct decoder decoder_ctypes_dict = {
	.type_name = "StgDict",
	.size = FIELD_COUNT,
	.measure = dict_measure,
	.visit = dict_visit,
};

const struct decoder decoder_ctypes_type = {
	.type_name = "_ctypes.CType_Type",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = type_measure,
	.visit = type_visit,
};

#define DATA_TYPE(variable, name)         \
	const struct decoder variable = { \
		.type_name = name,        \
		.size = FIELD_COUNT,      \
		.measure = type_measure,  \
		.visit = data_type_visit, \
	}
DATA_TYPE(decoder_ctypes_structure_type, "_ctypes.PyCStructType");
DATA_TYPE(decoder_ctypes_union_type, "_ctypes.UnionType");
DATA_TYPE(decoder_ctypes_pointer_type, "_ctypes.PyCPointerType");
DATA_TYPE(decoder_ctypes_function_type, "_ctypes.PyCFuncPtrType");

const struct decoder decoder_ctypes_data = {
	.type_name = "_ctypes._CData",
	.size = SIZE_CTYPES_DATA,
	.measure = data_measure,
};
