/* SPDX-License-Identifier: MIT */
/* module: the state of the C module behind it. Objects/moduleobject.c */
#include "decoders.h"

#define STATE_MAX (1 << 20)

static bool module_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t definition = 0, size = 0;

	if (!plain_measure(measure, object))
		return false;
	if (!layout_has(layout, FIELD_MODULE_STATE))
		return true;
	/* 3.15 has modules without a definition */
	if (layout_has(layout, FIELD_MODULE_STATE_SIZE))
		size = object_field(measure, object, FIELD_MODULE_STATE_SIZE);
	if (layout_has(layout, FIELD_MODULE_DEFINITION))
		definition = object_field(measure, object, FIELD_MODULE_DEFINITION);
	if (definition)
		memory_field(measure->memory, definition, FIELD_MODULE_DEFINITION_SIZE, &size);
	own(measure, object_field(measure, object, FIELD_MODULE_STATE), size, BUFFER_MODULE_STATE);
	return true;
}

/*
 * module_traverse() calls the m_traverse of the module's definition, if it has one (3.15: its
 * md_state_traverse), which visits the members of its state. How that is laid out only the module
 * knows: all its words are looked at.
 */
static void module_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	vaddr definition = visited_field(visitor, object, FIELD_MODULE_DEFINITION);
	vaddr state = visited_field(visitor, object, FIELD_MODULE_STATE);
	uint64_t size = visited_field(visitor, object, FIELD_MODULE_STATE_SIZE);
	uint64_t traverse = visited_field(visitor, object, FIELD_MODULE_STATE_TRAVERSE);
	const uint8_t *bytes;

	if (definition &&
	    (!memory_field(memory, definition, FIELD_MODULE_DEFINITION_SIZE, &size) ||
	     !memory_field(memory, definition, FIELD_MODULE_DEFINITION_TRAVERSE, &traverse)))
		return;
	if (!state || size >= STATE_MAX)
		return;
	bytes = image_at(memory->image, state, size);
	for (uint64_t at = 0; bytes && at + sizeof(vaddr) <= size; at += sizeof(vaddr))
		refer_as(visitor, traverse ? (enum reference_kind)visitor->strong : REFERENCE_EXTRA,
			 load_u64(bytes + at), STEP_WORD, at);
}

const struct decoder decoder_module = {
	.type_name = "module",
	.size = FIELD_COUNT,
	.measure = module_measure,
	.visit = module_visit,
};
