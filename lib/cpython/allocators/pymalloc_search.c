/* SPDX-License-Identifier: MIT */
/*
 * The array of arena_objects is recognised by its records: each is unused (address 0, chained to
 * another record or to nothing) or an arena whose numbers fit each other, and the first pool of
 * arena number n says that it belongs to arena n. `arenas` points at record 0; usable_arenas and
 * nfp2lasta[] may point into its middle, where the pools' numbers don't fit.
 */
#include <elf.h>

#include "pymalloc_search.h"

#define FIRST_MAX_ARENAS 16 /* Objects/obmalloc.c: INITIAL_ARENA_OBJECTS; then doubled */
#define RECORDS_LIMIT    (64U << 20)

struct search {
	const struct pymalloc *pymalloc;
	const struct memory *memory;
	uint32_t record_bytes;
};

/* Whether the record numbered `index` of the array at `base` is unused and well-formed. */
static bool is_unused(const struct search *search, vaddr base, uint64_t index)
{
	vaddr record = base + index * search->record_bytes;
	uint64_t next;

	return image_u64(search->memory->image, record + search->record_bytes - 16, &next) &&
	       (!next || (next >= base && (next - base) % search->record_bytes == 0 &&
			  (next - base) / search->record_bytes < RECORDS_LIMIT));
}

/* Whether the first pool of the arena says that it belongs to arena number `index`. */
static bool owns_pool(const struct search *search, const struct arena *arena, uint64_t index)
{
	uint64_t number;

	return arena->next_pool == arena->first_pool ||
	       (memory_field(search->memory, arena->first_pool, FIELD_POOL_ARENA, &number) &&
		number == index);
}

/* The number of records of the array at `base`; the arenas among them go to `*used`. */
static uint64_t count_records(const struct search *search, vaddr base, uint64_t *used)
{
	uint64_t index, address;

	*used = 0;
	for (index = 0; index < RECORDS_LIMIT; index++) {
		vaddr record = base + index * search->record_bytes;
		struct arena arena;

		if (!memory_field(search->memory, record, FIELD_ARENA_ADDRESS, &address))
			break;
		if (!address) {
			if (!is_unused(search, base, index))
				break;
			continue;
		}
		if (!pymalloc_read_arena(search->pymalloc, search->memory, record, &arena) ||
		    !owns_pool(search, &arena, index))
			break;
		++*used;
	}
	return index;
}

/* Rounds down to what the array can have been allocated for. */
static uint32_t allocated_records(uint64_t count)
{
	uint64_t records = FIRST_MAX_ARENAS;

	while (records * 2 <= count)
		records *= 2;
	return (uint32_t)records;
}

static void try_base(const struct search *search, vaddr base, uint64_t *best,
		     struct pymalloc_state *state)
{
	uint64_t address, used, count;

	if (base % 8 || !image_u64(search->memory->image, base, &address) || address % 4096)
		return;
	count = count_records(search, base, &used);
	if (count < FIRST_MAX_ARENAS || used <= *best)
		return;
	*best = used;
	state->arenas = base;
	state->max_arenas = allocated_records(count);
	state->found = "search of static data";
}

void pymalloc_search_state(struct pymalloc_state *state, const struct python *python,
			   const struct pymalloc *pymalloc)
{
	struct search search = { pymalloc, &python->memory,
				 layout_offset(&python->layout, SIZE_ARENA) };
	const struct image *image = python->memory.image;
	uint64_t best = 0;

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t words = module_writable_size(python->module, segment) / sizeof(vaddr);
		for (uint64_t word = 0; word < words; word++)
			try_base(&search, load_u64(segment->bytes + word * sizeof(vaddr)), &best,
				 state);
	}
}
