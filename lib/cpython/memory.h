/* SPDX-License-Identifier: MIT */
/* Reading CPython's structures: the image seen through the layout. */
#pragma once

#include "../layout/layout.h"

struct memory {
	const struct image *image;
	const struct layout *layout;
};

/* The value of field `id` in a structure that begins at `bytes`, all of which can be read. */
static inline uint64_t field_load(const struct layout *layout, const void *bytes, enum field_id id)
{
	const struct field *field = &layout->fields[id];
	const uint8_t *at = (const uint8_t *)bytes + field->offset;
	uint64_t value = 0;

	switch (field->size) {
	case 1:
		value = *at;
		break;
	case 2:
		value = load_u16(at);
		break;
	case 4:
		value = load_u32(at);
		break;
	default:
		value = load_u64(at);
	}
	return field->bits ? value >> field->bit & ((1ULL << field->bits) - 1) : value;
}

/* The same for a signed field. */
static inline int64_t field_load_signed(const struct layout *layout, const void *bytes,
					enum field_id id)
{
	uint64_t value = field_load(layout, bytes, id);

	return layout->fields[id].size == 4 ? (int32_t)value : (int64_t)value;
}

/* Reads field `id` of the structure at `base` in the target; false when the field is absent or
 * the memory missing. */
bool memory_field(const struct memory *memory, vaddr base, enum field_id id, uint64_t *ret);

/* The address of field `id` of the structure at `base`. */
static inline vaddr memory_address(const struct memory *memory, vaddr base, enum field_id id)
{
	return base + layout_offset(memory->layout, id);
}

/* The bytes of the structure of size `id` (SIZE_*) at `at`, or NULL. */
static inline const uint8_t *memory_struct(const struct memory *memory, vaddr at, enum field_id id)
{
	return image_at(memory->image, at, layout_offset(memory->layout, id));
}
