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
	const char *unused; /* pages of files that nobody used lately: a line of memory.stat */
};

static const struct version versions[] = {
	{ ":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
	  "\ntotal_inactive_file " },
	{ "::", "/sys/fs/cgroup", "memory.max", "memory.current", "\ninactive_file " },
};

/* The text of a file of the group below `root`; NULL with errno. */
static char *read_file(const char *root, const struct version *version, const char *group,
		       const char *name)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s%s%s/%s", root, version->directory, group, name) >=
	    (int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return NULL;
	}
	return proc_read_path(path, NULL);
}

/* MEMORY_UNKNOWN when the file has no number. */
static uint64_t read_number(const char *root, const struct version *version, const char *group,
			    const char *name)
{
	_cleanup_free_ char *text = read_file(root, version, group, name);
	uint64_t number;
	char *end;

	if (!text)
		return MEMORY_UNKNOWN;
	errno = 0;
	number = strtoull(text, &end, 10);
	return end == text || errno || number >= NO_LIMIT ? MEMORY_UNKNOWN : number;
}

/* What the kernel takes back first when the group needs memory. */
static uint64_t read_unused(const char *root, const struct version *version, const char *group)
{
	_cleanup_free_ char *text = read_file(root, version, group, "memory.stat");
	const char *line = text ? strstr(text, version->unused) : NULL;

	return line ? strtoull(line + strlen(version->unused), NULL, 10) : 0;
}

/* Whether the process is in that group: each line is the number of one. Where its threads have
 * groups of their own there are no such lines: EOPNOTSUPP. */
static bool has_process(const char *root, const struct version *version, const char *group,
			pid_t pid)
{
	_cleanup_free_ char *text = read_file(root, version, group, "cgroup.procs");

	if (!text)
		return errno == EOPNOTSUPP;
	for (char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strtol(line, NULL, 10) == pid)
			return true;
	}
	return false;
}

/* A limit, and what of it is used; unknown: there is none. */
struct limit {
	uint64_t limit, used;
	uint64_t unused; /* of `used`, what the kernel takes back when memory is short */
};

/* The tightest limit of the group and those around it. */
static void read_group(struct limit *tightest, const char *root, const struct version *version,
		       char *group)
{
	for (;;) {
		char *slash = strrchr(group, '/');
		uint64_t limit;

		if (!strcmp(group, "/"))
			*group = '\0';
		limit = read_number(root, version, group, version->limit);
		if (limit < tightest->limit) {
			tightest->limit = limit;
			tightest->used = read_number(root, version, group, version->used);
			tightest->unused = read_unused(root, version, group);
		}
		if (!slash)
			return;
		*slash = '\0';
	}
}

/* In another container the group is not where its path says: that begins at a root which we have
 * not. There the process itself sees its group, as root of all that it sees. */
static void find_group(struct limit *tightest, pid_t pid, const struct version *version,
		       char *group)
{
	char root[64], top[] = "";

	if (has_process("", version, group, pid)) {
		read_group(tightest, "", version, group);
		return;
	}
	snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
	if (has_process(root, version, top, pid))
		read_group(tightest, root, version, top);
}

static void read_groups(struct limit *tightest, pid_t pid)
{
	_cleanup_free_ char *text = proc_read(pid, "cgroup", NULL);
	char *line = text, *next;

	*tightest = (struct limit){ .limit = MEMORY_UNKNOWN, .used = MEMORY_UNKNOWN };
	for (; line && *line; line = next) {
		next = strchr(line, '\n');
		if (!next)
			return;
		*next++ = '\0';
		line += strspn(line, "0123456789");
		for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
			size_t length = strlen(versions[i].mark);

			if (!strncmp(line, versions[i].mark, length))
				find_group(tightest, pid, &versions[i], line + length);
		}
	}
}

void memory_read(struct live_memory *memory, pid_t pid)
{
	struct proc_status status = { 0 };
	struct limit tightest;

	read_groups(&tightest, pid);
	*memory = (struct live_memory){
		.rss = MEMORY_UNKNOWN,
		.limit = tightest.limit,
		.used = tightest.used,
	};
	if (proc_status(pid, &status)) {
		memory->rss = status.rss;
		memory->anonymous = status.rss_anon;
		memory->file = status.rss_file;
		memory->shared = status.rss_shmem;
		memory->swap = status.swap;
		memory->peak = status.peak;
	}
}

uint64_t memory_room(pid_t pid)
{
	struct limit tightest;

	read_groups(&tightest, pid);
	if (tightest.limit == MEMORY_UNKNOWN || tightest.used == MEMORY_UNKNOWN)
		return MEMORY_UNKNOWN;
	return tightest.limit -
	       MIN(tightest.limit, tightest.used - MIN(tightest.used, tightest.unused));
}

uint64_t memory_share(pid_t pid)
{
	_cleanup_free_ char *text = proc_read(pid, "smaps_rollup", NULL);
	const char *line = text ? strstr(text, "\nPss:") : NULL;

	return line ? strtoull(line + strlen("\nPss:"), NULL, 10) << 10 : MEMORY_UNKNOWN;
}
