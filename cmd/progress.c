/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

#define FIRST_AFTER_MS 1000
#define AGAIN_AFTER_MS 100

static uint64_t started, shown;

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void update(void *closure, const char *phase, uint64_t done, uint64_t total)
{
	uint64_t now = now_ms();

	(void)closure;
	if (now - started < FIRST_AFTER_MS || now - shown < AGAIN_AFTER_MS)
		return;
	shown = now;
	if (!total) {
		fprintf(stderr, "\r\033[Kmemheap: %s %llu MiB", phase,
			(unsigned long long)(done >> 20));
		return;
	}
	fprintf(stderr, "\r\033[Kmemheap: %s %3u %%", phase, (unsigned)(done * 100 / total));
}

struct memheap_progress progress_start(void)
{
	if (!isatty(STDERR_FILENO))
		return (struct memheap_progress){ 0 };
	started = now_ms();
	return (struct memheap_progress){ .update = update };
}

void progress_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = 0;
}
