/* SPDX-License-Identifier: MIT */
/* cycles: what gc.collect() would free, without collecting. */
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../graph/cycles.h"
#include "../graph/names.h"
#include "by_type.h"
#include "sections.h"

#define EXAMPLES_MAX 20 /* types with an example */
#define STEPS_MAX    8  /* of a cycle that are drawn */

enum {
	SUM_OBJECTS,
	SUM_SHALLOW,
	SUM_ALONG_OBJECTS,
	SUM_ALONG_SHALLOW,
	SUM_UNCOLLECTABLE,
	SUM_GARBAGE,
};

static const struct memheap_column sum_columns[] = {
	[SUM_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT,
			  "Objects that the garbage collector would find unreachable and free" },
	[SUM_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
			  "What sys.getsizeof() would say of them" },
	[SUM_ALONG_OBJECTS] = { "freed_along_objects", "FREED ALONG", MEMHEAP_COUNT,
				"Objects that only those hold, and that go with them" },
	[SUM_ALONG_SHALLOW] = { "freed_along_bytes", "FREED ALONG BYTES", MEMHEAP_BYTES,
				"What sys.getsizeof() would say of these" },
	[SUM_UNCOLLECTABLE] = { "uncollectable_objects", "UNCOLLECTABLE", MEMHEAP_COUNT,
				"Unreachable objects that it would not free: their type has "
				"tp_del (in 2.7: they have __del__), or such an object leads to "
				"them" },
	[SUM_GARBAGE] = { "garbage_objects", "GARBAGE", MEMHEAP_COUNT,
			  "len(gc.garbage), of all interpreters; absent where nothing tells "
			  "where that is" },
};

static const struct memheap_table_shape sum_shape = {
	.key = "cycles",
	.title = "Unreachable cycles",
	.flags = MEMHEAP_RECORD,
	.doc = "What gc.collect() would do, if no finalizer and no callback of a weak reference "
	       "brings anything back to life",
	.columns = sum_columns,
	.column_count = ARRAY_SIZE(sum_columns),
};

static const struct memheap_column types_columns[] = { BY_TYPE_COLUMNS_OF("How many objects") };

#define TYPES_TABLE(name, key_, title_, doc_)              \
	static const struct memheap_table_shape name = {   \
		.key = (key_),                             \
		.title = (title_),                         \
		.doc = (doc_),                             \
		.columns = types_columns,                  \
		.column_count = ARRAY_SIZE(types_columns), \
	}

TYPES_TABLE(collected_shape, "types", "Freed by the collector",
	    "Objects that gc.collect() would find unreachable and free, by type");
TYPES_TABLE(along_shape, "freed_along", "Freed along with them",
	    "Objects whose last references are in those, by type");
TYPES_TABLE(uncollectable_shape, "uncollectable", "Uncollectable",
	    "Unreachable objects that gc.collect() would not free, by type");
TYPES_TABLE(garbage_shape, "garbage", "In gc.garbage", "What is in gc.garbage, by type");

enum { OBJECTS_CYCLE = EXAMPLE_COLUMNS };

static const struct memheap_column objects_columns[] = {
	EXAMPLE_COLUMNS_OF_OBJECT,
	[OBJECTS_CYCLE] = { "cycle", "CYCLE", MEMHEAP_TEXT,
			    "The shortest cycle through it; or one that holds it, if it is on "
			    "none: "
			    "type and name of each reference, the last of which leads to the "
			    "first. Empty where nothing refers to it any more: functions and the "
			    "like in free-threaded builds, where the collector frees them" },
};

static const struct memheap_table_shape objects_shape = {
	.key = "objects",
	.title = "Examples",
	.doc = "One object of each of the largest types that would be freed, with a cycle",
	.columns = objects_columns,
	.column_count = ARRAY_SIZE(objects_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&sum_shape,           &collected_shape,
	&objects_shape,       &along_shape,
	&uncollectable_shape, &garbage_shape,
	&completeness_shape,  &gaps_shape,
	&diagnostics_shape,   NULL,
};

enum { OTHER_EXAMPLE }; /* what is kept by type: the first object */

/* The analysis at work. */
struct work {
	struct memheap_report *report;
	struct heap_view view;
	const struct graph *graph;
	struct cycles cycles;
	struct by_type fates[FATES];
	struct by_type garbage; /* what is in gc.garbage */
};

/* "list [0]": the type of `from`, and what it calls `to`. */
static const char *name_step(const struct work *work, object_id from, object_id to)
{
	struct memheap_report *report = work->report;
	const struct type_table *types = &report->snapshot->objects.types;
	const char *name =
		step_name(&work->view, work->graph->blocks[from], work->graph->blocks[to],
			  report->query.values, &report->strings);

	return report_text(report, "%s %s",
			   types->list.items[graph_type(work->graph, work->view.map, from)].name,
			   name ? name : "?");
}

static const char *draw_cycle(const struct work *work, const struct cycle_search *search)
{
	size_t shown = MIN(search->length, STEPS_MAX);
	const char *text = "";

	for (size_t i = 0; i < shown && text; i++) {
		const char *step =
			name_step(work, search->path[i], search->path[(i + 1) % search->length]);

		if (!step)
			return NULL;
		text = report_text(work->report, "%s%s → ", text, step);
	}
	if (!text)
		return NULL;
	if (shown < search->length)
		return report_text(work->report, "%s%zu more → the first", text,
				   search->length - shown);
	return report_text(work->report, "%sthe first", text);
}

static void add_examples(const struct work *work)
{
	const struct by_type *types = &work->fates[FATE_COLLECTED];
	struct cycle_search search;

	if (!cycle_search_init(&search, work->graph, &work->cycles))
		work->report->failed = true;
	for (size_t i = 0; i < MIN(types->count, EXAMPLES_MAX) && !work->report->failed; i++) {
		const struct type_sum *sum = &types->sums[types->order[i]];
		object_id id = (object_id)sum->other[OTHER_EXAMPLE];
		struct memheap_cell *row;

		/* types without objects come last */
		if (!sum->objects)
			break;
		row = example_row(work->report, &objects_shape, id);
		if (cycle_search_run(&search, id))
			row[OBJECTS_CYCLE] = cell_text(draw_cycle(work, &search));
	}
	cycle_search_deinit(&search);
}

/* Counts what is in the gc.garbage of each interpreter; false when nothing tells where that is. */
static bool count_garbage(struct work *work)
{
	const struct python *python = &work->report->snapshot->python;
	vaddr before = 0;
	bool known = false;

	for (uint32_t i = 0; i < python->interpreters.count; i++) {
		const struct edges *out = &work->graph->out;
		struct gc_state gc;
		object_id id;

		if (!gc_read(python, i, &gc))
			continue;
		known |= gc.knows_garbage;
		/* one list for all interpreters up to 3.8 */
		if (!gc.garbage_list || gc.garbage_list == before)
			continue;
		before = gc.garbage_list;
		id = graph_find(work->graph, work->view.map, gc.garbage_list);
		if (id == OBJECT_NONE)
			continue;
		for (uint32_t j = out->first[id]; j < out->first[id + 1]; j++)
			by_type_count(&work->garbage, edge_id(out->to[j]));
	}
	return known;
}

static void count_fates(struct work *work)
{
	for (object_id id = 0; id < work->graph->count; id++) {
		enum fate fate = work->cycles.fates[id];
		struct type_sum *sum;

		if (fate == FATE_STAYS)
			continue;
		sum = by_type_count(&work->fates[fate], id);
		if (sum->objects == 1)
			sum->other[OTHER_EXAMPLE] = id;
	}
}

static struct type_sum add_fate(struct work *work, enum fate fate,
				const struct memheap_table_shape *shape)
{
	return by_type_rows(&work->fates[fate], work->report, shape, NULL, NULL);
}

static void add_tables(struct work *work)
{
	struct type_sum collected, along, uncollectable, garbage;
	struct memheap_cell *row;
	bool knows_garbage;

	count_fates(work);
	knows_garbage = count_garbage(work);
	collected = add_fate(work, FATE_COLLECTED, &collected_shape);
	along = add_fate(work, FATE_FREED_ALONG, &along_shape);
	uncollectable = add_fate(work, FATE_UNCOLLECTABLE, &uncollectable_shape);
	garbage = by_type_rows(&work->garbage, work->report, &garbage_shape, NULL, NULL);
	add_examples(work);
	row = report_row(work->report, &sum_shape);
	row[SUM_OBJECTS] = cell_number(collected.objects);
	row[SUM_SHALLOW] = cell_number(collected.shallow);
	row[SUM_ALONG_OBJECTS] = cell_number(along.objects);
	row[SUM_ALONG_SHALLOW] = cell_number(along.shallow);
	row[SUM_UNCOLLECTABLE] = cell_number(uncollectable.objects);
	if (knows_garbage)
		row[SUM_GARBAGE] = cell_number(garbage.objects);
}

static bool make_sums(struct work *work)
{
	bool made = by_type_init(&work->garbage, work->report);

	for (int i = 0; i < FATES; i++)
		made &= by_type_init(&work->fates[i], work->report);
	return made;
}

static void free_work(struct work *work)
{
	cycles_deinit(&work->cycles);
	by_type_deinit(&work->garbage);
	for (int i = 0; i < FATES; i++)
		by_type_deinit(&work->fates[i]);
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	_cleanup_(free_work) struct work work = {
		.report = report,
		.view = { &s->objects, &s->blocks, &s->python },
		.graph = &s->graph,
	};
	struct memheap_error *error =
		cycles_find(&work.cycles, work.graph, &work.view, &s->parallel);

	if (error)
		return error;
	if (!make_sums(&work))
		return &error_no_memory;
	add_tables(&work);
	report->gaps.kinds[GAP_REFERENCES_OVERRUN].count += work.cycles.overrun;
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_cycles = {
	.shape = {
		.name = "cycles",
		.schema = "memheap.cycles",
		.schema_version = "1.0",
		.title = "What gc.collect() would free",
		.tables = tables,
		.main_table = "types",
		.needs = MEMHEAP_GRAPH,
	},
	.build = build,
};
