/* SPDX-License-Identifier: MIT */
/*
 * PAGEMAP_SCAN (Linux 6.7, Documentation/admin-guide/mm/pagemap.rst) gives runs of pages; before,
 * /proc/PID/pagemap has a word for each page. A page of zeros that was only read is in neither.
 */
#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "../../base/bisect.h"
#include "../../base/cleanup.h"
#include "../../base/parallel.h"
#include "pagemap_scan.h"
#include "threads.h"

#define PAGE_BYTES      4096
#define REGIONS         1024
#define PAGES_AT_ONCE   4096
#define SLICE_BYTES     (32UL << 20)
#define SLICES_MAX      64 /* of one mapping */
#define WORDS           4096
#define WORD_PRESENT    (1ULL << 63)
#define WORD_SWAPPED    (1ULL << 62)
#define WORD_FILE       (1ULL << 61)
#define WORD_EXCLUSIVE  (1ULL << 56) /* mapped once */
#define MAPPING_LARGEST (1ULL << 40) /* read word by word; what is larger is reserved space */

/* Adds a run, joined to the one before it if that is of the same kind. */
static bool add(struct page_list *pages, struct pages run)
{
	struct pages *last = pages->list.count ? &pages->list.items[pages->list.count - 1] : NULL;

	if (last && last->end == run.start && last->swapped == run.swapped &&
	    last->file == run.file && last->written == run.written && last->absent == run.absent) {
		last->end = run.end;
		return true;
	}
	last = vector_push(&pages->list);
	if (last)
		*last = run;
	return last;
}

/* A stretch of one mapping, and what was found there. */
struct slice {
	const struct mapping *mapping;
	vaddr start, end;
	struct page_list found;
	int failure; /* errno */
};

/* A scan at work: slices are independent. */
struct work {
	const struct page_scan *scan;
	int private_fd, shared_fd;
	VECTOR(struct slice) slices;
};

/* Whether all its pages are the process's own: to be told it of each takes the kernel four times as
 * long. */
static bool is_anonymous(const struct mapping *mapping)
{
	return !mapping->shared && !mapping->inode &&
	       (!mapping->path || !strcmp(mapping->path, "[heap]") ||
		!strncmp(mapping->path, "[anon:", strlen("[anon:")));
}

static struct pm_scan_arg make_request(const struct slice *slice, enum page_query query)
{
	struct pm_scan_arg request = {
		.size = sizeof(request),
		.start = slice->start,
		.end = slice->end,
		.vec_len = REGIONS,
		.max_pages = query == PAGES_CHANGED ? 0 : PAGES_AT_ONCE,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO,
	};

	if (!is_anonymous(slice->mapping))
		request.return_mask |= PAGE_IS_FILE;
	if (query != PAGES_PRESENT)
		request.return_mask |= PAGE_IS_WRITTEN;
	if (query == PAGES_PROTECT) {
		request.flags = PM_SCAN_WP_MATCHING;
		request.category_mask = PAGE_IS_WRITTEN;
	}
	if (query == PAGES_CHANGED) {
		/* written, or not present */
		request.category_inverted = PAGE_IS_PRESENT;
		request.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_WRITTEN;
	}
	return request;
}

static int open_pagemap(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

bool pages_can_protect(pid_t pid)
{
	struct pm_scan_arg nothing = { .size = sizeof(nothing) };

	_cleanup_close_ int fd = open_pagemap(pid);
	return fd < 0 || ioctl(fd, PAGEMAP_SCAN, &nothing) >= 0 || errno != ENOTTY;
}

/* While the kernel looks, the process waits if it maps memory: it shall not look for long, and not
 * be preempted. */
static int ask_kernel(int fd, struct pm_scan_arg *request)
{
	const struct live_priority before = live_hurry();
	int count = ioctl(fd, PAGEMAP_SCAN, request), failure = errno;

	live_relax(&before);
	errno = failure;
	return count;
}

static bool ask_regions(struct slice *slice, int fd, enum page_query query)
{
	struct page_region regions[REGIONS];
	struct pm_scan_arg request = make_request(slice, query);

	request.vec = (uintptr_t)regions;
	while (request.start < request.end) {
		int count = ask_kernel(fd, &request);

		for (int i = 0; i < count; i++) {
			uint64_t kinds = regions[i].categories;
			bool absent = !(kinds & (PAGE_IS_PRESENT | PAGE_IS_SWAPPED)) ||
				      kinds & PAGE_IS_PFNZERO;

			if (absent && query != PAGES_CHANGED)
				continue;
			if (!add(&slice->found, (struct pages){
							.start = regions[i].start,
							.end = regions[i].end,
							.swapped = kinds & PAGE_IS_SWAPPED,
							.file = kinds & PAGE_IS_FILE,
							.written = kinds & PAGE_IS_WRITTEN,
							.absent = absent,
						})) {
				errno = ENOMEM;
				return false;
			}
		}
		if (count < 0)
			return false;
		request.start = request.walk_end;
	}
	return true;
}

/* Adds what the word of the page at `at` says; false when out of memory. */
typedef bool word_fn(struct page_list *pages, vaddr at, uint64_t word);

static bool each_word(struct page_list *pages, int fd, vaddr start, vaddr end, word_fn *fn)
{
	uint64_t words[WORDS];

	while (start < end) {
		size_t count = MIN((end - start) / PAGE_BYTES, (uint64_t)WORDS);
		ssize_t done = pread(fd, words, count * sizeof(words[0]),
				     (off_t)(start / PAGE_BYTES * sizeof(words[0])));

		if (done <= 0) /* 0: the process has ended */
			return !done;
		count = (size_t)done / sizeof(words[0]);
		for (size_t i = 0; i < count; i++) {
			if (!fn(pages, start + i * PAGE_BYTES, words[i])) {
				errno = ENOMEM;
				return false;
			}
		}
		start += count * PAGE_BYTES;
	}
	return true;
}

static bool add_if_there(struct page_list *pages, vaddr at, uint64_t word)
{
	return !(word & (WORD_PRESENT | WORD_SWAPPED)) ||
	       add(pages, (struct pages){
				  .start = at,
				  .end = at + PAGE_BYTES,
				  .swapped = word & WORD_SWAPPED,
				  .file = word & WORD_FILE,
			  });
}

/* A page of zeros that was only read counts as common. */
static bool add_if_common(struct page_list *pages, vaddr at, uint64_t word)
{
	return (word & (WORD_PRESENT | WORD_EXCLUSIVE)) != WORD_PRESENT ||
	       add(pages, (struct pages){ .start = at, .end = at + PAGE_BYTES });
}

bool pages_find_common(struct page_list *common, pid_t pid, const struct page_list *pages)
{
	_cleanup_close_ int fd = open_pagemap(pid);

	if (fd < 0)
		return false;
	common->list.count = 0;
	for (size_t i = 0; i < pages->list.count; i++) {
		const struct pages *run = &pages->list.items[i];
		const struct pages whole = { .start = run->start, .end = run->end };

		/* a file's pages are nobody's own; of those on disk it is not known */
		if (!run->file &&
		    !(run->swapped ? add(common, whole)
				   : each_word(common, fd, run->start, run->end, add_if_common)))
			return false;
	}
	return true;
}

static void scan_slices(void *context, unsigned worker, size_t begin, size_t end)
{
	struct work *work = context;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		struct slice *slice = &work->slices.items[i];
		int fd = slice->mapping->shared ? work->shared_fd : work->private_fd;
		bool done = ask_regions(slice, fd, work->scan->query);

		if (!done && errno == ENOTTY && work->scan->query == PAGES_PRESENT)
			done = slice->end - slice->start > MAPPING_LARGEST ||
			       each_word(&slice->found, fd, slice->start, slice->end, add_if_there);
		slice->failure = done ? 0 : errno;
	}
}

/* False when out of memory. */
static bool make_slices(struct work *work)
{
	const struct mappings *mappings = work->scan->mappings;

	for (size_t i = 0; i < mappings->list.count; i++) {
		const struct mapping *mapping = &mappings->list.items[i];
		vaddr at = mapping->start;
		uint64_t step =
			MAX(round_up((mapping->end - at) / SLICES_MAX, SLICE_BYTES), SLICE_BYTES);

		/* the kernel's own page has no entries */
		if (at >= 1ULL << 63 || (work->scan->wanted && !work->scan->wanted[i]))
			continue;
		while (at < mapping->end) {
			struct slice *slice = vector_push(&work->slices);

			if (!slice)
				return false;
			*slice = (struct slice){ mapping, at, MIN(at + step, mapping->end) };
			at = slice->end;
		}
	}
	return true;
}

/* Moves what the slices found to `pages`. */
static bool gather(struct page_list *pages, struct work *work)
{
	int failure = 0;

	pages->list.count = 0;
	for (size_t i = 0; i < work->slices.count; i++) {
		struct slice *slice = &work->slices.items[i];

		failure = failure ? failure : slice->failure;
		for (size_t j = 0; j < slice->found.list.count && !failure; j++)
			failure = add(pages, slice->found.list.items[j]) ? 0 : ENOMEM;
		pages_deinit(&slice->found);
	}
	errno = failure;
	return !failure;
}

bool pages_scan(struct page_list *pages, const struct page_scan *scan)
{
	const struct parallel parallel = { .workers = scan->workers };
	struct work work = { .scan = scan };
	bool done;

	_cleanup_close_ int private_fd = open_pagemap(scan->pid);
	_cleanup_close_ int shared_fd = open_pagemap(scan->shared);
	if (private_fd < 0 || shared_fd < 0)
		return false;
	work.private_fd = private_fd;
	work.shared_fd = shared_fd;
	if (make_slices(&work)) {
		parallel_for(&parallel, "", work.slices.count, 1, scan_slices, &work);
		done = gather(pages, &work);
	} else {
		errno = ENOMEM;
		done = false;
	}
	free(work.slices.items);
	return done;
}

bool pages_update(struct page_list *pages, const struct page_list *changed)
{
	struct page_list merged = { 0 };
	size_t next = 0;
	vaddr done = 0; /* up to where changes were put */
	bool added = true;

	for (size_t i = 0; added && i <= pages->list.count; i++) {
		bool last = i == pages->list.count;
		struct pages run =
			last ? (struct pages){ UINT64_MAX, UINT64_MAX } : pages->list.items[i];

		run.written = false;
		for (; added && next < changed->list.count; next++) {
			const struct pages *change = &changed->list.items[next];
			struct pages kept = run;

			if (change->start >= run.end)
				break;
			kept.start = MAX(run.start, done);
			kept.end = change->start;
			if (kept.start < kept.end)
				added = add(&merged, kept);
			if (added && !change->absent)
				added = add(&merged, *change);
			done = change->end;
		}
		run.start = MAX(run.start, done);
		if (added && run.start < run.end)
			added = add(&merged, run);
	}
	pages_deinit(pages);
	*pages = merged;
	return added;
}

void pages_deinit(struct page_list *pages)
{
	free(pages->list.items);
	*pages = (struct page_list){ 0 };
}

size_t pages_after(const struct page_list *pages, vaddr at)
{
	return bisect(i, pages->list.count, pages->list.items[i].end <= at);
}
