/* SPDX-License-Identifier: MIT */
/* csv: one table, RFC 4180 but for line ends, with the keys of its columns in the first line. */
#include <inttypes.h>
#include <string.h>

#include "formats.h"

/* What stands between quotes. */
static void write_quoted(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '"')
			putc('"', out);
		putc(*text, out);
	}
}

static void write_text(const char *text, FILE *out)
{
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, out);
		return;
	}
	putc('"', out);
	write_quoted(text, out);
	putc('"', out);
}

/* Names may hold anything but line ends. */
static void write_texts(const struct memheap_texts *texts, FILE *out)
{
	putc('"', out);
	for (size_t i = 0; i < texts->count; i++) {
		if (i)
			putc('\n', out);
		write_quoted(texts->items[i], out);
	}
	putc('"', out);
}

static void write_cell(enum memheap_kind kind, const struct memheap_cell *cell, FILE *out)
{
	if (!cell->present)
		return;
	switch (kind) {
	case MEMHEAP_TEXT:
		write_text(cell->text, out);
		return;
	case MEMHEAP_ADDRESS:
		fprintf(out, "0x%" PRIx64, cell->number);
		return;
	case MEMHEAP_ADDRESSES:
		for (size_t i = 0; i < cell->addresses->count; i++)
			fprintf(out, "%s0x%" PRIx64, i ? " " : "", cell->addresses->items[i]);
		return;
	case MEMHEAP_TEXTS:
		write_texts(cell->texts, out);
		return;
	case MEMHEAP_PERCENT:
		fprintf(out, "%.10g", (double)cell->number / 100);
		return;
	case MEMHEAP_FLAG:
		fputs(cell->number ? "true" : "false", out);
		return;
	default:
		fprintf(out, "%" PRId64, cell->signed_number);
	}
}

struct writer {
	const struct memheap_table_shape *shape;
	FILE *out;
};

static bool write_row(void *closure, const struct memheap_cell *cells)
{
	struct writer *writer = closure;

	for (size_t i = 0; i < writer->shape->column_count; i++) {
		if (i)
			putc(',', writer->out);
		write_cell(writer->shape->columns[i].kind, &cells[i], writer->out);
	}
	putc('\n', writer->out);
	return !ferror(writer->out);
}

static bool write_csv(const struct memheap_report *report, const struct style *style, FILE *out)
{
	const struct memheap_table *table = format_table(report, style);
	struct writer writer = { memheap_table_shape_of(table), out };

	for (size_t i = 0; i < writer.shape->column_count; i++)
		fprintf(out, "%s%s", i ? "," : "", writer.shape->columns[i].key);
	putc('\n', out);
	return memheap_table_each(table, write_row, &writer) && !ferror(out);
}

const struct format format_csv = {
	.name = "csv",
	.description = "one table as comma-separated values",
	.write = write_csv,
};
