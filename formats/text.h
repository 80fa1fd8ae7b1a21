/* SPDX-License-Identifier: MIT */
/* The pieces that texts for people are made of. */
#pragma once

#include "units.h"

/* Bold on a terminal with colours. */
void text_heading(const char *heading, const struct style *style, FILE *out);

/* "…": what comes before a number of things that are left out. */
const char *text_dots(const struct style *style);

/* A record as lines "TITLE  value"; nothing when all of it is absent. */
bool text_record(const struct memheap_table *table, const struct style *style, FILE *out);

/* A table; nothing when it has no rows. What a limit left out is said below it. */
bool text_table(const struct memheap_table *table, const struct style *style, FILE *out);

/* All tables of a report in turn, but those for machines. */
bool text_report(const struct memheap_report *report, const struct style *style, FILE *out);

/* The first row of a table, copied to `cells`, which has room for `count`; false when it has none.
 */
bool text_first_row(const struct memheap_table *table, struct memheap_cell *cells, size_t count);

/* The cell of column `key` in a record; absent when there is none. */
struct memheap_cell text_cell(const struct memheap_report *report, const char *table,
			      const char *key);

/* The warnings and gaps of a report, each with what can be done about it. */
void text_warnings(const struct memheap_report *report, const struct style *style, FILE *out);

/* The suspects of a report that has some, or that there are none. */
bool text_suspects_rows(const struct memheap_report *report, const struct style *style, FILE *out);

/* Reports that look their own way. */
bool text_summary(const struct memheap_report *report, const struct style *style, FILE *out);
bool text_suspects(const struct memheap_report *report, const struct style *style, FILE *out);
bool text_arenas(const struct memheap_report *report, const struct style *style, FILE *out);
