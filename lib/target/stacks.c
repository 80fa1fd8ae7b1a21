/* SPDX-License-Identifier: MIT */
/*
 * A stack begins where its segment begins, because a guard page lies below. Above it other
 * anonymous memory may follow in the same segment; but glibc puts the thread's descriptor, which
 * the thread pointer points at, at the very end of the stack (nptl/allocatestack.c).
 */
#include <stdlib.h>

#include "stacks.h"

#define PAGE_BYTES       4096
#define DESCRIPTOR_BYTES 2304 /* sizeof(struct pthread), x86-64, glibc 2.31 to 2.41 */

static int compare_stacks(const void *a, const void *b)
{
	const struct stack *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

static vaddr stack_end(const struct segment *segment, const struct process_thread *thread)
{
	if (thread->tls < thread->sp || thread->tls >= segment->end)
		return segment->end;
	return MIN(segment->end, round_up(thread->tls + DESCRIPTOR_BYTES, PAGE_BYTES));
}

bool stacks_find(struct stacks *stacks, const struct image *image, const struct process *process)
{
	size_t kept = 0;

	for (size_t i = 0; i < process->threads.count; i++) {
		const struct process_thread *thread = &process->threads.items[i];
		const struct segment *segment = image_segment(image, thread->sp);
		struct stack *stack;
		vaddr *pointer;

		if (thread->tls) {
			pointer = vector_push(&stacks->pointers);
			if (!pointer)
				return false;
			*pointer = thread->tls;
		}
		if (!segment || segment->path)
			continue;
		stack = vector_push(&stacks->list);
		if (!stack)
			return false;
		*stack = (struct stack){ segment->start, stack_end(segment, thread), (uint32_t)i };
	}
	if (stacks->list.count)
		qsort(stacks->list.items, stacks->list.count, sizeof(*stacks->list.items),
		      compare_stacks);
	for (size_t i = 0; i < stacks->list.count; i++) {
		if (!kept || stacks->list.items[i].start >= stacks->list.items[kept - 1].end)
			stacks->list.items[kept++] = stacks->list.items[i];
	}
	stacks->list.count = kept;
	return true;
}

void stacks_deinit(struct stacks *stacks)
{
	free(stacks->list.items);
	free(stacks->pointers.items);
	*stacks = (struct stacks){ 0 };
}
