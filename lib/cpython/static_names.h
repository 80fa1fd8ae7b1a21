/* SPDX-License-Identifier: MIT */
/*
 * Names of static types whose text is missing. It lies in read-only data, which a core leaves to
 * the interpreter's file; where that is not at hand, the order of CPython's own types tells, or
 * their fingerprints, and the modules that have a type tell what they call it.
 */
#pragma once

#include "types.h"

/* Names the types that have no name yet, as far as possible; returns how many it named. */
size_t static_names_recover(struct type_table *table, const struct python *python,
			    const struct modules *modules);
