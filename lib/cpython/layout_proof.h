/* SPDX-License-Identifier: MIT */
/*
 * A table that was made from another release, or from another build of the same: what the target
 * itself shows of it.
 */
#pragma once

#include "runtime.h"

/*
 * Refuses the layout of `python` where its table is borrowed, no debug information has checked it,
 * and the target contradicts it. Once the interpreters are read and PyType_Type is known.
 */
struct memheap_error *layout_prove(const struct python *python);
