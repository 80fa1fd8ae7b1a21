/* SPDX-License-Identifier: MIT */
/*
 * dot: the tree of paths as a graph for graphviz. Each row is a node and the edge that leads to it:
 * from the nearest row above it of less depth, or, where it is a root, from a node for its kind.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "units.h"

enum { DEPTH, NAME, TYPE, ADDRESS, OBJECTS, ROOT, COLUMNS };

static const char *const keys[COLUMNS] = {
	[DEPTH] = "depth",     [NAME] = "name",       [TYPE] = "type",
	[ADDRESS] = "address", [OBJECTS] = "objects", [ROOT] = "root",
};

#define KINDS_MAX 16 /* of roots: more would be declared again and again, which changes nothing */

struct drawing {
	FILE *out;
	int columns[COLUMNS];
	uint64_t rows;
	uint64_t *above; /* by depth: the row that the next one of more depth belongs to */
	size_t above_size;
	const char *kinds[KINDS_MAX]; /* those that are declared */
	size_t kind_count;
};

/* Between quotes: graphviz knows escapes, as \N for the name of a node, and entities of HTML. */
static void write_text(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', out);
		if (*text == '&')
			fputs("&amp;", out);
		else
			putc(*text, out);
	}
}

static void declare_kind(struct drawing *drawing, const char *kind)
{
	for (size_t i = 0; i < drawing->kind_count; i++) {
		if (!strcmp(drawing->kinds[i], kind))
			return;
	}
	if (drawing->kind_count < KINDS_MAX)
		drawing->kinds[drawing->kind_count++] = kind;
	fprintf(drawing->out, "\t\"%s\" [shape=box];\n", kind);
}

static void write_edge(struct drawing *drawing, const struct memheap_cell *const cells[COLUMNS])
{
	FILE *out = drawing->out;

	if (cells[ROOT]->present)
		fprintf(out, "\t\"%s\"", cells[ROOT]->text);
	else
		fprintf(out, "\tn%" PRIu64, drawing->above[cells[DEPTH]->number - 1]);
	fprintf(out, " -> n%" PRIu64, drawing->rows);
	if (cells[NAME]->present) {
		fputs(" [label=\"", out);
		write_text(cells[NAME]->text, out);
		fputs("\"]", out);
	}
	fputs(";\n", out);
}

static void write_node(struct drawing *drawing, const struct memheap_cell *const cells[COLUMNS])
{
	char count[UNIT_TEXT_MAX];
	FILE *out = drawing->out;

	fprintf(out, "\tn%" PRIu64 " [label=\"", drawing->rows);
	if (cells[TYPE]->present) {
		write_text(cells[TYPE]->text, out);
		fprintf(out, "\\n0x%" PRIx64 "\\n", cells[ADDRESS]->number);
	}
	fprintf(out, "%s object%s\"];\n", format_count(count, cells[OBJECTS]->number),
		cells[OBJECTS]->number == 1 ? "" : "s");
}

/* Room for the row of depth `depth`. */
static bool grow(struct drawing *drawing, uint64_t depth)
{
	size_t size = drawing->above_size ? 2 * drawing->above_size : 64;
	uint64_t *above;

	if (depth < drawing->above_size)
		return true;
	/* a row is at most one deeper than that before it */
	above = reallocarray(drawing->above, size, sizeof(*above));
	if (!above)
		return false;
	drawing->above = above;
	drawing->above_size = size;
	return true;
}

static bool write_row(void *closure, const struct memheap_cell *row)
{
	const struct memheap_cell *cells[COLUMNS];
	struct drawing *drawing = closure;

	for (size_t i = 0; i < COLUMNS; i++)
		cells[i] = &row[drawing->columns[i]];
	if (!grow(drawing, cells[DEPTH]->number))
		return false;
	if (cells[ROOT]->present)
		declare_kind(drawing, cells[ROOT]->text);
	write_node(drawing, cells);
	write_edge(drawing, cells);
	drawing->above[cells[DEPTH]->number] = drawing->rows++;
	return !ferror(drawing->out);
}

static bool write_dot(const struct memheap_report *report, const struct style *style, FILE *out)
{
	const struct memheap_table *table = format_table(report, style);
	const struct memheap_table_shape *shape = memheap_table_shape_of(table);
	struct drawing drawing = { .out = out };
	char more[UNIT_TEXT_MAX];
	bool written;

	for (size_t i = 0; i < COLUMNS; i++)
		drawing.columns[i] = memheap_table_column(shape, keys[i]);
	fprintf(out, "digraph %s {\n\trankdir=LR;\n", shape->key);
	written = memheap_table_each(table, write_row, &drawing);
	free(drawing.above);
	fprintf(out, "\tlabel=\"%s", shape->title);
	if (memheap_table_total(table) > drawing.rows)
		fprintf(out, "\\n%s more are not drawn",
			format_count(more, memheap_table_total(table) - drawing.rows));
	fputs("\";\n}\n", out);
	return written && !ferror(out);
}

const struct format format_dot = {
	.name = "dot",
	.description = "the tree of paths as a graph for graphviz",
	.write = write_dot,
};
