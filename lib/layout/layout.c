/* SPDX-License-Identifier: MIT */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "debug_offsets.h"
#include "dwarf.h"
#include "versions.h"

const struct field_name field_names[FIELD_COUNT] = {
#define FIELD(name, structure, member) [FIELD_##name] = { NULL, structure, member },
#define SIZE_OF(name, structure)       [SIZE_##name] = { NULL, structure, NULL },
#define MODULE_FIELD(name, module, structure, member) \
	[FIELD_##name] = { module, structure, member },
#define MODULE_SIZE_OF(name, module, structure) [SIZE_##name] = { module, structure, NULL },
#include "fields.def"
};

#define MUTEX_GROWTH 8

/* Without these there is nothing to be done. */
static const enum field_id essential[] = {
	FIELD_INTERP_NEXT,     FIELD_INTERP_THREADS, FIELD_INTERP_SYS,  FIELD_THREAD_INTERP,
	FIELD_ARENA_ADDRESS,   FIELD_POOL_COUNT,     FIELD_OBJECT_TYPE, FIELD_TYPE_FLAGS,
	FIELD_TYPE_BASIC_SIZE, FIELD_DICT_USED,      FIELD_BYTES_DATA,  FIELD_GC_HEAD_NEXT,
};

const char *field_source_name(enum field_source source)
{
	static const char *const names[] = {
		[FIELD_ABSENT] = "absent",
		[FROM_TABLE] = "table",
		[FROM_DWARF] = "DWARF",
		[FROM_TARGET] = "target",
	};

	return names[source];
}

/*
 * How many bytes further on than in the tables, which are of x86-64, a field lies on `machine`: a
 * pthread_mutex_t has 40 bytes there, and 48 on aarch64 (glibc, bits/pthreadtypes-arch.h); the
 * GIL has two, side by side but for a pthread_cond_t.
 */
static uint32_t shift(const uint64_t constants[CONSTANT_COUNT], uint16_t machine, enum field_id id,
		      uint32_t offset)
{
	const char *structure = field_names[id].structure;
	uint64_t mutex = CONSTANT_ABSENT;

	if (machine != EM_AARCH64)
		return 0;
	if (!strcmp(structure, field_names[SIZE_RUNTIME].structure))
		mutex = constants[CONSTANT_RUNTIME_GIL_MUTEX];
	else if (!strcmp(structure, field_names[SIZE_INTERP].structure))
		mutex = constants[CONSTANT_INTERP_GIL_MUTEX];
	return mutex != CONSTANT_ABSENT && offset > mutex ? 2 * MUTEX_GROWTH : 0;
}

/* Whether the sizes that the target tells of itself are those of `table`. */
static bool sizes_agree(const struct layout *own, const struct version_table *table,
			uint16_t machine)
{
	static const enum field_id sizes[] = { SIZE_RUNTIME, SIZE_INTERP, SIZE_THREAD };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t size = table->fields[sizes[i]].offset;

		if (own->fields[sizes[i]].offset !=
		    size + shift(own->constants, machine, sizes[i], size))
			return false;
	}
	return true;
}

/*
 * The table of the same minor version that is nearest: one with the sizes that the target tells
 * of itself, else the newest that is not newer than the target, else the oldest. `*agree`: it has
 * these sizes.
 */
static const struct version_table *choose_table(const struct layout_target *target, bool *agree)
{
	const struct version_table *chosen = NULL;

	_cleanup_free_ struct layout *own = calloc(1, sizeof(*own));
	if (own && target->debug_offsets) {
		version_constants(target->version, target->free_threaded, own->constants);
		debug_offsets_apply(own, target->image, target->runtime);
	}
	for (size_t i = 0; version_tables[i]; i++) {
		const struct version_table *table = version_tables[i];

		if (!version_table_fits(table, target->version) ||
		    table->free_threaded != target->free_threaded)
			continue;
		*agree = own && target->debug_offsets && sizes_agree(own, table, target->machine);
		if (*agree)
			return table;
		if (!chosen || table->hexversion <= target->version)
			chosen = table;
	}
	return chosen;
}

/* Once the layout has its constants. */
static void apply_table(struct layout *layout, const struct version_table *table, uint16_t machine)
{
	layout->table = table->name;
	layout->from_headers = table->from_headers;
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		layout->fields[i] = table->fields[i];
		layout->fields[i].offset +=
			shift(layout->constants, machine, i, table->fields[i].offset);
		if (table->fields[i].offset || table->fields[i].size)
			layout->fields[i].source = FROM_TABLE;
	}
}

void version_layout(const struct version_table *table, uint16_t machine, struct layout *ret)
{
	*ret = (struct layout){ .version = table->hexversion };
	version_constants(ret->version, table->free_threaded, ret->constants);
	apply_table(ret, table, machine);
}

/* Reads what DWARF there is: the interpreter's, and that of the extension modules we read. */
static unsigned read_dwarf(struct layout *layout, const struct layout_target *target,
			   struct field fields[FIELD_COUNT])
{
	unsigned found = dwarf_read(target->interpreter, NULL, fields);
	const char *tried = "";

	if (!found)
		return 0;
	layout->dwarf_path = module_dwarf(target->interpreter)->path;
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		const char *name = field_names[i].module;

		if (!name || fields[i].source || !strcmp(name, tried))
			continue;
		tried = name;
		for (size_t j = 0; j < target->modules->list.count; j++) {
			const struct module *module = &target->modules->list.items[j];

			if (module_is_extension(module, name))
				found += dwarf_read(module, name, fields);
		}
	}
	return found;
}

static bool same_field(const struct field *a, const struct field *b)
{
	return a->offset == b->offset && a->bit == b->bit && a->bits == b->bits;
}

/* Takes over what DWARF says; where it contradicts the rest, it wins and the user is told. */
static void apply_dwarf(struct layout *layout, const struct field fields[FIELD_COUNT],
			struct notices *notices)
{
	size_t first = 0;

	for (size_t i = 0; i < FIELD_COUNT; i++) {
		struct field *field = &layout->fields[i];

		if (!fields[i].source)
			continue;
		if (field->source && !same_field(field, &fields[i]) && !layout->differences++)
			first = i;
		if (!field->source || !same_field(field, &fields[i]))
			*field = fields[i];
		/* the target's own offsets come without */
		if (fields[i].size)
			field->size = fields[i].size;
	}
	if (layout->differences)
		notice_add(notices, NOTICE_LAYOUT_DIFFERS,
			   "%u fields lie elsewhere than in CPython's own releases, %s%s%s among "
			   "them (says %s)",
			   layout->differences, field_names[first].structure,
			   field_names[first].member ? "." : "",
			   field_names[first].member ? field_names[first].member : "",
			   layout->dwarf_path);
}

static struct memheap_error *check(const struct layout *layout, enum memheap_layout_source source)
{
	for (size_t i = 0; i < ARRAY_SIZE(essential); i++) {
		const struct field_name *name = &field_names[essential[i]];

		if (layout_has(layout, essential[i]))
			continue;
		return error_hint(
			error_create(MEMHEAP_NOT_PYTHON,
				     "no layout for CPython %u.%u: nothing tells where %s.%s is",
				     layout->version >> 24, layout->version >> 16 & 0xFF,
				     name->structure, name->member),
			source == MEMHEAP_LAYOUT_DWARF
				? "install the debug symbols of this interpreter, or leave out "
				  "--layout=dwarf"
				: "install the debug symbols of this interpreter");
	}
	return NULL;
}

/* Whether a field is one of the states of which the target itself tells where all lies that has to
 * be found first. */
static bool is_of_state(enum field_id id)
{
	static const enum field_id states[] = { SIZE_RUNTIME, SIZE_INTERP, SIZE_THREAD };

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (!strcmp(field_names[id].structure, field_names[states[i]].structure))
			return true;
	}
	return false;
}

/* The first field of another structure that the target's own offsets place elsewhere. */
static enum field_id find_moved(const struct layout *layout, const struct version_table *table)
{
	enum field_id id = 0;

	while (id < FIELD_COUNT && (layout->fields[id].source != FROM_TARGET || is_of_state(id) ||
				    (!table->fields[id].offset && !table->fields[id].size) ||
				    layout->fields[id].offset == table->fields[id].offset))
		id++;
	return id;
}

/* Takes the table, and what the target says of itself, which counts more. */
static unsigned apply_known(struct layout *layout, const struct layout_target *target)
{
	bool agree = false;
	const struct version_table *table = choose_table(target, &agree);
	unsigned contradicted = 0;

	if (table)
		apply_table(layout, table, target->machine);
	if (target->debug_offsets)
		contradicted = debug_offsets_apply(layout, target->image, target->runtime);
	if (!table)
		return contradicted;
	layout->borrowed = target->debug_offsets ? !agree : table->hexversion != target->version;
	layout->other_sizes =
		layout->borrowed && layout->constants[CONSTANT_DEBUG_OFFSETS] != CONSTANT_ABSENT;
	layout->moved = find_moved(layout, table);
	/* the last member of a thread's state, where it is one: nothing shows where else it is */
	if (layout->other_sizes)
		layout->fields[FIELD_THREAD_CACHED_CHUNK].source = FIELD_ABSENT;
	return contradicted;
}

static void count_sources(struct layout *layout)
{
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		layout->from_table += layout->fields[i].source == FROM_TABLE;
		layout->from_dwarf += layout->fields[i].source == FROM_DWARF;
		layout->from_target += layout->fields[i].source == FROM_TARGET;
	}
}

struct memheap_error *layout_load(struct layout *layout, const struct layout_target *target,
				  enum memheap_layout_source source, struct notices *notices)
{
	unsigned contradicted = 0;

	*layout = (struct layout){ .version = target->version, .moved = FIELD_COUNT };
	version_constants(target->version, target->free_threaded, layout->constants);
	version_static_types(layout);
	if (source != MEMHEAP_LAYOUT_DWARF)
		contradicted = apply_known(layout, target);
	if (contradicted)
		notice_add(notices, NOTICE_LAYOUT_DIFFERS,
			   "%u fields lie elsewhere than in CPython's own releases, say the "
			   "target's own offsets",
			   contradicted);
	if (source != MEMHEAP_LAYOUT_TABLE) {
		_cleanup_free_ struct field *fields = calloc(FIELD_COUNT, sizeof(*fields));

		if (!fields)
			return &error_no_memory;
		if (read_dwarf(layout, target, fields))
			apply_dwarf(layout, fields, notices);
	}
	if (layout->from_headers)
		notice_add(notices, NOTICE_LAYOUT_FROM_HEADERS,
			   "the layout of CPython %s was taken from its headers: no process of it "
			   "was at hand to check it",
			   layout->table);
	if (layout_has(layout, FIELD_OBJECT_GC_BITS))
		layout->fields[SIZE_GC_HEAD].offset = 0;
	count_sources(layout);
	return check(layout, source);
}
