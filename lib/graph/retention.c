/* SPDX-License-Identifier: MIT */
#include "retention.h"

#include <stdlib.h>

#include "../base/bisect.h"
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

static bool add_group(struct retention *retention, uint32_t thread, uint32_t frame, uint32_t parent)
{
	struct root_group *group = vector_push(&retention->groups);
	uint32_t *above = vector_push(&retention->parents);

	if (!group || !above)
		return false;
	*group = (struct root_group){ thread, frame };
	*above = parent;
	return true;
}

/* A group for each thread, and in it one for each of its frames; false when out of memory. */
static bool make_groups(struct retention *retention, const struct python *python)
{
	const struct frame_list *frames = &retention->roots.frames;
	uint32_t frame = 0;

	for (uint32_t i = 0; i < python->threads.count; i++) {
		uint32_t thread = (uint32_t)retention->groups.count;

		if (!add_group(retention, i, FRAME_NONE, GROUP_NONE))
			return false;
		for (; frame < frames->list.count && frames->list.items[frame].thread == i;
		     frame++) {
			if (!add_group(retention, i, frame, thread))
				return false;
		}
	}
	return true;
}

/* The group of a root of a frame or thread; those of frames come in the order of the frames, which
 * `next` goes along. */
static uint32_t group_of(const struct retention *retention, const struct python *python,
			 const struct root *root, uint32_t *next)
{
	const struct root_group *groups = retention->groups.items;
	const struct thread_frame *frames = retention->roots.frames.list.items;
	uint64_t size = layout_offset(&python->layout, SIZE_THREAD);

	if (root->kind == ROOT_FRAME) {
		while (*next < retention->groups.count &&
		       (groups[*next].frame == FRAME_NONE ||
			frames[groups[*next].frame].at != root->at))
			++*next;
		return *next < retention->groups.count ? *next : GROUP_NONE;
	}
	for (uint32_t i = 0; root->kind == ROOT_THREAD && i < python->threads.count; i++) {
		if (root->at - python->threads.items[i].at < size)
			return (uint32_t)bisect(j, retention->groups.count, groups[j].thread < i);
	}
	return GROUP_NONE;
}

/* What the search for dominators begins with. */
struct chosen {
	struct root_edge *roots;
	object_id *tables; /* of interned strings */
	size_t root_count, table_count;
};

/* Chooses roots: words that nobody knows may be stale, and hold only what nothing known leads to.
 */
static void choose(struct retention *retention, const struct graph *graph,
		   const struct heap_view *view, const uint8_t *known, struct chosen *chosen)
{
	const struct roots *roots = &retention->roots;
	uint32_t next = 0;

	for (size_t i = 0; i < roots->list.count; i++) {
		const struct root *root = &roots->list.items[i];
		uint8_t *kind = &retention->root_kinds[root->object];
		bool guess = root->kind >= ROOTS_KNOWN;

		if (guess && (*kind || known[root->object]))
			continue;
		if (!*kind)
			*kind = (uint8_t)(root->kind + 1);
		if (guess && is_interned_table(view, graph, root->object))
			chosen->tables[chosen->table_count++] = root->object;
		else
			chosen->roots[chosen->root_count++] =
				(struct root_edge){ root->object, group_of(retention, view->python,
									   root, &next) };
	}
}

static struct memheap_error *dominate(struct retention *retention, const struct graph *graph,
				      const struct heap_view *view)
{
	size_t count = retention->roots.list.count + 1;

	_cleanup_free_ struct root_edge *roots = calloc(count, sizeof(*roots));
	_cleanup_free_ object_id *tables = calloc(count, sizeof(*tables));
	_cleanup_free_ uint8_t *known = calloc((size_t)graph->count + 1, sizeof(*known));
	struct chosen chosen = { roots, tables, 0, 0 };
	struct root_edges edges;

	retention->root_kinds = calloc((size_t)graph->count + 1, sizeof(*retention->root_kinds));
	if (!roots || !tables || !known || !retention->root_kinds ||
	    !make_groups(retention, view->python) || !mark_known(&retention->roots, graph, known))
		return &error_no_memory;
	choose(retention, graph, view, known, &chosen);
	edges = (struct root_edges){ roots, chosen.root_count, retention->parents.items,
				     (uint32_t)retention->parents.count };
	retention->dominators = dominators_find(&graph->out, &graph->in, graph->count, &edges);
	if (!retention->dominators)
		return &error_no_memory;
	for (size_t i = 0; i < chosen.table_count; i++)
		hang_interned(retention, &graph->out, tables[i]);
	return NULL;
}

static size_t count_nodes(const struct retention *retention)
{
	return (size_t)retention->count + 1 + retention->groups.count;
}

static bool sum_up(struct retention *retention, const struct graph *graph,
		   const struct heap_view *view, const struct parallel *parallel)
{
	struct measuring measuring = { retention, graph, view };

	retention->sizes = calloc((size_t)graph->count + 1, sizeof(*retention->sizes));
	retention->retained = calloc(count_nodes(retention), sizeof(*retention->retained));
	if (!retention->sizes || !retention->retained)
		return false;
	parallel_for(parallel, "measuring objects", graph->count, GRAIN, measure_objects,
		     &measuring);
	return dominators_sum(retention->dominators, graph->count,
			      (uint32_t)retention->groups.count, retention->sizes,
			      retention->retained);
}

/* Turns the tree of dominators round. */
static bool list_children(struct retention *retention)
{
	size_t count = count_nodes(retention), bytes = count * sizeof(object_id);

	retention->child = malloc(bytes);
	retention->sibling = malloc(bytes);
	if (!retention->child || !retention->sibling)
		return false;
	memset(retention->child, 0xFF, bytes);
	memset(retention->sibling, 0xFF, bytes);
	for (size_t i = count; i-- > 0;) {
		object_id above = retention->dominators[i];

		if (above == OBJECT_NONE || i == retention->count)
			continue;
		retention->sibling[i] = retention->child[above];
		retention->child[above] = (object_id)i;
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

bool retention_is_below(const struct retention *retention, object_id id, object_id above)
{
	while (id != above && id < retention->count)
		id = retention->dominators[id];
	return id == above;
}

/* What is being summed up. */
struct summing {
	const struct retention *retention;
	const struct graph *graph;
	const struct heap_view *view;
	struct type_retention *types;
};

static struct type_retention *type_of(const struct summing *summing, object_id id)
{
	uint32_t type = graph_type(summing->graph, summing->view->map, id);

	return &summing->types[summing->view->objects->types.list.items[type].namesake];
}

/* Goes through the tree in depth first: a list may be as deep as memory, so without a stack. What
 * an object retains counts for its type unless one of the same type is above it. */
static void sum_tree(const struct summing *summing)
{
	const struct retention *retention = summing->retention;
	object_id top = retention->count, at = top;

	while (true) {
		object_id next = retention->child[at];
		struct type_retention *type;

		while (next == OBJECT_NONE && at != top) {
			if (at < top)
				type_of(summing, at)->open--;
			next = retention->sibling[at];
			at = retention->dominators[at];
		}
		if (next == OBJECT_NONE)
			return;
		at = next;
		if (at > top)
			continue;
		type = type_of(summing, at);
		if (!type->open++)
			type->retained += retention->retained[at];
	}
}

struct type_retention *retention_by_type(const struct retention *retention,
					 const struct graph *graph, const struct heap_view *view)
{
	size_t count = view->objects->types.list.count;
	struct type_retention *types = calloc(count + 1, sizeof(*types));
	const struct summing summing = { retention, graph, view, types };

	if (!types)
		return NULL;
	for (object_id i = 0; i < retention->count; i++) {
		struct type_retention *type = type_of(&summing, i);

		type->objects++;
		type->occupied += retention->sizes[i];
		if (retention->dominators[i] == OBJECT_NONE)
			type->retained += retention->retained[i];
	}
	sum_tree(&summing);
	return types;
}

void retention_deinit(struct retention *retention)
{
	roots_deinit(&retention->roots);
	free(retention->groups.items);
	free(retention->parents.items);
	free(retention->root_kinds);
	free(retention->dominators);
	free(retention->sizes);
	free(retention->retained);
	free(retention->child);
	free(retention->sibling);
	*retention = (struct retention){ 0 };
}
