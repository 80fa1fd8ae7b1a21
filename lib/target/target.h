/* SPDX-License-Identifier: MIT */
/* A target: where an image comes from: an ELF core file, or a live process. */
#pragma once

#include "../base/error.h"
#include "../base/notices.h"
#include "../base/parallel.h"
#include "image.h"
#include "process.h"
#include "unpack.h"

#define TARGET_FLAW_HINT "copy the compressed file again: this one is not as it was made"

struct target {
	char *path;      /* what messages call it */
	bool from_input; /* it came as standard input */
	struct unpacked unpacked;
	int fd;              /* of the core, or the temporary file that it was unpacked to */
	const uint8_t *file; /* the core, mapped */
	uint64_t file_size;
	uint64_t expected_size; /* bytes that the headers announce */
	struct live *live;      /* NULL: a core */
	struct image image;
	struct process process;
	struct gaps gaps;
};

/* How to open a target. */
struct target_options {
	const char *directory; /* for temporary files; NULL: /var/tmp */
	bool head; /* of what can't be mapped, its beginning is enough: notes, some memory */
	const struct parallel *parallel;
};

/*
 * Opens the core at `path` ("-": standard input); what is wrong with a part of it is a gap, not an
 * error. What can't be mapped is put into a temporary file.
 */
struct memheap_error *target_open(struct target *target, const char *path,
				  const struct target_options *options);

/* Unmaps the core with as many threads as `parallel` says: it is work for each of its pages. */
void target_close(struct target *target, const struct parallel *parallel);
