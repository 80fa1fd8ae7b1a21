/* SPDX-License-Identifier: MIT */
#include "ways.h"

#include <stdlib.h>

#include "../base/cleanup.h"
#include "names.h"

#define TIERS 4

/* Which roots come before which: modules, frames and threads, what is always there, guesses. */
static int tier(const struct root *root)
{
	if (root->kind < ROOT_FRAME)
		return 0;
	return root->kind < ROOTS_CERTAIN ? 1 : root->kind < ROOTS_KNOWN ? 2 : 3;
}

/* Goes on from the objects in `queue`, which has room for all; returns how many are in it then. */
static uint32_t spread(struct ways *ways, const struct graph *graph, object_id *queue,
		       uint32_t begin, uint32_t end)
{
	while (begin < end) {
		object_id at = queue[begin++];

		for (uint32_t i = graph->out.first[at]; i < graph->out.first[at + 1]; i++) {
			object_id to = edge_id(graph->out.to[i]);

			if (!edge_holds(graph->out.to[i]) || ways->before[to] != OBJECT_NONE)
				continue;
			ways->before[to] = at;
			queue[end++] = to;
		}
	}
	return end;
}

bool ways_find(struct ways *ways, const struct graph *graph, const struct roots *roots)
{
	size_t bytes = ((size_t)graph->count + 1) * sizeof(object_id);
	uint32_t begin = 0, end = 0;

	_cleanup_free_ object_id *queue = malloc(bytes);
	ways->before = malloc(bytes);
	ways->root = malloc(bytes);
	if (!queue || !ways->before || !ways->root)
		return false;
	memset(ways->before, 0xFF, bytes);
	for (int i = 0; i < TIERS; i++) {
		for (size_t j = 0; j < roots->list.count; j++) {
			const struct root *root = &roots->list.items[j];

			if (tier(root) != i || ways->before[root->object] != OBJECT_NONE)
				continue;
			ways->before[root->object] = graph->count;
			ways->root[root->object] = (uint32_t)j;
			queue[end++] = root->object;
		}
		begin = end = spread(ways, graph, queue, begin, end);
	}
	return true;
}

void ways_deinit(struct ways *ways)
{
	free(ways->before);
	free(ways->root);
	*ways = (struct ways){ 0 };
}

const char *way_step_name(const struct way_names *names, object_id id)
{
	const struct graph *graph = names->graph;
	const struct heap_view *view = names->sources->view;
	object_id before = names->ways->before[id];

	if (before == OBJECT_NONE)
		return NULL;
	if (before == graph->count)
		return root_name(&names->roots->list.items[names->ways->root[id]], names->sources,
				 names->strings);
	return step_name(view, graph->blocks[before], graph->blocks[id], names->values,
			 names->strings);
}
