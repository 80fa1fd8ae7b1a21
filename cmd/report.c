/* SPDX-License-Identifier: MIT */
/* The commands that print a report about a core. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "output.h"
#include "progress.h"

#define SUSPECTS_AUTO 5000000 /* objects: a few seconds, half a gigabyte */
#define DEFAULT_ROWS  50      /* of types, objects, paths and retained, as a table */

static const struct memheap_report_shape *find_shape(const char *name)
{
	const struct memheap_report_shape *const *shapes = memheap_report_shapes();

	while (strcmp((*shapes)->name, name))
		shapes++;
	return *shapes;
}

static bool wants_color(const struct settings *settings, bool terminal)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (settings->color && !strcmp(settings->color, "always"))
		return true;
	if (settings->color && !strcmp(settings->color, "never"))
		return false;
	return terminal && !(no_color && *no_color) && !(term && !strcmp(term, "dumb"));
}

static struct style make_style(const struct settings *settings, const struct output *output)
{
	bool terminal = !output->path && isatty(STDOUT_FILENO);

	setlocale(LC_CTYPE, "");
	return (struct style){
		.exact_bytes = settings->exact_bytes,
		.unicode = !strcmp(nl_langinfo(CODESET), "UTF-8"),
		.color = wants_color(settings, terminal),
		.terminal = terminal,
		.table = settings->table,
		.core = settings->arguments[0],
	};
}

/* Writes the report to where it belongs. */
static struct memheap_error *write_report(const struct memheap_report *report,
					  const struct settings *settings)
{
	struct memheap_error *error;
	struct output output;
	struct style style;

	error = output_open(&output, settings->output);
	if (!error) {
		style = make_style(settings, &output);
		/* what went wrong is told by the flush */
		settings->format->write(report, &style, output.file);
		progress_end();
		error = output_commit(&output);
	}
	output_discard(&output);
	return error;
}

static bool check_table(const struct settings *settings, const struct memheap_report_shape *shape)
{
	for (size_t i = 0; settings->table && shape->tables[i]; i++) {
		if (!strcmp(shape->tables[i]->key, settings->table))
			return true;
	}
	if (!settings->table)
		return true;
	fprintf(stderr, "memheap: %s has no table '%s'; it has", shape->name, settings->table);
	for (size_t i = 0; shape->tables[i]; i++)
		fprintf(stderr, "%s %s", i ? "," : "", shape->tables[i]->key);
	putc('\n', stderr);
	return false;
}

/* Before the core is read, which may take a while. */
static bool check_sort(const struct settings *settings, const struct memheap_report_shape *shape)
{
	const struct memheap_table_shape *const *table = shape->tables;
	const char *sort = settings->query.sort;

	while (strcmp((*table)->key, shape->main_table))
		table++;
	if (!sort || memheap_table_column(*table, sort) >= 0)
		return true;
	fprintf(stderr, "memheap: cannot sort %s by '%s'; its columns are", shape->main_table,
		sort);
	for (size_t i = 0; i < (*table)->column_count; i++)
		fprintf(stderr, "%s %s", i ? "," : "", (*table)->columns[i].key);
	putc('\n', stderr);
	return false;
}

static bool parse_address(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 16);
	if (end != text && !*end && !errno && !strchr("-+ ", *text))
		return true;
	fprintf(stderr, "memheap: '%s' is no address (hexadecimal, such as 0x7f2d3c0)\n", text);
	return false;
}

/* Where unpacked cores go. */
static const char *temporary_directory(const struct settings *settings)
{
	const char *directory = getenv("TMPDIR");

	if (settings->options.temporary_directory)
		return settings->options.temporary_directory;
	return directory && *directory ? directory : NULL;
}

/* What is only said of a live process. */
static bool check_process(const struct settings *settings)
{
	const struct memheap_options *options = &settings->options;

	if ((!options->mode && !options->max_pause_ms && !settings->tree) ||
	    memheap_path_is_process(settings->arguments[0]))
		return true;
	fprintf(stderr,
		"memheap: --mode, --max-pause and --tree go with a process, and '%s' is a file\n",
		settings->arguments[0]);
	return false;
}

/* The library asks the servers that the environment names. */
static void set_servers(const struct settings *settings)
{
	if (!settings->debuginfod)
		return;
	if (!strcmp(settings->debuginfod, "off"))
		unsetenv("DEBUGINFOD_URLS");
	else
		setenv("DEBUGINFOD_URLS", settings->debuginfod, 1);
}

/* How far analyze decodes: who holds the memory is told where that takes no more than a while. */
static enum memheap_stage wish_graph(struct settings *settings)
{
	const char *when = settings->suspects ? settings->suspects : "auto";

	settings->options.graph_objects_max = !strcmp(when, "always") ? UINT64_MAX : SUSPECTS_AUTO;
	return strcmp(when, "never") ? MEMHEAP_GRAPH : MEMHEAP_OBJECTS;
}

/* Opens the core that the command line names, if the report needs one. */
static struct memheap_error *open_snapshot(struct settings *settings, enum command_bit bit,
					   enum memheap_stage needs, struct memheap_snapshot **ret)
{
	if (needs == MEMHEAP_NOTHING)
		return NULL;
	if (settings->tree)
		return memheap_tree_create(settings->arguments[0], &settings->options, ret);
	if (bit == COMMAND_ANALYZE)
		needs = wish_graph(settings);
	return memheap_snapshot_create(settings->arguments[0], &settings->options, needs, ret);
}

/* --by names a table. */
static void choose_view(struct settings *settings)
{
	static const struct {
		const char *by, *table;
	} views[] = {
		{ "tree", "tree" },  { "thread", "threads" }, { "module", "modules" },
		{ "type", "types" }, { "object", "objects" },
	};

	for (size_t i = 0; settings->by && i < sizeof(views) / sizeof(views[0]); i++) {
		if (!strcmp(settings->by, views[i].by))
			settings->table = views[i].table;
	}
}

int command_report(const struct command *command, const struct settings *given)
{
	const struct memheap_report_shape *shape = find_shape(given->tree ? "tree" : command->name);
	struct memheap_snapshot *snapshot = NULL;
	struct memheap_report *report = NULL;
	struct settings settings = *given;
	struct memheap_error *error;
	int status = MEMHEAP_DONE;

	settings.options.library_paths = settings.library_paths;
	settings.options.temporary_directory = temporary_directory(&settings);
	if (!check_table(&settings, shape) || !check_sort(&settings, shape) ||
	    !check_process(&settings) ||
	    (settings.argument_count > 1 &&
	     !parse_address(settings.arguments[1], &settings.query.address)))
		return MEMHEAP_USAGE;
	if (!settings.query.limit_given &&
	    (settings.dot || settings.format == format_find("table")) &&
	    (settings.tree ||
	     command->bit & (COMMAND_TYPES | COMMAND_OBJECTS | COMMAND_PATH | COMMAND_RETAINED)))
		settings.query.limit = DEFAULT_ROWS;
	choose_view(&settings);
	set_servers(&settings);
	settings.options.progress = progress_start(settings.quiet);
	error = open_snapshot(&settings, command->bit, shape->needs, &snapshot);
	if (!error)
		error = memheap_report_create(snapshot, shape->name, &settings.query, &report);
	progress_end();
	if (!error) {
		status = memheap_report_status(report);
		error = write_report(report, &settings);
	}
	memheap_report_destroy(report);
	memheap_snapshot_destroy(snapshot);
	return error ? command_fail(error) : status;
}
