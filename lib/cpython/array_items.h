/* SPDX-License-Identifier: MIT */
/*
 * The size of an array.array's items is in a table of read-only data. Where that is neither in the
 * core nor in a file at hand, it follows from the blocks that arrays have.
 */
#pragma once

#include "blocks.h"
#include "types.h"

/* Sets struct type's item_sizes for types with arrays whose descriptions can't be read. Decoders
 * must have been chosen. */
void array_items_find(struct type_table *table, const struct block_map *map,
		      const struct python *python);
