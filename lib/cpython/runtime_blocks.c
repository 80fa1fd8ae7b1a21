/* SPDX-License-Identifier: MIT */
#include "runtime_blocks.h"

#include "../base/cleanup.h"
#include "allocators/arena_map_search.h"
#include "decoder.h"
#include "delayed.h"
#include "types.h"

#define ENTRIES_MAX (1ULL << 32)

/* Tags the used block that holds `at`. */
static void mark(struct block_map *map, vaddr at, enum buffer_kind kind)
{
	struct block block;

	if (at && block_find(map, at, &block) && map->tags[block.id] == BLOCK_USED)
		map->tags[block.id] = tag_make(BLOCK_BUFFER, kind, TYPE_NONE);
}

/* Visits the pointers in the node of the radix tree at `at` that has `size` bytes. */
static void mark_node_children(struct block_map *map, const struct memory *memory, vaddr at,
			       uint64_t size, bool leaves_below)
{
	const struct layout *layout = memory->layout;
	const uint8_t *bytes = image_at(memory->image, at, size);

	for (uint64_t i = 0; bytes && i < size; i += sizeof(vaddr)) {
		vaddr child = load_u64(bytes + i);

		if (!child)
			continue;
		mark(map, child, BUFFER_ALLOCATOR);
		if (!leaves_below)
			mark_node_children(map, memory, child,
					   layout_offset(layout, SIZE_ARENA_MAP_MID), true);
	}
}

/* 3.10 and later: the tree that finds the arena of an address. Its root is in the allocator's
 * state (3.12), or a static variable. */
static void mark_arena_map(struct block_map *map, const struct python *python)
{
	const struct memory *memory = &python->memory;
	uint64_t size = layout_offset(&python->layout, SIZE_ARENA_MAP_TOP);
	struct elf_symbol symbol;
	vaddr root_at;

	if (!layout_has(&python->layout, SIZE_ARENA_MAP_TOP))
		return;
	if (!layout_has(&python->layout, FIELD_OBMALLOC_MAP_ROOT)) {
		root_at = python_symbol(python, "arena_map_root", &symbol)
				  ? symbol.address
				  : arena_map_search(python, &map->pymalloc);
		mark_node_children(map, memory, root_at, root_at ? size : 0, false);
		return;
	}
	for (size_t i = 0; i < map->pymalloc.states.count; i++) {
		vaddr root = map->pymalloc.states.items[i].map_root;

		mark_node_children(map, memory, root, root ? size : 0, false);
	}
}

/* 3.12 and later: the hash table of immortal interned strings. Python/hashtable.c */
static void mark_interned(struct block_map *map, const struct python *python)
{
	const struct memory *memory = &python->memory;
	uint64_t table, buckets, bucket_count, entries;

	if (!memory_field(memory, python->runtime, FIELD_RUNTIME_INTERNED, &table) ||
	    !memory_field(memory, table, FIELD_HASHTABLE_BUCKETS, &buckets) ||
	    !memory_field(memory, table, FIELD_HASHTABLE_BUCKET_COUNT, &bucket_count) ||
	    !memory_field(memory, table, FIELD_HASHTABLE_ENTRIES, &entries) ||
	    !image_at(memory->image, buckets, bucket_count * sizeof(vaddr)) ||
	    entries > ENTRIES_MAX)
		return;
	mark(map, table, BUFFER_INTERNED);
	mark(map, buckets, BUFFER_INTERNED);
	for (uint64_t i = 0; i < bucket_count; i++) {
		uint64_t entry;

		if (!image_u64(memory->image, buckets + i * sizeof(vaddr), &entry))
			return;
		/* the first word of an entry links to the next */
		while (entry && entries--) {
			mark(map, entry, BUFFER_INTERNED);
			if (!image_u64(memory->image, entry, &entry))
				break;
		}
	}
}

static void mark_delayed(void *closure, vaddr at, bool is_reference)
{
	if (!is_reference)
		mark(closure, at, BUFFER_DELAYED);
}

/* Marks an interpreter's state, and pymalloc's of it, which is behind a pointer since 3.13. */
static void mark_interpreter(struct block_map *map, const struct memory *memory, vaddr interp)
{
	const struct field *state = &memory->layout->fields[FIELD_INTERP_OBMALLOC];
	uint64_t at;

	mark(map, interp, BUFFER_INTERPRETER);
	if (state->size == sizeof(vaddr) &&
	    memory_field(memory, interp, FIELD_INTERP_OBMALLOC, &at))
		mark(map, at, BUFFER_ALLOCATOR);
}

/* Marks a thread state, and what it has in free-threaded builds. */
static void mark_thread(struct block_map *map, const struct memory *memory, vaddr thread)
{
	uint64_t counts;

	mark(map, thread, BUFFER_INTERPRETER);
	if (memory_field(memory, thread, FIELD_THREAD_REFCOUNTS, &counts))
		mark(map, counts, BUFFER_INTERPRETER);
}

void runtime_blocks_mark(struct block_map *map, const struct python *python)
{
	const struct memory *memory = &python->memory;

	for (size_t i = 0; i < python->interpreters.count; i++)
		mark_interpreter(map, memory, python->interpreters.items[i].at);
	for (size_t i = 0; i < python->threads.count; i++)
		mark_thread(map, memory, python->threads.items[i].at);
	for (size_t i = 0; i < map->pymalloc.states.count; i++)
		mark(map, map->pymalloc.states.items[i].arenas, BUFFER_ALLOCATOR);
	delayed_each(python, mark_delayed, map);
	mark_arena_map(map, python);
	mark_interned(map, python);
}
