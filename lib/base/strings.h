/* SPDX-License-Identifier: MIT */
/* Strings that die together. Every string kept here is valid UTF-8. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

struct strings {
	struct strings_page *pages;
};

/* A copy of `size` bytes of text; what is not UTF-8 (or is a control byte) becomes \xNN.
 * NULL when out of memory. */
const char *strings_add(struct strings *strings, const char *text, size_t size);

/* A formatted string, likewise. */
const char *strings_format(struct strings *strings, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
const char *strings_format_list(struct strings *strings, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

void strings_deinit(struct strings *strings);
