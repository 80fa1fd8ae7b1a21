/* SPDX-License-Identifier: MIT */
/* Which pages of a process exist: reading the others would make them. */
#pragma once

#include "proc.h"

/* Neighbouring pages of one kind. */
struct pages {
	vaddr start, end;
	bool swapped; /* else in memory */
	bool file;    /* of a file, or shared: not the process's own */
	bool written; /* since write protection began */
};

struct page_list {
	VECTOR(struct pages) list; /* by address */
};

/*
 * Replaces `pages` by those of all `mappings` of process `pid`; shared ones are looked at in
 * process `shared`, because a child's tables don't have them. False with errno.
 */
bool pages_scan(struct page_list *pages, pid_t pid, pid_t shared, const struct mappings *mappings);

/*
 * The same, with those marked that were written since the last call. With `protect` only these, of
 * mappings that a userfaultfd watches, which count as not written from then on. False with errno,
 * ENOTTY when the kernel can't (before Linux 6.7).
 */
bool pages_scan_written(struct page_list *pages, pid_t pid, const struct mappings *mappings,
			bool protect);

void pages_deinit(struct page_list *pages);

/* The first of the pages that end after `at`, as an index. */
size_t pages_after(const struct page_list *pages, vaddr at);
