/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "gc.h"
#include "gc_head.h"
#include "old_runtime.h"

#include "refcount.h"

#define HEAD_STEP     4 /* Debian's 3.13 aligns list heads to 4 bytes */
#define SEARCH_BYTES  96
#define DURATION_MAX  1e9 /* seconds */
#define OBJECTS_LIMIT (1ULL << 34)

static bool are_generations(const struct memory *memory, vaddr at)
{
	for (int i = 0; i < GENERATIONS; i++) {
		if (!gc_head_is_linked(memory, at + (uint64_t)i * layout_offset(memory->layout,
										SIZE_GENERATION)))
			return false;
	}
	return true;
}

/* The generations: where the layout says, or (patched builds) where three list heads are. */
static vaddr find_generations(const struct memory *memory, vaddr gc)
{
	vaddr at = memory_address(memory, gc, FIELD_GC_GENERATIONS);

	if (are_generations(memory, at))
		return at;
	for (vaddr other = gc; other < gc + SEARCH_BYTES; other += HEAD_STEP) {
		if (are_generations(memory, other))
			return other;
	}
	return 0;
}

/* One of 3.15's buffers of statistics: the newest of `items` is at `index`. */
static vaddr newest_stats(const struct memory *memory, vaddr at, enum field_id items,
			  enum field_id index)
{
	uint64_t newest, size = layout_offset(memory->layout, SIZE_GENERATION_STATS);

	if (!size || !memory_field(memory, at, index, &newest) ||
	    newest >= memory->layout->fields[items].size / size)
		return 0;
	return memory_address(memory, at, items) + newest * size;
}

/* Where the statistics of a generation are; 0 when they can't be found. */
static vaddr find_stats(const struct python *python, vaddr gc, unsigned generation)
{
	const struct memory *memory = &python->memory;
	const struct layout *layout = memory->layout;
	vaddr skipped = generation * (vaddr)layout_offset(layout, SIZE_GENERATION_STATS);
	struct elf_symbol symbol;
	uint64_t at;

	if (!layout_has(layout, FIELD_GC_STATS))
		return python_symbol(python, "generation_stats", &symbol) ? symbol.address + skipped
									  : 0;
	if (!layout_has(layout, FIELD_YOUNG_STATS))
		return memory_address(memory, gc, FIELD_GC_STATS) + skipped;
	if (!memory_field(memory, gc, FIELD_GC_STATS, &at) || !at)
		return 0;
	if (!generation)
		return newest_stats(memory, at, FIELD_YOUNG_STATS, FIELD_YOUNG_STATS_INDEX);
	return newest_stats(memory,
			    memory_address(memory, at, FIELD_OLD_STATS) +
				    (generation - 1) * (vaddr)layout_offset(layout, SIZE_OLD_STATS),
			    FIELD_OLD_STATS_ITEMS, FIELD_OLD_STATS_INDEX);
}

/* A double of seconds, in nanoseconds. */
static uint64_t read_duration(const struct memory *memory, vaddr stats)
{
	uint64_t bits;
	double seconds;

	if (!memory_field(memory, stats, FIELD_GENERATION_DURATION, &bits))
		return 0;
	memcpy(&seconds, &bits, sizeof(seconds));
	return seconds > 0 && seconds < DURATION_MAX ? (uint64_t)(seconds * 1e9 + 0.5) : 0;
}

static void read_generation(const struct memory *memory, vaddr at, vaddr stats,
			    struct gc_generation *ret)
{
	uint64_t count = 0, threshold = 0;

	*ret = (struct gc_generation){ .head = at };
	memory_field(memory, at, FIELD_GENERATION_COUNT, &count);
	memory_field(memory, at, FIELD_GENERATION_THRESHOLD, &threshold);
	ret->count = (int32_t)count;
	ret->threshold = (int32_t)threshold;
	if (!stats)
		return;
	memory_field(memory, stats, FIELD_GENERATION_COLLECTIONS, &ret->collections);
	memory_field(memory, stats, FIELD_GENERATION_COLLECTED, &ret->collected);
	memory_field(memory, stats, FIELD_GENERATION_UNCOLLECTABLE, &ret->uncollectable);
	memory_field(memory, stats, FIELD_GENERATION_CANDIDATES, &ret->candidates);
	ret->duration = read_duration(memory, stats);
}

/* Calls `fn`, if there is one, for the headers on the list at `head`; returns how many they are. A
 * list that does not come back to it is a gap. */
static uint64_t walk_list(const struct memory *memory, vaddr head, struct gaps *gaps, gc_fn *fn,
			  void *closure)
{
	uint64_t length = 0;
	vaddr at = head, next;

	while ((next = gc_head_next(memory, at)) != head) {
		if (!next || length == OBJECTS_LIMIT || gc_head_previous(memory, next) != at) {
			if (gaps)
				gap_add(gaps, GAP_GC_LIST_DAMAGED, at, 0);
			break;
		}
		if (fn)
			fn(closure, next);
		length++;
		at = next;
	}
	return length;
}

static uint64_t list_length(const struct memory *memory, vaddr head, struct gaps *gaps)
{
	return walk_list(memory, head, gaps, NULL, NULL);
}

/*
 * The incremental collector of 3.14.0-3.14.4 has two halves of the old objects, in turns visited,
 * where others have two generations. Module gc gives the counts in the order of visits, and all old
 * objects as those of the last generation: Modules/gcmodule.c
 */
static void order_old_halves(const struct memory *memory, vaddr gc, struct gc_state *state)
{
	struct gc_generation *old = &state->generations[1];
	int32_t counts[] = { old[0].count, old[1].count };
	uint64_t visited;

	if (!memory_field(memory, gc, FIELD_GC_VISITED_SPACE, &visited))
		return;
	state->incremental = true;
	old[0].count = counts[visited & 1];
	old[1].count = counts[!(visited & 1)];
	old[1].threshold = 0;
}

/* A member of the collector's state; before 3.7 a static variable, whose symbol may be stripped. */
static bool read_variable(const struct python *python, vaddr gc, enum field_id id,
			  const char *symbol, uint64_t *ret)
{
	return memory_field(&python->memory, gc, id, ret) ||
	       old_runtime_variable(python, symbol, ret);
}

static bool is_collecting(const struct python *python, uint32_t index)
{
	const struct interpreter *interp = &python->interpreters.items[index];
	uint64_t collecting;

	return memory_field(&python->memory, interp->gc, FIELD_GC_COLLECTING, &collecting)
		       ? collecting
		       : old_runtime_collecting(python, interp);
}

bool gc_read(const struct python *python, uint32_t index, struct gc_state *ret)
{
	const struct memory *memory = &python->memory;
	const struct layout *layout = &python->layout;
	vaddr gc = python->interpreters.items[index].gc, generations;
	uint64_t enabled = 0, garbage = 0;

	/* free-threaded builds have no lists: the collector visits the heaps of mimalloc */
	generations = has_split_refcount(layout) ? memory_address(memory, gc, FIELD_GC_GENERATIONS)
						 : find_generations(memory, gc);
	if (!generations)
		return false;
	*ret = (struct gc_state){ .interpreter = index, .lists = !has_split_refcount(layout) };
	ret->knows_enabled = read_variable(python, gc, FIELD_GC_ENABLED, "enabled", &enabled);
	ret->enabled = enabled;
	ret->collecting = is_collecting(python, index);
	for (unsigned i = 0; i < GENERATIONS; i++) {
		vaddr stats = find_stats(python, gc, i);

		ret->knows_stats = stats;
		ret->knows_duration = stats && layout_has(layout, FIELD_GENERATION_DURATION);
		read_generation(memory,
				generations + i * (vaddr)layout_offset(layout, SIZE_GENERATION),
				stats, &ret->generations[i]);
	}
	order_old_halves(memory, gc, ret);
	ret->knows_garbage = read_variable(python, gc, FIELD_GC_GARBAGE, "garbage", &garbage);
	ret->garbage_list = garbage;
	if (garbage)
		memory_field(memory, garbage, FIELD_VAR_SIZE, &ret->garbage);
	ret->permanent = memory_address(memory, gc, FIELD_GC_PERMANENT);
	if (ret->lists && layout_has(layout, FIELD_GC_PERMANENT) &&
	    gc_head_is_linked(memory, ret->permanent))
		ret->permanent_objects = list_length(memory, ret->permanent, NULL);
	return true;
}

void gc_count_objects(const struct python *python, struct gc_state *gc, struct gaps *gaps)
{
	for (int i = 0; i < GENERATIONS; i++)
		gc->generations[i].objects =
			list_length(&python->memory, gc->generations[i].head, gaps);
	if (gc->incremental) {
		gc->generations[2].objects += gc->generations[1].objects;
		gc->generations[1].objects = 0;
	}
}

void gc_each(const struct python *python, const struct gc_state *gc, gc_fn *fn, void *closure)
{
	const struct memory *memory = &python->memory;

	if (!gc->lists)
		return;
	for (int i = 0; i < GENERATIONS; i++)
		walk_list(memory, gc->generations[i].head, NULL, fn, closure);
	if (layout_has(&python->layout, FIELD_GC_PERMANENT) &&
	    gc_head_is_linked(memory, gc->permanent))
		walk_list(memory, gc->permanent, NULL, fn, closure);
}
