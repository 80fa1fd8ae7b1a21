/* SPDX-License-Identifier: MIT */
/* A snapshot: the products of all stages, in the order in which they are made. */
#pragma once

#include "graph/graph.h"
#include "target/live/family.h"
#include "target/python_name.h"

/* What came of one of several processes. */
struct tree_process {
	const char *mode; /* NULL: it was not taken */
	uint64_t pause_ns;
	uint64_t objects, occupied_bytes;
	const char *problem; /* why it was not decoded; NULL: it was */
};

struct tree_type {
	const char *name;
	uint64_t processes; /* that have some */
	uint64_t objects, occupied_bytes;
};

/* A process and its descendants, each decoded, their types added up. */
struct tree {
	struct family family;
	VECTOR(struct tree_process) list; /* as in family */
	VECTOR(struct tree_type) types;   /* by name, later by size */
	struct strings strings;
};

struct memheap_snapshot {
	enum memheap_stage stage; /* how far it was decoded */
	struct parallel parallel;
	struct target target;
	struct modules modules;
	struct stacks stacks;
	struct python_name python_name;
	bool has_python; /* always true from MEMHEAP_RUNTIME on */
	struct python python;
	struct block_map blocks;
	struct objects objects;
	struct graph graph;
	bool has_graph;
	struct gaps gaps; /* of all stages */
	struct notices notices;
	struct tree tree; /* only of memheap_tree_create() */
};

void tree_deinit(struct tree *tree);
