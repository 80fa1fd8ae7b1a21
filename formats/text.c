/* SPDX-License-Identifier: MIT */
/* table: for people. Tables through libsmartcols, the only file that knows it. */
#include <libsmartcols.h>
#include <string.h>

#include "text.h"

#define CELLS_MAX  64
#define BATCH_ROWS 500 /* of streamed tables: printed together, so that columns line up */

void text_heading(const char *heading, const struct style *style, FILE *out)
{
	fprintf(out, "%s%s%s\n", style->color ? "\033[1m" : "", heading,
		style->color ? "\033[0m" : "");
}

const char *text_dots(const struct style *style)
{
	return style->unicode ? "…" : "...";
}

struct first_row {
	struct memheap_cell *cells;
	size_t count;
	bool found;
};

static bool keep_row(void *closure, const struct memheap_cell *cells)
{
	struct first_row *first = closure;

	memcpy(first->cells, cells, first->count * sizeof(*cells));
	first->found = true;
	return false;
}

bool text_first_row(const struct memheap_table *table, struct memheap_cell *cells, size_t count)
{
	size_t columns = memheap_table_shape_of(table)->column_count;
	struct first_row first = { cells, columns < count ? columns : count, false };

	memheap_table_each(table, keep_row, &first);
	return first.found;
}

struct memheap_cell text_cell(const struct memheap_report *report, const char *table,
			      const char *key)
{
	const struct memheap_table *found = memheap_report_table(report, table);
	struct memheap_cell cells[CELLS_MAX] = { 0 };
	int column = found ? memheap_table_column(memheap_table_shape_of(found), key) : -1;

	if (column < 0 || column >= CELLS_MAX || !text_first_row(found, cells, CELLS_MAX))
		return (struct memheap_cell){ 0 };
	return cells[column];
}

/* How wide the titles of a record's columns are. */
static int title_width(const struct memheap_table_shape *shape)
{
	size_t width = 18; /* of most records, so that they align with each other */

	for (size_t i = 0; i < shape->column_count; i++) {
		size_t length = strlen(shape->columns[i].title);

		width = length > width ? length : width;
	}
	return (int)width;
}

bool text_record(const struct memheap_table *table, const struct style *style, FILE *out)
{
	const struct memheap_table_shape *shape = memheap_table_shape_of(table);
	struct memheap_cell cells[CELLS_MAX];
	bool headed = false;
	char text[UNIT_TEXT_MAX];

	if (!text_first_row(table, cells, CELLS_MAX))
		return true;
	for (size_t i = 0; i < shape->column_count; i++) {
		if (!cells[i].present)
			continue;
		if (!headed)
			text_heading(shape->title, style, out);
		headed = true;
		fprintf(out, "  %-*s %s\n", title_width(shape), shape->columns[i].title,
			format_cell(text, shape->columns[i].kind, &cells[i], style));
	}
	if (headed)
		putc('\n', out);
	return !ferror(out);
}

/* A table being printed. */
struct printing {
	const struct memheap_table_shape *shape;
	const struct style *style;
	FILE *out;
	struct libscols_table *table;
	uint64_t rows;
	bool failed;
};

/* A table that begins with `first`: columns of addresses that nobody asked for are hidden. */
static struct libscols_table *new_table(const struct printing *printing,
					const struct memheap_cell *first)
{
	struct libscols_table *table = scols_new_table();

	if (!table)
		return NULL;
	scols_table_set_stream(table, printing->out);
	scols_table_enable_colors(table, printing->style->color);
	scols_table_enable_noheadings(table, printing->rows > 0);
	scols_table_enable_maxout(table, false);
	if (!printing->style->terminal)
		scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
	for (size_t i = 0; i < printing->shape->column_count; i++) {
		const struct memheap_column *column = &printing->shape->columns[i];
		bool text = column->kind == MEMHEAP_TEXT;
		bool hidden = column->kind == MEMHEAP_ADDRESSES && !first[i].present;

		if (!scols_table_new_column(table, column->title, text ? 0.1 : 1,
					    (text ? SCOLS_FL_TRUNC : SCOLS_FL_RIGHT) |
						    (hidden ? SCOLS_FL_HIDDEN : 0))) {
			scols_unref_table(table);
			return NULL;
		}
	}
	return table;
}

/* Prints the rows so far. */
static bool flush(struct printing *printing)
{
	bool printed = !printing->table || !scols_print_table(printing->table);

	if (printing->table)
		scols_unref_table(printing->table);
	printing->table = NULL;
	return printed;
}

static bool add_row(void *closure, const struct memheap_cell *cells)
{
	struct printing *printing = closure;
	struct libscols_line *line;

	if (!printing->table)
		printing->table = new_table(printing, cells);
	line = printing->table ? scols_table_new_line(printing->table, NULL) : NULL;
	printing->failed = !line;
	for (size_t i = 0; line && i < printing->shape->column_count; i++) {
		char text[UNIT_TEXT_MAX];

		if (scols_line_set_data(line, i,
					format_cell(text, printing->shape->columns[i].kind,
						    &cells[i], printing->style)))
			printing->failed = true;
	}
	printing->rows++;
	if (!printing->failed && printing->rows % BATCH_ROWS == 0)
		printing->failed = !flush(printing);
	return !printing->failed && !ferror(printing->out);
}

bool text_table(const struct memheap_table *table, const struct style *style, FILE *out)
{
	struct printing printing = { .shape = memheap_table_shape_of(table),
				     .style = style,
				     .out = out };
	char more[UNIT_TEXT_MAX];

	/* the heading belongs to rows; a streamed table's first one tells */
	if (!memheap_table_total(table))
		return true;
	text_heading(printing.shape->title, style, out);
	if (!memheap_table_each(table, add_row, &printing) || !flush(&printing))
		return false;
	if (memheap_table_total(table) > printing.rows && !memheap_table_is_streamed(table))
		fprintf(out, "%s %s more\n", text_dots(style),
			format_count(more, memheap_table_total(table) - printing.rows));
	putc('\n', out);
	return !ferror(out);
}

struct warnings {
	const struct style *style;
	FILE *out;
	bool gaps;
};

/* Columns of the tables gaps and diagnostics. */
enum { GAPS_CODE = 1, GAPS_COUNT, GAPS_BYTES, GAPS_ADDRESS, GAPS_TEXT };
enum { DIAGNOSTICS_CODE, DIAGNOSTICS_LEVEL, DIAGNOSTICS_MESSAGE, DIAGNOSTICS_HINT };

static bool write_gap(void *closure, const struct memheap_cell *cells)
{
	const struct warnings *warnings = closure;
	char count[UNIT_TEXT_MAX], bytes[UNIT_TEXT_MAX];

	fprintf(warnings->out, "  ! %s: %s: %s times, %s, first at 0x%llx\n", cells[GAPS_CODE].text,
		cells[GAPS_TEXT].text, format_count(count, cells[GAPS_COUNT].number),
		format_bytes(bytes, cells[GAPS_BYTES].number, warnings->style),
		(unsigned long long)cells[GAPS_ADDRESS].number);
	return true;
}

static bool write_diagnostic(void *closure, const struct memheap_cell *cells)
{
	const struct warnings *warnings = closure;
	bool info = !strcmp(cells[DIAGNOSTICS_LEVEL].text, "info");

	fprintf(warnings->out, "  %s %s: %s\n", info ? "i" : "!", cells[DIAGNOSTICS_CODE].text,
		cells[DIAGNOSTICS_MESSAGE].text);
	if (cells[DIAGNOSTICS_HINT].present)
		fprintf(warnings->out, "    hint: %s\n", cells[DIAGNOSTICS_HINT].text);
	return true;
}

void text_warnings(const struct memheap_report *report, const struct style *style, FILE *out)
{
	const struct memheap_table *gaps = memheap_report_table(report, "gaps");
	const struct memheap_table *diagnostics = memheap_report_table(report, "diagnostics");
	struct warnings warnings = { style, out, false };
	uint64_t count = (gaps ? memheap_table_total(gaps) : 0) +
			 (diagnostics ? memheap_table_total(diagnostics) : 0);

	if (!count)
		return;
	text_heading("To be aware of", style, out);
	if (diagnostics)
		memheap_table_each(diagnostics, write_diagnostic, &warnings);
	if (gaps)
		memheap_table_each(gaps, write_gap, &warnings);
	putc('\n', out);
}

/* Tables that are not for people, or that text_warnings() shows. */
static bool is_hidden(const struct memheap_table_shape *shape)
{
	return !strcmp(shape->key, "tool") || !strcmp(shape->key, "gaps") ||
	       !strcmp(shape->key, "diagnostics");
}

bool text_report(const struct memheap_report *report, const struct style *style, FILE *out)
{
	const struct memheap_report_shape *shape = memheap_report_shape_of(report);

	for (size_t i = 0; shape->tables[i]; i++) {
		const struct memheap_table *table =
			memheap_report_table(report, shape->tables[i]->key);
		bool record = shape->tables[i]->flags & MEMHEAP_RECORD;

		if (is_hidden(shape->tables[i]) ||
		    (style->table && strcmp(shape->tables[i]->key, style->table)))
			continue;
		/* beside a list of things, completeness is of interest only where it is partial */
		if (!strcmp(shape->tables[i]->key, "completeness") && strcmp(shape->name, "info") &&
		    memheap_report_status(report) != MEMHEAP_PARTIAL)
			continue;
		if (!(record ? text_record : text_table)(table, style, out))
			return false;
	}
	text_warnings(report, style, out);
	return !ferror(out);
}

/* Reports with a layout of their own. */
static const struct layout_row {
	const char *name;
	bool (*write)(const struct memheap_report *, const struct style *, FILE *);
} layouts[] = {
	{ "analyze", text_summary },
	{ "arenas", text_arenas },
	{ "suspects", text_suspects },
};

static bool write_text(const struct memheap_report *report, const struct style *style, FILE *out)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		if (!strcmp(layouts[i].name, memheap_report_shape_of(report)->name))
			return layouts[i].write(report, style, out);
	}
	return text_report(report, style, out);
}

const struct format format_text = {
	.name = "table",
	.description = "for people",
	.write = write_text,
};
