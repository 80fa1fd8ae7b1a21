/* SPDX-License-Identifier: MIT */
/*
 * Stopping and resuming all threads of a process with ptrace. All calls must come from one thread
 * of ours; when that ends, however it ends, the kernel lets the process go on.
 */
#pragma once

#include <sched.h>
#include <sys/types.h>
#include <sys/user.h>

#include "../../base/error.h"
#include "../../base/vaddr.h"
#include "../../base/vector.h"

struct live_thread {
	pid_t tid;
	bool stopped, gone;
	struct user_regs_struct registers;
	struct user_fpregs_struct floats;
	uint8_t *extended; /* XSAVE area; NULL: not known */
	size_t extended_size;
};

/* How one of our own threads was scheduled. */
struct live_priority {
	int policy;
	struct sched_param parameter;
};

struct live_threads {
	VECTOR(struct live_thread) list; /* the main one first */
	uint64_t began_ns;               /* when the first one was asked to stop; 0: none was */
	bool watched;                    /* a pause began, and the watchdog was told so */
	struct live_priority before;     /* ours, before it began */
	uint64_t pause_ns;               /* until the last one ran again */
};

uint64_t live_now_ns(void);

/*
 * Where it is allowed, nothing of our priority runs while others wait for us: while they stand
 * still, and while we hold a lock of their memory. Returns what was before, for live_relax().
 */
struct live_priority live_hurry(void);
void live_relax(const struct live_priority *before);

/*
 * Stops all threads of `pid`. After an error, and at `deadline_ns`, some may be stopped:
 * threads_resume().
 */
struct memheap_error *threads_stop(struct live_threads *threads, pid_t pid, uint64_t deadline_ns);

/* Stops one thread, the main one if it lives; false when none stopped. */
bool threads_stop_one(struct live_threads *threads, pid_t pid, uint64_t deadline_ns);

/* Reads the registers of the stopped threads; false when one can't be read. */
bool threads_read(struct live_threads *threads);

/* Lets them go on as if nothing had been. */
void threads_resume(struct live_threads *threads);

void threads_deinit(struct live_threads *threads);
