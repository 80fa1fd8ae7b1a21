/* SPDX-License-Identifier: MIT */
/*
 * The debug hooks of CPython's allocators: PYTHONMALLOC=debug, python -X dev. Each wraps what it
 * gets from the allocator below into guards: in front the size that was asked for, 8 bytes, the
 * first byte highest; the id of the API ('r', 'm', 'o'), and 7 bytes 0xFD (before 3.7.4: 0xFB);
 * behind it 8 such bytes, and up to 3.7 a serial number. What pymalloc has no room for it asks of
 * the raw domain, which has hooks too: guards within guards. Objects/obmalloc.c,
 * _PyMem_DebugRawAlloc()
 */
#pragma once

#include <stdbool.h>

#include "../base/parallel.h"
#include "runtime.h"

#define GUARD_FRONT     16
#define GUARD_BACK      8
#define GUARD_BYTES_MIN (GUARD_FRONT + GUARD_BACK)

/* The words that the hooks fill memory with. */
struct guard_pattern {
	uint64_t forbidden; /* guards */
	uint64_t dead;      /* what was freed */
};

struct block_map;
struct block;

struct debug_hooks {
	bool pools;     /* used blocks of pymalloc have guards */
	bool pages;     /* used blocks of mimalloc have guards */
	unsigned bytes; /* of a guard, at both ends */
	const struct guard_pattern *pattern;
	uint8_t *chunks; /* by chunk: how many guards, one within the other; NULL: none */
};

/* Finds out which blocks have guards, and which of these are damaged; false when out of memory. */
bool debug_hooks_find(struct block_map *map, const struct python *python,
		      const struct parallel *parallel);

void debug_hooks_deinit(struct debug_hooks *hooks);

/* How the guards of a block are: "intact", "header overwritten", "trailer overwritten", "header and
 * trailer overwritten"; NULL when it has none, or is not in the image. */
const char *debug_hooks_condition(const struct debug_hooks *hooks, const struct block *block,
				  const struct image *image);

/* The size that stands in the header at `guard`, the first byte highest. */
static inline uint64_t guard_request(const uint8_t *guard)
{
	return __builtin_bswap64(load_u64(guard));
}

/* The bytes that were asked for, of the `size` that stand at `content` behind a header; a size that
 * was overwritten is not believed. */
static inline uint64_t guarded_request(const uint8_t *content, uint64_t size)
{
	return MIN(guard_request(content - GUARD_FRONT), size);
}
