/* SPDX-License-Identifier: MIT */
/*
 * Semi-NCA (Georgiadis, Linear-Time Algorithms for Dominators and Related Problems, 2005): semi-
 * dominators as Lengauer and Tarjan find them, with compressed paths, then the nearest common
 * ancestor in the tree made so far. Nothing recurses: lists may be as long as memory.
 */
#include "dominators.h"

#include <stdlib.h>

#include "../base/bisect.h"
#include "../base/cleanup.h"

#define NONE UINT32_MAX

/* All by number: the order in which a search in depth meets the nodes; 0 is the root of all. */
struct tree {
	uint32_t *node;     /* the object */
	uint32_t *number;   /* of an object; NONE: out of reach */
	uint32_t *parent;   /* in the search */
	uint32_t *ancestor; /* the parent, until paths are compressed */
	uint32_t *semi, *label;
	uint32_t *dominator;
	uint32_t *stack;
	uint32_t count;
};

static void free_tree(struct tree *tree)
{
	free(tree->node);
	free(tree->number);
	free(tree->parent);
	free(tree->ancestor);
	free(tree->semi);
	free(tree->label);
	free(tree->stack);
}

static bool make_tree(struct tree *tree, size_t count)
{
	size_t bytes = count * sizeof(uint32_t);

	tree->node = malloc(bytes);
	tree->number = malloc(bytes);
	tree->parent = malloc(bytes);
	tree->ancestor = malloc(bytes);
	tree->semi = malloc(bytes);
	tree->label = malloc(bytes);
	tree->stack = malloc(bytes);
	if (!tree->node || !tree->number || !tree->parent || !tree->ancestor || !tree->semi ||
	    !tree->label || !tree->stack)
		return false;
	memset(tree->number, 0xFF, bytes);
	return true;
}

static void meet(struct tree *tree, object_id object, uint32_t parent)
{
	tree->number[object] = tree->count;
	tree->node[tree->count] = object;
	tree->parent[tree->count++] = parent;
}

/* Numbers all that can be reached from `root`, in depth first. `semi` holds, for now, the next edge
 * of each node on the stack. */
static void search(struct tree *tree, const struct edges *out, object_id root, uint32_t parent)
{
	uint32_t depth = 0, *next = tree->semi;

	meet(tree, root, parent);
	next[tree->count - 1] = out->first[root];
	tree->stack[depth++] = tree->count - 1;
	while (depth) {
		uint32_t top = tree->stack[depth - 1];
		edge_word edge;

		if (next[top] == out->first[tree->node[top] + 1]) {
			depth--;
			continue;
		}
		edge = out->to[next[top]++];
		if (!edge_holds(edge) || tree->number[edge_id(edge)] != NONE)
			continue;
		meet(tree, edge_id(edge), top);
		next[tree->count - 1] = out->first[edge_id(edge)];
		tree->stack[depth++] = tree->count - 1;
	}
}

/* The label of `v` with the least semidominator on its path among the nodes from `last` on. */
static uint32_t evaluate(struct tree *tree, uint32_t v, uint32_t last)
{
	uint32_t depth = 0, *ancestor = tree->ancestor, *label = tree->label;

	if (v < last)
		return v;
	while (ancestor[v] >= last) {
		tree->stack[depth++] = v;
		v = ancestor[v];
	}
	while (depth) {
		uint32_t below = tree->stack[--depth];

		ancestor[below] = ancestor[v];
		if (tree->semi[label[v]] < tree->semi[label[below]])
			label[below] = label[v];
		v = below;
	}
	return label[v];
}

static int compare_groups(const void *a, const void *b)
{
	const struct root_edge *left = a, *right = b;

	if (left->group != right->group)
		return left->group < right->group ? -1 : 1;
	return left->object < right->object ? -1 : left->object > right->object;
}

static int compare_objects(const void *a, const void *b)
{
	const struct root_edge *left = a, *right = b;

	if (left->object != right->object)
		return left->object < right->object ? -1 : 1;
	return left->group < right->group ? -1 : left->group > right->group;
}

/* The number of a group, or of the root of all. */
static uint32_t group_number(const struct tree *tree, object_id count, uint32_t group)
{
	return group == GROUP_NONE ? 0 : tree->number[(size_t)count + 1 + group];
}

/* Numbers all that the roots of one group lead to, those from `at` on; returns where they end. */
static size_t search_roots(struct tree *tree, const struct edges *out, object_id count,
			   const struct root_edges *roots, size_t at)
{
	uint32_t group = roots->list[at].group, parent = group_number(tree, count, group);

	for (; at < roots->count && roots->list[at].group == group; at++) {
		if (tree->number[roots->list[at].object] == NONE)
			search(tree, out, roots->list[at].object, parent);
	}
	return at;
}

/* Numbers all nodes, in depth first. */
static void search_all(struct tree *tree, const struct edges *out, object_id count,
		       const struct root_edges *roots)
{
	size_t next = 0;

	meet(tree, count, 0);
	for (uint32_t i = 0; i < roots->group_count; i++) {
		meet(tree, count + 1 + i, group_number(tree, count, roots->parents[i]));
		if (next < roots->count && roots->list[next].group == i)
			next = search_roots(tree, out, count, roots, next);
	}
	if (next < roots->count)
		search_roots(tree, out, count, roots, next);
}

/* The least semidominator that the roots of an object give it. */
static uint32_t root_semidominator(struct tree *tree, object_id count,
				   const struct root_edges *roots, uint32_t i, uint32_t semi)
{
	object_id object = tree->node[i];
	size_t at = bisect(j, roots->count, roots->list[j].object < object);

	for (; at < roots->count && roots->list[at].object == object; at++) {
		uint32_t v = group_number(tree, count, roots->list[at].group);

		semi = MIN(semi, v <= i ? v : tree->semi[evaluate(tree, v, i + 1)]);
	}
	return semi;
}

/* Finds all semidominators; the roots are sorted by their objects. A group has only its parent. */
static void find_semidominators(struct tree *tree, const struct edges *in, object_id count,
				const struct root_edges *roots, const uint8_t *is_root)
{
	for (uint32_t i = 0; i < tree->count; i++) {
		tree->ancestor[i] = tree->semi[i] = tree->parent[i];
		tree->label[i] = i;
	}
	for (uint32_t i = tree->count; i-- > 1;) {
		object_id object = tree->node[i];
		uint32_t semi = tree->parent[i];

		if (object > count)
			continue;
		if (is_root[object / 8] >> object % 8 & 1)
			semi = root_semidominator(tree, count, roots, i, semi);
		for (uint32_t j = in->first[object]; semi && j < in->first[object + 1]; j++) {
			uint32_t v = tree->number[edge_id(in->to[j])], candidate;

			if (!edge_holds(in->to[j]) || v == NONE)
				continue;
			candidate = v <= i ? v : tree->semi[evaluate(tree, v, i + 1)];
			semi = MIN(semi, candidate);
		}
		tree->semi[i] = semi;
	}
}

/* Makes `ancestor` the immediate dominators, by number. */
static void find_dominators(struct tree *tree)
{
	uint32_t *dominator = tree->ancestor;

	for (uint32_t i = 1; i < tree->count; i++) {
		uint32_t at = tree->parent[i];

		while (at > tree->semi[i])
			at = dominator[at];
		dominator[i] = at;
	}
}

object_id *dominators_find(const struct edges *out, const struct edges *in, object_id count,
			   const struct root_edges *roots)
{
	size_t nodes = (size_t)count + 1 + roots->group_count;

	_cleanup_(free_tree) struct tree tree = { 0 };
	_cleanup_free_ uint8_t *is_root = calloc((size_t)count / 8 + 1, 1);
	object_id *result;

	if (!is_root || !make_tree(&tree, nodes + 1))
		return NULL;
	for (size_t i = 0; i < roots->count; i++)
		is_root[roots->list[i].object / 8] |= (uint8_t)(1U << roots->list[i].object % 8);
	if (roots->count)
		qsort(roots->list, roots->count, sizeof(*roots->list), compare_groups);
	search_all(&tree, out, count, roots);
	if (roots->count)
		qsort(roots->list, roots->count, sizeof(*roots->list), compare_objects);
	find_semidominators(&tree, in, count, roots, is_root);
	find_dominators(&tree);
	result = malloc(nodes * sizeof(*result));
	for (size_t i = 0; result && i < nodes; i++)
		result[i] = tree.number[i] == NONE ? OBJECT_NONE
						   : tree.node[tree.ancestor[tree.number[i]]];
	return result;
}

/* Each node is added to its dominator once all that it dominates has been added to it. */
bool dominators_sum(const object_id *dominators, object_id count, uint32_t group_count,
		    const uint64_t *sizes, uint64_t *retained)
{
	size_t nodes = (size_t)count + 1 + group_count;

	_cleanup_free_ uint32_t *open = calloc(nodes, sizeof(*open));
	if (!open)
		return false;
	memset(retained, 0, nodes * sizeof(*retained));
	memcpy(retained, sizes, (size_t)count * sizeof(*retained));
	for (size_t i = 0; i < nodes; i++) {
		if (i != count && dominators[i] != OBJECT_NONE)
			open[dominators[i]]++;
	}
	for (size_t i = 0; i < nodes; i++) {
		object_id at = (object_id)i;

		/* up from each leaf, as far as nothing is open any more */
		if (open[i])
			continue;
		while (at != count && dominators[at] != OBJECT_NONE) {
			object_id up = dominators[at];

			open[at] = UINT32_MAX;
			retained[up] += retained[at];
			if (--open[up])
				break;
			at = up;
		}
	}
	return true;
}
