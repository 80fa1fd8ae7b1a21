/* SPDX-License-Identifier: MIT */
#include "leaks.h"

#include <elf.h>
#include <stdlib.h>

#include "../base/bisect.h"
#include "../base/cleanup.h"
#include "../cpython/idle_words.h"
#include "../cpython/values.h"

#define GRAIN       4096
#define PAGE_SHIFT  12
#define PIECE_BYTES (1 << 20) /* of a place, searched at once */

/* How a block is pointed to, in bits. */
#define POINTED_INSIDE 1
#define POINTED_BEGIN  2

struct search {
	struct leaks *leaks;
	const struct graph *graph;
	const struct root_sources *sources;
	struct id_map pages;              /* numbers of those that blocks lie on */
	vaddr lowest, highest;            /* of the blocks */
	VECTOR(struct word_place) pieces; /* of places */
	struct ranges idle;               /* words that hold nothing */
	uint32_t int_type;                /* index of the type int, or TYPE_NONE */
};

/* The native block that holds `at`: its index, or ID_NONE. */
static uint32_t find_block(const struct search *search, vaddr at)
{
	const struct native_block *blocks = search->leaks->blocks.items;
	size_t after;

	if (at < search->lowest || at >= search->highest ||
	    id_map_find(&search->pages, at >> PAGE_SHIFT) == ID_NONE)
		return ID_NONE;
	after = bisect(i, search->leaks->blocks.count, blocks[i].start <= at);
	return after && at - blocks[after - 1].start < blocks[after - 1].size
		       ? (uint32_t)(after - 1)
		       : ID_NONE;
}

/*
 * Whether it is malloc that points there, from its bins or from what they left behind in chunks
 * that are used again: the next chunk begins with the last word of the block. malloc/malloc.c,
 * struct malloc_chunk
 */
static bool is_link_of_malloc(const struct search *search, const struct native_block *block,
			      vaddr to)
{
	const struct block_map *map = search->sources->view->map;

	return block->id >= map->first_chunk && block->id < map->first_static &&
	       to == block->start + block->size - sizeof(vaddr) && to != block->start;
}

/* Notes what the word at `at` points to; 0: it lies nowhere. */
static void point(const struct search *search, vaddr at, vaddr to)
{
	uint32_t found = find_block(search, to);
	struct native_block *block;

	if (found == ID_NONE || (at && ranges_hold(&search->idle, at)))
		return;
	block = &search->leaks->blocks.items[found];
	if (is_link_of_malloc(search, block, to))
		return;
	__atomic_fetch_or(&block->hold, to == block->start ? POINTED_BEGIN : POINTED_INSIDE,
			  __ATOMIC_RELAXED);
}

static void search_words(const struct search *search, vaddr at, const uint8_t *bytes, uint64_t size)
{
	for (uint64_t i = 0; i + sizeof(vaddr) <= size; i += sizeof(vaddr))
		point(search, at + i, load_u64(bytes + i));
}

/*
 * Whether a block of that tag is alive, whoever holds it, and may hold pointers. A str has none but
 * to its own buffers, and the frames that code objects cached up to 3.9 are not in use: what is
 * left over there is stale.
 */
static bool is_holder(const struct heap_view *view, block_tag tag)
{
	if (tag_state(tag) == BLOCK_BUFFER)
		return tag_detail(tag) != BUFFER_FRAME;
	return tag_state(tag) == BLOCK_OBJECT && tag_type(tag) != view->objects->str_type;
}

/* The address that an int may hold: what ctypes was told by malloc(). */
static void search_int(const struct search *search, vaddr at)
{
	int64_t number;

	if (long_value(&search->sources->view->python->memory, at, &number) && number > 0)
		point(search, 0, (vaddr)number);
}

static void search_run(void *context, unsigned worker, const struct block_run *run)
{
	const struct search *search = context;
	const struct heap_view *view = search->sources->view;
	const uint8_t *bytes = run_bytes(run, view->python->memory.image);

	(void)worker;
	for (uint32_t i = 0; bytes && i < run->count; i++) {
		block_tag tag = view->map->tags[run->first + i];

		if (is_holder(view, tag))
			search_words(search, run->start + i * run->step, bytes + i * run->step,
				     idle_words_before(view, tag, run->step));
		if (tag_state(tag) == BLOCK_OBJECT && tag_type(tag) == search->int_type)
			search_int(search, run_block(run, i, true).start + tag_preheader(tag));
	}
}

static void search_chunks(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct search *search = context;
	const struct heap_view *view = search->sources->view;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		block_id id = view->map->first_chunk + (block_id)i;
		block_tag tag = view->map->tags[id];
		struct block block;
		const uint8_t *bytes;

		if (id >= view->map->first_static || !is_holder(view, tag))
			continue;
		block = block_get(view->map, id);
		if (tag_state(tag) == BLOCK_OBJECT && tag_type(tag) == search->int_type)
			search_int(search, block.start + tag_preheader(tag));
		bytes = image_at(view->python->memory.image, block.start, block.size);
		search_words(search, block.start, bytes,
			     bytes ? idle_words_before(view, tag, block.size) : 0);
	}
}

static void search_pieces(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct search *search = context;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		const struct word_place *piece = &search->pieces.items[i];
		vaddr start = round_up(piece->start, sizeof(vaddr));
		uint64_t room;
		const uint8_t *bytes =
			image_room(search->sources->view->python->memory.image, start, &room);

		if (bytes && start < piece->end)
			search_words(search, start, bytes, MIN(room, piece->end - start));
	}
}

/* Registers, and the vector of thread-local data (dtv_t) of each thread: its descriptor points to
 * the second item. x86-64: sysdeps/x86_64/nptl/tls.h, tcbhead_t; nptl: elf/dl-tls.c,
 * allocate_dtv() */
static void search_threads(const struct search *search)
{
	const struct process *process = search->sources->process;
	const struct stacks *stacks = search->sources->stacks;
	const struct image *image = search->sources->view->python->memory.image;

	for (size_t i = 0; i < stacks->pointers.count; i++) {
		uint64_t vector;

		if (process->machine == EM_X86_64 &&
		    image_u64(image, stacks->pointers.items[i] + 8, &vector))
			point(search, 0, vector - 16);
	}

	for (size_t i = 0; i < process->threads.count; i++) {
		for (unsigned j = 0; j < GENERAL_REGISTERS_MAX; j++)
			point(search, 0, process->threads.items[i].registers[j]);
	}
}

static int compare_blocks(const void *a, const void *b)
{
	const struct native_block *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* Lists the blocks that C code uses and nobody knows. */
static bool list_blocks(struct search *search)
{
	const struct block_map *map = search->sources->view->map;
	struct leaks *leaks = search->leaks;

	for (block_id id = 0; id < map->first_static; id++) {
		struct native_block *native;
		struct block block;

		if (tag_state(map->tags[id]) != BLOCK_USED)
			continue;
		block = block_get(map, id);
		native = vector_push(&leaks->blocks);
		if (!native)
			return false;
		*native = (struct native_block){ block.start, block.size, id, 0 };
	}
	if (leaks->blocks.count)
		qsort(leaks->blocks.items, leaks->blocks.count, sizeof(*leaks->blocks.items),
		      compare_blocks);
	return true;
}

/* Notes the pages that blocks lie on. */
static bool list_pages(struct search *search)
{
	const struct leaks *leaks = search->leaks;

	search->lowest = UINT64_MAX;
	for (size_t i = 0; i < leaks->blocks.count; i++) {
		const struct native_block *block = &leaks->blocks.items[i];
		vaddr last = block->start + MAX(block->size, 1) - 1;

		search->lowest = MIN(search->lowest, block->start);
		search->highest = MAX(search->highest, last + 1);
		for (vaddr page = block->start >> PAGE_SHIFT; page <= last >> PAGE_SHIFT; page++) {
			if (id_map_find(&search->pages, page) == ID_NONE &&
			    !id_map_put(&search->pages, page, 0))
				return false;
		}
	}
	return true;
}

/* Cuts places, so that many threads may search them. */
static bool cut_places(struct search *search, const struct frame_list *frames)
{
	struct places places = { 0 };
	bool stored = places_find(&places, search->sources, frames);

	for (size_t i = 0; i < places.list.count && stored; i++) {
		struct word_place rest = places.list.items[i];

		while (rest.start < rest.end && stored) {
			struct word_place *piece = vector_push(&search->pieces);
			vaddr end =
				MIN(rest.end, round_down(rest.start + PIECE_BYTES, PIECE_BYTES));

			stored = piece;
			if (piece)
				*piece = (struct word_place){ rest.start, end, rest.kind };
			rest.start = end;
		}
	}
	places_deinit(&places);
	return stored;
}

/*
 * Goes on from the blocks in stack[0, depth): what they point to gets `hold`, if it has less. What
 * is held by its beginning holds others by their beginning, and by their middle only inside.
 */
static void spread(struct search *search, uint32_t *stack, size_t depth, enum leak_hold hold)
{
	struct native_block *blocks = search->leaks->blocks.items;
	const struct image *image = search->sources->view->python->memory.image;

	while (depth) {
		const struct native_block *from = &blocks[stack[--depth]];
		const uint8_t *bytes = image_at(image, from->start, from->size);

		for (uint64_t i = 0; bytes && i + sizeof(vaddr) <= from->size; i += sizeof(vaddr)) {
			vaddr to = load_u64(bytes + i);
			uint32_t found = find_block(search, to);
			bool inside =
				hold == HOLD_BEGIN && found != ID_NONE && to != blocks[found].start;
			enum leak_hold gets = inside ? HOLD_INSIDE : hold;

			if (found == ID_NONE || &blocks[found] == from ||
			    blocks[found].hold >= gets)
				continue;
			blocks[found].hold = gets;
			/* those that are held inside come later, all together */
			if (!inside)
				stack[depth++] = found;
		}
	}
}

/* Begins with all blocks that have `hold`. */
static void spread_from(struct search *search, uint32_t *stack, enum leak_hold hold)
{
	size_t depth = 0;

	for (uint32_t i = 0; i < search->leaks->blocks.count; i++) {
		if (search->leaks->blocks.items[i].hold == hold)
			stack[depth++] = i;
	}
	spread(search, stack, depth, hold);
}

/* Of the blocks that nothing holds, finds those that only others of them point to. Of a ring of
 * such, the first is lost by itself. */
static void find_indirect(struct search *search, uint32_t *stack)
{
	struct leaks *leaks = search->leaks;

	for (uint32_t i = 0; i < leaks->blocks.count; i++) {
		if (leaks->blocks.items[i].hold != HOLD_NONE)
			continue;
		stack[0] = i;
		spread(search, stack, 1, HOLD_INDIRECT);
		leaks->blocks.items[i].hold = HOLD_NONE;
	}
}

static bool find_blocks(struct search *search, const struct frame_list *frames,
			const struct parallel *parallel)
{
	const struct block_map *map = search->sources->view->map;
	struct leaks *leaks = search->leaks;

	if (!list_blocks(search) || !list_pages(search) || !cut_places(search, frames))
		return false;
	_cleanup_free_ uint32_t *stack = calloc(leaks->blocks.count + 1, sizeof(*stack));
	if (!stack)
		return false;
	blocks_each_run(map, parallel, "searching blocks", search_run, search);
	parallel_for(parallel, "searching chunks", map->first_static - map->first_chunk, GRAIN,
		     search_chunks, search);
	parallel_for(parallel, "searching other memory", search->pieces.count, 1, search_pieces,
		     search);
	search_threads(search);
	for (size_t i = 0; i < leaks->blocks.count; i++) {
		uint32_t *hold = &leaks->blocks.items[i].hold;

		*hold = *hold & POINTED_BEGIN    ? HOLD_BEGIN
			: *hold & POINTED_INSIDE ? HOLD_INSIDE
						 : HOLD_NONE;
	}
	spread_from(search, stack, HOLD_BEGIN);
	spread_from(search, stack, HOLD_INSIDE);
	find_indirect(search, stack);
	return true;
}

/* Whether the root lies in a block that nothing holds. */
static bool is_in_lost_block(const struct search *search, const struct root *root)
{
	uint32_t found = root->kind == ROOT_C_MEMORY ? find_block(search, root->at) : ID_NONE;

	return found != ID_NONE && search->leaks->blocks.items[found].hold <= HOLD_INDIRECT;
}

static bool has_holder(const struct graph *graph, object_id id)
{
	for (uint32_t i = graph->in.first[id]; i < graph->in.first[id + 1]; i++) {
		if (edge_holds(graph->in.to[i]) && edge_id(graph->in.to[i]) != id)
			return true;
	}
	return false;
}

/* Finds the objects that no root leads to, and of these the ones that nothing refers to. */
static bool find_objects(struct search *search, const struct roots *roots)
{
	const struct graph *graph = search->graph;
	uint8_t *hold = search->leaks->objects = malloc((size_t)graph->count + 1);
	size_t depth = 0;

	_cleanup_free_ object_id *stack = calloc((size_t)graph->count + 1, sizeof(*stack));
	if (!hold || !stack)
		return false;
	memset(hold, OBJECT_LOST, graph->count);
	for (size_t i = 0; i < roots->list.count; i++) {
		const struct root *root = &roots->list.items[i];

		if (hold[root->object] == OBJECT_HELD)
			continue;
		if (is_in_lost_block(search, root)) {
			hold[root->object] = OBJECT_HELD_BY_LOST;
			continue;
		}
		hold[root->object] = OBJECT_HELD;
		stack[depth++] = root->object;
	}
	while (depth) {
		object_id at = stack[--depth];

		for (uint32_t i = graph->out.first[at]; i < graph->out.first[at + 1]; i++) {
			object_id to = edge_id(graph->out.to[i]);

			if (!edge_holds(graph->out.to[i]) || hold[to] == OBJECT_HELD)
				continue;
			hold[to] = OBJECT_HELD;
			stack[depth++] = to;
		}
	}
	for (object_id id = 0; id < graph->count; id++) {
		if (hold[id] == OBJECT_LOST && has_holder(graph, id))
			hold[id] = OBJECT_HELD_BY_LOST;
	}
	return true;
}

struct memheap_error *leaks_find(struct leaks *ret, const struct graph *graph,
				 const struct roots *roots, const struct root_sources *sources,
				 const struct parallel *parallel)
{
	struct search search = {
		.leaks = ret,
		.graph = graph,
		.sources = sources,
		.int_type = type_find_static(&sources->view->objects->types, "int"),
	};
	bool found;

	*ret = (struct leaks){ 0 };
	found = idle_words_find(&search.idle, sources->view) &&
		find_blocks(&search, &roots->frames, parallel) && find_objects(&search, roots);
	ranges_deinit(&search.idle);
	id_map_deinit(&search.pages);
	free(search.pieces.items);
	return found ? NULL : &error_no_memory;
}

void leaks_deinit(struct leaks *leaks)
{
	free(leaks->blocks.items);
	free(leaks->objects);
	*leaks = (struct leaks){ 0 };
}
