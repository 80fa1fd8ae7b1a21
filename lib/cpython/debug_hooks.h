/* SPDX-License-Identifier: MIT */
/* The debug hooks of CPython's allocators: PYTHONMALLOC=debug, python -X dev. */
#pragma once

#include "blocks.h"

/* Adds a gap when blocks have the hooks' headers: objects then begin at places that are not known.
 */
void debug_hooks_check(struct block_map *map, const struct memory *memory);
