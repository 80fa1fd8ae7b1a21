/* SPDX-License-Identifier: MIT */
/* cycles: what gc.collect() would free, without collecting. */
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../graph/cycles.h"
#include "../graph/names.h"
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
				"tp_del, or such an object leads to them" },
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

enum { TYPES_TYPE, TYPES_OBJECTS, TYPES_SHALLOW };

static const struct memheap_column types_columns[] = {
	[TYPES_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "The type's name" },
	[TYPES_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT, "How many objects" },
	[TYPES_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
			    "What sys.getsizeof() would say of them" },
};

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

enum { OBJECTS_TYPE, OBJECTS_ADDRESS, OBJECTS_SHALLOW, OBJECTS_REFCOUNT, OBJECTS_CYCLE };

static const struct memheap_column objects_columns[] = {
	[OBJECTS_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "The object's type" },
	[OBJECTS_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "Where the object begins" },
	[OBJECTS_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
			      "What sys.getsizeof() would say of it" },
	[OBJECTS_REFCOUNT] = { "refcount", "REFCOUNT", MEMHEAP_COUNT, "PyObject.ob_refcnt" },
	[OBJECTS_CYCLE] = { "cycle", "CYCLE", MEMHEAP_TEXT,
			    "The shortest cycle through it; or one that holds it, if it is on "
			    "none: "
			    "type and name of each reference, the last of which leads to the "
			    "first" },
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

/* The objects of one type and one fate. */
struct totals {
	const char *name;
	uint64_t objects, shallow;
	object_id example; /* the first one */
};

/* The analysis at work. */
struct work {
	struct memheap_report *report;
	struct heap_view view;
	const struct graph *graph;
	struct cycles cycles;
	size_t type_count;
	struct totals *totals;  /* by fate, then type */
	struct totals *garbage; /* by type: what is in gc.garbage */
};

/* The totals of type `type`, with one more object. */
static void count_object(struct totals *totals, const struct work *work, object_id id)
{
	const struct memheap_snapshot *s = work->report->snapshot;
	struct object_info info;

	if (!objects_get(&s->objects, &s->blocks, &s->python, work->graph->blocks[id], &info))
		return;
	totals += info.type;
	if (!totals->objects++)
		totals->example = id;
	totals->name = s->objects.types.list.items[info.type].name;
	totals->shallow += info.shallow_bytes;
}

static int compare_names(const void *a, const void *b)
{
	const struct totals *left = a, *right = b;

	if (!left->objects || !right->objects)
		return left->objects ? -1 : right->objects != 0;
	return strcmp(left->name, right->name);
}

static int compare_sizes(const void *a, const void *b)
{
	const struct totals *left = a, *right = b;

	if (left->shallow != right->shallow)
		return left->shallow > right->shallow ? -1 : 1;
	return strcmp(left->name, right->name);
}

/* Makes one of types of the same name, puts the largest first, and returns their number. */
static size_t merge_names(struct totals *totals, size_t count)
{
	size_t kept = 0;

	qsort(totals, count, sizeof(*totals), compare_names);
	for (size_t i = 0; i < count && totals[i].objects; i++) {
		if (kept && !strcmp(totals[kept - 1].name, totals[i].name)) {
			totals[kept - 1].objects += totals[i].objects;
			totals[kept - 1].shallow += totals[i].shallow;
			totals[kept - 1].example = MIN(totals[kept - 1].example, totals[i].example);
		} else {
			totals[kept++] = totals[i];
		}
	}
	qsort(totals, kept, sizeof(*totals), compare_sizes);
	return kept;
}

/* Adds a row for each of the types, and returns the sum. */
static struct totals add_types_rows(struct memheap_report *report,
				    const struct memheap_table_shape *shape,
				    const struct totals *totals, size_t count)
{
	struct totals sum = { 0 };

	for (size_t i = 0; i < count; i++) {
		struct memheap_cell *row = report_row(report, shape);

		row[TYPES_TYPE] = cell_text(totals[i].name);
		row[TYPES_OBJECTS] = cell_number(totals[i].objects);
		row[TYPES_SHALLOW] = cell_number(totals[i].shallow);
		sum.objects += totals[i].objects;
		sum.shallow += totals[i].shallow;
	}
	return sum;
}

/* A reference that is looked for. */
struct wanted {
	block_id to;
	bool found;
	struct reference reference;
};

static void compare_reference(void *closure, block_id to, const struct reference *reference)
{
	struct wanted *wanted = closure;

	if (wanted->found || to != wanted->to || reference->kind != REFERENCE_STRONG)
		return;
	wanted->found = true;
	wanted->reference = *reference;
}

/* "list [0]": the type of `from`, and what it calls `to`. */
static const char *name_step(const struct work *work, object_id from, object_id to)
{
	struct memheap_report *report = work->report;
	struct wanted wanted = { .to = work->graph->blocks[to] };
	struct object object;
	const char *name = NULL;

	if (!object_get(&work->view, work->graph->blocks[from], &object))
		return "?";
	references_visit(&work->view, &object, compare_reference, &wanted);
	if (wanted.found)
		name = reference_name(&work->view, &wanted.reference, report->query.values,
				      &report->strings);
	return report_text(report, "%s %s", object.type->name, name ? name : "?");
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

static void add_examples(const struct work *work, const struct totals *totals, size_t count)
{
	const struct memheap_snapshot *s = work->report->snapshot;
	struct cycle_search search;

	if (!cycle_search_init(&search, work->graph, &work->cycles)) {
		work->report->failed = true;
		count = 0;
	}
	for (size_t i = 0; i < MIN(count, EXAMPLES_MAX); i++) {
		struct memheap_cell *row = report_row(work->report, &objects_shape);
		struct object_info info;

		if (!objects_get(&s->objects, &s->blocks, &s->python,
				 work->graph->blocks[totals[i].example], &info))
			continue;
		row[OBJECTS_TYPE] = cell_text(totals[i].name);
		row[OBJECTS_ADDRESS] = cell_number(info.at);
		row[OBJECTS_SHALLOW] = cell_number(info.shallow_bytes);
		row[OBJECTS_REFCOUNT] = cell_number(info.refcount);
		if (cycle_search_run(&search, totals[i].example))
			row[OBJECTS_CYCLE] = cell_text(draw_cycle(work, &search));
	}
	cycle_search_deinit(&search);
}

/* Counts what is in the gc.garbage of each interpreter; false when nothing tells where that is. */
static bool count_garbage(const struct work *work)
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
			count_object(work->garbage, work, edge_id(out->to[j]));
	}
	return known;
}

static struct totals add_fate(const struct work *work, enum fate fate,
			      const struct memheap_table_shape *shape)
{
	struct totals *totals = &work->totals[fate * work->type_count];
	size_t count = merge_names(totals, work->type_count);

	if (fate == FATE_COLLECTED)
		add_examples(work, totals, count);
	return add_types_rows(work->report, shape, totals, count);
}

static void add_tables(const struct work *work)
{
	struct memheap_report *report = work->report;
	struct totals collected, along, uncollectable, garbage;
	struct memheap_cell *row;
	bool knows_garbage;

	for (object_id id = 0; id < work->graph->count; id++) {
		enum fate fate = work->cycles.fates[id];

		if (fate != FATE_STAYS)
			count_object(&work->totals[fate * work->type_count], work, id);
	}
	knows_garbage = count_garbage(work);
	collected = add_fate(work, FATE_COLLECTED, &collected_shape);
	along = add_fate(work, FATE_FREED_ALONG, &along_shape);
	uncollectable = add_fate(work, FATE_UNCOLLECTABLE, &uncollectable_shape);
	garbage = add_types_rows(report, &garbage_shape, work->garbage,
				 merge_names(work->garbage, work->type_count));
	row = report_row(report, &sum_shape);
	row[SUM_OBJECTS] = cell_number(collected.objects);
	row[SUM_SHALLOW] = cell_number(collected.shallow);
	row[SUM_ALONG_OBJECTS] = cell_number(along.objects);
	row[SUM_ALONG_SHALLOW] = cell_number(along.shallow);
	row[SUM_UNCOLLECTABLE] = cell_number(uncollectable.objects);
	if (knows_garbage)
		row[SUM_GARBAGE] = cell_number(garbage.objects);
}

static void add_graph_gaps(const struct work *work)
{
	struct gap *gaps = work->report->gaps.kinds;

	gaps[GAP_REFERENCES_OVERRUN].count += work->cycles.overrun;
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	size_t type_count = s->objects.types.list.count;
	_cleanup_free_ struct totals *totals = calloc(FATES * type_count + 1, sizeof(*totals));
	_cleanup_free_ struct totals *garbage = calloc(type_count + 1, sizeof(*garbage));
	struct work work = {
		.report = report,
		.view = { &s->objects, &s->blocks, &s->python },
		.graph = &s->graph,
		.type_count = type_count,
		.totals = totals,
		.garbage = garbage,
	};
	struct memheap_error *error = &error_no_memory;

	if (totals && garbage)
		error = cycles_find(&work.cycles, work.graph, &work.view, &s->parallel);
	if (!error) {
		add_tables(&work);
		add_graph_gaps(&work);
		add_completeness(report);
		add_gaps(report);
		add_diagnostics(report);
	}
	cycles_deinit(&work.cycles);
	return error;
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
