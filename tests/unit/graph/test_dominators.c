/* SPDX-License-Identifier: MIT */
#include "graph/dominators.h"

#include "../unit.h"

#define NODES_MAX 24
#define EDGES_MAX 96
#define ROUNDS    3000
#define ROOTS_MAX 12
#define LIST      1000000

static const struct parallel two = { .workers = 2 };

struct pair {
	object_id from, to;
	enum reference_kind kind;
};

static int compare_pairs(const void *a, const void *b)
{
	const struct pair *left = a, *right = b;

	return left->from < right->from ? -1 : left->from > right->from;
}

static void make_edges(struct edges *edges, object_id count, struct pair *pairs, size_t pair_count)
{
	edges->first = calloc((size_t)count + 2, sizeof(*edges->first));
	edges->to = calloc(pair_count + 1, sizeof(*edges->to));
	qsort(pairs, pair_count, sizeof(*pairs), compare_pairs);
	for (size_t i = 0; i < pair_count; i++) {
		edges->first[pairs[i].from + 1]++;
		edges->to[i] = edge_make(pairs[i].kind, pairs[i].to);
	}
	for (object_id i = 0; i < count; i++)
		edges->first[i + 1] += edges->first[i];
}

/* Marks what the roots lead to without going through `without`. */
static void reach(const struct edges *out, const object_id *roots, size_t root_count,
		  object_id without, bool *reached)
{
	object_id stack[NODES_MAX + EDGES_MAX];
	size_t depth = 0;

	memset(reached, 0, NODES_MAX);
	for (size_t i = 0; i < root_count; i++)
		stack[depth++] = roots[i];
	while (depth) {
		object_id at = stack[--depth];

		if (at == without || reached[at])
			continue;
		reached[at] = true;
		for (uint32_t i = out->first[at]; i < out->first[at + 1]; i++) {
			if (edge_holds(out->to[i]) && !reached[edge_id(out->to[i])] &&
			    depth < NODES_MAX + EDGES_MAX)
				stack[depth++] = edge_id(out->to[i]);
		}
	}
}

/* Groups 1 and 2 lie in 0. */
static const uint32_t parents[] = { GROUP_NONE, 0, 0, GROUP_NONE };

#define GROUPS ARRAY_SIZE(parents)

/* Marks what the roots lead to but those of a group, and of what lies in it. */
static void reach_without_group(const struct edges *out, const struct root_edges *roots,
				uint32_t group, bool *reached)
{
	object_id left[ROOTS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < roots->count; i++) {
		uint32_t of = roots->list[i].group;

		if (of == GROUP_NONE || (of != group && parents[of] != group))
			left[count++] = roots->list[i].object;
	}
	reach(out, left, count, OBJECT_NONE, reached);
}

static uint64_t sum_lost(object_id count, const uint64_t *sizes, const bool *reached,
			 const bool *without)
{
	uint64_t lost = 0;

	for (object_id i = 0; i < count; i++)
		lost += reached[i] && !without[i] ? sizes[i] : 0;
	return lost;
}

/* What is no longer reached without an object, or a group, is what it retains. */
static void check(const struct edges *out, object_id count, struct root_edges *roots)
{
	bool reached[NODES_MAX], without[NODES_MAX];
	uint64_t sizes[NODES_MAX], retained[NODES_MAX + 1 + GROUPS], all = 0;
	object_id objects[ROOTS_MAX], *dominators;
	struct edges in;

	assert_true(edges_reverse(out, count, &in, &two));
	dominators = dominators_find(out, &in, count, roots);
	assert_non_null(dominators);
	for (size_t i = 0; i < roots->count; i++)
		objects[i] = roots->list[i].object;
	reach(out, objects, roots->count, OBJECT_NONE, reached);
	for (object_id i = 0; i < count; i++) {
		sizes[i] = 1ULL << i;
		assert_int_equal(dominators[i] != OBJECT_NONE, reached[i]);
		all += reached[i] ? sizes[i] : 0;
	}
	assert_true(dominators_sum(dominators, count, GROUPS, sizes, retained));
	assert_int_equal(retained[count], all);
	for (object_id i = 0; i < count; i++) {
		reach(out, objects, roots->count, i, without);
		assert_int_equal(retained[i],
				 reached[i] ? sum_lost(count, sizes, reached, without) : sizes[i]);
	}
	for (uint32_t i = 0; i < GROUPS; i++) {
		reach_without_group(out, roots, i, without);
		assert_int_equal(retained[count + 1 + i], sum_lost(count, sizes, reached, without));
		assert_int_equal(dominators[count + 1 + i],
				 parents[i] == GROUP_NONE ? count : count + 1 + parents[i]);
	}
	free(dominators);
	edges_deinit(&in);
}

static void test_random_graphs_equal_deletion(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < ROUNDS; round++) {
		object_id count = 1 + (object_id)rand() % NODES_MAX;
		size_t pair_count = (size_t)rand() % EDGES_MAX;
		struct root_edge list[ROOTS_MAX];
		struct root_edges roots = { list, (size_t)rand() % ROOTS_MAX, parents, GROUPS };
		struct pair pairs[EDGES_MAX];
		struct edges out;

		for (size_t i = 0; i < pair_count; i++)
			pairs[i] =
				(struct pair){ (object_id)rand() % count, (object_id)rand() % count,
					       (enum reference_kind)(rand() % REFERENCE_KINDS) };
		for (size_t i = 0; i < roots.count; i++) {
			uint32_t group = (uint32_t)rand() % (GROUPS + 1);

			list[i] = (struct root_edge){ (object_id)rand() % count,
						      group == GROUPS ? GROUP_NONE : group };
		}
		make_edges(&out, count, pairs, pair_count);
		check(&out, count, &roots);
		edges_deinit(&out);
	}
}

static void test_long_list_with_back_links(void **state)
{
	struct pair *pairs = calloc(2 * LIST, sizeof(*pairs));
	uint64_t *sizes = calloc(LIST, sizeof(*sizes));
	uint64_t *retained = calloc(LIST + 1, sizeof(*retained));
	struct root_edge root = { 0, GROUP_NONE };
	struct root_edges roots = { &root, 1, NULL, 0 };
	object_id *dominators;
	struct edges out, in;
	size_t count = 0;

	(void)state;
	for (object_id i = 0; i < LIST; i++) {
		sizes[i] = 1;
		if (i + 1 < LIST)
			pairs[count++] = (struct pair){ i, i + 1, REFERENCE_STRONG };
		if (i)
			pairs[count++] = (struct pair){ i, i - 1, REFERENCE_EXTRA };
	}
	make_edges(&out, LIST, pairs, count);
	assert_true(edges_reverse(&out, LIST, &in, &two));
	dominators = dominators_find(&out, &in, LIST, &roots);
	assert_non_null(dominators);
	assert_int_equal(dominators[0], LIST);
	for (object_id i = 1; i < LIST; i++)
		assert_int_equal(dominators[i], i - 1);
	assert_true(dominators_sum(dominators, LIST, 0, sizes, retained));
	for (object_id i = 0; i < LIST; i++)
		assert_int_equal(retained[i], LIST - i);
	free(dominators);
	free(pairs);
	free(sizes);
	free(retained);
	edges_deinit(&out);
	edges_deinit(&in);
}

static void test_reversal_is_sorted_and_complete(void **state)
{
	struct pair pairs[] = {
		{ 0, 2, REFERENCE_STRONG }, { 0, 2, REFERENCE_WEAK },   { 1, 2, REFERENCE_EXTRA },
		{ 2, 2, REFERENCE_STRONG }, { 2, 0, REFERENCE_STRONG },
	};
	struct edges out, in;

	(void)state;
	make_edges(&out, 3, pairs, 5);
	assert_true(edges_reverse(&out, 3, &in, &two));
	assert_int_equal(in.first[0], 0);
	assert_int_equal(in.first[1], 1);
	assert_int_equal(in.first[2], 1);
	assert_int_equal(in.first[3], 5);
	assert_int_equal(in.to[0], edge_make(REFERENCE_STRONG, 2));
	assert_int_equal(in.to[1], edge_make(REFERENCE_STRONG, 0));
	assert_int_equal(in.to[2], edge_make(REFERENCE_WEAK, 0));
	assert_int_equal(in.to[3], edge_make(REFERENCE_EXTRA, 1));
	assert_int_equal(in.to[4], edge_make(REFERENCE_STRONG, 2));
	edges_deinit(&out);
	edges_deinit(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_graphs_equal_deletion),
		cmocka_unit_test(test_long_list_with_back_links),
		cmocka_unit_test(test_reversal_is_sorted_and_complete),
	};

	return RUN_TESTS(tests);
}
