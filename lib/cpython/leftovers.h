/* SPDX-License-Identifier: MIT */
/*
 * Blocks that no decoder knows, attributed by who points to them.
 *
 * Types of extension modules keep memory of their own behind pointers in their instances, and C
 * modules behind static variables. Nothing says how such memory is laid out, but a pointer to the
 * very start of a block that is in use, which nobody else claims, says whose it is. This evidence
 * is weak: it comes last, and takes nothing that a decoder has claimed.
 */
#pragma once

#include "references.h"

/* Reports the pointers of an instance whose type is opaque; nothing for others. */
void leftovers_claims(const struct layout *layout, const struct object *object, own_fn *report,
		      void *closure);

/* Attributes what is unknown yet to objects, then to modules' data, then to the blocks that these
 * point to. False when out of memory. */
bool leftovers_attribute(struct block_map *map, const struct heap_view *view,
			 const struct modules *modules, const struct parallel *parallel);
