/* SPDX-License-Identifier: MIT */
/* Each segment that may have been written, less what allocators and Python frames have, cut where
 * stacks and thread-local data begin. */
#include "places.h"

#include <elf.h>
#include <stdlib.h>

#include "../base/bisect.h"

/* The ABI lets leaf functions use it below the stack pointer: System V ABI, AMD64, 3.2.2 */
#define RED_ZONE_BYTES 128
/* sizeof(struct pthread), x86-64, glibc 2.31 to 2.41: on one side of the thread pointer; on the
 * other side are the thread-local data of all modules */
#define DESCRIPTOR_BYTES 2304
#define TLS_MAX          (1ULL << 24)

struct search {
	struct places *places;
	const struct root_sources *sources;
	struct ranges taken;    /* by allocators, as far as known, and Python frames; joined */
	VECTOR(vaddr) pointers; /* thread pointers, in order */
	uint64_t tls_bytes;     /* on each side of them */
	bool failed;            /* out of memory */
};

/* Lists the blocks that are known of a heap which is not walked. */
static bool add_known_blocks(struct search *search, const struct heap *heap)
{
	const struct block_map *map = search->sources->view->map;

	for (size_t i = heap->first; i < heap->first + heap->count; i++) {
		const struct chunk *chunk = &map->malloc.chunks.items[i];

		if (map->tags[map->first_chunk + i] != BLOCK_UNSEEN &&
		    !ranges_add(&search->taken, chunk->start, chunk->start + chunk->size))
			return false;
	}
	return true;
}

/* Lists what allocators and Python frames have. */
static bool find_taken(struct search *search)
{
	const struct heap_view *view = search->sources->view;
	const struct malloc_map *malloc = &view->map->malloc;

	if (!blocks_add_taken(&search->taken, view->map, view->python))
		return false;
	for (size_t i = 0; i < malloc->heaps.count; i++) {
		const struct heap *heap = &malloc->heaps.items[i];

		if (heap->kind == HEAP_FOREIGN
			    ? !add_known_blocks(search, heap)
			    : !ranges_add(&search->taken, heap->start, heap->end))
			return false;
	}
	ranges_join(&search->taken);
	return true;
}

static void add_place(struct search *search, vaddr start, vaddr end, enum place_kind kind)
{
	struct word_place *place;

	if (start >= end)
		return;
	place = vector_push(&search->places->list);
	if (place)
		*place = (struct word_place){ start, end, kind };
	else
		search->failed = true;
}

/* Adds [start, end), of which what lies around a thread pointer is thread-local. */
static void add_with_tls(struct search *search, vaddr start, vaddr end, enum place_kind kind)
{
	size_t first = bisect(i, search->pointers.count, search->pointers.items[i] < start);

	for (size_t i = first; i < search->pointers.count; i++) {
		vaddr pointer = search->pointers.items[i];
		vaddr from = MAX(start, pointer - MIN(pointer, search->tls_bytes));

		if (pointer >= end)
			break;
		add_place(search, start, from, kind);
		start = MAX(start, MIN(end, pointer + search->tls_bytes));
		add_place(search, from, start, PLACE_TLS);
	}
	add_place(search, start, end, kind);
}

/* Adds [start, end), which is no module's; of stacks what is in use. */
static void add_anonymous(struct search *search, vaddr start, vaddr end)
{
	const struct root_sources *sources = search->sources;
	const struct stack *stacks = sources->stacks->list.items;
	size_t count = sources->stacks->list.count;
	size_t first = bisect(i, count, stacks[i].end <= start);

	for (size_t i = first; i < count && stacks[i].start < end; i++) {
		vaddr sp = sources->process->threads.items[stacks[i].thread].sp;
		vaddr used = round_down(sp - MIN(sp, RED_ZONE_BYTES), sizeof(vaddr));
		vaddr last = MIN(end, stacks[i].end);

		if (used < stacks[i].start || used >= stacks[i].end)
			used = stacks[i].start;
		add_with_tls(search, start, MIN(last, MAX(start, stacks[i].start)), PLACE_OTHER);
		add_with_tls(search, MAX(start, used), last, PLACE_STACK);
		start = MAX(start, last);
	}
	add_with_tls(search, start, end, PLACE_OTHER);
}

/* Adds what nobody has taken of [start, end), all of which is of one kind. */
static void add_free(struct search *search, vaddr start, vaddr end, bool module_data)
{
	const struct range *taken = search->taken.items;
	size_t count = search->taken.count;

	for (size_t i = bisect(j, count, taken[j].end <= start); start < end; i++) {
		vaddr next = i < count ? MIN(end, MAX(start, taken[i].start)) : end;

		if (module_data)
			add_place(search, start, next, PLACE_MODULE_DATA);
		else
			add_anonymous(search, start, next);
		start = i < count ? MAX(next, taken[i].end) : end;
	}
}

/* Memory that is not anonymous and cannot be written holds nothing that was made at run time. */
static void search_segment(struct search *search, const struct segment *segment)
{
	const struct process *process = search->sources->process;
	uint64_t data = modules_data_size(search->sources->modules, segment);

	if (!segment->bytes || segment->start == process->vdso || segment->start >= 1ULL << 63)
		return;
	if (data)
		add_free(search, segment->start, segment->start + data, true);
	if (segment->permissions & PF_W || !segment->path)
		add_free(search, segment->start + data, segment->end, false);
}

static void search_frames(struct search *search, const struct frame_list *frames)
{
	const struct memory *memory = &search->sources->view->python->memory;

	for (size_t i = 0; i < frames->list.count; i++) {
		vaddr start;
		uint64_t size;

		if (frame_unknown_stack(memory, frames->list.items[i].at, &start, &size) &&
		    image_at(memory->image, start, size))
			add_place(search, start, start + size, PLACE_FRAME_STACK);
	}
}

/* Finds the thread pointers, and how far thread-local data reach around them. */
static void find_tls(struct search *search)
{
	const struct modules *modules = search->sources->modules;
	const struct stacks *stacks = search->sources->stacks;

	for (size_t i = 0; i < stacks->pointers.count; i++) {
		vaddr *pointer = vector_push(&search->pointers);

		search->failed |= !pointer;
		if (pointer)
			*pointer = stacks->pointers.items[i];
	}
	if (search->pointers.count)
		qsort(search->pointers.items, search->pointers.count,
		      sizeof(*search->pointers.items), vaddr_compare);
	for (size_t i = 0; i < modules->list.count; i++)
		search->tls_bytes += MIN(modules->list.items[i].headers.tls_bytes, TLS_MAX);
	search->tls_bytes = round_up(MAX(search->tls_bytes, DESCRIPTOR_BYTES), 64);
}

bool places_find(struct places *places, const struct root_sources *sources,
		 const struct frame_list *frames)
{
	const struct image *image = sources->view->python->memory.image;
	struct search search = { .places = places, .sources = sources };

	search.failed = !find_taken(&search);
	find_tls(&search);
	for (size_t i = 0; i < image->segments.count && !search.failed; i++)
		search_segment(&search, &image->segments.items[i]);
	search_frames(&search, frames);
	ranges_deinit(&search.taken);
	free(search.pointers.items);
	return !search.failed;
}

void places_deinit(struct places *places)
{
	free(places->list.items);
	*places = (struct places){ 0 };
}
