/* SPDX-License-Identifier: MIT */
#include "interned.h"

#include "../cpython/values.h"

/* Whether the object is an interned str. */
static bool is_interned(const struct heap_view *view, const struct graph *graph, object_id id)
{
	block_id block = graph->blocks[id];
	uint64_t interned;
	struct object object;

	return tag_type(view->map->tags[block]) == view->objects->str_type &&
	       object_get(view, block, &object) &&
	       memory_field(&view->python->memory, object.at, FIELD_STR_INTERNED, &interned) &&
	       interned;
}

bool is_deleted_key(const struct heap_view *view, const struct graph *graph, object_id id)
{
	struct object object;

	return layout_has(&view->python->layout, FIELD_STR_HASH) &&
	       object_get(view, graph->blocks[id], &object) &&
	       str_equals(&view->python->memory, object.at, "<dummy key>");
}

bool is_interned_table(const struct heap_view *view, const struct graph *graph, object_id id)
{
	uint32_t type = graph_type(graph, view->map, id);
	uint32_t first = graph->out.first[id], end = graph->out.first[id + 1];

	if (strcmp(view->objects->types.list.items[type].name, "dict") || first == end ||
	    graph->in.first[id] != graph->in.first[id + 1])
		return false;
	/* the value of each entry, then its key; or what stands for a deleted one */
	while (first < end) {
		object_id value = edge_id(graph->out.to[first++]);

		if (is_deleted_key(view, graph, value))
			continue;
		if (first == end || value != edge_id(graph->out.to[first++]) ||
		    !is_interned(view, graph, value))
			return false;
	}
	return true;
}
