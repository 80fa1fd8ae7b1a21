/* SPDX-License-Identifier: MIT */
#include <zstd.h>
#include <zstd_errors.h>

#include "unpack_format.h"

static void *create(void)
{
	/* refuses windows of more than 128 MiB, as zstd itself does unless it is told otherwise */
	return ZSTD_createDStream();
}

static bool restart(void *stream)
{
	return !ZSTD_isError(ZSTD_DCtx_reset(stream, ZSTD_reset_session_only));
}

static enum unpack_state step(void *stream, struct unpack_buffers *buffers)
{
	ZSTD_inBuffer in = { buffers->in, buffers->in_size, 0 };
	ZSTD_outBuffer out = { buffers->out, buffers->out_size, 0 };
	size_t left = ZSTD_decompressStream(stream, &out, &in);

	unpack_advance(buffers, in.pos, out.pos);
	if (!ZSTD_isError(left))
		return left ? UNPACK_MORE : UNPACK_END;
	switch (ZSTD_getErrorCode(left)) {
	case ZSTD_error_memory_allocation:
		return UNPACK_NO_MEMORY;
	case ZSTD_error_frameParameter_windowTooLarge:
		return UNPACK_TOO_LARGE;
	default:
		return UNPACK_DAMAGED;
	}
}

static void destroy(void *stream)
{
	ZSTD_freeDStream(stream);
}

const struct unpack_format unpack_zstd = {
	.name = "zstd",
	.by_hand = "zstd -d --long=31",
	.create = create,
	.restart = restart,
	.step = step,
	.destroy = destroy,
};
