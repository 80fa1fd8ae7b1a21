/* SPDX-License-Identifier: MIT */
/* type and metaclasses. Objects/typeobject.c, type___sizeof___impl() */
#include "../dict_keys.h"
#include "decoders.h"

static bool heap_type_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	struct dict_keys keys;
	vaddr cached;

	/* the room must be for the slots' member definitions too; they don't count */
	if (!plain_measure(measure, object) || layout_offset(layout, SIZE_HEAP_TYPE) > object->room)
		return false;
	measure->size = layout_offset(layout, SIZE_HEAP_TYPE);
	cached = object_field(measure, object, FIELD_HEAP_TYPE_CACHED_KEYS);
	if (cached && dict_keys_read(measure->memory, cached, &keys))
		measure->size += keys.size;
	else if (cached)
		measure->unreadable = true;
	own(measure, cached, BUFFER_SHARED_KEYS);
	own(measure, object_field(measure, object, FIELD_TYPE_DOC), BUFFER_TYPE_DATA);
	if (layout_has(layout, FIELD_HEAP_TYPE_TPNAME))
		own(measure, object_field(measure, object, FIELD_HEAP_TYPE_TPNAME),
		    BUFFER_TYPE_DATA);
	return true;
}

static bool type_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;

	measure->size = measure->inside = layout_offset(layout, SIZE_TYPE);
	if (measure->size > object->room)
		return false;
	if (object_field(measure, object, FIELD_TYPE_FLAGS) &
	    layout_constant(layout, CONSTANT_TYPE_HEAP))
		return heap_type_measure(measure, object);
	measure->preheader = layout_constant(layout, CONSTANT_STATIC_TYPE_PREHEADER);
	return true;
}

const struct decoder decoder_type = {
	.type_name = "type",
	.size = FIELD_COUNT,
	.measure = type_measure,
};
