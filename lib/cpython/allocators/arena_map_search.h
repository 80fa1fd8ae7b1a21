/* SPDX-License-Identifier: MIT */
/* Finding the tree of arenas where no symbol tells of it. */
#pragma once

#include "pymalloc.h"

/*
 * The address of `arena_map_root`, a static variable of 3.10 and 3.11: the tree whose leaves tell
 * of every arena. 0 when there is none.
 */
vaddr arena_map_search(const struct python *python, const struct pymalloc *pymalloc);
