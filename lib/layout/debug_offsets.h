/* SPDX-License-Identifier: MIT */
/* _Py_DebugOffsets: what the target says of itself (3.13 and later). */
#pragma once

#include "layout.h"

/* Whether a _Py_DebugOffsets begins at `at`; its version (PY_VERSION_HEX) goes to `*version` and
 * whether it is a free-threaded build to `*free_threaded`. */
bool debug_offsets_at(const struct image *image, vaddr at, uint32_t *version, bool *free_threaded);

/* Searches [start, start + size) for a _Py_DebugOffsets, and sets `*ret` to where it begins. */
bool debug_offsets_search(const struct image *image, vaddr start, uint64_t size, vaddr *ret);

/*
 * Sets the fields that the target tells. Values that can't be (an offset outside its structure)
 * are left out. The offsets go over those of `layout`; the number of contradicted table fields is
 * returned.
 */
unsigned debug_offsets_apply(struct layout *layout, const struct image *image, vaddr runtime);
