/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "parallel.h"
#include "vaddr.h"

struct loop {
	const struct parallel *parallel;
	const char *phase;
	size_t count, grain;
	size_t next; /* atomic */
	parallel_fn *fn;
	void *context;
};

struct worker {
	struct loop *loop;
	unsigned index;
	pthread_t thread;
};

static void *work(void *closure)
{
	const struct worker *worker = closure;
	struct loop *loop = worker->loop;
	const struct memheap_progress *progress = &loop->parallel->progress;

	for (;;) {
		size_t begin = __atomic_fetch_add(&loop->next, loop->grain, __ATOMIC_RELAXED);

		if (begin >= loop->count)
			return NULL;
		loop->fn(loop->context, worker->index, begin,
			 MIN(loop->count, begin + loop->grain));
		if (worker->index == 0 && progress->update)
			progress->update(progress->closure, loop->phase, begin, loop->count);
	}
}

void parallel_for(const struct parallel *parallel, const char *phase, size_t count, size_t grain,
		  parallel_fn *fn, void *context)
{
	struct loop loop = {
		.parallel = parallel,
		.phase = phase,
		.count = count,
		.grain = grain,
		.fn = fn,
		.context = context,
	};
	size_t pieces = (count + grain - 1) / grain;
	unsigned wanted = (unsigned)MIN((size_t)parallel->workers, pieces), started = 1;
	struct worker first = { .loop = &loop };

	_cleanup_free_ struct worker *others = calloc(MAX(wanted, 1u), sizeof(*others));
	for (; others && started < wanted; started++) {
		others[started] = (struct worker){ .loop = &loop, .index = started };
		if (pthread_create(&others[started].thread, NULL, work, &others[started]))
			break;
	}
	work(&first);
	for (unsigned i = 1; i < started; i++)
		pthread_join(others[i].thread, NULL);
}

void *parallel_results(const struct parallel *parallel, size_t bytes)
{
	void *results = aligned_alloc(_Alignof(struct { PER_WORKER char byte; }),
				      parallel->workers * bytes);

	return results ? memset(results, 0, parallel->workers * bytes) : NULL;
}

unsigned parallel_processors(void)
{
	cpu_set_t set;
	int count;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	count = CPU_COUNT(&set);
	return count > 0 ? (unsigned)count : 1;
}
