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
	bool absent;  /* they don't exist: only in answers to PAGES_CHANGED */
};

struct page_list {
	VECTOR(struct pages) list; /* by address */
};

/* What is asked of pages. */
enum page_query {
	PAGES_PRESENT, /* those that exist */
	PAGES_PROTECT, /* those that were written since the last time that this was asked, of
			  mappings that a userfaultfd watches */
	PAGES_CHANGED, /* those that were written since, and those that do not exist */
};

struct page_scan {
	pid_t pid;
	pid_t shared; /* where to look for shared mappings, which a child's tables don't have */
	const struct mappings *mappings;
	const bool *wanted; /* one for each mapping: whether to look at it; NULL: at all */
	unsigned workers;   /* at least 1 */
	enum page_query query;
};

/* Replaces `pages` by the answer; false with errno, ENOTTY when the kernel can't (before
 * Linux 6.7).
 */
bool pages_scan(struct page_list *pages, const struct page_scan *scan);

/* Whether the kernel can be asked for more than PAGES_PRESENT. */
bool pages_can_protect(pid_t pid);

/*
 * Which of the pages of process `pid` others may have too: those that it was forked from, or that
 * it forked, as workers of a server share what was there before. Since Linux 5.19,
 * process_vm_readv(2) makes the process a copy of its own of each such page before it reads
 * (mm/gup.c, gup_must_unshare()): it would take twice the memory afterwards, and might be killed
 * for it. What is read from /proc/PID/mem stays as it is, and takes 1.6 times as long. False with
 * errno. (smaps tells it of whole mappings, but the process waits meanwhile if it maps memory.)
 */
bool pages_find_common(struct page_list *common, pid_t pid, const struct page_list *pages);

/* Puts what changed in place of what was there; only that counts as written. False when out of
 * memory. */
bool pages_update(struct page_list *pages, const struct page_list *changed);

void pages_deinit(struct page_list *pages);

/* The first of the pages that end after `at`, as an index. */
size_t pages_after(const struct page_list *pages, vaddr at);
