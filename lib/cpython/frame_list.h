/* SPDX-License-Identifier: MIT */
/* The frames that threads were executing. */
#pragma once

#include "frames.h"
#include "references.h"

struct thread_frame {
	vaddr at;        /* 3.11 and later a _PyInterpreterFrame, else a frame object */
	uint32_t thread; /* index in python->threads */
	uint32_t depth;  /* 0: the innermost of its thread */
	uint32_t line;   /* 0: unknown */
	vaddr code;
};

struct frame_list {
	VECTOR(struct thread_frame) list; /* thread by thread, the innermost first */
};

/* Finds the frames of all threads; false when out of memory. */
bool frame_list_find(struct frame_list *frames, const struct python *python);

void frame_list_deinit(struct frame_list *frames);

/* "f() at app.py:12" */
const char *thread_frame_name(const struct python *python, const struct thread_frame *frame,
			      struct strings *strings);
