/* SPDX-License-Identifier: MIT */
/* Counting what could not be seen. A gap is never an abort. */
#pragma once

#include "vaddr.h"

enum gap_kind {
#define GAP(name, code, key, text) GAP_##name,
#include "gaps.def"
#undef GAP
	GAP_KINDS
};

struct gap {
	uint64_t count;
	uint64_t bytes; /* of the image, as far as known */
	vaddr first;    /* the lowest address where it was met */
};

struct gaps {
	struct gap kinds[GAP_KINDS];
};

/* What one kind of gap is called. */
struct gap_info {
	const char *code; /* "MH0212" */
	const char *key;  /* "pool_damaged" */
	const char *text;
};

extern const struct gap_info gap_infos[GAP_KINDS];

static inline void gap_add(struct gaps *gaps, enum gap_kind kind, vaddr at, uint64_t bytes)
{
	struct gap *gap = &gaps->kinds[kind];

	if (!gap->count || at < gap->first)
		gap->first = at;
	gap->count++;
	gap->bytes += bytes;
}

/* Adds the gaps of `from`, a worker's, to `gaps`. */
void gaps_merge(struct gaps *gaps, const struct gaps *from);
