/* SPDX-License-Identifier: MIT */
/* The addresses of what one object refers to, by kind of reference. */
#pragma once

#include "report.h"

struct referents {
	struct {
		VECTOR(uint64_t) list;
		struct memheap_addresses cell;
	} kinds[REFERENCE_KINDS];
	bool failed; /* out of memory */
};

/* Fills `referents` anew; what could not be read is left out, and false then. */
bool referents_collect(struct referents *referents, const struct memheap_snapshot *s, block_id id);

void referents_deinit(struct referents *referents);

/* What one kind holds, as a cell that lives until the next object. */
struct memheap_cell referents_cell(struct referents *referents, enum reference_kind kind);
