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

/* Declares a structure of which each worker has one: no two share a cache line. */
#define PER_WORKER __attribute__((aligned(128)))

/* Room for one PER_WORKER structure of `bytes` for each worker, all zero; freed by free(). */
void *parallel_results(const struct parallel *parallel, size_t bytes);

/* The number of processors this process may use. */
unsigned parallel_processors(void);
