/* SPDX-License-Identifier: MIT */
/* A temporary file without a name: it is gone when it is closed, however the program ends. */
#pragma once

#include "../base/error.h"

struct spool {
	int fd;
	const char *directory;
	uint64_t size;    /* of the file */
	uint64_t written; /* the rest are holes: pages of zeros */
};

/* Makes one in `directory`, which must have `least` bytes free. Errors say: "cannot `doing`". */
struct memheap_error *spool_create(struct spool *spool, const char *directory, uint64_t least,
				   const char *doing);

/*
 * Appends bytes; all but the last call with a multiple of 4 KiB. Returns false with errno when it
 * can't; ENOSPC before the last bytes are taken that the system keeps for root.
 */
bool spool_append(struct spool *spool, const uint8_t *bytes, size_t size);

/* Ends appending: gives the file its size. Returns false with errno when it can't. */
bool spool_end(const struct spool *spool);
