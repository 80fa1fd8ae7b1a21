/* SPDX-License-Identifier: MIT */
/* What a process keeps from its children (madvise(2): MADV_DONTFORK, MADV_WIPEONFORK). */
#pragma once

#include "capture.h"

/*
 * Copies, while all threads of the process stand still, what `child`, made a moment ago, does not
 * have: into `kept`, a capture of that alone, empty if there is nothing. Fails when that is much.
 */
struct memheap_error *kept_copy(struct capture *kept, const struct capture *capture, pid_t child,
				uint64_t deadline_ns);

/* Puts the pages in place of those that the child has; false when out of memory. */
bool kept_add_pages(struct capture *capture, const struct capture *kept);

/* Puts what was copied where a plan of all says, and nothing else is to go. */
void kept_put(struct capture *capture, const struct capture *kept);

/* Fails if there is memory that the child has, but empty. The pages are those of the child. */
struct memheap_error *kept_find_wiped(const struct capture *capture, pid_t child);
