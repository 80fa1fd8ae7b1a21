/* SPDX-License-Identifier: MIT */
/*
 * Files by build id, from the servers in $DEBUGINFOD_URLS; nothing goes over the network when that
 * is not set.
 */
#pragma once

#include "../base/notices.h"
#include "../memheap.h"
#include "elf_file.h"

enum debuginfod_kind {
	DEBUGINFOD_EXECUTABLE, /* a program or library as it was mapped */
	DEBUGINFOD_DEBUG,      /* its debug file */
};

struct debuginfod {
	bool tried;   /* to load the library */
	bool stopped; /* nothing more is asked */
	void *client; /* NULL: there is none */
	struct memheap_progress progress;
	struct notices *notices;
	const char *wanted; /* the file that is being asked for */
	unsigned found;     /* files that were had */
};

/* The path on this machine of the file with `id`, which the caller frees; NULL when it is not to be
 * had. `name` is for messages. Accepts a NULL `debuginfod`. */
char *debuginfod_find(struct debuginfod *debuginfod, enum debuginfod_kind kind,
		      const struct build_id *id, const char *name);

/* Tells how many files came this way, and ends the connection. */
void debuginfod_end(struct debuginfod *debuginfod);
