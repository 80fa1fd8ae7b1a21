/* SPDX-License-Identifier: MIT */
/*
 * Freed chunks that still look used: those in fastbins, and those in the caches of threads. The
 * caches have no symbol; each is a chunk of its own size whose counts equal its lists. From glibc
 * 2.32 on the links are mangled with the address that they stand at (PROTECT_PTR).
 */
#include "glibc.h"

struct lists {
	struct malloc_map *map;
	const struct image *image;
	struct gaps *gaps;
};

/* The chunk whose user memory begins at `at`, or NULL. */
static struct chunk *find_chunk(const struct malloc_map *map, vaddr at)
{
	const struct heap *heap = malloc_find_heap(map, at);
	size_t index = heap ? malloc_find_chunk(map, heap, at) : SIZE_MAX;

	return index != SIZE_MAX && map->chunks.items[index].start == at ? &map->chunks.items[index]
									 : NULL;
}

static vaddr unmangle(bool mangled, vaddr position, vaddr link)
{
	return mangled ? position >> 12 ^ link : link;
}

/* Whether `count` chunks of `size` bytes hang together from user address `at`; they get `state`
 * when `mark` is set. */
static bool walk_list(const struct lists *lists, vaddr at, uint64_t count, uint64_t size,
		      bool mangled, enum chunk_state state, bool mark)
{
	for (uint64_t i = 0; i < count; i++) {
		struct chunk *chunk = find_chunk(lists->map, at);
		uint64_t link;

		if (!chunk || chunk->size + 8 != size || !image_u64(lists->image, at, &link))
			return false;
		if (mark)
			chunk->state = state;
		at = unmangle(mangled, at, link);
	}
	return !at;
}

/* Whether the chunk at `at` is a thread's cache: all its lists are as long as its counts say. */
static bool is_tcache(const struct lists *lists, const uint8_t *bytes, bool mangled,
		      uint64_t *entries)
{
	*entries = 0;
	for (unsigned i = 0; i < TCACHE_BINS; i++) {
		uint64_t count = load_u16(bytes + i * 2ULL);
		vaddr first = load_u64(bytes + TCACHE_ENTRIES + i * 8ULL);

		if (count > TCACHE_COUNT_MAX || !count != !first)
			return false;
		if (count && !walk_list(lists, first, count, CHUNK_MIN + i * 16ULL, mangled,
					CHUNK_TCACHE, false))
			return false;
		*entries += count;
	}
	return true;
}

static void mark_tcache(const struct lists *lists, const uint8_t *bytes, bool mangled)
{
	for (unsigned i = 0; i < TCACHE_BINS; i++)
		walk_list(lists, load_u64(bytes + TCACHE_ENTRIES + i * 8ULL),
			  load_u16(bytes + i * 2ULL), CHUNK_MIN + i * 16ULL, mangled, CHUNK_TCACHE,
			  true);
}

static void mark_tcaches(const struct lists *lists)
{
	for (size_t i = 0; i < lists->map->chunks.count; i++) {
		const struct chunk *chunk = &lists->map->chunks.items[i];
		const uint8_t *bytes;
		uint64_t entries;

		if (chunk->size + 8 != TCACHE_CHUNK || chunk->state != CHUNK_USED)
			continue;
		bytes = image_at(lists->image, chunk->start, TCACHE_CHUNK - CHUNK_HEADER);
		for (int mangled = 1; bytes && mangled >= 0; mangled--) {
			if (!is_tcache(lists, bytes, mangled, &entries) || !entries)
				continue;
			lists->map->mangled = mangled;
			mark_tcache(lists, bytes, mangled);
			break;
		}
	}
}

/* Marks a fastbin's list, of unknown length; false where it breaks. */
static bool mark_fastbin(const struct lists *lists, vaddr chunk_at, uint64_t size)
{
	size_t limit = lists->map->chunks.count;

	while (chunk_at && limit--) {
		vaddr at = chunk_at + CHUNK_HEADER;
		struct chunk *chunk = find_chunk(lists->map, at);
		uint64_t link;

		if (!chunk || chunk->size + 8 != size || chunk->state == CHUNK_FASTBIN ||
		    !image_u64(lists->image, at, &link))
			return false;
		chunk->state = CHUNK_FASTBIN;
		chunk_at = unmangle(lists->map->mangled, at, link);
	}
	return !chunk_at;
}

static void mark_fastbins(const struct lists *lists, vaddr arena)
{
	for (unsigned i = 0; i < FASTBIN_COUNT; i++) {
		uint64_t first;

		if (!image_u64(lists->image, arena + ARENA_FASTBINS + i * 8ULL, &first) || !first)
			continue;
		if (!mark_fastbin(lists, first, CHUNK_MIN + i * 16ULL))
			gap_add(lists->gaps, GAP_HEAP_LIST_DAMAGED, arena, 0);
	}
}

void glibc_mark_lists(struct malloc_map *map, const struct image *image, struct gaps *gaps)
{
	struct lists lists = { map, image, gaps };

	mark_tcaches(&lists);
	for (size_t i = 0; i < map->arenas.count; i++)
		mark_fastbins(&lists, map->arenas.items[i].at);
}
