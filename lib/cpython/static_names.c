/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "static_names.h"

#include "../base/cleanup.h"

#include "fingerprints.h"
#include "values.h"

#define TYPES_MIN      100 /* in the table, or it is none */
#define NAMES_MIN      20  /* of builtins that must be right, and ten times those that are not */
#define OPTIONAL       "uop_executor" /* 3.14 Python/optimizer.c: builds with _Py_TIER2, for a JIT */
#define COUNT_MAX      (1 << 20)
#define NAME_MAX_BYTES 256
#define ROUNDS_MAX     8
#define DEPTH_MAX      8          /* dots in the name of a module */
#define VISITS_MAX     (16 << 20) /* entries of dicts */

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
	const uint8_t *bytes;
	size_t count;     /* entries */
	bool without;     /* the build lacks the type OPTIONAL */
	unsigned yes, no; /* names in builtins that are those by order, or others */
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

/* The name of the type in entry `i`. Those behind a type that the build lacks have moved up, to the
 * end of CPython's own: those of extension modules have places of their own. */
static const char *name_at(const struct order *order, size_t i)
{
	const struct layout *layout = &order->python->layout;
	bool moved = false;

	for (size_t j = 0; j <= i && j < layout->static_type_count; j++) {
		if (!layout->static_types[j])
			moved = false;
		else if (order->without && !strcmp(layout->static_types[j], OPTIONAL))
			moved = true;
	}
	i += moved;
	return i < layout->static_type_count ? layout->static_types[i] : NULL;
}

/* Counts whether a type in builtins has the name that its place tells. */
static bool compare_name(void *closure, vaddr key, vaddr value)
{
	struct order *order = closure;
	char name[NAME_MAX_BYTES];

	for (size_t i = 0; i < order->count; i++) {
		const char *expected = name_at(order, i);

		if (load_u64(order->bytes + i * order->step) != value || !expected ||
		    !str_copy(&order->python->memory, key, name, sizeof(name)))
			continue;
		if (strcmp(name, expected))
			order->no++;
		else
			order->yes++;
	}
	return order->yes + order->no < COUNT_MAX;
}

/* Whether the names by order are those in builtins; but for a few, which have two there. */
static bool order_fits(struct order *order, bool without)
{
	vaddr builtins = order->python->interpreters.items[0].builtins;

	order->without = without;
	order->yes = order->no = 0;
	if (builtins)
		dict_each(&order->python->memory, builtins, compare_name, order);
	return order->yes >= NAMES_MIN && order->yes > NAMES_MIN / 2 * order->no;
}

static size_t name_by_order(struct type_table *table, const struct python *python)
{
	const struct layout *layout = &python->layout;
	struct order order = { table, python, layout_constant(layout, CONSTANT_STATIC_TYPE_BYTES) };
	const uint8_t *bytes = memory_struct(&python->memory, python->runtime, SIZE_RUNTIME);
	uint64_t room = layout_offset(layout, SIZE_RUNTIME), at = 0;
	size_t named = 0;

	if (!bytes || !order.step)
		return 0;
	while (at + order.step <= room && !is_table(&order, bytes + at, room - at))
		at += sizeof(vaddr);
	order.bytes = bytes + at;
	order.count = MIN(layout->static_type_count, (room - MIN(at, room)) / order.step);
	if (!order_fits(&order, false) && !order_fits(&order, true))
		return 0;
	for (size_t i = 0; i < order.count; i++) {
		uint32_t index = type_find(table, load_u64(order.bytes + i * order.step));

		if (index != TYPE_NONE)
			named += set_name(&table->list.items[index], name_at(&order, i));
	}
	return named;
}

/* Naming by what modules call a type. */
struct naming {
	struct type_table *table;
	const struct python *python;
	struct fingerprints *prints; /* the name must fit one of them; NULL: it need not */
	char module[NAME_MAX_BYTES]; /* at work */
	unsigned depth;              /* dots in the names of the modules whose turn it is */
	size_t visits, named;
};

static bool name_type(void *closure, vaddr key, vaddr value)
{
	struct naming *naming = closure;
	uint32_t index = type_find(naming->table, value);
	char name[NAME_MAX_BYTES], known_as[2 * NAME_MAX_BYTES];
	struct type *type;

	if (naming->visits++ == VISITS_MAX)
		return false;
	if (index == TYPE_NONE || naming->table->list.items[index].named ||
	    !str_copy(&naming->python->memory, key, name, sizeof(name)))
		return true;
	type = &naming->table->list.items[index];
	snprintf(known_as, sizeof(known_as), "%s.%s", naming->module, name);
	if (naming->prints)
		naming->named += fingerprints_name_known(naming->prints, index, known_as);
	else if (!type->heap)
		naming->named += set_name(
			type, strings_format(&naming->table->strings, "%s",
					     strcmp(naming->module, "builtins") ? known_as : name));
	return true;
}

static unsigned count_dots(const char *text)
{
	unsigned count = 0;

	for (; *text; text++)
		count += *text == '.';
	return count;
}

/* `value` is a module of sys.modules. */
static bool name_module(void *closure, vaddr key, vaddr value)
{
	struct naming *naming = closure;
	const struct memory *memory = &naming->python->memory;
	uint64_t dict;

	if (naming->visits++ >= VISITS_MAX)
		return false;
	/* md_dict, the first member: Include/internal/pycore_moduleobject.h */
	if (image_u64(memory->image, value + layout_offset(memory->layout, SIZE_OBJECT), &dict) &&
	    str_copy(memory, key, naming->module, sizeof(naming->module)) &&
	    count_dots(naming->module) == naming->depth)
		dict_each(memory, dict, name_type, naming);
	return true;
}

static size_t name_by_modules(struct type_table *table, const struct python *python,
			      struct fingerprints *prints)
{
	const struct interpreter *interp = &python->interpreters.items[0];
	struct naming naming = { table, python, prints, "builtins", 0, 0, 0 };

	if (interp->builtins)
		dict_each(&python->memory, interp->builtins, name_type, &naming);
	/* a package has what its modules make: "numpy.ndarray" */
	for (; interp->modules && naming.depth < DEPTH_MAX; naming.depth++)
		dict_each(&python->memory, interp->modules, name_module, &naming);
	return naming.named;
}

/* Each name that is found makes others certain: those of types that derive from it, and those of
 * the last type of a kind. */
static size_t name_by_fingerprints(struct type_table *table, const struct python *python,
				   const struct modules *modules)
{
	_cleanup_(fingerprints_deinit) struct fingerprints prints = { 0 };
	size_t named = 0, before;

	if (!python->layout.fingerprint_count ||
	    !fingerprints_init(&prints, table, python, modules))
		return 0;
	for (int i = 0; i < ROUNDS_MAX; i++) {
		before = named;
		named += fingerprints_name(&prints);
		named += name_by_modules(table, python, &prints);
		if (named == before)
			break;
	}
	return named + fingerprints_name_by_order(&prints);
}

static bool all_named(const struct type_table *table)
{
	for (size_t i = 0; i < table->list.count; i++) {
		if (!table->list.items[i].named)
			return false;
	}
	return true;
}

size_t static_names_recover(struct type_table *table, const struct python *python,
			    const struct modules *modules)
{
	size_t named;

	if (all_named(table))
		return 0;
	named = name_by_order(table, python);
	named += name_by_fingerprints(table, python, modules);
	return named + name_by_modules(table, python, NULL);
}
