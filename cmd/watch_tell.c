/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "watch.h"

#define MIB 1048576.0

static int64_t growth(const struct series *series)
{
	return (int64_t)(series->bytes - series->first_bytes);
}

/* Categories first; then what grew most. */
static int compare_growth(const void *a, const void *b)
{
	const struct series *left = *(struct series *const *)a, *right = *(struct series *const *)b;

	if (left->category != right->category)
		return left->category ? -1 : 1;
	if (growth(left) != growth(right))
		return growth(left) > growth(right) ? -1 : 1;
	return strcmp(left->name, right->name);
}

static json_t *series_json(const struct series *series)
{
	json_t *object = json_pack(
		"{s:s, s:I, s:I, s:I}", series->category ? "category" : "type", series->name,
		"bytes", (json_int_t)series->bytes, "since_start_bytes", (json_int_t)growth(series),
		"since_last_bytes", (json_int_t)(series->bytes - series->last_bytes));

	if (object && !series->category) {
		json_object_set_new(object, "objects", json_integer((json_int_t)series->objects));
		json_object_set_new(
			object, "since_start_objects",
			json_integer((json_int_t)(series->objects - series->first_objects)));
		json_object_set_new(
			object, "since_last_objects",
			json_integer((json_int_t)(series->objects - series->last_objects)));
	}
	return object;
}

static void tell_json(const struct watch *watch, const char *event)
{
	json_t *types = json_array(), *categories = json_array(), *object;
	uint64_t told = 0;

	for (size_t i = 0; i < watch->count; i++) {
		const struct series *series = watch->series[i];

		if (series->category)
			json_array_append_new(categories, series_json(series));
		else if (!watch->rows || told++ < watch->rows)
			json_array_append_new(types, series_json(series));
	}
	object = json_pack(
		"{s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}",
		"schema", "memheap.watch", "event", event, "pid", (json_int_t)atoll(watch->pid),
		"elapsed_ms", (json_int_t)(watch_now_ms() - watch->began_ms), "mode", watch->mode,
		"snapshots", (json_int_t)watch->snapshots, "torn_bytes", (json_int_t)watch->torn,
		"pause_us", (json_int_t)watch->pause_us, "longest_pause_us",
		(json_int_t)watch->longest_us, "busy_ms", (json_int_t)watch->busy_ms, "rss_bytes",
		(json_int_t)watch->rss, "since_start_rss_bytes",
		(json_int_t)(watch->rss - watch->first_rss), "since_last_rss_bytes",
		(json_int_t)(watch->rss - watch->last_rss), "categories", categories, "types",
		types);
	if (object && watch->kept)
		json_object_set_new(object, "core", json_string(watch->kept));
	if (object)
		json_dumpf(object, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	putchar('\n');
	fflush(stdout);
	json_decref(object);
}

static void print_row(const struct series *series)
{
	printf("  %-40.40s %12.1f %+12.1f %+12.1f", series->name, (double)series->bytes / MIB,
	       (double)growth(series) / MIB,
	       (double)(int64_t)(series->bytes - series->last_bytes) / MIB);
	if (!series->category)
		printf(" %12llu %+10lld", (unsigned long long)series->objects,
		       (long long)(series->objects - series->first_objects));
	putchar('\n');
}

static void print_tables(const struct watch *watch)
{
	uint64_t told = 0;

	printf("  %-40s %12s %12s %12s\n", "CATEGORY", "MiB", "SINCE START", "SINCE LAST");
	for (size_t i = 0; i < watch->count && watch->series[i]->category; i++) {
		if (watch->series[i]->bytes >> 16 || growth(watch->series[i]))
			print_row(watch->series[i]);
	}
	printf("\n  %-40s %12s %12s %12s %12s %10s\n", "TYPE", "MiB", "SINCE START", "SINCE LAST",
	       "OBJECTS", "GROWTH");
	for (size_t i = 0; i < watch->count && (!watch->rows || told < watch->rows); i++) {
		if (watch->series[i]->category)
			continue;
		print_row(watch->series[i]);
		told++;
	}
	putchar('\n');
}

static void print_cost(const struct watch *watch)
{
	uint64_t elapsed = watch_now_ms() - watch->began_ms;

	printf("%llu snapshots by %s in %.0f s; it stood still for %.1f ms in all, at most %.1f ms "
	       "at once; memheap was busy for %.0f %% of the time\n",
	       (unsigned long long)watch->snapshots, watch->mode, (double)elapsed / 1000,
	       (double)watch->pauses_us / 1000, (double)watch->longest_us / 1000,
	       elapsed ? (double)watch->busy_ms * 100 / (double)elapsed : 0);
	if (watch->torn)
		printf("In the last one %.1f MiB changed while they were read, and may be wrong\n",
		       (double)watch->torn / MIB);
}

void watch_tell(struct watch *watch)
{
	qsort(watch->series, watch->count, sizeof(struct series *), compare_growth);
	if (!watch->terminal) {
		tell_json(watch, "snapshot");
		return;
	}
	printf("\033[H\033[Jmemheap watch %s   RSS %.1f MiB, %+.1f since the start, %+.1f since "
	       "the "
	       "last\n",
	       watch->pid, (double)watch->rss / MIB,
	       (double)(int64_t)(watch->rss - watch->first_rss) / MIB,
	       (double)(int64_t)(watch->rss - watch->last_rss) / MIB);
	print_cost(watch);
	putchar('\n');
	print_tables(watch);
	fflush(stdout);
}

void watch_tell_kept(const struct watch *watch)
{
	if (watch->terminal)
		printf("A core was written: %s\n", watch->kept);
	else
		tell_json(watch, "core");
}

void watch_tell_end(struct watch *watch)
{
	if (!watch->terminal) {
		tell_json(watch, "end");
		return;
	}
	printf("\033[H\033[JWhat grew in process %s\n\n", watch->pid);
	print_tables(watch);
	print_cost(watch);
	if (watch->kept)
		printf("A core was written: %s\n", watch->kept);
}
