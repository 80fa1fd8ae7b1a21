/* SPDX-License-Identifier: MIT */
/*
 * 3.13 Include/internal/pycore_runtime.h, struct _Py_DebugOffsets, since 3.14 in
 * pycore_debug_offsets.h: a cookie, the version, a flag, then groups of 64-bit words, which each
 * version has more of.
 */
#include <string.h>

#include "debug_offsets.h"

#define COOKIE       "xdebugpy"
#define VERSION_AT   8
#define THREADED_AT  16
#define HEADER_BYTES 24
#define OFFSET_MAX   (16 << 20)

/* What the words mean, by CONSTANT_DEBUG_OFFSETS: 3.13, 3.14, 3.15. */
#define SHAPES 3

static const uint16_t shape_bytes[SHAPES] = { 584, 760, 888 };

struct offset_row {
	uint16_t at[SHAPES]; /* bytes into _Py_DebugOffsets; 0: not told */
	uint16_t field;
};

static const struct offset_row rows[] = {
	{ { 24, 24, 24 }, SIZE_RUNTIME },
	{ { 32, 32, 32 }, FIELD_RUNTIME_FINALIZING },
	{ { 40, 40, 40 }, FIELD_RUNTIME_INTERPRETERS },
	{ { 48, 48, 48 }, SIZE_INTERP },
	{ { 56, 56, 56 }, FIELD_INTERP_ID },
	{ { 64, 64, 64 }, FIELD_INTERP_NEXT },
	{ { 72, 72, 72 }, FIELD_INTERP_THREADS },
	{ { 80, 88, 88 }, FIELD_INTERP_GC },
	{ { 88, 96, 96 }, FIELD_INTERP_MODULES },
	{ { 96, 104, 104 }, FIELD_INTERP_SYS },
	{ { 104, 112, 112 }, FIELD_INTERP_BUILTINS },
	{ { 152, 176, 176 }, SIZE_THREAD },
	{ { 168, 192, 192 }, FIELD_THREAD_NEXT },
	{ { 176, 200, 200 }, FIELD_THREAD_INTERP },
	{ { 192, 216, 240 }, FIELD_THREAD_ID },
	{ { 200, 224, 248 }, FIELD_THREAD_NATIVE_ID },
	{ { 208, 232, 256 }, FIELD_THREAD_STACK_CHUNK },
	{ { 240, 264, 328 }, FIELD_INNER_FRAME_CODE },
	{ { 256, 280, 344 }, FIELD_INNER_FRAME_LOCALS },
	{ { 272, 312, 376 }, SIZE_CODE },
	{ { 352, 400, 464 }, SIZE_OBJECT },
	{ { 360, 408, 472 }, FIELD_OBJECT_TYPE },
	{ { 368, 416, 480 }, SIZE_TYPE },
	{ { 376, 424, 488 }, FIELD_TYPE_NAME },
	{ { 392, 440, 504 }, FIELD_TYPE_FLAGS },
	{ { 0, 0, 512 }, FIELD_TYPE_BASIC_SIZE },
	{ { 0, 0, 520 }, FIELD_TYPE_DICT_OFFSET },
	{ { 0, 0, 528 }, SIZE_HEAP_TYPE },
	{ { 0, 0, 536 }, FIELD_HEAP_TYPE_CACHED_KEYS },
	{ { 400, 448, 544 }, SIZE_TUPLE },
	{ { 408, 456, 552 }, FIELD_TUPLE_ITEMS },
	{ { 416, 464, 560 }, FIELD_VAR_SIZE },
	{ { 424, 472, 568 }, SIZE_LIST },
	{ { 432, 480, 576 }, FIELD_LIST_ITEMS },
	{ { 0, 496, 592 }, SIZE_SET },
	{ { 0, 504, 600 }, FIELD_SET_USED },
	{ { 0, 512, 608 }, FIELD_SET_TABLE },
	{ { 0, 520, 616 }, FIELD_SET_MASK },
	{ { 448, 528, 624 }, SIZE_DICT },
	{ { 456, 536, 632 }, FIELD_DICT_KEYS },
	{ { 464, 544, 640 }, FIELD_DICT_VALUES },
	{ { 472, 552, 648 }, SIZE_FLOAT },
	{ { 488, 568, 664 }, SIZE_LONG },
	{ { 496, 576, 672 }, FIELD_LONG_TAG },
	{ { 504, 584, 680 }, FIELD_LONG_DIGITS },
	{ { 512, 592, 688 }, SIZE_BYTES },
	{ { 528, 608, 704 }, FIELD_BYTES_DATA },
	{ { 536, 616, 712 }, SIZE_LEGACY_STR },
	{ { 552, 632, 728 }, FIELD_STR_LENGTH },
	{ { 560, 640, 736 }, SIZE_ASCII },
	{ { 0, 0, 744 }, SIZE_COMPACT_STR },
	{ { 568, 648, 752 }, SIZE_GC },
	{ { 576, 656, 760 }, FIELD_GC_COLLECTING },
	{ { 0, 0, 784 }, FIELD_GC_STATS },
	{ { 0, 664, 792 }, SIZE_GENERATOR },
	{ { 0, 680, 808 }, FIELD_GENERATOR_FRAME },
};

bool debug_offsets_at(const struct image *image, vaddr at, uint32_t *version, bool *free_threaded)
{
	const uint8_t *bytes = image_at(image, at, HEADER_BYTES);

	if (!bytes || memcmp(bytes, COOKIE, strlen(COOKIE)))
		return false;
	*version = (uint32_t)load_u64(bytes + VERSION_AT);
	*free_threaded = load_u64(bytes + THREADED_AT);
	return true;
}

bool debug_offsets_search(const struct image *image, vaddr start, uint64_t size, vaddr *ret)
{
	uint32_t version;
	bool free_threaded;

	for (vaddr at = start; size && at < start + size; at += sizeof(vaddr)) {
		uint64_t room;
		const uint8_t *bytes = image_room(image, at, &room);

		if (!bytes || room < strlen(COOKIE) || memcmp(bytes, COOKIE, strlen(COOKIE)) ||
		    !debug_offsets_at(image, at, &version, &free_threaded))
			continue;
		*ret = at;
		return true;
	}
	return false;
}

/* Whether all fields of the structure of size `id` lie inside of it. */
static bool holds_its_fields(const struct layout *layout, enum field_id id)
{
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const struct field *field = &layout->fields[i];

		if (field->source != FIELD_ABSENT && field_names[i].member &&
		    !strcmp(field_names[i].structure, field_names[id].structure) &&
		    !range_holds(0, layout->fields[id].offset, field->offset, field->size))
			return false;
	}
	return true;
}

/* Takes back what was set in the structure of size `id`. */
static void restore(struct layout *layout, const struct field *before, enum field_id id)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!strcmp(field_names[rows[i].field].structure, field_names[id].structure))
			layout->fields[rows[i].field] = before[i];
	}
}

/* Damaged offsets would lead out of the bytes that a structure's size was checked for. */
static void drop_impossible(struct layout *layout, const struct field *before)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!field_names[rows[i].field].member && !holds_its_fields(layout, rows[i].field))
			restore(layout, before, rows[i].field);
	}
	/* PyVarObject has no size of its own: ob_size stands behind the object's header */
	if (layout->fields[FIELD_VAR_SIZE].offset != layout->fields[SIZE_OBJECT].offset)
		restore(layout, before, FIELD_VAR_SIZE);
}

/* The words at `runtime`, if they have a shape that is known. */
static const uint8_t *find_words(const struct layout *layout, const struct image *image,
				 vaddr runtime, uint64_t *shape)
{
	*shape = layout->constants[CONSTANT_DEBUG_OFFSETS];
	return *shape < SHAPES ? image_at(image, runtime, shape_bytes[*shape]) : NULL;
}

unsigned debug_offsets_apply(struct layout *layout, const struct image *image, vaddr runtime)
{
	struct field before[ARRAY_SIZE(rows)];
	unsigned contradicted = 0;
	uint64_t shape;
	const uint8_t *bytes = find_words(layout, image, runtime, &shape);

	for (size_t i = 0; bytes && i < ARRAY_SIZE(rows); i++) {
		struct field *field = &layout->fields[rows[i].field];
		uint16_t at = rows[i].at[shape];
		uint64_t value = load_u64(bytes + at);

		before[i] = *field;
		if (!at || value > OFFSET_MAX)
			continue;
		field->offset = (uint32_t)value;
		field->size = field->size ? field->size : sizeof(vaddr);
		field->source = FROM_TARGET;
	}
	if (bytes)
		drop_impossible(layout, before);
	for (size_t i = 0; bytes && i < ARRAY_SIZE(rows); i++)
		contradicted += before[i].source != FIELD_ABSENT &&
				before[i].offset != layout->fields[rows[i].field].offset;
	return contradicted;
}
