/* SPDX-License-Identifier: MIT */
/* Blocks that the interpreter itself owns: its states, its allocator's tables, interned strings. */
#pragma once

#include "blocks.h"

void runtime_blocks_mark(struct block_map *map, const struct python *python);
