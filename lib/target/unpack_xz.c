/* SPDX-License-Identifier: MIT */
#include <lzma.h>
#include <stdlib.h>

#include "unpack_format.h"

static bool restart(void *stream)
{
	return lzma_stream_decoder(stream, UNPACK_MEMORY_MAX, 0) == LZMA_OK;
}

static void *create(void)
{
	lzma_stream *stream = malloc(sizeof(*stream));

	if (!stream)
		return NULL;
	*stream = (lzma_stream)LZMA_STREAM_INIT;
	if (restart(stream))
		return stream;
	free(stream);
	return NULL;
}

static enum unpack_state step(void *opaque, struct unpack_buffers *buffers)
{
	lzma_stream *stream = opaque;
	lzma_ret result;

	stream->next_in = buffers->in;
	stream->avail_in = buffers->in_size;
	stream->next_out = buffers->out;
	stream->avail_out = buffers->out_size;
	result = lzma_code(stream, LZMA_RUN);
	unpack_advance(buffers, buffers->in_size - stream->avail_in,
		       buffers->out_size - stream->avail_out);
	switch (result) {
	case LZMA_OK:
	case LZMA_BUF_ERROR: /* no progress this time */
		return UNPACK_MORE;
	case LZMA_STREAM_END:
		return UNPACK_END;
	case LZMA_MEM_ERROR:
		return UNPACK_NO_MEMORY;
	case LZMA_MEMLIMIT_ERROR:
		return UNPACK_TOO_LARGE;
	default:
		return UNPACK_DAMAGED;
	}
}

static void destroy(void *stream)
{
	lzma_end(stream);
	free(stream);
}

const struct unpack_format unpack_xz = {
	.name = "xz",
	.by_hand = "xz -d",
	.create = create,
	.restart = restart,
	.step = step,
	.destroy = destroy,
};
