/* SPDX-License-Identifier: MIT */
/*
 * fork: a stopped thread makes a child by clone(2), which is traced from birth, never runs and
 * shares all memory until it is written. The process goes on at once; the child is read, killed,
 * and its entry removed by the thread that made it, in a second stop of that thread alone.
 *
 * The exit signal of the child is 0, so that nobody gets a SIGCHLD and wait() does not see it. It
 * shares the table of files, so that what the process closes is closed.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../base/cleanup.h"
#include "inject.h"
#include "kept.h"
#include "live.h"

#define REAP_TRIES   50
#define REAP_STEP_NS 2000000
#define REAP_WAIT_NS 1000000000ULL
#define OURS         "1000" /* the oom_score_adj of a child of ours: it goes before the process */

/* Memory that may be needed while the child lives: pages that the process writes are doubled. */
static struct memheap_error *check_memory(const struct live *live)
{
	uint64_t needed = MAX(live->status.rss / 4, 16UL << 20), room = memory_room(live->pid);

	/* no limit is more than all */
	if (room >= needed)
		return NULL;
	return error_create(MEMHEAP_FAILED,
			    "its cgroup has %llu bytes left, of which a frozen copy may need %llu",
			    (unsigned long long)room, (unsigned long long)needed);
}

bool live_inject_somewhere(struct injection *injection, struct live_threads *threads,
			   const struct mappings *mappings)
{
	for (size_t i = 0; i < threads->list.count; i++) {
		injection->thread = &threads->list.items[i];
		if (injection->thread->stopped && !injection->thread->gone &&
		    inject_begin(injection, mappings))
			return true;
	}
	return false;
}

static void mark_child(pid_t child)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)child);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, OURS, strlen(OURS)) < 0)
		return; /* then it is as likely to go as the process */
}

bool live_clone(struct injection *injection, uint64_t flags, struct live_child *child)
{
	const uint64_t arguments[4] = { flags, injection->child };
	int64_t result = 0;
	int status;

	*child = (struct live_child){ 0 };
	if (!inject_call(injection, SYS_clone, arguments, &result) || result < 0 ||
	    !injection->born) {
		errno = result < 0 ? (int)-result : ESRCH;
		return false;
	}
	mark_child(injection->born);
	*child = (struct live_child){ injection->born, (pid_t)result };
	if (waitpid(child->pid, &status, __WALL) != child->pid || !WIFSTOPPED(status))
		return false;
	/* from now on it dies with us; until now it would have ended itself */
	return !ptrace(PTRACE_SETOPTIONS, child->pid, NULL,
		       (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD));
}

void live_kill_child(const struct live_child *child)
{
	int status;

	if (child->pid <= 0)
		return;
	/* that takes CAP_KILL where it is another user's; as its tracer we may always (Linux 5.19,
	 * kernel/ptrace.c; before, it goes on to where it ends itself) */
	if (kill(child->pid, SIGKILL))
		ptrace(PTRACE_KILL, child->pid, NULL, NULL);
	while (waitpid(child->pid, &status, __WALL) == child->pid && WIFSTOPPED(status))
		;
}

/* Whether it is a zombie that a snapshot left behind which was killed. */
static bool is_leftover(pid_t pid)
{
	_cleanup_free_ char *score = proc_read(pid, "oom_score_adj", NULL);
	bool marked = score && atoi(score) == atoi(OURS);
	struct proc_status status;

	/* fields 38 and 52: its exit signal, and what it ended with */
	return proc_status(pid, &status) && status.state == 'Z' && !proc_stat(pid, 38) &&
	       (marked || proc_stat(pid, 52) == INJECT_STATUS << 8);
}

bool live_wait_for(struct injection *injection, const struct live_child *child)
{
	const uint64_t arguments[4] = { (uint64_t)child->inner, 0, WNOHANG | __WALL };
	int64_t result = 0;

	return inject_call(injection, SYS_wait4, arguments, &result) &&
	       (result == child->inner || result == -ECHILD);
}

void live_reap_leftovers(struct injection *injection)
{
	_cleanup_free_ char *children = NULL;
	struct proc_status status;
	char name[64];

	snprintf(name, sizeof(name), "task/%d/children", (int)injection->pid);
	children = proc_read(injection->pid, name, NULL);
	for (char *at = children, *end; at && *at; at = end + strspn(end, " ")) {
		pid_t child = (pid_t)strtol(at, &end, 10);

		if (end == at)
			return;
		if (is_leftover(child) && proc_status(child, &status))
			live_wait_for(injection,
				      &(struct live_child){ child, (pid_t)status.inner_pid });
	}
}

/* One attempt: stops one thread and has it ask for the end of the child. */
static bool try_reap(const struct live_attempt *attempt, const struct gadgets *gadgets,
		     const struct live_child *child)
{
	const struct capture *capture = attempt->capture;
	struct injection injection = { .pid = capture->pid, .gadgets = *gadgets };
	struct live_threads threads = { 0 };
	struct mappings mappings = { 0 };
	bool reaped = false;

	if (threads_stop_one(&threads, capture->pid, live_now_ns() + REAP_WAIT_NS) &&
	    mappings_read(&mappings, capture->pid) && threads_read(&threads) &&
	    live_inject_somewhere(&injection, &threads, &mappings)) {
		reaped = live_wait_for(&injection, child);
		live_reap_leftovers(&injection);
		inject_end(&injection);
	}
	threads_resume(&threads);
	threads_deinit(&threads);
	mappings_deinit(&mappings);
	return reaped;
}

void live_reap(const struct live_attempt *attempt, const struct gadgets *gadgets,
	       const struct live_child *child)
{
	static const struct timespec step = { .tv_nsec = REAP_STEP_NS };

	for (unsigned i = 0; child->pid > 0 && i < REAP_TRIES; i++) {
		struct proc_status status;

		if (!proc_status(child->pid, &status) ||
		    !proc_status(attempt->capture->pid, &status) ||
		    try_reap(attempt, gadgets, child))
			return;
		nanosleep(&step, NULL);
	}
	attempt->live->taking.left_zombie = child->pid > 0;
}

/* With all threads stopped: makes the child. */
static struct memheap_error *make_child(struct live_attempt *attempt, struct injection *injection,
					struct live_child *child)
{
	struct capture *capture = attempt->capture;
	struct memheap_error *error = NULL;

	if (!mappings_read(&capture->mappings, capture->pid) || !threads_read(&capture->threads))
		return error_create_errno("cannot read process %d", (int)capture->pid);
	if (!live_inject_somewhere(injection, &capture->threads, &capture->mappings))
		return error_create(MEMHEAP_FAILED,
				    "none of its threads is where it could make a call");
	if (!live_clone(injection, CLONE_FILES | CLONE_FS, child))
		error = error_create_errno("it cannot make a child");
	if (!inject_end(injection) && !error)
		error = error_create(MEMHEAP_FAILED, "the thread that made the child is gone");
	return error;
}

/* Reads the frozen child while the process runs. */
static struct memheap_error *read_child(struct capture *capture, const struct live_child *child,
					const struct capture *kept)
{
	struct memheap_error *error = NULL;

	capture->source = child->pid;
	capture->all_common = true;
	if (!capture_pages(capture))
		error = error_create_errno("cannot read the pages of the child");
	if (!error)
		error = kept_find_wiped(capture, child->pid);
	if (!error && !kept_add_pages(capture, kept))
		error = &error_no_memory;
	if (!error && !mirror_reserve(&capture->mirror, &capture->mappings))
		error = error_create_errno("cannot reserve address space");
	if (!error)
		error = capture_plan(capture, SCOPE_ALL);
	if (!error)
		error = capture_populate(capture);
	if (error)
		return error;
	kept_put(capture, kept);
	capture_copy(capture);
	return NULL;
}

struct memheap_error *live_find_gadgets(const struct live_attempt *attempt, struct gadgets *gadgets)
{
	struct capture *capture = attempt->capture;
	const char *refusal = inject_refusal(&attempt->live->status);

	if (refusal)
		return error_create(MEMHEAP_FAILED, "%s", refusal);
	if (!mappings_read(&capture->mappings, capture->pid))
		return error_create_errno("cannot read the mappings of process %d",
					  (int)capture->pid);
	return inject_find(gadgets, capture->pid, &capture->mappings);
}

struct memheap_error *live_fork(struct live_attempt *attempt)
{
	struct capture *capture = attempt->capture;
	struct injection injection = { .pid = capture->pid };
	struct live_child child = { 0 };
	struct memheap_error *error = live_find_gadgets(attempt, &injection.gadgets);
	_cleanup_(capture_deinit) struct capture kept = { 0 };
	uint64_t deadline_ns;

	if (!error)
		error = check_memory(attempt->live);
	if (error)
		return error;
	deadline_ns = live_now_ns() + attempt->max_pause_ns;
	error = threads_stop(&capture->threads, capture->pid, deadline_ns);
	if (!error)
		error = make_child(attempt, &injection, &child);
	if (!error)
		error = kept_copy(&kept, capture, child.pid, deadline_ns);
	threads_resume(&capture->threads);
	attempt->live->taking.while_stopped = capture_copied(&kept);
	if (!error)
		error = read_child(capture, &child, &kept);
	live_kill_child(&child);
	live_reap(attempt, &injection.gadgets, &child);
	/* what is resident is that of the process, not of its child; it may have ended */
	capture->source = capture->pid;
	if (!error && !capture_pages(capture))
		capture->pages.list.count = 0;
	return error;
}
