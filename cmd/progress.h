/* SPDX-License-Identifier: MIT */
/* One line on a terminal while work takes more than a second. */
#pragma once

#include <memheap.h>

/* Progress that shows itself on standard error; nothing when that is no terminal. */
struct memheap_progress progress_start(void);

/* Removes the line. */
void progress_end(void);
