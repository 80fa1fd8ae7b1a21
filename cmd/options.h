/* SPDX-License-Identifier: MIT */
/* The table of options: each is declared once. */
#pragma once

#include <formats.h>
#include <memheap.h>

/* Which commands take an option. */
enum command_bit {
	COMMAND_ANALYZE = 1 << 0,
	COMMAND_INFO = 1 << 1,
	COMMAND_TYPES = 1 << 2,
	COMMAND_ARENAS = 1 << 3,
	COMMAND_REGIONS = 1 << 4,
	COMMAND_GC = 1 << 5,
	COMMAND_OBJECTS = 1 << 6,
	COMMAND_OBJECT = 1 << 7,
	COMMAND_REFS = 1 << 8,
	COMMAND_REFERRERS = 1 << 9,
	COMMAND_PATH = 1 << 10,
	COMMAND_CYCLES = 1 << 11,
	COMMAND_RETAINED = 1 << 12,
	COMMAND_SUSPECTS = 1 << 13,
	COMMAND_DEEP = 1 << 14,
	COMMAND_REFCOUNTS = 1 << 15,
	COMMAND_LEAKS = 1 << 16,
	COMMAND_SCHEMA = 1 << 17,
	COMMAND_COMPLETION = 1 << 18,
	COMMAND_HELP = 1 << 19,
	COMMAND_SNAPSHOT = 1 << 20,
	COMMAND_WATCH = 1 << 21,
	COMMAND_LIST = 1 << 22,
	COMMANDS_REPORT = COMMAND_SCHEMA - 1, /* about a core */
	COMMANDS_LIVE = COMMANDS_REPORT | COMMAND_SNAPSHOT,
	COMMANDS_TABLES = COMMANDS_REPORT | COMMAND_LIST,
	COMMANDS_ALL = COMMAND_LIST * 2 - 1,
};

enum option_id {
	OPTION_FORMAT = 256,
	OPTION_OUTPUT,
	OPTION_TABLE,
	OPTION_SORT,
	OPTION_ASCENDING,
	OPTION_LIMIT,
	OPTION_TYPE,
	OPTION_REGION,
	OPTION_MIN_SIZE,
	OPTION_MAX_SIZE,
	OPTION_DEPTH,
	OPTION_MIN,
	OPTION_BY,
	OPTION_VALUES,
	OPTION_REFS,
	OPTION_DOT,
	OPTION_BYTES,
	OPTION_COLOR,
	OPTION_SYSROOT,
	OPTION_EXE,
	OPTION_LIB_PATH,
	OPTION_FORCE_MODULES,
	OPTION_DEBUGINFOD,
	OPTION_LAYOUT,
	OPTION_TMPDIR,
	OPTION_MODE,
	OPTION_MAX_PAUSE,
	OPTION_INTERVAL,
	OPTION_COUNT,
	OPTION_SNAPSHOT_AT,
	OPTION_SNAPSHOT_ON_GROWTH,
	OPTION_SUSPECTS,
	OPTION_TREE,
	OPTION_COMPRESS,
	OPTION_ANONYMOUS_ONLY,
	OPTION_PYTHON_ONLY,
	OPTION_WHOLE,
	OPTION_COREDUMP,
	OPTION_DIRECTORY,
	OPTION_ALL,
	OPTION_THREADS,
	OPTION_QUIET,
	OPTION_HELP,
	OPTION_VERSION,
};

/* What an option's argument is, for completions. */
enum argument_kind {
	ARGUMENT_NONE,
	ARGUMENT_WORD,
	ARGUMENT_CHOICE, /* one of `choices` */
	ARGUMENT_FILE,
	ARGUMENT_DIRECTORY,
};

struct option_row {
	enum option_id id;
	const char *name;
	char letter; /* 0: none */
	enum argument_kind kind;
	const char *argument; /* "FILE" */
	const char *choices;  /* "auto|dwarf|table" */
	unsigned commands;    /* enum command_bit */
	const char *help;
};

extern const struct option_row option_rows[];
extern const size_t option_row_count;

#define LIB_PATHS_MAX 64

/* What the command line asks for. */
struct settings {
	const char *const *arguments;
	unsigned argument_count;
	struct memheap_options options;
	const char *library_paths[LIB_PATHS_MAX];
	struct memheap_query query;
	const struct format *format;
	const char *coredump;   /* the core to take from systemd-coredump; NULL: a file */
	const char *output;     /* NULL: standard output */
	const char *debuginfod; /* NULL: as the environment says */
	const char *table;
	enum memheap_core_content core_content;
	const char *by;       /* what is retained by: thread, …; NULL: all of them */
	const char *suspects; /* auto, always, never; NULL: auto */
	bool tree;
	bool dot; /* draw the tree of paths */
	bool compress;
	uint64_t interval_ms, count, snapshot_at, snapshot_growth; /* of watch; 0: not given */
	bool exact_bytes;
	bool quiet;
	const char *color; /* auto, always, never */
	bool help, version;
};

struct command;

/*
 * Parses the options of `command` (NULL: those before a command); what remains are its arguments.
 * On failure prints why and returns false.
 */
bool options_parse(struct settings *settings, const struct command *command, int argc, char **argv);

/* Whether option `row` is shown for `command` (NULL: without a command). */
bool option_applies(const struct option_row *row, const struct command *command);
