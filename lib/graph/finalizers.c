/* SPDX-License-Identifier: MIT */
/*
 * 3.12 Modules/gcmodule.c, has_legacy_finalizer(): all objects whose type has a tp_del. 2.7,
 * has_finalizer(): of those only instances of classes; instances of old-style classes with __del__;
 * and generators that are suspended in a try or with statement.
 */
#include "finalizers.h"

#include <stdlib.h>
#include <string.h>

#include "../cpython/values.h"

#define BASES_MAX  1024
#define BLOCKS_MAX 20 /* CO_MAXBLOCKS, 2.7 Include/code.h */

/* Adds the bases of an old-style class to the `count` classes that are to be looked at. */
static size_t add_bases(const struct memory *memory, vaddr class, vaddr *classes, size_t count)
{
	uint64_t bases, size, base;

	if (!memory_field(memory, class, FIELD_OLD_CLASS_BASES, &bases) ||
	    !memory_field(memory, bases, FIELD_VAR_SIZE, &size))
		return count;
	bases = memory_address(memory, bases, FIELD_TUPLE_ITEMS);
	for (uint64_t i = 0; i < size && count < BASES_MAX; i++) {
		if (!image_u64(memory->image, bases + i * sizeof(vaddr), &base))
			break;
		classes[count++] = base;
	}
	return count;
}

static bool dict_has_del(const struct memory *memory, vaddr at, enum field_id dict)
{
	uint64_t found;
	vaddr value;

	return memory_field(memory, at, dict, &found) && found &&
	       dict_lookup(memory, found, "__del__", &value);
}

/* Whether an old-style class or one of its bases has a __del__. */
static bool class_has_del(const struct memory *memory, vaddr class)
{
	vaddr classes[BASES_MAX] = { class };
	size_t count = 1;

	for (size_t i = 0; i < count; i++) {
		if (dict_has_del(memory, classes[i], FIELD_OLD_CLASS_DICT))
			return true;
		count = add_bases(memory, classes[i], classes, count);
	}
	return false;
}

static bool find_classes(struct finalizers *finalizers, const struct graph *graph, uint32_t type)
{
	const struct heap_view *view = finalizers->view;

	for (object_id id = 0; id < graph->count; id++) {
		struct object object;

		if (graph_type(graph, view->map, id) != type ||
		    !object_get(view, graph->blocks[id], &object) ||
		    !class_has_del(&view->python->memory, object.at))
			continue;
		if (!id_map_put(&finalizers->classes, object.at, 0))
			return false;
	}
	return true;
}

bool finalizers_find(struct finalizers *finalizers, const struct graph *graph,
		     const struct heap_view *view)
{
	const struct type_table *types = &view->objects->types;
	bool by_object = layout_knows(&view->python->layout, CONSTANT_LOOP_BLOCK);
	uint32_t classes = by_object ? type_find_static(types, "classobj") : TYPE_NONE;

	*finalizers = (struct finalizers){
		.view = view,
		.types = calloc(types->list.count + 1, sizeof(*finalizers->types)),
		.generator = by_object ? type_find_static(types, "generator") : TYPE_NONE,
		.instance = by_object ? type_find_static(types, "instance") : TYPE_NONE,
	};
	if (!finalizers->types)
		return false;
	for (uint32_t i = 0; i < types->list.count; i++) {
		const struct type *type = &types->list.items[i];
		uint64_t finalizer;

		finalizers->types[i] =
			(type->heap || !by_object) &&
			memory_field(&view->python->memory, type->at, FIELD_TYPE_DEL, &finalizer) &&
			finalizer;
	}
	return classes == TYPE_NONE || find_classes(finalizers, graph, classes);
}

void finalizers_deinit(struct finalizers *finalizers)
{
	free(finalizers->types);
	id_map_deinit(&finalizers->classes);
}

/* 2.7 Objects/genobject.c, PyGen_NeedsFinalizing() */
static bool is_in_block(const struct memory *memory, vaddr generator)
{
	const struct layout *layout = memory->layout;
	uint64_t frame, top, count, type, bytes = layout_offset(layout, SIZE_FRAME_BLOCK);
	vaddr blocks;

	if (!memory_field(memory, generator, FIELD_GENERATOR_FRAME_OBJECT, &frame) ||
	    !memory_field(memory, frame, FIELD_FRAME_STACK_TOP, &top) || !top ||
	    !memory_field(memory, frame, FIELD_FRAME_BLOCK_COUNT, &count) || count > BLOCKS_MAX)
		return false;
	blocks = memory_address(memory, frame, FIELD_FRAME_BLOCKS);
	for (uint64_t i = 0; i < count; i++) {
		if (memory_field(memory, blocks + i * bytes, FIELD_FRAME_BLOCK_TYPE, &type) &&
		    type != layout_constant(layout, CONSTANT_LOOP_BLOCK))
			return true;
	}
	return false;
}

bool finalizers_has(const struct finalizers *finalizers, const struct object *object)
{
	const struct memory *memory = &finalizers->view->python->memory;
	const struct type *types = finalizers->view->objects->types.list.items;
	uint32_t type = (uint32_t)(object->type - types);
	uint64_t class;

	if (type == finalizers->generator)
		return is_in_block(memory, object->at);
	if (type == finalizers->instance)
		return (memory_field(memory, object->at, FIELD_INSTANCE_CLASS, &class) && class &&
			id_map_find(&finalizers->classes, class) != ID_NONE) ||
		       dict_has_del(memory, object->at, FIELD_INSTANCE_DICT);
	return finalizers->types[type];
}
