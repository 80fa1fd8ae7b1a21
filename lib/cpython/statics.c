/* SPDX-License-Identifier: MIT */
/*
 * Writable data of modules is searched word by word for what begins like an object. What lies
 * inside of an object that was found is not looked at again.
 */
#include "statics.h"

#include "refcount.h"

#define SMALL_NUMBER_MAX 0xFFFF

/* The bytes that the object covers where it lies; 0 when it is none. */
static uint64_t inner_size(const struct judge *judge, const struct verdict *verdict)
{
	struct measure measure = { .memory = &judge->python->memory };

	return object_measure(&measure, &verdict->object) && !measure.unreadable ? measure.inside
										 : 0;
}

/* Whether there is room for a GC header in front of the object, with nothing in it. */
static bool has_empty_gc_head(const struct layout *layout, const struct object *object)
{
	uint32_t size = layout_offset(layout, SIZE_GC_HEAD);

	for (uint32_t i = 0; i < size && object->before >= size; i++) {
		if (object->bytes[i - (ptrdiff_t)size])
			return false;
	}
	return object->before >= size;
}

static bool is_moduledef(const struct type *type)
{
	return !type->heap && !strcmp(type->name, "moduledef");
}

/* Whether a number and the address of a type lie side by side at `at`. */
static bool is_pair(const struct judge *judge, vaddr at)
{
	const uint8_t *bytes = image_at(judge->python->memory.image, at, 2 * sizeof(vaddr));

	return bytes && load_u64(bytes) <= SMALL_NUMBER_MAX &&
	       type_find(judge->types, load_u64(bytes + sizeof(vaddr))) != TYPE_NONE;
}

/* Whether the object would be a row in a table of numbers and types. */
static bool is_in_table(const struct judge *judge, vaddr at)
{
	return is_pair(judge, at) &&
	       (is_pair(judge, at - 2 * sizeof(vaddr)) || is_pair(judge, at + 2 * sizeof(vaddr)));
}

/*
 * Whether static data has such objects. A number and the address of a type, side by side in some
 * table, are no object: where CPython makes static objects immortal, its own are; and a static
 * container is a type, or comes with room for a GC header.
 */
static bool is_expected(const struct judge *judge, const struct verdict *verdict)
{
	const struct layout *layout = &judge->python->layout;
	const struct module *python = judge->python->module;
	const struct object *object = &verdict->object;
	bool its_own = object->at >= python->start && object->at < python->end;

	if (object->type->metatype)
		return type_find(judge->types, object->at) != TYPE_NONE;
	if (is_moduledef(object->type))
		return true;
	if (its_own && layout_knows(layout, CONSTANT_IMMORTAL_REFCOUNT) &&
	    !object_is_immortal(layout, object->bytes))
		return false;
	if (!its_own && is_in_table(judge, object->at))
		return false;
	return !object->type->gc || (its_own && layout_knows(layout, CONSTANT_STATIC_CONTAINERS) &&
				     has_empty_gc_head(layout, object));
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

/* The end of the arena or frame stack that holds `at`, or 0. Where the headers of a module are
 * missing (modules.c), what is mapped right behind its data counts as its data. */
static vaddr end_of_mapping(const struct block_map *map, const struct python *python, vaddr at)
{
	const struct arena *arena = pymalloc_find_arena(&map->pymalloc, at);

	if (arena)
		return arena->start + map->pymalloc.arena_bytes;
	for (size_t i = 0; i < python->frame_stacks.count; i++) {
		const struct frame_stack *stack = &python->frame_stacks.items[i];

		if (at >= stack->start && at < stack->end)
			return stack->end;
	}
	return 0;
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
		vaddr behind;

		if (judge_header(judge, &candidate, &verdict) && is_expected(judge, &verdict))
			inner = inner_size(judge, &verdict);
		behind = inner ? end_of_mapping(map, judge->python, *at) : 0;
		if (behind) {
			*at = behind;
			continue;
		}
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
