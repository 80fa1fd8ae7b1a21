/* SPDX-License-Identifier: MIT */
/* JSON Schemas, made from the declarations of the reports' tables. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "formats.h"

static json_t *type_schema(const struct memheap_column *column)
{
	static const char *const types[] = {
		[MEMHEAP_TEXT] = "string",     [MEMHEAP_BYTES] = "integer",
		[MEMHEAP_COUNT] = "integer",   [MEMHEAP_NUMBER] = "integer",
		[MEMHEAP_ADDRESS] = "string",  [MEMHEAP_PERCENT] = "number",
		[MEMHEAP_FLAG] = "boolean",    [MEMHEAP_ID] = "integer",
		[MEMHEAP_ADDRESSES] = "array", [MEMHEAP_TEXTS] = "array",
	};
	json_t *schema = json_pack("{s:[s, s], s:s}", "type", types[column->kind], "null",
				   "description", column->doc);

	if (column->kind == MEMHEAP_ADDRESSES)
		json_object_set_new(
			schema, "items",
			json_pack("{s:s, s:s}", "type", "string", "pattern", "^0x[0-9a-f]+$"));
	if (column->kind == MEMHEAP_TEXTS)
		json_object_set_new(schema, "items", json_pack("{s:s}", "type", "string"));
	if (column->kind == MEMHEAP_ADDRESS)
		json_object_set_new(schema, "pattern", json_string("^0x[0-9a-f]+$"));
	if (column->kind == MEMHEAP_BYTES || column->kind == MEMHEAP_COUNT ||
	    column->kind == MEMHEAP_ID)
		json_object_set_new(schema, "minimum", json_integer(0));
	return schema;
}

static json_t *row_schema(const struct memheap_table_shape *shape)
{
	json_t *properties = json_object(), *required = json_array();

	for (size_t i = 0; i < shape->column_count; i++) {
		const struct memheap_column *column = &shape->columns[i];

		json_object_set_new(properties, column->key, type_schema(column));
		if (!column->optional)
			json_array_append_new(required, json_string(column->key));
	}
	return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties,
			 "required", required, "additionalProperties", 0);
}

static json_t *table_schema(const struct memheap_table_shape *shape)
{
	json_t *row = row_schema(shape);

	if (!(shape->flags & MEMHEAP_RECORD))
		row = json_pack("{s:s, s:o}", "type", "array", "items", row);
	json_object_set_new(row, "description", json_string(shape->doc));
	return row;
}

/* Puts the schema of `shape` into that of its parent: the document, or a record. */
static void place(json_t *properties, json_t *required, const struct memheap_table_shape *shape)
{
	const char *dot = strchr(shape->key, '.');
	json_t *record;
	char *parent;

	if (!dot) {
		json_object_set_new(properties, shape->key, table_schema(shape));
		json_array_append_new(required, json_string(shape->key));
		return;
	}
	parent = strndup(shape->key, (size_t)(dot - shape->key));
	record = parent ? json_object_get(properties, parent) : NULL;
	free(parent);
	json_object_set_new(json_object_get(record, "properties"), dot + 1, table_schema(shape));
	json_array_append_new(json_object_get(record, "required"), json_string(dot + 1));
}

bool format_write_schema(const struct memheap_report_shape *shape, FILE *out)
{
	json_t *properties = json_pack("{s:{s:s}, s:{s:s}}", "schema", "const", shape->schema,
				       "schema_version", "const", shape->schema_version);
	json_t *required = json_pack("[s, s]", "schema", "schema_version"), *schema;
	bool written;

	for (size_t i = 0; shape->tables[i]; i++)
		place(properties, required, shape->tables[i]);
	schema = json_pack("{s:s, s:s, s:s, s:o, s:o, s:b}", "$schema",
			   "https://json-schema.org/draft/2020-12/schema", "title", shape->title,
			   "type", "object", "properties", properties, "required", required,
			   "additionalProperties", 0);
	written = schema && !json_dumpf(schema, out, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putc('\n', out);
	json_decref(schema);
	return written && !ferror(out);
}
