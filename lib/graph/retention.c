/* SPDX-License-Identifier: MIT */
#include "retention.h"

#include <stdlib.h>

#include "../base/cleanup.h"
#include "dominators.h"
#include "interned.h"

#define GRAIN 4096

struct measuring {
	const struct retention *retention;
	const struct graph *graph;
	const struct heap_view *view;
};

static void measure_objects(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct measuring *measuring = context;
	const struct heap_view *view = measuring->view;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		struct object_info info;

		if (objects_get(view->objects, view->map, view->python, measuring->graph->blocks[i],
				&info))
			measuring->retention->sizes[i] = info.occupied_bytes;
	}
}

/* Hangs below the table of interned strings what only it leads to: it comes after all roots. */
static void hang_interned(const struct retention *retention, const struct edges *out,
			  object_id table)
{
	retention->dominators[table] = retention->count;
	for (uint32_t i = out->first[table]; i < out->first[table + 1]; i++) {
		object_id to = edge_id(out->to[i]);

		if (retention->dominators[to] == OBJECT_NONE)
			retention->dominators[to] = table;
	}
}

/* Marks what the roots that are no guesses lead to; false when out of memory. */
static bool mark_known(const struct roots *roots, const struct graph *graph, uint8_t *known)
{
	uint32_t begin = 0, end = 0;

	_cleanup_free_ object_id *queue = calloc((size_t)graph->count + 1, sizeof(*queue));
	for (size_t i = 0; queue && i < roots->list.count; i++) {
		const struct root *root = &roots->list.items[i];

		if (root->kind >= ROOTS_KNOWN || known[root->object])
			continue;
		known[root->object] = true;
		queue[end++] = root->object;
	}
	while (begin < end) {
		object_id at = queue[begin++];

		for (uint32_t i = graph->out.first[at]; i < graph->out.first[at + 1]; i++) {
			object_id to = edge_id(graph->out.to[i]);

			if (!edge_holds(graph->out.to[i]) || known[to])
				continue;
			known[to] = true;
			queue[end++] = to;
		}
	}
	return queue;
}

/* Words that nobody knows may be stale: they hold only what nothing known leads to. */
static struct memheap_error *dominate(struct retention *retention, const struct graph *graph,
				      const struct heap_view *view)
{
	const struct roots *roots = &retention->roots;
	size_t count = 0, interned = 0;

	_cleanup_free_ object_id *chosen = calloc(roots->list.count + 1, sizeof(*chosen));
	_cleanup_free_ object_id *tables = calloc(roots->list.count + 1, sizeof(*tables));
	_cleanup_free_ uint8_t *known = calloc((size_t)graph->count + 1, sizeof(*known));
	retention->root_kinds = calloc((size_t)graph->count + 1, sizeof(*retention->root_kinds));
	if (!chosen || !tables || !known || !retention->root_kinds ||
	    !mark_known(roots, graph, known))
		return &error_no_memory;
	for (size_t i = 0; i < roots->list.count; i++) {
		const struct root *root = &roots->list.items[i];

		if (retention->root_kinds[root->object] ||
		    (root->kind >= ROOTS_KNOWN && known[root->object]))
			continue;
		retention->root_kinds[root->object] = (uint8_t)(root->kind + 1);
		if (root->kind >= ROOTS_KNOWN && is_interned_table(view, graph, root->object))
			tables[interned++] = root->object;
		else
			chosen[count++] = root->object;
	}
	retention->dominators =
		dominators_find(&graph->out, &graph->in, graph->count, chosen, count);
	if (!retention->dominators)
		return &error_no_memory;
	for (size_t i = 0; i < interned; i++)
		hang_interned(retention, &graph->out, tables[i]);
	return NULL;
}

static bool sum_up(struct retention *retention, const struct graph *graph,
		   const struct heap_view *view, const struct parallel *parallel)
{
	struct measuring measuring = { retention, graph, view };
	size_t count = (size_t)graph->count + 1;

	retention->sizes = calloc(count, sizeof(*retention->sizes));
	retention->retained = calloc(count, sizeof(*retention->retained));
	if (!retention->sizes || !retention->retained)
		return false;
	parallel_for(parallel, "measuring objects", graph->count, GRAIN, measure_objects,
		     &measuring);
	return dominators_sum(retention->dominators, graph->count, retention->sizes,
			      retention->retained);
}

/* Turns the tree of dominators round. */
static bool list_children(struct retention *retention)
{
	size_t bytes = ((size_t)retention->count + 1) * sizeof(object_id);

	retention->child = malloc(bytes);
	retention->sibling = malloc(bytes);
	if (!retention->child || !retention->sibling)
		return false;
	memset(retention->child, 0xFF, bytes);
	memset(retention->sibling, 0xFF, bytes);
	for (object_id i = retention->count; i-- > 0;) {
		object_id above = retention->dominators[i];

		if (above == OBJECT_NONE)
			continue;
		retention->sibling[i] = retention->child[above];
		retention->child[above] = i;
	}
	return true;
}

struct memheap_error *retention_find(struct retention *ret, const struct graph *graph,
				     const struct root_sources *sources,
				     const struct parallel *parallel)
{
	struct memheap_error *error = roots_find(&ret->roots, graph, sources, parallel);

	ret->count = graph->count;
	if (!error)
		error = dominate(ret, graph, sources->view);
	if (!error && (!sum_up(ret, graph, sources->view, parallel) || !list_children(ret)))
		error = &error_no_memory;
	return error;
}

static int compare_names(const void *a, const void *b, void *closure)
{
	const struct type *types = closure;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	int order = strcmp(types[left].name, types[right].name);

	return order ? order : left < right ? -1 : left > right;
}

/* Finds types of the same name; false when out of memory. */
static bool find_same(struct type_retention *types, const struct type_table *table)
{
	struct type *list = table->list.items;
	uint32_t count = (uint32_t)table->list.count;

	_cleanup_free_ uint32_t *order = calloc((size_t)count + 1, sizeof(*order));
	if (!order)
		return false;
	for (uint32_t i = 0; i < count; i++)
		order[i] = i;
	qsort_r(order, count, sizeof(*order), compare_names, list);
	for (uint32_t i = 0; i < count; i++)
		types[order[i]].same = i && !strcmp(list[order[i]].name, list[order[i - 1]].name)
					       ? types[order[i - 1]].same
					       : order[i];
	return true;
}

static struct type_retention *type_of(struct type_retention *types, const struct graph *graph,
				      const struct block_map *map, object_id id)
{
	return &types[types[tag_type(map->tags[graph->blocks[id]])].same];
}

/* Goes through the tree in depth first: a list may be as deep as memory, so without a stack. What
 * an object retains counts for its type unless one of the same type is above it. */
static void sum_tree(const struct retention *retention, const struct graph *graph,
		     const struct block_map *map, struct type_retention *types)
{
	object_id top = retention->count, at = top;

	while (true) {
		object_id next = retention->child[at];
		struct type_retention *type;

		while (next == OBJECT_NONE && at != top) {
			type_of(types, graph, map, at)->open--;
			next = retention->sibling[at];
			at = retention->dominators[at];
		}
		if (next == OBJECT_NONE)
			return;
		type = type_of(types, graph, map, next);
		if (!type->open++)
			type->retained += retention->retained[next];
		at = next;
	}
}

struct type_retention *retention_by_type(const struct retention *retention,
					 const struct graph *graph, const struct heap_view *view)
{
	const struct type_table *table = &view->objects->types;
	struct type_retention *types = calloc(table->list.count + 1, sizeof(*types));

	if (!types || !find_same(types, table)) {
		free(types);
		return NULL;
	}
	for (object_id i = 0; i < retention->count; i++) {
		struct type_retention *type = type_of(types, graph, view->map, i);

		type->objects++;
		type->occupied += retention->sizes[i];
		if (retention->dominators[i] == OBJECT_NONE)
			type->retained += retention->retained[i];
	}
	sum_tree(retention, graph, view->map, types);
	return types;
}

void retention_deinit(struct retention *retention)
{
	roots_deinit(&retention->roots);
	free(retention->root_kinds);
	free(retention->dominators);
	free(retention->sizes);
	free(retention->retained);
	free(retention->child);
	free(retention->sibling);
	*retention = (struct retention){ 0 };
}
