/* SPDX-License-Identifier: MIT */
/* What of a snapshot goes into the core that is written of it. */
#include <stdlib.h>

#include "../target/core_write.h"
#include "../target/live/live.h"
#include "accounting.h"

struct pieces {
	VECTOR(struct core_piece) list;
};

static bool add_piece(struct pieces *pieces, const struct segment *segment, vaddr start, vaddr end,
		      bool keep)
{
	const uint8_t *bytes =
		keep && segment->bytes ? segment->bytes + (start - segment->start) : NULL;
	struct core_piece *last =
		pieces->list.count ? &pieces->list.items[pieces->list.count - 1] : NULL;

	/* what lies side by side and is alike is one */
	if (last && last->end == start && last->permissions == segment->permissions &&
	    (bytes ? last->bytes && last->bytes + (last->end - last->start) == bytes
		   : !last->bytes)) {
		last->end = end;
		return true;
	}
	last = vector_push(&pieces->list);
	if (last)
		*last = (struct core_piece){ start, end, bytes, segment->permissions };
	return last;
}

/* All that is known, or all but what the files of modules have. */
static bool add_segments(struct pieces *pieces, const struct memheap_snapshot *s, bool files)
{
	for (size_t i = 0; i < s->target.image.segments.count; i++) {
		const struct segment *segment = &s->target.image.segments.items[i];

		if (!add_piece(pieces, segment, segment->start, segment->end,
			       files || segment->origin != SEGMENT_REFILLED))
			return false;
	}
	return true;
}

/* Whether decoding Python's heap reads it. Of a module's code the process itself has what it
 * changed, and the headers. */
static bool is_read(const struct area *area)
{
	return area->segment->origin == SEGMENT_DUMPED && area->kind != AREA_ANONYMOUS &&
	       area->kind != AREA_FILE;
}

static bool add_areas(struct pieces *pieces, const struct memheap_snapshot *s)
{
	struct areas areas = { 0 };
	bool added = areas_find(&areas, s);

	for (size_t i = 0; added && i < areas.list.count; i++) {
		const struct area *area = &areas.list.items[i];

		added = add_piece(pieces, area->segment, area->start, area->end, is_read(area));
	}
	areas_deinit(&areas);
	return added;
}

struct memheap_error *memheap_core_write(const struct memheap_snapshot *s, int fd,
					 const struct memheap_core_options *options)
{
	const struct live *live = s->target.live;
	struct memheap_error *error = &error_no_memory;
	struct core_source source = {
		.machine = s->target.process.machine,
		.compress = options->compress,
		.workers = s->parallel.workers,
		.path = options->path,
	};
	struct pieces pieces = { 0 };

	if (!live)
		return error_create(MEMHEAP_USAGE, "%s is no live process", s->target.path);
	source.notes = live->notes.list.items;
	source.notes_size = live->notes.list.count;
	if (options->content == MEMHEAP_CORE_PYTHON
		    ? add_areas(&pieces, s)
		    : add_segments(&pieces, s, options->content == MEMHEAP_CORE_ALL)) {
		source.pieces = pieces.list.items;
		source.count = pieces.list.count;
		error = core_write(fd, &source);
	}
	free(pieces.list.items);
	return error;
}
