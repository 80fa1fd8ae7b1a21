/* SPDX-License-Identifier: MIT */
/* What the fuzz targets share: files without a name, and reading every row of every report. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "memheap.h"

/* The entry of a target, as libFuzzer calls it. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* A file in memory; it is open until the program ends. */
struct memory_file {
	int fd;
	char path[32]; /* "/proc/self/fd/3" */
};

/* Makes one, or ends the program. */
struct memory_file memory_file_create(const char *name);

/* Writes all of `bytes` at `offset`, or ends the program. */
void memory_file_write(const struct memory_file *file, const void *bytes, size_t size,
		       uint64_t offset);

/* Cuts or extends the file. */
void memory_file_resize(const struct memory_file *file, uint64_t size);

/*
 * Opens the core at `path` as far as `last`, makes each report that this allows and reads all its
 * rows; `address` is what "object" is asked for. Ends the program when the accounting doesn't add
 * up to the image.
 */
void read_everything(const char *path, const char *executable, enum memheap_stage last,
		     uint64_t address);
