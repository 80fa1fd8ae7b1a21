/* SPDX-License-Identifier: MIT */
/* functools.lru_cache. Modules/_functoolsmodule.c */
#include "decoders.h"

#define ELEMENTS_MAX (1 << 28)

/*
 * lru_cache_tp_traverse(): also visits what the elements of its list hold, for they are no objects
 * of the GC; and, since 3.10, their type. The list's members are in references.def.
 */
static void lru_cache_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	vaddr root = object->at + layout_offset(memory->layout, FIELD_LRU_CACHE_ROOT), at;
	vaddr before = root, back, key, result, type;

	if (!layout_has(memory->layout, FIELD_LRU_CACHE_ROOT) ||
	    !memory_field(memory, root, FIELD_LRU_ELEMENT_NEXT, &at))
		return;
	/* an element that does not point back ends the list, so that no loop can */
	for (int i = 0; at != root && i < ELEMENTS_MAX; i++) {
		if (!memory_field(memory, at, FIELD_LRU_ELEMENT_PREVIOUS, &back) ||
		    back != before || !memory_field(memory, at, FIELD_LRU_ELEMENT_KEY, &key) ||
		    !memory_field(memory, at, FIELD_LRU_ELEMENT_RESULT, &result) ||
		    !memory_field(memory, at, FIELD_OBJECT_TYPE, &type)) {
			visitor->unreadable = true;
			return;
		}
		if (layout_knows(memory->layout, CONSTANT_LRU_ELEMENTS_VISITED)) {
			refer_member(visitor, visitor->strong, at, "element");
		} else {
			refer_member(visitor, REFERENCE_EXTRA, at, "element");
			refer(visitor, key, STEP_KEY, 0);
			refer(visitor, result, STEP_VALUE, key);
		}
		if (layout_knows(memory->layout, CONSTANT_LRU_TYPE_VISITED))
			refer_member(visitor, visitor->strong, type, "__class__");
		before = at;
		if (!memory_field(memory, at, FIELD_LRU_ELEMENT_NEXT, &at))
			return;
	}
}

const struct decoder decoder_lru_cache = {
	.type_name = "functools._lru_cache_wrapper",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = basic_measure,
	.visit = lru_cache_visit,
};
