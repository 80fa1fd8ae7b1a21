/* SPDX-License-Identifier: MIT */
/*
 * Semi-NCA (Georgiadis, Linear-Time Algorithms for Dominators and Related Problems, 2005): semi-
 * dominators as Lengauer and Tarjan find them, with compressed paths, then the nearest common
 * ancestor in the tree made so far. Nothing recurses: lists may be as long as memory.
 */
#include "dominators.h"

#include <stdlib.h>

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

static bool make_tree(struct tree *tree, object_id count)
{
	size_t bytes = ((size_t)count + 2) * sizeof(uint32_t);

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
static void search(struct tree *tree, const struct edges *out, object_id root)
{
	uint32_t depth = 0, *next = tree->semi;

	meet(tree, root, 0);
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

/* Finds all semidominators. A child of the root of all is a root: its semidominator is that. */
static void find_semidominators(struct tree *tree, const struct edges *in, const uint8_t *is_root)
{
	for (uint32_t i = 0; i < tree->count; i++) {
		tree->ancestor[i] = tree->semi[i] = tree->parent[i];
		tree->label[i] = i;
	}
	for (uint32_t i = tree->count; i-- > 1;) {
		object_id object = tree->node[i];
		uint32_t semi = tree->parent[i];

		if (is_root[object / 8] >> object % 8 & 1)
			semi = 0;
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
			   const object_id *roots, size_t root_count)
{
	_cleanup_(free_tree) struct tree tree = { 0 };
	_cleanup_free_ uint8_t *is_root = calloc((size_t)count / 8 + 1, 1);
	object_id *result;

	if (!is_root || !make_tree(&tree, count))
		return NULL;
	meet(&tree, count, 0);
	for (size_t i = 0; i < root_count; i++)
		is_root[roots[i] / 8] |= (uint8_t)(1U << roots[i] % 8);
	for (size_t i = 0; i < root_count; i++) {
		if (tree.number[roots[i]] == NONE)
			search(&tree, out, roots[i]);
	}
	find_semidominators(&tree, in, is_root);
	find_dominators(&tree);
	result = malloc(((size_t)count + 1) * sizeof(*result));
	for (object_id i = 0; result && i < count; i++)
		result[i] = tree.number[i] == NONE ? OBJECT_NONE
						   : tree.node[tree.ancestor[tree.number[i]]];
	return result;
}

/* Each node is added to its dominator once all that it dominates has been added to it. */
bool dominators_sum(const object_id *dominators, object_id count, const uint64_t *sizes,
		    uint64_t *retained)
{
	_cleanup_free_ uint32_t *open = calloc((size_t)count + 1, sizeof(*open));

	if (!open)
		return false;
	memcpy(retained, sizes, (size_t)count * sizeof(*retained));
	retained[count] = 0;
	for (object_id i = 0; i < count; i++) {
		if (dominators[i] != OBJECT_NONE)
			open[dominators[i]]++;
	}
	for (object_id i = 0; i < count; i++) {
		object_id at = i;

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
