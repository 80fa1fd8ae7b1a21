/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "analyses.h"
#include "report.h"

static struct memheap_cell lost_row[64];

struct memheap_table *report_table(struct memheap_report *report,
				   const struct memheap_table_shape *shape)
{
	for (size_t i = 0; i < report->table_count; i++) {
		if (report->tables[i].shape == shape)
			return &report->tables[i];
	}
	return NULL;
}

struct memheap_cell *report_row(struct memheap_report *report,
				const struct memheap_table_shape *shape)
{
	struct memheap_table *table = report_table(report, shape);
	size_t before = table ? table->cells.count : 0;

	for (size_t i = 0; table && i < shape->column_count; i++) {
		struct memheap_cell *cell = vector_push(&table->cells);

		if (!cell) {
			table->cells.count = before;
			table = NULL;
			break;
		}
		*cell = (struct memheap_cell){ 0 };
	}
	if (!table) {
		report->failed = true;
		return lost_row;
	}
	table->row_count++;
	table->total++;
	return &table->cells.items[before];
}

const char *report_text(struct memheap_report *report, const char *format, ...)
{
	const char *kept;
	va_list args;

	va_start(args, format);
	kept = strings_format_list(&report->strings, format, args);
	va_end(args);
	if (!kept)
		report->failed = true;
	return kept;
}

void *report_keep(struct memheap_report *report, size_t size)
{
	void **kept = vector_push(&report->kept);

	if (kept)
		*kept = calloc(1, size);
	if (!kept || !*kept) {
		report->failed = true;
		return NULL;
	}
	return *kept;
}

struct memheap_cell cell_percent(uint64_t part, uint64_t whole)
{
	if (!whole)
		return (struct memheap_cell){ 0 };
	return cell_number((uint64_t)((double)part * 10000.0 / (double)whole + 0.5));
}

/* As lists are compared: by the first text that differs, else the longer one is greater. */
static int compare_texts(const struct memheap_texts *a, const struct memheap_texts *b)
{
	for (size_t i = 0; i < MIN(a->count, b->count); i++) {
		int order = strcmp(a->items[i], b->items[i]);

		if (order)
			return order;
	}
	return a->count < b->count ? -1 : a->count > b->count;
}

int cell_compare(enum memheap_kind kind, const struct memheap_cell *a, const struct memheap_cell *b)
{
	if (a->present != b->present)
		return a->present ? -1 : 1;
	if (!a->present)
		return 0;
	if (kind == MEMHEAP_TEXT)
		return strcmp(a->text, b->text);
	if (kind == MEMHEAP_TEXTS)
		return compare_texts(a->texts, b->texts);
	if (kind == MEMHEAP_NUMBER)
		return a->signed_number < b->signed_number ? -1
							   : a->signed_number > b->signed_number;
	return a->number < b->number ? -1 : a->number > b->number;
}

struct sorting {
	const struct memheap_table *table;
	int column;
	bool ascending;
};

static int compare_rows(const void *a, const void *b, void *closure)
{
	const struct sorting *sorting = closure;
	const struct memheap_cell *cells = sorting->table->cells.items;
	size_t width = sorting->table->shape->column_count;
	size_t left = *(const size_t *)a, right = *(const size_t *)b;
	const struct memheap_cell *left_cell = &cells[left * width + (size_t)sorting->column];
	const struct memheap_cell *right_cell = &cells[right * width + (size_t)sorting->column];
	int order = cell_compare(sorting->table->shape->columns[sorting->column].kind, left_cell,
				 right_cell);

	if (order && left_cell->present && right_cell->present && !sorting->ascending)
		order = -order;
	/* rows that are alike stay in their order */
	return order ? order : left < right ? -1 : left > right;
}

/* Sorts the stored rows of `table`; false when out of memory. */
static bool sort_rows(struct memheap_table *table, int column, bool ascending)
{
	struct sorting sorting = { table, column, ascending };
	size_t width = table->shape->column_count, count = (size_t)table->row_count;

	_cleanup_free_ size_t *order = calloc(count + 1, sizeof(*order));
	_cleanup_free_ struct memheap_cell *sorted = calloc(count * width + 1, sizeof(*sorted));
	if (!order || !sorted)
		return false;
	for (size_t i = 0; i < count; i++)
		order[i] = i;
	qsort_r(order, count, sizeof(*order), compare_rows, &sorting);
	for (size_t i = 0; i < count * width; i++)
		sorted[i] = table->cells.items[order[i / width] * width + i % width];
	for (size_t i = 0; i < count * width; i++)
		table->cells.items[i] = sorted[i];
	return true;
}

static const struct memheap_table_shape *main_shape(const struct memheap_report *report)
{
	const struct memheap_report_shape *shape = report->shape;

	for (size_t i = 0; shape->tables[i]; i++) {
		if (!strcmp(shape->tables[i]->key, shape->main_table))
			return shape->tables[i];
	}
	return NULL;
}

/* Sorts and limits the main table as the query says. */
static struct memheap_error *apply_query(struct memheap_report *report)
{
	struct memheap_table *table = report_table(report, main_shape(report));
	const struct memheap_query *query = &report->query;

	if (!table || table->stream)
		return NULL;
	if (query->sort) {
		int column = memheap_table_column(table->shape, query->sort);

		if (!sort_rows(table, column, query->ascending))
			return &error_no_memory;
	}
	if (query->limit && table->row_count > query->limit) {
		table->row_count = query->limit;
		table->cells.count = (size_t)query->limit * table->shape->column_count;
	}
	return NULL;
}

struct memheap_error *error_no_object(const struct memheap_report *report)
{
	return error_hint(error_create(MEMHEAP_FAILED, "no object begins at 0x%llx in %s",
				       (unsigned long long)report->query.address,
				       report->snapshot->target.path),
			  "memheap object tells what is there");
}

static struct memheap_error *check_query(const struct memheap_report *report)
{
	const struct memheap_table_shape *shape = main_shape(report);
	const char *sort = report->query.sort;

	if (!sort || (shape && memheap_table_column(shape, sort) >= 0))
		return NULL;
	return error_hint(error_create(MEMHEAP_USAGE, "cannot sort %s by '%s': no such column",
				       report->shape->name, sort),
			  "memheap schema %s names the columns", report->shape->name);
}

static struct memheap_error *build(struct memheap_report *report, const struct analysis *analysis)
{
	struct memheap_error *error = check_query(report);

	if (error)
		return error;
	for (size_t i = 0; report->shape->tables[i]; i++)
		report->tables[report->table_count++] = (struct memheap_table){
			.shape = report->shape->tables[i],
			.report = report,
		};
	error = analysis->build(report);
	if (!error && report->failed)
		error = &error_no_memory;
	return error ? error : apply_query(report);
}

struct memheap_error *memheap_report_create(const struct memheap_snapshot *snapshot,
					    const char *name, const struct memheap_query *query,
					    struct memheap_report **ret)
{
	const struct analysis *analysis = analysis_find(name);
	struct memheap_report *report;
	struct memheap_error *error;

	if (!analysis)
		return error_create(MEMHEAP_USAGE, "there is no report '%s'", name);
	if (analysis->shape.needs > (snapshot ? snapshot->stage : MEMHEAP_NOTHING))
		return error_create(MEMHEAP_USAGE, "the snapshot was not decoded as far as '%s'",
				    name);
	report = calloc(1, sizeof(*report));
	if (!report)
		return &error_no_memory;
	report->shape = &analysis->shape;
	report->snapshot = snapshot;
	if (snapshot)
		report->gaps = snapshot->gaps;
	report->query = *query;
	error = build(report, analysis);
	if (error) {
		memheap_report_destroy(report);
		return error;
	}
	*ret = report;
	return NULL;
}

void memheap_report_destroy(struct memheap_report *report)
{
	if (!report)
		return;
	for (size_t i = 0; i < report->table_count; i++)
		free(report->tables[i].cells.items);
	for (size_t i = 0; i < report->kept.count; i++)
		free(report->kept.items[i]);
	free(report->kept.items);
	strings_deinit(&report->strings);
	if (report->stream_data)
		report->free_stream_data(report->stream_data);
	free(report);
}

const struct memheap_report_shape *memheap_report_shape_of(const struct memheap_report *report)
{
	return report->shape;
}

enum memheap_status memheap_report_status(const struct memheap_report *report)
{
	return report->status;
}

const struct memheap_table *memheap_report_table(const struct memheap_report *report,
						 const char *key)
{
	for (size_t i = 0; i < report->table_count; i++) {
		if (!strcmp(report->tables[i].shape->key, key))
			return &report->tables[i];
	}
	return NULL;
}

const struct memheap_table_shape *memheap_table_shape_of(const struct memheap_table *table)
{
	return table->shape;
}

uint64_t memheap_table_total(const struct memheap_table *table)
{
	return table->total;
}

bool memheap_table_is_streamed(const struct memheap_table *table)
{
	return table->stream;
}

bool memheap_table_each(const struct memheap_table *table, memheap_row_fn *row, void *closure)
{
	if (table->stream)
		return table->stream(table, row, closure);
	for (uint64_t i = 0; i < table->row_count; i++) {
		if (!row(closure, &table->cells.items[i * table->shape->column_count]))
			return false;
	}
	return true;
}

int memheap_table_column(const struct memheap_table_shape *shape, const char *key)
{
	for (size_t i = 0; i < shape->column_count; i++) {
		if (!strcmp(shape->columns[i].key, key))
			return (int)i;
	}
	return -1;
}
