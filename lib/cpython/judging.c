/* SPDX-License-Identifier: MIT */
#include "judging.h"

#include <stdlib.h>

#include "../base/cleanup.h"

#define CHUNK_GRAIN 1024
#define LOOK_AHEAD  12 /* blocks */

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
struct PER_WORKER worker {
	struct type_totals *totals; /* by type */
	struct block_totals interned;
	struct gaps gaps;
	VECTOR(struct claim) claims; /* of the object at hand */
	VECTOR(struct conflict) conflicts;
	bool met_opaque; /* an object of an opaque type, in the pool at hand */
	bool failed;     /* out of memory */
};

struct pass {
	struct objects *objects;
	struct block_map *map;
	const struct judge *judge;
	struct worker *workers;
};

static void collect_claim(void *closure, vaddr at, uint64_t size, enum buffer_kind kind,
			  bool shared)
{
	struct worker *worker = closure;
	struct claim *claim = vector_push(&worker->claims);

	(void)size;
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

/* The tag of a block that two objects claim: neither owns it alone, whatever the order of work. */
static block_tag merge_claims(block_tag a, block_tag b)
{
	return tag_make(BLOCK_BUFFER, MIN(tag_detail(a), tag_detail(b)), TYPE_NONE);
}

/* Tags the block at `at` as a buffer, and returns its size. */
static uint64_t claim_block(struct worker *worker, struct block_map *map, vaddr at, block_tag tag)
{
	struct block block;
	block_tag old, merged;

	if (!block_find(map, at, &block) || block.start != at)
		return 0;
	old = __atomic_load_n(&map->tags[block.id], __ATOMIC_RELAXED);
	for (;;) {
		if (tag_state(old) == BLOCK_OBJECT) {
			add_conflict(worker, block.id, tag);
			return block.size;
		}
		if (tag_state(old) != BLOCK_USED && tag_state(old) != BLOCK_BUFFER)
			return block.size;
		merged = tag_state(old) == BLOCK_BUFFER ? merge_claims(old, tag) : tag;
		if (merged == old ||
		    __atomic_compare_exchange_n(&map->tags[block.id], &old, merged, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return block.size;
	}
}

static bool is_interned(const struct pass *pass, const struct verdict *verdict)
{
	const struct layout *layout = &pass->judge->python->layout;

	return verdict->type == pass->objects->str_type &&
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
	totals->frozen += times * verdict->frozen;
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
		.memory = &pass->judge->python->memory,
		.own = collect_claim,
		.closure = worker,
	};
	return object_measure(measure, &verdict->object);
}

/* Tags the blocks that the object owns; returns their bytes. */
static uint64_t commit_claims(struct worker *worker, struct block_map *map, uint32_t type)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < worker->claims.count; i++) {
		const struct claim *claim = &worker->claims.items[i];

		bytes += claim_block(worker, map, claim->at,
				     claim_tag(claim->kind, claim->shared, type));
	}
	return bytes;
}

/* Whether a claim lies in memory of a malloc that could not be walked: its size is not known. */
static bool claims_unwalked(const struct worker *worker, const struct block_map *map)
{
	for (size_t i = 0; i < worker->claims.count; i++) {
		if (malloc_is_unwalked(&map->malloc, worker->claims.items[i].at))
			return true;
	}
	return false;
}

/* Counts an object in a block, and its claims, which must hold what it says it has outside. */
static void add_object(const struct pass *pass, struct worker *worker,
		       const struct verdict *verdict, const struct measure *measure,
		       uint64_t block_bytes)
{
	uint64_t bytes;

	account(pass, worker, verdict, measure, block_bytes, 0, 1);
	bytes = commit_claims(worker, pass->map, verdict->type);
	if (measure->size > measure->inside + measure->elsewhere + bytes && !measure->unreadable &&
	    !claims_unwalked(worker, pass->map))
		gap_add(&worker->gaps, GAP_OBJECT_INCONSISTENT, verdict->object.at, 0);
}

/* The tag of an object whose pre-header lies in its block. */
static block_tag object_tag(const struct verdict *verdict)
{
	return tag_make(BLOCK_OBJECT, (unsigned)verdict->object.before / TAG_PREHEADER_UNIT,
			verdict->type);
}

/* Looks at one used block, which begins with `bytes`. */
static void judge_block(const struct pass *pass, struct worker *worker, const struct block *block,
			const uint8_t *bytes)
{
	struct candidate candidate = {
		.bytes = bytes,
		.at = block->start,
		.size = block_room(block, bytes),
		.use = block->use,
		.begins = block->begins,
	};
	block_tag *tag = &pass->map->tags[block->id], used = BLOCK_USED;
	struct verdict verdict;
	struct measure measure;

	if (!judge_header(pass->judge, &candidate, &verdict) ||
	    !measure_object(pass, worker, &verdict, &measure))
		return;
	worker->met_opaque |= verdict.object.type->opaque;
	if (!__atomic_compare_exchange_n(tag, &used, object_tag(&verdict), false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED)) {
		add_conflict(worker, block->id, 0);
		return;
	}
	add_object(pass, worker, &verdict, &measure, block->size);
}

static bool is_undecided(block_tag tag)
{
	return tag_state(tag) == BLOCK_USED || tag_state(tag) == BLOCK_BUFFER;
}

/* If the block begins with a GC header: has its neighbour's in the cache when it is judged. */
static void prefetch_neighbour(const struct pass *pass, const uint8_t *block)
{
	vaddr next = load_u64(block);
	const struct image_run *run =
		next ? image_run_at(pass->judge->python->memory.image, next) : NULL;

	if (run)
		__builtin_prefetch(run->bytes + (next - run->start));
}

static void judge_run(void *context, unsigned index, const struct block_run *run)
{
	const struct pass *pass = context;
	struct worker *worker = &pass->workers[index];
	const uint8_t *bytes = run_bytes(run, pass->judge->python->memory.image);
	struct block block = run_block(run, 0, true);

	worker->met_opaque = false;
	for (uint32_t i = 0; bytes && i < run->count; i++) {
		const uint8_t *content = bytes + (block.start - run->start);

		if (i + LOOK_AHEAD < run->count)
			prefetch_neighbour(pass, content + LOOK_AHEAD * run->step);
		if (is_undecided(__atomic_load_n(&pass->map->tags[block.id], __ATOMIC_RELAXED)))
			judge_block(pass, worker, &block, content);
		block.id++;
		block.start += run->step;
	}
	*run->opaque = worker->met_opaque;
}

/* Judges chunks [begin, end). */
static void judge_chunks(void *context, unsigned index, size_t begin, size_t end)
{
	const struct pass *pass = context;
	const struct block_map *map = pass->map;

	for (size_t i = begin; i < end; i++) {
		block_id id = map->first_chunk + (block_id)i;
		struct block block;
		const uint8_t *bytes;

		if (!is_undecided(__atomic_load_n(&map->tags[id], __ATOMIC_RELAXED)))
			continue;
		block = block_get(map, id);
		bytes = image_at(pass->judge->python->memory.image, block.start, block.size);
		if (bytes)
			judge_block(pass, &pass->workers[index], &block, bytes);
	}
}

bool judge_static(const struct judge *judge, const struct static_object *object,
		  struct verdict *verdict)
{
	const struct image_run *run = image_run_at(judge->python->memory.image, object->at);
	struct candidate candidate = { .at = object->at, .is_static = true };

	if (!run)
		return false;
	candidate.bytes = run->bytes + (object->at - run->start);
	candidate.size = run->end - object->at;
	candidate.before = object->at - run->start;
	return judge_header(judge, &candidate, verdict);
}

/* Judges the objects in static data. */
static void judge_statics(const struct pass *pass, struct worker *worker)
{
	struct block_map *map = pass->map;

	for (size_t i = 0; i < map->statics.count; i++) {
		const struct static_object *object = &map->statics.items[i];
		struct verdict verdict;
		struct measure measure;

		if (!judge_static(pass->judge, object, &verdict) ||
		    !measure_object(pass, worker, &verdict, &measure))
			continue;
		map->tags[map->first_static + i] = tag_make(BLOCK_OBJECT, 0, verdict.type);
		account(pass, worker, &verdict, &measure, 0, object->size, 1);
		commit_claims(worker, map, verdict.type);
	}
}

bool judge_block_id(const struct judge *judge, const struct block_map *map, block_id id,
		    struct verdict *verdict)
{
	struct block block = block_get(map, id);
	struct candidate candidate = {
		.at = block.start,
		.use = block.use,
		.begins = block.begins,
	};

	candidate.bytes = image_at(judge->python->memory.image, block.start, block.size);
	if (!candidate.bytes)
		return false;
	candidate.size = block_room(&block, candidate.bytes);
	return judge_header(judge, &candidate, verdict);
}

/* Takes back what a block claimed that is no object after all. */
static void release_claims(struct worker *worker, struct block_map *map, uint32_t type)
{
	for (size_t i = 0; i < worker->claims.count; i++) {
		const struct claim *claim = &worker->claims.items[i];
		struct block block;

		if (block_find(map, claim->at, &block) && block.start == claim->at &&
		    map->tags[block.id] == claim_tag(claim->kind, claim->shared, type))
			map->tags[block.id] = BLOCK_USED;
	}
}

/* Decides one conflict: a tracked object stays one. Anything else is a buffer, and what looks like
 * an object is left over in it from before: the characters of a short string, behind which is the
 * type of an object that was freed. */
static void settle(const struct pass *pass, struct worker *worker, const struct conflict *conflict)
{
	block_tag *tag = &pass->map->tags[conflict->id];
	bool is_object = tag_state(*tag) == BLOCK_OBJECT;
	uint64_t size = block_get(pass->map, conflict->id).size;
	struct verdict verdict;
	struct measure measure;

	if (!judge_block_id(pass->judge, pass->map, conflict->id, &verdict) ||
	    !measure_object(pass, worker, &verdict, &measure))
		return;
	if (verdict.tracked && !is_object) {
		*tag = object_tag(&verdict);
		add_object(pass, worker, &verdict, &measure, size);
	} else if (!verdict.tracked && is_object && conflict->claim) {
		account(pass, worker, &verdict, &measure, size, 0, -1);
		release_claims(worker, pass->map, verdict.type);
		*tag = conflict->claim;
	} else if (!verdict.tracked && conflict->claim) {
		*tag = merge_claims(conflict->claim, *tag);
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
			to->frozen += from->frozen;
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

static struct worker *make_workers(const struct parallel *parallel, size_t types)
{
	struct worker *workers = parallel_results(parallel, sizeof(*workers));

	for (unsigned i = 0; workers && i < parallel->workers; i++) {
		workers[i].totals = calloc(types, sizeof(*workers[i].totals));
		if (!workers[i].totals) {
			free_workers(workers, parallel->workers);
			return NULL;
		}
	}
	return workers;
}

bool judge_all(struct objects *objects, struct block_map *map, const struct judge *judge,
	       const struct parallel *parallel)
{
	struct pass pass = { objects, map, judge, NULL };
	bool failed = false;

	pass.workers = make_workers(parallel, objects->types.list.count);
	if (!pass.workers)
		return false;
	judge_statics(&pass, &pass.workers[0]);
	parallel_for(parallel, "reading malloc's chunks", map->malloc.chunks.count, CHUNK_GRAIN,
		     judge_chunks, &pass);
	blocks_each_run(map, parallel, "reading objects", judge_run, &pass);
	settle_all(&pass, parallel->workers);
	merge_workers(objects, &pass, parallel->workers);
	for (unsigned i = 0; i < parallel->workers; i++)
		failed |= pass.workers[i].failed;
	free_workers(pass.workers, parallel->workers);
	return !failed;
}
