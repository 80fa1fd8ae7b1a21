/* SPDX-License-Identifier: MIT */
/*
 * Places: the memory outside of all allocators where pointers may lie. Objects and chunks that are
 * referred to from there live, as far as anybody can know.
 */
#pragma once

#include "../cpython/frame_list.h"

/* What places are found with. */
struct root_sources {
	const struct heap_view *view;
	const struct modules *modules;
	const struct stacks *stacks;
	const struct process *process;
};

enum place_kind {
	PLACE_MODULE_DATA, /* writable data of an ELF file */
	PLACE_FRAME_STACK, /* the evaluation stack of a Python frame, whose depth nobody knows */
	PLACE_TLS,         /* thread-local data, and the C library's descriptor of a thread */
	PLACE_STACK,       /* a C stack, from its stack pointer on */
	PLACE_OTHER,       /* anonymous or shared memory of other kinds, other allocators' too */
};

struct word_place {
	vaddr start, end;
	enum place_kind kind;
};

struct places {
	VECTOR(struct word_place) list; /* all can be read; but for frame stacks without overlaps */
};

/* Finds all places; false when out of memory. */
bool places_find(struct places *places, const struct root_sources *sources,
		 const struct frame_list *frames);

void places_deinit(struct places *places);
