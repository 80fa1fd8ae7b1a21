/* SPDX-License-Identifier: MIT */
#include "interned.h"

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

bool is_interned_table(const struct heap_view *view, const struct graph *graph, object_id id)
{
	uint32_t type = graph_type(graph, view->map, id);
	uint32_t first = graph->out.first[id], end = graph->out.first[id + 1];

	if (strcmp(view->objects->types.list.items[type].name, "dict") || first == end ||
	    (end - first) % 2 || graph->in.first[id] != graph->in.first[id + 1])
		return false;
	/* the value of each entry, then its key */
	for (uint32_t i = first; i < end; i += 2) {
		object_id value = edge_id(graph->out.to[i]);

		if (value != edge_id(graph->out.to[i + 1]) || !is_interned(view, graph, value))
			return false;
	}
	return true;
}
