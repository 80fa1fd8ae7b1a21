/* SPDX-License-Identifier: MIT */
/* Cores that cannot be mapped as they are: compressed ones, and those that come through a pipe. */
#pragma once

#include "../base/error.h"

/* What a stream was. */
struct unpacked {
	const char *format; /* "zstd"; NULL: it was not compressed */
	const char *flaw;   /* "ends early", "is damaged"; NULL: it was whole */
	uint64_t flaw_at;   /* near which byte of the stream */
	bool stopped;       /* it has more, which nobody asked for */
};

struct unpack_request {
	int fd;
	const char *path;      /* what to call it in messages */
	uint64_t size;         /* bytes to read; 0: not known */
	const char *directory; /* for the temporary file */
	/* Whether these first `size` bytes of the core are enough; NULL: all of it is wanted. */
	bool (*enough)(int fd, uint64_t size);
	struct memheap_progress progress;
};

/* How a file that begins with these bytes is compressed; NULL when it can't be unpacked here. */
const char *unpack_format_name(const uint8_t *bytes, size_t size);

/*
 * Unpacks or copies the stream into a temporary file without a name, whose descriptor becomes
 * `ret_fd`. A damaged stream is no error: the file then holds what came before the damage. Of
 * what is no ELF file only the beginning is unpacked.
 */
struct memheap_error *unpack(const struct unpack_request *request, struct unpacked *ret,
			     int *ret_fd);
