/* SPDX-License-Identifier: MIT */
/* The references of an object: those of its members, of its decoder, its __dict__, its type. */
#include "dict_keys.h"
#include "types.h"

#define LENGTH_MAX (1ULL << 40)

void refer_items(struct visitor *visitor, vaddr items, uint64_t count)
{
	const uint8_t *bytes =
		count < LENGTH_MAX ? image_at(visitor->memory->image, items, count * sizeof(vaddr))
				   : NULL;

	if (count && !bytes) {
		visitor->unreadable = true;
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		refer(visitor, load_u64(bytes + i * sizeof(vaddr)), STEP_ITEM, i);
}

static void visit_members(struct visitor *visitor, const struct object *object,
			  const struct member *members)
{
	for (uint32_t i = 0; i < object->type->member_count; i++) {
		const struct member *member = &members[i];
		enum reference_kind kind = member->kind;
		vaddr to;

		if ((uint64_t)member->offset + sizeof(to) > object->room)
			continue;
		to = load_u64(object->bytes + member->offset);
		if (kind == REFERENCE_STRONG)
			kind = visitor->strong;
		if (member->name)
			refer_member(visitor, kind, to, member->name);
		else if (to % sizeof(vaddr) == 0)
			refer_as(visitor, kind, to, STEP_WORD, member->offset);
	}
}

/* The values of attributes that lie in an array, in the order of the keys at `keys_at`. */
static void visit_values(struct visitor *visitor, vaddr keys_at, vaddr values, uint64_t limit)
{
	struct dict_keys keys;
	const uint8_t *bytes;
	uint64_t count;

	if (!keys_at || !dict_keys_read(visitor->memory, keys_at, &keys)) {
		visitor->unreadable = true;
		return;
	}
	count = MIN(keys.used, limit);
	bytes = image_at(visitor->memory->image, values, count * sizeof(vaddr));
	if (!bytes) {
		visitor->unreadable = true;
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		vaddr key = 0, value, to = load_u64(bytes + i * sizeof(vaddr));

		if (to && dict_keys_entry(visitor->memory, &keys, i, &key, &value))
			refer(visitor, to, STEP_ATTRIBUTE, key);
	}
}

/* 3.13: the values behind the instance; false when a dict has taken them over. */
static bool visit_inline_values(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;
	uint64_t at = object->type->basic_size;
	const uint8_t *bytes = object->bytes + at;
	uint64_t valid = layout_offset(layout, FIELD_VALUES_VALID);

	if (!(object->type->flags & layout_constant(layout, CONSTANT_TYPE_INLINE_VALUES)) ||
	    at + layout_offset(layout, FIELD_VALUES_ITEMS) > object->room ||
	    valid >= object->room || !field_load(layout, bytes, FIELD_VALUES_VALID))
		return false;
	visit_values(visitor, object->type->cached_keys,
		     object->at + at + layout_offset(layout, FIELD_VALUES_ITEMS),
		     field_load(layout, bytes, FIELD_VALUES_CAPACITY));
	return true;
}

/*
 * The dict or the values that hang on the words in front of the instance. See constants.def. 3.13
 * Objects/dictobject.c, PyObject_VisitManagedDict() does not visit a dict besides inline values;
 * later ones leave the values to the dict.
 */
static void visit_managed(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;
	uint64_t values_at = layout_constant(layout, CONSTANT_MANAGED_VALUES_AT);
	uint64_t dict_at = layout_constant(layout, CONSTANT_MANAGED_DICT_AT);
	uint64_t tag = layout_constant(layout, CONSTANT_MANAGED_VALUES_TAG);
	vaddr dict, values = 0;

	if (object->before < MAX(values_at, dict_at))
		return;
	dict = load_u64(object->bytes - dict_at);
	if (values_at) {
		values = load_u64(object->bytes - values_at);
	} else if (tag && dict & tag) {
		values = dict + tag;
		dict = 0;
	}
	if (values)
		visit_values(visitor, object->type->cached_keys, values, UINT64_MAX);
	if (dict && layout_knows(layout, CONSTANT_DICT_VISITS_VALUES))
		refer_member(visitor, visitor->strong, dict, "__dict__");
	else if (layout_has(layout, FIELD_VALUES_VALID) && visit_inline_values(visitor, object))
		refer_member(visitor, REFERENCE_EXTRA, dict, "__dict__");
	else
		refer_member(visitor, visitor->strong, dict, "__dict__");
}

/* Objects/object.c, _PyObject_GetDictPtr(): a negative offset counts from the end. */
static void visit_dict(struct visitor *visitor, const struct object *object)
{
	const struct type *type = object->type;
	int64_t offset = type->dict_offset, count;
	uint64_t end;

	if (offset < 0) {
		count = (int64_t)visited_field(visitor, object, FIELD_VAR_SIZE);
		end = (uint64_t)(count < 0 ? -count : count) * type->item_size + type->basic_size;
		offset += (int64_t)round_up(end, sizeof(vaddr));
	}
	if (offset > 0 && (uint64_t)offset + sizeof(vaddr) <= object->room)
		refer_member(visitor, visitor->strong, load_u64(object->bytes + offset),
			     "__dict__");
}

/* Whether tp_traverse is called for the object: static types are no objects of the GC. */
static bool is_visited(const struct visitor *visitor, const struct object *object)
{
	const struct type *type = object->type;

	return type->gc && (!type->metatype ||
			    visited_field(visitor, object, FIELD_TYPE_FLAGS) &
				    layout_constant(visitor->memory->layout, CONSTANT_TYPE_HEAP));
}

static void visit_type(struct visitor *visitor, const struct type *type)
{
	enum constant_id visited = type->python ? CONSTANT_CLASS_VISITED : CONSTANT_C_TYPE_VISITED;

	refer_member(visitor,
		     layout_knows(visitor->memory->layout, visited)
			     ? (enum reference_kind)visitor->strong
			     : REFERENCE_EXTRA,
		     type->at, "__class__");
}

void object_visit(struct visitor *visitor, const struct type_table *table,
		  const struct object *object)
{
	const struct type *type = object->type;
	bool visited = is_visited(visitor, object);

	visitor->strong = visited ? REFERENCE_STRONG : REFERENCE_EXTRA;
	visitor->general_lookup = table->general_lookup;
	if (type->member_count)
		visit_members(visitor, object, &table->members.items[type->first_member]);
	if (type->visitor)
		type->visitor->visit(visitor, object);
	if (type->dict_place == DICT_MANAGED)
		visit_managed(visitor, object);
	else if (type->dict_place == DICT_AT_OFFSET)
		visit_dict(visitor, object);
	if (type->heap)
		visit_type(visitor, type);
}
