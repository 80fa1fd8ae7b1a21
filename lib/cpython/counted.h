/* SPDX-License-Identifier: MIT */
/* How many references an object counts, wherever it does. */
#pragma once

#include "types.h"

/* What Py_REFCNT() says of the object, less what deferred counting adds to it, and what the threads
 * of a free-threaded build count for themselves. */
uint64_t counted_references(const struct python *python, const struct object *object);
