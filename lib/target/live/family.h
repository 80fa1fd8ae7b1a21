/* SPDX-License-Identifier: MIT */
/* A process and its descendants, and the memory that they share. */
#pragma once

#include "memory.h"

struct family_member {
	pid_t pid, parent;
	struct proc_status status;
	struct live_memory memory;
	uint64_t pss;       /* MEMORY_UNKNOWN where the kernel does not tell */
	uint64_t own_bytes; /* pages that no other member has; MEMORY_UNKNOWN without page frames */
};

struct family {
	VECTOR(struct family_member) list; /* parents before their children */
	bool frames;                       /* the kernel told page frames: it takes CAP_SYS_ADMIN */
	uint64_t rss_bytes;                /* the sum of all members */
	uint64_t once_bytes;               /* each page once; without page frames the sum of Pss */
};

/* Finds them, and counts their pages. */
struct memheap_error *family_find(struct family *family, pid_t pid);

void family_deinit(struct family *family);
