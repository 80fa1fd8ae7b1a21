/* SPDX-License-Identifier: MIT */
/*
 * First comes what is certain: what the garbage collector tracks, what frames and objects refer to.
 * Then what words lead to that may be references: of static data, of the interpreter's state, of
 * types that no decoder knows. They may be stale: what lies across a block that is certain is
 * nothing.
 *
 * What is found does not depend on the order of work: an object is one by itself, and all that it
 * leads to is looked at.
 */
#include "reached.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "../base/bisect.h"
#include "../base/cleanup.h"
#include "dict_keys.h"
#include "frame_list.h"
#include "judging.h"

#define GRAIN       64
#define CHUNK_GRAIN 1024
#define AT_ONCE     4096 /* objects that a worker looks at before others may take some */

/* What one worker has found. */
struct PER_WORKER worker {
	VECTOR(struct chunk) blocks;
	VECTOR(vaddr) open;     /* objects that are referred to, and that nobody has looked at */
	VECTOR(vaddr) doubtful; /* where words lead to that may be references */
	bool failed;            /* out of memory */
};

struct search {
	struct block_map *map;
	const struct heap_view *view;
	struct judge judge;
	uint64_t *first; /* by range: the number of its first word */
	uint64_t *met; /* a bit for each word of all ranges: something refers to an object there */
	uint64_t met_bytes;
	VECTOR(vaddr) open; /* of all workers */
	bool doubting;      /* what is certain is known: */
	VECTOR(struct chunk) blocks;
	struct worker *workers;
};

/* A worker with an object. */
struct visit {
	const struct search *search;
	struct worker *worker;
};

/* The range that holds `at`, or NULL. */
static const struct foreign_range *find_range(const struct search *search, vaddr at)
{
	const struct foreign_range *ranges = search->map->malloc.foreign.items;
	size_t count = search->map->malloc.foreign.count, found;

	if (at < ranges[0].start || at >= ranges[count - 1].end)
		return NULL;
	found = bisect(i, count, ranges[i].end <= at);
	return ranges[found].start <= at ? &ranges[found] : NULL;
}

/* Notes that something refers to an object at `at`. */
static void offer(const struct search *search, struct worker *worker, vaddr at)
{
	const struct foreign_range *range = find_range(search, at);
	uint64_t number, bit, *word;
	vaddr *open;

	if (!range || at % sizeof(vaddr))
		return;
	number = search->first[range - search->map->malloc.foreign.items] +
		 (at - range->start) / sizeof(vaddr);
	word = &search->met[number / 64];
	bit = 1ULL << number % 64;
	if (__atomic_load_n(word, __ATOMIC_RELAXED) & bit ||
	    __atomic_fetch_or(word, bit, __ATOMIC_RELAXED) & bit)
		return;
	open = vector_push(&worker->open);
	if (open)
		*open = at;
	else
		worker->failed = true;
}

static void see_reference(void *closure, const struct reference *reference)
{
	const struct visit *visit = closure;
	vaddr *doubtful;

	if (reference->kind != REFERENCE_CONSERVATIVE || visit->search->doubting) {
		offer(visit->search, visit->worker, reference->to);
		return;
	}
	if (!find_range(visit->search, reference->to))
		return;
	doubtful = vector_push(&visit->worker->doubtful);
	if (doubtful)
		*doubtful = reference->to;
	else
		visit->worker->failed = true;
}

/* Notes a block; false when it can't be one. */
static bool add_block(const struct search *search, struct worker *worker, vaddr at, uint64_t size,
		      uint64_t begins)
{
	const struct foreign_range *range = find_range(search, at);
	struct chunk *block;

	if (!range || !size || size > range->end - at)
		return false;
	block = vector_push(&worker->blocks);
	if (block)
		*block = (struct chunk){ at, size, CHUNK_USED, (uint8_t)begins };
	else
		worker->failed = true;
	return block;
}

static void add_owned(void *closure, vaddr at, uint64_t size, enum buffer_kind kind, bool shared)
{
	const struct visit *visit = closure;

	(void)kind;
	(void)shared;
	add_block(visit->search, visit->worker, at, size, BEGINS_NOWHERE);
}

/* The bytes that were asked for when the object was allocated. */
static uint64_t bytes_of(const struct memory *memory, const struct object *object,
			 const struct measure *measure)
{
	const struct layout *layout = memory->layout;
	const struct type *type = object->type;
	uint64_t bytes = measure->inside;

	/* what a subclass adds stands behind what its decoder knows */
	if (!type->own_decoder)
		bytes = MAX(bytes, type->basic_size);
	if (type->real_items)
		bytes = MAX(bytes, layout_offset(layout, FIELD_TUPLE_ITEMS) +
					   type->real_items * sizeof(vaddr));
	if (type->flags & layout_constant(layout, CONSTANT_TYPE_INLINE_VALUES))
		bytes = type->basic_size + values_bytes(memory, object->at + type->basic_size);
	/* no allocator gives less; _PyObject_VAR_SIZE() rounds up, too */
	return round_up(bytes, sizeof(vaddr));
}

/* Whether [start, end) overlaps a block that is certain. */
static bool overlaps(const struct search *search, vaddr start, vaddr end)
{
	const struct chunk *blocks = search->blocks.items;
	size_t after = bisect(i, search->blocks.count, blocks[i].start + blocks[i].size <= start);

	return after < search->blocks.count && blocks[after].start < end;
}

/* Notes what the object is, if it lies in a range, and owns, and what it refers to; or nothing, if
 * it is none. */
static void take_object(const struct search *search, struct worker *worker,
			const struct object *object, bool inside)
{
	const struct memory *memory = &search->view->python->memory;
	struct visit visit = { search, worker };
	struct measure measure = {
		.memory = memory,
		.own = add_owned,
		.closure = &visit,
		.sizes = true,
	};
	struct visitor visitor = { .memory = memory, .see = see_reference, .closure = &visit };
	size_t before = worker->blocks.count;
	bool is_object = object_measure(&measure, object);
	vaddr start = object->at - object->before, end;

	if (is_object && inside) {
		end = object->at + bytes_of(memory, object, &measure);
		is_object =
			!(search->doubting && overlaps(search, start, end)) &&
			add_block(search, worker, start, end - start, BEGINS_HERE + object->before);
	}
	if (is_object)
		object_visit(&visitor, &search->view->objects->types, object);
	else
		worker->blocks.count = before;
}

/* Looks at the object that something says is at `at`. */
static void look_at(const struct search *search, struct worker *worker, vaddr at)
{
	const struct foreign_range *range = find_range(search, at);
	struct verdict verdict;

	if (range && judge_address(&search->judge, at, range->start, range->end, &verdict))
		take_object(search, worker, &verdict.object, true);
}

static void look_at_some(void *context, unsigned index, size_t begin, size_t end)
{
	const struct search *search = context;
	struct worker *worker = &search->workers[index];

	for (size_t i = begin; i < end; i++)
		look_at(search, worker, search->open.items[i]);
	for (int i = 0; worker->open.count && i < AT_ONCE; i++)
		look_at(search, worker, worker->open.items[--worker->open.count]);
}

/* Moves what is open to where all workers take it from; false when there is nothing. */
static bool share_open(struct search *search, unsigned workers)
{
	search->open.count = 0;
	for (unsigned i = 0; i < workers; i++) {
		struct worker *worker = &search->workers[i];

		while (worker->open.count) {
			vaddr *open = vector_push(&search->open);

			if (!open) {
				worker->failed = true;
				return false;
			}
			*open = worker->open.items[--worker->open.count];
		}
	}
	return search->open.count;
}

static void look_at_all(struct search *search, const struct parallel *parallel)
{
	while (share_open(search, parallel->workers))
		parallel_for(parallel, "following references", search->open.count, GRAIN,
			     look_at_some, search);
}

static void start_at_run(void *context, unsigned index, const struct block_run *run)
{
	const struct search *search = context;
	const uint8_t *bytes = run_bytes(run, search->view->python->memory.image);
	struct block block = run_block(run, 0, true);

	for (uint32_t i = 0; bytes && i < run->count; i++, block.id++, block.start += run->step) {
		const uint8_t *content = bytes + (block.start - run->start);
		struct candidate candidate = { content, block.start, .use = block.use };
		struct verdict verdict;

		if (tag_state(search->map->tags[block.id]) != BLOCK_USED)
			continue;
		candidate.size = block_room(&block, content);
		if (judge_header(&search->judge, &candidate, &verdict))
			take_object(search, &search->workers[index], &verdict.object, false);
	}
}

static void start_at_chunks(void *context, unsigned index, size_t begin, size_t end)
{
	const struct search *search = context;
	const struct block_map *map = search->map;

	for (size_t i = begin; i < end; i++) {
		block_id id = map->first_chunk + (block_id)i;
		struct verdict verdict;

		if (tag_state(map->tags[id]) == BLOCK_USED &&
		    judge_block_id(&search->judge, map, id, &verdict))
			take_object(search, &search->workers[index], &verdict.object, false);
	}
}

static void start_at_statics(const struct search *search)
{
	for (size_t i = 0; i < search->map->statics.count; i++) {
		struct verdict verdict;

		if (judge_static(&search->judge, &search->map->statics.items[i], &verdict))
			take_object(search, &search->workers[0], &verdict.object, false);
	}
}

static void start_at_tracked(void *closure, vaddr head)
{
	const struct search *search = closure;

	offer(search, &search->workers[0],
	      head + layout_offset(&search->view->python->layout, SIZE_GC_HEAD));
}

static void start_at_lists(struct search *search)
{
	const struct python *python = search->view->python;

	for (uint32_t i = 0; i < python->interpreters.count; i++) {
		struct gc_state gc;

		if (gc_read(python, i, &gc))
			gc_each(python, &gc, start_at_tracked, search);
	}
}

/* 3.11 and later: frames are no objects; before, they are. */
static void start_at_frames(const struct search *search, const struct frame_list *frames)
{
	const struct memory *memory = &search->view->python->memory;
	struct visit visit = { search, &search->workers[0] };
	struct visitor visitor = { .memory = memory, .see = see_reference, .closure = &visit };

	for (size_t i = 0; i < frames->list.count; i++) {
		if (layout_has(memory->layout, FIELD_INNER_FRAME_CODE))
			frame_visit_inner(&visitor, frames->list.items[i].at, true);
		else
			offer(search, &search->workers[0], frames->list.items[i].at);
	}
}

/* Notes what the words of [at, at + size) lead to, as far as they can be read. */
static void start_at_words(const struct search *search, vaddr at, uint64_t size)
{
	uint64_t room;
	const uint8_t *bytes = image_room(search->view->python->memory.image, at, &room);

	for (uint64_t i = 0; bytes && i + sizeof(vaddr) <= MIN(size, room); i += sizeof(vaddr))
		offer(search, &search->workers[0], load_u64(bytes + i));
}

static void start_at_states(const struct search *search)
{
	const struct python *python = search->view->python;
	uint64_t interpreter = layout_offset(&python->layout, SIZE_INTERP);
	uint64_t thread = layout_offset(&python->layout, SIZE_THREAD);

	for (size_t i = 0; i < python->interpreters.count; i++)
		start_at_words(search, python->interpreters.items[i].at, interpreter);
	for (size_t i = 0; i < python->threads.count; i++)
		start_at_words(search, python->threads.items[i].at, thread);
}

/* The words that the evaluation stacks of frames may have, and those of modules' data. */
static void start_at_places(const struct search *search, const struct frame_list *frames,
			    const struct modules *modules)
{
	const struct memory *memory = &search->view->python->memory;

	for (size_t i = 0; i < frames->list.count; i++) {
		vaddr start;
		uint64_t size;

		if (frame_unknown_stack(memory, frames->list.items[i].at, &start, &size))
			start_at_words(search, start, size);
	}
	for (size_t i = 0; i < memory->image->segments.count; i++) {
		const struct segment *segment = &memory->image->segments.items[i];

		start_at_words(search, segment->start, modules_data_size(modules, segment));
	}
}

/* By start; objects before what is only owned, then the largest first. */
static int compare_blocks(const void *a, const void *b)
{
	const struct chunk *left = a, *right = b;

	if (left->start != right->start)
		return left->start < right->start ? -1 : 1;
	if (left->begins != right->begins)
		return left->begins < right->begins ? -1 : 1;
	return left->size > right->size ? -1 : left->size < right->size;
}

/* Brings together what all workers have found; false when out of memory. */
static bool collect(struct search *search, unsigned workers, struct chunk **ret, size_t *count)
{
	bool failed = false;

	*count = 0;
	for (unsigned i = 0; i < workers; i++) {
		*count += search->workers[i].blocks.count;
		failed |= search->workers[i].failed;
	}
	*ret = failed ? NULL : malloc((*count + 1) * sizeof(**ret));
	*count = 0;
	for (unsigned i = 0; i < workers && *ret; i++) {
		struct worker *worker = &search->workers[i];

		if (worker->blocks.count)
			memcpy(*ret + *count, worker->blocks.items,
			       worker->blocks.count * sizeof(*worker->blocks.items));
		*count += worker->blocks.count;
		free(worker->blocks.items);
		worker->blocks.items = NULL;
		worker->blocks.count = worker->blocks.capacity = 0;
	}
	return *ret;
}

/* Adds what the workers have found to `blocks`, but for what overlaps what is there, or begins in
 * another. False when out of memory. */
static bool gather(struct search *search, unsigned workers)
{
	size_t count, kept = 0, old = search->blocks.count, to;
	_cleanup_free_ struct chunk *found = NULL;
	struct chunk *blocks;
	vaddr end = 0;

	if (!collect(search, workers, &found, &count))
		return false;
	qsort(found, count, sizeof(*found), compare_blocks);
	for (size_t i = 0; i < count; i++) {
		if (found[i].start < end ||
		    overlaps(search, found[i].start, found[i].start + found[i].size))
			continue;
		end = found[i].start + found[i].size;
		found[kept++] = found[i];
	}
	blocks = realloc(search->blocks.items, (old + kept + 1) * sizeof(*blocks));
	if (!blocks)
		return false;
	search->blocks.items = blocks;
	search->blocks.count = to = old + kept;
	while (kept) {
		bool behind = old && blocks[old - 1].start > found[kept - 1].start;

		blocks[--to] = behind ? blocks[--old] : found[--kept];
	}
	return true;
}

static bool find_certain(struct search *search, const struct frame_list *frames,
			 const struct parallel *parallel)
{
	const struct python *python = search->view->python;
	const struct block_map *map = search->map;

	/* these are no objects, and belong to none */
	for (size_t i = 0; i < python->threads.count; i++)
		add_block(search, &search->workers[0], python->threads.items[i].at,
			  layout_offset(&python->layout, SIZE_THREAD), BEGINS_NOWHERE);
	for (size_t i = 0; i < python->interpreters.count; i++)
		add_block(search, &search->workers[0], python->interpreters.items[i].at,
			  layout_offset(&python->layout, SIZE_INTERP), BEGINS_NOWHERE);
	start_at_statics(search);
	start_at_lists(search);
	start_at_frames(search, frames);
	blocks_each_run(map, parallel, "following references", start_at_run, search);
	parallel_for(parallel, "following references", map->malloc.chunks.count, CHUNK_GRAIN,
		     start_at_chunks, search);
	look_at_all(search, parallel);
	return gather(search, parallel->workers);
}

static bool find_doubtful(struct search *search, const struct frame_list *frames,
			  const struct modules *modules, const struct parallel *parallel)
{
	search->doubting = true;
	for (unsigned i = 0; i < parallel->workers; i++) {
		const struct worker *worker = &search->workers[i];

		for (size_t j = 0; j < worker->doubtful.count; j++)
			offer(search, &search->workers[0], worker->doubtful.items[j]);
	}
	start_at_states(search);
	start_at_places(search, frames, modules);
	look_at_all(search, parallel);
	return gather(search, parallel->workers);
}

static bool prepare(struct search *search, const struct parallel *parallel)
{
	const struct malloc_map *malloc = &search->map->malloc;
	uint64_t words = 0;

	search->first = calloc(malloc->foreign.count, sizeof(*search->first));
	search->workers = parallel_results(parallel, sizeof(*search->workers));
	if (!search->first || !search->workers)
		return false;
	for (size_t i = 0; i < malloc->foreign.count; i++) {
		const struct foreign_range *range = &malloc->foreign.items[i];

		search->first[i] = words;
		words += (range->end - range->start) / sizeof(vaddr) + 1;
	}
	search->met_bytes = (words / 64 + 1) * sizeof(*search->met);
	search->met = mmap(NULL, search->met_bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (search->met == MAP_FAILED)
		search->met = NULL;
	return search->met;
}

static void deinit(struct search *search, unsigned workers)
{
	if (search->met)
		munmap(search->met, search->met_bytes);
	for (unsigned i = 0; search->workers && i < workers; i++) {
		free(search->workers[i].blocks.items);
		free(search->workers[i].open.items);
		free(search->workers[i].doubtful.items);
	}
	free(search->workers);
	free(search->first);
	free(search->open.items);
	free(search->blocks.items);
}

bool reached_find(struct block_map *map, const struct heap_view *view,
		  const struct modules *modules, const struct parallel *parallel)
{
	struct search search = {
		.map = map,
		.view = view,
		.judge = { view->python, &view->objects->types },
	};
	_cleanup_(frame_list_deinit) struct frame_list frames = { 0 };
	bool done;

	if (!map->malloc.foreign.count)
		return true;
	done = prepare(&search, parallel) && frame_list_find(&frames, view->python) &&
	       find_certain(&search, &frames, parallel) &&
	       find_doubtful(&search, &frames, modules, parallel) &&
	       blocks_add_known(map, search.blocks.items, search.blocks.count);
	deinit(&search, parallel->workers);
	return done;
}
