/* SPDX-License-Identifier: MIT */
/* Where the stacks of threads lie. */
#pragma once

#include "image.h"
#include "process.h"

struct stack {
	vaddr start, end;
	uint32_t thread; /* index in process->threads */
};

struct stacks {
	VECTOR(struct stack) list; /* by start, without overlaps */
	VECTOR(vaddr) pointers;    /* each thread's thread pointer, where it is known */
};

/* Finds the stack and thread pointer of each thread; false when out of memory. */
bool stacks_find(struct stacks *stacks, const struct image *image, const struct process *process);

void stacks_deinit(struct stacks *stacks);
