/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/vaddr.h"
#include "spool.h"
#include "unpack.h"
#include "unpack_format.h"

#define IN_BYTES  (8UL << 10) /* small: what zstd and lz4 unpack before damage in it is lost */
#define OUT_BYTES (256UL << 10)

static const struct {
	const char *magic;
	size_t size;
	const struct unpack_format *format;
} magics[] = {
	{ "\x28\xb5\x2f\xfd", 4, &unpack_zstd },
	{ "\x50\x2a\x4d\x18", 4, &unpack_zstd }, /* the skippable frame that pzstd begins with */
	{ "\x04\x22\x4d\x18", 4, &unpack_lz4 },
	{ "\xfd\x37zXZ\0", 6, &unpack_xz },
	{ "\x1f\x8b", 2, &unpack_gzip },
};

struct unpacking {
	const struct unpack_request *request;
	const struct unpack_format *format; /* NULL: a copy */
	void *stream;
	struct spool spool;
	uint64_t taken; /* bytes read of the stream */
	bool ended;     /* nothing more to read */
	bool no_elf;
	bool stopped; /* the reader has enough */
	struct unpack_buffers buffers;
	uint8_t in[IN_BYTES];
	uint8_t out[OUT_BYTES];
};

static const struct unpack_format *format_of(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		if (size >= magics[i].size && !memcmp(bytes, magics[i].magic, magics[i].size))
			return magics[i].format;
	}
	return NULL;
}

const char *unpack_format_name(const uint8_t *bytes, size_t size)
{
	const struct unpack_format *format = format_of(bytes, size);

	return format ? format->name : NULL;
}

static void unpacking_cleanup(struct unpacking **unpacking)
{
	struct unpacking *u = *unpacking;

	if (!u)
		return;
	if (u->stream)
		u->format->destroy(u->stream);
	if (u->spool.fd >= 0)
		close(u->spool.fd);
	free(u);
}

/* Reads until the buffer is full or the stream ends. */
static struct memheap_error *fill(struct unpacking *u)
{
	size_t size = 0;

	while (size < IN_BYTES && !u->ended) {
		struct pollfd ready = { .fd = u->request->fd, .events = POLLIN };
		ssize_t got = read(u->request->fd, u->in + size, IN_BYTES - size);

		if (got < 0 && errno == EAGAIN)
			poll(&ready, 1, -1);
		else if (got < 0 && errno != EINTR)
			return error_create_errno("cannot read %s", u->request->path);
		else if (got == 0)
			u->ended = true;
		else if (got > 0)
			size += (size_t)got;
	}
	u->taken += size;
	u->buffers.in = u->in;
	u->buffers.in_size = size;
	return NULL;
}

static struct memheap_error *cannot_write(const struct unpacking *u)
{
	const char *doing = u->format ? "unpack" : "save", *directory = u->spool.directory;
	unsigned long long written = u->spool.written;
	double share = (double)u->taken / (double)MAX(u->request->size, u->taken);
	struct memheap_error *error;

	if (errno != ENOSPC && errno != EDQUOT)
		error = error_create_errno("cannot %s %s: cannot write a file in %s", doing,
					   u->request->path, directory);
	else if (u->request->size)
		error = error_create(MEMHEAP_FAILED,
				     "cannot %s %s: no space left in %s: %llu bytes are written, "
				     "about %.0f are needed",
				     doing, u->request->path, directory, written,
				     ((double)written + OUT_BYTES) / share);
	else
		error = error_create(MEMHEAP_FAILED,
				     "cannot %s %s: no space left in %s: %llu bytes are written",
				     doing, u->request->path, directory, written);
	return error_hint(error, "give a directory with more space: --tmpdir DIR");
}

/* Writes what was unpacked. */
static struct memheap_error *flush(struct unpacking *u)
{
	const struct memheap_progress *progress = &u->request->progress;
	size_t size = OUT_BYTES - u->buffers.out_size;

	if (!u->spool.size)
		u->no_elf = size < 4 || memcmp(u->out, "\177ELF", 4);
	if (!spool_append(&u->spool, u->out, size))
		return cannot_write(u);
	u->stopped = u->request->enough && u->request->enough(u->spool.fd, u->spool.size);
	u->buffers.out = u->out;
	u->buffers.out_size = OUT_BYTES;
	if (progress->update)
		progress->update(progress->closure, u->format ? "unpacking" : "reading",
				 u->taken - u->buffers.in_size, u->request->size);
	return NULL;
}

static struct memheap_error *copy_all(struct unpacking *u)
{
	struct memheap_error *error = NULL;

	while (!error && !u->no_elf && !u->stopped && (u->buffers.in_size || !u->ended)) {
		memcpy(u->buffers.out, u->buffers.in, u->buffers.in_size);
		unpack_advance(&u->buffers, u->buffers.in_size, u->buffers.in_size);
		if (!u->buffers.out_size)
			error = flush(u);
		if (!error)
			error = fill(u);
	}
	return error;
}

/* Goes on to the next frame behind zeros, which may pad a frame; false when there is none. */
static bool next_frame(struct unpacking *u)
{
	while (u->buffers.in_size && !*u->buffers.in)
		unpack_advance(&u->buffers, 1, 0);
	return u->buffers.in_size;
}

static struct memheap_error *cannot_unpack(const struct unpacking *u, enum unpack_state state)
{
	if (state == UNPACK_NO_MEMORY)
		return &error_no_memory;
	return error_hint(error_create(MEMHEAP_FAILED,
				       "cannot unpack %s: that takes more than %lu MiB of memory",
				       u->request->path, UNPACK_MEMORY_MAX >> 20),
			  "unpack it first: %s", u->format->by_hand);
}

/* One step of one frame; `whole` is whether all is well if nothing follows. */
static struct memheap_error *unpack_some(struct unpacking *u, struct unpacked *ret, bool *whole)
{
	size_t before = u->buffers.in_size + u->buffers.out_size;
	enum unpack_state state;
	bool stuck;

	if (*whole && !u->format->restart(u->stream))
		return &error_no_memory;
	state = u->format->step(u->stream, &u->buffers);
	stuck = u->buffers.in_size + u->buffers.out_size == before;
	*whole = state == UNPACK_END;
	if (state == UNPACK_NO_MEMORY || state == UNPACK_TOO_LARGE)
		return cannot_unpack(u, state);
	if (state == UNPACK_DAMAGED || (stuck && u->buffers.in_size))
		ret->flaw = "is damaged";
	else if (stuck && u->ended)
		ret->flaw = "ends early";
	return u->buffers.out_size ? NULL : flush(u);
}

static struct memheap_error *unpack_all(struct unpacking *u, struct unpacked *ret)
{
	struct memheap_error *error = NULL;
	bool whole = false;

	ret->format = u->format->name;
	u->stream = u->format->create();
	if (!u->stream)
		return &error_no_memory;
	while (!error && !ret->flaw && !u->no_elf && !u->stopped) {
		if (!u->buffers.in_size)
			error = fill(u);
		if (error || (whole && !next_frame(u) && u->ended))
			break;
		if (!whole || u->buffers.in_size)
			error = unpack_some(u, ret, &whole);
	}
	ret->flaw_at = u->taken - u->buffers.in_size;
	return error;
}

/* Reads the first bytes, which tell the format, and makes the file to write to. */
static struct memheap_error *begin(struct unpacking *u, const struct unpack_request *request)
{
	struct memheap_error *error;

	u->request = request;
	u->spool.fd = -1;
	u->buffers.out = u->out;
	u->buffers.out_size = OUT_BYTES;
	error = fill(u);
	if (error)
		return error;
	u->format = format_of(u->in, u->buffers.in_size);
	_cleanup_free_ char *doing = NULL;
	if (asprintf(&doing, "%s %s", u->format ? "unpack" : "save", request->path) < 0) {
		doing = NULL;
		return &error_no_memory;
	}
	/* a core is larger than what it is compressed to */
	return spool_create(&u->spool, request->directory, request->enough ? 0 : request->size,
			    doing);
}

struct memheap_error *unpack(const struct unpack_request *request, struct unpacked *ret,
			     int *ret_fd)
{
	_cleanup_(unpacking_cleanup) struct unpacking *u = calloc(1, sizeof(*u));
	struct memheap_error *error;

	if (!u)
		return &error_no_memory;
	*ret = (struct unpacked){ 0 };
	error = begin(u, request);
	if (!error)
		error = u->format ? unpack_all(u, ret) : copy_all(u);
	if (!error && u->buffers.out_size < OUT_BYTES)
		error = flush(u);
	ret->stopped = u->stopped;
	if (!error && !spool_end(&u->spool))
		error = cannot_write(u);
	if (!error)
		*ret_fd = take_fd(u->spool.fd);
	return error;
}
