/* SPDX-License-Identifier: MIT */
/* What the kernel counts of a process's memory, and how much it allows. */
#pragma once

#include "../taking.h"
#include "proc.h"

void memory_read(struct live_memory *memory, pid_t pid);

/* Bytes that its cgroup may still have, with what the kernel takes back when memory is short;
 * MEMORY_UNKNOWN: no limit. */
uint64_t memory_room(pid_t pid);

/*
 * Its Pss: resident bytes, each page divided by how many processes have it. The kernel looks at all
 * pages for it, and the process waits meanwhile if it maps memory: for 25 ms a GB.
 */
uint64_t memory_share(pid_t pid);
