/* SPDX-License-Identifier: MIT */
/*
 * deep: the size of an object with all that it leads to, as pympler's asizeof means it: what
 * gc.get_referents() tells of and the keys of dicts, each object once, as sys.getsizeof() sizes it.
 * Names of attributes that a class keeps for its instances belong to the class. Code is left out,
 * and not followed, but for the object asked for: modules, types, functions, methods, generators,
 * frames. asizeof goes at most 100 levels deep, and follows weak references; this does neither.
 */
#include <stdlib.h>
#include <string.h>

#include "../cpython/references.h"
#include "by_type.h"
#include "sections.h"

enum { DEEP_ADDRESS, DEEP_TYPE, DEEP_SHALLOW, DEEP_BYTES, DEEP_OBJECTS };

static const struct memheap_column deep_columns[] = {
	[DEEP_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "Its id()" },
	[DEEP_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "Its type" },
	[DEEP_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
			   "What sys.getsizeof() would say of it" },
	[DEEP_BYTES] = { "deep_bytes", "DEEP", MEMHEAP_BYTES,
			 "The same of it and of all that it leads to" },
	[DEEP_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT, "How many objects that are" },
};

static const struct memheap_table_shape deep_shape = {
	.key = "deep",
	.title = "Deep size",
	.flags = MEMHEAP_RECORD,
	.doc = "The object with all that it leads to, each object once",
	.columns = deep_columns,
	.column_count = ARRAY_SIZE(deep_columns),
};

static const struct memheap_column types_columns[] = { BY_TYPE_COLUMNS_OF("How many objects") };

static const struct memheap_table_shape parts_shape = {
	.key = "types",
	.title = "What it leads to",
	.doc = "The objects that the deep size counts, by type",
	.columns = types_columns,
	.column_count = ARRAY_SIZE(types_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&deep_shape, &parts_shape, &completeness_shape, &gaps_shape, &diagnostics_shape, NULL,
};

/* The analysis at work. */
struct walk {
	const struct memheap_snapshot *s;
	struct heap_view view;
	struct by_type types;
	bool *is_code;         /* by type: left out */
	uint64_t *seen;        /* by block, a bit each */
	VECTOR(block_id) list; /* the objects found, some of which are still to be visited */
	bool failed;           /* out of memory */
};

/* Whether asizeof takes instances for code: with code=False it skips them. */
static bool is_code_type(const struct type *type)
{
	static const char *const names[] = {
		"module",          "function",       "builtin_function_or_method",
		"builtin_method",  "method",         "classmethod",
		"staticmethod",    "generator",      "coroutine",
		"async_generator", "code",           "frame",
		"classobj",        "instancemethod", /* 2.7 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(type->name, names[i]))
			return true;
	}
	return type->metatype;
}

static bool meet(struct walk *walk, block_id id)
{
	uint64_t bit = 1ULL << id % 64;
	bool met = walk->seen[id / 64] & bit;

	walk->seen[id / 64] |= bit;
	return !met;
}

static void follow(void *closure, block_id to, const struct reference *reference)
{
	struct walk *walk = closure;
	block_id *id;

	if ((reference->kind != REFERENCE_STRONG && reference->step != STEP_KEY) ||
	    walk->is_code[tag_type(walk->s->blocks.tags[to])] || !meet(walk, to))
		return;
	id = vector_push(&walk->list);
	if (id)
		*id = to;
	else
		walk->failed = true;
}

/* Adds up the object of block `start` and all that it leads to; returns how many could not be read.
 */
static uint64_t add_up(struct walk *walk, block_id start)
{
	uint64_t unreadable = 0;
	block_id *first = vector_push(&walk->list);

	walk->failed = !first;
	if (!first)
		return 0;
	*first = start;
	meet(walk, start);
	for (size_t i = 0; i < walk->list.count && !walk->failed; i++) {
		block_id id = walk->list.items[i];
		struct object_info info;
		struct object object;

		if (!objects_get(&walk->s->objects, &walk->s->blocks, &walk->s->python, id,
				 &info)) {
			unreadable++;
			continue;
		}
		by_type_add(&walk->types, &info);
		unreadable += !object_get(&walk->view, id, &object) ||
			      !references_visit(&walk->view, &object, follow, walk);
	}
	return unreadable;
}

static void add_tables(struct memheap_report *report, struct walk *walk,
		       const struct object_info *info)
{
	const struct type_sum all = by_type_rows(&walk->types, report, &parts_shape, NULL, NULL);
	struct memheap_cell *row = report_row(report, &deep_shape);

	row[DEEP_ADDRESS] = cell_number(info->at);
	row[DEEP_TYPE] = cell_text(walk->s->objects.types.list.items[info->type].name);
	row[DEEP_SHALLOW] = cell_number(info->shallow_bytes);
	row[DEEP_BYTES] = cell_number(all.shallow);
	row[DEEP_OBJECTS] = cell_number(all.objects);
}

static struct memheap_error *fill(struct memheap_report *report, struct walk *walk)
{
	const struct memheap_snapshot *s = walk->s;
	size_t type_count = s->objects.types.list.count;
	block_id start = object_find(&s->blocks, report->query.address);
	struct object_info info;

	if (start == BLOCK_NONE || !objects_get(&s->objects, &s->blocks, &s->python, start, &info))
		return error_no_object(report);
	walk->is_code = calloc(type_count + 1, sizeof(*walk->is_code));
	walk->seen = calloc((size_t)s->blocks.count / 64 + 1, sizeof(*walk->seen));
	if (!walk->is_code || !walk->seen || !by_type_init(&walk->types, report))
		return &error_no_memory;
	for (size_t i = 0; i < type_count; i++)
		walk->is_code[i] = is_code_type(&s->objects.types.list.items[i]);
	report->gaps.kinds[GAP_REFERENCES_UNREADABLE].count += add_up(walk, start);
	if (walk->failed)
		return &error_no_memory;
	add_tables(report, walk, &info);
	return NULL;
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct walk walk = { .s = s, .view = { &s->objects, &s->blocks, &s->python } };
	struct memheap_error *error = fill(report, &walk);

	free(walk.is_code);
	by_type_deinit(&walk.types);
	free(walk.seen);
	free(walk.list.items);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return error;
}

const struct analysis analysis_deep = {
	.shape = {
		.name = "deep",
		.schema = "memheap.deep",
		.schema_version = "1.0",
		.title = "What an object takes with all that it leads to",
		.tables = tables,
		.main_table = "types",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build,
};
