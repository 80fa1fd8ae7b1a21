/* SPDX-License-Identifier: MIT */
#include "static_names.h"

#include "dict_keys.h"
#include "values.h"

#define TYPES_MIN      100 /* in the table, or it is none */
#define COUNT_MAX      (1 << 20)
#define NAME_MAX_BYTES 256
#define ENTRIES_MAX    (1U << 20)

/* Gives a static type a name; false when it has one. */
static bool set_name(struct type *type, const char *name)
{
	if (type->named || type->heap || !name)
		return false;
	type->name = name;
	type->named = true;
	return true;
}

/* The table of static types, somewhere in _PyRuntime. */
struct order {
	const struct type_table *table;
	const struct python *python;
	uint64_t step; /* bytes of an entry */
};

/* The index of the type that entry `at` tells of, or TYPE_NONE. */
static uint32_t entry_type(const struct order *order, const uint8_t *at)
{
	uint64_t count = load_u64(at + sizeof(vaddr));

	return count && count <= COUNT_MAX ? type_find(order->table, load_u64(at)) : TYPE_NONE;
}

/* Whether the table begins at `at`: with object, which alone has no base, and type, and many more.
 */
static bool is_table(const struct order *order, const uint8_t *at, uint64_t room)
{
	uint32_t first = entry_type(order, at);

	if (room < TYPES_MIN * order->step || first == TYPE_NONE ||
	    order->table->list.items[first].base ||
	    load_u64(at + order->step) != order->python->type_type)
		return false;
	for (uint64_t i = 1; i < TYPES_MIN; i++) {
		if (entry_type(order, at + i * order->step) == TYPE_NONE)
			return false;
	}
	return true;
}

static size_t name_by_order(struct type_table *table, const struct python *python)
{
	const struct layout *layout = &python->layout;
	struct order order = { table, python, layout_constant(layout, CONSTANT_STATIC_TYPE_BYTES) };
	const uint8_t *bytes = memory_struct(&python->memory, python->runtime, SIZE_RUNTIME);
	uint64_t room = layout_offset(layout, SIZE_RUNTIME), at = 0;
	size_t named = 0;

	if (!bytes || !layout_knows(layout, CONSTANT_STATIC_TYPE_BYTES))
		return 0;
	while (at + order.step <= room && !is_table(&order, bytes + at, room - at))
		at += sizeof(vaddr);
	for (size_t i = 0; i < layout->static_type_count && at + order.step <= room; i++) {
		uint32_t index = type_find(table, load_u64(bytes + at));

		if (index != TYPE_NONE)
			named += set_name(&table->list.items[index], layout->static_types[i]);
		at += order.step;
	}
	return named;
}

/* Called for each key and value of a dict; both are addresses of objects. */
typedef void entry_fn(void *closure, vaddr key, vaddr value);

static void each_entry(const struct memory *memory, vaddr dict, entry_fn *fn, void *closure)
{
	struct dict_keys keys;
	uint64_t at;

	if (!memory_field(memory, dict, FIELD_DICT_KEYS, &at) ||
	    !dict_keys_read(memory, at, &keys) || keys.split)
		return;
	for (uint64_t i = 0; i < MIN(keys.used, (uint64_t)ENTRIES_MAX); i++) {
		vaddr key, value;

		if (dict_keys_entry(memory, &keys, i, &key, &value) && key && value)
			fn(closure, key, value);
	}
}

/* Naming by what modules call a type. */
struct naming {
	struct type_table *table;
	const struct python *python;
	vaddr builtins;
	const char *module; /* at work; NULL: builtins, whose types are bare */
	size_t named;
};

static void name_type(void *closure, vaddr key, vaddr value)
{
	struct naming *naming = closure;
	uint32_t index = type_find(naming->table, value);
	struct strings *strings = &naming->table->strings;
	const char *name;

	if (index == TYPE_NONE || naming->table->list.items[index].named)
		return;
	name = str_value(&naming->python->memory, key, NAME_MAX_BYTES, strings);
	if (name && naming->module)
		name = strings_format(strings, "%s.%s", naming->module, name);
	naming->named += set_name(&naming->table->list.items[index], name);
}

/* `value` is a module of sys.modules. */
static void name_module(void *closure, vaddr key, vaddr value)
{
	struct naming *naming = closure;
	const struct memory *memory = &naming->python->memory;
	uint64_t dict;

	/* md_dict, the first member: Include/internal/pycore_moduleobject.h */
	if (!image_u64(memory->image, value + layout_offset(memory->layout, SIZE_OBJECT), &dict))
		return;
	naming->module = dict == naming->builtins
				 ? NULL
				 : str_value(memory, key, NAME_MAX_BYTES, &naming->table->strings);
	if (naming->module || dict == naming->builtins)
		each_entry(memory, dict, name_type, naming);
}

size_t static_names_recover(struct type_table *table, const struct python *python)
{
	const struct interpreter *interp = &python->interpreters.items[0];
	struct naming naming = { table, python, interp->builtins, NULL, 0 };

	naming.named = name_by_order(table, python);
	if (interp->builtins)
		each_entry(&python->memory, interp->builtins, name_type, &naming);
	if (interp->modules)
		each_entry(&python->memory, interp->modules, name_module, &naming);
	return naming.named;
}
