/* SPDX-License-Identifier: MIT */
/*
 * Bits of an address are indices into the three levels of the tree; a leaf tells where an arena
 * begins within its window, as large as an arena: 3.10 Objects/obmalloc.c, arena_map_mark_used()
 */
#include "arena_map_search.h"

/* The words or leaves of a node of the size `id`. */
static uint64_t entries(const struct layout *layout, enum field_id id)
{
	return layout_offset(layout, id) / sizeof(vaddr);
}

/* The index of the top node's word that leads to `at`. */
static uint64_t top_index(const struct layout *layout, uint64_t window)
{
	return window / entries(layout, SIZE_ARENA_MAP_BOTTOM) /
	       entries(layout, SIZE_ARENA_MAP_MID) % entries(layout, SIZE_ARENA_MAP_TOP);
}

/* Whether the tree below `middle`, a node of the second level, tells of the arena. */
static bool tells_of(const struct memory *memory, vaddr middle, uint64_t arena_bytes, vaddr arena)
{
	uint64_t bottoms = entries(memory->layout, SIZE_ARENA_MAP_BOTTOM);
	uint64_t window = arena / arena_bytes, bottom;
	uint32_t tail, expected = (uint32_t)(arena % arena_bytes);

	return image_u64(memory->image,
			 middle + window / bottoms % entries(memory->layout, SIZE_ARENA_MAP_MID) *
					  sizeof(vaddr),
			 &bottom) &&
	       image_u32(memory->image, bottom + window % bottoms * sizeof(vaddr), &tail) &&
	       tail == (expected ? expected : UINT32_MAX);
}

/* Whether the tree at `root` tells of all arenas. */
static bool is_root(const struct memory *memory, vaddr root, const struct pymalloc *pymalloc)
{
	for (size_t i = 0; i < pymalloc->arenas.count; i++) {
		vaddr arena = pymalloc->arenas.items[i].start, middle;
		uint64_t top = top_index(memory->layout, arena / pymalloc->arena_bytes);

		if (!image_u64(memory->image, root + top * sizeof(vaddr), &middle) || !middle ||
		    !tells_of(memory, middle, pymalloc->arena_bytes, arena))
			return false;
	}
	return true;
}

vaddr arena_map_search(const struct python *python, const struct pymalloc *pymalloc)
{
	const struct memory *memory = &python->memory;
	const struct image *image = memory->image;
	uint64_t top;

	if (!pymalloc->arenas.count)
		return 0;
	top = top_index(memory->layout, pymalloc->arenas.items[0].start / pymalloc->arena_bytes);
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(python->module, segment);

		for (uint64_t at = top * sizeof(vaddr); at + sizeof(vaddr) <= size;
		     at += sizeof(vaddr)) {
			vaddr root = segment->start + at - top * sizeof(vaddr);

			if (load_u64(segment->bytes + at) && is_root(memory, root, pymalloc))
				return root;
		}
	}
	return 0;
}
