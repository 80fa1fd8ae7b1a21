/* SPDX-License-Identifier: MIT */
/* A target: where an image comes from. So far there is one kind, an ELF core file. */
#pragma once

#include "../base/error.h"
#include "../base/notices.h"
#include "../base/parallel.h"
#include "image.h"
#include "process.h"

struct target {
	char *path;
	int fd;
	const uint8_t *file; /* the core, mapped */
	uint64_t file_size;
	uint64_t expected_size; /* bytes that the headers announce */
	struct image image;
	struct process process;
	struct gaps gaps;
};

/* Opens the core at `path`; what is wrong with a part of it is a gap, not an error. */
struct memheap_error *target_open(struct target *target, const char *path);

/* Unmaps the core with as many threads as `parallel` says: it is work for each of its pages. */
void target_close(struct target *target, const struct parallel *parallel);
