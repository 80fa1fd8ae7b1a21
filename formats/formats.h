/* SPDX-License-Identifier: MIT */
/* How a report looks. A format sees reports through memheap.h only. */
#pragma once

#include <memheap.h>
#include <stdio.h>

/* What the output may look like. */
struct style {
	bool exact_bytes; /* 1,234,567 in place of 1.2 MiB */
	bool unicode;
	bool color;
	bool terminal;     /* the output is one: long columns are cut to its width */
	const char *table; /* the only one to print; NULL: for csv and jsonl the main one */
	const char *core;  /* the target as the user named it, for examples of commands */
};

struct format {
	const char *name;
	const char *description;
	/* Writes the report; false when the output can't be written or memory runs out. */
	bool (*write)(const struct memheap_report *report, const struct style *style, FILE *out);
};

/* NULL-terminated. */
extern const struct format *const formats[];

/* The format called `name`, or NULL. */
const struct format *format_find(const char *name);

/* The table that csv and jsonl print: style->table, or the main one; NULL: there is none such. */
const struct memheap_table *format_table(const struct memheap_report *report,
					 const struct style *style);

/* A JSON Schema (2020-12) for the JSON form of a report. */
bool format_write_schema(const struct memheap_report_shape *shape, FILE *out);
