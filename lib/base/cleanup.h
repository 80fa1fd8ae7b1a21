/* SPDX-License-Identifier: MIT */
/* Scope guards: locals that clean themselves up, and take() to hand one on. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(function) __attribute__((cleanup(function)))

static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define _cleanup_free_  _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)

/* The value of pointer `x`, which no longer owns it. */
#define take(x)                             \
	({                                  \
		__typeof__(x) taken_ = (x); \
		(x) = NULL;                 \
		taken_;                     \
	})

/* The same for a file descriptor. */
#define take_fd(x)                \
	({                        \
		int taken_ = (x); \
		(x) = -1;         \
		taken_;           \
	})
