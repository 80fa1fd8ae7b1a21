/* SPDX-License-Identifier: MIT */
/*
 * Freed chunks that still look used: those in fastbins, and those in the caches of threads. The
 * caches have no symbol; each is a chunk of its own size whose counts equal its lists. From glibc
 * 2.32 on the links are mangled with the address that they stand at (PROTECT_PTR).
 */
#include "glibc.h"

#define LENGTH_MAX       4096
#define SMALL_BINS       64   /* the sizes of chunks from CHUNK_MIN on, in steps of 16 */
#define SMALL_CHUNK_MAX  1040 /* the size of chunks in the last of them */
#define LARGE_FIRST_BITS 11   /* the first large bin has chunks of less than 1 << 11 */

/* struct tcache_perthread_struct: 16 bits for each bin, then as many pointers. */
struct tcache_shape {
	uint64_t chunk; /* its size */
	unsigned bins;
	bool slots; /* the 16 bits say how many more chunks there is room for, not how many are
		       there */
};

/* 2.42 has bins for large chunks too, one for each power of two. */
static const struct tcache_shape tcache_shapes[] = {
	{ 0x290, SMALL_BINS, false },
	{ 0x300, SMALL_BINS + 12, true },
};

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

/* Whether chunks of this size belong into bin `bin` of a thread's cache. */
static bool fits_bin(unsigned bin, uint64_t size)
{
	if (bin < SMALL_BINS)
		return size == CHUNK_MIN + bin * 16ULL;
	return size > SMALL_CHUNK_MAX && size >> (LARGE_FIRST_BITS - 1 + bin - SMALL_BINS) == 1;
}

/* The caches of one thread, at work. */
struct tcache {
	const struct lists *lists;
	const struct tcache_shape *shape;
	const uint8_t *bytes;
	bool mangled;
};

/* Follows the list of a bin and sets `*length`; false when it breaks. Its chunks get CHUNK_TCACHE
 * when `mark` is set. */
static bool walk_bin(const struct tcache *tcache, unsigned bin, bool mark, uint64_t *length)
{
	const struct lists *lists = tcache->lists;
	uint64_t entries = round_up(tcache->shape->bins * 2ULL, sizeof(vaddr));
	vaddr at = load_u64(tcache->bytes + entries + bin * 8ULL);

	for (*length = 0; at; ++*length) {
		struct chunk *chunk = find_chunk(lists->map, at);
		uint64_t link;

		if (!chunk || !fits_bin(bin, chunk->size + 8) || *length >= LENGTH_MAX ||
		    !image_u64(lists->image, at, &link))
			return false;
		if (mark)
			chunk->state = CHUNK_TCACHE;
		at = unmangle(tcache->mangled, at, link);
	}
	return true;
}

/* Whether this is a thread's cache: all its lists are as long as its counts say, and some chunk is
 * there. Where it counts free slots, there are as many slots in each bin. */
static bool is_tcache(const struct tcache *tcache)
{
	uint64_t chunks = 0, length, slots = 0;

	for (unsigned i = 0; i < tcache->shape->bins; i++) {
		uint64_t count = load_u16(tcache->bytes + i * 2ULL);

		if (!walk_bin(tcache, i, false, &length))
			return false;
		if (!i)
			slots = count + length;
		if (tcache->shape->slots ? count + length != slots : count != length)
			return false;
		chunks += length;
	}
	return chunks;
}

static void mark_tcache(const struct lists *lists, const struct chunk *chunk,
			const struct tcache_shape *shape)
{
	struct tcache tcache = { .lists = lists, .shape = shape };
	uint64_t length;

	tcache.bytes = image_at(lists->image, chunk->start, shape->chunk - CHUNK_HEADER);
	for (int mangled = 1; tcache.bytes && mangled >= 0; mangled--) {
		tcache.mangled = mangled;
		if (!is_tcache(&tcache))
			continue;
		lists->map->mangled = mangled;
		for (unsigned i = 0; i < shape->bins; i++)
			walk_bin(&tcache, i, true, &length);
		break;
	}
}

static void mark_tcaches(const struct lists *lists)
{
	for (size_t i = 0; i < lists->map->chunks.count; i++) {
		const struct chunk *chunk = &lists->map->chunks.items[i];

		for (size_t j = 0; j < ARRAY_SIZE(tcache_shapes); j++) {
			if (chunk->state == CHUNK_USED && chunk->size + 8 == tcache_shapes[j].chunk)
				mark_tcache(lists, chunk, &tcache_shapes[j]);
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
	vaddr fastbins = arena + lists->map->shape->fastbins;

	for (unsigned i = 0; fastbins != arena && i < FASTBIN_COUNT; i++) {
		uint64_t first;

		if (!image_u64(lists->image, fastbins + i * 8ULL, &first) || !first)
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
