/* SPDX-License-Identifier: MIT */
#include "cycles.h"

#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../cpython/gc.h"
#include "../cpython/gc_head.h"
#include "finalizers.h"

#define GRAIN 4096

/* References that count in ob_refcnt, as far as they are known to. */
static bool is_counted(edge_word edge)
{
	return edge_kind(edge) == REFERENCE_STRONG || edge_kind(edge) == REFERENCE_EXTRA;
}

/* Gives `fate` to all that the objects on the stack lead to, as tp_traverse does, among those that
 * would be collected. */
static void spread(struct cycles *cycles, const struct edges *out, object_id *stack, size_t depth,
		   enum fate fate)
{
	while (depth) {
		object_id at = stack[--depth];

		for (uint32_t i = out->first[at]; i < out->first[at + 1]; i++) {
			object_id to = edge_id(out->to[i]);

			if (edge_kind(out->to[i]) != REFERENCE_STRONG ||
			    cycles->fates[to] != FATE_COLLECTED)
				continue;
			cycles->fates[to] = (uint8_t)fate;
			stack[depth++] = to;
		}
	}
}

/* How many of the references to the object the collector finds in tracked objects. */
static uint32_t count_inside(const struct cycles *cycles, const struct edges *in, object_id id)
{
	uint32_t count = 0;

	for (uint32_t i = in->first[id]; i < in->first[id + 1]; i++)
		count += edge_kind(in->to[i]) == REFERENCE_STRONG &&
			 cycles->facts[edge_id(in->to[i])] & COLLECTOR_TRACKED;
	return count;
}

/* Frees along what nothing refers to any more. Counts of immortal objects never come to zero. */
static void free_along(struct cycles *cycles, const struct graph *graph, object_id *stack)
{
	const struct edges *out = &graph->out;
	size_t depth = 0;

	for (object_id id = 0; id < graph->count; id++) {
		if (cycles->fates[id] == FATE_COLLECTED)
			stack[depth++] = id;
	}
	while (depth) {
		object_id at = stack[--depth];

		for (uint32_t i = out->first[at]; i < out->first[at + 1]; i++) {
			object_id to = edge_id(out->to[i]);

			if (!is_counted(out->to[i]) || cycles->fates[to] != FATE_STAYS ||
			    !cycles->refcounts[to] || --cycles->refcounts[to])
				continue;
			cycles->fates[to] = FATE_FREED_ALONG;
			stack[depth++] = to;
		}
	}
}

bool cycles_decide(struct cycles *cycles, const struct graph *graph)
{
	/* an object comes onto it once for each fate */
	_cleanup_free_ object_id *stack = malloc(((size_t)graph->count + 1) * sizeof(*stack));
	size_t depth = 0;

	cycles->fates = calloc((size_t)graph->count + 1, sizeof(*cycles->fates));
	if (!stack || !cycles->fates)
		return false;
	for (object_id id = 0; id < graph->count; id++) {
		uint32_t inside;

		if (!(cycles->facts[id] & COLLECTOR_TRACKED))
			continue;
		inside = count_inside(cycles, &graph->in, id);
		cycles->overrun += inside > cycles->refcounts[id];
		if (inside == cycles->refcounts[id])
			cycles->fates[id] = FATE_COLLECTED;
		else
			stack[depth++] = id;
	}
	spread(cycles, &graph->out, stack, depth, FATE_STAYS);
	depth = 0;
	for (object_id id = 0; id < graph->count; id++) {
		if (cycles->fates[id] != FATE_COLLECTED || !(cycles->facts[id] & COLLECTOR_LEGACY))
			continue;
		cycles->fates[id] = FATE_UNCOLLECTABLE;
		stack[depth++] = id;
	}
	spread(cycles, &graph->out, stack, depth, FATE_UNCOLLECTABLE);
	free_along(cycles, graph, stack);
	return true;
}

/* Reading what the collector knows. */
struct reading {
	struct cycles *cycles;
	const struct graph *graph;
	const struct heap_view *view;
	const struct finalizers *finalizers;
};

static bool is_tracked(const struct heap_view *view, block_id block, const struct object *object)
{
	const struct layout *layout = view->python->memory.layout;
	uint32_t size = layout_offset(layout, SIZE_GC_HEAD);

	/* objects in static data have no header, whatever their type says */
	return object->type->gc && block < view->map->first_static && object->before >= size &&
	       gc_head_tracking(layout, object->bytes - size, view->python->collecting) ==
		       GC_TRACKED;
}

static void read_facts(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct reading *reading = context;
	const struct heap_view *view = reading->view;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		block_id block = reading->graph->blocks[i];
		struct object object;
		uint64_t refcount;

		/* without memory it is not tracked, and stays */
		if (!object_get(view, block, &object))
			continue;
		refcount = field_load(view->python->memory.layout, object.bytes,
				      FIELD_OBJECT_REFCOUNT);
		reading->cycles->refcounts[i] = (uint32_t)MIN(refcount, UINT32_MAX);
		if (!is_tracked(view, block, &object))
			continue;
		reading->cycles->facts[i] = COLLECTOR_TRACKED;
		if (finalizers_has(reading->finalizers, &object))
			reading->cycles->facts[i] |= COLLECTOR_LEGACY;
	}
}

/* Takes the objects that gc.freeze() has put aside out of the collection. */
static void leave_frozen(const struct reading *reading)
{
	const struct python *python = reading->view->python;
	uint32_t size = layout_offset(&python->layout, SIZE_GC_HEAD);

	for (uint32_t i = 0; i < python->interpreters.count; i++) {
		struct gc_state gc;
		vaddr head;

		if (!gc_read(python, i, &gc) || !gc.permanent_objects)
			continue;
		head = gc.permanent;
		for (uint64_t j = 0; j < gc.permanent_objects; j++) {
			object_id id;

			head = gc_head_next(&python->memory, head);
			id = graph_find(reading->graph, reading->view->map, head + size);
			if (id != OBJECT_NONE)
				reading->cycles->facts[id] = 0;
		}
	}
}

struct memheap_error *cycles_find(struct cycles *ret, const struct graph *graph,
				  const struct heap_view *view, const struct parallel *parallel)
{
	struct finalizers finalizers = { 0 };
	struct reading reading = { ret, graph, view, &finalizers };

	if (view->python->free_threaded)
		return error_hint(
			error_create(MEMHEAP_NOT_PYTHON,
				     "what gc.collect() would free in a free-threaded build is "
				     "not known: references are counted outside of objects too"),
			"refs, referrers, path and objects --refs are");
	*ret = (struct cycles){
		.refcounts = calloc((size_t)graph->count + 1, sizeof(*ret->refcounts)),
		.facts = calloc((size_t)graph->count + 1, sizeof(*ret->facts)),
	};
	if (!finalizers_find(&finalizers, graph, view) || !ret->refcounts || !ret->facts) {
		finalizers_deinit(&finalizers);
		return &error_no_memory;
	}
	parallel_for(parallel, "reading refcounts", graph->count, GRAIN, read_facts, &reading);
	finalizers_deinit(&finalizers);
	leave_frozen(&reading);
	return cycles_decide(ret, graph) ? NULL : &error_no_memory;
}

void cycles_deinit(struct cycles *cycles)
{
	free(cycles->refcounts);
	free(cycles->facts);
	free(cycles->fates);
	*cycles = (struct cycles){ 0 };
}

bool cycle_search_init(struct cycle_search *search, const struct graph *graph,
		       const struct cycles *cycles)
{
	size_t bytes = ((size_t)graph->count + 1) * sizeof(object_id);

	*search = (struct cycle_search){
		.graph = graph,
		.cycles = cycles,
		.from = malloc(bytes),
		.queue = malloc(bytes),
		.path = malloc(bytes),
	};
	if (!search->from || !search->queue || !search->path)
		return false;
	memset(search->from, 0xFF, bytes);
	return true;
}

void cycle_search_deinit(struct cycle_search *search)
{
	free(search->from);
	free(search->queue);
	free(search->path);
	*search = (struct cycle_search){ 0 };
}

/* Forgets the `count` objects that were seen. */
static void forget(struct cycle_search *search, size_t count)
{
	for (size_t i = 0; i < count; i++)
		search->from[search->queue[i]] = OBJECT_NONE;
}

static bool is_collected_edge(const struct cycle_search *search, edge_word edge)
{
	return edge_kind(edge) == REFERENCE_STRONG &&
	       search->cycles->fates[edge_id(edge)] == FATE_COLLECTED;
}

/* Writes down the way from `start` to `last`. */
static void take_path(struct cycle_search *search, object_id start, object_id last)
{
	size_t length = 1, i;

	for (object_id at = last; at != start; at = search->from[at])
		length++;
	i = search->length = length;
	for (object_id at = last; i; at = search->from[at])
		search->path[--i] = at;
}

/* The shortest way from `start` back to it. */
static bool find_through(struct cycle_search *search, object_id start)
{
	const struct edges *out = &search->graph->out;
	size_t count = 0, done = 0;
	bool found = false;

	search->queue[count++] = start;
	search->from[start] = start;
	while (done < count && !found) {
		object_id at = search->queue[done++];

		for (uint32_t i = out->first[at]; i < out->first[at + 1] && !found; i++) {
			object_id to = edge_id(out->to[i]);

			if (!is_collected_edge(search, out->to[i]))
				continue;
			found = to == start;
			if (found)
				take_path(search, start, at);
			if (search->from[to] != OBJECT_NONE)
				continue;
			search->from[to] = at;
			search->queue[count++] = to;
		}
	}
	forget(search, count);
	return found;
}

/* Goes back from holder to holder until one comes again: that is on a cycle. Each object that would
 * be collected has such a holder: its refcount counts only those. */
static object_id find_holder(struct cycle_search *search, object_id at)
{
	const struct edges *in = &search->graph->in;
	size_t count = 0;

	while (at != OBJECT_NONE && search->from[at] == OBJECT_NONE) {
		object_id holder = OBJECT_NONE;

		search->from[at] = at;
		search->queue[count++] = at;
		for (uint32_t i = in->first[at]; i < in->first[at + 1]; i++) {
			if (is_collected_edge(search, in->to[i])) {
				holder = edge_id(in->to[i]);
				break;
			}
		}
		at = holder;
	}
	forget(search, count);
	return at;
}

bool cycle_search_run(struct cycle_search *search, object_id id)
{
	if (find_through(search, id))
		return true;
	id = find_holder(search, id);
	return id != OBJECT_NONE && find_through(search, id);
}
