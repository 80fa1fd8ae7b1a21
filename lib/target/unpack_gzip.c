/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <zlib.h>

#include "unpack_format.h"

#define GZIP_ONLY (16 + MAX_WBITS)

static void *create(void)
{
	z_stream *stream = calloc(1, sizeof(*stream));

	if (stream && inflateInit2(stream, GZIP_ONLY) == Z_OK)
		return stream;
	free(stream);
	return NULL;
}

static bool restart(void *stream)
{
	return inflateReset(stream) == Z_OK;
}

static enum unpack_state step(void *opaque, struct unpack_buffers *buffers)
{
	z_stream *stream = opaque;
	int result;

	stream->next_in = (Bytef *)buffers->in;
	stream->avail_in = (uInt)buffers->in_size;
	stream->next_out = buffers->out;
	stream->avail_out = (uInt)buffers->out_size;
	result = inflate(stream, Z_NO_FLUSH);
	unpack_advance(buffers, buffers->in_size - stream->avail_in,
		       buffers->out_size - stream->avail_out);
	switch (result) {
	case Z_OK:
	case Z_BUF_ERROR: /* no progress this time */
		return UNPACK_MORE;
	case Z_STREAM_END:
		return UNPACK_END;
	case Z_MEM_ERROR:
		return UNPACK_NO_MEMORY;
	default:
		return UNPACK_DAMAGED;
	}
}

static void destroy(void *stream)
{
	inflateEnd(stream);
	free(stream);
}

const struct unpack_format unpack_gzip = {
	.name = "gzip",
	.create = create,
	.restart = restart,
	.step = step,
	.destroy = destroy,
};
