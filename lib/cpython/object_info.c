/* SPDX-License-Identifier: MIT */
#include "counted.h"
#include "judging.h"
#include "leftovers.h"

/* Sums the blocks of one object that only it owns. */
struct owned {
	const struct block_map *map;
	uint32_t type;
	uint64_t bytes;
};

static void add_owned(void *closure, vaddr at, uint64_t size, enum buffer_kind kind, bool shared)
{
	struct owned *owned = closure;
	struct block block;

	(void)size;
	if (!shared && block_find(owned->map, at, &block) && block.start == at &&
	    owned->map->tags[block.id] == claim_tag(kind, shared, owned->type))
		owned->bytes += block.size;
}

/* Measures the object, and reports all blocks that it claims. */
static bool measure_all(struct measure *measure, const struct object *object)
{
	if (!object_measure(measure, object))
		return false;
	leftovers_claims(measure->memory->layout, object, measure->own, measure->closure);
	return true;
}

/* Judges the object of block `id` again; false when it is no object. */
static bool judge_again(const struct objects *objects, const struct block_map *map,
			const struct python *python, block_id id, struct verdict *verdict)
{
	struct judge judge = { python, &objects->types };

	if (tag_state(map->tags[id]) != BLOCK_OBJECT)
		return false;
	if (id >= map->first_static)
		return judge_static(&judge, &map->statics.items[id - map->first_static], verdict);
	return judge_block_id(&judge, map, id, verdict);
}

bool objects_get(const struct objects *objects, const struct block_map *map,
		 const struct python *python, block_id id, struct object_info *ret)
{
	struct object_info info = { .is_static = id >= map->first_static };
	struct owned owned = { .map = map };
	struct verdict verdict;
	struct measure measure = {
		.memory = &python->memory,
		.own = add_owned,
		.closure = &owned,
	};

	if (!judge_again(objects, map, python, id, &verdict))
		return false;
	owned.type = verdict.type;
	if (!measure_all(&measure, &verdict.object))
		return false;
	if (!info.is_static)
		info.block = block_get(map, id);
	info.at = verdict.object.at;
	info.type = verdict.type;
	info.shallow_bytes = measure.size + measure.preheader;
	info.occupied_bytes = owned.bytes + info.block.size;
	info.refcount = counted_references(python, &verdict.object);
	info.gc_tracked = verdict.tracked;
	*ret = info;
	return true;
}

/* A claim that is looked for. */
struct wanted {
	vaddr at;
	bool found;
	enum buffer_kind kind;
	bool shared;
};

static void compare_claim(void *closure, vaddr at, uint64_t size, enum buffer_kind kind,
			  bool shared)
{
	struct wanted *wanted = closure;

	(void)size;
	if (at != wanted->at || wanted->found)
		return;
	wanted->found = true;
	wanted->kind = kind;
	wanted->shared = shared;
}

bool objects_claims(const struct objects *objects, const struct block_map *map,
		    const struct python *python, block_id id, vaddr at, enum buffer_kind *kind,
		    bool *shared)
{
	struct wanted wanted = { .at = at };
	struct verdict verdict;
	struct measure measure = {
		.memory = &python->memory,
		.own = compare_claim,
		.closure = &wanted,
	};

	if (!judge_again(objects, map, python, id, &verdict) ||
	    !measure_all(&measure, &verdict.object) || !wanted.found)
		return false;
	*kind = wanted.kind;
	*shared = wanted.shared;
	return true;
}
