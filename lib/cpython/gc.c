/* SPDX-License-Identifier: MIT */
#include "gc.h"

#define LINK_FLAGS    3
#define HEAD_STEP     4 /* Debian's 3.13 aligns list heads to 4 bytes */
#define SEARCH_BYTES  96
#define OBJECTS_LIMIT (1ULL << 34)

static vaddr next_of(const struct memory *memory, vaddr head)
{
	uint64_t next;

	return memory_field(memory, head, FIELD_GC_HEAD_NEXT, &next) ? next & ~(uint64_t)LINK_FLAGS
								     : 0;
}

static vaddr previous_of(const struct memory *memory, vaddr head)
{
	uint64_t previous;

	return memory_field(memory, head, FIELD_GC_HEAD_PREVIOUS, &previous)
		       ? previous & ~(uint64_t)LINK_FLAGS
		       : 0;
}

/* Whether `head` is that of a circular list. */
static bool is_head(const struct memory *memory, vaddr head)
{
	vaddr next = next_of(memory, head), previous = previous_of(memory, head);

	return next && previous && previous_of(memory, next) == head &&
	       next_of(memory, previous) == head;
}

static bool are_generations(const struct memory *memory, vaddr at)
{
	for (int i = 0; i < GENERATIONS; i++) {
		if (!is_head(memory,
			     at + (uint64_t)i * layout_offset(memory->layout, SIZE_GENERATION)))
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

static void read_generation(const struct memory *memory, vaddr at, vaddr stats,
			    struct gc_generation *ret)
{
	uint64_t count = 0, threshold = 0;

	*ret = (struct gc_generation){ .head = at };
	memory_field(memory, at, FIELD_GENERATION_COUNT, &count);
	memory_field(memory, at, FIELD_GENERATION_THRESHOLD, &threshold);
	ret->count = (int32_t)count;
	ret->threshold = (int32_t)threshold;
	memory_field(memory, stats, FIELD_GENERATION_COLLECTIONS, &ret->collections);
	memory_field(memory, stats, FIELD_GENERATION_COLLECTED, &ret->collected);
	memory_field(memory, stats, FIELD_GENERATION_UNCOLLECTABLE, &ret->uncollectable);
}

/* The length of the list at `head`; a list that does not come back to it is a gap. */
static uint64_t list_length(const struct memory *memory, vaddr head, struct gaps *gaps)
{
	uint64_t length = 0;
	vaddr at = head, next;

	while ((next = next_of(memory, at)) != head) {
		if (!next || length == OBJECTS_LIMIT || previous_of(memory, next) != at) {
			if (gaps)
				gap_add(gaps, GAP_GC_LIST_DAMAGED, at, 0);
			break;
		}
		length++;
		at = next;
	}
	return length;
}

bool gc_read(const struct python *python, uint32_t index, struct gc_state *ret)
{
	const struct memory *memory = &python->memory;
	const struct layout *layout = &python->layout;
	vaddr gc = python->interpreters.items[index].gc, generations, stats;
	uint64_t enabled = 0, collecting = 0, garbage = 0;

	generations = find_generations(memory, gc);
	if (!generations)
		return false;
	*ret = (struct gc_state){ .interpreter = index };
	memory_field(memory, gc, FIELD_GC_ENABLED, &enabled);
	memory_field(memory, gc, FIELD_GC_COLLECTING, &collecting);
	ret->enabled = enabled;
	ret->collecting = collecting;
	stats = memory_address(memory, gc, FIELD_GC_STATS);
	for (unsigned i = 0; i < GENERATIONS; i++)
		read_generation(memory,
				generations + i * (vaddr)layout_offset(layout, SIZE_GENERATION),
				stats + i * (vaddr)layout_offset(layout, SIZE_GENERATION_STATS),
				&ret->generations[i]);
	if (memory_field(memory, gc, FIELD_GC_GARBAGE, &garbage) && garbage)
		memory_field(memory, garbage, FIELD_VAR_SIZE, &ret->garbage);
	ret->permanent = memory_address(memory, gc, FIELD_GC_PERMANENT);
	if (is_head(memory, ret->permanent))
		ret->permanent_objects = list_length(memory, ret->permanent, NULL);
	return true;
}

void gc_count_objects(const struct python *python, struct gc_state *gc, struct gaps *gaps)
{
	for (int i = 0; i < GENERATIONS; i++)
		gc->generations[i].objects =
			list_length(&python->memory, gc->generations[i].head, gaps);
}
