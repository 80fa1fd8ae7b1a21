/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../../base/bisect.h"
#include "../../base/cleanup.h"
#include "pymalloc.h"
#include "pymalloc_search.h"

#define MAX_ARENAS_LIMIT (64U << 20)
#define ARENA_BYTES_MAX  (32U << 20)
#define PAGE_BYTES       4096

/* Up to 3.11 the state is a handful of static variables. */
static bool find_static_state(struct pymalloc_state *state, const struct python *python)
{
	const struct image *image = python->memory.image;
	struct elf_symbol arenas, max, now, total, peak;

	if (!python_symbol(python, "arenas", &arenas) ||
	    !python_symbol(python, "maxarenas", &max) ||
	    !image_u64(image, arenas.address, &state->arenas) ||
	    !image_u32(image, max.address, &state->max_arenas))
		return false;
	state->found = "symbol arenas";
	state->counted = python_symbol(python, "narenas_currently_allocated", &now) &&
			 python_symbol(python, "ntimes_arena_allocated", &total) &&
			 python_symbol(python, "narenas_highwater", &peak) &&
			 image_u64(image, now.address, &state->arenas_now) &&
			 image_u64(image, total.address, &state->arenas_total) &&
			 image_u64(image, peak.address, &state->arenas_peak);
	return true;
}

/* From 3.12 on it is in the interpreter (3.12), or pointed to from there (3.13). */
static bool find_interpreter_state(struct pymalloc_state *state, const struct python *python,
				   const struct interpreter *interp)
{
	const struct memory *memory = &python->memory;
	const struct field *field = &python->layout.fields[FIELD_INTERP_OBMALLOC];
	vaddr at = memory_address(memory, interp->at, FIELD_INTERP_OBMALLOC);
	uint64_t max;

	if (field->size == sizeof(vaddr) && !image_u64(memory->image, at, &at))
		return false;
	if (!memory_field(memory, at, FIELD_OBMALLOC_ARENAS, &state->arenas) ||
	    !memory_field(memory, at, FIELD_OBMALLOC_MAX_ARENAS, &max))
		return false;
	state->at = at;
	state->max_arenas = (uint32_t)max;
	state->found = "PyInterpreterState.obmalloc";
	return true;
}

static bool is_known(const struct pymalloc *pymalloc, vaddr arenas)
{
	for (size_t i = 0; i < pymalloc->states.count; i++) {
		if (pymalloc->states.items[i].arenas == arenas)
			return true;
	}
	return false;
}

/* Adds a state unless it is empty, or that of an interpreter seen before. */
static bool add_state(struct pymalloc *pymalloc, const struct pymalloc_state *state)
{
	struct pymalloc_state *added;

	if (!state->arenas || !state->max_arenas || is_known(pymalloc, state->arenas))
		return true;
	added = vector_push(&pymalloc->states);
	if (added)
		*added = *state;
	return added;
}

static bool find_states(struct pymalloc *pymalloc, const struct python *python)
{
	struct pymalloc_state state = { 0 };

	if (!layout_has(&python->layout, FIELD_INTERP_OBMALLOC)) {
		if (!find_static_state(&state, python))
			pymalloc_search_state(&state, python, pymalloc);
		return add_state(pymalloc, &state);
	}
	for (uint32_t i = 0; i < python->interpreters.count; i++) {
		state = (struct pymalloc_state){ .interpreter = i };
		if (find_interpreter_state(&state, python, &python->interpreters.items[i]) &&
		    !add_state(pymalloc, &state))
			return false;
	}
	return true;
}

bool pymalloc_read_arena(const struct pymalloc *pymalloc, const struct memory *memory, vaddr record,
			 struct arena *ret)
{
	const struct layout *layout = memory->layout;
	const uint8_t *bytes = memory_struct(memory, record, SIZE_ARENA);
	uint64_t total, pools = pymalloc->arena_bytes / pymalloc->pool_bytes;
	struct arena arena = { .record = record, .readable = true };

	if (!bytes)
		return false;
	arena.start = field_load(layout, bytes, FIELD_ARENA_ADDRESS);
	arena.next_pool = field_load(layout, bytes, FIELD_ARENA_POOL_ADDRESS);
	arena.free_pools = (uint32_t)field_load(layout, bytes, FIELD_ARENA_FREE_POOLS);
	total = field_load(layout, bytes, FIELD_ARENA_TOTAL_POOLS);
	arena.first_pool = round_up(arena.start, pymalloc->pool_bytes);
	if (!arena.start || arena.start % PAGE_BYTES ||
	    arena.start > UINT64_MAX - pymalloc->arena_bytes ||
	    total != pools - (arena.first_pool != arena.start) || arena.free_pools > total ||
	    arena.next_pool < arena.first_pool ||
	    arena.next_pool > arena.first_pool + total * pymalloc->pool_bytes ||
	    arena.next_pool % pymalloc->pool_bytes)
		return false;
	arena.pool_count = (uint32_t)total;
	*ret = arena;
	return true;
}

/* Whether there is an arena of `arena_bytes` bytes. */
static bool has_arena(const struct pymalloc *pymalloc, const struct memory *memory,
		      uint64_t arena_bytes)
{
	const struct pymalloc other = { .arena_bytes = arena_bytes,
					.pool_bytes = pymalloc->pool_bytes };

	for (size_t i = 0; i < pymalloc->states.count; i++) {
		const struct pymalloc_state *state = &pymalloc->states.items[i];
		vaddr record = state->arenas;
		uint64_t count = MIN(state->max_arenas, MAX_ARENAS_LIMIT), address;

		while (count-- && memory_field(memory, record, FIELD_ARENA_ADDRESS, &address)) {
			struct arena arena;

			if (address && pymalloc_read_arena(&other, memory, record, &arena))
				return true;
			record += layout_offset(memory->layout, SIZE_ARENA);
		}
	}
	return false;
}

/*
 * A build may have larger arenas than others of its version, which only their numbers of pools
 * tell: 3.15 Include/internal/pycore_obmalloc.h, ARENA_BITS with PYMALLOC_USE_HUGEPAGES.
 */
static void measure_arenas(struct pymalloc *pymalloc, const struct memory *memory)
{
	for (uint64_t bytes = pymalloc->arena_bytes; bytes <= ARENA_BYTES_MAX; bytes *= 2) {
		if (has_arena(pymalloc, memory, bytes)) {
			pymalloc->arena_bytes = bytes;
			return;
		}
	}
}

/*
 * Where a member of the state lies that is behind nfp2lasta[], which has a word for each number of
 * pools that an arena may have free. The tables are of arenas of the usual size.
 */
static vaddr behind_list(const struct pymalloc *pymalloc, const struct memory *memory, vaddr state,
			 enum field_id id)
{
	const struct layout *layout = memory->layout;
	uint64_t usual = layout_constant(layout, CONSTANT_ARENA_BYTES);
	uint64_t words = (pymalloc->arena_bytes - usual) / pymalloc->pool_bytes;

	return memory_address(memory, state, id) +
	       (layout->fields[id].source == FROM_TABLE ? words * sizeof(vaddr) : 0);
}

/* Reads what an interpreter's state tells beside its arenas. */
static void read_state(const struct pymalloc *pymalloc, const struct memory *memory,
		       struct pymalloc_state *state)
{
	static const enum field_id ids[] = { FIELD_OBMALLOC_ARENA_COUNT,
					     FIELD_OBMALLOC_ARENAS_TOTAL,
					     FIELD_OBMALLOC_ARENAS_PEAK };
	uint64_t *const counters[] = { &state->arenas_now, &state->arenas_total,
				       &state->arenas_peak };

	state->counted = true;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		state->counted =
			state->counted && layout_has(memory->layout, ids[i]) &&
			image_u64(memory->image, behind_list(pymalloc, memory, state->at, ids[i]),
				  counters[i]);
	if (layout_has(memory->layout, FIELD_OBMALLOC_MAP_ROOT))
		state->map_root = behind_list(pymalloc, memory, state->at, FIELD_OBMALLOC_MAP_ROOT);
}

/* Loads the arenas of state number `index`. */
static bool load_arenas(struct pymalloc *pymalloc, const struct memory *memory, uint32_t index,
			struct gaps *gaps)
{
	const struct pymalloc_state *state = &pymalloc->states.items[index];
	uint32_t bytes = layout_offset(memory->layout, SIZE_ARENA);
	uint64_t count = MIN(state->max_arenas, MAX_ARENAS_LIMIT), address;

	for (uint64_t i = 0; i < count; i++) {
		vaddr record = state->arenas + i * bytes;
		struct arena arena, *added;

		if (!memory_field(memory, record, FIELD_ARENA_ADDRESS, &address)) {
			gap_add(gaps, GAP_ARENA_DAMAGED, record, (count - i) * bytes);
			return true;
		}
		if (!address)
			continue;
		if (!pymalloc_read_arena(pymalloc, memory, record, &arena)) {
			gap_add(gaps, GAP_ARENA_DAMAGED, record, 0);
			continue;
		}
		if (!image_at(memory->image, arena.start, pymalloc->arena_bytes)) {
			gap_add(gaps, GAP_ARENA_UNREADABLE, arena.start, pymalloc->arena_bytes);
			arena.readable = false;
		}
		arena.state = index;
		added = vector_push(&pymalloc->arenas);
		if (!added)
			return false;
		*added = arena;
	}
	return true;
}

static int compare_arenas(const void *a, const void *b)
{
	const struct arena *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* Sorts the arenas, drops those that overlap another, and numbers the pools. */
static void order_arenas(struct pymalloc *pymalloc, struct gaps *gaps)
{
	vaddr covered = 0;
	size_t kept = 0;

	if (pymalloc->arenas.count)
		qsort(pymalloc->arenas.items, pymalloc->arenas.count,
		      sizeof(*pymalloc->arenas.items), compare_arenas);
	for (size_t i = 0; i < pymalloc->arenas.count; i++) {
		struct arena arena = pymalloc->arenas.items[i];

		if (arena.start < covered) {
			gap_add(gaps, GAP_ARENA_DAMAGED, arena.record, 0);
			continue;
		}
		covered = arena.start + pymalloc->arena_bytes;
		arena.pools = (uint32_t)pymalloc->pool_count;
		pymalloc->pool_count += arena.pool_count;
		pymalloc->arenas.items[kept++] = arena;
	}
	pymalloc->arenas.count = kept;
}

/* The alignment of blocks that the pool at `at` tells of: a pool of blocks of n bytes ends n bytes
 * after maxnextoffset. 0 when it was never used. */
static uint64_t pool_alignment(const struct pymalloc *pymalloc, const struct memory *memory,
			       vaddr at)
{
	uint64_t used, size_class, last, size;

	if (!memory_field(memory, at, FIELD_POOL_COUNT, &used) || !used ||
	    !memory_field(memory, at, FIELD_POOL_SIZE_CLASS, &size_class) ||
	    !memory_field(memory, at, FIELD_POOL_MAX_NEXT_OFFSET, &last) ||
	    last >= pymalloc->pool_bytes || size_class >= SIZE_CLASSES_MAX)
		return 0;
	size = pymalloc->pool_bytes - last;
	return size % (size_class + 1) ? 0 : size / (size_class + 1);
}

/* Before 3.8 the version doesn't tell the alignment, but the pools do: what most of them say. */
static void measure_alignment(struct pymalloc *pymalloc, const struct memory *memory)
{
	size_t eight = 0, sixteen = 0;

	for (size_t i = 0; i < pymalloc->arenas.count; i++) {
		const struct arena *arena = &pymalloc->arenas.items[i];

		for (uint32_t j = 0; j < arena->pool_count; j++) {
			uint64_t alignment = pool_alignment(pymalloc, memory,
							    pymalloc_pool_at(pymalloc, arena, j));

			eight += alignment == 8;
			sixteen += alignment == 16;
		}
	}
	pymalloc->alignment = eight > sixteen ? 8 : 16;
}

struct memheap_error *pymalloc_load(struct pymalloc *pymalloc, const struct python *python,
				    struct gaps *gaps)
{
	const struct layout *layout = &python->layout;

	*pymalloc = (struct pymalloc){
		.arena_bytes = layout_constant(layout, CONSTANT_ARENA_BYTES),
		.pool_bytes = layout_constant(layout, CONSTANT_POOL_BYTES),
		.header_bytes = round_up(layout_offset(layout, SIZE_POOL), 16),
		.alignment = layout_constant(layout, CONSTANT_BLOCK_ALIGNMENT),
	};
	if (!pymalloc->arena_bytes)
		return NULL;
	if (!find_states(pymalloc, python))
		return &error_no_memory;
	measure_arenas(pymalloc, &python->memory);
	for (uint32_t i = 0; i < pymalloc->states.count; i++) {
		if (pymalloc->states.items[i].at)
			read_state(pymalloc, &python->memory, &pymalloc->states.items[i]);
		if (!load_arenas(pymalloc, &python->memory, i, gaps))
			return &error_no_memory;
	}
	order_arenas(pymalloc, gaps);
	if (!pymalloc->alignment)
		measure_alignment(pymalloc, &python->memory);
	pymalloc->class_count = (unsigned)MIN(layout_constant(layout, CONSTANT_SMALL_REQUEST_MAX) /
						      pymalloc->alignment,
					      (uint64_t)SIZE_CLASSES_MAX);
	pymalloc->pools = calloc(pymalloc->pool_count + 1, sizeof(*pymalloc->pools));
	return pymalloc->pools ? NULL : &error_no_memory;
}

void pymalloc_deinit(struct pymalloc *pymalloc)
{
	free(pymalloc->states.items);
	free(pymalloc->arenas.items);
	free(pymalloc->pools);
	*pymalloc = (struct pymalloc){ 0 };
}

/* A loop over pools. */
struct pool_loop {
	const struct pymalloc *pymalloc;
	pool_fn *fn;
	void *context;
};

/* All pools of arenas [begin, end). */
static void each_pool(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct pool_loop *loop = context;
	const struct pymalloc *pymalloc = loop->pymalloc;

	for (size_t i = begin; i < end; i++) {
		const struct arena *arena = &pymalloc->arenas.items[i];

		for (uint32_t j = 0; j < arena->pool_count; j++)
			loop->fn(loop->context, worker, arena, &pymalloc->pools[arena->pools + j],
				 pymalloc_pool_at(pymalloc, arena, j));
	}
}

void pymalloc_each_pool(const struct pymalloc *pymalloc, const struct parallel *parallel,
			const char *phase, pool_fn *fn, void *context)
{
	struct pool_loop loop = { pymalloc, fn, context };

	parallel_for(parallel, phase, pymalloc->arenas.count, 1, each_pool, &loop);
}

void pymalloc_read_pool(const struct pymalloc *pymalloc, const struct memory *memory,
			const struct arena *arena, struct pool *pool, vaddr at, struct gaps *gaps)
{
	const struct layout *layout = memory->layout;
	uint64_t used, size_class, next, size, room = pymalloc->pool_bytes - pymalloc->header_bytes;
	uint64_t carved;
	const uint8_t *bytes;

	if (at >= arena->next_pool)
		return;
	bytes = image_at(memory->image, at, pymalloc->pool_bytes);
	if (!bytes)
		return;
	used = field_load(layout, bytes, FIELD_POOL_COUNT);
	if (!used)
		return;
	size_class = field_load(layout, bytes, FIELD_POOL_SIZE_CLASS);
	next = field_load(layout, bytes, FIELD_POOL_NEXT_OFFSET);
	if (size_class >= pymalloc->class_count) {
		gap_add(gaps, GAP_POOL_DAMAGED, at, pymalloc->pool_bytes);
		pool->damaged = true;
		return;
	}
	size = pymalloc_block_bytes(pymalloc, (unsigned)size_class);
	pool->size_class = (uint8_t)size_class;
	pool->count = (uint16_t)(room / size);
	carved = pool->count;
	pool->used = (uint16_t)MIN(used, (uint64_t)pool->count);
	/* nextoffset is that of the first block never handed out; maxnextoffset the last it may
	 * have: past it, all were. 3.12 Objects/obmalloc.c, pymalloc_pool_extend() */
	if (next < pymalloc->header_bytes + size || (next - pymalloc->header_bytes) % size)
		pool->damaged = true;
	else if (next <= field_load(layout, bytes, FIELD_POOL_MAX_NEXT_OFFSET))
		carved = (next - pymalloc->header_bytes) / size;
	if (used > carved || carved > pool->count)
		pool->damaged = true;
	pool->carved = pool->damaged ? pool->count : (uint16_t)carved;
	if (pool->damaged)
		gap_add(gaps, GAP_POOL_DAMAGED, at, pymalloc->pool_bytes);
}

void pymalloc_walk_pool(const struct pymalloc *pymalloc, const struct memory *memory,
			struct pool *pool, vaddr at, uint64_t *free, struct gaps *gaps)
{
	uint64_t size = pymalloc_block_bytes(pymalloc, pool->size_class);
	uint64_t wanted = (uint64_t)pool->carved - pool->used, found = 0;
	const uint8_t *bytes = image_at(memory->image, at, pymalloc->pool_bytes);
	vaddr block;

	if (!bytes || pool->damaged) {
		pool->used = pool->carved;
		return;
	}
	block = field_load(memory->layout, bytes, FIELD_POOL_FREE_BLOCK);
	while (block) {
		uint64_t offset = block - at - pymalloc->header_bytes, index = offset / size;

		if (block < at || index >= pool->carved || offset % size || found == wanted ||
		    free[index / 64] >> (index % 64) & 1)
			break;
		free[index / 64] |= 1ULL << (index % 64);
		found++;
		block = load_u64(bytes + (block - at));
	}
	if (block || found != wanted) {
		gap_add(gaps, GAP_POOL_DAMAGED, at, pymalloc->pool_bytes);
		for (uint64_t i = 0; i <= pool->count / 64U; i++)
			free[i] = 0;
		pool->damaged = true;
		pool->used = pool->carved;
	}
}

const struct arena *pymalloc_find_arena(const struct pymalloc *pymalloc, vaddr at)
{
	const struct arena *arenas = pymalloc->arenas.items;
	size_t count = pymalloc->arenas.count;
	size_t found = bisect(i, count, arenas[i].start + pymalloc->arena_bytes <= at);

	return found < count && arenas[found].start <= at ? &arenas[found] : NULL;
}
