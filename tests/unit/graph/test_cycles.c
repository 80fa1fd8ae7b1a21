/* SPDX-License-Identifier: MIT */
#include "graph/cycles.h"

#include "../unit.h"

#define NODES_MAX 16
#define EDGES_MAX 40
#define ROUNDS    20000
#define RING      1000000

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

static void make_graph(struct graph *graph, object_id count, struct pair *pairs, size_t pair_count)
{
	*graph = (struct graph){ .count = count };
	graph->out.first = calloc((size_t)count + 2, sizeof(*graph->out.first));
	graph->out.to = calloc(pair_count + 1, sizeof(*graph->out.to));
	qsort(pairs, pair_count, sizeof(*pairs), compare_pairs);
	for (size_t i = 0; i < pair_count; i++) {
		graph->out.first[pairs[i].from + 1]++;
		graph->out.to[i] = edge_make(pairs[i].kind, pairs[i].to);
	}
	for (object_id i = 0; i < count; i++)
		graph->out.first[i + 1] += graph->out.first[i];
	assert_true(edges_reverse(&graph->out, count, &graph->in, &two));
}

static void make_cycles(struct cycles *cycles, object_id count)
{
	*cycles = (struct cycles){
		.refcounts = calloc(count, sizeof(*cycles->refcounts)),
		.facts = calloc(count, sizeof(*cycles->facts)),
	};
}

/* One random heap: what refers to what, what is tracked, and who else holds an object. */
struct sample {
	struct pair pairs[EDGES_MAX];
	size_t pair_count;
	bool held[NODES_MAX];
};

static bool is_counted(const struct pair *pair)
{
	return pair->kind == REFERENCE_STRONG || pair->kind == REFERENCE_EXTRA;
}

/* Marks all that the marked ones lead to by references that tp_traverse visits. */
static void close_over(const struct sample *sample, const struct cycles *cycles, bool *marked)
{
	for (int round = 0; round < NODES_MAX; round++) {
		for (size_t i = 0; i < sample->pair_count; i++) {
			const struct pair *pair = &sample->pairs[i];

			if (pair->kind == REFERENCE_STRONG && marked[pair->from] &&
			    cycles->facts[pair->from] & cycles->facts[pair->to] & COLLECTOR_TRACKED)
				marked[pair->to] = true;
		}
	}
}

/* The fates, from the definitions: who is held from outside of the tracked objects stays, with all
 * that it leads to; who is held by none but those that go, goes along. */
static void decide_slowly(const struct sample *sample, const struct cycles *cycles, object_id count,
			  uint8_t *fates)
{
	bool stays[NODES_MAX] = { false }, kept[NODES_MAX] = { false };

	for (object_id i = 0; i < count; i++)
		stays[i] = sample->held[i];
	for (size_t i = 0; i < sample->pair_count; i++) {
		const struct pair *pair = &sample->pairs[i];

		if (is_counted(pair) && (pair->kind != REFERENCE_STRONG ||
					 !(cycles->facts[pair->from] & COLLECTOR_TRACKED)))
			stays[pair->to] = true;
	}
	close_over(sample, cycles, stays);
	for (object_id i = 0; i < count; i++)
		kept[i] = !stays[i] && cycles->facts[i] == (COLLECTOR_TRACKED | COLLECTOR_LEGACY);
	close_over(sample, cycles, kept);
	for (object_id i = 0; i < count; i++) {
		if (stays[i] || !(cycles->facts[i] & COLLECTOR_TRACKED))
			fates[i] = FATE_STAYS;
		else
			fates[i] = kept[i] ? FATE_UNCOLLECTABLE : FATE_COLLECTED;
	}
	for (int round = 0; round < NODES_MAX; round++) {
		for (object_id i = 0; i < count; i++) {
			bool referred = false, held = sample->held[i] || fates[i] != FATE_STAYS;

			for (size_t j = 0; j < sample->pair_count; j++) {
				const struct pair *pair = &sample->pairs[j];
				enum fate holder = fates[pair->from];

				if (pair->to != i || !is_counted(pair))
					continue;
				referred = true;
				held |= holder != FATE_COLLECTED && holder != FATE_FREED_ALONG;
			}
			if (referred && !held)
				fates[i] = FATE_FREED_ALONG;
		}
	}
}

static void make_sample(struct sample *sample, struct cycles *cycles, object_id count)
{
	sample->pair_count = (size_t)rand() % EDGES_MAX;
	for (object_id i = 0; i < count; i++) {
		sample->held[i] = rand() % 8 == 0;
		cycles->refcounts[i] = sample->held[i];
		if (rand() % 4)
			cycles->facts[i] = rand() % 8 ? COLLECTOR_TRACKED
						      : COLLECTOR_TRACKED | COLLECTOR_LEGACY;
	}
	for (size_t i = 0; i < sample->pair_count; i++) {
		struct pair *pair = &sample->pairs[i];

		*pair = (struct pair){
			.from = (object_id)rand() % count,
			.to = (object_id)rand() % count,
			.kind = rand() % 3 ? REFERENCE_STRONG
					   : (enum reference_kind)(rand() % REFERENCE_KINDS),
		};
		cycles->refcounts[pair->to] += is_counted(pair);
	}
	/* what nothing holds would not be there */
	for (object_id i = 0; i < count; i++) {
		if (cycles->refcounts[i])
			continue;
		sample->held[i] = true;
		cycles->refcounts[i] = 1;
	}
}

/* Whether the path is a cycle of objects that would be collected. */
static void check_cycle(const struct graph *graph, const struct cycles *cycles,
			const struct cycle_search *search)
{
	for (size_t i = 0; i < search->length; i++) {
		object_id from = search->path[i], to = search->path[(i + 1) % search->length];
		bool linked = false;

		assert_int_equal(cycles->fates[from], FATE_COLLECTED);
		for (uint32_t j = graph->out.first[from]; j < graph->out.first[from + 1]; j++)
			linked |= graph->out.to[j] == edge_make(REFERENCE_STRONG, to);
		assert_true(linked);
	}
}

static void test_fates_are_those_of_the_definition(void **state)
{
	size_t seen[FATES] = { 0 };

	(void)state;
	srand(1);
	for (int round = 0; round < ROUNDS; round++) {
		object_id count = 1 + (object_id)rand() % NODES_MAX;
		uint8_t right[NODES_MAX];
		struct sample sample;
		struct cycle_search search;
		struct cycles cycles;
		struct graph graph;

		make_cycles(&cycles, count);
		make_sample(&sample, &cycles, count);
		decide_slowly(&sample, &cycles, count, right);
		make_graph(&graph, count, sample.pairs, sample.pair_count);
		assert_true(cycles_decide(&cycles, &graph));
		assert_memory_equal(cycles.fates, right, count);
		assert_int_equal(cycles.overrun, 0);
		assert_true(cycle_search_init(&search, &graph, &cycles));
		for (object_id i = 0; i < count; i++) {
			seen[right[i]]++;
			if (right[i] != FATE_COLLECTED)
				continue;
			assert_true(cycle_search_run(&search, i));
			check_cycle(&graph, &cycles, &search);
		}
		cycle_search_deinit(&search);
		cycles_deinit(&cycles);
		graph_deinit(&graph);
	}
	for (int i = 0; i < FATES; i++)
		assert_true(seen[i] > 100);
}

/* A ring of a million, from which a list hangs: no recursion, no quadratic work. */
static void test_a_long_ring(void **state)
{
	struct pair *pairs = calloc(2 * RING, sizeof(*pairs));
	struct cycle_search search;
	struct cycles cycles;
	struct graph graph;

	(void)state;
	assert_non_null(pairs);
	make_cycles(&cycles, 2 * RING);
	for (object_id i = 0; i < RING; i++) {
		pairs[i] = (struct pair){ i, (i + 1) % RING, REFERENCE_STRONG };
		pairs[RING + i] = (struct pair){ i ? RING + i - 1 : 0, RING + i, REFERENCE_STRONG };
	}
	for (object_id i = 0; i < 2 * RING; i++) {
		cycles.refcounts[i] = 1;
		cycles.facts[i] = COLLECTOR_TRACKED;
	}
	make_graph(&graph, 2 * RING, pairs, 2 * RING);
	assert_true(cycles_decide(&cycles, &graph));
	for (object_id i = 0; i < 2 * RING; i++)
		assert_int_equal(cycles.fates[i], FATE_COLLECTED);
	assert_true(cycle_search_init(&search, &graph, &cycles));
	assert_true(cycle_search_run(&search, 2 * RING - 1));
	assert_int_equal(search.length, RING);
	cycle_search_deinit(&search);
	cycles_deinit(&cycles);
	graph_deinit(&graph);
	free(pairs);
}

/* More references than the refcount says: something is wrong, and nothing is called garbage. */
static void test_an_overrun_stays(void **state)
{
	struct pair pairs[] = { { 0, 0, REFERENCE_STRONG },
				{ 0, 0, REFERENCE_STRONG },
				{ 0, 1, REFERENCE_STRONG } };
	struct cycles cycles;
	struct graph graph;

	(void)state;
	make_cycles(&cycles, 2);
	for (object_id i = 0; i < 2; i++) {
		cycles.refcounts[i] = 1;
		cycles.facts[i] = COLLECTOR_TRACKED;
	}
	make_graph(&graph, 2, pairs, 3);
	assert_true(cycles_decide(&cycles, &graph));
	assert_int_equal(cycles.overrun, 1);
	assert_int_equal(cycles.fates[0], FATE_STAYS);
	assert_int_equal(cycles.fates[1], FATE_STAYS);
	cycles_deinit(&cycles);
	graph_deinit(&graph);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fates_are_those_of_the_definition),
		cmocka_unit_test(test_a_long_ring),
		cmocka_unit_test(test_an_overrun_stays),
	};

	return RUN_TESTS(tests);
}
