/* SPDX-License-Identifier: MIT */
/*
 * Having a stopped thread make a system call, with a net below it: a signal frame of what it was,
 * and a way back through rt_sigreturn. Should we be killed at any instant, the thread restores
 * itself. Nothing is written to code; what is written below its red zone is put back.
 */
#pragma once

#include "capture.h"

#define INJECT_STATUS 109 /* of a child that ended itself, because nobody held it */

#define XSAVE_COMPONENTS 63

/* What an injection takes, found before any thread stops. */
struct gadgets {
	vaddr call; /* instructions that the process has anyway: syscall; ret */
	vaddr back; /* mov $15,%rax; syscall: rt_sigreturn */
	/* where each part of the FPU's state ends; 0: not known. In a virtual machine it takes the
	 * processor long to tell. */
	uint32_t ends[XSAVE_COMPONENTS];
};

struct injection {
	pid_t pid;
	struct live_thread *thread; /* stopped, with its registers read */
	struct gadgets gadgets;
	uint64_t mask;  /* its blocked signals */
	vaddr frame;    /* the net: where its stack pointer is meanwhile */
	vaddr child;    /* another one, which only ends who returns to it */
	vaddr bottom;   /* of what was written */
	uint8_t *saved; /* [bottom, top) as it was */
	size_t size;
	pid_t born; /* the process that the last call made, as we see it; 0: none */
};

/* Looks for the instructions, and asks the processor. */
struct memheap_error *inject_find(struct gadgets *gadgets, pid_t pid,
				  const struct mappings *mappings);

/* Why nothing can be injected into the process; NULL: it can. */
const char *inject_refusal(const struct proc_status *status);

/* Spreads the net. False when this thread can't be used: it is as it was. */
bool inject_begin(struct injection *injection, const struct mappings *mappings);

/* Makes system call `number`; false when it did not come back. */
bool inject_call(struct injection *injection, long number, const uint64_t arguments[4],
		 int64_t *result);

/* Makes the thread what it was before, stopped as it was. */
bool inject_end(struct injection *injection);
