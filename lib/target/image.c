/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "../base/bisect.h"
#include "image.h"

static int compare_segments(const void *a, const void *b)
{
	const struct segment *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* Leaves out of each segment what an earlier one holds. */
static void cut_overlaps(struct image *image, struct gaps *gaps)
{
	vaddr covered = 0;
	size_t kept = 0;

	for (size_t i = 0; i < image->segments.count; i++) {
		struct segment segment = image->segments.items[i];

		if (segment.start < covered) {
			uint64_t cut = MIN(covered, segment.end) - segment.start;

			gap_add(gaps, GAP_SEGMENT_OVERLAP, segment.start, cut);
			segment.start += cut;
			segment.path_offset += cut;
			segment.bytes = segment.bytes ? segment.bytes + cut : NULL;
		}
		if (segment.start >= segment.end)
			continue;
		covered = segment.end;
		image->segments.items[kept++] = segment;
	}
	image->segments.count = kept;
}

bool image_rebuild_runs(struct image *image)
{
	struct image_run *last = NULL;

	image->runs.count = 0;
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		struct image_run *run;

		if (!segment->bytes)
			continue;
		if (last && last->end == segment->start &&
		    last->bytes + (last->end - last->start) == segment->bytes) {
			last->end = segment->end;
			continue;
		}
		run = vector_push(&image->runs);
		if (!run)
			return false;
		*run = (struct image_run){ segment->start, segment->end, segment->bytes };
		last = run;
	}
	return true;
}

bool image_build(struct image *image, struct gaps *gaps)
{
	if (image->segments.count)
		qsort(image->segments.items, image->segments.count, sizeof(*image->segments.items),
		      compare_segments);
	cut_overlaps(image, gaps);
	return image_rebuild_runs(image);
}

void image_deinit(struct image *image)
{
	free(image->segments.items);
	free(image->runs.items);
	*image = (struct image){ 0 };
}

const struct image_run *image_run_at(const struct image *image, vaddr at)
{
	/* where the last address was: the next one is often there too */
	static _Thread_local size_t last;
	const struct image_run *runs = image->runs.items;
	size_t found;

	if (last < image->runs.count && runs[last].start <= at && at < runs[last].end)
		return &runs[last];
	found = bisect(i, image->runs.count, runs[i].end <= at);
	if (found == image->runs.count || runs[found].start > at)
		return NULL;
	last = found;
	return &runs[found];
}

const struct segment *image_segment_after(const struct image *image, vaddr at)
{
	const struct segment *segments = image->segments.items;
	size_t found = bisect(i, image->segments.count, segments[i].end <= at);

	return found < image->segments.count ? &segments[found] : NULL;
}

const struct segment *image_segment(const struct image *image, vaddr at)
{
	const struct segment *segment = image_segment_after(image, at);

	return segment && segment->start <= at ? segment : NULL;
}

bool image_maps(const struct image *image, vaddr at, uint64_t size)
{
	while (size) {
		const struct segment *segment = image_segment(image, at);

		if (!segment)
			return false;
		size -= MIN(size, segment->end - at);
		at = segment->end;
	}
	return true;
}

const char *image_string(const struct image *image, vaddr at, size_t limit, size_t *length)
{
	uint64_t room;
	const char *text = image_room(image, at, &room), *end;

	if (!text)
		return NULL;
	end = memchr(text, '\0', MIN(room, limit));
	if (!end)
		return NULL;
	*length = (size_t)(end - text);
	return text;
}
