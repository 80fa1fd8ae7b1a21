/* SPDX-License-Identifier: MIT */
#include "live.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../base/bisect.h"
#include "../arguments.h"
#include "refuse.h"
#include "watchdog.h"

#define PAUSE_DEFAULT_MS 1000
#define PROGRAM_WAITS    20 /* for an execve() to come to its end */
#define PROGRAM_WAIT_US  1000
#define PRECOPY_BYTES    (256UL << 20) /* below, a fork takes no longer */

struct mode {
	enum memheap_mode mode;
	live_mode_fn *take;
};

/* In the order of preference. */
static const struct mode modes[] = {
	{ MEMHEAP_MODE_PRECOPY, live_precopy },
	{ MEMHEAP_MODE_FORK, live_fork },
	{ MEMHEAP_MODE_STOP, live_stop },
	{ MEMHEAP_MODE_NOSTOP, live_nostop },
};

bool live_is_pid(const char *path)
{
	return *path && strlen(path) < 10 && strspn(path, "0123456789") == strlen(path);
}

static uint64_t max_pause_ns(const struct live_options *options)
{
	return (options->max_pause_ms ? options->max_pause_ms : PAUSE_DEFAULT_MS) * 1000000ULL;
}

/* Tries one mode; leaves nothing behind when it fails. */
static struct memheap_error *try_mode(struct live *live, const struct mode *mode,
				      const struct live_options *options,
				      const struct parallel *parallel)
{
	struct live_attempt attempt = {
		.capture = &live->capture,
		.live = live,
		.automatic = options->mode == MEMHEAP_MODE_AUTO,
		.max_pause_ns = max_pause_ns(options),
	};
	struct memheap_error *error;

	live->capture = (struct capture){
		.pid = live->pid,
		.source = live->pid,
		.parallel = parallel,
		.deadline_ns = UINT64_MAX,
	};
	live->capture.auxv = proc_read(live->pid, "auxv", &live->capture.auxv_size);
	error = live->capture.auxv ? mode->take(&attempt)
				   : error_create_errno("cannot read process %d", (int)live->pid);
	live->taking.mode = mode->mode;
	live->taking.pause_ns = live->capture.threads.pause_ns;
	live->taking.copied = capture_copied(&live->capture);
	if (error)
		capture_deinit(&live->capture);
	return error;
}

static void pass_over(struct live *live, enum memheap_mode mode, const struct memheap_error *error)
{
	const char *before = live->taking.passed;

	live->taking.passed =
		strings_format(&live->strings, "%s%s%s: %s", before ? before : "",
			       before ? "; " : "", taking_mode_name(mode), error->message);
}

/* What the thread that traces works on. */
struct work {
	struct live *live;
	const struct live_options *options;
	const struct parallel *parallel;
	struct memheap_error *error;
};

/* Whether a mode that was not asked for may be tried: nostop may give torn answers. */
static bool suits(const struct live *live, enum memheap_mode mode)
{
	return mode == MEMHEAP_MODE_PRECOPY ? live->status.rss >= PRECOPY_BYTES
					    : mode != MEMHEAP_MODE_NOSTOP;
}

static void *run(void *closure)
{
	struct work *work = closure;
	bool automatic = work->options->mode == MEMHEAP_MODE_AUTO;

	if (work->options->mode != MEMHEAP_MODE_NOSTOP)
		watchdog_start(max_pause_ns(work->options));
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (automatic ? !suits(work->live, modes[i].mode)
			      : modes[i].mode != work->options->mode)
			continue;
		memheap_error_destroy(work->error);
		work->error = try_mode(work->live, &modes[i], work->options, work->parallel);
		if (!work->error || work->error->status == MEMHEAP_NOT_PERMITTED)
			break;
		pass_over(work->live, modes[i].mode, work->error);
	}
	watchdog_stop();
	return NULL;
}

/*
 * Runs the modes in a thread of its own: when it ends, the kernel takes its hands off the process.
 * No signal from a terminal stops us meanwhile.
 */
static struct memheap_error *take_process(struct live *live, const struct live_options *options,
					  const struct parallel *parallel)
{
	struct work work = { .live = live, .options = options, .parallel = parallel };
	sigset_t stops, before;
	pthread_t thread;
	int failure;

	sigemptyset(&stops);
	sigaddset(&stops, SIGTSTP);
	sigaddset(&stops, SIGTTIN);
	sigaddset(&stops, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &stops, &before);
	failure = pthread_create(&thread, NULL, run, &work);
	if (!failure)
		pthread_join(thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!failure)
		return work.error;
	errno = failure;
	return error_create_errno("cannot start a thread");
}

/* Gives each segment the path of the file that it maps. */
static void name_segments(struct target *target)
{
	const struct process_mapping *mappings = target->process.mappings.items;
	size_t count = target->process.mappings.count;

	for (size_t i = 0; i < target->image.segments.count; i++) {
		struct segment *segment = &target->image.segments.items[i];
		size_t found = bisect(j, count, mappings[j].end <= segment->start);

		if (found < count && mappings[found].start <= segment->start)
			segment->path = mappings[found].path;
	}
}

/* Where its pages are. False: out of memory. */
static bool note_pages(struct taking *taking, const struct page_list *pages)
{
	for (size_t i = 0; i < pages->list.count; i++) {
		const struct pages *run = &pages->list.items[i];

		if (!ranges_add(run->swapped ? &taking->swapped : &taking->resident, run->start,
				run->end))
			return false;
	}
	return true;
}

static struct memheap_error *fill_target(struct target *target)
{
	struct live *live = target->live;
	const struct notes_source source = {
		.pid = live->pid,
		.status = &live->status,
		.taking = &live->taking,
		.threads = &live->capture.threads,
		.mappings = &live->capture.mappings,
		.auxv = live->capture.auxv,
		.auxv_size = live->capture.auxv_size,
	};

	target->process.machine = EM_X86_64;
	if (!note_pages(&live->taking, &live->capture.pages) ||
	    !notes_make(&live->notes, &source) || !notes_decode(&live->notes, &target->process) ||
	    !capture_image(&live->capture, &target->image))
		return &error_no_memory;
	name_segments(target);
	if (!image_build(&target->image, &target->gaps))
		return &error_no_memory;
	taking_count(&target->process.taking, &target->gaps);
	arguments_read(&target->process, &target->image);
	return NULL;
}

uint64_t live_program(pid_t pid)
{
	uint64_t stack = proc_stat(pid, 28); /* proc(5): startstack */

	/* 0 while it changes to another program, and where it may not be known */
	for (int i = 0; !stack && i < PROGRAM_WAITS; i++) {
		usleep(PROGRAM_WAIT_US);
		stack = proc_stat(pid, 28);
	}
	return stack;
}

/* Whether it has no memory any more, or is gone. */
static bool has_ended(pid_t pid)
{
	struct proc_status status;
	size_t size;
	char *maps = proc_read(pid, "maps", &size);
	bool gone = maps ? !size : errno == ESRCH || errno == ENOENT;

	free(maps);
	return gone || !proc_status(pid, &status) || status.state == 'Z' || status.state == 'X';
}

/* Says of a process that changed under our hands only that: what failed then tells nothing. */
static struct memheap_error *explain(struct memheap_error *error, const struct live *live)
{
	uint64_t program = live_program(live->pid);

	if (has_ended(live->pid)) {
		memheap_error_destroy(error);
		return error_create(MEMHEAP_FAILED, "process %d has ended meanwhile",
				    (int)live->pid);
	}
	if (program && live->program && program != live->program) {
		memheap_error_destroy(error);
		return error_hint(error_create(MEMHEAP_FAILED,
					       "process %d executed another program meanwhile",
					       (int)live->pid),
				  "try again");
	}
	return refuse_explain(error, live->pid);
}

struct memheap_error *live_load(struct target *target, const char *path,
				const struct live_options *options, const struct parallel *parallel)
{
	struct live *live = calloc(1, sizeof(*live));
	struct memheap_error *error;

	if (!live)
		return &error_no_memory;
	target->live = live;
	live->pid = (pid_t)atoi(path);
	if (asprintf(&target->path, "process %d", (int)live->pid) < 0) {
		target->path = NULL;
		return &error_no_memory;
	}
	error = refuse_pid(live->pid, &live->status);
	if (error)
		return error;
	live->program = live_program(live->pid);
	if (options->mode != MEMHEAP_MODE_NOSTOP)
		error = refuse_tracer(live->pid, &live->status);
	if (!error)
		error = refuse_memory(live->pid);
	if (!error)
		error = take_process(live, options, parallel);
	if (error)
		return explain(error, live);
	live->taking.state = live->status.state;
	memory_read(&live->taking.memory, live->pid);
	return fill_target(target);
}

void live_close(struct live *live)
{
	if (!live)
		return;
	capture_deinit(&live->capture);
	taking_deinit(&live->taking);
	notes_deinit(&live->notes);
	strings_deinit(&live->strings);
	free(live);
}
