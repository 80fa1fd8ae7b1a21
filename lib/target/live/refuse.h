/* SPDX-License-Identifier: MIT */
/* Why a process can't be looked at, in words that help. */
#pragma once

#include "proc.h"

/* Refuses what is no process with memory of its own that can be read; else fills `status`. */
struct memheap_error *refuse_pid(pid_t pid, struct proc_status *status);

/* Refuses a process that another one traces. */
struct memheap_error *refuse_tracer(pid_t pid, const struct proc_status *status);

/* Refuses what the system does not let us read or trace, before anything is done to it: to open its
 * memory takes the same permission as ptrace(2) (Linux fs/proc/base.c, proc_mem_open()). */
struct memheap_error *refuse_memory(pid_t pid);

/* Names the rule by which the system refused (`error`, replaced), and what would allow it. */
struct memheap_error *refuse_explain(struct memheap_error *error, pid_t pid);
