/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "../base/cleanup.h"
#include "dict_keys.h"
#include "values.h"

#define LONG_DIGIT_BITS 30
#define DICT_LOOKUP_MAX 1000000
#define HASHED_MAX      256
#define FNV_START       0xcbf29ce484222325
#define FNV_FACTOR      0x100000001b3

/* Where the characters of a str are. */
struct characters {
	vaddr at;
	uint64_t count;
	unsigned width; /* 1, 2 or 4 */
	bool ascii;
};

/* 2.7: str of bytes, or unicode, whose characters lie elsewhere. */
static bool find_old_characters(const struct memory *memory, vaddr at, struct characters *ret)
{
	const struct layout *layout = memory->layout;
	uint64_t type, flags, data;

	if (!memory_field(memory, at, FIELD_OBJECT_TYPE, &type) ||
	    !memory_field(memory, type, FIELD_TYPE_FLAGS, &flags))
		return false;
	if (flags & layout_constant(layout, CONSTANT_TYPE_IS_STR)) {
		ret->at = at + layout_offset(layout, FIELD_BYTES_DATA);
		ret->width = 1;
		ret->ascii = true;
		return memory_field(memory, at, FIELD_VAR_SIZE, &ret->count);
	}
	if (!(flags & layout_constant(layout, CONSTANT_TYPE_IS_UNICODE)) ||
	    !memory_field(memory, at, FIELD_UNICODE_DATA, &data))
		return false;
	ret->at = data;
	ret->width = (unsigned)layout_constant(layout, CONSTANT_UNICODE_WIDTH);
	ret->ascii = false;
	return memory_field(memory, at, FIELD_UNICODE_LENGTH, &ret->count);
}

static bool find_characters(const struct memory *memory, vaddr at, struct characters *ret)
{
	const struct layout *layout = memory->layout;
	const uint8_t *bytes = memory_struct(memory, at, SIZE_ASCII);
	uint64_t data;

	if (!layout_has(layout, FIELD_STR_KIND))
		return find_old_characters(memory, at, ret);
	if (!bytes)
		return false;
	ret->width = (unsigned)field_load(layout, bytes, FIELD_STR_KIND);
	ret->count = field_load(layout, bytes, FIELD_STR_LENGTH);
	ret->ascii = field_load(layout, bytes, FIELD_STR_ASCII);
	if (ret->width != 1 && ret->width != 2 && ret->width != 4)
		return false;
	if (!field_load(layout, bytes, FIELD_STR_COMPACT)) {
		if (!memory_field(memory, at, FIELD_STR_DATA, &data))
			return false;
		ret->at = data;
	} else {
		ret->at = at + layout_offset(layout, ret->ascii ? SIZE_ASCII : SIZE_COMPACT_STR);
	}
	return true;
}

static uint32_t load_character(const uint8_t *bytes, unsigned width, uint64_t index)
{
	return width == 1   ? bytes[index]
	       : width == 2 ? load_u16(bytes + index * 2)
			    : load_u32(bytes + index * 4);
}

static size_t put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xC0 | c >> 6);
		to[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c >= 0xD800 && c < 0xE000)
		return (size_t)sprintf(to, "\\u%04x", c);
	if (c < 0x10000) {
		to[0] = (char)(0xE0 | c >> 12);
		to[1] = (char)(0x80 | (c >> 6 & 0x3F));
		to[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	if (c > 0x10FFFF)
		return (size_t)sprintf(to, "?");
	to[0] = (char)(0xF0 | c >> 18);
	to[1] = (char)(0x80 | (c >> 12 & 0x3F));
	to[2] = (char)(0x80 | (c >> 6 & 0x3F));
	to[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

const char *str_value(const struct memory *memory, vaddr at, size_t limit, struct strings *strings)
{
	struct characters characters;
	const uint8_t *bytes;
	size_t count, length = 0;

	if (!find_characters(memory, at, &characters))
		return NULL;
	count = (size_t)MIN(characters.count, limit);
	bytes = image_at(memory->image, characters.at, count * characters.width);
	if (!bytes)
		return NULL;
	_cleanup_free_ char *text = malloc(count * 7 + 1);
	if (!text)
		return NULL;
	for (size_t i = 0; i < count; i++)
		length += put_utf8(text + length, load_character(bytes, characters.width, i));
	return strings_add(strings, text, length);
}

bool str_equals(const struct memory *memory, vaddr at, const char *text)
{
	struct characters characters;
	const uint8_t *bytes;

	if (!find_characters(memory, at, &characters) || !characters.ascii ||
	    characters.width != 1 || characters.count != strlen(text))
		return false;
	bytes = image_at(memory->image, characters.at, characters.count);
	return bytes && !memcmp(bytes, text, characters.count);
}

/* The characters of a compact ASCII str, of which there are fewer than `limit`; NULL for another.
 */
static const uint8_t *ascii_characters(const struct memory *memory, vaddr at, size_t limit,
				       size_t *count)
{
	struct characters characters;

	if (!find_characters(memory, at, &characters) || !characters.ascii ||
	    characters.width != 1 || characters.count >= limit)
		return NULL;
	*count = characters.count;
	return image_at(memory->image, characters.at, characters.count);
}

bool str_copy(const struct memory *memory, vaddr at, char *ret, size_t size)
{
	size_t count;
	const uint8_t *bytes = ascii_characters(memory, at, size, &count);

	if (!bytes)
		return false;
	memcpy(ret, bytes, count);
	ret[count] = '\0';
	return true;
}

uint64_t str_hash(const struct memory *memory, vaddr at)
{
	uint64_t hash = FNV_START;
	size_t count;
	const uint8_t *bytes = ascii_characters(memory, at, HASHED_MAX, &count);

	for (size_t i = 0; bytes && i < count; i++)
		hash = (hash ^ bytes[i]) * FNV_FACTOR;
	return bytes ? hash : 0;
}

/* Whether 2.7's int, of machine size, lies at `at`. */
static bool is_old_int(const struct memory *memory, vaddr at)
{
	uint64_t type, flags;

	return layout_has(memory->layout, FIELD_INT_VALUE) &&
	       memory_field(memory, at, FIELD_OBJECT_TYPE, &type) &&
	       memory_field(memory, type, FIELD_TYPE_FLAGS, &flags) &&
	       flags & layout_constant(memory->layout, CONSTANT_TYPE_IS_INT);
}

bool long_value(const struct memory *memory, vaddr at, int64_t *ret)
{
	const struct layout *layout = memory->layout;
	const uint8_t *bytes = memory_struct(memory, at, SIZE_LONG);
	uint64_t count, digits = layout_offset(layout, FIELD_LONG_DIGITS);
	bool negative;
	uint64_t machine;
	int64_t value;

	if (is_old_int(memory, at)) {
		if (!memory_field(memory, at, FIELD_INT_VALUE, &machine))
			return false;
		*ret = (int64_t)machine;
		return true;
	}
	if (!bytes)
		return false;
	if (layout_has(layout, FIELD_LONG_TAG)) {
		uint64_t tag = field_load(layout, bytes, FIELD_LONG_TAG);

		count = tag >> layout_constant(layout, CONSTANT_LONG_TAG_SHIFT);
		negative = (tag & 3) == 2;
	} else {
		int64_t size = (int64_t)field_load(layout, bytes, FIELD_VAR_SIZE);

		negative = size < 0;
		count = negative ? -(uint64_t)size : (uint64_t)size;
	}
	if (count > 2)
		return false;
	value = count ? load_u32(bytes + digits) : 0;
	if (count == 2)
		value |= (int64_t)load_u32(bytes + digits + 4) << LONG_DIGIT_BITS;
	*ret = negative ? -value : value;
	return true;
}

void dict_each(const struct memory *memory, vaddr at, dict_entry_fn *fn, void *closure)
{
	struct dict_keys keys;
	uint64_t table;

	if (!memory_field(memory, at, FIELD_DICT_KEYS, &table) ||
	    !dict_keys_read(memory, table, &keys) || keys.split)
		return;
	for (uint64_t i = 0; i < MIN(keys.used, (uint64_t)DICT_LOOKUP_MAX); i++) {
		vaddr key, value;

		if (dict_keys_entry(memory, &keys, i, &key, &value) && key && value &&
		    !fn(closure, key, value))
			return;
	}
}

/* Where a split dict keeps its values. */
static vaddr split_values(const struct memory *memory, vaddr dict)
{
	uint64_t values;

	if (!memory_field(memory, dict, FIELD_DICT_VALUES, &values) || !values)
		return 0;
	return values + layout_offset(memory->layout, FIELD_VALUES_ITEMS);
}

bool dict_lookup(const struct memory *memory, vaddr at, const char *name, vaddr *ret)
{
	vaddr values = split_values(memory, at);
	struct dict_keys keys;

	if (!dict_keys_of(memory, at, &keys))
		return false;
	for (uint64_t i = 0; i < keys.used && i < DICT_LOOKUP_MAX; i++) {
		vaddr key, value;

		if (!dict_keys_entry(memory, &keys, i, &key, &value))
			return false;
		if (!key || !str_equals(memory, key, name))
			continue;
		if (values && !image_u64(memory->image, values + i * sizeof(vaddr), &value))
			return false;
		if (!value)
			continue;
		*ret = value;
		return true;
	}
	return false;
}
