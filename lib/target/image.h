/* SPDX-License-Identifier: MIT */
/*
 * The image: the immutable bytes of one process at one moment, addressable by target address.
 * image_at() is the only door to target memory.
 */
#pragma once

#include <stddef.h>

#include "../base/gaps.h"
#include "../base/vector.h"

enum segment_origin {
	SEGMENT_DUMPED,   /* the bytes are in the core */
	SEGMENT_REFILLED, /* the bytes are those of the mapped file on disk */
	SEGMENT_MISSING,  /* nobody knows the bytes; never taken for zero */
};

/* A run of the image with one origin. */
struct segment {
	vaddr start, end;     /* [start, end) */
	const uint8_t *bytes; /* of `start`; NULL when missing */
	const char *path;     /* the mapped file; NULL when anonymous */
	uint64_t path_offset; /* of `start` in that file */
	uint8_t permissions;  /* PF_R | PF_W | PF_X */
	uint8_t origin;       /* enum segment_origin */
	bool truncated;       /* missing, because the core is cut short */
	bool unread;          /* dumped, but only the head of the core was unpacked */
};

/* Neighbouring segments whose bytes are neighbours too: what a lookup finds. */
struct image_run {
	vaddr start, end;
	const uint8_t *bytes;
};

struct image {
	VECTOR(struct segment) segments; /* by start, without overlaps */
	VECTOR(struct image_run) runs;   /* by start; segments with bytes only */
};

/* Sorts the segments, cuts overlaps (a gap) and makes the runs; after it, the image is const.
 * False when out of memory. */
bool image_build(struct image *image, struct gaps *gaps);

/* Makes the runs anew after segments were refilled. */
bool image_rebuild_runs(struct image *image);

void image_deinit(struct image *image);

/* The run that holds `at`, or NULL. */
const struct image_run *image_run_at(const struct image *image, vaddr at);

/* The target's bytes [at, at + size), valid as long as the image; NULL when any is missing. */
static inline const void *image_at(const struct image *image, vaddr at, uint64_t size)
{
	const struct image_run *run = image_run_at(image, at);

	return run && range_holds(run->start, run->end, at, size) ? run->bytes + (at - run->start)
								  : NULL;
}

/* The same, with the number of bytes that can be read from there in `*room`. */
static inline const void *image_room(const struct image *image, vaddr at, uint64_t *room)
{
	const struct image_run *run = image_run_at(image, at);

	*room = run ? run->end - at : 0;
	return run ? run->bytes + (at - run->start) : NULL;
}

/* Reads one little-endian word; false when it is missing. */
static inline bool image_u64(const struct image *image, vaddr at, uint64_t *ret)
{
	const void *bytes = image_at(image, at, sizeof(*ret));

	if (bytes)
		*ret = load_u64(bytes);
	return bytes;
}

static inline bool image_u32(const struct image *image, vaddr at, uint32_t *ret)
{
	const void *bytes = image_at(image, at, sizeof(*ret));

	if (bytes)
		*ret = load_u32(bytes);
	return bytes;
}

/* The segment that holds `at`, missing or not, or NULL. */
const struct segment *image_segment(const struct image *image, vaddr at);

/* The first segment that ends after `at`, or NULL. */
const struct segment *image_segment_after(const struct image *image, vaddr at);

/* Whether all of [at, at + size) was mapped, be the bytes missing or not. */
bool image_maps(const struct image *image, vaddr at, uint64_t size);

/* The NUL-terminated string at `at`, of at most `limit` bytes, or NULL. Its length goes to
 * `*length`. */
const char *image_string(const struct image *image, vaddr at, size_t limit, size_t *length);
