/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf_core.h"
#include "live/live.h"
#include "target.h"

#define DROP_BYTES (16UL << 20)

/* What cannot be unpacked here. */
static struct memheap_error *check_magic(const struct target *target)
{
	const char *outer = target->unpacked.format;
	const char *inner = unpack_format_name(target->file, target->file_size);

	if (outer && inner)
		return error_hint(
			error_create(MEMHEAP_FAILED,
				     "cannot read %s: it is compressed with %s, then with %s",
				     target->path, inner, outer),
			"unpack it once: %s -d", outer);
	if (target->file_size < 3 || memcmp(target->file, "BZh", 3))
		return NULL;
	return error_hint(error_create(MEMHEAP_FAILED,
				       "cannot read %s: it is compressed with bzip2", target->path),
			  "unpack it first: bzip2 -d %s", target->path);
}

static struct memheap_error *open_input(struct target *target, const char *path)
{
	struct memheap_error *error;

	target->from_input = !strcmp(path, "-");
	target->path = strdup(target->from_input ? "standard input" : path);
	if (!target->path)
		return &error_no_memory;
	if (target->from_input && isatty(STDIN_FILENO))
		return error_hint(error_create(MEMHEAP_USAGE, "cannot read a core from a terminal"),
				  "send it through a pipe, or name a file");
	target->fd = target->from_input ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
					: open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (target->fd >= 0)
		return NULL;
	error = error_create_errno("cannot open %s", target->path);
	return target->from_input
		       ? error_hint(error, "name a file, or send the core through a pipe")
		       : error;
}

/* Puts in place of a stream, compressed or not, a file that holds the core. */
static struct memheap_error *unpack_input(struct target *target,
					  const struct target_options *options, uint64_t size)
{
	const struct unpack_request request = {
		.fd = target->fd,
		.path = target->path,
		.size = size,
		.directory = options->directory ? options->directory : "/var/tmp",
		.enough = options->head ? elf_core_has_head : NULL,
		.progress = options->parallel->progress,
	};
	struct memheap_error *error;
	int fd;

	error = unpack(&request, &target->unpacked, &fd);
	if (error)
		return error;
	close(target->fd);
	target->fd = fd;
	return NULL;
}

/* Makes `fd` a file that can be mapped. */
static struct memheap_error *make_mappable(struct target *target,
					   const struct target_options *options)
{
	struct stat status;
	uint8_t begin[8];
	off_t offset = 0;
	ssize_t size;

	if (fstat(target->fd, &status))
		return error_create_errno("cannot open %s", target->path);
	if (target->from_input && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
		return unpack_input(target, options, 0);
	if (!S_ISREG(status.st_mode))
		return error_hint(
			error_create(MEMHEAP_FAILED, "cannot read %s: it is not a regular file",
				     target->path),
			"save the core to a file first, or give it as standard input (-)");
	if (target->from_input)
		offset = MAX(lseek(target->fd, 0, SEEK_CUR), 0);
	size = pread(target->fd, begin, sizeof(begin), offset);
	if (!offset && !(size > 0 && unpack_format_name(begin, (size_t)size)))
		return NULL;
	return unpack_input(target, options,
			    status.st_size > offset ? (uint64_t)(status.st_size - offset) : 0);
}

static struct memheap_error *map_file(struct target *target)
{
	struct stat status;
	void *file;

	if (fstat(target->fd, &status))
		return error_create_errno("cannot open %s", target->path);
	if (!status.st_size)
		return error_hint(
			error_create(MEMHEAP_FAILED, "cannot read %s: it is empty", target->path),
			"the disk was full, or the limit on cores too low (ulimit -c)");
	file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_NORESERVE,
		    target->fd, 0);
	if (file == MAP_FAILED)
		return error_create_errno("cannot map %s", target->path);
	target->file = file;
	target->file_size = (uint64_t)status.st_size;
	return NULL;
}

/* What is wrong with a compressed stream, behind what is wrong with the core therefore. */
static struct memheap_error *explain_flaw(const struct target *target, struct memheap_error *error)
{
	const struct unpacked *unpacked = &target->unpacked;
	struct memheap_error *longer;

	if (!error || !unpacked->flaw)
		return error;
	longer = error_create(error->status, "%s; its %s stream %s near byte %llu", error->message,
			      unpacked->format, unpacked->flaw,
			      (unsigned long long)unpacked->flaw_at);
	memheap_error_destroy(error);
	return error_hint(longer, "%s", TARGET_FLAW_HINT);
}

static void add_flaw(struct target *target)
{
	const struct gap *truncated = &target->gaps.kinds[GAP_CORE_TRUNCATED];

	if (target->unpacked.flaw)
		gap_add(&target->gaps, GAP_STREAM_DAMAGED, truncated->count ? truncated->first : 0,
			0);
}

struct memheap_error *target_open(struct target *target, const char *path,
				  const struct target_options *options)
{
	struct memheap_error *error;

	*target = (struct target){ .fd = -1 };
	error = open_input(target, path);
	if (!error)
		error = make_mappable(target, options);
	if (!error)
		error = map_file(target);
	if (!error)
		error = check_magic(target);
	if (!error)
		error = elf_core_load(target);
	add_flaw(target);
	return explain_flaw(target, error);
}

static void drop_pages(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct target *target = context;

	(void)worker;
	madvise((void *)(target->file + begin), end - begin, MADV_DONTNEED);
}

void target_close(struct target *target, const struct parallel *parallel)
{
	const struct parallel quiet = { .workers = MAX(parallel->workers, 1U) };

	if (target->file) {
		parallel_for(&quiet, "closing", target->file_size, DROP_BYTES, drop_pages, target);
		munmap((void *)target->file, target->file_size);
	}
	if (target->fd >= 0)
		close(target->fd);
	live_close(target->live);
	process_deinit(&target->process);
	image_deinit(&target->image);
	free(target->path);
	*target = (struct target){ .fd = -1 };
}
