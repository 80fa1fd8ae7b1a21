/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../base/cleanup.h"
#include "owners.h"

#define GRAIN 4096

struct search {
	vaddr at;
	const struct objects *objects;
	const struct block_map *map;
	const struct python *python;
	struct owner *found; /* one for each worker */
};

/* An owner of its own comes before one that shares; then the lower id. */
static bool is_better(const struct owner *a, const struct owner *b)
{
	if (a->id == BLOCK_NONE || b->id == BLOCK_NONE)
		return a->id != BLOCK_NONE;
	return a->shared != b->shared ? !a->shared : a->id < b->id;
}

static void search_blocks(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct search *search = context;

	for (block_id id = (block_id)begin; id < end; id++) {
		struct owner owner = { .id = id };

		if (objects_claims(search->objects, search->map, search->python, id, search->at,
				   &owner.kind, &owner.shared) &&
		    is_better(&owner, &search->found[worker]))
			search->found[worker] = owner;
	}
}

struct memheap_error *owner_find(struct owner *ret, vaddr at, const struct objects *objects,
				 const struct block_map *map, const struct python *python,
				 const struct parallel *parallel)
{
	struct search search = { at, objects, map, python, NULL };
	struct owner best = { .id = BLOCK_NONE };

	_cleanup_free_ struct owner *found = calloc(parallel->workers, sizeof(*found));
	if (!found)
		return &error_no_memory;
	for (unsigned i = 0; i < parallel->workers; i++)
		found[i].id = BLOCK_NONE;
	search.found = found;
	parallel_for(parallel, "looking for the owner", map->count, GRAIN, search_blocks, &search);
	for (unsigned i = 0; i < parallel->workers; i++) {
		if (is_better(&found[i], &best))
			best = found[i];
	}
	*ret = best;
	return NULL;
}
