/* SPDX-License-Identifier: MIT */
/* Finding the runtime of an interpreter of which nothing but its memory is at hand. */
#pragma once

#include "version.h"

/*
 * Searches the writable data of `module` for a _PyRuntime, by its structure in each version that
 * there is a table of. Believed is one whose main interpreter has a sys.hexversion of that version.
 */
bool runtime_search(const struct target *target, const struct module *module, vaddr *runtime,
		    struct python_version *version);
