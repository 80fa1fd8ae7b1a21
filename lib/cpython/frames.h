/* SPDX-License-Identifier: MIT */
/* Frames of Python code, as far as their references go. */
#pragma once

#include "decoder.h"

/* What a word of a frame refers to, 0 if nothing; since 3.14 it may be a reference that the object
 * does not count. */
struct reference frame_reference(const struct layout *layout, uint64_t word);

/*
 * Reports what the _PyInterpreterFrame at `at` refers to, 3.11 and later. While a frame is being
 * executed, nobody knows how much of its stack is in use: with `executing` its locals are reported.
 */
void frame_visit_inner(struct visitor *visitor, vaddr at, bool executing);

/* Reports the code of the _PyInterpreterFrame at `at` alone. */
void frame_visit_code(struct visitor *visitor, vaddr at);

/* Reports what the frame object refers to, up to 3.10. */
void frame_visit_object(struct visitor *visitor, const struct object *object);

/*
 * The words of the evaluation stack of the frame at `at`, a _PyInterpreterFrame or a frame object,
 * where nobody knows how much of it is in use: while it is being executed. False when that is
 * known, and the visits above report it.
 */
bool frame_unknown_stack(const struct memory *memory, vaddr at, vaddr *start, uint64_t *size);
