/* SPDX-License-Identifier: MIT */
/* Where instances of a type keep references: what references.def says, and its __slots__. */
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "dict_keys.h"
#include "types.h"
#include "values.h"

#define BASES_MAX     64
#define SLOTS_MAX     4096
#define FIELDS_MAX    1024
#define NAME_MAX      256
#define MEMBER_OBJECT 16 /* Include/structmember.h, T_OBJECT_EX */

#define VISITED              REFERENCE_STRONG
#define UNVISITED            REFERENCE_EXTRA
#define WEAK                 REFERENCE_WEAK
#define VISITED_IN(constant) (REFERENCE_KINDS + CONSTANT_##constant)

static const struct row {
	enum field_id field;
	const char *types, *attribute;
	unsigned kind; /* enum reference_kind, or VISITED_IN() */
} rows[] = {
#define REFERENCE(name, structure, member, types, attribute, kind) \
	{ FIELD_##name, types, attribute, kind },
#define MODULE_REFERENCE(name, module, structure, member, types, attribute, kind) \
	{ FIELD_##name, types, attribute, kind },
#define FIELD_REFERENCE(name, types, attribute, kind) { FIELD_##name, types, attribute, kind },
#define NO_REFERENCES(types)                          { FIELD_COUNT, types, NULL, 0 },
#include "../layout/references.def"
};

/* Whether `name` is among the alternatives in `list`. */
static bool is_in_list(const char *list, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = list; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
		if (!strncmp(at, name, length) && (at[length] == '|' || !at[length]))
			return true;
	}
	return false;
}

/* The members of one type, while they are being found. */
struct finder {
	struct type_table *table;
	const struct memory *memory;
	struct type *target;
};

/* Adds a member; of two at the same place, the later, of the nearer base, is right. */
static bool add_member(struct finder *finder, uint64_t offset, enum reference_kind kind,
		       const char *name)
{
	struct type_table *table = finder->table;
	struct member *member = NULL;

	for (size_t i = finder->target->first_member; i < table->members.count && !member; i++) {
		if (table->members.items[i].offset == offset)
			member = &table->members.items[i];
	}
	if (!member)
		member = vector_push(&table->members);
	if (member)
		*member = (struct member){ (uint32_t)offset, (uint8_t)kind, name };
	return member;
}

static enum reference_kind row_kind(const struct row *row, const struct layout *layout)
{
	if (row->kind < REFERENCE_KINDS)
		return row->kind;
	return layout_knows(layout, row->kind - REFERENCE_KINDS) ? REFERENCE_STRONG
								 : REFERENCE_EXTRA;
}

/* Adds the rows of references.def for exactly this type, and sets `*known` when there are any. */
static bool add_rows(struct finder *finder, const struct type *type, bool *known)
{
	const struct layout *layout = finder->memory->layout;
	const char *list = NULL;
	bool mine = false;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct field *field;

		if (rows[i].types != list)
			mine = is_in_list(list = rows[i].types, type->name);
		*known |= mine;
		if (!mine || rows[i].field == FIELD_COUNT)
			continue;
		field = &layout->fields[rows[i].field];
		if (field->source == FIELD_ABSENT || field->size != sizeof(vaddr) ||
		    (uint64_t)field->offset + field->size > type->basic_size)
			continue;
		if (!add_member(finder, field->offset, row_kind(&rows[i], layout),
				rows[i].attribute))
			return false;
	}
	return true;
}

/* The __slots__ of a class: 3.12 Objects/typeobject.c, traverse_slots() */
static bool add_slots(struct finder *finder, const struct type *type)
{
	const struct memory *memory = finder->memory;
	const struct layout *layout = memory->layout;
	uint64_t count, metatype, size, bytes = layout_offset(layout, SIZE_MEMBER_DEF);
	vaddr at;

	if (!memory_field(memory, type->at, FIELD_VAR_SIZE, &count) || count > SLOTS_MAX ||
	    !memory_field(memory, type->at, FIELD_OBJECT_TYPE, &metatype) ||
	    !memory_field(memory, metatype, FIELD_TYPE_BASIC_SIZE, &size))
		return true;
	at = type->at + size;
	for (uint64_t i = 0; i < count; i++, at += bytes) {
		const uint8_t *slot = image_at(memory->image, at, bytes);
		const char *name;
		uint64_t offset;
		size_t length;

		if (!slot || field_load(layout, slot, FIELD_MEMBER_DEF_TYPE) != MEMBER_OBJECT)
			continue;
		offset = field_load(layout, slot, FIELD_MEMBER_DEF_OFFSET);
		name = image_string(memory->image, field_load(layout, slot, FIELD_MEMBER_DEF_NAME),
				    NAME_MAX, &length);
		if (offset + sizeof(vaddr) <= type->basic_size &&
		    !add_member(finder, offset, REFERENCE_STRONG, name ? name : "?"))
			return false;
	}
	return true;
}

/* The words that a C type which nobody knows adds to its base's. */
static bool add_unknown(struct finder *finder, const struct type *type, uint64_t base_size)
{
	uint64_t weak = 0, size = MIN(type->basic_size, base_size + FIELDS_MAX * sizeof(vaddr));

	memory_field(finder->memory, type->at, FIELD_TYPE_WEAK_OFFSET, &weak);
	for (uint64_t at = round_up(base_size, sizeof(vaddr)); at + sizeof(vaddr) <= size;
	     at += sizeof(vaddr)) {
		bool dict = (int64_t)at == type->dict_offset;

		if (at != weak &&
		    !add_member(finder, at, dict ? REFERENCE_STRONG : REFERENCE_CONSERVATIVE,
				dict ? "__dict__" : NULL))
			return false;
	}
	return true;
}

/* Adds what `type` itself adds to the instances of its base. */
static bool add_own(struct finder *finder, const struct type *type)
{
	const struct type *base = type_base(finder->table, type);
	uint64_t base_size =
		base ? base->basic_size : layout_offset(finder->memory->layout, SIZE_OBJECT);
	bool known = type->own_decoder || type->real_items;

	if (type->python)
		return add_slots(finder, type);
	if (!add_rows(finder, type, &known))
		return false;
	return known || type->basic_size <= base_size || add_unknown(finder, type, base_size);
}

static bool find_members(struct type_table *table, const struct memory *memory, struct type *type)
{
	struct finder finder = { table, memory, type };
	const struct type *chain[BASES_MAX];
	int length = 0;

	for (const struct type *at = type; at && length < BASES_MAX; at = type_base(table, at)) {
		chain[length++] = at;
		if (!type->visitor && at->own_decoder && at->own_decoder->visit)
			type->visitor = at->own_decoder;
	}
	type->first_member = (uint32_t)table->members.count;
	while (length--) {
		if (!add_own(&finder, chain[length]))
			return false;
	}
	type->member_count = (uint32_t)table->members.count - type->first_member;
	return true;
}

/*
 * Marks the types that class statements made: theirs is the tp_traverse that most types made at run
 * time have, subtype_traverse(), which has no exported symbol. Each C type has one of its own.
 */
static bool mark_python(struct type_table *table)
{
	_cleanup_free_ vaddr *all = calloc(table->list.count + 1, sizeof(*all));
	size_t count = 0, run = 0, longest = 0;
	vaddr most = 0;

	if (!all)
		return false;
	for (size_t i = 0; i < table->list.count; i++) {
		if (table->list.items[i].heap && table->list.items[i].traverse)
			all[count++] = table->list.items[i].traverse;
	}
	qsort(all, count, sizeof(*all), vaddr_compare);
	for (size_t i = 0; i < count; i++) {
		run = i && all[i] == all[i - 1] ? run + 1 : 1;
		if (run > longest) {
			longest = run;
			most = all[i];
		}
	}
	for (size_t i = 0; i < table->list.count; i++)
		table->list.items[i].python =
			table->list.items[i].heap && most && table->list.items[i].traverse == most;
	return true;
}

/* Where instances have their __dict__, if their class brings it: 3.12 subtype_traverse() */
static void find_dict(const struct type_table *table, const struct memory *memory,
		      struct type *type)
{
	const struct type *base = type;
	uint64_t offset = 0;

	memory_field(memory, type->at, FIELD_TYPE_DICT_OFFSET, &offset);
	type->dict_offset = (int64_t)offset;
	if (type->heap)
		memory_field(memory, type->at, FIELD_HEAP_TYPE_CACHED_KEYS, &type->cached_keys);
	if (type->flags & layout_constant(memory->layout, CONSTANT_TYPE_MANAGED_DICT)) {
		type->dict_place = DICT_MANAGED;
		return;
	}
	if (!type->python || !offset)
		return;
	for (int depth = 0; base && base->python && depth < BASES_MAX; depth++)
		base = type_base(table, base);
	if (!base || !memory_field(memory, base->at, FIELD_TYPE_DICT_OFFSET, &offset) ||
	    (int64_t)offset != type->dict_offset)
		type->dict_place = DICT_AT_OFFSET;
}

/* 2.7: a struct sequence is like a tuple, but none; tp_basicsize tells how many items it has.
 * Objects/structseq.c, PyStructSequence_InitType() */
static void find_old_sequence(const struct memory *memory, struct type *type,
			      const struct type *base)
{
	uint64_t dict, items = layout_offset(memory->layout, FIELD_TUPLE_ITEMS);
	vaddr length;

	if (type->python || !base || base->base || type->basic_size <= items ||
	    !memory_field(memory, type->at, FIELD_TYPE_DICT, &dict) || !dict ||
	    !dict_lookup(memory, dict, "n_sequence_fields", &length))
		return;
	type->real_items = (type->basic_size - items) / sizeof(vaddr);
	type->visitor = &decoder_tuple;
}

/* The number of items of a struct sequence: where its last member ends. Its ob_size leaves out the
 * hidden ones. 3.12 Objects/structseq.c, structseq_traverse() */
static void count_real_items(const struct type_table *table, const struct memory *memory,
			     struct type *type)
{
	const struct layout *layout = memory->layout;
	const struct type *base = type_base(table, type);
	uint64_t at, bytes = layout_offset(layout, SIZE_MEMBER_DEF);
	uint64_t items = layout_offset(layout, FIELD_TUPLE_ITEMS);

	if (layout_knows(layout, CONSTANT_SEQUENCES_NO_TUPLES))
		find_old_sequence(memory, type, base);
	if (type->python || !base || strcmp(base->name, "tuple") ||
	    !memory_field(memory, type->at, FIELD_TYPE_MEMBERS, &at) || !at)
		return;
	for (int i = 0; i < SLOTS_MAX; i++, at += bytes) {
		const uint8_t *member = image_at(memory->image, at, bytes);
		uint64_t offset;

		if (!member || !field_load(layout, member, FIELD_MEMBER_DEF_NAME))
			return;
		offset = field_load(layout, member, FIELD_MEMBER_DEF_OFFSET);
		if (offset >= items && offset < items + SLOTS_MAX * sizeof(vaddr))
			type->real_items =
				MAX(type->real_items, (offset - items) / sizeof(vaddr) + 1);
	}
}

/* object.__subclasses__ has ints for keys. */
static void find_general_lookup(struct type_table *table, const struct memory *memory)
{
	const struct type *type = table->list.items;
	uint64_t dict, keys;

	if (!layout_has(memory->layout, FIELD_KEYS_LOOKUP))
		return;
	for (int depth = 0; type && type->base && depth < BASES_MAX; depth++)
		type = type_base(table, type);
	if (type && memory_field(memory, type->at, FIELD_TYPE_SUBCLASSES, &dict) && dict &&
	    memory_field(memory, dict, FIELD_DICT_KEYS, &keys))
		memory_field(memory, keys, FIELD_KEYS_LOOKUP, &table->general_lookup);
}

bool types_find_members(struct type_table *table, const struct memory *memory)
{
	if (!mark_python(table))
		return false;
	find_general_lookup(table, memory);
	for (size_t i = 0; i < table->list.count; i++) {
		find_dict(table, memory, &table->list.items[i]);
		count_real_items(table, memory, &table->list.items[i]);
	}
	for (size_t i = 0; i < table->list.count; i++) {
		if (!find_members(table, memory, &table->list.items[i]))
			return false;
	}
	return true;
}
