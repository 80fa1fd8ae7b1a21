/* SPDX-License-Identifier: MIT */
/* Writing an ELF core, as the kernel would: notes first, then memory, with holes for zeros. */
#pragma once

#include "../base/error.h"
#include "../base/vaddr.h"

/* One program header. */
struct core_piece {
	vaddr start, end;
	const uint8_t *bytes; /* NULL: the core says that it was there, and no more */
	uint8_t permissions;
};

struct core_source {
	const struct core_piece *pieces; /* by address */
	size_t count;
	const uint8_t *notes;
	size_t notes_size;
	uint16_t machine;
	bool compress;    /* with zstd */
	unsigned workers; /* threads to compress with */
	const char *path; /* for messages */
};

/* Writes it to the empty file `fd`, after a look whether there is enough room. */
struct memheap_error *core_write(int fd, const struct core_source *source);
