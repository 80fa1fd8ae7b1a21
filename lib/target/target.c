/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf_core.h"
#include "target.h"

#define DROP_BYTES (16UL << 20)

/* What a file that is no core may be, by its first bytes. */
static const struct format {
	const char *magic;
	size_t size;
	const char *name, *unpack;
} formats[] = {
	{ "\x28\xb5\x2f\xfd", 4, "zstd", "zstd -d" },
	{ "\x1f\x8b", 2, "gzip", "gzip -d" },
	{ "\xfd\x37zXZ", 5, "xz", "xz -d" },
	{ "\x04\x22\x4d\x18", 4, "lz4", "lz4 -d" },
	{ "BZh", 3, "bzip2", "bzip2 -d" },
};

static struct memheap_error *check_magic(const struct target *target)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct format *format = &formats[i];

		if (target->file_size < format->size ||
		    memcmp(target->file, format->magic, format->size))
			continue;
		return error_hint(error_create(MEMHEAP_FAILED,
					       "cannot read %s: it is compressed with %s",
					       target->path, format->name),
				  "unpack it first: %s %s", format->unpack, target->path);
	}
	return NULL;
}

static struct memheap_error *map_file(struct target *target)
{
	struct stat status;
	void *file;

	target->fd = open(target->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (target->fd < 0 || fstat(target->fd, &status))
		return error_create_errno("cannot open %s", target->path);
	if (!S_ISREG(status.st_mode))
		return error_hint(error_create(MEMHEAP_FAILED,
					       "cannot read %s: it is not a regular file",
					       target->path),
				  "save the core to a file first");
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

struct memheap_error *target_open(struct target *target, const char *path)
{
	struct memheap_error *error;

	*target = (struct target){ .fd = -1, .path = strdup(path) };
	if (!target->path)
		return &error_no_memory;
	error = map_file(target);
	if (!error)
		error = check_magic(target);
	if (!error)
		error = elf_core_load(target);
	return error;
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
	process_deinit(&target->process);
	image_deinit(&target->image);
	free(target->path);
	*target = (struct target){ .fd = -1 };
}
