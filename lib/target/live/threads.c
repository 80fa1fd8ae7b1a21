/* SPDX-License-Identifier: MIT */
#include "threads.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "proc.h"
#include "watchdog.h"

#define EXTENDED_MAX (64UL << 10)
#define WAIT_STEP_NS 20000
#define SPINS        100
#define PASSES_MAX   1000 /* of a process that makes threads without end */

uint64_t live_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool is_real_time(const struct live_priority *priority)
{
	return priority->policy == SCHED_FIFO || priority->policy == SCHED_RR;
}

struct live_priority live_hurry(void)
{
	const struct sched_param first = { .sched_priority = 1 };
	struct live_priority before = { .policy = SCHED_OTHER };

	pthread_getschedparam(pthread_self(), &before.policy, &before.parameter);
	if (!is_real_time(&before))
		pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
	return before;
}

void live_relax(const struct live_priority *before)
{
	if (!is_real_time(before))
		pthread_setschedparam(pthread_self(), before->policy, &before->parameter);
}

static bool is_known(const struct live_threads *threads, pid_t tid)
{
	for (size_t i = 0; i < threads->list.count; i++) {
		if (threads->list.items[i].tid == tid)
			return true;
	}
	return false;
}

static bool has_ended(pid_t tid)
{
	struct proc_status status;

	return !proc_status(tid, &status) || status.state == 'Z' || status.state == 'X';
}

/* Before the first thread is ours: from then on its signals wait for us. Threads that copy inherit
 * the priority. */
static void begin_pause(struct live_threads *threads)
{
	watchdog_begin();
	threads->watched = true;
	threads->before = live_hurry();
}

/* PTRACE_SEIZE, not ATTACH, which would send SIGSTOP. */
static struct memheap_error *seize(struct live_threads *threads, pid_t tid)
{
	struct live_thread *thread;

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		if (errno == ESRCH || has_ended(tid))
			return NULL;
		return error_create_errno("cannot stop thread %d", (int)tid);
	}
	thread = vector_push(&threads->list);
	if (!thread)
		return &error_no_memory;
	*thread = (struct live_thread){ .tid = tid };
	if (!threads->began_ns)
		threads->began_ns = live_now_ns();
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	return NULL;
}

/* Takes what the thread reports; a signal on its way to it goes on. */
static void take_report(struct live_thread *thread, int status)
{
	if (!WIFSTOPPED(status)) {
		thread->gone = true;
		return;
	}
	if (status >> 16 == PTRACE_EVENT_STOP)
		thread->stopped = true;
	else
		ptrace(PTRACE_CONT, thread->tid, NULL, (void *)(uintptr_t)WSTOPSIG(status));
}

/* False when it did not stop until `deadline_ns`. */
static bool await(struct live_thread *thread, uint64_t deadline_ns)
{
	static const struct timespec step = { .tv_nsec = WAIT_STEP_NS };

	for (unsigned tries = 0; !thread->stopped && !thread->gone; tries++) {
		int status;
		pid_t tid = waitpid(thread->tid, &status, __WALL | WNOHANG);

		if (tid == thread->tid) {
			take_report(thread, status);
			continue;
		}
		if (tid < 0 && errno != EINTR)
			thread->gone = true;
		if (tries < SPINS)
			continue;
		if (live_now_ns() > deadline_ns)
			return false;
		nanosleep(&step, NULL);
	}
	return true;
}

static struct memheap_error *late(pid_t tid, uint64_t waited_ns)
{
	struct proc_status status = { 0 };

	proc_status(tid, &status);
	return error_hint(
		error_create(MEMHEAP_FAILED, "thread %d did not stop within %llu ms (state %c)",
			     (int)tid, (unsigned long long)(waited_ns / 1000000),
			     status.state ? status.state : '?'),
		status.state == 'D' ? "it waits inside the kernel, for a disk or for a child of "
				      "vfork(): try again, or give --mode nostop"
				    : "give more time: --max-pause");
}

/* Seizes the threads that are not known yet; `*added` tells how many. */
static struct memheap_error *seize_new(struct live_threads *threads, pid_t pid, size_t *added)
{
	size_t before = threads->list.count;
	struct memheap_error *error = NULL;
	const struct dirent *entry;
	char path[64];
	DIR *tasks;

	/* the main thread first */
	if (!before)
		error = seize(threads, pid);
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = error ? NULL : opendir(path);
	if (!tasks)
		return error ? error
			     : error_create_errno("cannot list the threads of %d", (int)pid);
	while (!error && (entry = readdir(tasks))) {
		pid_t tid = (pid_t)atoi(entry->d_name);

		if (tid > 0 && !is_known(threads, tid))
			error = seize(threads, tid);
	}
	closedir(tasks);
	*added = threads->list.count - before;
	return error;
}

struct memheap_error *threads_stop(struct live_threads *threads, pid_t pid, uint64_t deadline_ns)
{
	size_t added = 1, awaited = 0;

	begin_pause(threads);
	for (unsigned pass = 0; added; pass++) {
		struct memheap_error *error = seize_new(threads, pid, &added);

		if (error)
			return error;
		for (; awaited < threads->list.count; awaited++) {
			if (!await(&threads->list.items[awaited], deadline_ns))
				return late(threads->list.items[awaited].tid,
					    live_now_ns() - threads->began_ns);
		}
		if (pass == PASSES_MAX)
			return error_create(MEMHEAP_FAILED,
					    "process %d makes threads faster than "
					    "they can be stopped",
					    (int)pid);
	}
	for (size_t i = 0; i < threads->list.count; i++) {
		if (threads->list.items[i].stopped)
			return NULL;
	}
	return error_create(MEMHEAP_FAILED, "process %d has ended", (int)pid);
}

bool threads_stop_one(struct live_threads *threads, pid_t pid, uint64_t deadline_ns)
{
	struct memheap_error *error;
	size_t added;

	begin_pause(threads);
	error = seize(threads, pid);
	/* its main thread may have ended before the others */
	if (!error && !threads->list.count)
		error = seize_new(threads, pid, &added);
	memheap_error_destroy(error);
	for (size_t i = 0; i < threads->list.count; i++)
		await(&threads->list.items[i], deadline_ns);
	return threads->list.count && threads->list.items[0].stopped;
}

bool threads_read(struct live_threads *threads)
{
	for (size_t i = 0; i < threads->list.count; i++) {
		struct live_thread *thread = &threads->list.items[i];
		struct iovec extended = { .iov_len = EXTENDED_MAX };

		if (!thread->stopped)
			continue;
		if (ptrace(PTRACE_GETREGS, thread->tid, NULL, &thread->registers) ||
		    ptrace(PTRACE_GETFPREGS, thread->tid, NULL, &thread->floats))
			return false;
		free(thread->extended);
		thread->extended = extended.iov_base = malloc(EXTENDED_MAX);
		if (extended.iov_base &&
		    !ptrace(PTRACE_GETREGSET, thread->tid, (void *)NT_X86_XSTATE, &extended))
			thread->extended_size = extended.iov_len;
	}
	return true;
}

void threads_resume(struct live_threads *threads)
{
	for (size_t i = 0; i < threads->list.count; i++) {
		struct live_thread *thread = &threads->list.items[i];

		/* one that did not stop is let go when the tracing thread ends */
		if (thread->stopped)
			ptrace(PTRACE_DETACH, thread->tid, NULL, NULL);
		thread->stopped = false;
	}
	if (threads->began_ns)
		threads->pause_ns = live_now_ns() - threads->began_ns;
	if (!threads->watched)
		return;
	watchdog_end();
	threads->watched = false;
	live_relax(&threads->before);
}

void threads_deinit(struct live_threads *threads)
{
	for (size_t i = 0; i < threads->list.count; i++)
		free(threads->list.items[i].extended);
	free(threads->list.items);
	*threads = (struct live_threads){ 0 };
}
