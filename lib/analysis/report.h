/* SPDX-License-Identifier: MIT */
/* Building reports: typed tables, the only thing an output format ever sees. */
#pragma once

#include "../snapshot.h"

/* Makes the rows of a streamed table one by one; returns false when `row` did. */
typedef bool table_stream_fn(const struct memheap_table *table, memheap_row_fn *row, void *closure);

struct memheap_table {
	const struct memheap_table_shape *shape;
	VECTOR(struct memheap_cell) cells; /* rows × columns */
	uint64_t row_count, total;
	table_stream_fn *stream; /* NULL: the rows are in `cells` */
	const struct memheap_report *report;
};

#define REPORT_TABLES_MAX 32

struct memheap_report {
	const struct memheap_report_shape *shape;
	const struct memheap_snapshot *snapshot;
	struct memheap_query query; /* its strings are the caller's */
	struct memheap_table tables[REPORT_TABLES_MAX];
	size_t table_count;
	enum memheap_status status;
	struct gaps gaps; /* the snapshot's, and those that the analysis met */
	struct strings strings;
	VECTOR(void *) kept;              /* freed with the report */
	bool failed;                      /* out of memory */
	void *stream_data;                /* of the streamed table; NULL: none */
	void (*free_stream_data)(void *); /* frees it with the report */
};

/* One kind of report: its declaration, and how it is made. */
struct analysis {
	struct memheap_report_shape shape;
	struct memheap_error *(*build)(struct memheap_report *report);
};

/* The table declared by `shape`, which belongs to the report's. */
struct memheap_table *report_table(struct memheap_report *report,
				   const struct memheap_table_shape *shape);

/* A new row of `table`, all cells absent; never NULL (a lost row sets report->failed). */
struct memheap_cell *report_row(struct memheap_report *report,
				const struct memheap_table_shape *shape);

/* How many examples are asked for, which are `most` unless a limit is given. */
static inline uint64_t query_examples(const struct memheap_query *query, uint64_t most)
{
	if (!query->limit_given)
		return most;
	return query->limit ? query->limit : UINT64_MAX;
}

/* The error of a report about an object, where none begins at the query's address. */
struct memheap_error *error_no_object(const struct memheap_report *report);

/* A formatted text that lives as long as the report. */
const char *report_text(struct memheap_report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Memory that lives as long as the report; NULL when there is none. */
void *report_keep(struct memheap_report *report, size_t size);

static inline struct memheap_cell cell_number(uint64_t number)
{
	return (struct memheap_cell){ .number = number, .present = true };
}

static inline struct memheap_cell cell_signed(int64_t number)
{
	return (struct memheap_cell){ .signed_number = number, .present = true };
}

/* NULL: absent */
static inline struct memheap_cell cell_text(const char *text)
{
	return (struct memheap_cell){ .text = text, .present = text };
}

/* `part` of `whole` in hundredths of a percent; absent when there is no whole. */
struct memheap_cell cell_percent(uint64_t part, uint64_t whole);

/* Makes one cell smaller or greater than another of the same column; absent ones come last. */
int cell_compare(enum memheap_kind kind, const struct memheap_cell *a,
		 const struct memheap_cell *b);
