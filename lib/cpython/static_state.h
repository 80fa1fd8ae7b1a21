/* SPDX-License-Identifier: MIT */
/* Where an interpreter keeps what it knows of static types (3.12 and later). */
#pragma once

#include "runtime.h"

/* What the main interpreter knows of a static type: the address of its static_builtin_state; 0:
 * nothing. tp_subclasses says which one it is: Include/internal/pycore_typeobject.h */
static inline vaddr static_type_state(const struct python *python, vaddr type)
{
	const struct memory *memory = &python->memory;
	uint64_t index, owner, size = layout_offset(memory->layout, SIZE_STATIC_TYPE);
	vaddr state;

	if (!layout_has(memory->layout, FIELD_INTERP_STATIC_TYPES) || !size ||
	    !memory_field(memory, type, FIELD_TYPE_SUBCLASSES, &index) || !index ||
	    index > memory->layout->fields[FIELD_INTERP_STATIC_TYPES].size / size)
		return 0;
	state = memory_address(memory, python->interpreters.items[0].at,
			       FIELD_INTERP_STATIC_TYPES) +
		(index - 1) * size;
	return memory_field(memory, state, FIELD_STATIC_TYPE_TYPE, &owner) && owner == type ? state
											    : 0;
}
