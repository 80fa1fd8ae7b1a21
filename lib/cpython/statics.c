/* SPDX-License-Identifier: MIT */
/*
 * Writable data of modules is searched word by word for what begins like an object. What lies
 * inside of an object that was found is not looked at again.
 */
#include "statics.h"

/* The bytes that the object covers where it lies, blocks that it owns not counted. */
static uint64_t inner_size(const struct judge *judge, const struct verdict *verdict)
{
	const struct layout *layout = &judge->python->layout;
	struct measure measure = { .memory = &judge->python->memory };
	const struct object *object = &verdict->object;
	uint64_t flags = object->type->flags;

	if (!object_measure(&measure, object))
		return 0;
	if (object->type->metatype)
		return layout_offset(layout, SIZE_TYPE);
	if (!strcmp(object->type->name, "str") || !strcmp(object->type->name, "int") ||
	    !strcmp(object->type->name, "bool") ||
	    flags & layout_constant(layout, CONSTANT_TYPE_IS_STR))
		return measure.size;
	return plain_measure(&measure, object) ? measure.size : 0;
}

static bool add_static(struct block_map *map, vaddr at, uint64_t size)
{
	struct static_object *object = vector_push(&map->statics);

	if (object)
		*object = (struct static_object) { at, (uint32_t)size };
	return object;
}

/* Searches the first `size` bytes of a segment. */
static bool search_segment(struct block_map *map, const struct judge *judge,
			   const struct segment *segment, uint64_t size)
{
	uint64_t at = 0;

	while (size - at >= layout_offset(&judge->python->layout, SIZE_OBJECT)) {
		struct candidate candidate = {
			.bytes = segment->bytes + at,
			.at = segment->start + at,
			.size = size - at,
			.is_static = true,
		};
		struct verdict verdict;
		uint64_t inner = 0;

		if (judge_header(judge, &candidate, &verdict))
			inner = inner_size(judge, &verdict);
		if (inner && inner <= UINT32_MAX) {
			if (!add_static(map, candidate.at, inner))
				return false;
			at += round_up(inner, sizeof(vaddr));
			if (at > size)
				break;
		} else {
			at += sizeof(vaddr);
		}
	}
	return true;
}

bool statics_find(struct block_map *map, const struct judge *judge, const struct modules *modules)
{
	const struct image *image = judge->python->memory.image;

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];

		if (!search_segment(map, judge, segment, modules_data_size(modules, segment)))
			return false;
	}
	return blocks_add_statics(map);
}
