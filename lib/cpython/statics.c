/* SPDX-License-Identifier: MIT */
/*
 * Writable data of modules is searched word by word for what begins like an object. What lies
 * inside of an object that was found is not looked at again.
 */
#include "statics.h"

/* The bytes that the object covers where it lies; 0 when it is none. */
static uint64_t inner_size(const struct judge *judge, const struct verdict *verdict)
{
	struct measure measure = { .memory = &judge->python->memory };

	return object_measure(&measure, &verdict->object) ? measure.inside : 0;
}

static bool add_static(struct block_map *map, vaddr at, uint64_t size)
{
	struct static_object *object = vector_push(&map->statics);

	if (object)
		*object = (struct static_object){ at, (uint32_t)size };
	return object;
}

/* Whether the object would cover the beginning of a type object other than itself. */
static bool covers_type(const struct judge *judge, vaddr at, uint64_t size)
{
	for (uint64_t offset = sizeof(vaddr); offset < size; offset += sizeof(vaddr)) {
		if (type_find(judge->types, at + offset) != TYPE_NONE)
			return true;
	}
	return false;
}

/* Searches [*at, end) of a run, and sets `*at` behind what it found last. */
static bool search_range(struct block_map *map, const struct judge *judge,
			 const struct image_run *run, vaddr *at, vaddr end)
{
	uint32_t least = layout_offset(&judge->python->layout, SIZE_OBJECT);

	while (*at < end && run->end - *at >= least) {
		struct candidate candidate = {
			.bytes = run->bytes + (*at - run->start),
			.at = *at,
			.size = run->end - *at,
			.before = *at - run->start,
			.is_static = true,
		};
		struct verdict verdict;
		uint64_t inner = 0;

		if (judge_header(judge, &candidate, &verdict))
			inner = inner_size(judge, &verdict);
		*at += sizeof(vaddr);
		if (!inner || inner > UINT32_MAX || covers_type(judge, candidate.at, inner))
			continue;
		if (!add_static(map, candidate.at, inner))
			return false;
		*at = candidate.at + round_up(inner, sizeof(vaddr));
	}
	return true;
}

bool statics_find(struct block_map *map, const struct judge *judge, const struct modules *modules)
{
	const struct image *image = judge->python->memory.image;
	vaddr at = 0;

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = modules_data_size(modules, segment);

		/* an object may reach over the border of two segments: .data and .bss */
		at = MAX(at, segment->start);
		if (size && !search_range(map, judge, image_run_at(image, segment->start), &at,
					  segment->start + size))
			return false;
	}
	return blocks_add_statics(map);
}
