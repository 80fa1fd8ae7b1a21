/* SPDX-License-Identifier: MIT */
#include "idle_words.h"

/* 3.9 Objects/listobject.c, PyList_MAXFREELIST; Objects/dictobject.c, PyDict_MAXFREELIST */
#define STATIC_SLOTS 80
/* A block may have less room to spare than this: pymalloc's and malloc's are multiples of it. */
#define BLOCK_STEP 16
/* So many pointers in a row to objects of the size of a list or dict are no accident. */
#define RUN_MIN 8

static bool add_field(struct ranges *slots, const struct layout *layout, vaddr state,
		      enum field_id id)
{
	const struct field *field = &layout->fields[id];

	return !layout_has(layout, id) ||
	       ranges_add(slots, state + field->offset, state + field->offset + field->size);
}

/* Adds the lists of an interpreter, or (free-threaded builds) of a thread. */
static bool add_state(struct ranges *slots, const struct layout *layout, vaddr state)
{
	static const enum field_id lists[] = {
		FIELD_FLOAT_FREE_LIST, FIELD_TUPLE_FREE_LISTS,    FIELD_LIST_FREE_LIST,
		FIELD_DICT_FREE_LIST,  FIELD_KEYS_FREE_LIST,      FIELD_CONTEXT_FREE_LIST,
		FIELD_FRAME_FREE_LIST, FIELD_GEN_VALUE_FREE_LIST, FIELD_GEN_SEND_FREE_LIST,
	};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		if (!add_field(slots, layout, state, lists[i]))
			return false;
	}
	return true;
}

static bool add_states(struct ranges *slots, const struct python *python)
{
	const struct layout *layout = &python->layout;
	bool in_threads = layout_has(layout, FIELD_THREAD_FREE_LISTS);

	for (size_t i = 0; i < python->interpreters.count; i++) {
		vaddr at = python->interpreters.items[i].at;

		if (!add_field(slots, layout, at, FIELD_MEMORY_ERROR_FREE_LIST) ||
		    (!in_threads && !add_state(slots, layout, at)))
			return false;
	}
	for (size_t i = 0; in_threads && i < python->threads.count; i++) {
		if (!add_state(slots, layout, python->threads.items[i].at))
			return false;
	}
	return true;
}

/* What a word of static data points to. */
enum slot_target {
	TARGET_OTHER,
	TARGET_FITTING, /* a place where a list or dict may lie, or have lain */
	TARGET_PARKED,  /* a dead one, which only a free list leads to */
};

static bool is_list_or_dict(const struct heap_view *view, uint32_t type)
{
	const char *name = view->objects->types.list.items[type].name;

	return !strcmp(name, "list") || !strcmp(name, "dict");
}

static enum slot_target look_at(const struct heap_view *view, vaddr at)
{
	const struct layout *layout = view->python->memory.layout;
	uint64_t head = layout_offset(layout, SIZE_GC_HEAD);
	uint64_t least = head + layout_offset(layout, SIZE_LIST);
	uint64_t most = head + layout_offset(layout, SIZE_DICT);
	struct block block;
	block_tag tag;

	if (!at || at % sizeof(vaddr) || !block_find(view->map, at, &block) ||
	    block.start + head != at)
		return TARGET_OTHER;
	tag = view->map->tags[block.id];
	if (tag_state(tag) == BLOCK_PARKED &&
	    (tag_detail(tag) == FREE_LIST_LIST || tag_detail(tag) == FREE_LIST_DICT))
		return TARGET_PARKED;
	if (tag_state(tag) == BLOCK_OBJECT && !is_list_or_dict(view, tag_type(tag)))
		return TARGET_OTHER;
	return block.size >= least && block.size < most + BLOCK_STEP ? TARGET_FITTING
								     : TARGET_OTHER;
}

/*
 * Adds the arrays of static data that are free lists of list and dict: those whose first slots hold
 * dead ones, which nothing else does; and rows of stale pointers, where none is left.
 */
static bool search_data(struct ranges *slots, const struct heap_view *view,
			const struct segment *segment, uint64_t size)
{
	uint64_t run = 0; /* slots that fit, before `at` */

	for (uint64_t at = 0; at + sizeof(vaddr) <= size; at += sizeof(vaddr)) {
		enum slot_target target = look_at(view, load_u64(segment->bytes + at));
		uint64_t begin = at - run * sizeof(vaddr), end = at;

		if (target == TARGET_FITTING) {
			run++;
			continue;
		}
		if (target == TARGET_PARKED) {
			begin = at;
			end = MIN(size, at + STATIC_SLOTS * sizeof(vaddr));
		}
		if ((target == TARGET_PARKED || run >= RUN_MIN) &&
		    !ranges_add(slots, segment->start + begin, segment->start + end))
			return false;
		run = 0;
		if (target == TARGET_PARKED)
			at = end - sizeof(vaddr);
	}
	return true;
}

static bool add_variables(struct ranges *slots, const struct heap_view *view)
{
	const struct python *python = view->python;
	const struct image *image = python->memory.image;

	if (layout_has(&python->layout, FIELD_FLOAT_FREE_LIST) ||
	    layout_has(&python->layout, SIZE_FREE_LIST_STATE))
		return true;
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];

		if (!search_data(slots, view, segment,
				 module_writable_size(python->module, segment)))
			return false;
	}
	return true;
}

uint64_t idle_words_before(const struct heap_view *view, block_tag tag, uint64_t size)
{
	const struct layout *layout = &view->python->layout;

	if (tag_state(tag) != BLOCK_OBJECT || tag_type(tag) != view->objects->code_type ||
	    !layout_has(layout, FIELD_CODE_INSTRUCTIONS))
		return size;
	return MIN(size, tag_preheader(tag) + layout_offset(layout, FIELD_CODE_INSTRUCTIONS));
}

static bool add_static_code(struct ranges *idle, const struct heap_view *view)
{
	const struct block_map *map = view->map;

	for (size_t i = 0; i < map->statics.count; i++) {
		const struct static_object *object = &map->statics.items[i];
		uint64_t before =
			idle_words_before(view, map->tags[map->first_static + i], object->size);

		if (before < object->size &&
		    !ranges_add(idle, object->at + before, object->at + object->size))
			return false;
	}
	return true;
}

bool idle_words_find(struct ranges *idle, const struct heap_view *view)
{
	bool found = add_states(idle, view->python) && add_variables(idle, view) &&
		     add_static_code(idle, view);

	ranges_join(idle);
	return found;
}
