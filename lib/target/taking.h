/* SPDX-License-Identifier: MIT */
/*
 * How a live process was taken, and what only the kernel knew of its memory. A core that is written
 * of it says so in a note of ours: it answers as the process did, wherever it is looked at.
 */
#pragma once

#include "../base/error.h"
#include "../base/gaps.h"
#include "../base/ranges.h"
#include "../base/strings.h"

#define TAKING_OWNER "memheap"
#define TAKING_TYPE  0x4d48

#define MEMORY_UNKNOWN UINT64_MAX

/* Bytes; MEMORY_UNKNOWN where the kernel does not tell. */
struct live_memory {
	uint64_t rss, anonymous, file, shared; /* the first is the sum of the others */
	uint64_t swap, peak;
	uint64_t limit, used; /* of the cgroup; unknown: no limit */
};

struct taking {
	bool known;             /* false of a core that something else wrote */
	enum memheap_mode mode; /* the one that was used */
	uint64_t pause_ns;      /* during which all threads or some stood still */
	uint64_t copied;        /* bytes */
	uint64_t while_stopped; /* of them, those that were copied during the pause */
	char state;             /* what it was doing before, as in /proc/PID/status */
	bool left_zombie;       /* a child's entry could not be removed */
	const char *passed;     /* the modes that were tried or passed over, and why; NULL: none */
	struct live_memory memory;
	/* all joined: pages in memory, those in swap, and what changed while it was read, in mode
	 * nostop */
	struct ranges resident, swapped, torn;
};

/* The name of a mode: "stop". */
const char *taking_mode_name(enum memheap_mode mode);

/* Bytes on torn pages. */
uint64_t taking_torn(const struct taking *taking);

/* What the note says, for the caller to free; NULL: out of memory. */
uint8_t *taking_encode(const struct taking *taking, size_t *size);

/* Reads that, as far as it makes sense; texts go to `strings`. False: out of memory. */
bool taking_decode(struct taking *taking, const uint8_t *bytes, size_t size,
		   struct strings *strings);

/* Each stretch of torn pages is a gap. */
void taking_count(const struct taking *taking, struct gaps *gaps);

void taking_deinit(struct taking *taking);
