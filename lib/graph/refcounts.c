/* SPDX-License-Identifier: MIT */
#include "refcounts.h"

#include <stdlib.h>

#include "interned.h"

#define GRAIN 4096
/* 3.11 Include/internal/pycore_object.h, _PyObject_IMMORTAL_REFCNT: what static objects begin with
 * that live forever, less what was taken from that */
#define STATIC_IMMORTAL_MIN 500000000
/* Include/cpython/unicodeobject.h, SSTATE_INTERNED_IMMORTAL */
#define INTERNED_FOR_EVER 2

struct counting {
	struct refcounts *refcounts;
	const struct graph *graph;
	const struct heap_view *view;
	uint32_t lru_element; /* index of the type functools._lru_list_elem, or TYPE_NONE */
};

/* Elements of functools.lru_cache: what they refer to its tp_traverse visits, too, for they are no
 * objects of the GC. Modules/_functoolsmodule.c, lru_cache_tp_traverse() */
static bool is_visited_by_another(const struct counting *counting, object_id id)
{
	return graph_type(counting->graph, counting->view->map, id) == counting->lru_element;
}

/* Counts the references of one object's holders. */
static void count_holders(const struct counting *counting, object_id id)
{
	const struct edges *in = &counting->graph->in;

	for (uint32_t i = in->first[id]; i < in->first[id + 1]; i++) {
		if (is_visited_by_another(counting, edge_id(in->to[i])))
			continue;
		switch (edge_kind(in->to[i])) {
		case REFERENCE_STRONG:
		case REFERENCE_EXTRA:
			counting->refcounts->known[id]++;
			break;
		case REFERENCE_CONSERVATIVE:
			counting->refcounts->words[id]++;
			break;
		case REFERENCE_WEAK:
		case REFERENCE_KINDS:
			break;
		}
	}
}

static void count_objects(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct counting *counting = context;
	block_id first_static = counting->view->map->first_static;
	struct refcounts *refcounts = counting->refcounts;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		block_id block = counting->graph->blocks[i];
		bool is_static = block >= first_static;

		if (is_static && refcounts->counts[i] >= STATIC_IMMORTAL_MIN)
			refcounts->counts[i] = COUNT_IMMORTAL;
		/* without memory nothing is said of it */
		if (refcounts->counts[i] == COUNT_IMMORTAL)
			continue;
		count_holders(counting, (object_id)i);
		/* 3.11 Include/object.h, PyObject_HEAD_INIT(): static objects begin with one
		 * reference that nobody has, so that they are never freed */
		refcounts->known[i] += is_static;
	}
}

/*
 * The references of a table of interned strings do not count: each str is there as value and as
 * key. One that is interned for ever has a reference that nobody holds in place of one of them.
 * 3.10 Objects/unicodeobject.c, PyUnicode_InternInPlace(), PyUnicode_InternImmortal()
 */
static void discount_interned(const struct counting *counting, object_id table)
{
	const struct edges *out = &counting->graph->out;

	for (uint32_t i = out->first[table]; i < out->first[table + 1]; i++) {
		object_id id = edge_id(out->to[i]);
		uint32_t *known = &counting->refcounts->known[id];
		uint64_t state = 0;
		struct object object;

		/* it stands there alone; others twice */
		if (is_deleted_key(counting->view, counting->graph, id))
			continue;
		i++;
		if (object_get(counting->view, counting->graph->blocks[id], &object))
			memory_field(&counting->view->python->memory, object.at, FIELD_STR_INTERNED,
				     &state);
		*known -= MIN(*known, state == INTERNED_FOR_EVER ? 1 : 2);
	}
}

/*
 * Counts what refers to objects from outside of the heap, each word once: sys.modules and the
 * like are words of the interpreter's state, too, and a static state lies in module data.
 */
static bool count_roots(const struct counting *counting, const struct roots *roots)
{
	struct id_map met = { 0 };
	bool stored = true;

	for (size_t i = 0; i < roots->list.count && stored; i++) {
		const struct root *root = &roots->list.items[i];

		switch ((enum root_kind)root->kind) {
		case ROOT_MODULES:
		case ROOT_INTERPRETER:
		case ROOT_STATIC:
			break;
		case ROOT_FRAME:
			counting->refcounts->known[root->object]++;
			break;
		case ROOT_REGISTER:
			counting->refcounts->words[root->object]++;
			break;
		default:
			if (id_map_find(&met, root->at) != ID_NONE)
				break;
			stored = id_map_put(&met, root->at, 0);
			if (!counting->refcounts->words[root->object]++ &&
			    is_interned_table(counting->view, counting->graph, root->object))
				discount_interned(counting, root->object);
		}
	}
	id_map_deinit(&met);
	return stored;
}

struct memheap_error *refcounts_find(struct refcounts *ret, const struct graph *graph,
				     const struct roots *roots, const struct heap_view *view,
				     const struct parallel *parallel)
{
	struct counting counting = { ret, graph, view, TYPE_NONE };
	const struct type_table *types = &view->objects->types;

	*ret = (struct refcounts){
		.counts = calloc((size_t)graph->count + 1, sizeof(*ret->counts)),
		.known = calloc((size_t)graph->count + 1, sizeof(*ret->known)),
		.words = calloc((size_t)graph->count + 1, sizeof(*ret->words)),
	};
	if (!ret->counts || !ret->known || !ret->words ||
	    !counts_read(ret->counts, graph, view, parallel))
		return &error_no_memory;
	for (uint32_t i = 0; i < types->list.count; i++) {
		if (!strcmp(types->list.items[i].name, "functools._lru_list_elem"))
			counting.lru_element = i;
	}
	parallel_for(parallel, "counting references", graph->count, GRAIN, count_objects,
		     &counting);
	return count_roots(&counting, roots) ? NULL : &error_no_memory;
}

void refcounts_deinit(struct refcounts *refcounts)
{
	free(refcounts->counts);
	free(refcounts->known);
	free(refcounts->words);
	*refcounts = (struct refcounts){ 0 };
}
