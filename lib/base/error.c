/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

struct memheap_error error_no_memory = {
	.status = MEMHEAP_FAILED,
	.message = (char[]){ "out of memory" },
};

static struct memheap_error *create(enum memheap_status status, char *message)
{
	struct memheap_error *error;

	if (!message)
		return &error_no_memory;
	error = malloc(sizeof(*error));
	if (!error) {
		free(message);
		return &error_no_memory;
	}
	*error = (struct memheap_error){ .status = status, .message = message };
	return error;
}

static char *format_text(const char *format, va_list args)
{
	char *text;

	return vasprintf(&text, format, args) < 0 ? NULL : text;
}

struct memheap_error *error_create(enum memheap_status status, const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = format_text(format, args);
	va_end(args);
	return create(status, text);
}

struct memheap_error *error_create_errno(const char *format, ...)
{
	bool forbidden = errno == EACCES || errno == EPERM;
	const char *reason = strerror(errno);
	struct memheap_error *error;
	va_list args;
	char *text;

	va_start(args, format);
	text = format_text(format, args);
	va_end(args);
	if (!text)
		return &error_no_memory;
	error = error_create(forbidden ? MEMHEAP_NOT_PERMITTED : MEMHEAP_FAILED, "%s: %s", text,
			     reason);
	free(text);
	return error;
}

struct memheap_error *error_hint(struct memheap_error *error, const char *format, ...)
{
	va_list args;
	char *hint;

	if (error == &error_no_memory)
		return error;
	va_start(args, format);
	hint = format_text(format, args); /* the old one may be among the arguments */
	va_end(args);
	free(error->hint);
	error->hint = hint;
	return error;
}

void memheap_error_destroy(struct memheap_error *error)
{
	if (!error || error == &error_no_memory)
		return;
	free(error->message);
	free(error->hint);
	free(error);
}
