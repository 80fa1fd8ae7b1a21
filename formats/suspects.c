/* SPDX-License-Identifier: MIT */
/* suspects on one screen: each with its size, its holder, and a few sentences. */
#include <string.h>

#include "text.h"

#define WIDTH  96
#define INDENT 5

/* Columns of the table suspects. */
enum {
	SUSPECTS_RANK,
	SUSPECTS_KIND,
	SUSPECTS_TYPE,
	SUSPECTS_ADDRESS,
	SUSPECTS_OBJECTS,
	SUSPECTS_RETAINED,
	SUSPECTS_SHARE,
	SUSPECTS_HOLDER,
	SUSPECTS_PATH,
	SUSPECTS_TEXT,
	SUSPECTS_COLUMNS,
};

/* How many characters the `bytes` bytes of UTF-8 are. */
static size_t count_characters(const char *text, size_t bytes)
{
	size_t count = 0;

	for (size_t i = 0; i < bytes; i++)
		count += ((unsigned char)text[i] & 0xC0) != 0x80;
	return count;
}

/* Breaks lines between words. */
static void write_paragraph(const char *text, FILE *out)
{
	size_t column = 0;

	while (*text) {
		size_t bytes = strcspn(text, " "), width = count_characters(text, bytes);

		if (column && column + 1 + width > WIDTH - INDENT) {
			putc('\n', out);
			column = 0;
		}
		if (column)
			putc(' ', out);
		else
			fprintf(out, "%*s", INDENT, "");
		fwrite(text, 1, bytes, out);
		column += width + (column > 0);
		text += bytes + (text[bytes] == ' ');
	}
	putc('\n', out);
}

struct writing {
	const struct style *style;
	FILE *out;
};

static bool write_suspect(void *closure, const struct memheap_cell *cells)
{
	const struct writing *writing = closure;
	char size[UNIT_TEXT_MAX];

	fprintf(writing->out, "%3llu  %s, %.1f %%: %s\n",
		(unsigned long long)cells[SUSPECTS_RANK].number,
		format_bytes(size, cells[SUSPECTS_RETAINED].number, writing->style),
		(double)cells[SUSPECTS_SHARE].number / 100,
		cells[SUSPECTS_HOLDER].present ? cells[SUSPECTS_HOLDER].text
					       : cells[SUSPECTS_TYPE].text);
	write_paragraph(cells[SUSPECTS_TEXT].text, writing->out);
	return !ferror(writing->out);
}

bool text_suspects_rows(const struct memheap_report *report, const struct style *style, FILE *out)
{
	const struct memheap_table *table = memheap_report_table(report, "suspects");
	struct memheap_cell whole = text_cell(report, "suspects_limits", "occupied_bytes");
	struct memheap_cell threshold = text_cell(report, "suspects_limits", "threshold_bytes");
	struct writing writing = { style, out };
	char all[UNIT_TEXT_MAX], part[UNIT_TEXT_MAX];

	text_heading("Suspects", style, out);
	if (!memheap_table_total(table))
		fprintf(out,
			"  No suspect: of the %s of all objects nothing holds %s or more alone\n",
			format_bytes(all, whole.number, style),
			format_bytes(part, threshold.number, style));
	if (!memheap_table_each(table, write_suspect, &writing))
		return false;
	putc('\n', out);
	return !ferror(out);
}

struct next {
	const char *core;
	FILE *out;
};

/* Commands that can be copied. */
static bool write_next(void *closure, const struct memheap_cell *cells)
{
	const struct next *next = closure;
	unsigned long long address = cells[SUSPECTS_ADDRESS].number;

	if (!cells[SUSPECTS_ADDRESS].present)
		return false;
	if (!strcmp(cells[SUSPECTS_KIND].text, "lost")) {
		fprintf(next->out,
			"  memheap cycles %s              what gc.collect() would free\n",
			next->core);
		return false;
	}
	fprintf(next->out, "  memheap path %s 0x%llx      every step of the way there\n",
		next->core, address);
	fprintf(next->out, "  memheap refs %s 0x%llx --limit 20      what it refers to\n",
		next->core, address);
	return false;
}

bool text_suspects(const struct memheap_report *report, const struct style *style, FILE *out)
{
	const struct memheap_table *table = memheap_report_table(report, "suspects");
	struct next next = { style->core ? style->core : "CORE", out };

	if (!text_suspects_rows(report, style, out))
		return false;
	text_warnings(report, style, out);
	text_heading("Next", style, out);
	memheap_table_each(table, write_next, &next);
	fprintf(out, "  memheap retained %s            what each type and object holds\n",
		next.core);
	return !ferror(out);
}
