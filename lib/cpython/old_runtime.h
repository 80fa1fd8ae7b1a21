/* SPDX-License-Identifier: MIT */
/*
 * Before 3.7 there is no _PyRuntime. What it holds later are static variables of many files:
 * Python/pystate.c, Modules/gcmodule.c.
 */
#pragma once

#include "runtime.h"

/* Whether `module` is an interpreter of such a version. */
bool old_runtime_is_in(const struct module *module);

/* The first interpreter of the list, and how it was found; 0 when there is none. */
vaddr old_runtime_interpreters(const struct python *python, const char **how);

/* The generations of the garbage collector. */
vaddr old_runtime_generations(const struct python *python);

/* Whether a collection was going on. */
bool old_runtime_collecting(const struct python *python, const struct interpreter *interp);

/* Whether the interpreter was shutting down. */
bool old_runtime_finalizing(const struct python *python, const struct interpreter *interp);

/* The number in a static variable, an int or a word, whose symbol is not stripped. */
bool old_runtime_variable(const struct python *python, const char *name, uint64_t *ret);
