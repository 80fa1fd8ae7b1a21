/* SPDX-License-Identifier: MIT */
/*
 * How many references each object should have holders for: what it counts; and in 3.14 and later
 * those in frames that it does not count. Free-threaded builds count in several places.
 */
#pragma once

#include "graph.h"

#define COUNT_IMMORTAL UINT32_MAX /* nobody counts, or nobody can read how many */

/* Sets the counts of all objects; false when out of memory. */
bool counts_read(uint32_t *counts, const struct graph *graph, const struct heap_view *view,
		 const struct parallel *parallel);
