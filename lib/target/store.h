/* SPDX-License-Identifier: MIT */
/* Cores that this machine keeps: those of systemd-coredump, and what the kernel puts elsewhere. */
#pragma once

#include "../base/error.h"
#include "../base/strings.h"
#include "../base/vector.h"
#include "python_name.h"

#define STORE_DIRECTORY "/var/lib/systemd/coredump"

/* One core, as far as its name, its extended attributes and its notes tell. */
struct stored_core {
	char *path;
	const char *name;       /* of the process, at most 15 bytes; NULL: not known */
	const char *executable; /* NULL: not known */
	uint64_t time;          /* microseconds since 1970 */
	uint32_t pid, uid, signal;
	bool has_process; /* pid and uid are known */
	uint64_t file_bytes;
	bool unreadable;           /* the system does not permit it */
	struct python_name python; /* .path is NULL: none, as far as names tell */
};

struct store {
	const char *directory;
	VECTOR(struct stored_core) cores; /* newest first */
	size_t pythons, unreadable;
	struct strings strings;
};

/*
 * Reads `directory` (NULL: STORE_DIRECTORY). With `notes` the head of each core is looked at, or
 * only names and attributes are.
 */
struct memheap_error *store_read(struct store *store, const char *directory, bool notes);

void store_deinit(struct store *store);

/* Reads what systemd-coredump puts into the name of a file; false when it is none of its own. */
bool store_parse_name(struct stored_core *core, const char *file, struct strings *strings);

/* When it was: "2026-11-21T10:40:59Z". */
#define STORE_TIME_MAX 32
const char *store_format_time(uint64_t time, char text[STORE_TIME_MAX]);
