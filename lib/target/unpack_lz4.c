/* SPDX-License-Identifier: MIT */
#include <lz4frame.h>

#include "unpack_format.h"

static void *create(void)
{
	LZ4F_dctx *stream;

	return LZ4F_isError(LZ4F_createDecompressionContext(&stream, LZ4F_VERSION)) ? NULL : stream;
}

static bool restart(void *stream)
{
	LZ4F_resetDecompressionContext(stream);
	return true;
}

/* Blocks have at most 4 MiB, so has what the library allocates. */
static enum unpack_state step(void *stream, struct unpack_buffers *buffers)
{
	size_t taken = buffers->in_size, given = buffers->out_size;
	size_t left = LZ4F_decompress(stream, buffers->out, &given, buffers->in, &taken, NULL);

	if (LZ4F_isError(left))
		return UNPACK_DAMAGED;
	unpack_advance(buffers, taken, given);
	return left ? UNPACK_MORE : UNPACK_END;
}

static void destroy(void *stream)
{
	LZ4F_freeDecompressionContext(stream);
}

const struct unpack_format unpack_lz4 = {
	.name = "lz4",
	.create = create,
	.restart = restart,
	.step = step,
	.destroy = destroy,
};
