/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../base/cleanup.h"
#include "classify.h"
#include "runtime_blocks.h"
#include "statics.h"

#define CHUNK_GRAIN 1024

/* A block that an object asked for as its own. */
struct claim {
	vaddr at;
	enum buffer_kind kind;
	bool shared;
};

/* A block that looks like an object and is claimed as a buffer. */
struct conflict {
	block_id id;
	block_tag claim; /* 0: the claim is in the block's tag */
};

/* What one worker has found. */
struct worker {
	struct type_totals *totals; /* by type */
	struct block_totals interned;
	struct gaps gaps;
	VECTOR(struct claim) claims; /* of the object at hand */
	VECTOR(struct conflict) conflicts;
	bool failed; /* out of memory */
};

struct pass {
	struct block_map *map;
	const struct python *python;
	const struct judge *judge;
	uint32_t str_type;
	struct worker *workers;
};

static void collect_claim(void *closure, vaddr at, enum buffer_kind kind, bool shared)
{
	struct worker *worker = closure;
	struct claim *claim = vector_push(&worker->claims);

	if (claim)
		*claim = (struct claim){ at, kind, shared };
	else
		worker->failed = true;
}

static void add_conflict(struct worker *worker, block_id id, block_tag claim)
{
	struct conflict *conflict = vector_push(&worker->conflicts);

	if (conflict)
		*conflict = (struct conflict){ id, claim };
	else
		worker->failed = true;
}

/* Tags the block at `at` as a buffer, and returns its size. Of two claims the one with the lower
 * tag wins, so that the outcome doesn't depend on the order of work. */
static uint64_t claim_block(struct worker *worker, struct block_map *map, vaddr at, block_tag tag)
{
	struct block block;
	block_tag old;

	if (!block_find(map, at, &block) || block.start != at)
		return 0;
	old = __atomic_load_n(&map->tags[block.id], __ATOMIC_RELAXED);
	for (;;) {
		if (tag_state(old) == BLOCK_OBJECT) {
			add_conflict(worker, block.id, tag);
			return block.size;
		}
		if (tag_state(old) != BLOCK_USED && (tag_state(old) != BLOCK_BUFFER || old <= tag))
			return block.size;
		if (__atomic_compare_exchange_n(&map->tags[block.id], &old, tag, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return block.size;
	}
}

static block_tag claim_tag(const struct claim *claim, uint32_t type)
{
	return tag_make(BLOCK_BUFFER, claim->kind, claim->shared ? TYPE_NONE : type);
}

static bool is_interned(const struct pass *pass, const struct verdict *verdict)
{
	const struct layout *layout = &pass->python->layout;

	return verdict->type == pass->str_type &&
	       layout_offset(layout, SIZE_ASCII) <= verdict->object.room &&
	       field_load(layout, verdict->object.bytes, FIELD_STR_INTERNED);
}

/* Adds an object to the sums (`sign` 1), or takes it out (-1). */
static void account(const struct pass *pass, struct worker *worker, const struct verdict *verdict,
		    const struct measure *measure, uint64_t block_bytes, uint64_t static_bytes,
		    int sign)
{
	struct type_totals *totals = &worker->totals[verdict->type];
	uint64_t times = (uint64_t)(int64_t)sign;

	totals->objects += times;
	totals->shallow_bytes += times * (measure->size + measure->preheader);
	totals->block_bytes += times * block_bytes;
	totals->static_bytes += times * static_bytes;
	totals->tracked += times * verdict->tracked;
	if (measure->unreadable && sign > 0)
		gap_add(&worker->gaps, GAP_OBJECT_UNREADABLE, verdict->object.at, 0);
	if (block_bytes && is_interned(pass, verdict)) {
		worker->interned.blocks += times;
		worker->interned.bytes += times * block_bytes;
	}
}

static bool measure_object(const struct pass *pass, struct worker *worker,
			   const struct verdict *verdict, struct measure *measure)
{
	worker->claims.count = 0;
	*measure = (struct measure){
		.memory = &pass->python->memory,
		.own = collect_claim,
		.closure = worker,
	};
	return object_measure(measure, &verdict->object);
}

/* Tags the blocks that the object owns; returns their bytes. */
static uint64_t commit_claims(struct worker *worker, struct block_map *map, uint32_t type)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < worker->claims.count; i++)
		bytes += claim_block(worker, map, worker->claims.items[i].at,
				     claim_tag(&worker->claims.items[i], type));
	return bytes;
}

/* Counts an object in a block, and its claims, which must hold what it says it has outside. */
static void add_object(const struct pass *pass, struct worker *worker,
		       const struct verdict *verdict, const struct measure *measure,
		       uint64_t block_bytes)
{
	uint64_t bytes;

	account(pass, worker, verdict, measure, block_bytes, 0, 1);
	bytes = commit_claims(worker, pass->map, verdict->type);
	if (measure->size > measure->inside + measure->elsewhere + bytes && !measure->unreadable)
		gap_add(&worker->gaps, GAP_OBJECT_INCONSISTENT, verdict->object.at, 0);
}

/* The tag of an object whose pre-header lies in its block. */
static block_tag object_tag(const struct verdict *verdict)
{
	return tag_make(BLOCK_OBJECT, (unsigned)verdict->object.before / 16, verdict->type);
}

/* Looks at one used block. */
static void judge_block(const struct pass *pass, struct worker *worker, block_id id, vaddr at,
			const uint8_t *bytes, uint64_t size)
{
	struct candidate candidate = { .bytes = bytes, .at = at, .size = size };
	block_tag *tag = &pass->map->tags[id], used = BLOCK_USED;
	struct verdict verdict;
	struct measure measure;

	if (!judge_header(pass->judge, &candidate, &verdict) ||
	    !measure_object(pass, worker, &verdict, &measure))
		return;
	if (!__atomic_compare_exchange_n(tag, &used, object_tag(&verdict), false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED)) {
		add_conflict(worker, id, 0);
		return;
	}
	add_object(pass, worker, &verdict, &measure, size);
}

static bool is_undecided(block_tag tag)
{
	return tag_state(tag) == BLOCK_USED || tag_state(tag) == BLOCK_BUFFER;
}

static void judge_pool(const struct pass *pass, struct worker *worker, const struct pool *pool,
		       vaddr at)
{
	const struct pymalloc *pymalloc = &pass->map->pymalloc;
	uint64_t size = pymalloc_block_bytes(pymalloc, pool->size_class);
	const uint8_t *bytes = image_at(pass->python->memory.image, at, pymalloc->pool_bytes);

	for (uint32_t i = 0; bytes && i < pool->carved; i++) {
		block_id id = pool->first + i;
		uint64_t offset = pymalloc->header_bytes + i * size;

		if (is_undecided(__atomic_load_n(&pass->map->tags[id], __ATOMIC_RELAXED)))
			judge_block(pass, worker, id, at + offset, bytes + offset, size);
	}
}

/* Judges the blocks of arenas [begin, end). */
static void judge_arenas(void *context, unsigned index, size_t begin, size_t end)
{
	const struct pass *pass = context;
	const struct pymalloc *pymalloc = &pass->map->pymalloc;

	for (size_t i = begin; i < end; i++) {
		const struct arena *arena = &pymalloc->arenas.items[i];

		for (uint32_t j = 0; j < arena->pool_count; j++)
			judge_pool(pass, &pass->workers[index], &pymalloc->pools[arena->pools + j],
				   pymalloc_pool_at(pymalloc, arena, j));
	}
}

/* Judges chunks [begin, end). */
static void judge_chunks(void *context, unsigned index, size_t begin, size_t end)
{
	const struct pass *pass = context;
	const struct block_map *map = pass->map;

	for (size_t i = begin; i < end; i++) {
		const struct chunk *chunk = &map->malloc.chunks.items[i];
		block_id id = map->first_chunk + (block_id)i;
		const uint8_t *bytes;

		if (!is_undecided(__atomic_load_n(&map->tags[id], __ATOMIC_RELAXED)))
			continue;
		bytes = image_at(pass->python->memory.image, chunk->start, chunk->size);
		if (bytes)
			judge_block(pass, &pass->workers[index], id, chunk->start, bytes,
				    chunk->size);
	}
}

static bool judge_static(const struct pass *pass, const struct static_object *object,
			 struct verdict *verdict)
{
	const struct image *image = pass->python->memory.image;
	const struct image_run *run = image_run_at(image, object->at);
	struct candidate candidate = { .at = object->at, .is_static = true };

	if (!run)
		return false;
	candidate.bytes = run->bytes + (object->at - run->start);
	candidate.size = run->end - object->at;
	candidate.before = object->at - run->start;
	return judge_header(pass->judge, &candidate, verdict);
}

/* Judges the objects in static data. */
static void judge_statics(const struct pass *pass, struct worker *worker)
{
	struct block_map *map = pass->map;

	for (size_t i = 0; i < map->statics.count; i++) {
		const struct static_object *object = &map->statics.items[i];
		struct verdict verdict;
		struct measure measure;

		if (!judge_static(pass, object, &verdict) ||
		    !measure_object(pass, worker, &verdict, &measure))
			continue;
		map->tags[map->first_static + i] = tag_make(BLOCK_OBJECT, 0, verdict.type);
		account(pass, worker, &verdict, &measure, 0, object->size, 1);
		commit_claims(worker, map, verdict.type);
	}
}

static bool judge_by_id(const struct pass *pass, block_id id, struct verdict *verdict)
{
	struct block block = block_get(pass->map, id);
	struct candidate candidate = { .at = block.start, .size = block.size };

	candidate.bytes = image_at(pass->python->memory.image, block.start, block.size);
	return candidate.bytes && judge_header(pass->judge, &candidate, verdict);
}

/* Takes back what a block claimed that is no object after all. */
static void release_claims(struct worker *worker, struct block_map *map, uint32_t type)
{
	for (size_t i = 0; i < worker->claims.count; i++) {
		const struct claim *claim = &worker->claims.items[i];
		struct block block;

		if (block_find(map, claim->at, &block) && block.start == claim->at &&
		    map->tags[block.id] == claim_tag(claim, type))
			map->tags[block.id] = BLOCK_USED;
	}
}

/* Decides one conflict: a tracked object stays one, anything else is a buffer. */
static void settle(const struct pass *pass, struct worker *worker, const struct conflict *conflict)
{
	block_tag *tag = &pass->map->tags[conflict->id];
	bool is_object = tag_state(*tag) == BLOCK_OBJECT;
	uint64_t size = block_get(pass->map, conflict->id).size;
	struct verdict verdict;
	struct measure measure;

	if (!judge_by_id(pass, conflict->id, &verdict) ||
	    !measure_object(pass, worker, &verdict, &measure))
		return;
	if (verdict.tracked && !is_object) {
		*tag = object_tag(&verdict);
		add_object(pass, worker, &verdict, &measure, size);
	} else if (!verdict.tracked && is_object && conflict->claim) {
		account(pass, worker, &verdict, &measure, size, 0, -1);
		release_claims(worker, pass->map, verdict.type);
		*tag = conflict->claim;
		gap_add(&worker->gaps, GAP_CLAIM_CONFLICT, verdict.object.at, 0);
	} else if (!verdict.tracked && conflict->claim && conflict->claim < *tag) {
		*tag = conflict->claim;
	}
}

static int compare_conflicts(const void *a, const void *b)
{
	const struct conflict *left = a, *right = b;

	if (left->id != right->id)
		return left->id < right->id ? -1 : 1;
	return left->claim < right->claim ? -1 : left->claim > right->claim;
}

/* Settles the conflicts of all workers, in the order of blocks; the first worker takes them. */
static void settle_all(const struct pass *pass, unsigned workers)
{
	struct worker *first = &pass->workers[0];
	struct conflict *conflicts;
	size_t count;

	for (unsigned i = 1; i < workers; i++) {
		for (size_t j = 0; j < pass->workers[i].conflicts.count; j++)
			add_conflict(first, pass->workers[i].conflicts.items[j].id,
				     pass->workers[i].conflicts.items[j].claim);
	}
	/* settling an object may bring new claims, and with them conflicts behind these */
	conflicts = first->conflicts.items;
	count = first->conflicts.count;
	first->conflicts.items = NULL;
	first->conflicts.count = first->conflicts.capacity = 0;
	if (count)
		qsort(conflicts, count, sizeof(*conflicts), compare_conflicts);
	for (size_t i = 0; i < count; i++)
		settle(pass, first, &conflicts[i]);
	free(conflicts);
}

/* Sums up what all workers found. */
static void merge_workers(struct objects *objects, const struct pass *pass, unsigned workers)
{
	for (unsigned i = 0; i < workers; i++) {
		const struct worker *worker = &pass->workers[i];

		for (size_t j = 0; j < objects->types.list.count; j++) {
			struct type_totals *to = &objects->by_type[j];
			const struct type_totals *from = &worker->totals[j];

			to->objects += from->objects;
			to->shallow_bytes += from->shallow_bytes;
			to->block_bytes += from->block_bytes;
			to->static_bytes += from->static_bytes;
			to->tracked += from->tracked;
		}
		objects->interned.blocks += worker->interned.blocks;
		objects->interned.bytes += worker->interned.bytes;
		gaps_merge(&objects->gaps, &worker->gaps);
	}
}

static void free_workers(struct worker *workers, unsigned count)
{
	for (unsigned i = 0; workers && i < count; i++) {
		free(workers[i].totals);
		free(workers[i].claims.items);
		free(workers[i].conflicts.items);
	}
	free(workers);
}

static struct worker *make_workers(unsigned count, size_t types)
{
	struct worker *workers = calloc(count, sizeof(*workers));

	for (unsigned i = 0; workers && i < count; i++) {
		workers[i].totals = calloc(types, sizeof(*workers[i].totals));
		if (!workers[i].totals) {
			free_workers(workers, count);
			return NULL;
		}
	}
	return workers;
}

/* Judges everything; false when out of memory. */
static bool judge_all(struct objects *objects, struct pass *pass, const struct parallel *parallel)
{
	struct block_map *map = pass->map;
	bool failed = false;

	pass->workers = make_workers(parallel->workers, objects->types.list.count);
	if (!pass->workers)
		return false;
	judge_statics(pass, &pass->workers[0]);
	parallel_for(parallel, "reading malloc's chunks", map->malloc.chunks.count, CHUNK_GRAIN,
		     judge_chunks, pass);
	parallel_for(parallel, "reading objects", map->pymalloc.arenas.count, 1, judge_arenas,
		     pass);
	settle_all(pass, parallel->workers);
	merge_workers(objects, pass, parallel->workers);
	for (unsigned i = 0; i < parallel->workers; i++)
		failed |= pass->workers[i].failed;
	free_workers(pass->workers, parallel->workers);
	return !failed;
}

/* Sums up the tags: what the blocks are that are no objects. */
static void count_block(struct objects *objects, block_tag tag, uint64_t size, bool pool,
			struct class_totals *class)
{
	switch (tag_state(tag)) {
	case BLOCK_BUFFER:
		objects->buffers[tag_detail(tag)].blocks++;
		objects->buffers[tag_detail(tag)].bytes += size;
		if (tag_type(tag) != TYPE_NONE)
			objects->by_type[tag_type(tag)].buffer_bytes += size;
		break;
	case BLOCK_PARKED:
		objects->parked[tag_detail(tag)].blocks++;
		objects->parked[tag_detail(tag)].bytes += size;
		break;
	case BLOCK_USED:
		if (pool) {
			class->unknown++;
		} else {
			objects->unknown_chunks.blocks++;
			objects->unknown_chunks.bytes += size;
		}
		break;
	default:
		break;
	}
}

static void count_pools(struct objects *objects, const struct block_map *map)
{
	const struct pymalloc *pymalloc = &map->pymalloc;

	for (size_t i = 0; i < pymalloc->pool_count; i++) {
		const struct pool *pool = &pymalloc->pools[i];
		struct class_totals *class = &objects->classes[pool->size_class];
		uint64_t size = pymalloc_block_bytes(pymalloc, pool->size_class);

		if (!pool->count)
			continue;
		class->pools++;
		class->used += pool->used;
		class->free += (uint64_t)pool->carved - pool->used;
		class->untouched += (uint64_t)pool->count - pool->carved;
		for (uint32_t j = 0; j < pool->carved; j++)
			count_block(objects, map->tags[pool->first + j], size, true, class);
	}
}

static void count_chunks(struct objects *objects, const struct block_map *map)
{
	for (size_t i = 0; i < map->malloc.chunks.count; i++)
		count_block(objects, map->tags[map->first_chunk + i],
			    map->malloc.chunks.items[i].size, false, NULL);
}

static void count_types(struct objects *objects)
{
	for (size_t i = 0; i < objects->types.list.count; i++) {
		const struct type *type = &objects->types.list.items[i];

		objects->count += objects->by_type[i].objects;
		objects->tracked += objects->by_type[i].tracked;
		if (!type->named)
			gap_add(&objects->gaps, GAP_TYPE_UNREADABLE, type->at, 0);
	}
	objects->untracked = objects->count - objects->tracked;
}

static uint32_t find_str(const struct type_table *types)
{
	for (uint32_t i = 0; i < types->list.count; i++) {
		if (!types->list.items[i].heap && !strcmp(types->list.items[i].name, "str"))
			return i;
	}
	return TYPE_NONE;
}

struct memheap_error *objects_build(struct objects *objects, struct block_map *map,
				    const struct python *python, const struct modules *modules,
				    const struct parallel *parallel)
{
	struct judge judge = { python, &objects->types };
	struct pass pass = { map, python, &judge, TYPE_NONE, NULL };
	struct memheap_error *error;

	error = types_build(&objects->types, python, modules, map);
	if (error)
		return error;
	objects->str_type = pass.str_type = find_str(&objects->types);
	objects->by_type = calloc(objects->types.list.count, sizeof(*objects->by_type));
	if (!objects->by_type || !statics_find(map, &judge, modules))
		return &error_no_memory;
	free_lists_mark(map, python, &objects->types);
	runtime_blocks_mark(map, python);
	if (!judge_all(objects, &pass, parallel))
		return &error_no_memory;
	free_lists_search(map, python, &objects->types);
	count_pools(objects, map);
	count_chunks(objects, map);
	count_types(objects);
	return NULL;
}

void objects_deinit(struct objects *objects)
{
	types_deinit(&objects->types);
	free(objects->by_type);
	*objects = (struct objects){ 0 };
}

/* Sums the blocks of one object that only it owns. */
struct owned {
	const struct block_map *map;
	uint32_t type;
	uint64_t bytes;
};

static void add_owned(void *closure, vaddr at, enum buffer_kind kind, bool shared)
{
	struct owned *owned = closure;
	struct claim claim = { at, kind, shared };
	struct block block;

	if (!shared && block_find(owned->map, at, &block) && block.start == at &&
	    owned->map->tags[block.id] == claim_tag(&claim, owned->type))
		owned->bytes += block.size;
}

/* Judges the object of block `id` again; false when it is no object. */
static bool judge_again(const struct objects *objects, const struct block_map *map,
			const struct python *python, block_id id, struct verdict *verdict)
{
	struct judge judge = { python, &objects->types };
	struct pass pass = { (struct block_map *)map, python, &judge, TYPE_NONE, NULL };

	if (tag_state(map->tags[id]) != BLOCK_OBJECT)
		return false;
	if (id >= map->first_static)
		return judge_static(&pass, &map->statics.items[id - map->first_static], verdict);
	return judge_by_id(&pass, id, verdict);
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
	if (!object_measure(&measure, &verdict.object))
		return false;
	if (!info.is_static)
		info.block = block_get(map, id);
	info.at = verdict.object.at;
	info.type = verdict.type;
	info.shallow_bytes = measure.size + measure.preheader;
	info.occupied_bytes = owned.bytes + info.block.size;
	info.refcount = field_load(&python->layout, verdict.object.bytes, FIELD_OBJECT_REFCOUNT);
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

static void compare_claim(void *closure, vaddr at, enum buffer_kind kind, bool shared)
{
	struct wanted *wanted = closure;

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
	    !object_measure(&measure, &verdict.object) || !wanted.found)
		return false;
	*kind = wanted.kind;
	*shared = wanted.shared;
	return true;
}
