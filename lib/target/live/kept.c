/* SPDX-License-Identifier: MIT */
#include "kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/cleanup.h"

#define KEPT_LARGEST (64UL << 20) /* that the pause has to wait for: to cold memory, 50 ms */

/* What it has mapped; of a new child, without what the process keeps (kernel/fork.c, dup_mmap()).
 */
static uint64_t mapped_pages(pid_t pid)
{
	_cleanup_free_ char *text = proc_read(pid, "statm", NULL);

	return text ? strtoull(text, NULL, 10) : 0;
}

static bool find_kept(struct capture *kept, const struct capture *capture,
		      const struct mappings *frozen)
{
	size_t next = 0;

	for (size_t i = 0; i < capture->mappings.list.count; i++) {
		const struct mapping *mapping = &capture->mappings.list.items[i];
		struct mapping *added;

		while (next < frozen->list.count && frozen->list.items[next].end <= mapping->start)
			next++;
		if (next < frozen->list.count && frozen->list.items[next].start <= mapping->start)
			continue;
		added = vector_push(&kept->mappings.list);
		if (!added)
			return false;
		*added = *mapping;
	}
	return true;
}

struct memheap_error *kept_copy(struct capture *kept, const struct capture *capture, pid_t child,
				uint64_t deadline_ns)
{
	_cleanup_(mappings_deinit) struct mappings frozen = { 0 };
	struct memheap_error *error;

	*kept = (struct capture){
		.pid = capture->pid,
		.source = capture->pid,
		.parallel = capture->parallel,
		.all_common = true,
		.deadline_ns = deadline_ns,
	};
	if (mapped_pages(capture->pid) == mapped_pages(child))
		return NULL;
	if (!mappings_read(&frozen, child))
		return error_create_errno("cannot read the child");
	if (!find_kept(kept, capture, &frozen))
		return &error_no_memory;
	if (!capture_pages(kept) || !mirror_reserve(&kept->mirror, &kept->mappings))
		return error_create_errno("cannot read what it keeps from its children");
	error = capture_plan(kept, SCOPE_ALL);
	if (!error && kept->bytes > KEPT_LARGEST)
		error = error_create(
			MEMHEAP_FAILED,
			"it keeps %llu bytes from its children (MADV_DONTFORK), at 0x%llx and on",
			(unsigned long long)kept->bytes,
			(unsigned long long)kept->mappings.list.items[0].start);
	if (!error)
		error = capture_populate(kept);
	if (!error)
		capture_copy(kept);
	if (!error && kept->late)
		error = error_create(MEMHEAP_FAILED, "copying what it keeps from its children "
						     "(MADV_DONTFORK) took too long");
	return error;
}

static bool add_change(struct page_list *changes, struct pages change)
{
	struct pages *added = change.start < change.end ? vector_push(&changes->list) : NULL;

	if (added)
		*added = change;
	return added || change.start >= change.end;
}

bool kept_add_pages(struct capture *capture, const struct capture *kept)
{
	_cleanup_(pages_deinit) struct page_list changes = { 0 };
	bool added = true;

	for (size_t i = 0; i < kept->mappings.list.count; i++) {
		const struct mapping *mapping = &kept->mappings.list.items[i];
		vaddr at = mapping->start;

		for (size_t j = pages_after(&kept->pages, at);
		     added && j < kept->pages.list.count &&
		     kept->pages.list.items[j].start < mapping->end;
		     j++) {
			struct pages run = kept->pages.list.items[j];

			run.start = MAX(run.start, at);
			run.end = MIN(run.end, mapping->end);
			added = add_change(&changes, (struct pages){ .start = at,
								     .end = run.start,
								     .absent = true }) &&
				add_change(&changes, run);
			at = run.end;
		}
		added = added && add_change(&changes, (struct pages){ .start = at,
								      .end = mapping->end,
								      .absent = true });
	}
	return added && pages_update(&capture->pages, &changes);
}

void kept_put(struct capture *capture, const struct capture *kept)
{
	size_t next = 0;

	for (size_t i = 0; i < capture->pieces.count && next < kept->pieces.count; i++) {
		struct capture_piece *piece = &capture->pieces.items[i];
		const struct capture_piece *done = &kept->pieces.items[next];

		if (piece->at != done->at)
			continue;
		memcpy(piece->to, done->to, done->copied);
		piece->copied = done->copied;
		piece->settled = true;
		next++;
	}
}

/* Whether it is the process's own memory, of which the child has no page. */
static bool is_suspect(const struct capture *capture, const struct mapping *mapping)
{
	size_t found = pages_after(&capture->pages, mapping->start);

	return !mapping->shared && !mapping->inode &&
	       (found == capture->pages.list.count ||
		capture->pages.list.items[found].start >= mapping->end);
}

/* Whether the flags of the mapping in the text of smaps say so; not of memory that the kernel may
 * drop at any time, where the C library keeps random numbers (MAP_DROPPABLE: Linux 6.11). */
static bool is_wiped(const char *smaps, const struct mapping *mapping)
{
	char head[40];
	const char *at, *flags, *end;

	snprintf(head, sizeof(head), "%08llx-%08llx ", (unsigned long long)mapping->start,
		 (unsigned long long)mapping->end);
	at = strstr(smaps, head);
	flags = at ? strstr(at, "\nVmFlags:") : NULL;
	end = flags ? strchr(flags + 1, '\n') : NULL;
	return end && memmem(flags, (size_t)(end - flags), " wf", 3) &&
	       !memmem(flags, (size_t)(end - flags), " dp", 3);
}

struct memheap_error *kept_find_wiped(const struct capture *capture, pid_t child)
{
	const struct mapping *mappings = capture->mappings.list.items;
	size_t count = capture->mappings.list.count;
	_cleanup_(pages_deinit) struct page_list pages = { 0 };
	_cleanup_free_ bool *suspects = calloc(count + 1, sizeof(*suspects));
	_cleanup_free_ char *smaps = NULL;

	for (size_t i = 0; suspects && i < count; i++)
		suspects[i] = is_suspect(capture, &mappings[i]);
	if (!suspects || !pages_scan(&pages, &(struct page_scan){
						     .pid = capture->pid,
						     .shared = capture->pid,
						     .mappings = &capture->mappings,
						     .wanted = suspects,
						     .workers = 1,
						     .query = PAGES_PRESENT,
					     }))
		return error_create_errno("cannot read the pages of process %d", (int)capture->pid);
	/* the kernel looks at all pages for this */
	smaps = pages.list.count ? proc_read(child, "smaps", NULL) : NULL;
	for (size_t i = 0; smaps && i < count; i++) {
		if (suspects[i] && is_wiped(smaps, &mappings[i]))
			return error_create(MEMHEAP_FAILED,
					    "its children have no copy of its memory at 0x%llx "
					    "(MADV_WIPEONFORK)",
					    (unsigned long long)mappings[i].start);
	}
	return NULL;
}
