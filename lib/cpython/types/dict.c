/* SPDX-License-Identifier: MIT */
/* dict and collections.OrderedDict. Objects/dictobject.c, _PyDict_SizeOf(); odictobject.c */
#include "../dict_keys.h"
#include "decoders.h"

/* The values of a split dict, of `bytes`: a block of their own, or (3.13) inside of the instance.
 */
static void own_values(struct measure *measure, vaddr values, uint64_t bytes)
{
	const struct memory *memory = measure->memory;
	const uint8_t *prefix;
	uint64_t embedded;

	if (layout_has(memory->layout, FIELD_VALUES_EMBEDDED)) {
		if (memory_field(memory, values, FIELD_VALUES_EMBEDDED, &embedded) && !embedded)
			own(measure, values, values_bytes(memory, values), BUFFER_DICT_VALUES);
		return;
	}
	if (!layout_knows(memory->layout, CONSTANT_VALUES_PREFIX)) {
		own(measure, values, bytes, BUFFER_DICT_VALUES);
		return;
	}
	prefix = image_at(memory->image, values - 1, 1);
	if (prefix)
		own(measure, values - *prefix, *prefix + bytes, BUFFER_DICT_VALUES);
}

/* 2.7: a table of its own, unless that inside suffices. */
static bool old_dict_measure(struct measure *measure, const struct object *object)
{
	const struct memory *memory = measure->memory;
	struct dict_keys keys;

	if (!dict_keys_of(memory, object->at, &keys))
		return false;
	if (keys.at == memory_address(memory, object->at, FIELD_DICT_SMALL_TABLE))
		return true;
	measure->size += keys.size;
	own(measure, keys.at, keys.size, BUFFER_DICT_KEYS);
	return true;
}

static bool dict_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	struct dict_keys keys;
	uint64_t bytes;
	vaddr values;

	if (!basic_measure(measure, object))
		return false;
	if (layout_has(layout, FIELD_DICT_TABLE))
		return old_dict_measure(measure, object);
	if (!dict_keys_read(measure->memory, object_field(measure, object, FIELD_DICT_KEYS),
			    &keys)) {
		measure->unreadable = true;
		return true;
	}
	values = object_field(measure, object, FIELD_DICT_VALUES);
	if (values) {
		/* up to 3.10 room for what the keys may hold, later for what they do and will */
		bytes = (layout_has(layout, FIELD_KEYS_SIZE) ? keys.usable
							     : keys.used + keys.free) *
			sizeof(vaddr);
		measure->size += bytes;
		own_values(measure, values, bytes);
	}
	if (keys.refcount == 1) {
		measure->size += keys.size;
		own(measure, keys.at, keys.size, BUFFER_DICT_KEYS);
	} else {
		own_shared(measure, keys.at, keys.size, BUFFER_SHARED_KEYS);
	}
	return true;
}

/* A node that does not point back to the one before ends the list, so that no loop can. */
static void own_nodes(struct measure *measure, vaddr node, uint64_t count)
{
	vaddr before = 0, back;

	for (uint64_t i = 0; i < count && node; i++) {
		if (!memory_field(measure->memory, node, FIELD_ODICT_NODE_PREVIOUS, &back) ||
		    back != before)
			break;
		own(measure, node, layout_offset(measure->memory->layout, SIZE_ODICT_NODE),
		    BUFFER_ODICT_NODES);
		before = node;
		if (!memory_field(measure->memory, node, FIELD_ODICT_NODE_NEXT, &node))
			break;
	}
}

/* The linked list that keeps the order: a node for each item, and an array that finds them. */
static bool odict_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t count;
	vaddr node;

	if (!dict_measure(measure, object))
		return false;
	count = object_field(measure, object, FIELD_ODICT_FAST_NODES_SIZE);
	if (count >> 48)
		return false;
	measure->size += count * sizeof(vaddr);
	own(measure, object_field(measure, object, FIELD_ODICT_FAST_NODES), count * sizeof(vaddr),
	    BUFFER_ODICT_NODES);
	count = object_field(measure, object, FIELD_DICT_USED);
	if (count >> 48)
		return false;
	node = object_field(measure, object, FIELD_ODICT_FIRST);
	if (node)
		measure->size += count * layout_offset(layout, SIZE_ODICT_NODE);
	if (measure->own)
		own_nodes(measure, node, count);
	return true;
}

/* Whether a dict's values lie in the instance whose __dict__ it is, and that visits them. */
static bool are_embedded(const struct memory *memory, vaddr values)
{
	uint64_t embedded;

	return !layout_knows(memory->layout, CONSTANT_DICT_VISITS_VALUES) &&
	       memory_field(memory, values, FIELD_VALUES_EMBEDDED, &embedded) && embedded;
}

/* 2.7 dict_traverse(): all keys and values. What stands for a deleted key is counted, too. */
static void old_dict_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	struct dict_keys keys;
	vaddr key, value;

	if (!dict_keys_of(memory, object->at, &keys)) {
		visitor->unreadable = true;
		return;
	}
	for (uint64_t i = 0; i < keys.slots; i++) {
		if (!dict_keys_entry(memory, &keys, i, &key, &value)) {
			visitor->unreadable = true;
			return;
		}
		refer(visitor, value, STEP_VALUE, key);
		refer_as(visitor, value ? (enum reference_kind)visitor->strong : REFERENCE_EXTRA,
			 key, STEP_KEY, 0);
	}
}

/*
 * Objects/dictobject.c, dict_traverse(): in a table of str keys these are not visited, because
 * no cycle leads through them. Keys of a shared table are the type's.
 */
static void dict_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	vaddr table = visited_field(visitor, object, FIELD_DICT_KEYS), key, value;
	vaddr values = visited_field(visitor, object, FIELD_DICT_VALUES);
	enum reference_kind key_kind = REFERENCE_EXTRA;
	struct dict_keys keys;

	if (layout_has(memory->layout, FIELD_DICT_TABLE)) {
		old_dict_visit(visitor, object);
		return;
	}
	if (!dict_keys_read(memory, table, &keys)) {
		visitor->unreadable |= table != 0;
		return;
	}
	if (dict_keys_general(memory, &keys, visitor->general_lookup))
		key_kind = visitor->strong;
	if (values && are_embedded(memory, values))
		return;
	if (values)
		values += layout_offset(memory->layout, FIELD_VALUES_ITEMS);
	for (uint64_t i = 0; i < keys.used; i++) {
		if (!dict_keys_entry(memory, &keys, i, &key, &value) ||
		    (values && !image_u64(memory->image, values + i * sizeof(vaddr), &value))) {
			visitor->unreadable = true;
			return;
		}
		if (!value)
			continue;
		refer(visitor, value, STEP_VALUE, key);
		if (keys.refcount == 1)
			refer_as(visitor, key_kind, key, STEP_KEY, 0);
	}
}

/* Objects/odictobject.c, odict_traverse(): each node has a reference to its key, too. */
static void odict_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	uint64_t count = visited_field(visitor, object, FIELD_DICT_USED);
	vaddr node = visited_field(visitor, object, FIELD_ODICT_FIRST), before = 0, back, key;

	dict_visit(visitor, object);
	refer_member(visitor, visitor->strong,
		     visited_field(visitor, object, FIELD_ODICT_INSTANCE_DICT), "__dict__");
	for (uint64_t i = 0; i < count && node; i++) {
		if (!memory_field(memory, node, FIELD_ODICT_NODE_PREVIOUS, &back) ||
		    back != before || !memory_field(memory, node, FIELD_ODICT_NODE_KEY, &key)) {
			visitor->unreadable = true;
			return;
		}
		refer(visitor, key, STEP_KEY, 0);
		before = node;
		if (!memory_field(memory, node, FIELD_ODICT_NODE_NEXT, &node))
			return;
	}
}

const struct decoder decoder_dict = {
	.type_name = "dict",
	.size = FIELD_COUNT,
	.measure = dict_measure,
	.visit = dict_visit,
};

/* 3.15: a dict, and a hash behind it */
const struct decoder decoder_frozendict = {
	.type_name = "frozendict",
	.size = FIELD_COUNT,
	.measure = dict_measure,
	.visit = dict_visit,
};

const struct decoder decoder_odict = {
	.type_name = "collections.OrderedDict",
	.size = FIELD_COUNT,
	.measure = odict_measure,
	.visit = odict_visit,
};
