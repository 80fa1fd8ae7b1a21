/* SPDX-License-Identifier: MIT */
/*
 * A hash map from 64-bit keys to 32-bit ids. One thread writes; any number may look up while
 * nobody writes. Key 0 can't be stored.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_NONE UINT32_MAX

struct id_map {
	struct id_map_slot {
		uint64_t key; /* 0: empty */
		uint32_t id;
	} * slots;
	size_t capacity; /* a power of two, or 0 */
	size_t count;
};

static inline size_t id_map_hash(uint64_t key)
{
	return (key * 0x9E3779B97F4A7C15ULL) >> 20;
}

/* The id stored for `key`, or ID_NONE. */
static inline uint32_t id_map_find(const struct id_map *map, uint64_t key)
{
	if (!map->capacity)
		return ID_NONE;
	for (size_t i = id_map_hash(key);; i++) {
		const struct id_map_slot *slot = &map->slots[i & (map->capacity - 1)];

		if (!slot->key)
			return ID_NONE;
		if (slot->key == key)
			return slot->id;
	}
}

/* Stores `id` for `key`, replacing what was there; false when out of memory. */
bool id_map_put(struct id_map *map, uint64_t key, uint32_t id);

/* Remembers `key`; false when it is there already, or memory ran out: what ends a walk along a list
 * that may have a loop. */
static inline bool id_map_meet(struct id_map *map, uint64_t key)
{
	return id_map_find(map, key) == ID_NONE && id_map_put(map, key, 0);
}

void id_map_deinit(struct id_map *map);
