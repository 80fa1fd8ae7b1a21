/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../base/cleanup.h"
#include "../base/vaddr.h"
#include "spool.h"

#define HOLE 4096UL

/* For file systems without O_TMPFILE: no signal may come while the file has a name. */
static int create_and_unlink(const char *directory)
{
	sigset_t all, before;
	int fd, failure;

	_cleanup_free_ char *path = NULL;
	if (asprintf(&path, "%s/memheap.XXXXXX", directory) < 0) {
		path = NULL;
		errno = ENOMEM;
		return -1;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	fd = mkostemp(path, O_CLOEXEC);
	failure = errno;
	if (fd >= 0)
		unlink(path);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = failure;
	return fd;
}

static bool free_bytes(const struct spool *spool, uint64_t *ret)
{
	struct statvfs status;

	if (fstatvfs(spool->fd, &status))
		return false;
	*ret = (uint64_t)status.f_bavail * status.f_frsize;
	return true;
}

struct memheap_error *spool_create(struct spool *spool, const char *directory, uint64_t least,
				   const char *doing)
{
	uint64_t available;

	*spool = (struct spool){ .directory = directory };
	spool->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (spool->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		spool->fd = create_and_unlink(directory);
	if (spool->fd < 0)
		return error_hint(
			error_create_errno("cannot %s: cannot make a file in %s", doing, directory),
			"give another directory: --tmpdir DIR");
	if (!free_bytes(spool, &available) || available >= least)
		return NULL;
	return error_hint(error_create(MEMHEAP_FAILED,
				       "cannot %s: no space left in %s: %llu bytes are free, more "
				       "than %llu are needed",
				       doing, directory, (unsigned long long)available,
				       (unsigned long long)least),
			  "give a directory with more space: --tmpdir DIR");
}

static bool is_hole(const uint8_t *bytes, size_t size)
{
	static const uint8_t zeros[HOLE];

	return size == HOLE && !memcmp(bytes, zeros, HOLE);
}

static bool write_at(struct spool *spool, const uint8_t *bytes, size_t size, uint64_t at)
{
	while (size) {
		ssize_t done = pwrite(spool->fd, bytes, size, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return false;
		bytes += done;
		size -= (size_t)done;
		at += (uint64_t)done;
		spool->written += (uint64_t)done;
	}
	return true;
}

bool spool_append(struct spool *spool, const uint8_t *bytes, size_t size)
{
	uint64_t available;
	size_t at = 0;

	if (free_bytes(spool, &available) && available < size) {
		errno = ENOSPC;
		return false;
	}
	while (at < size) {
		size_t begin, page;

		for (; at < size && is_hole(bytes + at, MIN(HOLE, size - at)); at += HOLE)
			;
		for (begin = at; at < size; at += page) {
			page = MIN(HOLE, size - at);
			if (is_hole(bytes + at, page))
				break;
		}
		if (!write_at(spool, bytes + begin, at - begin, spool->size + begin))
			return false;
	}
	spool->size += size;
	return true;
}

bool spool_end(const struct spool *spool)
{
	return !ftruncate(spool->fd, (off_t)spool->size);
}
