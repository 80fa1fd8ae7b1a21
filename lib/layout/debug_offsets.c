/* SPDX-License-Identifier: MIT */
/*
 * 3.13 Include/internal/pycore_runtime.h, struct _Py_DebugOffsets: a cookie, the version, a flag,
 * then groups of 64-bit words. Only the layout of 3.13 is known here.
 */
#include <string.h>

#include "debug_offsets.h"

#define COOKIE        "xdebugpy"
#define VERSION_AT    8
#define THREADED_AT   16
#define OFFSETS_BYTES 584
#define OFFSET_MAX    (16 << 20)

struct offset_row {
	uint16_t at; /* bytes into _Py_DebugOffsets */
	uint16_t field;
};

static const struct offset_row rows[] = {
	{ 24, SIZE_RUNTIME },
	{ 32, FIELD_RUNTIME_FINALIZING },
	{ 40, FIELD_RUNTIME_INTERPRETERS },
	{ 48, SIZE_INTERP },
	{ 56, FIELD_INTERP_ID },
	{ 64, FIELD_INTERP_NEXT },
	{ 72, FIELD_INTERP_THREADS },
	{ 80, FIELD_INTERP_GC },
	{ 88, FIELD_INTERP_MODULES },
	{ 96, FIELD_INTERP_SYS },
	{ 104, FIELD_INTERP_BUILTINS },
	{ 152, SIZE_THREAD },
	{ 168, FIELD_THREAD_NEXT },
	{ 176, FIELD_THREAD_INTERP },
	{ 192, FIELD_THREAD_ID },
	{ 200, FIELD_THREAD_NATIVE_ID },
	{ 208, FIELD_THREAD_STACK_CHUNK },
	{ 240, FIELD_INNER_FRAME_CODE },
	{ 256, FIELD_INNER_FRAME_LOCALS },
	{ 272, SIZE_CODE },
	{ 352, SIZE_OBJECT },
	{ 360, FIELD_OBJECT_TYPE },
	{ 368, SIZE_TYPE },
	{ 376, FIELD_TYPE_NAME },
	{ 392, FIELD_TYPE_FLAGS },
	{ 400, SIZE_TUPLE },
	{ 408, FIELD_TUPLE_ITEMS },
	{ 416, FIELD_VAR_SIZE },
	{ 424, SIZE_LIST },
	{ 432, FIELD_LIST_ITEMS },
	{ 448, SIZE_DICT },
	{ 456, FIELD_DICT_KEYS },
	{ 464, FIELD_DICT_VALUES },
	{ 472, SIZE_FLOAT },
	{ 488, SIZE_LONG },
	{ 496, FIELD_LONG_TAG },
	{ 504, FIELD_LONG_DIGITS },
	{ 512, SIZE_BYTES },
	{ 528, FIELD_BYTES_DATA },
	{ 536, SIZE_LEGACY_STR },
	{ 552, FIELD_STR_LENGTH },
	{ 560, SIZE_ASCII },
	{ 568, SIZE_GC },
	{ 576, FIELD_GC_COLLECTING },
};

bool debug_offsets_at(const struct image *image, vaddr at, uint32_t *version, bool *free_threaded)
{
	const uint8_t *bytes = image_at(image, at, OFFSETS_BYTES);

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

unsigned debug_offsets_apply(struct layout *layout, const struct image *image, vaddr runtime)
{
	const uint8_t *bytes = image_at(image, runtime, OFFSETS_BYTES);
	struct field before[ARRAY_SIZE(rows)];
	unsigned contradicted = 0;

	for (size_t i = 0; bytes && i < ARRAY_SIZE(rows); i++) {
		struct field *field = &layout->fields[rows[i].field];
		uint64_t value = load_u64(bytes + rows[i].at);

		before[i] = *field;
		if (value > OFFSET_MAX)
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
