/* SPDX-License-Identifier: MIT */
/* The notes that the kernel would write into a core of the process, and ours of how it was taken.
 */
#pragma once

#include "../process.h"
#include "proc.h"
#include "threads.h"

/* As they are in a file: one after the other, padded to 4 bytes. */
struct notes {
	VECTOR(uint8_t) list;
};

/* What notes are made of. */
struct notes_source {
	pid_t pid;
	const struct proc_status *status;
	const struct taking *taking;
	const struct live_threads *threads;
	const struct mappings *mappings;
	const char *auxv;
	size_t auxv_size;
};

/* False when out of memory. */
bool notes_make(struct notes *notes, const struct notes_source *source);

/* Decodes them; false when out of memory. */
bool notes_decode(const struct notes *notes, struct process *process);

void notes_deinit(struct notes *notes);
