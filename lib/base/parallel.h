/* SPDX-License-Identifier: MIT */
/* A parallel loop over independent ranges. */
#pragma once

#include <stddef.h>

#include "../memheap.h"

/* Works on items [begin, end); `worker` is 0 .. workers - 1, for per-worker results. */
typedef void parallel_fn(void *context, unsigned worker, size_t begin, size_t end);

/* How a loop is spread, and how it tells of its progress. */
struct parallel {
	unsigned workers; /* at least 1 */
	struct memheap_progress progress;
};

/*
 * Calls `fn` on all of [0, count) in pieces of at most `grain` items, by as many workers as
 * `parallel` says (fewer when threads can't be had). `phase` names the work in progress reports.
 */
void parallel_for(const struct parallel *parallel, const char *phase, size_t count, size_t grain,
		  parallel_fn *fn, void *context);

/* The number of processors this process may use. */
unsigned parallel_processors(void);
