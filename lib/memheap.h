/* SPDX-License-Identifier: MIT */
/*
 * libmemheap: what is in the memory of a CPython process, without running any code of it.
 *
 * Open a snapshot of a target, as far as you need it; ask it for a report; read the report's
 * tables. A snapshot never changes after it was made and may be used by several threads.
 *
 * You destroy the handles that you created; everything reached through a handle is borrowed from
 * it and lives as long. Results come out through the last parameter, written on success only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a call ended; also the program's exit codes. */
enum memheap_status {
	MEMHEAP_DONE = 0,
	MEMHEAP_FAILED = 1,        /* cannot read, cannot write, out of memory */
	MEMHEAP_USAGE = 2,         /* the request makes no sense */
	MEMHEAP_NOT_PYTHON = 3,    /* not a CPython that we know */
	MEMHEAP_NOT_PERMITTED = 4, /* the system refused */
	MEMHEAP_PARTIAL = 5,       /* an answer with holes: damaged or truncated input */
	MEMHEAP_INTERRUPTED = 130,
};

/* Why a call failed. Calls return NULL for success. */
struct memheap_error {
	enum memheap_status status;
	char *message; /* what was attempted, on what, and why it failed */
	char *hint;    /* what the user can do about it; may be NULL */
};

/* Accepts NULL. */
void memheap_error_destroy(struct memheap_error *error);

/* Called now and then during long work, from one of the worker threads. With `total` 0 nobody knows
 * how much there is, and `done` is bytes. */
struct memheap_progress {
	void (*update)(void *closure, const char *phase, uint64_t done, uint64_t total);
	/* Called while the file called `name` is downloaded, in bytes; returns false to do without
	 * it and all further ones. May be NULL. */
	bool (*download)(void *closure, const char *name, uint64_t done, uint64_t total);
	void *closure;
};

/* Where the offsets of CPython's structures may come from. */
enum memheap_layout_source {
	MEMHEAP_LAYOUT_AUTO,  /* the target's own and the tables, checked against DWARF */
	MEMHEAP_LAYOUT_DWARF, /* debug information only */
	MEMHEAP_LAYOUT_TABLE, /* the built-in tables only */
};

/* How the memory of a live process is taken. */
enum memheap_mode {
	MEMHEAP_MODE_AUTO,    /* the first of the others that is safe and permitted */
	MEMHEAP_MODE_FORK,    /* read a frozen child of the process, which it does not know */
	MEMHEAP_MODE_PRECOPY, /* copy while it runs, stop it for what it wrote meanwhile */
	MEMHEAP_MODE_STOP,    /* stop it and copy */
	MEMHEAP_MODE_NOSTOP,  /* copy while it runs: what it changes meanwhile may be torn */
};

/* How to open a target. All zero is a good start. */
struct memheap_options {
	const char *sysroot;              /* may be NULL */
	const char *executable;           /* may be NULL */
	const char *const *library_paths; /* directories to look for libraries in */
	size_t library_path_count;
	bool force_modules; /* use files whose build id differs */
	enum memheap_layout_source layout;
	unsigned threads;                /* 0: one for each processor */
	const char *temporary_directory; /* to unpack compressed cores; NULL: /var/tmp */
	enum memheap_mode mode;          /* for a live process */
	uint32_t max_pause_ms;           /* that it may stand still; 0: 1000 */
	/* MEMHEAP_GRAPH is wished, not needed: only up to so many objects, and not where nobody
	 * knows what objects refer to; a notice tells. 0: it is needed */
	uint64_t graph_objects_max;
	bool whole; /* MEMHEAP_IMAGE too unpacks all of a compressed core, not only its head */
	struct memheap_progress progress;
};

/* How far to decode; nothing past it is computed. */
enum memheap_stage {
	MEMHEAP_NOTHING, /* no core at all */
	MEMHEAP_TREE,    /* of several processes: memheap_tree_create() */
	MEMHEAP_IMAGE,   /* what the core's notes say, and the interpreter if there is one */
	MEMHEAP_RUNTIME, /* the interpreter; none is an error */
	MEMHEAP_OBJECTS, /* blocks, objects, types */
	MEMHEAP_GRAPH,   /* what refers to what: everything */
};

struct memheap_snapshot;

/*
 * Opens the core file at `path` and decodes it as far as `last`. It may be compressed with zstd,
 * lz4, xz or gzip; "-" is standard input. A path of digits only is a live process, which goes on
 * before it is decoded.
 */
struct memheap_error *memheap_snapshot_create(const char *path,
					      const struct memheap_options *options,
					      enum memheap_stage last,
					      struct memheap_snapshot **ret);

/* Decodes a live process and all its descendants, for the report "tree". */
struct memheap_error *memheap_tree_create(const char *path, const struct memheap_options *options,
					  struct memheap_snapshot **ret);

/* Whether `path` is taken for a process, not a file: digits only. */
bool memheap_path_is_process(const char *path);

/* How a process was taken that lived. */
struct memheap_taking {
	const char *mode;  /* "fork" */
	uint64_t pause_us; /* that it stood still */
	uint64_t torn;     /* bytes on pages that changed while they were read (mode nostop) */
};

/* False for a core that memheap did not write. */
bool memheap_snapshot_taking(const struct memheap_snapshot *snapshot, struct memheap_taking *ret);

/* What of a process a core is written with. */
enum memheap_core_content {
	MEMHEAP_CORE_ALL,       /* everything: it is read without any other file */
	MEMHEAP_CORE_ANONYMOUS, /* all but what the files of its modules have */
	MEMHEAP_CORE_PYTHON,    /* what decoding needs, from a snapshot with MEMHEAP_OBJECTS */
};

struct memheap_core_options {
	enum memheap_core_content content;
	bool compress;    /* with zstd */
	const char *path; /* for messages */
};

/* Writes an ELF core of a live process, as it was when it was taken, to the empty file `fd`. */
struct memheap_error *memheap_core_write(const struct memheap_snapshot *snapshot, int fd,
					 const struct memheap_core_options *options);

/* Accepts NULL. */
void memheap_snapshot_destroy(struct memheap_snapshot *snapshot);

/* What a cell holds. */
enum memheap_kind {
	MEMHEAP_TEXT,
	MEMHEAP_BYTES,     /* a number of bytes */
	MEMHEAP_COUNT,     /* a number of things */
	MEMHEAP_NUMBER,    /* a signed number that is neither */
	MEMHEAP_ID,        /* a number that names something: a process, a thread, a version */
	MEMHEAP_ADDRESS,   /* in the target; JSON: a string "0x…" */
	MEMHEAP_PERCENT,   /* in hundredths of a percent */
	MEMHEAP_FLAG,      /* true or false */
	MEMHEAP_ADDRESSES, /* any number of them; JSON: an array of strings "0x…" */
	MEMHEAP_TEXTS,     /* any number of them; JSON: an array of strings */
};

/* One column of a table. Keys are stable: the same key means the same everywhere. */
struct memheap_column {
	const char *key;   /* for machines; carries its unit: "shallow_bytes" */
	const char *title; /* for people: "SHALLOW" */
	enum memheap_kind kind;
	const char *doc; /* what it means, and where the fact comes from */
	bool optional;   /* left out where there is no value, instead of null */
};

enum memheap_table_flags {
	MEMHEAP_RECORD = 1 << 0, /* exactly one row: an object, not an array, in JSON */
};

/* The declaration of a table: what a report of its kind always has. */
struct memheap_table_shape {
	const char *key;   /* "types"; "pymalloc.size_classes" lies inside the record "pymalloc" */
	const char *title; /* for people */
	unsigned flags;    /* enum memheap_table_flags */
	const char *doc;
	const struct memheap_column *columns;
	size_t column_count;
};

/* The declaration of a report. */
struct memheap_report_shape {
	const char *name;   /* "analyze" */
	const char *schema; /* "memheap.report" */
	const char *schema_version;
	const char *title;
	const struct memheap_table_shape *const *tables; /* NULL-terminated */
	const char *main_table; /* the one that --sort and --limit work on, and csv prints */
	enum memheap_stage needs;
};

/* The value of a cell of MEMHEAP_ADDRESSES. */
struct memheap_addresses {
	const uint64_t *items;
	size_t count;
};

/* The value of a cell of MEMHEAP_TEXTS. */
struct memheap_texts {
	const char *const *items;
	size_t count;
};

/* A value; `present` is false where there is none (null in JSON). */
struct memheap_cell {
	union {
		const char *text;
		const struct memheap_addresses *addresses;
		const struct memheap_texts *texts;
		uint64_t number;
		int64_t signed_number;
	};
	bool present;
};

struct memheap_table;
struct memheap_report;

/* What to put in a report. All zero asks for everything. */
struct memheap_query {
	const char *type;   /* a shell pattern for type names; may be NULL */
	uint64_t min_bytes; /* of occupied_bytes */
	uint64_t max_bytes; /* 0: no limit */
	const char *region; /* a shell pattern for region names; may be NULL */
	uint64_t address;   /* for the reports about one object */
	bool values;        /* show the values of strings */
	bool references;    /* in the report "objects": what each of them refers to */
	const char *sort;   /* a column of the main table; NULL: its own order */
	bool ascending;
	uint64_t limit;   /* rows of the main table; 0: all of them */
	bool limit_given; /* for tables of examples, too, which have up to 100 rows else */

	/* for the report "retained" */
	uint64_t depth; /* levels of trees; 0: 3 */
	bool min_given; /* min_bytes is what must be retained; else a hundredth of all */

	/* for the report "list" */
	const char *directory; /* NULL: that of systemd-coredump */
	bool all;              /* cores of other programs than Python too */
};

/* The reports there are, NULL-terminated. */
const struct memheap_report_shape *const *memheap_report_shapes(void);

/*
 * The path of the core that is kept in `directory` (NULL: that of systemd-coredump) of the process
 * `which`: its id, the name or path of its program, or "last": the newest one of a Python. You free
 * it.
 */
struct memheap_error *memheap_coredump_find(const char *directory, const char *which, char **ret);

/* The report called `name` about `snapshot`; NULL for one that needs MEMHEAP_NOTHING. */
struct memheap_error *memheap_report_create(const struct memheap_snapshot *snapshot,
					    const char *name, const struct memheap_query *query,
					    struct memheap_report **ret);

/* Accepts NULL. */
void memheap_report_destroy(struct memheap_report *report);

const struct memheap_report_shape *memheap_report_shape_of(const struct memheap_report *report);

/* MEMHEAP_DONE, or MEMHEAP_PARTIAL when the gaps are too large to be passed over. */
enum memheap_status memheap_report_status(const struct memheap_report *report);

/* The table with `key`, or NULL. */
const struct memheap_table *memheap_report_table(const struct memheap_report *report,
						 const char *key);

const struct memheap_table_shape *memheap_table_shape_of(const struct memheap_table *table);

/* How many rows there would be without a limit. */
uint64_t memheap_table_total(const struct memheap_table *table);

/* Whether the rows are made as they are read: there may be very many. */
bool memheap_table_is_streamed(const struct memheap_table *table);

/* Called for each row; returns false to stop. */
typedef bool memheap_row_fn(void *closure, const struct memheap_cell *cells);

/* Calls `row` for each row in order; false when it stopped or memory ran out. */
bool memheap_table_each(const struct memheap_table *table, memheap_row_fn *row, void *closure);

/* The column with `key`, or -1. */
int memheap_table_column(const struct memheap_table_shape *shape, const char *key);

/* This library's version, and those of the libraries below it: "elfutils 0.188". */
const char *memheap_version(void);
const char *memheap_library_versions(void);

#ifdef __cplusplus
}
#endif
