/* SPDX-License-Identifier: MIT */
#include "proc.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/cleanup.h"

#define READ_STEP (64UL << 10)

char *proc_read(pid_t pid, const char *name, size_t *size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return proc_read_path(path, size);
}

char *proc_read_path(const char *path, size_t *size)
{
	size_t used = 0, room = 0;

	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	if (fd < 0)
		return NULL;
	for (;;) {
		ssize_t done;

		if (room - used < READ_STEP) {
			char *larger = realloc(text, room = 2 * room + READ_STEP + 1);

			if (!larger)
				return NULL;
			text = larger;
		}
		done = read(fd, text + used, room - used - 1);
		if (done < 0)
			return NULL;
		used += (size_t)done;
		if (!done)
			break;
	}
	text[used] = '\0';
	if (size)
		*size = used;
	return take(text);
}

/* The text behind "NAME:" and blanks in a status file; "" when it has no such line. */
static const char *value_of(const char *text, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, length) && line[length] == ':')
			return line + length + 1 + strspn(line + length + 1, " \t");
	}
	return "";
}

static uint64_t number_of(const char *text, const char *name, int base)
{
	return strtoull(value_of(text, name), NULL, base);
}

/* "NSpid: 1234 7" ends with the innermost number. */
static uint32_t last_number(const char *text, const char *name)
{
	const char *value = value_of(text, name);
	unsigned long last = 0;

	while (*value && *value != '\n') {
		char *end;

		last = strtoul(value, &end, 10);
		if (end == value)
			break;
		value = end + strspn(end, " \t");
	}
	return (uint32_t)last;
}

bool proc_status(pid_t pid, struct proc_status *ret)
{
	_cleanup_free_ char *text = proc_read(pid, "status", NULL);
	const char *name, *features;

	if (!text)
		return false;
	name = value_of(text, "Name");
	features = value_of(text, "x86_Thread_features");
	*ret = (struct proc_status){
		.state = *value_of(text, "State"),
		.tgid = (uint32_t)number_of(text, "Tgid", 10),
		.parent = (uint32_t)number_of(text, "PPid", 10),
		.tracer = (uint32_t)number_of(text, "TracerPid", 10),
		.uid = (uint32_t)number_of(text, "Uid", 10),
		.gid = (uint32_t)number_of(text, "Gid", 10),
		.permitted = number_of(text, "CapPrm", 16),
		.effective = number_of(text, "CapEff", 16),
		.seccomp = (uint32_t)number_of(text, "Seccomp", 10),
		.inner_pid = last_number(text, "NSpid"),
		.rss = number_of(text, "VmRSS", 10) << 10,
		.rss_anon = number_of(text, "RssAnon", 10) << 10,
		.rss_file = number_of(text, "RssFile", 10) << 10,
		.rss_shmem = number_of(text, "RssShmem", 10) << 10,
		.swap = number_of(text, "VmSwap", 10) << 10,
		.peak = number_of(text, "VmHWM", 10) << 10,
	};
	ret->shadow_stack = memmem(features, strcspn(features, "\n"), "shstk", 5);
	snprintf(ret->name, sizeof(ret->name), "%.*s", (int)strcspn(name, "\n"), name);
	return true;
}

uint64_t proc_stat(pid_t pid, unsigned number)
{
	_cleanup_free_ char *text = proc_read(pid, "stat", NULL);
	/* field 2 is the name in parentheses, which may hold any of them and blanks */
	const char *at = text ? strrchr(text, ')') : NULL;

	for (unsigned i = 2; at && i < number; i++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

/* Undoes \012, the only thing that the kernel escapes in maps. */
static void unescape(char *path)
{
	char *to = path;

	for (const char *from = path; *from; from++) {
		if (!strncmp(from, "\\012", 4)) {
			*to++ = '\n';
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

/* "START-END PERMS OFFSET DEVICE INODE   PATH", without its newline. */
static bool parse_line(char *line, struct mapping *ret)
{
	unsigned long long start, end, offset, inode;
	char permissions[5];
	int path = 0;

	if (sscanf(line, "%llx-%llx %4s %llx %*s %llu %n", &start, &end, permissions, &offset,
		   &inode, &path) < 5 ||
	    start >= end)
		return false;
	*ret = (struct mapping){
		.start = start,
		.end = end,
		.offset = offset,
		.inode = inode,
		.path = path && line[path] ? line + path : NULL,
		.shared = permissions[3] == 's',
	};
	ret->permissions =
		(uint8_t)((permissions[0] == 'r' ? PF_R : 0) | (permissions[1] == 'w' ? PF_W : 0) |
			  (permissions[2] == 'x' ? PF_X : 0));
	if (ret->path)
		unescape(line + path);
	return true;
}

bool mappings_read(struct mappings *mappings, pid_t pid)
{
	char *text = proc_read(pid, "maps", NULL), *next;

	if (!text)
		return false;
	mappings_deinit(mappings);
	mappings->text = text;
	for (char *line = text; *line; line = next) {
		struct mapping mapping, *added;

		next = strchr(line, '\n');
		if (!next)
			break;
		*next++ = '\0';
		if (!parse_line(line, &mapping))
			continue;
		added = vector_push(&mappings->list);
		if (!added) {
			errno = ENOMEM;
			return false;
		}
		*added = mapping;
	}
	return true;
}

void mappings_deinit(struct mappings *mappings)
{
	free(mappings->list.items);
	free(mappings->text);
	*mappings = (struct mappings){ 0 };
}
