/* SPDX-License-Identifier: MIT */
/* What the kernel counts of a process's memory, and how much it allows. */
#pragma once

#include "proc.h"

#define MEMORY_UNKNOWN UINT64_MAX

/* Bytes; MEMORY_UNKNOWN where the kernel does not tell. */
struct live_memory {
	uint64_t rss, anonymous, file, shared; /* the first is the sum of the others */
	uint64_t swap, peak;
	uint64_t limit, used; /* of the cgroup; unknown: no limit */
};

void memory_read(struct live_memory *memory, pid_t pid);

/*
 * Its Pss: resident bytes, each page divided by how many processes have it. The kernel looks at all
 * pages for it, and the process waits meanwhile if it maps memory: for 25 ms a GB.
 */
uint64_t memory_share(pid_t pid);
