/* SPDX-License-Identifier: MIT */
/*
 * Where CPython's free lists keep pointers to dead objects. An object that is taken from there
 * leaves its address behind: these words hold nothing, whatever they point to.
 */
#pragma once

#include "references.h"

struct slot_range {
	vaddr start, end;
};

struct free_slots {
	VECTOR(struct slot_range) list; /* by start */
};

/* Finds them in the states of interpreters and threads, or (up to 3.9) in static variables; false
 * when out of memory. */
bool free_slots_find(struct free_slots *slots, const struct heap_view *view);

void free_slots_deinit(struct free_slots *slots);

/* Whether the word at `at` is of a free list. */
bool free_slots_have(const struct free_slots *slots, vaddr at);
