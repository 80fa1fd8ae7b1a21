/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "../base/bisect.h"
#include "accounting.h"

const char *area_kind_name(enum area_kind kind)
{
	static const char *const names[AREA_KINDS] = {
		[AREA_ARENA] = "pymalloc arena",
		[AREA_MI_SEGMENT] = "mimalloc segment",
		[AREA_MI_ARENA] = "mimalloc arena",
		[AREA_MAIN_HEAP] = "malloc main heap",
		[AREA_THREAD_HEAP] = "malloc thread heap",
		[AREA_MMAPPED] = "malloc mmapped chunk",
		[AREA_JEMALLOC] = "jemalloc",
		[AREA_TCMALLOC] = "tcmalloc",
		[AREA_MUSL] = "musl malloc",
		[AREA_FRAME_STACK] = "Python frame stack",
		[AREA_MAIN_STACK] = "main stack",
		[AREA_THREAD_STACK] = "thread stack",
		[AREA_MODULE_DATA] = "module data",
		[AREA_MODULE_CODE] = "module code",
		[AREA_FILE] = "mapped file",
		[AREA_VDSO] = "kernel page",
		[AREA_ANONYMOUS] = "anonymous",
		[AREA_UNREAD] = "not unpacked",
		[AREA_MISSING_RESERVED] = "missing: reserved, no access",
		[AREA_MISSING_TRUNCATED] = "missing: core truncated",
		[AREA_MISSING_FILE] = "missing: mapped file",
		[AREA_MISSING_ANONYMOUS] = "missing: anonymous",
	};

	return names[kind];
}

/* What a segment is where nobody owns it. */
static enum area_kind segment_kind(const struct memheap_snapshot *s, const struct segment *segment)
{
	const struct process *process = &s->target.process;

	if (!segment->bytes)
		return segment->unread         ? AREA_UNREAD
		       : segment->truncated    ? AREA_MISSING_TRUNCATED
		       : !segment->permissions ? AREA_MISSING_RESERVED
		       : segment->path         ? AREA_MISSING_FILE
					       : AREA_MISSING_ANONYMOUS;
	if (segment->start == process->vdso || segment->start >= 1ULL << 63)
		return AREA_VDSO;
	if (modules_data_size(&s->modules, segment))
		return AREA_MODULE_DATA;
	if (modules_find(&s->modules, segment->start))
		return AREA_MODULE_CODE;
	return segment->path ? AREA_FILE : AREA_ANONYMOUS;
}

static bool add_owned(struct areas *areas, vaddr start, vaddr end, enum area_kind kind,
		      size_t index)
{
	struct area *area = vector_push(&areas->list);

	if (area)
		*area = (struct area){ start, end, kind, NULL, index };
	return area;
}

/* Adds what the allocators own. */
static bool add_allocators(struct areas *areas, const struct memheap_snapshot *s)
{
	static const enum area_kind kinds[] = {
		[HEAP_MAIN] = AREA_MAIN_HEAP,
		[HEAP_THREAD] = AREA_THREAD_HEAP,
		[HEAP_MMAPPED] = AREA_MMAPPED,
	};
	static const enum area_kind foreign_kinds[] = {
		[FOREIGN_NONE] = AREA_ANONYMOUS,
		[FOREIGN_JEMALLOC] = AREA_JEMALLOC,
		[FOREIGN_TCMALLOC] = AREA_TCMALLOC,
		[FOREIGN_MUSL] = AREA_MUSL,
	};
	const struct pymalloc *pymalloc = &s->blocks.pymalloc;
	const struct mimalloc *mimalloc = &s->blocks.mimalloc;
	const struct malloc_map *malloc = &s->blocks.malloc;

	for (size_t i = 0; i < pymalloc->arenas.count; i++) {
		vaddr start = pymalloc->arenas.items[i].start;

		if (!add_owned(areas, start, start + pymalloc->arena_bytes, AREA_ARENA, i))
			return false;
	}
	for (size_t i = 0; i < mimalloc->segments.count; i++) {
		vaddr start = mimalloc->segments.items[i].start;

		if (!add_owned(areas, start, start + mimalloc->segments.items[i].size,
			       AREA_MI_SEGMENT, i))
			return false;
	}
	for (size_t i = 0; i < malloc->heaps.count; i++) {
		const struct heap *heap = &malloc->heaps.items[i];

		if (heap->kind != HEAP_FOREIGN &&
		    !add_owned(areas, heap->start, heap->end, kinds[heap->kind], i))
			return false;
	}
	for (size_t i = 0; i < malloc->foreign.count; i++) {
		const struct foreign_range *range = &malloc->foreign.items[i];

		if (!add_owned(areas, range->start, range->end, foreign_kinds[range->kind], i))
			return false;
	}
	return true;
}

/* By start; of two that begin at the same place the one with the lower kind comes first. */
static int compare_areas(const void *a, const void *b)
{
	const struct area *left = a, *right = b;

	if (left->start != right->start)
		return left->start < right->start ? -1 : 1;
	return left->kind < right->kind ? -1 : left->kind > right->kind;
}

static void sort_areas(struct areas *areas)
{
	if (areas->list.count)
		qsort(areas->list.items, areas->list.count, sizeof(*areas->list.items),
		      compare_areas);
}

/* Adds what the first `count` areas, which are sorted, leave of [start, end). */
static bool add_unowned(struct areas *areas, size_t count, vaddr start, vaddr end,
			enum area_kind kind, size_t index)
{
	size_t low = bisect(i, count, areas->list.items[i].end <= start);

	for (; start < end; low++) {
		vaddr next = low < count ? MAX(start, areas->list.items[low].start) : end;

		if (next > start && !add_owned(areas, start, MIN(next, end), kind, index))
			return false;
		start = low < count ? MAX(start, areas->list.items[low].end) : end;
	}
	return true;
}

/* What arenas of mimalloc have not yet cut into segments. */
static bool add_mimalloc_arenas(struct areas *areas, const struct memheap_snapshot *s)
{
	size_t count = areas->list.count;

	sort_areas(areas);
	for (size_t i = 0; i < s->blocks.mimalloc.arenas.count; i++) {
		const struct mimalloc_arena *arena = &s->blocks.mimalloc.arenas.items[i];

		if (!add_unowned(areas, count, arena->start, arena->start + arena->size,
				 AREA_MI_ARENA, i))
			return false;
	}
	return true;
}

static bool add_frame_stacks(struct areas *areas, const struct memheap_snapshot *s)
{
	size_t count = areas->list.count;

	sort_areas(areas);
	for (size_t i = 0; i < s->python.frame_stacks.count; i++) {
		const struct frame_stack *stack = &s->python.frame_stacks.items[i];

		if (!add_unowned(areas, count, stack->start, stack->end, AREA_FRAME_STACK, i))
			return false;
	}
	return true;
}

/* A thread may stand on memory that it got from an allocator (sigaltstack(), greenlets): its stack
 * then seems to reach over all of the segment. */
static bool add_stacks(struct areas *areas, const struct memheap_snapshot *s)
{
	const struct process *process = &s->target.process;
	size_t count = areas->list.count;

	sort_areas(areas);
	for (size_t i = 0; i < s->stacks.list.count; i++) {
		const struct stack *stack = &s->stacks.list.items[i];
		bool is_main = process->threads.items[stack->thread].tid == process->pid;

		if (!add_unowned(areas, count, stack->start, stack->end,
				 is_main ? AREA_MAIN_STACK : AREA_THREAD_STACK, i))
			return false;
	}
	return true;
}

/* Adds [start, end) of `segment` as `kind`; missing bytes are missing whoever owned them. */
static bool add_piece(struct areas *cut, const struct memheap_snapshot *s,
		      const struct segment *segment, vaddr start, vaddr end,
		      const struct area *owner)
{
	struct area *area;

	if (start >= end)
		return true;
	area = vector_push(&cut->list);
	if (!area)
		return false;
	*area = (struct area){
		.start = start,
		.end = end,
		.kind = owner && segment->bytes ? owner->kind : segment_kind(s, segment),
		.segment = segment,
		.index = owner ? owner->index : 0,
	};
	return true;
}

/* Cuts one segment at the borders of the areas that lie in it, from number `*next` on. */
static bool cut_segment(struct areas *cut, const struct areas *owned, size_t *next,
			const struct memheap_snapshot *s, const struct segment *segment)
{
	vaddr at = segment->start;

	while (at < segment->end) {
		const struct area *area;

		while (*next < owned->list.count && owned->list.items[*next].end <= at)
			++*next;
		area = *next < owned->list.count ? &owned->list.items[*next] : NULL;
		if (!area || area->start >= segment->end)
			return add_piece(cut, s, segment, at, segment->end, NULL);
		if (!add_piece(cut, s, segment, at, MAX(at, area->start), NULL))
			return false;
		at = MAX(at, area->start);
		if (!add_piece(cut, s, segment, at, MIN(segment->end, area->end), area))
			return false;
		at = MIN(segment->end, area->end);
	}
	return true;
}

bool areas_find(struct areas *areas, const struct memheap_snapshot *s)
{
	struct areas owned = { 0 };
	bool done = add_allocators(&owned, s) && add_mimalloc_arenas(&owned, s) &&
		    add_frame_stacks(&owned, s) && add_stacks(&owned, s);
	size_t next = 0;

	sort_areas(&owned);
	for (size_t i = 0; done && i < s->target.image.segments.count; i++)
		done = cut_segment(areas, &owned, &next, s, &s->target.image.segments.items[i]);
	areas_deinit(&owned);
	return done;
}

void areas_deinit(struct areas *areas)
{
	free(areas->list.items);
	*areas = (struct areas){ 0 };
}

const struct area *area_find(const struct areas *areas, vaddr at)
{
	const struct area *items = areas->list.items;
	size_t found = bisect(i, areas->list.count, items[i].end <= at);

	return found < areas->list.count && items[found].start <= at ? &items[found] : NULL;
}
