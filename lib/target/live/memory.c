/* SPDX-License-Identifier: MIT */
/*
 * proc(5); Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.current) and
 * cgroup-v1/memory.rst (memory.limit_in_bytes, memory.usage_in_bytes).
 */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/cleanup.h"

#define NO_LIMIT (1ULL << 62) /* v1 writes a number near 2^63 */

/* Where a version of cgroups tells. */
struct version {
	const char *mark; /* how its line in /proc/PID/cgroup goes on behind the number */
	const char *directory;
	const char *limit, *used;
};

static const struct version versions[] = {
	{ ":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes" },
	{ "::", "/sys/fs/cgroup", "memory.max", "memory.current" },
};

/* MEMORY_UNKNOWN when the file has no number. */
static uint64_t read_number(const char *directory, const char *group, const char *name)
{
	char path[PATH_MAX], text[32], *end;
	ssize_t size;
	uint64_t number;

	if (snprintf(path, sizeof(path), "%s%s/%s", directory, group, name) >= (int)sizeof(path))
		return MEMORY_UNKNOWN;
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (size <= 0)
		return MEMORY_UNKNOWN;
	text[size] = '\0';
	errno = 0;
	number = strtoull(text, &end, 10);
	return end == text || errno || number >= NO_LIMIT ? MEMORY_UNKNOWN : number;
}

/* The tightest limit of the group and those around it. */
static void read_group(struct live_memory *memory, const struct version *version, char *group)
{
	for (;;) {
		char *slash = strrchr(group, '/');
		uint64_t limit;

		if (!strcmp(group, "/"))
			*group = '\0';
		limit = read_number(version->directory, group, version->limit);
		if (limit < memory->limit) {
			memory->limit = limit;
			memory->used = read_number(version->directory, group, version->used);
		}
		if (!slash)
			return;
		*slash = '\0';
	}
}

static void read_groups(struct live_memory *memory, pid_t pid)
{
	_cleanup_free_ char *text = proc_read(pid, "cgroup", NULL);
	char *line = text, *next;

	for (; line && *line; line = next) {
		next = strchr(line, '\n');
		if (!next)
			return;
		*next++ = '\0';
		line += strspn(line, "0123456789");
		for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
			size_t length = strlen(versions[i].mark);

			if (!strncmp(line, versions[i].mark, length))
				read_group(memory, &versions[i], line + length);
		}
	}
}

void memory_read(struct live_memory *memory, pid_t pid)
{
	struct proc_status status = { 0 };

	*memory = (struct live_memory){
		.rss = MEMORY_UNKNOWN,
		.limit = MEMORY_UNKNOWN,
		.used = MEMORY_UNKNOWN,
	};
	if (proc_status(pid, &status)) {
		memory->rss = status.rss;
		memory->anonymous = status.rss_anon;
		memory->file = status.rss_file;
		memory->shared = status.rss_shmem;
		memory->swap = status.swap;
		memory->peak = status.peak;
	}
	read_groups(memory, pid);
}

uint64_t memory_share(pid_t pid)
{
	_cleanup_free_ char *text = proc_read(pid, "smaps_rollup", NULL);
	const char *line = text ? strstr(text, "\nPss:") : NULL;

	return line ? strtoull(line + strlen("\nPss:"), NULL, 10) << 10 : MEMORY_UNKNOWN;
}
