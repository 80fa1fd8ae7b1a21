/* SPDX-License-Identifier: MIT */
/* A snapshot: the products of all stages, in the order in which they are made. */
#pragma once

#include "graph/graph.h"

struct memheap_snapshot {
	enum memheap_stage stage; /* how far it was decoded */
	struct parallel parallel;
	struct target target;
	struct modules modules;
	struct stacks stacks;
	bool has_python; /* always true from MEMHEAP_RUNTIME on */
	struct python python;
	struct block_map blocks;
	struct objects objects;
	struct graph graph;
	struct gaps gaps; /* of all stages */
	struct notices notices;
};
