/* SPDX-License-Identifier: MIT */
/* The table of commands: parsing, --help, the man page and completions come from it. */
#pragma once

#include "options.h"

struct command {
	const char *name;
	const char *arguments; /* "CORE", "CORE ADDRESS" */
	unsigned arguments_min, arguments_max;
	enum command_bit bit;
	const char *summary;     /* one line */
	const char *description; /* paragraphs */
	const char *examples;    /* one a line */
	/* Returns the exit code. */
	int (*run)(const struct command *command, const struct settings *settings);
};

/* NULL-terminated, in the order of the help. */
extern const struct command *const commands[];

/* The command called `name`, or NULL. */
const struct command *command_find(const char *name);

/* The command that `name` is most like, or NULL. */
const struct command *command_guess(const char *name);

/* What commands do, where it takes a file of its own. */
int command_report(const struct command *command, const struct settings *settings);
int command_watch(const struct command *command, const struct settings *settings);
int command_snapshot(const struct command *command, const struct settings *settings);
int command_completion(const struct command *command, const struct settings *settings);

struct memheap_snapshot;

/* Writes a core of a live process to the file `path`. */
struct memheap_error *command_write_core(const struct memheap_snapshot *snapshot,
					 const struct settings *settings, const char *path);

/* Prints an error and returns its exit code; destroys it. */
int command_fail(struct memheap_error *error);

/* Ends a command that printed to standard output, and returns its exit code. */
int command_end(void);
