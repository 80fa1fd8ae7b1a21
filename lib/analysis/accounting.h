/* SPDX-License-Identifier: MIT */
/*
 * The accounting: every byte of the image in exactly one leaf of one tree. The sum of the leaves
 * is the image's size, to the byte.
 */
#pragma once

#include "report.h"

/* What a stretch of memory is that has an owner of its own. */
enum area_kind {
	AREA_ARENA,      /* of pymalloc */
	AREA_MI_SEGMENT, /* of mimalloc */
	AREA_MI_ARENA,   /* what is in no segment */
	AREA_MAIN_HEAP,  /* of malloc */
	AREA_THREAD_HEAP,
	AREA_MMAPPED,
	AREA_JEMALLOC, /* of allocators that are not walked */
	AREA_TCMALLOC,
	AREA_MUSL,
	AREA_FRAME_STACK, /* Python frames of a thread */
	AREA_MAIN_STACK,
	AREA_THREAD_STACK,
	AREA_MODULE_DATA, /* the rest of its segment: */
	AREA_MODULE_CODE,
	AREA_FILE,
	AREA_VDSO,
	AREA_ANONYMOUS,
	AREA_UNREAD, /* dumped, and not unpacked */
	AREA_MISSING_RESERVED,
	AREA_MISSING_TRUNCATED,
	AREA_MISSING_FILE,
	AREA_MISSING_ANONYMOUS,
	AREA_KINDS
};

/* A stretch of memory, one row of the regions table. Areas don't overlap and cover the image. */
struct area {
	vaddr start, end;
	enum area_kind kind;
	const struct segment *segment;
	size_t index; /* of the arena, heap, … */
};

struct areas {
	VECTOR(struct area) list; /* by start */
};

/* Divides the image into areas; false when out of memory. Objects need not be known. */
bool areas_find(struct areas *areas, const struct memheap_snapshot *snapshot);

void areas_deinit(struct areas *areas);

/* The area that holds `at`, or NULL. */
const struct area *area_find(const struct areas *areas, vaddr at);

/* What `kind` is called: "pymalloc arena". */
const char *area_kind_name(enum area_kind kind);

/* One leaf. */
struct account_leaf {
	const char *path; /* "python/buffers/dict keys" */
	uint64_t bytes;
};

struct accounting {
	VECTOR(struct account_leaf) leaves; /* in the order of the tree, largest first below */
	struct strings strings;
	uint64_t image_bytes, sum; /* equal */
};

/* Makes the accounting; false when out of memory. */
bool accounting_build(struct accounting *accounting, const struct memheap_snapshot *snapshot,
		      const struct areas *areas);

void accounting_deinit(struct accounting *accounting);
