/* SPDX-License-Identifier: MIT */
#include "names.h"

#include "../cpython/values.h"

#define NAME_MAX_CHARACTERS 200

/* Whether the str at `at` is interned: what is, stands in a program, or names an attribute. */
static bool is_program_name(const struct memory *memory, vaddr at)
{
	uint64_t interned;

	return memory_field(memory, at, FIELD_STR_INTERNED, &interned) && interned;
}

static const struct type *type_at(const struct heap_view *view, vaddr at)
{
	uint64_t type;
	uint32_t index;

	if (!memory_field(&view->python->memory, at, FIELD_OBJECT_TYPE, &type))
		return NULL;
	index = type_find(&view->objects->types, type);
	return index == TYPE_NONE ? NULL : &view->objects->types.list.items[index];
}

/* Whether a module is there, whose name is its key in sys.modules. */
static bool is_module(const struct heap_view *view, vaddr at)
{
	const struct type *type = type_at(view, at);

	return type && !strcmp(type->name, "module");
}

/* The key at `at` between brackets. */
static const char *key_name(const struct heap_view *view, vaddr at, bool values,
			    struct strings *strings)
{
	const struct memory *memory = &view->python->memory;
	const struct type *type = type_at(view, at);
	const char *text;
	int64_t number;
	bool shown = false;

	if (type && type->flags & layout_constant(memory->layout, CONSTANT_TYPE_IS_STR))
		shown = values || is_program_name(memory, at);
	else if (type && type->flags & layout_constant(memory->layout, CONSTANT_TYPE_IS_UNICODE))
		shown = values;
	if (shown) {
		text = str_value(memory, at, NAME_MAX_CHARACTERS, strings);
		if (text)
			return strings_format(strings, "[\"%s\"]", text);
	}
	if (values && type && !strcmp(type->name, "int") && long_value(memory, at, &number))
		return strings_format(strings, "[%lld]", (long long)number);
	return strings_format(strings, "[%s at 0x%llx]", type ? type->name : "key",
			      (unsigned long long)at);
}

/* The name whose str is at `at`, behind `prefix`. */
static const char *str_name(const struct heap_view *view, const char *prefix, vaddr at,
			    struct strings *strings)
{
	const char *text =
		at ? str_value(&view->python->memory, at, NAME_MAX_CHARACTERS, strings) : NULL;

	return strings_format(strings, "%s%s", prefix, text ? text : "?");
}

const char *reference_name(const struct heap_view *view, const struct reference *reference,
			   bool values, struct strings *strings)
{
	unsigned long long number = reference->number;

	switch ((enum reference_step)reference->step) {
	case STEP_MEMBER:
		return strings_format(strings, *reference->text == '(' ? "%s" : ".%s",
				      reference->text);
	case STEP_ATTRIBUTE:
		return str_name(view, ".", reference->number, strings);
	case STEP_ITEM:
		return strings_format(strings, "[%llu]", number);
	case STEP_KEY:
		return "key";
	case STEP_VALUE:
		return key_name(view, reference->number, values || is_module(view, reference->to),
				strings);
	case STEP_LOCAL:
		return str_name(view, "local ", reference->number, strings);
	case STEP_STACK:
		return strings_format(strings, "stack[%llu]", number);
	case STEP_WORD:
		return strings_format(strings, "word at +%llu", number);
	}
	return NULL;
}

/* A reference that is looked for. */
struct wanted {
	block_id to;
	bool found;
	struct reference reference;
};

static void compare_reference(void *closure, block_id to, const struct reference *reference)
{
	struct wanted *wanted = closure;

	if (to != wanted->to || reference->kind == REFERENCE_WEAK ||
	    (wanted->found &&
	     (wanted->reference.kind == REFERENCE_STRONG || reference->kind != REFERENCE_STRONG)))
		return;
	wanted->found = true;
	wanted->reference = *reference;
}

const char *step_name(const struct heap_view *view, block_id holder, block_id to, bool values,
		      struct strings *strings)
{
	struct wanted wanted = { .to = to };
	struct object object;

	if (object_get(view, holder, &object))
		references_visit(view, &object, compare_reference, &wanted);
	return wanted.found ? reference_name(view, &wanted.reference, values, strings) : NULL;
}
