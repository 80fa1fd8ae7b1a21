/* SPDX-License-Identifier: MIT */
/* refs and referrers: what an object refers to, and what refers to it, with names. */
#include "../graph/names.h"
#include "sections.h"

enum {
	REFERENCES_NAME,
	REFERENCES_KIND,
	REFERENCES_ADDRESS,
	REFERENCES_TYPE,
	REFERENCES_SHALLOW,
	REFERENCES_REFCOUNT,
};

static const struct memheap_column references_columns[] = {
	[REFERENCES_NAME] = { "name", "NAME", MEMHEAP_TEXT,
			      "What the holder calls the reference: .attribute, [3], [\"key\"], "
			      "key, "
			      "local x; keys that are data are told by their type unless values "
			      "are "
			      "asked for" },
	[REFERENCES_KIND] = { "reference", "REFERENCE", MEMHEAP_TEXT,
			      "strong: gc.get_referents() tells of it; extra: held, but no "
			      "tp_traverse visits it; weak; conservative: a word that nobody "
			      "knows" },
	[REFERENCES_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS,
				 "The object at the other end" },
	[REFERENCES_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "Its type" },
	[REFERENCES_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
				 "What sys.getsizeof() would say of it" },
	[REFERENCES_REFCOUNT] = { "refcount", "REFCOUNT", MEMHEAP_COUNT, "Its PyObject.ob_refcnt" },
};

static const struct memheap_table_shape references_shape = {
	.key = "references",
	.title = "What it refers to",
	.doc = "One row for each reference",
	.columns = references_columns,
	.column_count = ARRAY_SIZE(references_columns),
};

static const struct memheap_table_shape referrers_shape = {
	.key = "referrers",
	.title = "What refers to it",
	.doc = "One row for each reference to the object, from any other",
	.columns = references_columns,
	.column_count = ARRAY_SIZE(references_columns),
};

static const struct memheap_table_shape *const refs_tables[] = {
	&references_shape, &completeness_shape, &gaps_shape, &diagnostics_shape, NULL,
};

static const struct memheap_table_shape *const referrers_tables[] = {
	&referrers_shape, &completeness_shape, &gaps_shape, &diagnostics_shape, NULL,
};

/* Rows being added. */
struct adding {
	struct memheap_report *report;
	const struct memheap_table_shape *shape;
	struct heap_view view;
	block_id holder; /* BLOCK_NONE: the other end is what is referred to */
	block_id wanted; /* with a holder: only references to this one */
};

static void add_row(void *closure, block_id to, const struct reference *reference)
{
	static const char *const kinds[REFERENCE_KINDS] = {
		[REFERENCE_STRONG] = "strong",
		[REFERENCE_EXTRA] = "extra",
		[REFERENCE_WEAK] = "weak",
		[REFERENCE_CONSERVATIVE] = "conservative",
	};
	const struct adding *adding = closure;
	const struct memheap_snapshot *s = adding->report->snapshot;
	struct memheap_cell *row;
	struct object_info info;
	const char *name;

	if (adding->holder != BLOCK_NONE && to != adding->wanted)
		return;
	if (!objects_get(&s->objects, &s->blocks, &s->python,
			 adding->holder == BLOCK_NONE ? to : adding->holder, &info))
		return;
	name = reference_name(&adding->view, reference, adding->report->query.values,
			      &adding->report->strings);
	row = report_row(adding->report, adding->shape);
	row[REFERENCES_NAME] = cell_text(name);
	row[REFERENCES_KIND] = cell_text(kinds[reference->kind]);
	row[REFERENCES_ADDRESS] = cell_number(info.at);
	row[REFERENCES_TYPE] = cell_text(s->objects.types.list.items[info.type].name);
	row[REFERENCES_SHALLOW] = cell_number(info.shallow_bytes);
	row[REFERENCES_REFCOUNT] = cell_number(info.refcount);
	adding->report->failed |= !name;
}

static struct adding make_adding(struct memheap_report *report,
				 const struct memheap_table_shape *shape)
{
	const struct memheap_snapshot *s = report->snapshot;

	return (struct adding){
		.report = report,
		.shape = shape,
		.view = { &s->objects, &s->blocks, &s->python },
		.holder = BLOCK_NONE,
		.wanted = BLOCK_NONE,
	};
}

static struct memheap_error *find_object(const struct memheap_report *report, block_id *ret)
{
	const struct memheap_snapshot *s = report->snapshot;

	*ret = object_find(&s->blocks, report->query.address);
	return *ret == BLOCK_NONE ? error_no_object(report) : NULL;
}

static void end_report(struct memheap_report *report)
{
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
}

static struct memheap_error *build_refs(struct memheap_report *report)
{
	struct adding adding = make_adding(report, &references_shape);
	struct memheap_error *error;
	struct object object;
	block_id id;

	error = find_object(report, &id);
	if (error)
		return error;
	if (!object_get(&adding.view, id, &object) ||
	    !references_visit(&adding.view, &object, add_row, &adding))
		report->gaps.kinds[GAP_REFERENCES_UNREADABLE].count++;
	end_report(report);
	return NULL;
}

static struct memheap_error *build_referrers(struct memheap_report *report)
{
	const struct graph *graph = &report->snapshot->graph;
	struct adding adding = make_adding(report, &referrers_shape);
	struct memheap_error *error = find_object(report, &adding.wanted);
	object_id id, before = OBJECT_NONE;

	if (error)
		return error;
	id = graph_object(graph, adding.wanted);
	for (uint32_t i = graph->in.first[id]; i < graph->in.first[id + 1]; i++) {
		object_id holder = edge_id(graph->in.to[i]);
		struct object object;

		/* an edge for each reference; all of one holder's lie side by side */
		if (holder == before)
			continue;
		before = holder;
		adding.holder = graph->blocks[holder];
		if (object_get(&adding.view, adding.holder, &object))
			references_visit(&adding.view, &object, add_row, &adding);
	}
	end_report(report);
	return NULL;
}

const struct analysis analysis_refs = {
	.shape = {
		.name = "refs",
		.schema = "memheap.refs",
		.schema_version = "1.0",
		.title = "What an object refers to",
		.tables = refs_tables,
		.main_table = "references",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build_refs,
};

const struct analysis analysis_referrers = {
	.shape = {
		.name = "referrers",
		.schema = "memheap.referrers",
		.schema_version = "1.0",
		.title = "What refers to an object",
		.tables = referrers_tables,
		.main_table = "referrers",
		.needs = MEMHEAP_GRAPH,
	},
	.build = build_referrers,
};
