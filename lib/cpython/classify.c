/* SPDX-License-Identifier: MIT */
#include "classify.h"
#include "gc_head.h"

#include "refcount.h"

#define REFCOUNT_MAX      (1ULL << 44)
#define REFCOUNT_POINTERS 0xFFFF    /* above it, a refcount may be a pointer in truth */
#define STATIC_REFERENCES (1 << 24) /* to one static object */
#define OBJECT_FLAGS_MAX  0xF       /* those that CPython defines: Include/object.h, refcount.h */

/* Whether an object lies at `at`, as far as its type tells. */
static bool is_object_address(const struct judge *judge, vaddr at)
{
	uint64_t type;

	return at % sizeof(vaddr) == 0 &&
	       memory_field(&judge->python->memory, at, FIELD_OBJECT_TYPE, &type) &&
	       type_find(judge->types, type) != TYPE_NONE;
}

/* 3.14 and later: the count is 32 bits of the first word, then come flags, of which few are known,
 * and what overflowed, which nothing does. Include/object.h */
static bool judge_flags(const struct layout *layout, const uint8_t *word)
{
	return field_load(layout, word, FIELD_OBJECT_FLAGS) <= OBJECT_FLAGS_MAX &&
	       !field_load(layout, word, FIELD_OBJECT_OVERFLOW);
}

/*
 * The header of free-threaded builds: the thread that owns the object, a lock of a few bits, bits
 * of the garbage collector, the owner's count, the others' count. An object without owner has only
 * the latter. 3.13 Include/object.h, struct _object
 */
static bool judge_split_refcount(const struct judge *judge, const uint8_t *bytes)
{
	const struct layout *layout = &judge->python->layout;
	uint64_t thread = field_load(layout, bytes, FIELD_OBJECT_THREAD);
	uint64_t local = field_load(layout, bytes, FIELD_OBJECT_REF_LOCAL);
	uint64_t shared = field_load(layout, bytes, FIELD_OBJECT_REF_SHARED);

	if (field_load(layout, bytes, FIELD_OBJECT_GC_BITS) > GC_BITS_ALL)
		return false;
	if (local == REF_LOCAL_IMMORTAL)
		return !shared;
	if (thread % sizeof(vaddr) || (!thread && local))
		return false;
	return split_refcount(layout, bytes) > 0 || (shared & REF_SHARED_FLAGS) == REF_QUEUED;
}

/* Whether CPython itself makes refcounts of such a number, which is an address in the heap of some
 * programs. */
static bool is_made_up(const struct layout *layout, uint64_t refcount)
{
	uint64_t first = layout_constant(layout, CONSTANT_STATIC_REFCOUNT);

	return (first && refcount >= first && refcount - first < STATIC_REFERENCES) ||
	       refcount == layout_constant(layout, CONSTANT_IMMORTAL_REFCOUNT);
}

static bool judge_refcount(const struct judge *judge, const uint8_t *bytes)
{
	const struct layout *layout = &judge->python->layout;
	uint64_t refcount;

	if (has_split_refcount(layout))
		return judge_split_refcount(judge, bytes);
	refcount = field_load(layout, bytes, FIELD_OBJECT_REFCOUNT);
	if (!refcount)
		return false;
	if (layout_has(layout, FIELD_OBJECT_OVERFLOW) && !judge_flags(layout, bytes))
		return false;
	if (layout_knows(layout, CONSTANT_IMMORTAL_REFCOUNT)) {
		if (refcount > UINT32_MAX)
			return false;
	} else if (refcount >= REFCOUNT_MAX) {
		return false;
	}
	/* two pointers in a row, to an object and to a type, are no header */
	return refcount <= REFCOUNT_POINTERS || is_made_up(layout, refcount) ||
	       !is_object_address(judge, refcount);
}

/* Reference tracing: all objects are on a list, whose links begin each; or on none. 3.11
 * Objects/object.c, _Py_AddToAllObjects() */
static bool judge_trace(const struct judge *judge, vaddr at, const uint8_t *bytes)
{
	const struct memory *memory = &judge->python->memory;
	uint64_t next, previous, back = at, forth = at;

	if (!layout_has(memory->layout, FIELD_OBJECT_NEXT))
		return true;
	next = field_load(memory->layout, bytes, FIELD_OBJECT_NEXT);
	previous = field_load(memory->layout, bytes, FIELD_OBJECT_PREVIOUS);
	if (!next && !previous)
		return true;
	/* what a core lacks contradicts nothing */
	memory_field(memory, next, FIELD_OBJECT_PREVIOUS, &back);
	memory_field(memory, previous, FIELD_OBJECT_NEXT, &forth);
	return next && previous && back == at && forth == at;
}

/* The GC header in front of an object: untracked; or tracked, between two neighbours, the next of
 * which points back. */
static bool judge_links(const struct judge *judge, const struct object *object, bool *tracked)
{
	const struct memory *memory = &judge->python->memory;
	uint32_t size = layout_offset(memory->layout, SIZE_GC_HEAD);
	const uint8_t *bytes = object->bytes - size;
	bool collecting = judge->python->collecting;
	enum gc_tracking tracking = gc_head_tracking(memory->layout, bytes, collecting);
	vaddr head = object->at - size, next;

	*tracked = tracking == GC_TRACKED;
	/* a collection uses the links for counts of its own */
	if (tracking != GC_TRACKED || collecting)
		return tracking != GC_NO_HEAD;
	next = field_load(memory->layout, bytes, FIELD_GC_HEAD_NEXT) & GC_LINK_MASK;
	return gc_head_previous(memory, next) == head;
}

/* Whether the instance at `bytes` has a pre-header. A type that is none of Python's heap types has
 * none, wherever C code has put it: Objects/typeobject.c, type_is_gc() */
static bool has_preheader(const struct judge *judge, const struct type *type, const uint8_t *bytes,
			  uint64_t room)
{
	const struct layout *layout = &judge->python->layout;

	return !type->metatype || layout_offset(layout, SIZE_TYPE) > room ||
	       field_load(layout, bytes, FIELD_TYPE_FLAGS) &
		       layout_constant(layout, CONSTANT_TYPE_HEAP);
}

/* The heap that instances are allocated from, where heaps have uses: 3.13
 * Include/internal/pycore_object_alloc.h, _PyObject_GetAllocationHeap() */
static enum mimalloc_use use_of(const struct type *type)
{
	return type->preheader ? MIMALLOC_GC_PRE : type->gc ? MIMALLOC_GC : MIMALLOC_OBJECT;
}

/* Whether an object with a pre-header of `preheader` bytes begins in the candidate. */
static bool judge_at(const struct judge *judge, const struct candidate *candidate,
		     uint32_t preheader, struct verdict *ret)
{
	const struct layout *layout = &judge->python->layout;
	const uint8_t *bytes = candidate->bytes + preheader;
	uint32_t index =
		type_find(judge->types, load_u64(bytes + layout_offset(layout, FIELD_OBJECT_TYPE)));
	const struct type *type;
	bool bare;

	if (index == TYPE_NONE)
		return false;
	type = &judge->types->list.items[index];
	bare = candidate->is_static ||
	       !has_preheader(judge, type, bytes, candidate->size - preheader);
	if (preheader != (bare ? 0 : type->preheader))
		return false;
	if (!judge_refcount(judge, bytes) ||
	    !judge_trace(judge, candidate->at + preheader, bytes) ||
	    (candidate->use && candidate->use != use_of(type)))
		return false;
	*ret = (struct verdict){
		.object = {
			.at = candidate->at + preheader,
			.bytes = bytes,
			.room = candidate->size - preheader,
			.before = candidate->is_static ? candidate->before : preheader,
			.type = type,
		},
		.type = index,
	};
	if (bare || !type->gc)
		return true;
	if (has_split_refcount(layout)) {
		uint64_t bits = field_load(layout, bytes, FIELD_OBJECT_GC_BITS);

		ret->tracked = bits & GC_BITS_TRACKED;
		ret->frozen = ret->tracked && bits & GC_BITS_FROZEN;
		return true;
	}
	return judge_links(judge, &ret->object, &ret->tracked);
}

bool judge_header(const struct judge *judge, const struct candidate *candidate, struct verdict *ret)
{
	const struct layout *layout = &judge->python->layout;
	uint32_t least = layout_offset(layout, SIZE_OBJECT);
	uint32_t gc = layout_offset(layout, SIZE_GC_HEAD);
	uint32_t managed = (uint32_t)layout_constant(layout, CONSTANT_MANAGED_BYTES);
	const uint32_t preheaders[] = { 0, gc, gc + managed };

	for (size_t i = 0; i < (managed ? 3 : 2); i++) {
		if (preheaders[i] + least > candidate->size || (candidate->is_static && i))
			return false;
		if (candidate->begins && candidate->begins != BEGINS_HERE + preheaders[i])
			continue;
		if (judge_at(judge, candidate, preheaders[i], ret))
			return true;
	}
	return false;
}

bool judge_address(const struct judge *judge, vaddr at, vaddr start, vaddr end, struct verdict *ret)
{
	const struct layout *layout = &judge->python->layout;
	const struct image_run *run = image_run_at(judge->python->memory.image, at);
	struct candidate candidate = { 0 };
	const struct type *type;
	const uint8_t *bytes;
	uint32_t index, preheader;

	if (!run)
		return false;
	start = MAX(start, run->start);
	end = MIN(end, run->end);
	if (!range_holds(start, end, at, layout_offset(layout, SIZE_OBJECT)))
		return false;
	bytes = run->bytes + (at - run->start);
	index = type_find(judge->types, field_load(layout, bytes, FIELD_OBJECT_TYPE));
	if (index == TYPE_NONE)
		return false;
	type = &judge->types->list.items[index];
	preheader = has_preheader(judge, type, bytes, end - at) ? type->preheader : 0;
	if (at - start < preheader)
		return false;
	candidate.bytes = bytes - preheader;
	candidate.at = at - preheader;
	candidate.size = end - candidate.at;
	candidate.begins = (uint8_t)(BEGINS_HERE + preheader);
	return judge_header(judge, &candidate, ret);
}
