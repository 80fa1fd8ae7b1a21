/* SPDX-License-Identifier: MIT */
/* Where the answer goes: standard output, or a file that is replaced when all is written. */
#pragma once

#include <memheap.h>
#include <stdio.h>

struct output {
	FILE *file;
	const char *path; /* NULL: standard output */
	char *temporary;
};

struct memheap_error *output_open(struct output *output, const char *path);

/* Makes what was written the file's content. */
struct memheap_error *output_commit(struct output *output);

/* Throws away what was written, unless it was committed. */
void output_discard(struct output *output);
