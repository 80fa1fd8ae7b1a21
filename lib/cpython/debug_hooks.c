/* SPDX-License-Identifier: MIT */
#include "debug_hooks.h"

#define POOLS_MAX      256 /* looked at, at most */
#define HEADER_BYTES   16
#define GUARD_AT       9    /* behind the size, 8 bytes, and the id of the API */
#define FORBIDDEN_BYTE 0xFD /* Objects/obmalloc.c: PYMEM_FORBIDDENBYTE */

static bool has_header(const uint8_t *block)
{
	for (int i = GUARD_AT; i < HEADER_BYTES; i++) {
		if (block[i] != FORBIDDEN_BYTE)
			return false;
	}
	return true;
}

/* Whether some used block of the pool has a header. */
static bool pool_has_header(const struct block_map *map, const struct memory *memory,
			    const struct pool *pool, vaddr at)
{
	uint64_t size = pymalloc_block_bytes(&map->pymalloc, pool->size_class);
	const uint8_t *bytes = image_at(memory->image, at, map->pymalloc.pool_bytes);

	for (uint32_t i = 0; bytes && size >= HEADER_BYTES && i < pool->carved; i++) {
		if (tag_state(map->tags[pool->first + i]) == BLOCK_USED &&
		    has_header(bytes + map->pymalloc.header_bytes + i * size))
			return true;
	}
	return false;
}

void debug_hooks_check(struct block_map *map, const struct memory *memory)
{
	const struct pymalloc *pymalloc = &map->pymalloc;
	uint64_t pools = 0, marked = 0, bytes = 0;

	for (size_t i = 0; i < pymalloc->arenas.count && pools < POOLS_MAX; i++) {
		const struct arena *arena = &pymalloc->arenas.items[i];

		for (uint32_t j = 0; j < arena->pool_count && pools < POOLS_MAX; j++) {
			const struct pool *pool = &pymalloc->pools[arena->pools + j];

			if (!pool->used)
				continue;
			pools++;
			marked += pool_has_header(map, memory, pool,
						  pymalloc_pool_at(pymalloc, arena, j));
		}
	}
	if (!pools || marked < pools / 2)
		return;
	for (size_t i = 0; i < pymalloc->pool_count; i++)
		bytes += pymalloc->pools[i].used *
			 pymalloc_block_bytes(pymalloc, pymalloc->pools[i].size_class);
	gap_add(&map->gaps, GAP_DEBUG_HOOKS, pymalloc->arenas.items[0].start, bytes);
}
