/* SPDX-License-Identifier: MIT */
/*
 * numpy: arrays and scalars. The structures are part of numpy's stable ABI
 * (numpy/core/include/numpy/ndarraytypes.h); only the item size moved, with 2.0.
 */
#include "decoders.h"

/* PyArrayObject_fields, numpy 1.7 to 2.x */
#define ARRAY_DATA       16
#define ARRAY_NDIM       24
#define ARRAY_DIMENSIONS 32
#define ARRAY_BASE       48
#define ARRAY_DESCR      56
#define ARRAY_FLAGS      64
#define ARRAY_BYTES      80
#define ARRAY_OWNS_DATA  4
#define ARRAY_NDIM_MAX   64

/* PyVoidScalarObject (numpy/core/include/numpy/arrayscalars.h) */
#define VOID_DATA  24
#define VOID_DESCR 32
#define VOID_FLAGS 40
#define VOID_BYTES 56

/* PyArray_Descr: numpy 1 and 2; _former_flags of 2 is constant 0, flags are 64 bits wide */
#define DESCR_1_ITEM_SIZE 32
#define DESCR_2_ITEM_SIZE 40
#define DESCR_BYTES       48
#define DESCR_NUMBER      28
#define NUMBER_OBJECT     17 /* NPY_OBJECT */

/* The bytes of one item. In numpy 2 what was elsize (32 bits) and alignment are the low and high
 * half of `flags`, and alignment, a power of two up to 64, was never so large. */
static bool read_item_size(const struct memory *memory, vaddr descr, uint64_t *ret)
{
	const uint8_t *bytes = image_at(memory->image, descr, DESCR_BYTES + sizeof(uint64_t));
	uint32_t alignment_1;
	uint64_t alignment_2;

	if (!bytes)
		return false;
	alignment_1 = load_u32(bytes + DESCR_1_ITEM_SIZE + 4);
	alignment_2 = load_u64(bytes + DESCR_BYTES);
	if (alignment_1 && alignment_1 <= 64)
		*ret = load_u32(bytes + DESCR_1_ITEM_SIZE);
	else if (alignment_2 && alignment_2 <= 64)
		*ret = load_u64(bytes + DESCR_2_ITEM_SIZE);
	else
		return false;
	return *ret >> 40 == 0;
}

/* The bytes of an array's data: item size times all dimensions. */
static bool count_data(const struct memory *memory, const struct object *object, uint32_t ndim,
		       uint64_t *ret)
{
	vaddr dimensions = load_u64(object->bytes + ARRAY_DIMENSIONS);

	if (!read_item_size(memory, load_u64(object->bytes + ARRAY_DESCR), ret))
		return false;
	for (uint32_t i = 0; i < ndim; i++) {
		uint64_t length;

		if (!image_u64(memory->image, dimensions + i * sizeof(uint64_t), &length) ||
		    __builtin_mul_overflow(*ret, length, ret))
			return false;
	}
	return true;
}

/* numpy/core/src/multiarray/methods.c, array_sizeof() */
static bool array_measure(struct measure *measure, const struct object *object)
{
	uint64_t data = 0;
	uint32_t ndim;

	if (!basic_measure(measure, object) || measure->size < ARRAY_BYTES)
		return false;
	ndim = load_u32(object->bytes + ARRAY_NDIM);
	if (ndim > ARRAY_NDIM_MAX)
		return false;
	measure->size += 2ULL * ndim * sizeof(uint64_t);
	own(measure, load_u64(object->bytes + ARRAY_DIMENSIONS), 2ULL * ndim * sizeof(uint64_t),
	    BUFFER_NUMPY_DIMENSIONS);
	if (!(load_u32(object->bytes + ARRAY_FLAGS) & ARRAY_OWNS_DATA))
		return true;
	if (!count_data(measure->memory, object, ndim, &data)) {
		measure->unreadable = true;
		data = 0;
	}
	measure->size += data;
	own(measure, load_u64(object->bytes + ARRAY_DATA), data, BUFFER_NUMPY_DATA);
	return true;
}

static void count_twice(struct measure *measure, uint64_t bytes)
{
	measure->size += bytes;
	measure->elsewhere += bytes;
}

/* numpy/core/src/multiarray/scalartypes.c.src, gentype_sizeof(): the item size is counted on top
 * of the instance, which holds the item: it is what the instance has behind its header, rounded. */
static bool generic_measure(struct measure *measure, const struct object *object)
{
	static const struct scalar {
		const char *name;
		uint64_t item_size;
	} scalars[] = {
		{ "numpy.bool_", 1 },        { "numpy.bool", 1 },        { "numpy.int8", 1 },
		{ "numpy.uint8", 1 },        { "numpy.int16", 2 },       { "numpy.uint16", 2 },
		{ "numpy.float16", 2 },      { "numpy.int32", 4 },       { "numpy.uint32", 4 },
		{ "numpy.intc", 4 },         { "numpy.uintc", 4 },       { "numpy.float32", 4 },
		{ "numpy.int64", 8 },        { "numpy.uint64", 8 },      { "numpy.longlong", 8 },
		{ "numpy.ulonglong", 8 },    { "numpy.float64", 8 },     { "numpy.complex64", 8 },
		{ "numpy.datetime64", 8 },   { "numpy.timedelta64", 8 }, { "numpy.object_", 8 },
		{ "numpy.complex128", 16 },  { "numpy.longdouble", 16 }, { "numpy.float128", 16 },
		{ "numpy.clongdouble", 32 }, { "numpy.complex256", 32 },
	};

	if (!plain_measure(measure, object))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(scalars); i++) {
		if (!strcmp(object->type->name, scalars[i].name))
			count_twice(measure, scalars[i].item_size);
	}
	return true;
}

/* The item of a void scalar has any size, and lies elsewhere. */
static bool void_measure(struct measure *measure, const struct object *object)
{
	uint64_t item_size;

	if (!plain_measure(measure, object) || measure->size < VOID_BYTES)
		return false;
	if (!read_item_size(measure->memory, load_u64(object->bytes + VOID_DESCR), &item_size))
		return false;
	measure->size += item_size;
	if (load_u32(object->bytes + VOID_FLAGS) & ARRAY_OWNS_DATA)
		own(measure, load_u64(object->bytes + VOID_DATA), item_size, BUFFER_NUMPY_DATA);
	else
		measure->elsewhere += item_size;
	return true;
}

/* numpy.bytes_ derives from bytes, but has numpy.generic's __sizeof__. */
static bool bytes_measure(struct measure *measure, const struct object *object)
{
	if (!plain_measure(measure, object))
		return false;
	count_twice(measure, object_field(measure, object, FIELD_VAR_SIZE));
	return true;
}

/* No array is an object of the GC: neither what its data belongs to is visited, nor its objects. */
static void array_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	uint32_t ndim, number;
	uint64_t data;
	vaddr descr;

	if (object->room < ARRAY_BYTES)
		return;
	descr = load_u64(object->bytes + ARRAY_DESCR);
	ndim = load_u32(object->bytes + ARRAY_NDIM);
	refer_member(visitor, REFERENCE_EXTRA, load_u64(object->bytes + ARRAY_BASE), "base");
	refer_member(visitor, REFERENCE_EXTRA, descr, "dtype");
	if (!(load_u32(object->bytes + ARRAY_FLAGS) & ARRAY_OWNS_DATA) || ndim > ARRAY_NDIM_MAX ||
	    !image_u32(memory->image, descr + DESCR_NUMBER, &number) || number != NUMBER_OBJECT ||
	    !count_data(memory, object, ndim, &data))
		return;
	refer_items(visitor, load_u64(object->bytes + ARRAY_DATA), data / sizeof(vaddr));
}

const struct decoder decoder_ndarray = {
	.type_name = "numpy.ndarray",
	.size = FIELD_COUNT,
	.measure = array_measure,
	.visit = array_visit,
};

const struct decoder decoder_numpy_generic = {
	.type_name = "numpy.generic",
	.size = FIELD_COUNT,
	.measure = generic_measure,
};

const struct decoder decoder_numpy_void = {
	.type_name = "numpy.void",
	.size = FIELD_COUNT,
	.measure = void_measure,
};

const struct decoder decoder_numpy_bytes = {
	.type_name = "numpy.bytes_",
	.size = FIELD_COUNT,
	.measure = bytes_measure,
};
