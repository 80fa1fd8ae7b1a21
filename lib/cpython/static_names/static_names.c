/* SPDX-License-Identifier: MIT */
#include "static_names.h"

#include <stdlib.h>
#include <string.h>

#include "../dict_keys.h"
#include "../values.h"

#define ENTRY_BYTES    16      /* 3.13: {PyTypeObject *type; int64_t interp_count;} */
#define SEARCH_BYTES   0x40000 /* of _PyRuntime */
#define TYPES_MIN      100     /* in the table, or it is none */
#define COUNT_MAX      (1 << 20)
#define NAME_MAX_BYTES 256
#define ENTRIES_MAX    (1U << 20)

static const char *const names_3_13[] = {
#define STATIC_NAME(index, name) [index] = name,
#include "v3_13.def"
#undef STATIC_NAME
};

/* Gives type `index` a name; false when it has one. */
static bool set_name(struct type *type, const char *name)
{
	if (type->named || type->heap || !name)
		return false;
	type->name = name;
	type->named = true;
	return true;
}

/* The index of the type that entry `at` of the table of static types tells of, or TYPE_NONE. */
static uint32_t entry_type(const struct type_table *table, const uint8_t *at)
{
	uint64_t count = load_u64(at + sizeof(vaddr));

	return count && count <= COUNT_MAX ? type_find(table, load_u64(at)) : TYPE_NONE;
}

/*
 * Whether the table begins at `at`: with object, which alone has no base, and type, and many more.
 * 3.13 Include/internal/pycore_typeobject.h, struct types_runtime_state
 */
static bool is_table(const struct type_table *table, const struct python *python, const uint8_t *at,
		     const uint8_t *end)
{
	uint32_t first = entry_type(table, at);

	if (first == TYPE_NONE || table->list.items[first].base ||
	    load_u64(at + ENTRY_BYTES) != python->type_type)
		return false;
	for (int i = 1; i < TYPES_MIN; i++) {
		if (at + (i + 1) * ENTRY_BYTES > end ||
		    entry_type(table, at + (ptrdiff_t)i * ENTRY_BYTES) == TYPE_NONE)
			return false;
	}
	return true;
}

static size_t name_by_order(struct type_table *table, const struct python *python)
{
	uint64_t room;
	const uint8_t *bytes = image_room(python->memory.image, python->runtime, &room), *end;
	size_t named = 0;

	if (!bytes || python->version >> 16 != 0x030D)
		return 0;
	end = bytes + MIN(room, (uint64_t)SEARCH_BYTES);
	while (end - bytes >= 2 * ENTRY_BYTES && !is_table(table, python, bytes, end))
		bytes += sizeof(vaddr);
	for (size_t i = 0; i < ARRAY_SIZE(names_3_13) && end - bytes >= ENTRY_BYTES;
	     i++, bytes += ENTRY_BYTES) {
		uint32_t index = type_find(table, load_u64(bytes));

		if (index != TYPE_NONE)
			named += set_name(&table->list.items[index], names_3_13[i]);
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
