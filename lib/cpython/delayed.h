/* SPDX-License-Identifier: MIT */
/*
 * What waits in free-threaded builds until no thread can look at it any more: memory to be freed,
 * and since 3.14 references to be given back. Objects/obmalloc.c, _PyMem_FreeDelayed(),
 * _PyObject_XDecRefDelayed()
 */
#pragma once

#include "runtime.h"

/* Called for the memory at `at`, which waits or belongs to a queue; or for the object at `at`,
 * which waits for one reference less, and lives. */
typedef void waiting_fn(void *closure, vaddr at, bool is_reference);

void delayed_each(const struct python *python, waiting_fn *see, void *closure);
