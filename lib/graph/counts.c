/* SPDX-License-Identifier: MIT */
#include "counts.h"

#include "../base/cleanup.h"
#include "../cpython/counted.h"
#include "../cpython/delayed.h"
#include "../cpython/frame_list.h"
#include "../cpython/refcount.h"

#define GRAIN 4096

struct reading {
	uint32_t *counts;
	const struct graph *graph;
	const struct heap_view *view;
};

static void read_counts(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct reading *reading = context;
	const struct python *python = reading->view->python;
	const struct layout *layout = &python->layout;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		uint32_t *count = &reading->counts[i];
		struct object object;

		*count = COUNT_IMMORTAL;
		if (!object_get(reading->view, reading->graph->blocks[i], &object) ||
		    object_is_immortal(layout, object.bytes))
			continue;
		*count = (uint32_t)MIN(counted_references(python, &object), COUNT_IMMORTAL - 1);
		if (*count && object_is_queued(layout, object.bytes))
			--*count;
	}
}

static uint32_t *find_count(const struct reading *reading, vaddr at)
{
	object_id id = graph_find(reading->graph, reading->view->map, at);

	return id == OBJECT_NONE || reading->counts[id] == COUNT_IMMORTAL ? NULL
									  : &reading->counts[id];
}

/* A reference that waits to be given back: the collector does that before it counts. 3.14
 * Python/gc_free_threading.c, process_delayed_frees() */
static void give_back(void *closure, vaddr at, bool is_reference)
{
	uint32_t *count = is_reference ? find_count(closure, at) : NULL;

	if (count && *count)
		--*count;
}

static void add_uncounted(void *closure, const struct reference *reference)
{
	uint32_t *count = reference->uncounted ? find_count(closure, reference->to) : NULL;

	if (count)
		++*count;
}

/* 3.14 Python/gc_free_threading.c, gc_visit_thread_stacks() */
static void add_c_references(struct reading *reading, vaddr thread)
{
	const struct memory *memory = &reading->view->python->memory;
	_cleanup_(id_map_deinit) struct id_map met = { 0 };
	uint64_t at, word;

	if (!memory_field(memory, thread, FIELD_THREAD_C_REFERENCES, &at))
		return;
	while (at && id_map_meet(&met, at) && image_u64(memory->image, at, &word)) {
		const struct reference reference = frame_reference(memory->layout, word);

		add_uncounted(reading, &reference);
		if (!memory_field(memory, at, FIELD_C_REFERENCE_NEXT, &at))
			return;
	}
}

static bool add_threads(struct reading *reading)
{
	const struct python *python = reading->view->python;
	_cleanup_(frame_list_deinit) struct frame_list frames = { 0 };
	struct visitor visitor = {
		.memory = &python->memory,
		.see = add_uncounted,
		.closure = reading,
	};

	if (!frame_list_find(&frames, python))
		return false;
	for (size_t i = 0; i < frames.list.count; i++)
		frame_visit_inner(&visitor, frames.list.items[i].at, true);
	for (size_t i = 0; i < python->threads.count; i++)
		add_c_references(reading, python->threads.items[i].at);
	return true;
}

bool counts_read(uint32_t *counts, const struct graph *graph, const struct heap_view *view,
		 const struct parallel *parallel)
{
	struct reading reading = { counts, graph, view };

	parallel_for(parallel, "reading refcounts", graph->count, GRAIN, read_counts, &reading);
	delayed_each(view->python, give_back, &reading);
	for (size_t i = 0; i < graph->uncounted.count; i++) {
		uint32_t *count = &counts[graph->uncounted.items[i]];

		*count += *count != COUNT_IMMORTAL;
	}
	return !layout_has(&view->python->layout, FIELD_INNER_FRAME_STACK_POINTER) ||
	       add_threads(&reading);
}
