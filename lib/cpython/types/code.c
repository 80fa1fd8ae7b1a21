/* SPDX-License-Identifier: MIT */
/* code: Objects/codeobject.c, code_sizeof() */
#include "decoders.h"

#define CODE_UNIT_BYTES 2
#define THREADS_MAX     65536

/* The number of items of the tuple (or bytes of the bytes) at `at`. */
static bool var_size(struct measure *measure, vaddr at, uint64_t *ret)
{
	if (!memory_field(measure->memory, at, FIELD_VAR_SIZE, ret) || *ret >> 32) {
		measure->unreadable = true;
		return false;
	}
	return true;
}

/* _PyCodeObjectExtra: data that C extensions hang on code */
static void add_extra(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	vaddr extra = object_field(measure, object, FIELD_CODE_EXTRA);
	uint64_t count, bytes = 0;

	if (!extra)
		return;
	if (memory_field(measure->memory, extra, FIELD_CODE_EXTRAS_SIZE, &count) && count &&
	    count < 4096)
		bytes = layout_offset(layout, SIZE_CODE_EXTRAS) + (count - 1) * sizeof(vaddr);
	else
		measure->unreadable = true;
	measure->size += bytes;
	own(measure, extra, bytes, BUFFER_CODE_CACHE);
}

/* Up to 3.10: the opcode cache, which frames of code that is called often get. */
static void add_opcode_cache(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	vaddr cache = object_field(measure, object, FIELD_CODE_OPCACHE);
	uint64_t units, bytes;

	if (!cache || !var_size(measure, object_field(measure, object, FIELD_CODE_CODE), &units))
		return;
	units /= CODE_UNIT_BYTES;
	bytes = object_field(measure, object, FIELD_CODE_OPCACHE_SIZE) *
		layout_offset(layout, SIZE_OPCACHE);
	measure->size += units + bytes;
	own(measure, cache, bytes, BUFFER_CODE_CACHE);
	own(measure, object_field(measure, object, FIELD_CODE_OPCACHE_MAP), units,
	    BUFFER_CODE_CACHE);
}

static void add_cell_map(struct measure *measure, const struct object *object)
{
	vaddr map = object_field(measure, object, FIELD_CODE_CELL_TO_ARG);
	vaddr cells = object_field(measure, object, FIELD_CODE_CELL_VARS);
	uint64_t item, count;

	if (!map || !cells || !var_size(measure, cells, &count))
		return;
	item = layout_constant(measure->memory->layout, CONSTANT_CELL_MAP_ITEM_BYTES);
	measure->size += count * sizeof(vaddr);
	measure->elsewhere += count * (sizeof(vaddr) - item);
	own(measure, map, count * item, BUFFER_CODE_CACHE);
}

/* Up to 3.10: the frame that is kept for the next call; its block begins with its GC header. */
static void own_zombie_frame(struct measure *measure, const struct object *object)
{
	vaddr frame = object_field(measure, object, FIELD_CODE_ZOMBIE_FRAME);

	if (frame)
		own(measure, frame - layout_offset(measure->memory->layout, SIZE_GC_HEAD), 0,
		    BUFFER_FRAME);
}

/* 3.12 and later: what sys.monitoring and tracing hang on code. */
static void own_monitoring(struct measure *measure, vaddr data)
{
	static const enum field_id arrays[] = {
		FIELD_MONITORING_TOOLS,
		FIELD_MONITORING_LINES,
		FIELD_MONITORING_LINE_TOOLS,
		FIELD_MONITORING_OPCODES,
		FIELD_MONITORING_INSTRUCTION_TOOLS,
	};
	uint64_t at;

	own(measure, data, 0, BUFFER_CODE_CACHE);
	for (size_t i = 0; data && i < ARRAY_SIZE(arrays); i++) {
		if (memory_field(measure->memory, data, arrays[i], &at))
			own(measure, at, 0, BUFFER_CODE_CACHE);
	}
}

/* Free-threaded builds since 3.14: a copy of the instructions for each thread that has run them.
 * The first entry is the code's own. Include/cpython/code.h, _PyCodeArray */
static void own_thread_copies(struct measure *measure, vaddr array)
{
	const struct memory *memory = measure->memory;
	vaddr entries = memory_address(memory, array, FIELD_CODE_THREADS_ENTRIES), copy;
	uint64_t count;

	own(measure, array, 0, BUFFER_CODE_CACHE);
	if (!array || !memory_field(memory, array, FIELD_CODE_THREADS_COUNT, &count))
		return;
	for (uint64_t i = 1; i < MIN(count, (uint64_t)THREADS_MAX); i++) {
		if (!image_u64(memory->image, entries + i * sizeof(vaddr), &copy))
			return;
		own(measure, copy, 0, BUFFER_CODE_CACHE);
	}
}

static bool code_measure(struct measure *measure, const struct object *object)
{
	static const enum field_id caches[] = {
		FIELD_CODE_LINE_ARRAY,
		FIELD_CODE_CACHED,
		FIELD_CODE_EXECUTORS,
	};
	const struct layout *layout = measure->memory->layout;

	/* a variable-size object since 3.11: its instructions are behind it */
	if (!plain_measure(measure, object))
		return false;
	if (object->type->item_size)
		measure->size = measure->inside = round_up(measure->size, sizeof(vaddr));
	if (layout_has(layout, FIELD_CODE_EXTRA))
		add_extra(measure, object);
	if (layout_has(layout, FIELD_CODE_CELL_TO_ARG))
		add_cell_map(measure, object);
	if (layout_has(layout, FIELD_CODE_OPCACHE))
		add_opcode_cache(measure, object);
	if (layout_has(layout, FIELD_CODE_ZOMBIE_FRAME))
		own_zombie_frame(measure, object);
	if (layout_has(layout, FIELD_CODE_MONITORING))
		own_monitoring(measure, object_field(measure, object, FIELD_CODE_MONITORING));
	if (measure->own && layout_has(layout, FIELD_CODE_THREADS))
		own_thread_copies(measure, object_field(measure, object, FIELD_CODE_THREADS));
	for (size_t i = 0; i < ARRAY_SIZE(caches); i++) {
		if (layout_has(layout, caches[i]))
			own(measure, object_field(measure, object, caches[i]), 0,
			    BUFFER_CODE_CACHE);
	}
	return true;
}

/* 3.12 and later: what co_code and its like have made is kept in a record. */
static void code_visit(struct visitor *visitor, const struct object *object)
{
	static const struct {
		enum field_id field;
		const char *name;
	} members[] = {
		{ FIELD_CODE_CACHED_CODE, "co_code" },
		{ FIELD_CODE_CACHED_VAR_NAMES, "co_varnames" },
		{ FIELD_CODE_CACHED_CELL_VARS, "co_cellvars" },
		{ FIELD_CODE_CACHED_FREE_VARS, "co_freevars" },
	};
	vaddr cached = visited_field(visitor, object, FIELD_CODE_CACHED), to;

	for (size_t i = 0; cached && i < ARRAY_SIZE(members); i++) {
		if (memory_field(visitor->memory, cached, members[i].field, &to))
			refer_member(visitor, REFERENCE_EXTRA, to, members[i].name);
	}
}

const struct decoder decoder_code = {
	.type_name = "code",
	.size = FIELD_COUNT,
	.measure = code_measure,
	.visit = code_visit,
};
