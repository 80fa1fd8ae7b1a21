/* SPDX-License-Identifier: MIT */
/* list: the cores that this machine keeps. */
#include <stdlib.h>

#include "../target/store.h"
#include "sections.h"

enum { STORE_PATH, STORE_CORES, STORE_PYTHONS, STORE_UNREADABLE };

static const struct memheap_column store_columns[] = {
	[STORE_PATH] = { "directory", "DIRECTORY", MEMHEAP_TEXT, "Where was looked" },
	[STORE_CORES] = { "cores", "CORES", MEMHEAP_COUNT, "Cores that are there" },
	[STORE_PYTHONS] = { "python_cores", "OF PYTHONS", MEMHEAP_COUNT,
			    "Of these, cores of Pythons, as far as names of files tell" },
	[STORE_UNREADABLE] = { "unreadable_cores", "UNREADABLE", MEMHEAP_COUNT,
			       "Cores that may not be read" },
};

static const struct memheap_table_shape store_shape = {
	.key = "store",
	.title = "Store",
	.flags = MEMHEAP_RECORD,
	.doc = "The directory",
	.columns = store_columns,
	.column_count = ARRAY_SIZE(store_columns),
};

enum {
	CORES_TIME,
	CORES_PID,
	CORES_UID,
	CORES_SIGNAL,
	CORES_NAME,
	CORES_EXECUTABLE,
	CORES_BYTES,
	CORES_IS_PYTHON,
	CORES_VERSION,
	CORES_PATH
};

static const struct memheap_column cores_columns[] = {
	[CORES_TIME] = { "time", "TIME", MEMHEAP_TEXT,
			 "When the process died (UTC), by attribute or name; else when the file "
			 "was written" },
	[CORES_PID] = { "pid", "PID", MEMHEAP_ID, "Process id" },
	[CORES_UID] = { "uid", "UID", MEMHEAP_COUNT, "Its user" },
	[CORES_SIGNAL] = { "signal", "SIGNAL", MEMHEAP_TEXT, "The signal that ended it" },
	[CORES_NAME] = { "name", "NAME", MEMHEAP_TEXT, "Its name, at most 15 bytes" },
	[CORES_EXECUTABLE] = { "executable", "EXECUTABLE", MEMHEAP_TEXT,
			       "Path of its program, by attribute" },
	[CORES_BYTES] = { "file_bytes", "SIZE", MEMHEAP_BYTES, "Size of the file" },
	[CORES_IS_PYTHON] = { "is_python", "PYTHON", MEMHEAP_FLAG,
			      "Whether a file that it had mapped is called like a Python" },
	[CORES_VERSION] = { "version", "VERSION", MEMHEAP_TEXT,
			    "Version of that Python, as far as the name tells" },
	[CORES_PATH] = { "path", "FILE", MEMHEAP_TEXT, "The core file" },
};

static const struct memheap_table_shape cores_shape = {
	.key = "cores",
	.title = "Cores",
	.doc = "Cores, newest first; of other programs than Python only with --all",
	.columns = cores_columns,
	.column_count = ARRAY_SIZE(cores_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&tool_shape, &store_shape, &cores_shape, &gaps_shape, &diagnostics_shape, NULL,
};

/* What the texts of the report belong to. */
struct listing {
	struct store store;
	struct notices notices;
};

static void free_listing(void *data)
{
	struct listing *listing = data;

	store_deinit(&listing->store);
	notices_deinit(&listing->notices);
	free(listing);
}

/* As it is, to be copied, where a terminal can show it: systemd-coredump puts \x2e into names. */
static const char *show_path(struct memheap_report *report, const char *path)
{
	for (const char *at = path; *at; at++) {
		if (*at < ' ' || *at > '~')
			return report_text(report, "%s", path);
	}
	return path;
}

static void add_core(struct memheap_report *report, const struct stored_core *core)
{
	struct memheap_cell *row = report_row(report, &cores_shape);
	char time[STORE_TIME_MAX];

	if (store_format_time(core->time, time))
		row[CORES_TIME] = cell_text(report_text(report, "%s", time));
	if (core->has_process) {
		row[CORES_PID] = cell_number(core->pid);
		row[CORES_UID] = cell_number(core->uid);
	}
	if (core->signal)
		row[CORES_SIGNAL] = cell_text(signal_name(report, core->signal));
	row[CORES_NAME] = cell_text(core->name);
	row[CORES_EXECUTABLE] = cell_text(core->executable);
	row[CORES_BYTES] = cell_number(core->file_bytes);
	row[CORES_IS_PYTHON] = cell_number(core->python.path != NULL);
	if (core->python.path && *core->python.version)
		row[CORES_VERSION] = cell_text(core->python.version);
	row[CORES_PATH] = cell_text(show_path(report, core->path));
}

static void add_store(struct memheap_report *report, const struct store *store)
{
	struct memheap_cell *row = report_row(report, &store_shape);

	row[STORE_PATH] = cell_text(report_text(report, "%s", store->directory));
	row[STORE_CORES] = cell_number(store->cores.count);
	row[STORE_PYTHONS] = cell_number(store->pythons);
	row[STORE_UNREADABLE] = cell_number(store->unreadable);
	for (size_t i = 0; i < store->cores.count; i++) {
		const struct stored_core *core = &store->cores.items[i];

		if (core->unreadable)
			gap_add(&report->gaps, GAP_CORE_UNREADABLE, 0, core->file_bytes);
		if (report->query.all || core->python.path)
			add_core(report, core);
	}
}

static struct memheap_error *build(struct memheap_report *report)
{
	struct listing *listing = calloc(1, sizeof(*listing));
	struct memheap_error *error;

	if (!listing)
		return &error_no_memory;
	report->stream_data = listing;
	report->free_stream_data = free_listing;
	error = store_read(&listing->store, report->query.directory, true);
	if (error)
		return error;
	if (listing->store.unreadable)
		notice_add(&listing->notices, NOTICE_CORE_UNREADABLE,
			   "%zu of %zu cores in %s may not be read", listing->store.unreadable,
			   listing->store.cores.count, listing->store.directory);
	add_tool(report);
	add_store(report, &listing->store);
	set_status(report);
	add_gaps(report);
	add_notices(report, &listing->notices);
	return NULL;
}

const struct analysis analysis_list = {
	.shape = {
		.name = "list",
		.schema = "memheap.list",
		.schema_version = "1.0",
		.title = "The cores that this machine keeps",
		.tables = tables,
		.main_table = "cores",
		.needs = MEMHEAP_NOTHING,
	},
	.build = build,
};
