/* SPDX-License-Identifier: MIT */
/* set and frozenset: up to 8 slots inside, more in a block. Objects/setobject.c, set_sizeof() */
#include "../values.h"
#include "decoders.h"

static bool set_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t mask, bytes;
	vaddr table;

	if (!basic_measure(measure, object))
		return false;
	mask = object_field(measure, object, FIELD_SET_MASK);
	table = object_field(measure, object, FIELD_SET_TABLE);
	if (mask & (mask + 1) || mask >> 48)
		return false;
	if (table == object->at + layout_offset(layout, FIELD_SET_SMALL_TABLE))
		return true;
	bytes = (mask + 1) * layout_offset(layout, SIZE_SET_ENTRY);
	measure->size += bytes;
	own(measure, table, bytes, BUFFER_SET_TABLE);
	return true;
}

/*
 * 2.7: whether an entry was deleted. It keeps its hash; in place of its key is a str of which
 * nobody ever asks for the hash, as it is asked of every key. Objects/setobject.c,
 * set_discard_entry()
 */
static bool is_dummy(const struct memory *memory, vaddr key)
{
	uint64_t hash;

	return memory_field(memory, key, FIELD_STR_HASH, &hash) && hash == UINT64_MAX &&
	       str_equals(memory, key, "<dummy key>");
}

/* Objects/setobject.c, set_traverse(). What was deleted has the hash -1, as no key has. */
static void set_visit(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;
	uint64_t bytes = layout_offset(layout, SIZE_SET_ENTRY);
	uint64_t mask = visited_field(visitor, object, FIELD_SET_MASK);
	vaddr table = visited_field(visitor, object, FIELD_SET_TABLE);
	const uint8_t *entries =
		mask >> 48 ? NULL : image_at(visitor->memory->image, table, (mask + 1) * bytes);

	if (!entries) {
		visitor->unreadable = true;
		return;
	}
	for (uint64_t i = 0; i <= mask; i++) {
		const uint8_t *entry = entries + i * bytes;
		vaddr key = field_load(layout, entry, FIELD_SET_ENTRY_KEY);

		if (field_load(layout, entry, FIELD_SET_ENTRY_HASH) == UINT64_MAX)
			continue;
		refer_as(visitor,
			 key && is_dummy(visitor->memory, key)
				 ? REFERENCE_EXTRA
				 : (enum reference_kind)visitor->strong,
			 key, STEP_KEY, 0);
	}
}

const struct decoder decoder_set = {
	.type_name = "set",
	.size = FIELD_COUNT,
	.measure = set_measure,
	.visit = set_visit,
};

const struct decoder decoder_frozenset = {
	.type_name = "frozenset",
	.size = FIELD_COUNT,
	.measure = set_measure,
	.visit = set_visit,
};
