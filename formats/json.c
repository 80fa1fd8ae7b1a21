/* SPDX-License-Identifier: MIT */
/*
 * json: one document; each record an object, each table an array with one row a line. "a.b" is
 * table b inside of record a. Rows of streamed tables are written by hand: a tree of them would
 * take a hundred times the memory.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "formats.h"

#define DUMP_FLAGS (JSON_PRESERVE_ORDER | JSON_ENCODE_ANY | JSON_REAL_PRECISION(10))

struct writer {
	const struct memheap_table_shape *shape;
	FILE *out;
	uint64_t rows;
	bool lines; /* jsonl: no commas */
};

static json_t *address_value(uint64_t value)
{
	char address[24];

	snprintf(address, sizeof(address), "0x%" PRIx64, value);
	return json_string(address);
}

static json_t *addresses_value(const struct memheap_addresses *addresses)
{
	json_t *array = json_array();

	for (size_t i = 0; i < addresses->count; i++)
		json_array_append_new(array, address_value(addresses->items[i]));
	return array;
}

static json_t *texts_value(const struct memheap_texts *texts)
{
	json_t *array = json_array();

	for (size_t i = 0; i < texts->count; i++)
		json_array_append_new(array, json_string(texts->items[i]));
	return array;
}

static json_t *cell_value(enum memheap_kind kind, const struct memheap_cell *cell)
{
	if (!cell->present)
		return json_null();
	switch (kind) {
	case MEMHEAP_TEXT:
		return json_string(cell->text);
	case MEMHEAP_ADDRESS:
		return address_value(cell->number);
	case MEMHEAP_ADDRESSES:
		return addresses_value(cell->addresses);
	case MEMHEAP_TEXTS:
		return texts_value(cell->texts);
	case MEMHEAP_PERCENT:
		return json_real((double)cell->number / 100);
	case MEMHEAP_FLAG:
		return json_boolean(cell->number);
	default:
		return json_integer((json_int_t)cell->signed_number);
	}
}

static json_t *row_object(const struct memheap_table_shape *shape, const struct memheap_cell *cells)
{
	json_t *object = json_object();

	for (size_t i = 0; object && i < shape->column_count; i++) {
		const struct memheap_column *column = &shape->columns[i];

		if (column->optional && !cells[i].present)
			continue;
		if (json_object_set_new(object, column->key, cell_value(column->kind, &cells[i]))) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static bool write_row(void *closure, const struct memheap_cell *cells)
{
	struct writer *writer = closure;
	json_t *object = row_object(writer->shape, cells);
	bool written;

	if (writer->rows++ && !writer->lines)
		fputs(",\n", writer->out);
	written = object && !json_dumpf(object, writer->out, DUMP_FLAGS);
	if (writer->lines)
		putc('\n', writer->out);
	json_decref(object);
	return written && !ferror(writer->out);
}

static void write_text(const char *text, FILE *out)
{
	putc('"', out);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			putc('\\', out);
		/* texts of reports hold no control bytes */
		putc(*text, out);
	}
	putc('"', out);
}

static void write_addresses(const struct memheap_addresses *addresses, FILE *out)
{
	putc('[', out);
	for (size_t i = 0; i < addresses->count; i++)
		fprintf(out, "%s\"0x%" PRIx64 "\"", i ? ", " : "", addresses->items[i]);
	putc(']', out);
}

static void write_texts(const struct memheap_texts *texts, FILE *out)
{
	putc('[', out);
	for (size_t i = 0; i < texts->count; i++) {
		if (i)
			fputs(", ", out);
		write_text(texts->items[i], out);
	}
	putc(']', out);
}

static void write_cell(enum memheap_kind kind, const struct memheap_cell *cell, FILE *out)
{
	if (!cell->present) {
		fputs("null", out);
		return;
	}
	switch (kind) {
	case MEMHEAP_TEXT:
		write_text(cell->text, out);
		return;
	case MEMHEAP_ADDRESS:
		fprintf(out, "\"0x%" PRIx64 "\"", cell->number);
		return;
	case MEMHEAP_ADDRESSES:
		write_addresses(cell->addresses, out);
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

/* The same as write_row(), by hand. */
static bool write_streamed_row(void *closure, const struct memheap_cell *cells)
{
	struct writer *writer = closure;
	const struct memheap_table_shape *shape = writer->shape;
	bool first = true;

	if (writer->rows++ && !writer->lines)
		fputs(",\n", writer->out);
	putc('{', writer->out);
	for (size_t i = 0; i < shape->column_count; i++) {
		const struct memheap_column *column = &shape->columns[i];

		if (column->optional && !cells[i].present)
			continue;
		fprintf(writer->out, "%s\"%s\": ", first ? "" : ", ", column->key);
		write_cell(column->kind, &cells[i], writer->out);
		first = false;
	}
	putc('}', writer->out);
	if (writer->lines)
		putc('\n', writer->out);
	return !ferror(writer->out);
}

static bool write_rows(const struct memheap_table *table, struct writer *writer)
{
	writer->shape = memheap_table_shape_of(table);
	return memheap_table_each(
		table, memheap_table_is_streamed(table) ? write_streamed_row : write_row, writer);
}

static bool write_array(const struct memheap_table *table, FILE *out)
{
	struct writer writer = { .out = out };
	bool written;

	fputs("[\n", out);
	written = write_rows(table, &writer);
	fputs(writer.rows ? "\n]" : "]", out);
	return written;
}

/* Whether table `key` lies inside of record `parent`; its own name there goes to `*name`. */
static bool is_inside(const char *key, const char *parent, const char **name)
{
	size_t length = strlen(parent);

	if (strncmp(key, parent, length) || key[length] != '.')
		return false;
	*name = key + length + 1;
	return true;
}

/* A record, being made. */
struct record {
	const struct memheap_table_shape *shape;
	json_t *object;
};

static bool keep_object(void *closure, const struct memheap_cell *cells)
{
	struct record *record = closure;

	json_decref(record->object);
	record->object = row_object(record->shape, cells);
	return record->object;
}

/* Writes a record, and the tables that lie inside of it. */
static bool write_record(const struct memheap_report *report, const struct memheap_table *table,
			 FILE *out)
{
	const struct memheap_table_shape *const *shapes = memheap_report_shape_of(report)->tables;
	struct record record = { .shape = memheap_table_shape_of(table) };
	bool written = memheap_table_each(table, keep_object, &record);
	char *text;

	if (!record.object)
		record.object = json_object();
	text = json_dumps(record.object, DUMP_FLAGS);
	json_decref(record.object);
	if (!text)
		return false;
	/* without its closing brace: tables may follow */
	fwrite(text, 1, strlen(text) - 1, out);
	for (size_t i = 0; shapes[i]; i++) {
		const char *name;

		if (!is_inside(shapes[i]->key, record.shape->key, &name))
			continue;
		fprintf(out, "%s\"%s\": ", strcmp(text, "{}") ? ", " : "", name);
		written &= write_array(memheap_report_table(report, shapes[i]->key), out);
	}
	putc('}', out);
	free(text);
	return written;
}

static bool write_json(const struct memheap_report *report, const struct style *style, FILE *out)
{
	const struct memheap_report_shape *shape = memheap_report_shape_of(report);
	bool written = true;

	(void)style;
	fprintf(out, "{\n\"schema\": \"%s\",\n\"schema_version\": \"%s\"", shape->schema,
		shape->schema_version);
	for (size_t i = 0; shape->tables[i]; i++) {
		const struct memheap_table_shape *table = shape->tables[i];
		const struct memheap_table *rows = memheap_report_table(report, table->key);

		if (strchr(table->key, '.'))
			continue;
		fprintf(out, ",\n\"%s\": ", table->key);
		written &= table->flags & MEMHEAP_RECORD ? write_record(report, rows, out)
							 : write_array(rows, out);
	}
	fputs("\n}\n", out);
	return written && !ferror(out);
}

static bool write_jsonl(const struct memheap_report *report, const struct style *style, FILE *out)
{
	struct writer writer = { .out = out, .lines = true };

	return write_rows(format_table(report, style), &writer) && !ferror(out);
}

const struct format format_json = {
	.name = "json",
	.description = "one JSON document",
	.write = write_json,
};

const struct format format_jsonl = {
	.name = "jsonl",
	.description = "one JSON object a line, for each row of one table",
	.write = write_jsonl,
};
