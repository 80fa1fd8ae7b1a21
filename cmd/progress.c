/* SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

#define FIRST_AFTER_MS 1000
#define AGAIN_AFTER_MS 100

#define DOWNLOAD_LATELY_MS 3000 /* the library calls about once a second */

static bool terminal;
static uint64_t started, shown;
static volatile uint64_t downloading; /* when it was last told of */
static volatile sig_atomic_t skipping;

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

/* Ctrl-C: skips the download that goes on, else ends the program. */
static void skip(int signal)
{
	(void)signal;
	if (now_ms() - downloading > DOWNLOAD_LATELY_MS)
		_exit(MEMHEAP_INTERRUPTED);
	skipping = 1;
}

static bool download(void *closure, const char *name, uint64_t done, uint64_t total)
{
	char phase[256];

	/* what nohup ignores stays ignored */
	if (!downloading && signal(SIGINT, skip) == SIG_IGN)
		signal(SIGINT, SIG_IGN);
	downloading = now_ms();
	snprintf(phase, sizeof(phase), "downloading %s (Ctrl-C: do without)", name);
	if (terminal)
		update(closure, phase, done, total);
	return !skipping;
}

struct memheap_progress progress_start(bool quiet)
{
	started = now_ms();
	terminal = !quiet && isatty(STDERR_FILENO);
	return (struct memheap_progress){ .update = terminal ? update : NULL,
					  .download = download };
}

void progress_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	shown = 0;
}
