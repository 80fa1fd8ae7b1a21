/* SPDX-License-Identifier: MIT */
/* type and metaclasses. Objects/typeobject.c, type___sizeof___impl() */
#include "../dict_keys.h"
#include "decoders.h"

#define TEXT_MAX (1 << 20)

/* Text that a type has a copy of. */
static void own_text(struct measure *measure, const struct object *object, enum field_id field)
{
	vaddr at = object_field(measure, object, field);
	size_t length, bytes = 0;

	if (measure->sizes && image_string(measure->memory->image, at, TEXT_MAX, &length))
		bytes = length + 1;
	own(measure, at, bytes, BUFFER_TYPE_DATA);
}

static bool heap_type_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	struct dict_keys keys;
	uint64_t cached_bytes = 0;
	vaddr cached;

	/* the room must be for the slots' member definitions too; they don't count */
	if (!plain_measure(measure, object) || layout_offset(layout, SIZE_HEAP_TYPE) > object->room)
		return false;
	measure->size = layout_offset(layout, SIZE_HEAP_TYPE);
	cached = layout_has(layout, FIELD_HEAP_TYPE_CACHED_KEYS)
			 ? object_field(measure, object, FIELD_HEAP_TYPE_CACHED_KEYS)
			 : 0;
	if (cached && dict_keys_read(measure->memory, cached, &keys))
		cached_bytes = keys.size;
	else if (cached)
		measure->unreadable = true;
	measure->size += cached_bytes;
	own(measure, cached, cached_bytes, BUFFER_SHARED_KEYS);
	own_text(measure, object, FIELD_TYPE_DOC);
	if (layout_has(layout, FIELD_HEAP_TYPE_TPNAME))
		own_text(measure, object, FIELD_HEAP_TYPE_TPNAME);
	return true;
}

static bool type_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	enum constant_id adds_preheader = object->type->own_decoder == &decoder_type
						  ? CONSTANT_STATIC_TYPE_PREHEADER_OF_TYPE
						  : CONSTANT_STATIC_TYPE_PREHEADER;

	measure->size = measure->inside = layout_offset(layout, SIZE_TYPE);
	if (measure->size > object->room)
		return false;
	if (object_field(measure, object, FIELD_TYPE_FLAGS) &
	    layout_constant(layout, CONSTANT_TYPE_HEAP))
		return heap_type_measure(measure, object);
	if (!layout_constant(layout, adds_preheader))
		measure->preheader = 0;
	return true;
}

/* The names of attributes that instances share. */
static void visit_cached_keys(struct visitor *visitor, vaddr table)
{
	struct dict_keys keys;
	vaddr key, value;

	if (!table || !dict_keys_read(visitor->memory, table, &keys))
		return;
	for (uint64_t i = 0; i < keys.used; i++) {
		if (!dict_keys_entry(visitor->memory, &keys, i, &key, &value))
			return;
		refer_as(visitor, REFERENCE_EXTRA, key, STEP_KEY, 0);
	}
}

/* Objects/typeobject.c, type_traverse(); static types are not visited at all. */
static void type_visit(struct visitor *visitor, const struct object *object)
{
	static const struct {
		enum field_id field;
		const char *name;
		bool visited;
	} members[] = {
		{ FIELD_TYPE_DICT, "__dict__", true },
		{ FIELD_TYPE_CACHE, "tp_cache", true },
		{ FIELD_TYPE_MRO, "__mro__", true },
		{ FIELD_TYPE_BASES, "__bases__", true },
		{ FIELD_TYPE_BASE, "__base__", true },
		{ FIELD_HEAP_TYPE_MODULE, "ht_module", true },
		{ FIELD_TYPE_SUBCLASSES, "__subclasses__", false },
		{ FIELD_HEAP_TYPE_NAME, "__name__", false },
		{ FIELD_HEAP_TYPE_QUALNAME, "__qualname__", false },
		{ FIELD_HEAP_TYPE_SLOTS, "__slots__", false },
	};
	const struct layout *layout = visitor->memory->layout;
	bool heap = visited_field(visitor, object, FIELD_TYPE_FLAGS) &
		    layout_constant(layout, CONSTANT_TYPE_HEAP);

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		/* behind a static type there is something else */
		if (layout_offset(layout, members[i].field) < layout_offset(layout, SIZE_TYPE) ||
		    heap)
			refer_member(visitor,
				     members[i].visited ? (enum reference_kind)visitor->strong
							: REFERENCE_EXTRA,
				     visited_field(visitor, object, members[i].field),
				     members[i].name);
	}
	if (heap)
		visit_cached_keys(visitor,
				  visited_field(visitor, object, FIELD_HEAP_TYPE_CACHED_KEYS));
}

const struct decoder decoder_type = {
	.type_name = "type",
	.size = FIELD_COUNT,
	.measure = type_measure,
	.visit = type_visit,
};
