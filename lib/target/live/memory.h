/* SPDX-License-Identifier: MIT */
/* What the kernel counts of a process's memory, and how much it allows. */
#pragma once

#include "proc.h"

#define MEMORY_UNKNOWN UINT64_MAX

/* Bytes; MEMORY_UNKNOWN where the kernel does not tell. */
struct live_memory {
	uint64_t rss, anonymous, file, shared; /* the first is the sum of the others */
	uint64_t pss;                          /* each page divided by how many share it */
	uint64_t swap, peak;
	uint64_t limit, used; /* of the cgroup; unknown: no limit */
};

void memory_read(struct live_memory *memory, pid_t pid);
