/* SPDX-License-Identifier: MIT */
/* Who holds the memory: what every report needs that tells of it. */
#pragma once

#include "../graph/suspects.h"
#include "sections.h"

struct holders {
	struct heap_view view;
	struct root_sources sources;
	struct retention retention;
	struct ways ways;
	struct suspects suspects;
};

/* Finds all but the suspects in the report's snapshot, which has a graph; `ret` is to be freed in
 * any case. It points into itself, and stays where it is. */
struct memheap_error *holders_find(struct holders *ret, const struct memheap_report *report);

/* The suspects, too. */
struct memheap_error *holders_find_suspects(struct holders *ret,
					    const struct memheap_report *report);

void holders_deinit(struct holders *holders);

extern const struct memheap_table_shape suspects_shape, suspects_limits_shape;

/* A row for each suspect, with the way to it, in words; and what they are measured by. */
void add_suspects(struct memheap_report *report, const struct holders *holders);

/* The way to an object, as a person reads it. */
struct way_words {
	const char **names; /* of its steps, the root's first */
	size_t count;
	const char
		*expression; /* as it would stand in the program: "app.cache", as far as one can */
	const char *remarks; /* sentences about what lies on it: closures, exceptions, …; or "" */
};

/* NULL names: nothing leads there, or memory ran out, and the report has failed. They live as long
 * as the report, but for the array of names, which is freed by free(). */
struct way_words way_in_words(struct memheap_report *report, const struct holders *holders,
			      object_id id);

/* What a suspect is, holds and how much, in a few sentences. */
const char *suspect_in_words(struct memheap_report *report, const struct holders *holders,
			     const struct suspect *suspect, const struct way_words *way);
