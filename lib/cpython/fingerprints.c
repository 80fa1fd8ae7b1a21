/* SPDX-License-Identifier: MIT */
/*
 * A fingerprint is what CPython's source decides of a type, and a process shows without its files.
 * Types with the same one are told apart by what modules call them, or by elimination, or not at
 * all. Bases come before the types that derive from them: naming goes in rounds.
 */
#include <stdlib.h>
#include <string.h>

#include "fingerprints.h"
#include "static_state.h"
#include "values.h"

#define ROUNDS_MAX  8
#define ENTRIES_MAX 4096 /* looked at, of one dict */
#define GROUP_MAX   8    /* types with the same fingerprint */

/* A dict's keys at work. */
struct keys_sum {
	const struct memory *memory;
	uint64_t sum;
	size_t count;
};

static bool add_key(void *closure, vaddr key, vaddr value)
{
	struct keys_sum *keys = closure;

	(void)value;
	keys->sum += str_hash(keys->memory, key);
	return ++keys->count < ENTRIES_MAX;
}

/* The dict of a static type; 3.12 and later: in the interpreter. */
static vaddr type_dict(const struct python *python, vaddr type)
{
	const struct memory *memory = &python->memory;
	uint64_t dict = 0;
	vaddr state;

	if (memory_field(memory, type, FIELD_TYPE_DICT, &dict) && dict)
		return dict;
	state = static_type_state(python, type);
	return state && memory_field(memory, state, FIELD_STATIC_TYPE_DICT, &dict) ? dict : 0;
}

/* Where types with that fingerprint lie: in their extension module, or in the interpreter, which
 * may have any standard module built in, but no package; NULL: nowhere. */
static const struct module *find_home(const struct fingerprint *print, const struct python *python,
				      const struct modules *modules)
{
	for (size_t i = 0; *print->extension && i < modules->list.count; i++) {
		if (module_is_extension(&modules->list.items[i], print->extension))
			return &modules->list.items[i];
	}
	return print->strict ? NULL : python->module;
}

bool fingerprints_init(struct fingerprints *prints, struct type_table *table,
		       const struct python *python, const struct modules *modules)
{
	const struct layout *layout = &python->layout;
	size_t types = table->list.count, count = layout->fingerprint_count;

	*prints = (struct fingerprints){
		.table = table,
		.python = python,
		.places = calloc(types + 1, sizeof(*prints->places)),
		.keys = calloc(types + 1, sizeof(*prints->keys)),
		.homes = calloc(count + 1, sizeof(*prints->homes)),
		.taken = calloc(count + 1, sizeof(*prints->taken)),
	};
	if (!prints->places || !prints->keys || !prints->homes || !prints->taken)
		return false;
	for (size_t i = 0; i < count; i++)
		prints->homes[i] = find_home(&layout->fingerprints[i], python, modules);
	for (size_t i = 0; i < types; i++) {
		const struct type *type = &table->list.items[i];
		vaddr dict = type->named ? 0 : type_dict(python, type->at);
		struct keys_sum keys = { &python->memory, 0, 0 };

		if (dict)
			dict_each(&python->memory, dict, add_key, &keys);
		prints->keys[i] = keys.sum;
		prints->places[i] = modules_find(modules, type->at);
	}
	return true;
}

void fingerprints_deinit(struct fingerprints *prints)
{
	free(prints->places);
	free(prints->keys);
	free(prints->homes);
	free(prints->taken);
	*prints = (struct fingerprints){ 0 };
}

/* Whether the type is where the fingerprint's is, and has its numbers. */
static bool is_like(const struct fingerprints *prints, size_t print, uint32_t index)
{
	const struct fingerprint *one = &prints->python->layout.fingerprints[print];
	const struct type *type = &prints->table->list.items[index];

	return type->basic_size == one->basic_size && type->item_size == one->item_size &&
	       prints->homes[print] && prints->places[index] == prints->homes[print];
}

/* Whether the type at `at` is called `name`; "": there is none. */
static bool is_called(const struct type_table *table, vaddr at, const char *name)
{
	uint32_t index = at ? type_find(table, at) : TYPE_NONE;

	if (index == TYPE_NONE)
		return !at && !*name;
	return table->list.items[index].named && !strcmp(table->list.items[index].name, name);
}

static bool matches(const struct fingerprints *prints, size_t print, uint32_t index)
{
	const struct fingerprint *one = &prints->python->layout.fingerprints[print];
	const struct type *type = &prints->table->list.items[index];
	uint64_t metatype;

	return prints->keys[index] == one->keys && is_like(prints, print, index) &&
	       is_called(prints->table, type->base, one->base) &&
	       memory_field(&prints->python->memory, type->at, FIELD_OBJECT_TYPE, &metatype) &&
	       is_called(prints->table, metatype, one->metatype);
}

static void give_name(struct fingerprints *prints, uint32_t index, size_t print)
{
	struct type *type = &prints->table->list.items[index];

	type->name = prints->python->layout.fingerprints[print].name;
	type->named = true;
	prints->taken[print] = true;
}

/* The only fingerprint that fits the type and is free; the number of fingerprints when there is
 * none, or another. */
static size_t find_print(const struct fingerprints *prints, uint32_t index)
{
	const struct layout *layout = &prints->python->layout;
	size_t found = layout->fingerprint_count;

	for (size_t i = 0; i < layout->fingerprint_count; i++) {
		if (prints->taken[i] || !matches(prints, i, index))
			continue;
		if (found != layout->fingerprint_count)
			return layout->fingerprint_count;
		found = i;
	}
	return found;
}

/* Whether another type without a name has that fingerprint. */
static bool has_rival(const struct fingerprints *prints, size_t print, uint32_t index)
{
	for (uint32_t i = 0; i < prints->table->list.count; i++) {
		if (i != index && !prints->table->list.items[i].named && matches(prints, print, i))
			return true;
	}
	return false;
}

/* Names metatypes by their instances: many are in no module. */
static size_t name_metatype(struct fingerprints *prints, size_t print, vaddr type)
{
	const struct layout *layout = &prints->python->layout;
	uint64_t metatype;
	uint32_t index;

	if (!memory_field(&prints->python->memory, type, FIELD_OBJECT_TYPE, &metatype))
		return false;
	index = type_find(prints->table, metatype);
	if (index == TYPE_NONE || prints->table->list.items[index].named)
		return false;
	for (size_t i = 0; i < layout->fingerprint_count; i++) {
		if (prints->taken[i] || !is_like(prints, i, index) ||
		    strcmp(layout->fingerprints[i].name, layout->fingerprints[print].metatype))
			continue;
		give_name(prints, index, i);
		return true;
	}
	return false;
}

static size_t name_round(struct fingerprints *prints)
{
	const struct layout *layout = &prints->python->layout;
	size_t named = 0;

	for (uint32_t i = 0; i < prints->table->list.count; i++) {
		size_t print;

		if (prints->table->list.items[i].named || !prints->keys[i])
			continue;
		print = find_print(prints, i);
		if (print == layout->fingerprint_count || has_rival(prints, print, i))
			continue;
		give_name(prints, i, print);
		named++;
	}
	return named;
}

size_t fingerprints_name(struct fingerprints *prints)
{
	size_t named = 0, before;
	uint32_t type = type_find(prints->table, prints->python->type_type);

	/* the root of all metatypes is known */
	if (prints->python->layout.fingerprint_count && type != TYPE_NONE)
		named += fingerprints_name_known(prints, type, "builtins.type");
	for (int i = 0; i < ROUNDS_MAX; i++) {
		before = named;
		named += name_round(prints);
		if (named == before)
			break;
	}
	return named;
}

/* Whether `name` is one of those in `list`, which are parted by '|'. */
static bool is_listed(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = list; (at = strstr(at, name)); at += length) {
		if ((at == list || at[-1] == '|') && (!at[length] || at[length] == '|'))
			return true;
	}
	return false;
}

size_t fingerprints_name_known(struct fingerprints *prints, uint32_t index, const char *known_as)
{
	const struct layout *layout = &prints->python->layout;
	const struct type *type = &prints->table->list.items[index];

	for (size_t i = 0; !type->named && i < layout->fingerprint_count; i++) {
		if (prints->taken[i] || !is_like(prints, i, index) ||
		    (layout->fingerprints[i].strict &&
		     prints->keys[index] != layout->fingerprints[i].keys) ||
		    !is_listed(layout->fingerprints[i].known_as, known_as))
			continue;
		give_name(prints, index, i);
		return 1 + name_metatype(prints, i, type->at);
	}
	return 0;
}

static bool same_print(const struct fingerprint *a, const struct fingerprint *b)
{
	return a->basic_size == b->basic_size && a->item_size == b->item_size &&
	       a->keys == b->keys && !strcmp(a->extension, b->extension) &&
	       !strcmp(a->metatype, b->metatype) && !strcmp(a->base, b->base);
}

/* The place of a type among the subclasses of its base. */
struct place {
	const struct memory *memory;
	vaddr type;
	uint64_t count, found; /* entries seen, until and with the type's own; 0: not met */
};

/* A key of tp_subclasses is the address of a type. */
static bool count_subclass(void *closure, vaddr key, vaddr value)
{
	struct place *place = closure;
	int64_t type;

	(void)value;
	place->count++;
	if (long_value(place->memory, key, &type) && (vaddr)type == place->type)
		place->found = place->count;
	return !place->found && place->count < ENTRIES_MAX;
}

/* When the type was prepared, to compare with others of the same base; 0: nobody knows. 3.12: its
 * number. Before: its place in the dict of its base's subclasses. */
static uint64_t order_of(const struct fingerprints *prints, uint32_t index)
{
	const struct memory *memory = &prints->python->memory;
	const struct type *type = &prints->table->list.items[index];
	struct place place = { memory, type->at, 0, 0 };
	uint64_t subclasses;

	if (layout_has(memory->layout, FIELD_INTERP_STATIC_TYPES))
		return memory_field(memory, type->at, FIELD_TYPE_SUBCLASSES, &subclasses)
			       ? subclasses
			       : 0;
	if (memory_field(memory, type->base, FIELD_TYPE_SUBCLASSES, &subclasses) && subclasses)
		dict_each(memory, subclasses, count_subclass, &place);
	return place.found;
}

/* The types without a name that have fingerprint `print`, in their order; 0 when that is unknown.
 */
static size_t order_types(const struct fingerprints *prints, size_t print,
			  uint32_t types[GROUP_MAX])
{
	uint64_t orders[GROUP_MAX];
	size_t count = 0, at;

	for (uint32_t i = 0; i < prints->table->list.count; i++) {
		uint64_t order;

		if (prints->table->list.items[i].named || !matches(prints, print, i))
			continue;
		order = order_of(prints, i);
		if (!order || count == GROUP_MAX)
			return 0;
		for (at = count++; at && orders[at - 1] > order; at--) {
			orders[at] = orders[at - 1];
			types[at] = types[at - 1];
		}
		orders[at] = order;
		types[at] = i;
	}
	return count;
}

/* The free fingerprints like `print`, in their order; 0 when that is unknown: all but the last must
 * be of types that are prepared at start. */
static size_t order_prints(const struct fingerprints *prints, size_t print, size_t ret[GROUP_MAX])
{
	const struct layout *layout = &prints->python->layout;
	size_t count = 0;

	for (size_t i = print; i < layout->fingerprint_count; i++) {
		if (prints->taken[i] ||
		    !same_print(&layout->fingerprints[print], &layout->fingerprints[i]))
			continue;
		if (count == GROUP_MAX || (count && !layout->fingerprints[ret[count - 1]].at_start))
			return 0;
		ret[count++] = i;
	}
	return count;
}

size_t fingerprints_name_by_order(struct fingerprints *prints)
{
	const struct layout *layout = &prints->python->layout;
	size_t named = 0;

	for (size_t i = 0; i < layout->fingerprint_count; i++) {
		size_t rows[GROUP_MAX], count = order_prints(prints, i, rows);
		uint32_t types[GROUP_MAX];

		if (count < 2 || order_types(prints, i, types) != count)
			continue;
		for (size_t j = 0; j < count; j++)
			give_name(prints, types[j], rows[j]);
		named += count;
	}
	return named;
}
