/* SPDX-License-Identifier: MIT */
/*
 * Memory that a process has in common with one that it was forked from, or that it forked: workers
 * of a server share what was there before. Since Linux 5.19, process_vm_readv(2) makes the process
 * a copy of its own of each such page before it reads (mm/gup.c, gup_must_unshare()): it would take
 * twice the memory afterwards, and might be killed for it. What is read from /proc/PID/mem stays as
 * it is, and takes 1.6 times as long.
 */
#pragma once

#include "pages.h"

/* Which of the pages of process `pid` others may have too. False with errno. */
bool common_find(struct page_list *common, pid_t pid, const struct page_list *pages);
