/* SPDX-License-Identifier: MIT */
/* What watch knows of a process, and telling it: on a terminal, or as JSON lines. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A type, or a category of memory, over time. */
struct series {
	char *name;
	bool category;
	uint64_t bytes, last_bytes, first_bytes;
	uint64_t objects, last_objects, first_objects;
};

struct watch {
	const char *pid, *mode;
	bool terminal;
	uint64_t rows; /* of types that are told; 0: all */
	struct series **series;
	size_t count, room;
	void *names; /* the same, by name */
	int columns[3];
	uint64_t snapshots, began_ms;
	uint64_t rss, last_rss, first_rss;
	uint64_t pause_us, pauses_us, longest_us;
	uint64_t torn; /* bytes of the last snapshot */
	uint64_t took_ms, busy_ms;
	char *kept; /* the core that was written; NULL: none */
};

uint64_t watch_now_ms(void);

/* After a snapshot; after a core was written; at the end. */
void watch_tell(struct watch *watch);
void watch_tell_kept(const struct watch *watch);
void watch_tell_end(struct watch *watch);
