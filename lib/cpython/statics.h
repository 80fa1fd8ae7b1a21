/* SPDX-License-Identifier: MIT */
/* Objects in the static data of modules: types, singletons, small ints, frozen code, … */
#pragma once

#include "classify.h"

/* Fills map->statics and makes room for their tags; false when out of memory. */
bool statics_find(struct block_map *map, const struct judge *judge, const struct modules *modules);
