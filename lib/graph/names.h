/* SPDX-License-Identifier: MIT */
/* What references are called. */
#pragma once

#include "../cpython/references.h"

/*
 * The reference as a person would write it behind its holder: ".name", "[3]", "[\"key\"]", "key",
 * "local x". Keys that are no names of a program's own are told by their type, unless `values`
 * are wanted. NULL when out of memory.
 */
const char *reference_name(const struct heap_view *view, const struct reference *reference,
			   bool values, struct strings *strings);

/* What the object of block `holder` calls the one of block `to`, by a strong reference if there is
 * one, and by none that is weak. NULL: out of memory, or it does not refer to it. */
const char *step_name(const struct heap_view *view, block_id holder, block_id to, bool values,
		      struct strings *strings);
