/* SPDX-License-Identifier: MIT */
/* retained: what would be freed with each object, and with all of a type, module or thread. */
#include <fnmatch.h>
#include <stdlib.h>

#include "../base/cleanup.h"
#include "retained_tree.h"

#define OBJECTS_TOP 100 /* rows of objects, unless --limit says how many */

enum {
	TYPES_TYPE,
	TYPES_OBJECTS,
	TYPES_OCCUPIED,
	TYPES_RETAINED,
};

enum {
	OBJECTS_ADDRESS,
	OBJECTS_TYPE,
	OBJECTS_OCCUPIED,
	OBJECTS_RETAINED,
	OBJECTS_DOMINATOR,
	OBJECTS_ROOT,
};

enum {
	HELD_BY,
	HELD_OBJECTS,
	HELD_OCCUPIED,
};

static const struct memheap_column types_columns[] = {
	[TYPES_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "module.qualname; built-in types bare" },
	[TYPES_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT, "Live objects" },
	[TYPES_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,
			     "What they and the buffers that only they own take" },
	[TYPES_RETAINED] = { "retained_bytes", "RETAINED", MEMHEAP_BYTES,
			     "All that at least one of them retains, each byte counted once" },
};

static const struct memheap_table_shape retained_types_shape = {
	.key = "types",
	.title = "Retained by type",
	.doc = "Types of live objects, by what their objects retain",
	.columns = types_columns,
	.column_count = ARRAY_SIZE(types_columns),
};

static const struct memheap_column objects_columns[] = {
	[OBJECTS_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "id() of the object" },
	[OBJECTS_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "Its type" },
	[OBJECTS_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,
			       "What it and the buffers that only it owns take" },
	[OBJECTS_RETAINED] = { "retained_bytes", "RETAINED", MEMHEAP_BYTES,
			       "What would be freed with it: itself, and all that can be reached "
			       "only through it. What nothing leads to has only its own" },
	[OBJECTS_DOMINATOR] = { "dominator_address", "HELD BY", MEMHEAP_ADDRESS,
				"The nearest object that every way to it leads through, if any" },
	[OBJECTS_ROOT] = { "root", "ROOT", MEMHEAP_TEXT,
			   "If a root refers to it: the kind of the most certain one. Words of C "
			   "memory, which may be references, count only for what nothing else "
			   "leads to" },
};

static const struct memheap_table_shape retained_objects_shape = {
	.key = "objects",
	.title = "Objects that retain most",
	.doc = "The objects that retain most: 100, or as many as the limit says",
	.columns = objects_columns,
	.column_count = ARRAY_SIZE(objects_columns),
};

static const struct memheap_column held_columns[] = {
	[HELD_BY] = { "by", "BY", MEMHEAP_TEXT,
		      "roots: a way leads there; nothing: they are garbage, or held by memory that "
		      "memheap does not know" },
	[HELD_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT, "Objects" },
	[HELD_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,
			    "What they and the buffers that only they own take" },
};

static const struct memheap_table_shape held_shape = {
	.key = "held",
	.title = "What holds objects",
	.doc = "How many objects the roots hold, and how many nothing does",
	.columns = held_columns,
	.column_count = ARRAY_SIZE(held_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&retained_tree_shape,    &retained_threads_shape,
	&retained_modules_shape, &retained_types_shape,
	&retained_objects_shape, &held_shape,
	&completeness_shape,     &gaps_shape,
	&diagnostics_shape,      NULL,
};

struct work {
	struct memheap_report *report;
	const struct memheap_snapshot *s;
	const struct graph *graph;
	struct holders holders;
	struct type_retention *types;
	bool *wanted; /* types: by the query */
};

static uint32_t type_of(const struct work *work, object_id id)
{
	return graph_type(work->graph, &work->s->blocks, id);
}

static bool make_types(struct work *work)
{
	const struct type_table *types = &work->s->objects.types;
	const char *pattern = work->report->query.type;

	work->wanted = calloc(types->list.count + 1, sizeof(*work->wanted));
	work->types = retention_by_type(&work->holders.retention, work->graph, &work->holders.view);
	for (size_t i = 0; work->wanted && i < types->list.count; i++)
		work->wanted[i] = !pattern || !fnmatch(pattern, types->list.items[i].name, 0);
	return work->wanted && work->types;
}

static int compare_types(const void *a, const void *b, void *closure)
{
	const struct type_retention *types = closure;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	if (types[left].retained != types[right].retained)
		return types[left].retained > types[right].retained ? -1 : 1;
	return left < right ? -1 : left > right;
}

static void add_type_rows(struct work *work)
{
	const struct type_table *types = &work->s->objects.types;
	uint32_t count = 0;

	_cleanup_free_ uint32_t *order = calloc(types->list.count + 1, sizeof(*order));
	if (!order) {
		work->report->failed = true;
		return;
	}
	for (uint32_t i = 0; i < types->list.count; i++) {
		if (work->types[i].objects && work->wanted[i])
			order[count++] = i;
	}
	qsort_r(order, count, sizeof(*order), compare_types, work->types);
	for (uint32_t i = 0; i < count; i++) {
		const struct type_retention *sums = &work->types[order[i]];
		struct memheap_cell *row = report_row(work->report, &retained_types_shape);

		row[TYPES_TYPE] = cell_text(types->list.items[order[i]].name);
		row[TYPES_OBJECTS] = cell_number(sums->objects);
		row[TYPES_OCCUPIED] = cell_number(sums->occupied);
		row[TYPES_RETAINED] = cell_number(sums->retained);
	}
}

static int compare_objects(const void *a, const void *b, void *closure)
{
	const uint64_t *retained = closure;
	object_id left = *(const object_id *)a, right = *(const object_id *)b;

	if (retained[left] != retained[right])
		return retained[left] > retained[right] ? -1 : 1;
	return left < right ? -1 : left > right;
}

static void add_object_row(struct work *work, object_id id)
{
	const struct heap_view view = { &work->s->objects, &work->s->blocks, &work->s->python };
	struct memheap_cell *row = report_row(work->report, &retained_objects_shape);
	object_id above = work->holders.retention.dominators[id];
	struct object object;

	row[OBJECTS_OCCUPIED] = cell_number(work->holders.retention.sizes[id]);
	row[OBJECTS_RETAINED] = cell_number(work->holders.retention.retained[id]);
	if (work->holders.retention.root_kinds[id])
		row[OBJECTS_ROOT] =
			cell_text(root_kind_name(work->holders.retention.root_kinds[id] - 1));
	row[OBJECTS_TYPE] = cell_text(work->s->objects.types.list.items[type_of(work, id)].name);
	if (object_get(&view, work->graph->blocks[id], &object))
		row[OBJECTS_ADDRESS] = cell_number(object.at);
	if (above < work->graph->count && object_get(&view, work->graph->blocks[above], &object))
		row[OBJECTS_DOMINATOR] = cell_number(object.at);
}

/* Collects twice as many as are wanted, then drops the lesser half, again and again. */
static void add_object_rows(struct work *work)
{
	uint64_t limit = query_examples(&work->report->query, OBJECTS_TOP);
	size_t wanted = (size_t)MIN(limit, work->graph->count), count = 0;

	_cleanup_free_ object_id *top = calloc(2 * wanted + 1, sizeof(*top));
	if (!top) {
		work->report->failed = true;
		return;
	}
	for (object_id i = 0; i < work->graph->count; i++) {
		if (!work->wanted[type_of(work, i)])
			continue;
		top[count++] = i;
		if (count <= 2 * wanted)
			continue;
		qsort_r(top, count, sizeof(*top), compare_objects,
			work->holders.retention.retained);
		count = wanted;
	}
	qsort_r(top, count, sizeof(*top), compare_objects, work->holders.retention.retained);
	for (size_t i = 0; i < MIN(count, wanted); i++)
		add_object_row(work, top[i]);
}

static void add_held(struct work *work)
{
	static const char *const names[] = { "roots", "nothing" };
	uint64_t objects[2] = { 0 }, bytes[2] = { 0 };

	for (object_id i = 0; i < work->graph->count; i++) {
		bool lost = work->holders.retention.dominators[i] == OBJECT_NONE;

		objects[lost]++;
		bytes[lost] += work->holders.retention.sizes[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct memheap_cell *row = report_row(work->report, &held_shape);

		row[HELD_BY] = cell_text(names[i]);
		row[HELD_OBJECTS] = cell_number(objects[i]);
		row[HELD_OCCUPIED] = cell_number(bytes[i]);
	}
}

static void free_work(struct work *work)
{
	holders_deinit(&work->holders);
	free(work->types);
	free(work->wanted);
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	_cleanup_(free_work) struct work work = { .report = report, .s = s, .graph = &s->graph };
	struct memheap_error *error = holders_find(&work.holders, report);

	if (!error)
		error = add_retained_tree(report, &work.holders);
	if (error)
		return error;
	if (!make_types(&work))
		return &error_no_memory;
	add_retained_threads(report, &work.holders);
	add_retained_modules(report, &work.holders);
	add_type_rows(&work);
	add_object_rows(&work);
	add_held(&work);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_retained = {
	.shape = {
		.name = "retained",
		.schema = "memheap.retained",
		.schema_version = "1.0",
		.title = "What objects and types retain",
		.tables = tables,
		.main_table = "types",
		.needs = MEMHEAP_GRAPH,
	},
	.build = build,
};
