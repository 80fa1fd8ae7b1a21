/* SPDX-License-Identifier: MIT */
#include "by_type.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define EXAMPLES_OF_TYPE 5   /* unless a limit is given */
#define EXAMPLES_MAX     100 /* likewise, of all types */

bool by_type_init(struct by_type *types, const struct memheap_report *report)
{
	const struct type_table *table = &report->snapshot->objects.types;
	size_t count = table->list.count;

	*types = (struct by_type){
		.s = report->snapshot,
		.pattern = report->query.type,
		.count = count,
		.sums = calloc(count + 1, sizeof(*types->sums)),
		.order = calloc(count + 1, sizeof(*types->order)),
		.place = calloc(count + 1, sizeof(*types->place)),
	};
	if (!types->sums || !types->order || !types->place)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		types->sums[i].name = table->list.items[i].name;
		types->order[i] = i;
	}
	return true;
}

void by_type_deinit(struct by_type *types)
{
	free(types->sums);
	free(types->order);
	free(types->place);
	*types = (struct by_type){ 0 };
}

static uint32_t sum_index(const struct by_type *types, object_id id)
{
	const struct memheap_snapshot *s = types->s;

	return s->objects.types.list.items[graph_type(&s->graph, &s->blocks, id)].namesake;
}

struct type_sum *by_type_sum(const struct by_type *types, object_id id)
{
	return &types->sums[sum_index(types, id)];
}

struct type_sum *by_type_add(const struct by_type *types, const struct object_info *info)
{
	const struct type *type = &types->s->objects.types.list.items[info->type];
	struct type_sum *sum = &types->sums[type->namesake];

	sum->objects++;
	sum->shallow += info->shallow_bytes;
	return sum;
}

struct type_sum *by_type_count(const struct by_type *types, object_id id)
{
	const struct memheap_snapshot *s = types->s;
	struct object_info info;

	if (objects_get(&s->objects, &s->blocks, &s->python, s->graph.blocks[id], &info))
		return by_type_add(types, &info);
	by_type_sum(types, id)->objects++;
	return by_type_sum(types, id);
}

static int compare_sums(const void *a, const void *b, void *closure)
{
	const struct type_sum *left = (const struct type_sum *)closure + *(const uint32_t *)a;
	const struct type_sum *right = (const struct type_sum *)closure + *(const uint32_t *)b;

	if (left->shallow != right->shallow)
		return left->shallow > right->shallow ? -1 : 1;
	if (left->objects != right->objects)
		return left->objects > right->objects ? -1 : 1;
	return strcmp(left->name, right->name);
}

/* Orders the sums by bytes, then by objects. */
static void order_sums(struct by_type *types)
{
	qsort_r(types->order, types->count, sizeof(*types->order), compare_sums, types->sums);
	for (uint32_t i = 0; i < types->count; i++)
		types->place[types->order[i]] = i;
}

/* Whether a row is to be made of the sum. */
static bool wants(const struct by_type *types, const struct type_sum *sum)
{
	return sum->objects && (!types->pattern || !fnmatch(types->pattern, sum->name, 0));
}

struct type_sum by_type_rows(struct by_type *types, struct memheap_report *report,
			     const struct memheap_table_shape *shape, type_row_fn *more,
			     void *closure)
{
	struct type_sum all = { 0 };

	order_sums(types);
	for (size_t i = 0; i < types->count; i++) {
		const struct type_sum *sum = &types->sums[types->order[i]];
		struct memheap_cell *row;

		all.objects += sum->objects;
		all.shallow += sum->shallow;
		for (size_t j = 0; j < ARRAY_SIZE(sum->other); j++)
			all.other[j] += sum->other[j];
		if (!wants(types, sum))
			continue;
		row = report_row(report, shape);
		row[BY_TYPE_TYPE] = cell_text(sum->name);
		row[BY_TYPE_OBJECTS] = cell_number(sum->objects);
		row[BY_TYPE_SHALLOW] = cell_number(sum->shallow);
		if (more)
			more(closure, row, sum);
	}
	return all;
}

struct memheap_cell *example_row(struct memheap_report *report,
				 const struct memheap_table_shape *shape, object_id id)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct memheap_cell *row = report_row(report, shape);
	uint32_t type = graph_type(&s->graph, &s->blocks, id);
	struct object_info info;

	row[EXAMPLE_TYPE] = cell_text(s->objects.types.list.items[type].name);
	if (!objects_get(&s->objects, &s->blocks, &s->python, s->graph.blocks[id], &info))
		return row;
	row[EXAMPLE_ADDRESS] = cell_number(info.at);
	row[EXAMPLE_SHALLOW] = cell_number(info.shallow_bytes);
	row[EXAMPLE_REFCOUNT] = cell_number(info.refcount);
	return row;
}

/* An object, and the place of its type. */
struct example {
	uint32_t place;
	object_id id;
};

static int compare_examples(const void *a, const void *b)
{
	const struct example *left = a, *right = b;

	if (left->place != right->place)
		return left->place < right->place ? -1 : 1;
	return left->id < right->id ? -1 : left->id > right->id;
}

bool by_type_examples(const struct by_type *types, const struct memheap_query *query,
		      wanted_fn *wanted, object_row_fn *row, void *closure)
{
	uint64_t most = query_examples(query, EXAMPLES_MAX);
	VECTOR(struct example) examples = { 0 };
	uint64_t of_type = 0, added = 0;
	bool stored = true;

	for (object_id id = 0; id < types->s->graph.count && stored; id++) {
		struct example *example;

		if (!wanted(closure, id) || !wants(types, by_type_sum(types, id)))
			continue;
		example = vector_push(&examples);
		stored = example;
		if (example)
			*example = (struct example){ types->place[sum_index(types, id)], id };
	}
	if (examples.count)
		qsort(examples.items, examples.count, sizeof(*examples.items), compare_examples);
	for (size_t i = 0; i < examples.count && added < most; i++) {
		bool same = i && examples.items[i].place == examples.items[i - 1].place;

		of_type = same ? of_type + 1 : 1;
		if (!query->limit_given && of_type > EXAMPLES_OF_TYPE)
			continue;
		row(closure, examples.items[i].id);
		added++;
	}
	free(examples.items);
	return stored;
}
