/* SPDX-License-Identifier: MIT */
/* What unit tests share: cmocka, and images made of literals. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "target/image.h"

#define RUN_TESTS(tests) cmocka_run_group_tests(tests, NULL, NULL)

/* Adds a segment that holds `bytes`, or is missing when that is NULL. */
static inline void add_segment(struct image *image, vaddr start, uint64_t size, const void *bytes)
{
	struct segment *segment = vector_push(&image->segments);

	if (!segment)
		abort();
	*segment = (struct segment){
		.start = start,
		.end = start + size,
		.bytes = bytes,
		.permissions = PF_R | PF_W,
		.origin = bytes ? SEGMENT_DUMPED : SEGMENT_MISSING,
	};
}

/* Stores one little-endian word. */
static inline void put_u64(uint8_t *bytes, uint64_t value)
{
	memcpy(bytes, &value, sizeof(value));
}
