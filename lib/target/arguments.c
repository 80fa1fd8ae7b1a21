/* SPDX-License-Identifier: MIT */
/*
 * At the top of the main stack lie, upwards: argc, the pointers of argv, NULL, those of the
 * environment, NULL, and the auxiliary vector (System V ABI, x86-64 supplement, 3.4.1), which is
 * found by its bytes: a note has the same.
 */
#include "arguments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"

#define SEARCH_BYTES (8U << 20) /* arguments and environment are at most 6 MiB: fs/exec.c */
#define TEXT_MAX     (64U << 10)

/* The last place of the auxiliary vector in [bytes, bytes + size); NULL: not there. */
static const uint8_t *find_vector(const uint8_t *bytes, uint64_t size,
				  const struct process *process)
{
	const uint8_t *found = NULL, *at = bytes;

	while ((at = memmem(at, size - (uint64_t)(at - bytes), process->auxv,
			    process->auxv_size))) {
		found = at;
		at += sizeof(vaddr);
	}
	return found;
}

/* The pointers of argv, which end where those of the environment begin; NULL: not so. */
static const uint8_t *find_arguments(const uint8_t *bytes, const uint8_t *vector, uint64_t *count)
{
	const uint8_t *at = vector - 2 * sizeof(vaddr);

	/* over the environment, to the NULL behind argv */
	while (at > bytes && load_u64(at))
		at -= sizeof(vaddr);
	for (*count = 0; at - sizeof(vaddr) > bytes; ++*count) {
		at -= sizeof(vaddr);
		if (*count && load_u64(at) == *count)
			return at + sizeof(vaddr);
	}
	return NULL;
}

static void join(struct process *process, const struct image *image, const uint8_t *pointers,
		 uint64_t count)
{
	_cleanup_free_ char *text = malloc(TEXT_MAX);
	size_t used = 0;

	for (uint64_t i = 0; text && i < count; i++) {
		size_t length;
		const char *argument = image_string(image, load_u64(pointers + i * sizeof(vaddr)),
						    TEXT_MAX, &length);

		if (!argument)
			return;
		process->command_line_cut = used + length + 2 > TEXT_MAX;
		if (process->command_line_cut)
			break;
		used += (size_t)snprintf(text + used, TEXT_MAX - used, "%s%.*s", i ? " " : "",
					 (int)length, argument);
	}
	if (text && used)
		process->command_line = strings_add(&process->strings, text, used);
}

void arguments_read(struct process *process, const struct image *image)
{
	const struct image_run *run = image_run_at(image, process->exec_name);
	const uint8_t *bytes, *vector, *pointers;
	uint64_t size, count;

	if (!run || process->auxv_size < 4 * sizeof(vaddr))
		return;
	/* the name that was executed lies above all of that */
	size = MIN(process->exec_name - run->start, (uint64_t)SEARCH_BYTES);
	bytes = image_at(image, process->exec_name - size, size);
	vector = bytes ? find_vector(bytes, size, process) : NULL;
	if (!vector || vector - bytes < (ptrdiff_t)(4 * sizeof(vaddr)))
		return;
	pointers = find_arguments(bytes, vector, &count);
	if (pointers)
		join(process, image, pointers, count);
}
