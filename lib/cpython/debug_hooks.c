/* SPDX-License-Identifier: MIT */
#include "debug_hooks.h"

#include <stdlib.h>

#include "../base/cleanup.h"
#include "blocks.h"

#define POOLS_MAX   256 /* or pages, looked at, at most, to see whether there are hooks */
#define CHUNKS_MAX  65536
#define CHUNK_GRAIN 4096
#define API_AT      8
#define DAMAGE_BOTH (DAMAGE_HEADER | DAMAGE_TRAILER)

/* Objects/obmalloc.c: PYMEM_FORBIDDENBYTE, PYMEM_DEADBYTE; others before 3.7.4 */
static const struct guard_pattern patterns[] = {
	{ 0xFDFDFDFDFDFDFDFD, 0xDDDDDDDDDDDDDDDD },
	{ 0xFBFBFBFBFBFBFBFB, 0xDBDBDBDBDBDBDBDB },
};

enum damage {
	DAMAGE_NONE,
	DAMAGE_HEADER = 1,
	DAMAGE_TRAILER = 2,
};

/* Whether the id and the forbidden bytes of the header at `guard` are whole. */
static bool header_is_whole(const struct guard_pattern *pattern, const uint8_t *guard)
{
	uint8_t api = guard[API_AT];

	return load_u64(guard + API_AT) >> 8 == pattern->forbidden >> 8 &&
	       (api == 'r' || api == 'm' || api == 'o');
}

static bool has_trailer(const struct debug_hooks *hooks, const uint8_t *guard, uint64_t request)
{
	return load_u64(guard + GUARD_FRONT + request) == hooks->pattern->forbidden;
}

/* Whether the header's size leads to a trailer inside of the `size` bytes at `guard`. */
static bool leads_to_trailer(const struct debug_hooks *hooks, const uint8_t *guard, uint64_t size)
{
	uint64_t request = guard_request(guard);

	return size >= hooks->bytes && request <= size - hooks->bytes &&
	       has_trailer(hooks, guard, request);
}

/* What is wrong with the guards that wrap the `size` bytes at `guard`. */
static enum damage check_guards(const struct debug_hooks *hooks, const uint8_t *guard,
				uint64_t size)
{
	enum damage damage = header_is_whole(hooks->pattern, guard) ? DAMAGE_NONE : DAMAGE_HEADER;

	/* without a size, nobody knows where the trailer is */
	if (guard_request(guard) > size - hooks->bytes)
		return DAMAGE_HEADER;
	return has_trailer(hooks, guard, guard_request(guard)) ? damage : damage | DAMAGE_TRAILER;
}

/* A block that the hooks freed is full of dead bytes, but for the allocator's own links. */
static bool is_dead(const struct debug_hooks *hooks, const uint8_t *guard)
{
	return load_u64(guard + API_AT) == hooks->pattern->dead;
}

/* What is wrong with any of the `count` guards, one within the other, of `size` bytes at `guard`.
 */
static enum damage check_all(const struct debug_hooks *hooks, const uint8_t *guard, uint64_t size,
			     unsigned count)
{
	enum damage damage = DAMAGE_NONE;

	if (is_dead(hooks, guard))
		return DAMAGE_NONE;
	for (unsigned i = 0; i < count; i++) {
		damage |= check_guards(hooks, guard, size);
		guard += GUARD_FRONT;
		size = guarded_request(guard, size - hooks->bytes);
		if (size < hooks->bytes)
			break;
	}
	return damage;
}

/* How many guards the chunk of `size` bytes at `guard` has. */
static unsigned count_guards(const struct debug_hooks *hooks, const uint8_t *guard, uint64_t size)
{
	const uint8_t *inner = guard + GUARD_FRONT;
	uint64_t request;

	if (size < hooks->bytes ||
	    (!header_is_whole(hooks->pattern, guard) && !leads_to_trailer(hooks, guard, size)))
		return 0;
	request = guarded_request(inner, size - hooks->bytes);
	if (!hooks->pools || request < hooks->bytes)
		return 1;
	/* either end of the inner guards is enough: the program may have overwritten the other */
	return header_is_whole(hooks->pattern, inner) ||
			       has_trailer(hooks, inner, request - hooks->bytes)
		       ? 2
		       : 1;
}

/* Whether some used block of the run has a header. */
static bool run_has_header(const struct block_map *map, const struct image *image,
			   const struct guard_pattern *pattern, const struct block_run *run)
{
	const uint8_t *bytes = run_bytes(run, image);

	for (uint32_t i = 0; bytes && run->step >= GUARD_BYTES_MIN && i < run->count; i++) {
		if (tag_state(map->tags[run->first + i]) == BLOCK_USED &&
		    header_is_whole(pattern, bytes + i * run->step))
			return true;
	}
	return false;
}

/* Whether most pools have blocks with headers. */
static bool pools_have_headers(const struct block_map *map, const struct image *image,
			       const struct guard_pattern *pattern)
{
	const struct pymalloc *pymalloc = &map->pymalloc;
	uint64_t pools = 0, marked = 0;

	for (size_t i = 0; i < pymalloc->arenas.count && pools < POOLS_MAX; i++) {
		const struct arena *arena = &pymalloc->arenas.items[i];

		for (uint32_t j = 0; j < arena->pool_count && pools < POOLS_MAX; j++) {
			struct pool *pool = &pymalloc->pools[arena->pools + j];
			struct block_run run;

			if (!pool->used)
				continue;
			run = pool_run(map, arena, pool, pymalloc_pool_at(pymalloc, arena, j));
			pools++;
			marked += run_has_header(map, image, pattern, &run);
		}
	}
	return marked > pools / 2;
}

/* Whether most pages of mimalloc have blocks with headers. */
static bool pages_have_headers(const struct block_map *map, const struct image *image,
			       const struct guard_pattern *pattern)
{
	uint64_t pages = 0, marked = 0;

	for (size_t i = 0; i < map->mimalloc.pages.count && pages < POOLS_MAX; i++) {
		struct block_run run = page_run(map, &map->mimalloc.pages.items[i]);

		if (!run.page->used)
			continue;
		pages++;
		marked += run_has_header(map, image, pattern, &run);
	}
	return marked > pages / 2;
}

/* How many of malloc's first chunks have headers. */
static uint64_t count_headers(const struct block_map *map, const struct image *image,
			      const struct guard_pattern *pattern)
{
	uint64_t found = 0;

	for (size_t i = 0; i < map->malloc.chunks.count && i < CHUNKS_MAX; i++) {
		const struct chunk *chunk = &map->malloc.chunks.items[i];
		const uint8_t *bytes = chunk->state == CHUNK_USED && chunk->size >= GUARD_BYTES_MIN
					       ? image_at(image, chunk->start, chunk->size)
					       : NULL;

		found += bytes && header_is_whole(pattern, bytes);
	}
	return found;
}

/* Finds out what the guards are made of, and whether the blocks of pymalloc and mimalloc have some.
 */
static void find_pattern(struct block_map *map, const struct image *image)
{
	struct debug_hooks *hooks = &map->hooks;
	uint64_t found, most = 0;

	hooks->pattern = &patterns[0];
	for (size_t i = 0; i < ARRAY_SIZE(patterns) && !hooks->pools && !hooks->pages; i++) {
		hooks->pools = pools_have_headers(map, image, &patterns[i]);
		hooks->pages = pages_have_headers(map, image, &patterns[i]);
		found = hooks->pools || hooks->pages ? UINT64_MAX
						     : count_headers(map, image, &patterns[i]);
		if (found > most)
			hooks->pattern = &patterns[i];
		most = MAX(most, found);
	}
}

struct check {
	struct block_map *map;
	const struct image *image;
	struct gaps *gaps; /* one for each worker */
	bool found;        /* some chunk has guards */
};

/* Checks the guards of a run's used blocks. */
static void check_run(void *context, unsigned worker, const struct block_run *run)
{
	const struct check *check = context;
	const uint8_t *bytes = run_bytes(run, check->image);

	for (uint32_t i = 0; bytes && i < run->count; i++) {
		uint64_t offset = i * run->step;

		if (tag_state(check->map->tags[run->first + i]) == BLOCK_USED &&
		    check_all(&check->map->hooks, bytes + offset, run->step, run->guards))
			gap_add(&check->gaps[worker], GAP_GUARDS_DAMAGED,
				run->start + offset + GUARD_FRONT, run->step);
	}
}

/* Notes which of chunks [begin, end) have guards, and checks these. */
static void check_chunks(void *context, unsigned worker, size_t begin, size_t end)
{
	struct check *check = context;
	struct debug_hooks *hooks = &check->map->hooks;

	for (size_t i = begin; i < end; i++) {
		const struct chunk *chunk = &check->map->malloc.chunks.items[i];
		const uint8_t *bytes = chunk->state == CHUNK_USED
					       ? image_at(check->image, chunk->start, chunk->size)
					       : NULL;

		hooks->chunks[i] = bytes ? (uint8_t)count_guards(hooks, bytes, chunk->size) : 0;
		if (!hooks->chunks[i])
			continue;
		__atomic_store_n(&check->found, true, __ATOMIC_RELAXED);
		if (check_all(hooks, bytes, chunk->size, hooks->chunks[i]))
			gap_add(&check->gaps[worker], GAP_GUARDS_DAMAGED,
				chunk->start + hooks->chunks[i] * GUARD_FRONT, chunk->size);
	}
}

bool debug_hooks_find(struct block_map *map, const struct python *python,
		      const struct parallel *parallel)
{
	const struct image *image = python->memory.image;
	struct check check = { .map = map, .image = image };

	map->hooks.bytes = GUARD_BYTES_MIN +
			   (unsigned)layout_constant(&python->layout, CONSTANT_GUARD_SERIAL_BYTES);
	find_pattern(map, image);
	/* where these have no hooks, the raw domain has none */
	if ((map->pymalloc.arenas.count && !map->hooks.pools) ||
	    (map->mimalloc.pages.count && !map->hooks.pages))
		return true;
	_cleanup_free_ struct gaps *gaps = calloc(parallel->workers, sizeof(*gaps));
	map->hooks.chunks = calloc(map->malloc.chunks.count + 1, 1);
	if (!gaps || !map->hooks.chunks)
		return false;
	check.gaps = gaps;
	if (map->hooks.pools || map->hooks.pages)
		blocks_each_run(map, parallel, "checking guards", check_run, &check);
	parallel_for(parallel, "checking guards of chunks", map->malloc.chunks.count, CHUNK_GRAIN,
		     check_chunks, &check);
	for (unsigned i = 0; i < parallel->workers; i++)
		gaps_merge(&map->gaps, &gaps[i]);
	if (!check.found)
		debug_hooks_deinit(&map->hooks);
	return true;
}

void debug_hooks_deinit(struct debug_hooks *hooks)
{
	free(hooks->chunks);
	hooks->chunks = NULL;
}

const char *debug_hooks_condition(const struct debug_hooks *hooks, const struct block *block,
				  const struct image *image)
{
	static const char *const names[] = {
		[DAMAGE_NONE] = "intact",
		[DAMAGE_HEADER] = "header overwritten",
		[DAMAGE_TRAILER] = "trailer overwritten",
		[DAMAGE_BOTH] = "header and trailer overwritten",
	};
	uint64_t size = block->size + block->guards * hooks->bytes;
	const uint8_t *bytes =
		block->guards ? image_at(image, block->start - block->guards * GUARD_FRONT, size)
			      : NULL;

	return bytes ? names[check_all(hooks, bytes, size, block->guards)] : NULL;
}
