/* SPDX-License-Identifier: MIT */
/*
 * watch: what grows in a process. One light snapshot after the other; each is analyzed, its sums by
 * type and category are kept, and the rest of it is freed.
 */
#include <errno.h>
#include <search.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "commands.h"
#include "watch.h"

#define REST        4 /* times as long as a snapshot takes we rest at least: a fifth of the time */
#define POLL_MS     500 /* how often the RSS is looked at for --snapshot-at */
#define INTERVAL_MS 10000
#define ROWS        20

static volatile sig_atomic_t ended;

static void end_watch(int signal)
{
	(void)signal;
	ended = 1;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = end_watch };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

uint64_t watch_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int compare_series(const void *a, const void *b)
{
	const struct series *left = a, *right = b;

	return left->category != right->category ? (left->category < right->category ? -1 : 1)
						 : strcmp(left->name, right->name);
}

/* The series of a name, made when it is new; NULL: out of memory. */
static struct series *series_of(struct watch *watch, const char *name, size_t length, bool category)
{
	struct series *made = calloc(1, sizeof(*made)), **found;

	if (!made)
		return NULL;
	made->name = strndup(name, length);
	made->category = category;
	found = made->name ? tsearch(made, &watch->names, compare_series) : NULL;
	if (!found || *found != made) {
		free(made->name);
		free(made);
		return found ? *found : NULL;
	}
	if (watch->count == watch->room) {
		size_t room = 2 * watch->room + 256;
		struct series **larger = realloc(watch->series, room * sizeof(*larger));

		if (!larger)
			return NULL;
		watch->series = larger;
		watch->room = room;
	}
	return watch->series[watch->count++] = made;
}

static bool add_type(void *closure, const struct memheap_cell *cells)
{
	struct watch *watch = closure;
	const char *name = cells[watch->columns[0]].text;
	struct series *series = series_of(watch, name, strlen(name), false);

	if (!series)
		return false;
	/* types of the same name are one here */
	series->objects += cells[watch->columns[1]].number;
	series->bytes += cells[watch->columns[2]].number;
	return true;
}

/* "python/buffers/dict keys" belongs to the category "python/buffers". */
static bool add_leaf(void *closure, const struct memheap_cell *cells)
{
	struct watch *watch = closure;
	const char *path = cells[0].text, *slash = strchr(path, '/');
	const char *second = slash ? strchr(slash + 1, '/') : NULL;
	struct series *series =
		series_of(watch, path, second ? (size_t)(second - path) : strlen(path), true);

	if (!series)
		return false;
	series->bytes += cells[1].number;
	return true;
}

static bool take_first(void *closure, const struct memheap_cell *cells)
{
	memcpy(closure, cells, sizeof(struct memheap_cell));
	return false;
}

static bool collect(struct watch *watch, const struct memheap_report *report)
{
	const struct memheap_table *types = memheap_report_table(report, "types");
	const struct memheap_table_shape *shape = memheap_table_shape_of(types);
	struct memheap_cell rss = { 0 };

	watch->columns[0] = memheap_table_column(shape, "type");
	watch->columns[1] = memheap_table_column(shape, "objects");
	watch->columns[2] = memheap_table_column(shape, "occupied_bytes");
	for (size_t i = 0; i < watch->count; i++) {
		struct series *series = watch->series[i];

		series->last_bytes = series->bytes;
		series->last_objects = series->objects;
		series->bytes = series->objects = 0;
	}
	watch->last_rss = watch->rss;
	/* the first column of the record is the RSS */
	memheap_table_each(memheap_report_table(report, "process_memory"), take_first, &rss);
	watch->rss = rss.present ? rss.number : 0;
	if (!memheap_table_each(types, add_type, watch) ||
	    !memheap_table_each(memheap_report_table(report, "memory"), add_leaf, watch))
		return false;
	for (size_t i = 0; i < watch->count && !watch->snapshots; i++) {
		watch->series[i]->first_bytes = watch->series[i]->bytes;
		watch->series[i]->first_objects = watch->series[i]->objects;
	}
	if (!watch->snapshots)
		watch->first_rss = watch->last_rss = watch->rss;
	for (size_t i = 0; i < watch->count && !watch->snapshots; i++)
		watch->series[i]->last_bytes = watch->series[i]->bytes;
	watch->snapshots++;
	return true;
}

/* One snapshot, analyzed. */
static struct memheap_error *look(struct watch *watch, const struct settings *settings)
{
	const struct memheap_query all = { 0 };
	struct memheap_snapshot *snapshot = NULL;
	struct memheap_report *report = NULL;
	struct memheap_taking taking = { 0 };
	struct memheap_error *error;
	uint64_t begin = watch_now_ms();

	error = memheap_snapshot_create(settings->arguments[0], &settings->options, MEMHEAP_OBJECTS,
					&snapshot);
	if (!error)
		error = memheap_report_create(snapshot, "analyze", &all, &report);
	if (!error && memheap_snapshot_taking(snapshot, &taking)) {
		watch->mode = taking.mode;
		watch->torn = taking.torn;
		watch->pause_us = taking.pause_us;
		watch->pauses_us += taking.pause_us;
		watch->longest_us =
			taking.pause_us > watch->longest_us ? taking.pause_us : watch->longest_us;
		if (!collect(watch, report))
			fputs("memheap: out of memory\n", stderr);
	}
	memheap_report_destroy(report);
	memheap_snapshot_destroy(snapshot);
	watch->took_ms = watch_now_ms() - begin;
	watch->busy_ms += watch->took_ms;
	return error;
}

/* Its resident memory now, cheaply; 0 when it has ended. */
static uint64_t rss_of(const char *pid)
{
	unsigned long long pages = 0;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%s/statm", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%*s %llu", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool is_over(const struct watch *watch, const struct settings *settings, uint64_t rss)
{
	if (settings->snapshot_at && rss >= settings->snapshot_at)
		return true;
	return settings->snapshot_growth && watch->first_rss &&
	       rss >= watch->first_rss + watch->first_rss / 100 * settings->snapshot_growth;
}

/* Writes a core once, when a threshold is passed. */
static struct memheap_error *keep(struct watch *watch, const struct settings *settings)
{
	struct memheap_snapshot *snapshot = NULL;
	struct memheap_error *error;
	char name[64];

	snprintf(name, sizeof(name), "memheap-%s.core", settings->arguments[0]);
	watch->kept = strdup(settings->output ? settings->output : name);
	if (!watch->kept)
		abort();
	error = memheap_snapshot_create(settings->arguments[0], &settings->options, MEMHEAP_IMAGE,
					&snapshot);
	if (!error)
		error = command_write_core(snapshot, settings, watch->kept);
	memheap_snapshot_destroy(snapshot);
	/* writing a file has handlers of its own */
	catch_signals();
	if (!error)
		watch_tell_kept(watch);
	return error;
}

/* Waits for the next snapshot, and looks at the RSS meanwhile. */
static struct memheap_error *rest(struct watch *watch, const struct settings *settings,
				  uint64_t until_ms)
{
	static const struct timespec step = { .tv_nsec = POLL_MS * 1000000L / 5 };

	while (!ended && watch_now_ms() < until_ms) {
		uint64_t rss = rss_of(settings->arguments[0]);

		if (!rss)
			return NULL;
		if (!watch->kept && is_over(watch, settings, rss)) {
			struct memheap_error *error = keep(watch, settings);

			if (error)
				return error;
		}
		nanosleep(&step, NULL);
	}
	return NULL;
}

static struct memheap_error *watch_on(struct watch *watch, const struct settings *settings)
{
	uint64_t interval = settings->interval_ms ? settings->interval_ms : INTERVAL_MS;
	struct memheap_error *error = NULL;

	while (!ended && !error) {
		uint64_t begin = watch_now_ms(), next = begin + interval;

		error = look(watch, settings);
		if (error)
			break;
		watch_tell(watch);
		if (settings->count && watch->snapshots >= settings->count)
			break;
		if (next < watch_now_ms() + REST * watch->took_ms)
			next = watch_now_ms() + REST * watch->took_ms;
		error = rest(watch, settings, next);
	}
	/* that it ends is no failure, once it was seen */
	if (error && watch->snapshots && !rss_of(settings->arguments[0])) {
		memheap_error_destroy(error);
		error = NULL;
	}
	return error;
}

static void destroy(struct watch *watch)
{
	for (size_t i = 0; i < watch->count; i++) {
		tdelete(watch->series[i], &watch->names, compare_series);
		free(watch->series[i]->name);
		free(watch->series[i]);
	}
	free(watch->series);
	free(watch->kept);
}

int command_watch(const struct command *command, const struct settings *given)
{
	struct settings settings = *given;
	struct watch watch = {
		.pid = settings.arguments[0],
		.terminal = isatty(STDOUT_FILENO) && settings.format == format_find("table"),
		.rows = settings.query.limit_given ? settings.query.limit : ROWS,
		.began_ms = watch_now_ms(),
	};
	struct memheap_error *error;

	(void)command;
	if (!memheap_path_is_process(settings.arguments[0])) {
		fprintf(stderr, "memheap: watch needs a process, and '%s' is a file\n",
			settings.arguments[0]);
		return MEMHEAP_USAGE;
	}
	settings.options.library_paths = settings.library_paths;
	catch_signals();
	error = watch_on(&watch, &settings);
	if (watch.snapshots)
		watch_tell_end(&watch);
	destroy(&watch);
	return error ? command_fail(error) : command_end();
}
