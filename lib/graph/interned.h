/* SPDX-License-Identifier: MIT */
/* The dict of interned strings, which does not keep them alive. */
#pragma once

#include "roots.h"

/*
 * Whether the object, to which only the interpreter's state or static data refers, is the dict of
 * interned strings: each is its own value, and up to 3.11, and again from 3.13 on, neither
 * reference is counted (Objects/unicodeobject.c, PyUnicode_InternInPlace()).
 */
bool is_interned_table(const struct heap_view *view, const struct graph *graph, object_id id);

/* Whether the object is what 2.7 puts in place of a deleted key: Objects/dictobject.c, dummy */
bool is_deleted_key(const struct heap_view *view, const struct graph *graph, object_id id);
