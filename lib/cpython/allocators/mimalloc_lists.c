/* SPDX-License-Identifier: MIT */
/*
 * A page has three lists of free blocks: those to hand out, those that its thread freed lately,
 * those that other threads freed. What they free of a full page goes on a list of its heap.
 * 3.13 Objects/mimalloc/page.c, alloc.c
 */
#include "../../base/cleanup.h"
#include "../../base/id_map.h"
#include "mimalloc.h"

#define KEYS 2

/* A list, and how its links are written. */
struct list {
	const struct memory *memory;
	uint64_t keys[KEYS];
	vaddr null; /* what is written for the end */
	bool encoded;
};

/* Debug builds encode links: 3.13 Include/internal/mimalloc/mimalloc/internal.h, mi_ptr_decode() */
static vaddr decode(const struct list *list, uint64_t link)
{
	unsigned shift = list->keys[0] % 64;
	uint64_t rotated;

	if (!list->encoded)
		return link;
	link -= list->keys[0];
	rotated = shift ? link >> shift | link << (64 - shift) : link;
	rotated ^= list->keys[1];
	return rotated == list->null ? 0 : rotated;
}

static struct list list_of(const struct memory *memory, vaddr at, enum field_id keys)
{
	struct list list = { .memory = memory, .null = at };
	vaddr from = memory_address(memory, at, keys);

	/* heaps have keys always, pages only where links are encoded */
	list.encoded = layout_has(memory->layout, FIELD_MI_PAGE_KEYS) &&
		       image_u64(memory->image, from, &list.keys[0]) &&
		       image_u64(memory->image, from + sizeof(vaddr), &list.keys[1]);
	return list;
}

/* Marks the blocks on a list, and counts them; false when it is broken. */
static bool walk_list(const struct list *list, const struct mimalloc_page *page, vaddr block,
		      uint64_t *free, uint32_t *count)
{
	while (block) {
		uint64_t offset = block - page->start, index = offset / page->block_bytes, link;

		if (block < page->start || index >= page->carved || offset % page->block_bytes ||
		    free[index / 64] >> (index % 64) & 1 ||
		    !image_u64(list->memory->image, block, &link))
			return false;
		free[index / 64] |= 1ULL << (index % 64);
		++*count;
		block = decode(list, link);
	}
	return true;
}

void mimalloc_walk_page(const struct memory *memory, struct mimalloc_page *page, uint64_t *free,
			struct gaps *gaps)
{
	const struct layout *layout = memory->layout;
	const uint8_t *bytes = memory_struct(memory, page->at, SIZE_MI_PAGE);
	struct list list = list_of(memory, page->at, FIELD_MI_PAGE_KEYS);
	uint32_t own = 0, others = 0;
	bool whole;

	if (!page->carved)
		return;
	whole = walk_list(&list, page, field_load(layout, bytes, FIELD_MI_PAGE_FREE), free, &own) &&
		walk_list(&list, page, field_load(layout, bytes, FIELD_MI_PAGE_LOCAL_FREE), free,
			  &own) &&
		walk_list(&list, page,
			  /* the two lowest bits are flags: mi_delayed_t */
			  round_down(field_load(layout, bytes, FIELD_MI_PAGE_THREAD_FREE), 4), free,
			  &others);
	/* blocks that other threads freed still count as used */
	if (!whole || own + page->used != page->carved) {
		gap_add(gaps, GAP_PAGE_DAMAGED, page->span, page->span_bytes);
		page->damaged = true;
	}
	page->delayed = others;
	page->used = page->carved - own - others;
}

void mimalloc_each_delayed(const struct mimalloc *mimalloc, const struct memory *memory,
			   const struct mimalloc_heap *heap, delayed_fn *fn, void *context)
{
	struct list list = list_of(memory, heap->at, FIELD_MI_HEAP_KEYS);
	uint64_t block;

	_cleanup_(id_map_deinit) struct id_map met = { 0 };
	if (!heap->at || !memory_field(memory, heap->at, FIELD_MI_HEAP_DELAYED_FREE, &block))
		return;
	while (block && id_map_meet(&met, block)) {
		struct mimalloc_page *page = mimalloc_find_page(mimalloc, block);
		uint64_t index = page && block >= page->start && page->count
					 ? (block - page->start) / page->block_bytes
					 : UINT64_MAX;
		uint64_t link;

		if (!page || index >= page->carved || !image_u64(memory->image, block, &link))
			return;
		fn(context, page, (uint32_t)index);
		block = decode(&list, link);
	}
}

void mimalloc_sum_heaps(struct mimalloc *mimalloc)
{
	for (size_t i = 0; i < mimalloc->pages.count; i++) {
		const struct mimalloc_page *page = &mimalloc->pages.items[i];
		struct mimalloc_heap *heap = &mimalloc->heaps.items[page->heap];
		uint64_t free = page->carved - page->used, untouched = page->count - page->carved;

		heap->pages++;
		heap->used += page->used;
		heap->free += free;
		heap->untouched += untouched;
		heap->delayed += page->delayed;
		heap->unknown += page->unknown;
		heap->used_bytes += page->used * page->block_bytes;
		heap->free_bytes += (free + untouched) * page->block_bytes;
		heap->unknown_bytes += page->unknown * page->block_bytes;
	}
}
