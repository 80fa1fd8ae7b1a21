/* SPDX-License-Identifier: MIT */
/* The header that the garbage collector puts in front of objects: PyGC_Head. */
#pragma once

#include "memory.h"

#define GC_LINK_MASK (~(uint64_t)3) /* the low bits of links are flags */

enum gc_tracking {
	GC_NO_HEAD, /* no header says so */
	GC_UNTRACKED,
	GC_TRACKED,
};

/* What the header at `bytes` says of its object; `collecting`: a collection may be at work on it.
 */
enum gc_tracking gc_head_tracking(const struct layout *layout, const uint8_t *bytes,
				  bool collecting);

/* The header before that at `head`, or behind it; 0 when it can't be read. */
vaddr gc_head_next(const struct memory *memory, vaddr head);
vaddr gc_head_previous(const struct memory *memory, vaddr head);

/* Whether the neighbours of `head` in its list know it. */
bool gc_head_is_linked(const struct memory *memory, vaddr head);

/* Whether that is the header of an object which the collector took out of its lists: a dict that
 * holds nothing to be collected, as most do when the interpreter shuts down. */
bool gc_head_is_untracked(const struct memory *memory, vaddr head);
