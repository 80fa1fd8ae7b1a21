/* SPDX-License-Identifier: MIT */
/* Edges the other way round. */
#include <stdlib.h>

#include "graph.h"

#define GRAIN 65536

struct reversal {
	const struct edges *out;
	struct edges *in;
	uint32_t *next; /* where the next edge of each object goes */
};

static void count_holders(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct reversal *reversal = context;
	const struct edges *out = reversal->out;

	(void)worker;
	for (uint32_t i = out->first[begin]; i < out->first[end]; i++)
		__atomic_fetch_add(&reversal->in->first[edge_id(out->to[i]) + 1], 1,
				   __ATOMIC_RELAXED);
}

static void add_holders(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct reversal *reversal = context;
	const struct edges *out = reversal->out;

	(void)worker;
	for (size_t id = begin; id < end; id++) {
		for (uint32_t i = out->first[id]; i < out->first[id + 1]; i++) {
			uint32_t place = __atomic_fetch_add(&reversal->next[edge_id(out->to[i])], 1,
							    __ATOMIC_RELAXED);

			reversal->in->to[place] = edge_make(edge_kind(out->to[i]), (object_id)id);
		}
	}
}

/* Edges by id, then by kind. */
static inline uint32_t sort_key(edge_word edge)
{
	return edge_id(edge) << 2 | edge_kind(edge);
}

static int compare_edges(const void *a, const void *b)
{
	uint32_t left = sort_key(*(const edge_word *)a), right = sort_key(*(const edge_word *)b);

	return left < right ? -1 : left > right;
}

/* Sorts the holders of objects [begin, end): the order must not depend on the threads'. Each thread
 * adds holders in the order of their ids, so that most rows are sorted, or nearly so. */
static void sort_holders(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct edges *in = ((const struct reversal *)context)->in;

	(void)worker;
	for (size_t id = begin; id < end; id++) {
		edge_word *row = in->to + in->first[id];
		uint32_t count = in->first[id + 1] - in->first[id], i = 1;

		while (i < count && sort_key(row[i - 1]) <= sort_key(row[i]))
			i++;
		if (i < count)
			qsort(row, count, sizeof(*row), compare_edges);
	}
}

bool edges_reverse(const struct edges *out, object_id count, struct edges *in,
		   const struct parallel *parallel)
{
	struct reversal reversal = { out, in, NULL };
	uint64_t edges = out->first[count];

	in->first = calloc((uint64_t)count + 2, sizeof(*in->first));
	in->to = malloc((edges + 1) * sizeof(*in->to));
	reversal.next = malloc(((uint64_t)count + 1) * sizeof(*reversal.next));
	if (!in->first || !in->to || !reversal.next) {
		free(reversal.next);
		return false;
	}
	parallel_for(parallel, "counting holders", count, GRAIN, count_holders, &reversal);
	for (uint64_t i = 0; i < count; i++)
		in->first[i + 1] += in->first[i];
	memcpy(reversal.next, in->first, ((uint64_t)count + 1) * sizeof(*reversal.next));
	parallel_for(parallel, "listing holders", count, GRAIN, add_holders, &reversal);
	free(reversal.next);
	parallel_for(parallel, "sorting holders", count, GRAIN, sort_holders, &reversal);
	return true;
}
