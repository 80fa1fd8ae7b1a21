/* SPDX-License-Identifier: MIT */
#include "objects.h"

#include <stdlib.h>

#include "../base/cleanup.h"
#include "array_items.h"
#include "counting.h"
#include "judging.h"
#include "leftovers.h"
#include "reached.h"
#include "runtime_blocks.h"
#include "static_names.h"
#include "statics.h"

static void count_types(struct objects *objects)
{
	for (size_t i = 0; i < objects->types.list.count; i++) {
		const struct type *type = &objects->types.list.items[i];
		const struct type_totals *totals = &objects->by_type[i];

		objects->count += totals->objects;
		objects->tracked += totals->tracked;
		objects->frozen += totals->frozen;
		if (!type->named)
			gap_add(&objects->gaps, GAP_TYPE_UNREADABLE, type->at,
				totals->block_bytes + totals->buffer_bytes);
	}
	objects->untracked = objects->count - objects->tracked;
}

struct memheap_error *objects_build(struct objects *objects, struct block_map *map,
				    const struct python *python, const struct modules *modules,
				    const struct parallel *parallel)
{
	struct judge judge = { python, &objects->types };
	const struct heap_view view = { objects, map, python };
	struct memheap_error *error;

	error = types_build(&objects->types, python, modules, map);
	if (error)
		return error;
	objects->names_recovered = static_names_recover(&objects->types, python, modules);
	types_choose_decoders(&objects->types, &python->memory);
	array_items_find(&objects->types, map, python);
	if (!types_find_namesakes(&objects->types) ||
	    !types_find_members(&objects->types, &python->memory))
		return &error_no_memory;
	objects->str_type = type_find_static(&objects->types, "str");
	objects->code_type = type_find_static(&objects->types, "code");
	objects->by_type = calloc(objects->types.list.count, sizeof(*objects->by_type));
	if (!objects->by_type || !statics_find(map, &judge, modules))
		return &error_no_memory;
	if (!reached_find(map, &view, modules, parallel))
		return &error_no_memory;
	free_lists_mark(map, python, &objects->types);
	runtime_blocks_mark(map, python);
	if (!judge_all(objects, map, &judge, parallel))
		return &error_no_memory;
	free_lists_search(map, python, &objects->types);
	if (!leftovers_attribute(map, &view, modules, parallel))
		return &error_no_memory;
	blocks_forget_unused(map);
	if (!count_blocks(objects, map, parallel))
		return &error_no_memory;
	count_types(objects);
	return NULL;
}

void objects_deinit(struct objects *objects)
{
	types_deinit(&objects->types);
	free(objects->by_type);
	free(objects->classes);
	*objects = (struct objects){ 0 };
}
