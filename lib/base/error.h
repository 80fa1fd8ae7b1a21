/* SPDX-License-Identifier: MIT */
/* Making errors. NULL means success; the caller destroys what it gets. */
#pragma once

#include "../memheap.h"

/* Out of memory: static, so that it can always be returned. */
extern struct memheap_error error_no_memory;

/* An error of `status` that says what was attempted, and on what. */
struct memheap_error *error_create(enum memheap_status status, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The same with the text of `errno` appended; its status follows from errno (EACCES and EPERM
 * are MEMHEAP_NOT_PERMITTED). */
struct memheap_error *error_create_errno(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

/* Adds what the user can do about it; returns `error`. */
struct memheap_error *error_hint(struct memheap_error *error, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static inline void error_cleanup(struct memheap_error **error)
{
	memheap_error_destroy(*error);
}
