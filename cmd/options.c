/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"

#define OPTIONS_MAX 64

const struct option_row option_rows[] = {
	{ OPTION_FORMAT, "format", 'f', ARGUMENT_CHOICE, "FORMAT", "table|json|jsonl|csv",
	  COMMANDS_TABLES | COMMAND_WATCH,
	  "How to print: table (for people), json (one document), jsonl (one object a line, for "
	  "each row of one table), csv (one table). Default: table" },
	{ OPTION_OUTPUT, "output", 'o', ARGUMENT_FILE, "FILE", NULL,
	  COMMANDS_LIVE | COMMAND_LIST | COMMAND_WATCH | COMMAND_SCHEMA | COMMAND_COMPLETION,
	  "Write to FILE, which is replaced when all is written" },
	{ OPTION_TABLE, "table", 0, ARGUMENT_WORD, "TABLE", NULL, COMMANDS_TABLES,
	  "The table that csv and jsonl print, by its key in the JSON form; default: the main "
	  "one" },
	{ OPTION_SORT, "sort", 's', ARGUMENT_WORD, "COLUMN", NULL, COMMANDS_TABLES,
	  "Sort the main table by COLUMN, by its key in the JSON form, largest first" },
	{ OPTION_ASCENDING, "ascending", 0, ARGUMENT_NONE, NULL, NULL, COMMANDS_TABLES,
	  "Sort smallest first" },
	{ OPTION_LIMIT, "limit", 'n', ARGUMENT_WORD, "N", NULL, COMMANDS_TABLES | COMMAND_WATCH,
	  "Print at most N rows of the main table and of tables of examples; 0: all. Default: all, "
	  "but 100 examples, 50 of types, objects, paths and retained as a table, 50 of paths "
	  "drawn, and 20 types of watch" },
	{ OPTION_TYPE, "type", 't', ARGUMENT_WORD, "GLOB", NULL,
	  COMMAND_TYPES | COMMAND_OBJECTS | COMMAND_PATH | COMMAND_RETAINED | COMMAND_REFCOUNTS |
		  COMMAND_LEAKS,
	  "Only types whose name matches the shell pattern GLOB: 'dict', 'myapp.*'" },
	{ OPTION_REGION, "region", 'r', ARGUMENT_WORD, "GLOB", NULL,
	  COMMAND_REGIONS | COMMAND_OBJECTS,
	  "Only regions whose name matches GLOB: 'pymalloc arena', 'malloc*'" },
	{ OPTION_MIN_SIZE, "min-size", 0, ARGUMENT_WORD, "SIZE", NULL, COMMAND_OBJECTS,
	  "Only objects that occupy at least SIZE bytes (k, M, G: binary multiples)" },
	{ OPTION_MAX_SIZE, "max-size", 0, ARGUMENT_WORD, "SIZE", NULL, COMMAND_OBJECTS,
	  "Only objects that occupy at most SIZE bytes" },
	{ OPTION_DEPTH, "depth", 0, ARGUMENT_WORD, "N", NULL, COMMAND_RETAINED,
	  "Open the trees N levels deep. Default: 3" },
	{ OPTION_MIN, "min", 0, ARGUMENT_WORD, "SIZE", NULL, COMMAND_RETAINED,
	  "In the trees only what retains at least SIZE bytes (k, M, G: binary multiples). "
	  "Default: a hundredth of all" },
	{ OPTION_BY, "by", 0, ARGUMENT_CHOICE, "WHAT", "tree|thread|module|type|object",
	  COMMAND_RETAINED,
	  "Print only the tree, or what is retained by threads with their frames and local "
	  "variables, by modules, types, or objects" },
	{ OPTION_VALUES, "values", 0, ARGUMENT_NONE, NULL, NULL,
	  COMMAND_OBJECTS | COMMAND_OBJECT | COMMAND_REFS | COMMAND_REFERRERS | COMMAND_PATH |
		  COMMAND_CYCLES | COMMAND_SUSPECTS | COMMAND_LEAKS,
	  "Show values: the characters of strings, numbers, raw bytes. They may be secret" },
	{ OPTION_REFS, "refs", 0, ARGUMENT_NONE, NULL, NULL, COMMAND_OBJECTS,
	  "Also show what each object refers to: as gc.get_referents() would, weakly, what no "
	  "tp_traverse visits, and what is only likely; as jsonl, json and csv the addresses" },
	{ OPTION_DOT, "dot", 0, ARGUMENT_NONE, NULL, NULL, COMMAND_PATH,
	  "Draw the tree, as a graph for graphviz's dot, in place of a table" },
	{ OPTION_BYTES, "bytes", 'b', ARGUMENT_NONE, NULL, NULL, COMMANDS_TABLES,
	  "Exact bytes in tables in place of KiB, MiB, GiB" },
	{ OPTION_COLOR, "color", 0, ARGUMENT_CHOICE, "WHEN", "auto|always|never", COMMANDS_TABLES,
	  "Colours: auto (on a terminal, unless NO_COLOR is set), always, never" },
	{ OPTION_SYSROOT, "sysroot", 0, ARGUMENT_DIRECTORY, "DIR", NULL, COMMANDS_REPORT,
	  "Look for the target's files below DIR too: an unpacked image" },
	{ OPTION_EXE, "exe", 0, ARGUMENT_FILE, "FILE", NULL, COMMANDS_REPORT,
	  "The target's program file" },
	{ OPTION_LIB_PATH, "lib-path", 0, ARGUMENT_DIRECTORY, "DIR", NULL, COMMANDS_REPORT,
	  "Look for the target's libraries in DIR too; may be given more than once" },
	{ OPTION_FORCE_MODULES, "force-modules", 0, ARGUMENT_NONE, NULL, NULL, COMMANDS_REPORT,
	  "Use files on disk although their build id is not the core's" },
	{ OPTION_DEBUGINFOD, "debuginfod", 0, ARGUMENT_WORD, "URLS", NULL,
	  COMMANDS_REPORT & ~COMMAND_INFO,
	  "Ask these debuginfod servers (URLs parted by spaces; off: none) for files and debug "
	  "symbols that are not here. Ctrl-C ends a download, not the analysis. Default: those in "
	  "$DEBUGINFOD_URLS; without it nothing goes over the network" },
	{ OPTION_LAYOUT, "layout", 0, ARGUMENT_CHOICE, "WHICH", "auto|dwarf|table", COMMANDS_REPORT,
	  "Where offsets of CPython's structures come from: auto (the target's own and the "
	  "built-in tables, checked against debug information), dwarf, table" },
	{ OPTION_TMPDIR, "tmpdir", 0, ARGUMENT_DIRECTORY, "DIR", NULL, COMMANDS_REPORT,
	  "Directory for the temporary file that a compressed core (zstd, lz4, xz, gzip) is "
	  "unpacked "
	  "to, or one that comes through a pipe (CORE is -: standard input). The file is gone at "
	  "the end. Default: $TMPDIR, else /var/tmp" },
	{ OPTION_MODE, "mode", 0, ARGUMENT_CHOICE, "MODE", "auto|precopy|fork|stop|nostop",
	  COMMANDS_LIVE | COMMAND_WATCH,
	  "How the memory of a live process is taken. precopy: it is copied while it runs, then "
	  "once "
	  "more what was written meanwhile, with all threads stopped. fork: a frozen child of it "
	  "is "
	  "read, which nobody sees. stop: all its threads stand still while it is copied. nostop: "
	  "it is read twice while it runs; pages that differ are torn, and counted. auto: the "
	  "first "
	  "of precopy (from 256 MiB on), fork and stop that is safe and permitted. Default: auto" },
	{ OPTION_MAX_PAUSE, "max-pause", 0, ARGUMENT_WORD, "MS", NULL,
	  COMMANDS_LIVE | COMMAND_WATCH,
	  "Milliseconds that a live process may stand still: past them it goes on, and another way "
	  "is tried. Default: 1000" },
	{ OPTION_SUSPECTS, "suspects", 0, ARGUMENT_CHOICE, "WHEN", "auto|always|never",
	  COMMAND_ANALYZE,
	  "Whether to look for who holds the memory, which takes about five times as long as all "
	  "else: auto (up to 5 million objects), always, never. Default: auto" },
	{ OPTION_TREE, "tree", 0, ARGUMENT_NONE, NULL, NULL, COMMAND_ANALYZE,
	  "Of a live process and all its descendants: each process, their types added up, and how "
	  "much memory they have when what they share is counted once" },
	{ OPTION_COMPRESS, "compress", 0, ARGUMENT_NONE, NULL, NULL,
	  COMMAND_SNAPSHOT | COMMAND_WATCH,
	  "Compress the core with zstd: memheap reads it as it is, gdb after zstd -d" },
	{ OPTION_ANONYMOUS_ONLY, "anonymous-only", 0, ARGUMENT_NONE, NULL, NULL, COMMAND_SNAPSHOT,
	  "Leave out what the files of the program and its libraries have: to be read where these "
	  "are" },
	{ OPTION_PYTHON_ONLY, "python-only", 0, ARGUMENT_NONE, NULL, NULL, COMMAND_SNAPSHOT,
	  "Only what decoding Python's heap needs: allocators, stacks, data of modules; to be read "
	  "where the program's files are" },
	{ OPTION_INTERVAL, "interval", 'i', ARGUMENT_WORD, "SECONDS", NULL, COMMAND_WATCH,
	  "From one snapshot to the next; more where needed so that memheap works for a fifth of "
	  "the "
	  "time at most. Default: 10" },
	{ OPTION_COUNT, "count", 'c', ARGUMENT_WORD, "N", NULL, COMMAND_WATCH,
	  "End after N snapshots; default: when the process ends, or at Ctrl-C" },
	{ OPTION_SNAPSHOT_AT, "snapshot-at", 0, ARGUMENT_WORD, "SIZE", NULL, COMMAND_WATCH,
	  "Write a core, once, when the RSS is SIZE or more (k, M, G: binary multiples); to "
	  "memheap-PID.core, or the file that -o names" },
	{ OPTION_SNAPSHOT_ON_GROWTH, "snapshot-on-growth", 0, ARGUMENT_WORD, "PERCENT", NULL,
	  COMMAND_WATCH,
	  "Write a core, once, when the RSS has grown by that much since the start" },
	{ OPTION_WHOLE, "whole", 0, ARGUMENT_NONE, NULL, NULL, COMMAND_INFO,
	  "Unpack all of a compressed core, for all that can be told of one that is not "
	  "compressed; else the first megabytes, with the notes, are enough" },
	{ OPTION_COREDUMP, "coredump", 0, ARGUMENT_WORD, "WHICH", NULL, COMMANDS_REPORT,
	  "In place of CORE: the one that systemd-coredump keeps of a process id, of a program's "
	  "name or path, or the last one of a Python (last). memheap list shows them" },
	{ OPTION_DIRECTORY, "directory", 'D', ARGUMENT_DIRECTORY, "DIR", NULL, COMMANDS_TABLES,
	  "The directory that keeps cores. Default: /var/lib/systemd/coredump" },
	{ OPTION_ALL, "all", 'a', ARGUMENT_NONE, NULL, NULL, COMMAND_LIST,
	  "List cores of other programs too" },
	{ OPTION_THREADS, "threads", 'j', ARGUMENT_WORD, "N", NULL, COMMANDS_LIVE | COMMAND_WATCH,
	  "Work with N threads; default: one for each processor" },
	{ OPTION_QUIET, "quiet", 'q', ARGUMENT_NONE, NULL, NULL, COMMANDS_LIVE,
	  "No progress on the terminal" },
	{ OPTION_HELP, "help", 'h', ARGUMENT_NONE, NULL, NULL, COMMANDS_ALL, "Print this help" },
	{ OPTION_VERSION, "version", 'V', ARGUMENT_NONE, NULL, NULL, COMMANDS_ALL,
	  "Print the version, and those of the libraries" },
};

const size_t option_row_count = sizeof(option_rows) / sizeof(option_rows[0]);

bool option_applies(const struct option_row *row, const struct command *command)
{
	if (!command)
		return row->id == OPTION_HELP || row->id == OPTION_VERSION;
	return row->commands & command->bit;
}

static const struct option_row *find_row(int id)
{
	for (size_t i = 0; i < option_row_count; i++) {
		if ((int)option_rows[i].id == id || (id && option_rows[i].letter == id))
			return &option_rows[i];
	}
	return NULL;
}

static bool complain(const struct option_row *row, const char *value, const char *wanted)
{
	fprintf(stderr, "memheap: --%s takes %s, not '%s'\n", row->name, wanted, value);
	return false;
}

/* A number of bytes, with an optional binary suffix. */
static bool parse_size(const char *text, uint64_t *ret)
{
	static const char suffixes[] = "kMGT";
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (end == text || errno || !(value >= 0) || value > 1e18)
		return false;
	if (*end) {
		char letter = *end == 'K' ? 'k' : *end;
		const char *suffix = strchr(suffixes, letter);

		if (!suffix || (end[1] && strcmp(end + 1, "B") && strcmp(end + 1, "iB")))
			return false;
		for (long i = 0; i <= suffix - suffixes; i++)
			value *= 1024;
	}
	*ret = (uint64_t)value;
	return value <= 1e18;
}

static bool parse_count(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 10);
	return end != text && !*end && !errno && *text != '-';
}

static bool is_choice(const struct option_row *row, const char *value)
{
	size_t length = strlen(value);

	for (const char *at = row->choices; at; at = strchr(at, '|')) {
		at += *at == '|';
		if (!strncmp(at, value, length) && (at[length] == '|' || !at[length]))
			return length;
	}
	return false;
}

static bool add_library_path(struct settings *settings, const char *path)
{
	if (settings->options.library_path_count == LIB_PATHS_MAX) {
		fprintf(stderr, "memheap: --lib-path may be given %d times\n", LIB_PATHS_MAX);
		return false;
	}
	settings->library_paths[settings->options.library_path_count++] = path;
	settings->options.library_paths = settings->library_paths;
	return true;
}

static bool set_threads(struct settings *settings, const struct option_row *row, const char *value)
{
	uint64_t count;

	if (!parse_count(value, &count) || !count || count > 1024)
		return complain(row, value, "a number from 1 to 1024");
	settings->options.threads = (unsigned)count;
	return true;
}

static bool set_max_pause(struct settings *settings, const struct option_row *row,
			  const char *value)
{
	uint64_t count;

	if (!parse_count(value, &count) || !count || count > 3600000)
		return complain(row, value, "a number of milliseconds from 1 to 3600000");
	settings->options.max_pause_ms = (uint32_t)count;
	return true;
}

static enum memheap_mode mode_of(const char *value)
{
	return !strcmp(value, "fork")      ? MEMHEAP_MODE_FORK
	       : !strcmp(value, "precopy") ? MEMHEAP_MODE_PRECOPY
	       : !strcmp(value, "stop")    ? MEMHEAP_MODE_STOP
	       : !strcmp(value, "nostop")  ? MEMHEAP_MODE_NOSTOP
					   : MEMHEAP_MODE_AUTO;
}

static enum memheap_layout_source layout_of(const char *value)
{
	return !strcmp(value, "dwarf")   ? MEMHEAP_LAYOUT_DWARF
	       : !strcmp(value, "table") ? MEMHEAP_LAYOUT_TABLE
					 : MEMHEAP_LAYOUT_AUTO;
}

/* Options about what is in the report. */
static bool set_query(struct settings *settings, const struct option_row *row, const char *value)
{
	struct memheap_query *query = &settings->query;

	switch (row->id) {
	case OPTION_SORT:
		query->sort = value;
		return true;
	case OPTION_ASCENDING:
		query->ascending = true;
		return true;
	case OPTION_LIMIT:
		query->limit_given = true;
		return parse_count(value, &query->limit) || complain(row, value, "a number");
	case OPTION_TYPE:
		query->type = value;
		return true;
	case OPTION_REGION:
		query->region = value;
		return true;
	case OPTION_DIRECTORY:
		query->directory = value;
		return true;
	case OPTION_ALL:
		query->all = true;
		return true;
	case OPTION_MIN_SIZE:
		return parse_size(value, &query->min_bytes) ||
		       complain(row, value, "a size such as 512, 64k or 1.5G");
	case OPTION_MAX_SIZE:
		return parse_size(value, &query->max_bytes) ||
		       complain(row, value, "a size such as 512, 64k or 1.5G");
	case OPTION_DEPTH:
		return (parse_count(value, &query->depth) && query->depth) ||
		       complain(row, value, "a number from 1 on");
	case OPTION_MIN:
		query->min_given = true;
		return parse_size(value, &query->min_bytes) ||
		       complain(row, value, "a size such as 512, 64k or 1.5G");
	case OPTION_REFS:
		query->references = true;
		return true;
	default:
		query->values = true;
		return true;
	}
}

static bool set_interval(struct settings *settings, const struct option_row *row, const char *value)
{
	char *end;
	double seconds = strtod(value, &end);

	if (end == value || *end || !(seconds >= 0.01 && seconds <= 86400))
		return complain(row, value, "a number of seconds from 0.01 to 86400");
	settings->interval_ms = (uint64_t)(seconds * 1000);
	return true;
}

/* "20" and "20%" are the same. */
static bool set_growth(struct settings *settings, const struct option_row *row, const char *value)
{
	char *end;

	settings->snapshot_growth = strtoull(value, &end, 10);
	end += *end == '%';
	if (!settings->snapshot_growth || *end || !strchr("0123456789", *value))
		return complain(row, value, "a number of percent such as 20");
	return true;
}

/* Options about a live process. */
static bool set_live(struct settings *settings, const struct option_row *row, const char *value)
{
	switch (row->id) {
	case OPTION_MODE:
		settings->options.mode = mode_of(value);
		return true;
	case OPTION_MAX_PAUSE:
		return set_max_pause(settings, row, value);
	case OPTION_BY:
		settings->by = value;
		return true;
	case OPTION_SUSPECTS:
		settings->suspects = value;
		return true;
	case OPTION_TREE:
		settings->tree = true;
		return true;
	case OPTION_INTERVAL:
		return set_interval(settings, row, value);
	case OPTION_COUNT:
		return parse_count(value, &settings->count) || complain(row, value, "a number");
	case OPTION_SNAPSHOT_AT:
		return parse_size(value, &settings->snapshot_at) ||
		       complain(row, value, "a size such as 512M or 2G");
	case OPTION_SNAPSHOT_ON_GROWTH:
		return set_growth(settings, row, value);
	case OPTION_COMPRESS:
		settings->compress = true;
		return true;
	case OPTION_ANONYMOUS_ONLY:
		settings->core_content = MEMHEAP_CORE_ANONYMOUS;
		return true;
	case OPTION_PYTHON_ONLY:
		settings->core_content = MEMHEAP_CORE_PYTHON;
		return true;
	default:
		return set_query(settings, row, value);
	}
}

/* Options without an argument, but those of queries; false when `row` is none of them. */
static bool set_flag(struct settings *settings, const struct option_row *row)
{
	bool *flag;

	switch (row->id) {
	case OPTION_DOT:
		flag = &settings->dot;
		break;
	case OPTION_BYTES:
		flag = &settings->exact_bytes;
		break;
	case OPTION_FORCE_MODULES:
		flag = &settings->options.force_modules;
		break;
	case OPTION_WHOLE:
		flag = &settings->options.whole;
		break;
	case OPTION_QUIET:
		flag = &settings->quiet;
		break;
	case OPTION_HELP:
		flag = &settings->help;
		break;
	case OPTION_VERSION:
		flag = &settings->version;
		break;
	default:
		return false;
	}
	*flag = true;
	return true;
}

/* Options about the target, and how to print. */
static bool set_option(struct settings *settings, const struct option_row *row, const char *value)
{
	if (row->kind == ARGUMENT_CHOICE && !is_choice(row, value))
		return complain(row, value, row->choices);
	switch (row->id) {
	case OPTION_FORMAT:
		settings->format = format_find(value);
		return true;
	case OPTION_OUTPUT:
		settings->output = value;
		return true;
	case OPTION_TABLE:
		settings->table = value;
		return true;
	case OPTION_COLOR:
		settings->color = value;
		return true;
	case OPTION_SYSROOT:
		settings->options.sysroot = value;
		return true;
	case OPTION_EXE:
		settings->options.executable = value;
		return true;
	case OPTION_LIB_PATH:
		return add_library_path(settings, value);
	case OPTION_DEBUGINFOD:
		settings->debuginfod = value;
		return true;
	case OPTION_LAYOUT:
		settings->options.layout = layout_of(value);
		return true;
	case OPTION_THREADS:
		return set_threads(settings, row, value);
	case OPTION_TMPDIR:
		settings->options.temporary_directory = value;
		return true;
	case OPTION_COREDUMP:
		settings->coredump = value;
		return true;
	default:
		return set_flag(settings, row) || set_live(settings, row, value);
	}
}

/* --dot is a format that only one command has. */
static bool choose_drawing(struct settings *settings)
{
	if (!settings->dot)
		return true;
	if (settings->format != format_find("table")) {
		fprintf(stderr, "memheap: --dot and --format %s do not go together\n",
			settings->format->name);
		return false;
	}
	if (settings->query.sort) {
		fputs("memheap: --dot and --sort do not go together: sorted rows are no tree\n",
		      stderr);
		return false;
	}
	settings->format = format_find("dot");
	return true;
}

/* Options that make no sense together. */
static bool check(const struct settings *settings)
{
	bool text = settings->format == format_find("table");
	bool one_table =
		settings->format == format_find("csv") || settings->format == format_find("jsonl");

	if (settings->table && !one_table) {
		fputs("memheap: --table goes with --format csv or jsonl\n", stderr);
		return false;
	}
	if (settings->exact_bytes && !text) {
		fputs("memheap: --bytes goes with --format table; other formats always have exact "
		      "bytes\n",
		      stderr);
		return false;
	}
	if (settings->query.ascending && !settings->query.sort) {
		fputs("memheap: --ascending goes with --sort\n", stderr);
		return false;
	}
	if (settings->query.max_bytes && settings->query.max_bytes < settings->query.min_bytes) {
		fputs("memheap: --max-size is less than --min-size\n", stderr);
		return false;
	}
	return true;
}

/*
 * Makes getopt's tables. Options that do not apply are there by their full names, as unknown ones:
 * getopt would take --by for a short form of --bytes.
 */
static void make_tables(const struct command *command, struct option *longs, char *letters)
{
	size_t count = 0;

	/* '+' stops at the command, ':' tells a missing argument from an unknown option */
	*letters++ = command ? ':' : '+';
	if (!command)
		*letters++ = ':';
	for (size_t i = 0; i < option_row_count; i++) {
		const struct option_row *row = &option_rows[i];
		bool argument = row->kind != ARGUMENT_NONE;

		if (!option_applies(row, command)) {
			longs[count++] = (struct option){ row->name, optional_argument, NULL, '?' };
			continue;
		}
		longs[count++] = (struct option){ row->name, argument, NULL, (int)row->id };
		if (row->letter)
			*letters++ = row->letter;
		if (row->letter && argument)
			*letters++ = ':';
	}
	longs[count] = (struct option){ 0 };
	*letters = '\0';
}

static bool refuse(const struct command *command, int code, char **argv)
{
	const char *name = command ? command->name : "";
	const char *word = argv[optind - 1];

	if (code == ':')
		fprintf(stderr, "memheap: option '%s' takes an argument", word);
	else
		fprintf(stderr, "memheap: %s%sunknown option '%s'", name, command ? ": " : "",
			optopt && optopt < 256 ? (char[]){ '-', (char)optopt, '\0' } : word);
	fprintf(stderr, " (see memheap help%s%s)\n", command ? " " : "", name);
	return false;
}

bool options_parse(struct settings *settings, const struct command *command, int argc, char **argv)
{
	struct option longs[OPTIONS_MAX];
	char letters[2 * OPTIONS_MAX];
	int code;

	make_tables(command, longs, letters);
	optind = 0;
	opterr = 0;
	optopt = 0; /* no wrong letter so far */
	while ((code = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (code == '?' || code == ':')
			return refuse(command, code, argv);
		if (!set_option(settings, find_row(code), optarg))
			return false;
	}
	settings->arguments = (const char *const *)argv + optind;
	settings->argument_count = (unsigned)(argc - optind);
	return choose_drawing(settings) && check(settings);
}
