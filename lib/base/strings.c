/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strings.h"

#define PAGE_BYTES 65536

struct strings_page {
	struct strings_page *next;
	size_t used, size;
	char text[];
};

static char *reserve(struct strings *strings, size_t size)
{
	struct strings_page *page = strings->pages;
	char *text;

	if (!page || page->size - page->used < size) {
		size_t room = size > PAGE_BYTES ? size : PAGE_BYTES;

		page = malloc(sizeof(*page) + room);
		if (!page)
			return NULL;
		*page = (struct strings_page){ .next = strings->pages, .size = room };
		strings->pages = page;
	}
	text = page->text + page->used;
	page->used += size;
	return text;
}

/* The length of the valid UTF-8 character at `text`, or 0 (RFC 3629, table 3-7 of Unicode). */
static size_t utf8_length(const uint8_t *text, size_t size)
{
	uint8_t low = 0x80, high = 0xBF;
	size_t length;

	if (text[0] < 0x20 || text[0] == 0x7F)
		return 0;
	if (text[0] < 0x80)
		return 1;
	if (text[0] < 0xC2 || text[0] > 0xF4)
		return 0;
	length = text[0] < 0xE0 ? 2 : text[0] < 0xF0 ? 3 : 4;
	if (text[0] == 0xE0)
		low = 0xA0;
	else if (text[0] == 0xED)
		high = 0x9F;
	else if (text[0] == 0xF0)
		low = 0x90;
	else if (text[0] == 0xF4)
		high = 0x8F;
	if (size < length || text[1] < low || text[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((text[i] & 0xC0) != 0x80)
			return 0;
	}
	return length;
}

const char *strings_add(struct strings *strings, const char *text, size_t size)
{
	const uint8_t *bytes = (const uint8_t *)text;
	size_t bad = 0;
	char *copy, *to;

	for (size_t i = 0, length; i < size; i += length ? length : 1) {
		length = utf8_length(bytes + i, size - i);
		bad += !length;
	}
	copy = to = reserve(strings, size + 3 * bad + 1);
	if (!copy)
		return NULL;
	for (size_t i = 0, length; i < size; i += length ? length : 1) {
		length = utf8_length(bytes + i, size - i);
		memcpy(to, text + i, length);
		to += length;
		if (!length)
			to += sprintf(to, "\\x%02x", bytes[i]);
	}
	*to = '\0';
	return copy;
}

const char *strings_format_list(struct strings *strings, const char *format, va_list args)
{
	const char *kept;
	char *text;
	int length = vasprintf(&text, format, args);

	if (length < 0)
		return NULL;
	kept = strings_add(strings, text, (size_t)length);
	free(text);
	return kept;
}

const char *strings_format(struct strings *strings, const char *format, ...)
{
	const char *kept;
	va_list args;

	va_start(args, format);
	kept = strings_format_list(strings, format, args);
	va_end(args);
	return kept;
}

void strings_deinit(struct strings *strings)
{
	for (struct strings_page *page = strings->pages, *next; page; page = next) {
		next = page->next;
		free(page);
	}
	strings->pages = NULL;
}
