/* SPDX-License-Identifier: MIT */
/* What /proc tells of a process. */
#pragma once

#include <sys/types.h>

#include "../../base/error.h"
#include "../../base/vaddr.h"
#include "../../base/vector.h"

/* Of /proc/PID/status. */
struct proc_status {
	char state; /* R, S, D, T, t, Z, X */
	uint32_t tgid, parent, tracer;
	uint32_t uid, gid;
	uint64_t permitted, effective; /* capabilities */
	uint32_t seccomp;              /* 2: it filters system calls */
	uint32_t inner_pid;            /* in its own PID namespace */
	bool shadow_stack;
	char name[16];
	uint64_t rss, rss_anon, rss_file, rss_shmem, swap, peak; /* bytes */
};

/* False with errno when there is none. */
bool proc_status(pid_t pid, struct proc_status *ret);

/* Field `number`, as proc(5) counts, of /proc/PID/stat; 0 when there is none. */
uint64_t proc_stat(pid_t pid, unsigned number);

/* The file /proc/PID/NAME with a NUL behind it, which the caller frees; NULL with errno. */
char *proc_read(pid_t pid, const char *name, size_t *size);
char *proc_read_path(const char *path, size_t *size);

/* One line of /proc/PID/maps. */
struct mapping {
	vaddr start, end;
	uint64_t offset;
	uint64_t inode;   /* 0: no file */
	const char *path; /* of a file, or a name in brackets; NULL: none */
	uint8_t permissions;
	bool shared;
};

struct mappings {
	VECTOR(struct mapping) list; /* by address */
	char *text;                  /* has the paths */
};

/* Replaces what is in `mappings`; false with errno. */
bool mappings_read(struct mappings *mappings, pid_t pid);

void mappings_deinit(struct mappings *mappings);

/* Whether it is a file of which this machine may have a copy. */
static inline bool mapping_has_file(const struct mapping *mapping)
{
	return mapping->inode && mapping->path && *mapping->path == '/';
}
