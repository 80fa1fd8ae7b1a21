/* SPDX-License-Identifier: MIT */
#include "gc_head.h"

/* gc_refs, up to 3.7: Include/objimpl.h, _PyGC_REFS_UNTRACKED and its neighbours. Outside of a
 * collection, a tracked object is reachable. */
#define REFS_UNTRACKED             (-2)
#define REFS_REACHABLE             (-3)
#define REFS_TENTATIVE_UNREACHABLE (-4)

/* Up to 3.7: a count, which collections use, or what is known of the object. */
static enum gc_tracking judge_refs(int64_t refs, bool collecting)
{
	if (refs == REFS_UNTRACKED)
		return GC_UNTRACKED;
	if (refs == REFS_REACHABLE || (collecting && refs >= REFS_TENTATIVE_UNREACHABLE))
		return GC_TRACKED;
	return GC_NO_HEAD;
}

enum gc_tracking gc_head_tracking(const struct layout *layout, const uint8_t *bytes,
				  bool collecting)
{
	if (layout_has(layout, FIELD_GC_HEAD_REFS))
		return judge_refs(field_load_signed(layout, bytes, FIELD_GC_HEAD_REFS) >>
					  layout_constant(layout, CONSTANT_GC_REFS_SHIFT),
				  collecting);
	/* 3.8 and later: untracked objects have no links. Include/internal/pycore_gc.h */
	if (field_load(layout, bytes, FIELD_GC_HEAD_NEXT))
		return GC_TRACKED;
	return field_load(layout, bytes, FIELD_GC_HEAD_PREVIOUS) & GC_LINK_MASK ? GC_NO_HEAD
										: GC_UNTRACKED;
}

static vaddr load_link(const struct memory *memory, vaddr head, enum field_id id)
{
	vaddr at = head + layout_offset(memory->layout, id);
	uint64_t link;

	return layout_has(memory->layout, id) && image_u64(memory->image, at, &link)
		       ? link & GC_LINK_MASK
		       : 0;
}

vaddr gc_head_next(const struct memory *memory, vaddr head)
{
	return load_link(memory, head, FIELD_GC_HEAD_NEXT);
}

vaddr gc_head_previous(const struct memory *memory, vaddr head)
{
	return load_link(memory, head, FIELD_GC_HEAD_PREVIOUS);
}

bool gc_head_is_linked(const struct memory *memory, vaddr head)
{
	vaddr next = gc_head_next(memory, head), previous = gc_head_previous(memory, head);

	return next && previous && gc_head_previous(memory, next) == head &&
	       gc_head_next(memory, previous) == head;
}

bool gc_head_is_untracked(const struct memory *memory, vaddr head)
{
	const uint8_t *bytes = memory_struct(memory, head, SIZE_GC_HEAD);

	return bytes && !field_load(memory->layout, bytes, FIELD_GC_HEAD_NEXT) &&
	       gc_head_tracking(memory->layout, bytes, false) == GC_UNTRACKED;
}
