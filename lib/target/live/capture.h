/* SPDX-License-Identifier: MIT */
/* Taking a process's memory: what to take, copying it, and the image of what was taken. */
#pragma once

#include "../../base/parallel.h"
#include "../image.h"
#include "mirror.h"
#include "pages.h"
#include "threads.h"

/* What of a mapping is taken. */
enum portion {
	TAKE_NOTHING,
	TAKE_HEADER,  /* the first page, where an ELF file says what it is */
	TAKE_PRESENT, /* pages that exist; the others are zeros */
	TAKE_SHARED,  /* pages that exist; nobody knows the others */
	TAKE_ALL,     /* each page: those that don't exist yet are a file's */
};

struct capture_plan {
	enum portion portion;
	uint8_t *bytes; /* of the mapping's start, in the mirror */
};

/* What one call copies. */
struct capture_piece {
	vaddr at;
	uint8_t *to;
	uint32_t size, copied; /* fewer when it could not be read */
	bool settled;          /* it was copied before */
	bool common;           /* another process may have some of it too */
};

struct capture {
	pid_t pid;    /* whose mappings, pages and threads these are */
	pid_t source; /* whose memory is read: that of `pid`, or of its frozen copy */
	const struct parallel *parallel;
	struct mirror mirror;
	struct mappings mappings;
	struct page_list pages;
	struct live_threads threads;
	char *auxv;
	size_t auxv_size;
	VECTOR(struct capture_plan) plans; /* one for each mapping */
	VECTOR(struct capture_piece) pieces;
	struct page_list
		common;  /* pages that other processes may have too: see pages_find_common() */
	bool all_common; /* as that of a frozen copy */
	struct page_list whole;  /* mappings of files that were copied in full */
	struct page_list unread; /* what of them could not be read */
	uint64_t bytes;          /* of all pieces */
	uint64_t deadline_ns;
	bool late; /* the deadline passed while it was copied */
};

/* Reads mappings and pages as they are now. */
struct memheap_error *capture_survey(struct capture *capture);

/* Which pages there are, in `source`; of shared mappings in `pid`. False with errno. */
bool capture_pages(struct capture *capture);

/* Asks which pages were written since it was asked last, and begins anew. False with errno. */
bool capture_pages_written(struct capture *capture);

/* Reads the mappings as they are now, and which pages changed since. False with errno. */
bool capture_changes(struct capture *capture);

/* What of the process a plan is about. */
enum scope {
	SCOPE_ALL,
	SCOPE_WRITTEN, /* since it was copied last */
};

/* Decides what to take, and where it goes. */
struct memheap_error *capture_plan(struct capture *capture, enum scope scope);

/* Gets the memory for all pieces from the system, if there is enough. */
struct memheap_error *capture_populate(struct capture *capture);

/* All that is done before the process stops: reads mappings, pages, and which of them other
 * processes may have too, and makes room for a copy of them. */
struct memheap_error *capture_prepare(struct capture *capture);

/* Copies all pieces, with as many threads as there are processors; stops at the deadline. */
void capture_copy(struct capture *capture);

/* Copies one piece; how much could be read goes to its `copied`. */
void capture_copy_piece(const struct capture *capture, struct capture_piece *piece);

/* Remembers the mappings of files that were copied just now; false when out of memory. */
bool capture_note_whole(struct capture *capture);

/* Makes zeros of pages that were copied and are not there any more. */
void capture_forget(struct capture *capture);

/* After copies at several times: the same, and a plan of all as if it was copied at once. */
struct memheap_error *capture_settle(struct capture *capture);

/* Bytes that were copied. */
uint64_t capture_copied(const struct capture *capture);

/* The segments of the image, in place of what is in `image`; false when out of memory. */
bool capture_image(const struct capture *capture, struct image *image);

void capture_deinit(struct capture *capture);
