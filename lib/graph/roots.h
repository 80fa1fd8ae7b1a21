/* SPDX-License-Identifier: MIT */
/*
 * Roots: what keeps objects alive from outside of the heap. Those that are certain come first;
 * then objects that are always there; then what is only likely, words of C memory that nobody
 * knows.
 */
#pragma once

#include "graph.h"
#include "places.h"

enum root_kind {
	ROOT_MODULES,     /* sys.modules */
	ROOT_INTERPRETER, /* sys.__dict__, builtins.__dict__ */
	ROOT_FRAME,       /* a local variable of a frame, or the frame's function, code, … */
	ROOT_THREAD,      /* a member of a thread's state */
	ROOT_STATIC,      /* an object in static data */
	ROOT_STATE,       /* a word of an interpreter's state: stale ones are among them */
	ROOT_MODULE_DATA, /* a word of the writable data of an ELF file */
	ROOT_FRAME_STACK, /* a word of the evaluation stack of a Python frame */
	ROOT_TLS,         /* a word of a thread's thread-local data */
	ROOT_REGISTER,    /* a general register of a thread */
	ROOT_STACK,       /* a word of a C stack */
	ROOT_C_MEMORY,    /* a word of a block that C code uses */
	ROOT_OTHER,       /* a word of memory that no allocator and no module has */
	ROOT_KINDS
};

/* The first kinds whose roots are certain, and those that are no guesses. */
#define ROOTS_CERTAIN ROOT_STATIC
#define ROOTS_KNOWN   ROOT_STATE

struct root {
	object_id object;
	uint32_t kind;    /* enum root_kind */
	vaddr at;         /* where the reference lies */
	const char *name; /* what it is called; NULL: only where it lies is known */
};

struct roots {
	VECTOR(struct root) list; /* by kind, then in the order in which they were found */
	struct frame_list frames;
	struct strings strings;
};

struct memheap_error *roots_find(struct roots *roots, const struct graph *graph,
				 const struct root_sources *sources,
				 const struct parallel *parallel);

void roots_deinit(struct roots *roots);

/* What a person calls the root, kept in `strings`: "sys.modules", "local x in f() at app.py:12", "C
 * stack of thread 123". NULL when out of memory. */
const char *root_name(const struct root *root, const struct root_sources *sources,
		      struct strings *strings);

/* "module", "frame", … */
const char *root_kind_name(enum root_kind kind);
