/* SPDX-License-Identifier: MIT */
/*
 * The graph: every object and every reference between two, both ways, as compressed rows.
 *
 * Objects have dense ids in the order of their blocks: pools, pages, chunks, statics. An edge is
 * one 32-bit word: the kind of the reference and the id of the object at its other end. What an
 * edge is called is not stored: references_visit() tells it again.
 */
#pragma once

#include "../cpython/references.h"

typedef uint32_t object_id;

#define OBJECT_NONE UINT32_MAX

/* An edge: the kind above, the object's id below. */
typedef uint32_t edge_word;

#define EDGE_ID_BITS 30
#define OBJECTS_MAX  ((1U << EDGE_ID_BITS) - 1)

static inline edge_word edge_make(enum reference_kind kind, object_id id)
{
	return (edge_word)kind << EDGE_ID_BITS | id;
}

static inline enum reference_kind edge_kind(edge_word edge)
{
	return edge >> EDGE_ID_BITS;
}

static inline object_id edge_id(edge_word edge)
{
	return edge & OBJECTS_MAX;
}

/* Whether the edge keeps the object that it leads to alive. */
static inline bool edge_holds(edge_word edge)
{
	return edge_kind(edge) != REFERENCE_WEAK;
}

/* Object i: to[first[i]] .. to[first[i + 1] - 1]. */
struct edges {
	uint32_t *first;
	edge_word *to;
};

/* 64 blocks: which are objects, and how many are before them. */
struct block_rank {
	uint64_t objects;
	uint32_t before;
};

struct graph {
	object_id count;
	uint32_t edge_count;
	struct block_rank *ranks;
	block_id *blocks;    /* by object */
	struct edges out;    /* from the object, in the order of references_visit() */
	struct edges in;     /* to the object, by the ids of its holders */
	uint64_t incomplete; /* objects of which parts could not be read */
	/* Of the edges, those that the objects to which they lead do not count: from frames of
	 * generators and the like, since 3.14. Of each that object, in no order. */
	VECTOR(object_id) uncounted;
};

/* Builds the graph of all objects. */
struct memheap_error *graph_build(struct graph *graph, const struct heap_view *view,
				  const struct parallel *parallel);

void graph_deinit(struct graph *graph);

/* The object of block `id`, or OBJECT_NONE. */
static inline object_id graph_object(const struct graph *graph, block_id id)
{
	const struct block_rank *rank = &graph->ranks[id / 64];
	uint64_t bit = 1ULL << id % 64;

	if (!(rank->objects & bit))
		return OBJECT_NONE;
	return rank->before + (uint32_t)__builtin_popcountll(rank->objects & (bit - 1));
}

/* The type of an object: its index. */
static inline uint32_t graph_type(const struct graph *graph, const struct block_map *map,
				  object_id id)
{
	return tag_type(map->tags[graph->blocks[id]]);
}

/* The object that begins at `at`, or OBJECT_NONE. */
static inline object_id graph_find(const struct graph *graph, const struct block_map *map, vaddr at)
{
	block_id id = object_find(map, at);

	return id == BLOCK_NONE ? OBJECT_NONE : graph_object(graph, id);
}

/* Makes `in` of `out`, both of `count` objects; `in` is allocated. False when out of memory. */
bool edges_reverse(const struct edges *out, object_id count, struct edges *in,
		   const struct parallel *parallel);

void edges_deinit(struct edges *edges);
