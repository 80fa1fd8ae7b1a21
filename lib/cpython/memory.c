/* SPDX-License-Identifier: MIT */
#include "memory.h"

bool memory_field(const struct memory *memory, vaddr base, enum field_id id, uint64_t *ret)
{
	const struct field *field = &memory->layout->fields[id];
	uint64_t size = field->size > sizeof(uint64_t) ? sizeof(uint64_t) : field->size;
	const uint8_t *bytes;

	if (!layout_has(memory->layout, id))
		return false;
	bytes = image_at(memory->image, base + field->offset, size);
	if (!bytes)
		return false;
	*ret = field_load(memory->layout, bytes - field->offset, id);
	return true;
}
