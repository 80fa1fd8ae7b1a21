/* SPDX-License-Identifier: MIT */
/* Where a _PyRuntime may be: a ladder of ways, best first. */
#pragma once

#include "version.h"

/* The place of a _PyRuntime, before anybody has verified it. */
struct runtime_place {
	vaddr at;
	const char *how;               /* "symbol _PyRuntime in .dynsym" */
	struct python_version version; /* found NULL: whoever takes it has to find it */
};

/* What the ladder stands on. */
struct runtime_ladder {
	const struct target *target;
	struct modules *modules;
	const struct module_search *files; /* where debug files may be */
	struct strings *strings;           /* keep what is said of places */
	enum memheap_layout_source layout;
	struct notices *notices;
};

/* Looks in `module`. */
typedef bool runtime_find_fn(const struct runtime_ladder *ladder, struct module *module,
			     struct runtime_place *ret);

/* The rungs of the ladder, NULL-terminated. */
extern runtime_find_fn *const runtime_rungs[];

/* Whether a file of this name is likely to be a CPython. */
bool sounds_like_python(const struct module *module);
