/* SPDX-License-Identifier: MIT */
/* From object to object: what refers to what. */
#pragma once

#include "objects.h"

/* What the references of a process are read from. */
struct heap_view {
	const struct objects *objects;
	const struct block_map *map;
	const struct python *python;
};

/* The object that begins at `at`: its block id, or BLOCK_NONE. */
block_id object_find(const struct block_map *map, vaddr at);

/* The object of block `id`; false when there is none, or its memory is missing. */
bool object_get(const struct heap_view *view, block_id id, struct object *ret);

/* The same for a block that was found already, and begins with `bytes`; not for statics. */
bool object_in_block(const struct heap_view *view, const struct block *block, const uint8_t *bytes,
		     struct object *ret);

/* Called for each reference to an object; `to` is the object's block id. */
typedef void edge_fn(void *closure, block_id to, const struct reference *reference);

/*
 * Calls `see` for each reference that the object has to another, several times where it has
 * several. What a type that nobody knows keeps in blocks of its own is searched, too. False when
 * something could not be read.
 */
bool references_visit(const struct heap_view *view, const struct object *object, edge_fn *see,
		      void *closure);
