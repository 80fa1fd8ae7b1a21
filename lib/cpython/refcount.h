/* SPDX-License-Identifier: MIT */
/*
 * Reference counts. In free-threaded builds an object has two: one for the thread that owns it, one
 * for all others, whose two lowest bits are flags. 3.13 Include/refcount.h, Include/object.h
 */
#pragma once

#include "memory.h"

#define REF_LOCAL_IMMORTAL UINT32_MAX /* _Py_IMMORTAL_REFCNT_LOCAL */
#define REF_SHARED_SHIFT   2          /* _Py_REF_SHARED_SHIFT */
#define REF_SHARED_FLAGS   3
#define REF_QUEUED         2 /* _Py_REF_QUEUED */
#define REF_IMMORTAL_BIT   (1U << 31)

/* Include/internal/pycore_gc.h: _PyGC_BITS_* */
#define GC_BITS_TRACKED  1
#define GC_BITS_FROZEN   8
#define GC_BITS_DEFERRED 64
#define GC_BITS_ALL      127

/* Whether objects have the header of free-threaded builds. */
static inline bool has_split_refcount(const struct layout *layout)
{
	return layout_has(layout, FIELD_OBJECT_REF_LOCAL);
}

/* Both counts of the object at `bytes` together. */
static inline int64_t split_refcount(const struct layout *layout, const uint8_t *bytes)
{
	int64_t shared = (int64_t)field_load(layout, bytes, FIELD_OBJECT_REF_SHARED);

	return (int64_t)field_load(layout, bytes, FIELD_OBJECT_REF_LOCAL) +
	       (shared >> REF_SHARED_SHIFT);
}

/* Whether the object never dies, and its references are not counted: 3.12 and later. */
static inline bool object_is_immortal(const struct layout *layout, const uint8_t *bytes)
{
	if (has_split_refcount(layout))
		return field_load(layout, bytes, FIELD_OBJECT_REF_LOCAL) == REF_LOCAL_IMMORTAL;
	return layout_knows(layout, CONSTANT_IMMORTAL_REFCOUNT) &&
	       field_load(layout, bytes, FIELD_OBJECT_REFCOUNT) & REF_IMMORTAL_BIT;
}

/* Whether the object waits in the queue of the thread that owns it for its counts to be merged: the
 * queue has a reference. 3.13 sets the flag of objects with deferred counting, too, so that they
 * never get there. Python/brc.c; Objects/object.c, _PyObject_SetDeferredRefcount() */
static inline bool object_is_queued(const struct layout *layout, const uint8_t *bytes)
{
	return has_split_refcount(layout) &&
	       (field_load(layout, bytes, FIELD_OBJECT_REF_SHARED) & REF_SHARED_FLAGS) ==
		       REF_QUEUED &&
	       !(field_load(layout, bytes, FIELD_OBJECT_GC_BITS) & GC_BITS_DEFERRED);
}

/* What Py_REFCNT() says of the object at `bytes`, less what deferred counting adds to it. Negative
 * where threads count for themselves, and more references went than came. */
static inline int64_t object_refcount(const struct layout *layout, const uint8_t *bytes)
{
	int64_t count;

	if (!has_split_refcount(layout))
		return (int64_t)field_load(layout, bytes, FIELD_OBJECT_REFCOUNT);
	if (object_is_immortal(layout, bytes))
		return (int64_t)layout_constant(layout, CONSTANT_IMMORTAL_REFCOUNT);
	count = split_refcount(layout, bytes);
	if (field_load(layout, bytes, FIELD_OBJECT_GC_BITS) & GC_BITS_DEFERRED)
		count -= (int64_t)(layout_constant(layout, CONSTANT_DEFERRED_LOCAL) +
				   layout_constant(layout, CONSTANT_DEFERRED_SHARED));
	return count;
}
