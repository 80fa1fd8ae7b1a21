/* SPDX-License-Identifier: MIT */
/* One line on a terminal while work takes more than a second. */
#pragma once

#include <memheap.h>

/* Progress that shows itself on standard error, unless it is to be quiet or that is no terminal.
 * Ctrl-C during a download ends that only. */
struct memheap_progress progress_start(bool quiet);

/* Removes the line. */
void progress_end(void);
