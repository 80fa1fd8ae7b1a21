/* SPDX-License-Identifier: MIT */
/* A live process as a target: its memory is taken, it goes on, and what was taken is the image. */
#pragma once

#include "../target.h"
#include "capture.h"
#include "inject.h"
#include "memory.h"
#include "notes.h"

struct live_options {
	enum memheap_mode mode;
	uint32_t max_pause_ms; /* 0: 1000 */
};

/* What only a process has that lives. */
struct live {
	pid_t pid;
	uint64_t program; /* where its stack begins: another program has another one */
	struct taking taking;
	struct proc_status status;
	struct notes notes;
	struct capture capture;
	struct strings strings;
};

/* How a mode takes a process. */
struct live_attempt {
	struct capture *capture;
	struct live *live;
	uint64_t max_pause_ns;
	bool automatic; /* another mode can be tried */
};

typedef struct memheap_error *live_mode_fn(struct live_attempt *attempt);

live_mode_fn live_fork, live_precopy, live_stop, live_nostop;

/* A child that a process was made to have. */
struct live_child {
	pid_t pid;   /* as we see it; 0: none */
	pid_t inner; /* as the process does */
};

/* Where its program has what calls are made by; refused where it must not be made to call. */
struct memheap_error *live_find_gadgets(const struct live_attempt *attempt,
					struct gadgets *gadgets);

/* Spreads the net below the first of the stopped threads that a call can be made by. */
bool live_inject_somewhere(struct injection *injection, struct live_threads *threads,
			   const struct mappings *mappings);

/* Makes a child that stands still and dies with us; false with errno. */
bool live_clone(struct injection *injection, uint64_t flags, struct live_child *child);

void live_kill_child(const struct live_child *child);

/* Has the stopped thread remove the entry of a dead child; false when it is still there. */
bool live_wait_for(struct injection *injection, const struct live_child *child);

/* The same of children that snapshots left behind which were killed. */
void live_reap_leftovers(struct injection *injection);

/* Has the process remove the entry of its dead child, and of those that were left before. */
void live_reap(const struct live_attempt *attempt, const struct gadgets *gadgets,
	       const struct live_child *child);

/* What tells the program that a process executes from others; 0: it has ended. */
uint64_t live_program(pid_t pid);

/* Whether `path` names a process: digits only. A file with such a name is ./1234. */
bool live_is_pid(const char *path);

/* Fills the image and the process of `target` from the process `path`. */
struct memheap_error *live_load(struct target *target, const char *path,
				const struct live_options *options,
				const struct parallel *parallel);

void live_close(struct live *live);
