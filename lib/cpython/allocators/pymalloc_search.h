/* SPDX-License-Identifier: MIT */
/* Finding pymalloc's static variables where no symbol tells (stripped interpreters up to 3.11). */
#pragma once

#include "pymalloc.h"

/* Reads and checks the arena_object at `record`; false when it is no arena in use. */
bool pymalloc_read_arena(const struct pymalloc *pymalloc, const struct memory *memory, vaddr record,
			 struct arena *ret);

/*
 * Searches the writable data of the interpreter's module for a pointer to an array of
 * arena_objects. `state` stays unchanged when there is none.
 */
void pymalloc_search_state(struct pymalloc_state *state, const struct python *python,
			   const struct pymalloc *pymalloc);
