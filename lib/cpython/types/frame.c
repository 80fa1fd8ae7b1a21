/* SPDX-License-Identifier: MIT */
/*
 * frame, generator, coroutine, async_generator. Up to 3.10 frames are objects; from 3.11 on they
 * are records (_PyInterpreterFrame) that lie in the thread's stack chunks, in generators, or in
 * frame objects that outlived their call.
 */
#include "../frames.h"
#include "decoders.h"

#define SLOTS_MAX       (1 << 24)
#define STACK_REF_FLAGS 3

/* 3.9 Objects/frameobject.c, frame_sizeof() */
static bool old_frame_measure(struct measure *measure, const struct object *object)
{
	const struct memory *memory = measure->memory;
	vaddr code = object_field(measure, object, FIELD_FRAME_CODE);
	uint64_t stack, locals, cells, frees, cell_count, free_count;

	measure->size = measure->inside = layout_offset(memory->layout, SIZE_FRAME);
	if (!memory_field(memory, code, FIELD_CODE_STACK_SIZE, &stack) ||
	    !memory_field(memory, code, FIELD_CODE_NLOCALS, &locals) ||
	    !memory_field(memory, code, FIELD_CODE_CELL_VARS, &cells) ||
	    !memory_field(memory, code, FIELD_CODE_FREE_VARS, &frees) ||
	    !memory_field(memory, cells, FIELD_VAR_SIZE, &cell_count) ||
	    !memory_field(memory, frees, FIELD_VAR_SIZE, &free_count) ||
	    (stack | locals | cell_count | free_count) >= SLOTS_MAX) {
		measure->unreadable = true;
		return true;
	}
	measure->size += (stack + locals + cell_count + free_count) * sizeof(vaddr);
	measure->size -= sizeof(vaddr);
	measure->inside = measure->size;
	return measure->size <= object->room;
}

/* The slots of a frame of `code`: 3.11 co_nlocalsplus + co_stacksize; 3.12 co_framesize less the
 * words in front of the slots, FRAME_SPECIALS_SIZE. */
static bool count_slots(const struct memory *memory, vaddr code, uint64_t *ret)
{
	const struct layout *layout = memory->layout;
	uint64_t specials = layout_offset(layout, FIELD_INNER_FRAME_LOCALS) / sizeof(vaddr);
	uint64_t stack;

	if (layout_knows(layout, CONSTANT_FRAME_SLOTS_BY_SIZE)) {
		if (!memory_field(memory, code, FIELD_CODE_FRAME_SIZE, ret) || *ret < specials)
			return false;
		*ret -= specials;
	} else {
		if (!memory_field(memory, code, FIELD_CODE_NLOCALS_PLUS, ret) ||
		    !memory_field(memory, code, FIELD_CODE_STACK_SIZE, &stack))
			return false;
		*ret += stack;
	}
	return *ret < SLOTS_MAX;
}

/* Sets the size to `header` and a frame of `code`. */
static void add_frame(struct measure *measure, uint64_t header, vaddr code)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t slots;

	measure->size = header + layout_offset(layout, FIELD_INNER_FRAME_LOCALS);
	/* since 3.14 a reference with flags: Include/internal/pycore_stackref.h */
	code &= ~(vaddr)STACK_REF_FLAGS;
	if (code && count_slots(measure->memory, code, &slots))
		measure->size += slots * sizeof(vaddr);
	else
		measure->unreadable = true;
}

/* 3.11 Objects/frameobject.c, frame_sizeof() */
static bool frame_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t frame, code = 0;

	if (!basic_measure(measure, object))
		return false;
	if (!layout_has(layout, FIELD_FRAME_DATA))
		return old_frame_measure(measure, object);
	frame = object_field(measure, object, FIELD_FRAME_FRAME);
	memory_field(measure->memory, frame, FIELD_INNER_FRAME_CODE, &code);
	add_frame(measure, layout_offset(layout, FIELD_FRAME_DATA), code);
	measure->elsewhere = measure->size - MIN(measure->size, measure->inside);
	return true;
}

/* Up to 3.10 object.__sizeof__(); 3.11 Objects/genobject.c, gen_sizeof() */
static bool generator_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t header = layout_offset(layout, FIELD_GENERATOR_FRAME), code = 0;

	if (!layout_has(layout, FIELD_GENERATOR_FRAME))
		return plain_measure(measure, object);
	/* tp_itemsize is that of the frame's slots, but there is no ob_size */
	if (!basic_measure(measure, object))
		return false;
	if (layout_has(layout, FIELD_GENERATOR_CODE))
		code = object_field(measure, object, FIELD_GENERATOR_CODE);
	else
		memory_field(measure->memory, object->at + header, FIELD_INNER_FRAME_CODE, &code);
	add_frame(measure, header, code);
	measure->inside = MIN(measure->size, object->room);
	return true;
}

/* Objects/frameobject.c, frame_traverse() */
static void frame_visit(struct visitor *visitor, const struct object *object)
{
	static const struct {
		enum field_id field;
		const char *name;
	} members[] = {
		{ FIELD_FRAME_BACK, "f_back" },
		{ FIELD_FRAME_CODE, "f_code" },
		{ FIELD_FRAME_BUILTINS, "f_builtins" },
		{ FIELD_FRAME_GLOBALS, "f_globals" },
		{ FIELD_FRAME_LOCALS, "f_locals" },
		{ FIELD_FRAME_TRACE, "f_trace" },
		{ FIELD_FRAME_EXCEPTION_TYPE, "f_exc_type" },
		{ FIELD_FRAME_EXCEPTION, "f_exc_value" },
		{ FIELD_FRAME_EXCEPTION_TRACEBACK, "f_exc_traceback" },
		{ FIELD_FRAME_EXTRA_LOCALS, "f_extra_locals" },
		{ FIELD_FRAME_LOCALS_CACHE, "f_locals_cache" },
		{ FIELD_FRAME_OVERWRITTEN_LOCALS, "f_overwritten_fast_locals" },
	};
	const struct layout *layout = visitor->memory->layout;
	vaddr inner;

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		refer_member(visitor, visitor->strong,
			     visited_field(visitor, object, members[i].field), members[i].name);
	if (!layout_has(layout, FIELD_FRAME_DATA)) {
		frame_visit_object(visitor, object);
		return;
	}
	/* it has the frame itself once the call is over; before, a thread or a generator has it */
	inner = object->at + layout_offset(layout, FIELD_FRAME_DATA);
	if (visited_field(visitor, object, FIELD_FRAME_FRAME) == inner)
		frame_visit_inner(visitor, inner, false);
}

const struct decoder decoder_frame = {
	.type_name = "frame",
	.size = FIELD_COUNT,
	.measure = frame_measure,
	.visit = frame_visit,
};

/* Objects/genobject.c, gen_traverse() */
static void generator_visit(struct visitor *visitor, const struct object *object)
{
	static const struct {
		enum field_id field;
		const char *name;
	} members[] = {
		{ FIELD_GENERATOR_FRAME_OBJECT, "gi_frame" },
		{ FIELD_GENERATOR_CODE, "gi_code" },
		{ FIELD_GENERATOR_NAME, "__name__" },
		{ FIELD_GENERATOR_QUALNAME, "__qualname__" },
		{ FIELD_GENERATOR_EXCEPTION_TYPE, "exc_type" },
		{ FIELD_GENERATOR_EXCEPTION, "exc_value" },
		{ FIELD_GENERATOR_EXCEPTION_TRACEBACK, "exc_traceback" },
	};
	const struct layout *layout = visitor->memory->layout;
	uint64_t state = visited_field(visitor, object, FIELD_GENERATOR_FRAME_STATE);
	vaddr frame = object->at + layout_offset(layout, FIELD_GENERATOR_FRAME);

	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		refer_member(visitor, visitor->strong,
			     visited_field(visitor, object, members[i].field), members[i].name);
	if (!layout_has(layout, FIELD_GENERATOR_FRAME))
		return;
	if ((int8_t)state < (int64_t)layout_constant(layout, CONSTANT_FRAME_CLEARED))
		frame_visit_inner(visitor, frame, false);
	else if (layout_knows(layout, CONSTANT_ENDED_CODE_VISITED))
		frame_visit_code(visitor, frame);
}

static void coroutine_visit(struct visitor *visitor, const struct object *object)
{
	generator_visit(visitor, object);
	refer_member(visitor, REFERENCE_EXTRA,
		     visited_field(visitor, object, FIELD_COROUTINE_ORIGIN), "cr_origin");
}

/* async_gen_traverse() */
static void async_generator_visit(struct visitor *visitor, const struct object *object)
{
	generator_visit(visitor, object);
	refer_member(visitor, visitor->strong,
		     visited_field(visitor, object, FIELD_ASYNC_GENERATOR_FINALIZER),
		     "ag_finalizer");
}

const struct decoder decoder_generator = {
	.type_name = "generator",
	.size = FIELD_COUNT,
	.measure = generator_measure,
	.visit = generator_visit,
};

const struct decoder decoder_coroutine = {
	.type_name = "coroutine",
	.size = FIELD_COUNT,
	.measure = generator_measure,
	.visit = coroutine_visit,
};

const struct decoder decoder_async_generator = {
	.type_name = "async_generator",
	.size = FIELD_COUNT,
	.measure = generator_measure,
	.visit = async_generator_visit,
};
