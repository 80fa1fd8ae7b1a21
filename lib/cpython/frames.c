/* SPDX-License-Identifier: MIT */
#include "frames.h"

#define SLOTS_MAX (1 << 24)

/* 3.14 Include/internal/pycore_stackref.h: the lowest bits of references in frames. With the first
 * the object does not count this one: it is borrowed from another, or deferred. */
#define TAG_BITS      3
#define TAG_INT       3 /* no reference at all */
#define TAG_UNCOUNTED 1

/* The names of a frame's slots: up to three tuples, one behind the other. */
struct names {
	vaddr items[3];
	uint64_t counts[3];
};

static void add_names(const struct memory *memory, struct names *names, int index, vaddr tuple)
{
	uint64_t count;

	if (!tuple || !memory_field(memory, tuple, FIELD_VAR_SIZE, &count) || count >= SLOTS_MAX)
		return;
	names->items[index] = tuple + layout_offset(memory->layout, FIELD_TUPLE_ITEMS);
	names->counts[index] = count;
}

/* Finds the names of the locals of `code`, its cells and free variables. */
static void find_names(const struct memory *memory, vaddr code, struct names *names)
{
	static const enum field_id fields[] = {
		FIELD_CODE_VAR_NAMES,
		FIELD_CODE_CELL_VARS,
		FIELD_CODE_FREE_VARS,
	};
	uint64_t tuple;

	*names = (struct names){ 0 };
	if (memory_field(memory, code, FIELD_CODE_LOCALS_NAMES, &tuple)) {
		add_names(memory, names, 0, tuple);
		return;
	}
	for (int i = 0; i < (int)ARRAY_SIZE(fields); i++) {
		if (memory_field(memory, code, fields[i], &tuple))
			add_names(memory, names, i, tuple);
	}
}

static uint64_t count_names(const struct names *names)
{
	return names->counts[0] + names->counts[1] + names->counts[2];
}

/* The str that slot `index` is called; 0: it is on the stack. */
static vaddr slot_name(const struct memory *memory, const struct names *names, uint64_t index)
{
	for (int i = 0; i < 3; i++) {
		uint64_t name;

		if (index < names->counts[i])
			return image_u64(memory->image, names->items[i] + index * sizeof(vaddr),
					 &name)
				       ? name
				       : 0;
		index -= names->counts[i];
	}
	return 0;
}

struct reference frame_reference(const struct layout *layout, uint64_t word)
{
	struct reference reference = { .to = word };

	if (layout_has(layout, FIELD_INNER_FRAME_STACK_POINTER)) {
		reference.to = (word & TAG_BITS) == TAG_INT ? 0 : word & ~(vaddr)TAG_BITS;
		reference.uncounted = word & TAG_UNCOUNTED;
	}
	return reference;
}

/* Reports the reference in a word. */
static void refer_word(struct visitor *visitor, uint64_t word, struct reference called)
{
	struct reference reference = frame_reference(visitor->memory->layout, word);

	called.to = reference.to;
	called.uncounted = reference.uncounted;
	called.kind = visitor->strong;
	if (called.to)
		visitor->see(visitor->closure, &called);
}

/* Reports `count` slots from `at` on, which are the slots from `first` on of the frame. */
static void visit_slots(struct visitor *visitor, const struct names *names, vaddr at,
			uint64_t first, uint64_t count)
{
	const uint8_t *bytes =
		image_at(visitor->memory->image, at, MIN(count, SLOTS_MAX) * sizeof(vaddr));
	uint64_t locals = count_names(names);

	if (!bytes || count > SLOTS_MAX) {
		visitor->unreadable |= count != 0;
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		uint64_t word = load_u64(bytes + i * sizeof(vaddr)), index = first + i;
		struct reference called = { .step = STEP_STACK, .number = index - locals };

		if (index < locals) {
			called.step = STEP_LOCAL;
			called.number = slot_name(visitor->memory, names, index);
		}
		refer_word(visitor, word, called);
	}
}

/* The slots in use of the frame at `at`, or those of its locals while nobody knows. */
static uint64_t count_slots(const struct memory *memory, vaddr at, const uint8_t *bytes,
			    uint64_t locals, bool executing)
{
	const struct layout *layout = memory->layout;
	vaddr first = at + layout_offset(layout, FIELD_INNER_FRAME_LOCALS), top;
	int64_t count;

	if (layout_has(layout, FIELD_INNER_FRAME_STACK_POINTER)) {
		top = field_load(layout, bytes, FIELD_INNER_FRAME_STACK_POINTER);
		if (top >= first)
			return (top - first) / sizeof(vaddr);
	} else {
		count = field_load_signed(layout, bytes, FIELD_INNER_FRAME_STACK_TOP);
		if (count >= 0)
			return (uint64_t)count;
	}
	return executing ? locals : 0;
}

void frame_visit_code(struct visitor *visitor, vaddr at)
{
	uint64_t code;

	if (memory_field(visitor->memory, at, FIELD_INNER_FRAME_CODE, &code))
		refer_word(visitor, code,
			   (struct reference){ .step = STEP_MEMBER, .text = "f_code" });
}

/* 3.12 Python/frame.c, _PyFrame_Traverse() */
void frame_visit_inner(struct visitor *visitor, vaddr at, bool executing)
{
	static const struct {
		enum field_id field;
		const char *name;
	} members[] = {
		{ FIELD_INNER_FRAME_OBJECT, "frame_obj" },
		{ FIELD_INNER_FRAME_LOCALS_DICT, "f_locals" },
		{ FIELD_INNER_FRAME_FUNCTION, "f_func" },
		{ FIELD_INNER_FRAME_CODE, "f_code" },
	};
	const struct memory *memory = visitor->memory;
	const struct layout *layout = memory->layout;
	uint64_t size = layout_offset(layout, FIELD_INNER_FRAME_LOCALS);
	const uint8_t *bytes = image_at(memory->image, at, size);
	struct names names;

	if (!bytes) {
		visitor->unreadable = true;
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		refer_word(visitor, field_load(layout, bytes, members[i].field),
			   (struct reference){ .step = STEP_MEMBER, .text = members[i].name });
	find_names(memory, field_load(layout, bytes, FIELD_INNER_FRAME_CODE) & ~(vaddr)TAG_BITS,
		   &names);
	visit_slots(visitor, &names, at + size, 0,
		    count_slots(memory, at, bytes, count_names(&names), executing));
}

/* The stack of a frame object: 3.10 knows its depth, those before where it ends. */
static uint64_t stack_depth(const struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;
	vaddr stack = visited_field(visitor, object, FIELD_FRAME_STACK);
	vaddr top = visited_field(visitor, object, FIELD_FRAME_STACK_TOP);
	int32_t depth;

	if (layout_has(layout, FIELD_FRAME_STACK_DEPTH)) {
		depth = (int32_t)visited_field(visitor, object, FIELD_FRAME_STACK_DEPTH);
		return depth > 0 ? (uint64_t)depth : 0;
	}
	return top > stack ? (top - stack) / sizeof(vaddr) : 0;
}

/* 3.9 Objects/frameobject.c, frame_traverse() */
void frame_visit_object(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;
	vaddr stack = visited_field(visitor, object, FIELD_FRAME_STACK);
	struct names names;
	uint64_t locals;

	find_names(visitor->memory, visited_field(visitor, object, FIELD_FRAME_CODE), &names);
	locals = count_names(&names);
	visit_slots(visitor, &names, object->at + layout_offset(layout, FIELD_FRAME_LOCALS_PLUS), 0,
		    locals);
	visit_slots(visitor, &names, stack, locals, stack_depth(visitor, object));
}

/* Where the stack of an executing _PyInterpreterFrame begins, and its code; 0: its top is known. */
static vaddr inner_stack(const struct memory *memory, vaddr at, vaddr *code)
{
	const struct layout *layout = memory->layout;
	uint64_t size = layout_offset(layout, FIELD_INNER_FRAME_LOCALS);
	const uint8_t *bytes = image_at(memory->image, at, size);
	struct names names;

	if (!bytes || count_slots(memory, at, bytes, UINT64_MAX, true) != UINT64_MAX)
		return 0;
	*code = field_load(layout, bytes, FIELD_INNER_FRAME_CODE) & ~(vaddr)TAG_BITS;
	find_names(memory, *code, &names);
	return at + size + count_names(&names) * sizeof(vaddr);
}

/* The same of a frame object: 3.10 Python/ceval.c, _PyEval_EvalFrameDefault() */
static vaddr object_stack(const struct memory *memory, vaddr at, vaddr *code)
{
	uint64_t start, depth;

	if (!memory_field(memory, at, FIELD_FRAME_STACK, &start) ||
	    !memory_field(memory, at, FIELD_FRAME_CODE, code))
		return 0;
	if (memory_field(memory, at, FIELD_FRAME_STACK_DEPTH, &depth))
		return (int32_t)depth < 0 ? start : 0;
	return memory_field(memory, at, FIELD_FRAME_STACK_TOP, &depth) && !depth ? start : 0;
}

bool frame_unknown_stack(const struct memory *memory, vaddr at, vaddr *start, uint64_t *size)
{
	vaddr code;

	*start = layout_has(memory->layout, FIELD_INNER_FRAME_CODE)
			 ? inner_stack(memory, at, &code)
			 : object_stack(memory, at, &code);
	if (!*start || !memory_field(memory, code, FIELD_CODE_STACK_SIZE, size) ||
	    *size > SLOTS_MAX)
		return false;
	*size *= sizeof(vaddr);
	return true;
}
