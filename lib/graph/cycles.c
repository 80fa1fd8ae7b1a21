/* SPDX-License-Identifier: MIT */
#include "cycles.h"

#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../cpython/frame_list.h"
#include "../cpython/gc.h"
#include "../cpython/gc_head.h"
#include "../cpython/refcount.h"
#include "counts.h"
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
	bool keep_deferred; /* objects with deferred counting stay */
};

static bool is_tracked(const struct reading *reading, block_id block, const struct object *object)
{
	const struct python *python = reading->view->python;
	const struct layout *layout = &python->layout;
	uint32_t size = layout_offset(layout, SIZE_GC_HEAD);

	/* objects in static data have no header, whatever their type says */
	if (!object->type->gc || block >= reading->view->map->first_static)
		return false;
	if (has_split_refcount(layout))
		return (field_load(layout, object->bytes, FIELD_OBJECT_GC_BITS) &
			(GC_BITS_TRACKED | GC_BITS_FROZEN)) == GC_BITS_TRACKED;
	return object->before >= size &&
	       gc_head_tracking(layout, object->bytes - size, python->collecting) == GC_TRACKED;
}

static void read_facts(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct reading *reading = context;
	const struct heap_view *view = reading->view;
	const struct layout *layout = &view->python->layout;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		block_id block = reading->graph->blocks[i];
		struct object object;

		/* without memory it is not tracked, and stays */
		if (!object_get(view, block, &object) || !is_tracked(reading, block, &object))
			continue;
		reading->cycles->facts[i] = COLLECTOR_TRACKED;
		if (finalizers_has(reading->finalizers, &object))
			reading->cycles->facts[i] |= COLLECTOR_LEGACY;
		if (has_split_refcount(layout) &&
		    field_load(layout, object.bytes, FIELD_OBJECT_GC_BITS) & GC_BITS_DEFERRED)
			reading->cycles->facts[i] |= COLLECTOR_DEFERRED;
		if (reading->keep_deferred && reading->cycles->facts[i] & COLLECTOR_DEFERRED)
			reading->cycles->refcounts[i] = COUNT_IMMORTAL;
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

/* What the collector ceases to track before it searches. */
struct untracking {
	const struct reading *reading;
	uint32_t tuple, dict; /* indices of types, or TYPE_NONE */
	bool tracked;         /* the object at work leads to what may be on a cycle */
};

/* 3.13 Include/internal/pycore_gc.h, _PyObject_GC_MAY_BE_TRACKED() */
static void see_item(void *closure, block_id to, const struct reference *reference)
{
	struct untracking *untracking = closure;
	const struct reading *reading = untracking->reading;
	const struct heap_view *view = reading->view;
	uint32_t type = tag_type(view->map->tags[to]);

	if (reference->step == STEP_MEMBER || !view->objects->types.list.items[type].gc ||
	    to >= view->map->first_static)
		return;
	untracking->tracked |= type != untracking->tuple ||
			       reading->cycles->facts[graph_object(reading->graph, to)];
}

/* Objects/tupleobject.c, _PyTuple_MaybeUntrack(); Objects/dictobject.c, _PyDict_MaybeUntrack() */
static void maybe_untrack(struct untracking *untracking, object_id id)
{
	const struct reading *reading = untracking->reading;
	block_id block = reading->graph->blocks[id];
	uint32_t type = graph_type(reading->graph, reading->view->map, id);
	uint8_t *facts = &reading->cycles->facts[id];
	struct object object;

	if (*facts != COLLECTOR_TRACKED || !reading->cycles->refcounts[id] ||
	    (type != untracking->tuple && type != untracking->dict))
		return;
	untracking->tracked = false;
	if (object_get(reading->view, block, &object) &&
	    references_visit(reading->view, &object, see_item, untracking) && !untracking->tracked)
		*facts = 0;
}

/* 3.14.0-3.14.4 Python/gc.c, gc_collect_full(): what is young, from the oldest on. */
static void untrack_young(struct untracking *untracking, uint32_t interpreter)
{
	const struct reading *reading = untracking->reading;
	const struct python *python = reading->view->python;
	uint32_t size = layout_offset(&python->layout, SIZE_GC_HEAD);
	struct gc_state gc;
	vaddr head;

	if (!gc_read(python, interpreter, &gc) || !gc.incremental)
		return;
	head = gc.generations[0].head;
	for (object_id i = 0; i < reading->graph->count; i++) {
		object_id id;

		head = gc_head_next(&python->memory, head);
		if (!head || head == gc.generations[0].head)
			break;
		id = graph_find(reading->graph, reading->view->map, head + size);
		if (id != OBJECT_NONE)
			maybe_untrack(untracking, id);
	}
}

/*
 * Some collectors untrack tuples of what is on no cycle before they search, not only those that are
 * reachable: they are freed along. Free-threaded ones do it while they go through the heaps, which
 * is in the order of objects. 3.13 Python/gc_free_threading.c, update_refs()
 */
static void leave_untracked(const struct reading *reading)
{
	const struct python *python = reading->view->python;
	const struct type_table *types = &reading->view->objects->types;
	struct untracking untracking = {
		.reading = reading,
		.tuple = type_find_static(types, "tuple"),
		.dict = layout_knows(&python->layout, CONSTANT_UNTRACKS_DICTS)
				? type_find_static(types, "dict")
				: TYPE_NONE,
	};

	if (has_split_refcount(&python->layout)) {
		for (object_id id = 0; id < reading->graph->count; id++)
			maybe_untrack(&untracking, id);
		return;
	}
	for (uint32_t i = 0; i < python->interpreters.count; i++)
		untrack_young(&untracking, i);
}

/* Whether a frame is being executed of which nobody knows how much of its stack is in use. The
 * collector then keeps what may be there uncounted. 3.14 Python/gc_free_threading.c,
 * gc_visit_thread_stacks(). False when out of memory. */
static bool find_unknown_stacks(const struct python *python, bool *ret)
{
	_cleanup_(frame_list_deinit) struct frame_list frames = { 0 };

	*ret = false;
	if (!layout_has(&python->layout, FIELD_INNER_FRAME_STACK_POINTER))
		return true;
	if (!frame_list_find(&frames, python))
		return false;
	for (size_t i = 0; i < frames.list.count && !*ret; i++) {
		uint64_t size;
		vaddr start;

		*ret = frame_unknown_stack(&python->memory, frames.list.items[i].at, &start, &size);
	}
	return true;
}

struct memheap_error *cycles_find(struct cycles *ret, const struct graph *graph,
				  const struct heap_view *view, const struct parallel *parallel)
{
	_cleanup_(finalizers_deinit) struct finalizers finalizers = { 0 };
	struct reading reading = { ret, graph, view, &finalizers, false };

	*ret = (struct cycles){
		.refcounts = calloc((size_t)graph->count + 1, sizeof(*ret->refcounts)),
		.facts = calloc((size_t)graph->count + 1, sizeof(*ret->facts)),
	};
	if (!finalizers_find(&finalizers, graph, view) || !ret->refcounts || !ret->facts ||
	    !counts_read(ret->refcounts, graph, view, parallel) ||
	    !find_unknown_stacks(view->python, &reading.keep_deferred))
		return &error_no_memory;
	parallel_for(parallel, "reading what the collector knows", graph->count, GRAIN, read_facts,
		     &reading);
	leave_frozen(&reading);
	leave_untracked(&reading);
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
