/* SPDX-License-Identifier: MIT */
/* refcounts: objects with more references than holders. */
#include "../graph/refcounts.h"
#include "../base/cleanup.h"
#include "by_type.h"
#include "sections.h"

enum { SUM_OBJECTS, SUM_LOST_REFERENCES, SUM_SHALLOW, SUM_UNSURE, SUM_AUDITED, SUM_IMMORTAL };

static const struct memheap_column sum_columns[] = {
	[SUM_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT,
			  "Objects with more references than holders" },
	[SUM_LOST_REFERENCES] = { "lost_references", "LOST REFERENCES", MEMHEAP_COUNT,
				  "How many more, together" },
	[SUM_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
			  "What sys.getsizeof() would say of these objects" },
	[SUM_UNSURE] = { "unsure_objects", "UNSURE", MEMHEAP_COUNT,
			 "Objects whose references can all be found only if words that nobody "
			 "knows are some of them: words of C stacks, registers, C memory, … These "
			 "are mostly right" },
	[SUM_AUDITED] = { "audited_objects", "AUDITED", MEMHEAP_COUNT,
			  "Objects whose references are counted" },
	[SUM_IMMORTAL] = { "immortal_objects", "IMMORTAL", MEMHEAP_COUNT,
			   "Objects that do not count their references (3.12 and later), and those "
			   "that could not be read: nothing is said of them" },
};

static const struct memheap_table_shape sum_shape = {
	.key = "refcounts",
	.title = "Audit of reference counts",
	.flags = MEMHEAP_RECORD,
	.doc = "How many objects have more references than can be found in the process",
	.columns = sum_columns,
	.column_count = ARRAY_SIZE(sum_columns),
};

enum { TYPES_LOST = BY_TYPE_COLUMNS, TYPES_UNSURE };

static const struct memheap_column types_columns[] = {
	BY_TYPE_COLUMNS_OF("Objects with more references than holders"),
	[TYPES_LOST] = { "lost_references", "LOST REFERENCES", MEMHEAP_COUNT,
			 "How many more, together" },
	[TYPES_UNSURE] = { "unsure_objects", "UNSURE", MEMHEAP_COUNT,
			   "Objects of the type that may have such references, if words that "
			   "nobody knows are none" },
};

static const struct memheap_table_shape refcount_types_shape = {
	.key = "types",
	.title = "More references than holders",
	.doc = "Types of objects that have more references than can be found: some were never "
	       "given back",
	.columns = types_columns,
	.column_count = ARRAY_SIZE(types_columns),
};

enum { OBJECTS_KNOWN = EXAMPLE_COLUMNS, OBJECTS_WORDS, OBJECTS_LOST };

static const struct memheap_column objects_columns[] = {
	EXAMPLE_COLUMNS_OF_OBJECT,
	[OBJECTS_KNOWN] = { "known_references", "KNOWN", MEMHEAP_COUNT,
			    "References from objects and frames that count" },
	[OBJECTS_WORDS] = { "words", "WORDS", MEMHEAP_COUNT,
			    "Words elsewhere that hold its address: each may be one" },
	[OBJECTS_LOST] = { "lost_references", "LOST", MEMHEAP_COUNT, "References that nobody has" },
};

static const struct memheap_table_shape refcount_objects_shape = {
	.key = "objects",
	.title = "Examples",
	.doc = "Objects with more references than holders: 5 of each type and 100 at most, or as "
	       "many as the limit says",
	.columns = objects_columns,
	.column_count = ARRAY_SIZE(objects_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&sum_shape,
	&refcount_types_shape,
	&refcount_objects_shape,
	&completeness_shape,
	&gaps_shape,
	&diagnostics_shape,
	NULL,
};

enum { OTHER_LOST, OTHER_UNSURE }; /* what is counted besides, by type */

struct work {
	struct memheap_report *report;
	const struct memheap_snapshot *s;
	struct refcounts refcounts;
	struct by_type types;
	uint64_t audited, immortal;
};

static struct memheap_error *count_references(struct work *work)
{
	const struct memheap_snapshot *s = work->s;
	const struct heap_view view = { &s->objects, &s->blocks, &s->python };
	const struct root_sources sources = { &view, &s->modules, &s->stacks, &s->target.process };
	struct roots roots = { 0 };
	struct memheap_error *error = roots_find(&roots, &s->graph, &sources, &s->parallel);

	if (!error)
		error = refcounts_find(&work->refcounts, &s->graph, &roots, &view, &s->parallel);
	roots_deinit(&roots);
	return error;
}

static void count_objects(struct work *work)
{
	for (object_id id = 0; id < work->s->graph.count; id++) {
		switch (refcounts_verdict(&work->refcounts, id)) {
		case REFCOUNT_LOST:
			by_type_count(&work->types, id)->other[OTHER_LOST] +=
				refcounts_lost(&work->refcounts, id);
			break;
		case REFCOUNT_UNSURE:
			by_type_sum(&work->types, id)->other[OTHER_UNSURE]++;
			break;
		case REFCOUNT_RIGHT:
			break;
		}
		if (work->refcounts.counts[id] == COUNT_IMMORTAL)
			work->immortal++;
		else
			work->audited++;
	}
}

static void add_type_row(void *closure, struct memheap_cell *row, const struct type_sum *sum)
{
	(void)closure;
	row[TYPES_LOST] = cell_number(sum->other[OTHER_LOST]);
	row[TYPES_UNSURE] = cell_number(sum->other[OTHER_UNSURE]);
}

static void add_types_and_sum(struct work *work)
{
	const struct type_sum all =
		by_type_rows(&work->types, work->report, &refcount_types_shape, add_type_row, NULL);
	struct memheap_cell *row = report_row(work->report, &sum_shape);

	row[SUM_OBJECTS] = cell_number(all.objects);
	row[SUM_LOST_REFERENCES] = cell_number(all.other[OTHER_LOST]);
	row[SUM_SHALLOW] = cell_number(all.shallow);
	row[SUM_UNSURE] = cell_number(all.other[OTHER_UNSURE]);
	row[SUM_AUDITED] = cell_number(work->audited);
	row[SUM_IMMORTAL] = cell_number(work->immortal);
}

static bool is_lost(const void *closure, object_id id)
{
	const struct work *work = closure;

	return refcounts_lost(&work->refcounts, id);
}

static void add_object(void *closure, object_id id)
{
	struct work *work = closure;
	struct memheap_cell *row = example_row(work->report, &refcount_objects_shape, id);

	/* with references of frames that the object does not count */
	row[EXAMPLE_REFCOUNT] = cell_number(work->refcounts.counts[id]);
	row[OBJECTS_KNOWN] = cell_number(work->refcounts.known[id]);
	row[OBJECTS_WORDS] = cell_number(work->refcounts.words[id]);
	row[OBJECTS_LOST] = cell_number(refcounts_lost(&work->refcounts, id));
}

static void free_work(struct work *work)
{
	refcounts_deinit(&work->refcounts);
	by_type_deinit(&work->types);
}

static struct memheap_error *build(struct memheap_report *report)
{
	_cleanup_(free_work) struct work work = { .report = report, .s = report->snapshot };
	struct memheap_error *error = count_references(&work);

	if (error)
		return error;
	if (!by_type_init(&work.types, report))
		return &error_no_memory;
	count_objects(&work);
	add_types_and_sum(&work);
	if (!by_type_examples(&work.types, &report->query, is_lost, add_object, &work))
		return &error_no_memory;
	report->gaps.kinds[GAP_REFERENCES_UNREADABLE].count += work.s->graph.incomplete;
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_refcounts = {
	.shape = {
		.name = "refcounts",
		.schema = "memheap.refcounts",
		.schema_version = "1.0",
		.title = "Objects with more references than holders",
		.tables = tables,
		.main_table = "types",
		.needs = MEMHEAP_GRAPH,
	},
	.build = build,
};
