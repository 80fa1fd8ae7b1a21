/* SPDX-License-Identifier: MIT */
/* Summing up the tags of all blocks, once each says what it is. */
#pragma once

#include "objects.h"

/* Sets buffers, parked, classes, unknown_chunks and the buffer_bytes of types; false when out of
 * memory. */
bool count_blocks(struct objects *objects, struct block_map *map, const struct parallel *parallel);
