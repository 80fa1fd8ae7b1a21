/* SPDX-License-Identifier: MIT */
#include "by_type.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define EXAMPLES_OF_TYPE 5   /* unless a limit is given */
#define EXAMPLES_MAX     100 /* likewise, of all types */

static int compare_names(const void *a, const void *b, void *closure)
{
	const struct type_sum *sums = closure;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	int order = strcmp(sums[left].name, sums[right].name);

	return order ? order : left < right ? -1 : left > right;
}

bool by_type_init(struct by_type *types, const struct memheap_report *report)
{
	const struct type_table *table = &report->snapshot->objects.types;
	size_t count = table->list.count;

	*types = (struct by_type){
		.s = report->snapshot,
		.pattern = report->query.type,
		.count = count,
		.sums = calloc(count + 1, sizeof(*types->sums)),
		.first = calloc(count + 1, sizeof(*types->first)),
		.order = calloc(count + 1, sizeof(*types->order)),
		.place = calloc(count + 1, sizeof(*types->place)),
	};
	if (!types->sums || !types->first || !types->order || !types->place)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		types->sums[i].name = table->list.items[i].name;
		types->order[i] = i;
	}
	qsort_r(types->order, count, sizeof(*types->order), compare_names, types->sums);
	for (size_t i = 0; i < count; i++) {
		uint32_t type = types->order[i], before = i ? types->order[i - 1] : type;

		types->first[type] = i && !strcmp(types->sums[type].name, types->sums[before].name)
					     ? types->first[before]
					     : type;
	}
	return true;
}

void by_type_deinit(struct by_type *types)
{
	free(types->sums);
	free(types->first);
	free(types->order);
	free(types->place);
	*types = (struct by_type){ 0 };
}

static uint32_t sum_index(const struct by_type *types, object_id id)
{
	return types->first[tag_type(types->s->blocks.tags[types->s->graph.blocks[id]])];
}

struct type_sum *by_type_sum(const struct by_type *types, object_id id)
{
	return &types->sums[sum_index(types, id)];
}

struct type_sum *by_type_count(const struct by_type *types, object_id id)
{
	const struct memheap_snapshot *s = types->s;
	struct type_sum *sum = by_type_sum(types, id);
	struct object_info info;

	sum->objects++;
	if (objects_get(&s->objects, &s->blocks, &s->python, s->graph.blocks[id], &info))
		sum->shallow += info.shallow_bytes;
	return sum;
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

void by_type_order(struct by_type *types)
{
	qsort_r(types->order, types->count, sizeof(*types->order), compare_sums, types->sums);
	for (uint32_t i = 0; i < types->count; i++)
		types->place[types->order[i]] = i;
}

bool by_type_wants(const struct by_type *types, const struct type_sum *sum)
{
	return sum->objects && (!types->pattern || !fnmatch(types->pattern, sum->name, 0));
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

bool by_type_examples(const struct by_type *types, uint64_t limit, wanted_fn *wanted,
		      object_row_fn *row, void *closure)
{
	VECTOR(struct example) examples = { 0 };
	uint64_t of_type = 0, added = 0;
	bool stored = true;

	for (object_id id = 0; id < types->s->graph.count && stored; id++) {
		struct example *example;

		if (!wanted(closure, id) || !by_type_wants(types, by_type_sum(types, id)))
			continue;
		example = vector_push(&examples);
		stored = example;
		if (example)
			*example = (struct example){ types->place[sum_index(types, id)], id };
	}
	if (examples.count)
		qsort(examples.items, examples.count, sizeof(*examples.items), compare_examples);
	for (size_t i = 0; i < examples.count && added < (limit ? limit : EXAMPLES_MAX); i++) {
		bool same = i && examples.items[i].place == examples.items[i - 1].place;

		of_type = same ? of_type + 1 : 1;
		if (!limit && of_type > EXAMPLES_OF_TYPE)
			continue;
		row(closure, examples.items[i].id);
		added++;
	}
	free(examples.items);
	return stored;
}
