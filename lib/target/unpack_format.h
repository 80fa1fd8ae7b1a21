/* SPDX-License-Identifier: MIT */
/*
 * How one compression format is unpacked. Each is a file, unpack_NAME.c, the only one that knows
 * its library, and a row in unpack.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNPACK_MEMORY_MAX (256UL << 20) /* what a stream may make its library allocate */

/* What is left of both buffers: a step takes from one and writes to the other. */
struct unpack_buffers {
	const uint8_t *in;
	size_t in_size;
	uint8_t *out;
	size_t out_size;
};

enum unpack_state {
	UNPACK_MORE, /* it took and gave what it could */
	UNPACK_END,  /* at the end of a frame; after a restart another one can follow */
	UNPACK_DAMAGED,
	UNPACK_TOO_LARGE, /* it needs more than UNPACK_MEMORY_MAX */
	UNPACK_NO_MEMORY,
};

struct unpack_format {
	const char *name;
	const char
		*by_hand; /* the command that unpacks what is UNPACK_TOO_LARGE; NULL: nothing is */
	void *(*create)(void);
	bool (*restart)(void *stream);
	enum unpack_state (*step)(void *stream, struct unpack_buffers *buffers);
	void (*destroy)(void *stream);
};

extern const struct unpack_format unpack_gzip, unpack_lz4, unpack_xz, unpack_zstd;

static inline void unpack_advance(struct unpack_buffers *buffers, size_t taken, size_t given)
{
	buffers->in += taken;
	buffers->in_size -= taken;
	buffers->out += given;
	buffers->out_size -= given;
}
