/* SPDX-License-Identifier: MIT */
#include "lines.h"

#define TABLE_MAX      (1 << 24)
#define UNIT_BYTES     2 /* of an instruction */
#define NO_LINE        (-128)
#define VARINT_BITS    6
#define VARINT_MORE    0x40
#define KIND_ONE_LINE  10 /* and 11, 12: that many lines on */
#define KIND_NO_COLUMN 13
#define KIND_LONG      14
#define KIND_NONE      15

/* A table of lines: a bytes object's content. */
struct table {
	const uint8_t *bytes;
	uint64_t size, at;
};

static bool find_table(const struct memory *memory, vaddr code, struct table *ret)
{
	uint64_t object, size;

	if (!memory_field(memory, code, FIELD_CODE_LINETABLE, &object) ||
	    !memory_field(memory, object, FIELD_VAR_SIZE, &size) || size > TABLE_MAX)
		return false;
	ret->bytes =
		image_at(memory->image, memory_address(memory, object, FIELD_BYTES_DATA), size);
	ret->size = size;
	ret->at = 0;
	return ret->bytes;
}

static uint64_t read_varint(struct table *table)
{
	uint64_t value = 0;

	for (unsigned shift = 0; table->at < table->size && shift < 60; shift += VARINT_BITS) {
		uint8_t byte = table->bytes[table->at++];

		value |= (uint64_t)(byte & (VARINT_MORE - 1)) << shift;
		if (!(byte & VARINT_MORE))
			break;
	}
	return value;
}

static int64_t read_signed_varint(struct table *table)
{
	uint64_t value = read_varint(table);

	return value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
}

/* 3.11 and later: Objects/locations.md */
static int64_t search_locations(struct table *table, uint64_t offset, int64_t line)
{
	uint64_t end = 0;

	while (table->at < table->size) {
		uint8_t first = table->bytes[table->at++], kind = first >> 3 & 15;

		end += ((first & 7) + 1ULL) * UNIT_BYTES;
		if (kind == KIND_LONG || kind == KIND_NO_COLUMN) {
			line += read_signed_varint(table);
			for (int i = 0; kind == KIND_LONG && i < 3; i++)
				read_varint(table);
		} else if (kind >= KIND_ONE_LINE && kind < KIND_NO_COLUMN) {
			line += kind - KIND_ONE_LINE;
			table->at += 2;
		} else if (kind != KIND_NONE) {
			table->at++;
		}
		if (offset < end)
			return kind == KIND_NONE ? 0 : line;
	}
	return 0;
}

/* 3.10: Objects/lnotab_notes.txt; before it, the same file, where a step comes before its line. */
static int64_t search_steps(struct table *table, uint64_t offset, int64_t line,
			    const struct layout *layout)
{
	bool ranges = layout_knows(layout, CONSTANT_LINE_RANGES);
	bool forward = layout_knows(layout, CONSTANT_LINE_STEPS_UNSIGNED);
	uint64_t end = 0;

	for (; table->at + 1 < table->size; table->at += 2) {
		uint8_t byte = table->bytes[table->at + 1];
		int step = forward ? byte : (int8_t)byte;

		end += table->bytes[table->at];
		if (!ranges && end > offset)
			return line;
		if (!ranges || step != NO_LINE)
			line += step;
		if (ranges && offset < end)
			return step == NO_LINE ? 0 : line;
	}
	return ranges ? 0 : line;
}

uint32_t code_line(const struct memory *memory, vaddr code, uint64_t offset)
{
	struct table table;
	uint64_t first;
	int64_t line;

	if (!memory_field(memory, code, FIELD_CODE_FIRST_LINE, &first) ||
	    !find_table(memory, code, &table))
		return 0;
	if (layout_has(memory->layout, FIELD_CODE_INSTRUCTIONS))
		line = search_locations(&table, offset, (int64_t)first);
	else
		line = search_steps(&table, offset, (int64_t)first, memory->layout);
	return line > 0 && line <= UINT32_MAX ? (uint32_t)line : 0;
}
