/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "id_map.h"

static struct id_map_slot *find_slot(const struct id_map *map, uint64_t key)
{
	for (size_t i = id_map_hash(key);; i++) {
		struct id_map_slot *slot = &map->slots[i & (map->capacity - 1)];

		if (slot->key == key || !slot->key)
			return slot;
	}
}

static bool grow(struct id_map *map)
{
	struct id_map grown = { .capacity = map->capacity ? map->capacity * 2 : 64 };

	grown.slots = calloc(grown.capacity, sizeof(*grown.slots));
	if (!grown.slots)
		return false;
	for (size_t i = 0; i < map->capacity; i++) {
		if (map->slots[i].key)
			*find_slot(&grown, map->slots[i].key) = map->slots[i];
	}
	grown.count = map->count;
	free(map->slots);
	*map = grown;
	return true;
}

bool id_map_put(struct id_map *map, uint64_t key, uint32_t id)
{
	struct id_map_slot *slot;

	if (!key)
		return false;
	if (map->count * 2 >= map->capacity && !grow(map))
		return false;
	slot = find_slot(map, key);
	if (!slot->key)
		map->count++;
	*slot = (struct id_map_slot){ .key = key, .id = id };
	return true;
}

void id_map_deinit(struct id_map *map)
{
	free(map->slots);
	*map = (struct id_map){ 0 };
}
