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
#include <sys/ioctl.h>

#include "../../base/bisect.h"
#include "../../base/cleanup.h"
#include "pagemap_scan.h"

#define PAGE_BYTES      4096
#define REGIONS         1024
#define WORDS           4096
#define WORD_PRESENT    (1ULL << 63)
#define WORD_SWAPPED    (1ULL << 62)
#define WORD_FILE       (1ULL << 61)
#define MAPPING_LARGEST (1ULL << 40) /* read word by word; what is larger is reserved space */

/* Adds a run, joined to the one before it if that is of the same kind. */
static bool add(struct page_list *pages, struct pages run)
{
	struct pages *last = pages->list.count ? &pages->list.items[pages->list.count - 1] : NULL;

	if (last && last->end == run.start && last->swapped == run.swapped &&
	    last->file == run.file && last->written == run.written) {
		last->end = run.end;
		return true;
	}
	last = vector_push(&pages->list);
	if (last)
		*last = run;
	return last;
}

/* 1: done; 0: this kernel can't; -1: failed, with errno. */
static int scan(struct page_list *pages, int fd, const struct pm_scan_arg *request)
{
	struct page_region regions[REGIONS];
	struct pm_scan_arg argument = *request;

	argument.size = sizeof(argument);
	argument.vec = (uintptr_t)regions;
	argument.vec_len = REGIONS;
	argument.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
	argument.return_mask |= PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_FILE | PAGE_IS_PFNZERO;
	while (argument.start < argument.end) {
		int count = ioctl(fd, PAGEMAP_SCAN, &argument);

		if (count < 0)
			return errno == ENOTTY ? 0 : -1;
		for (int i = 0; i < count; i++) {
			const struct page_region *region = &regions[i];

			if (region->categories & PAGE_IS_PFNZERO)
				continue;
			if (!add(pages, (struct pages){
						.start = region->start,
						.end = region->end,
						.swapped = region->categories & PAGE_IS_SWAPPED,
						.file = region->categories & PAGE_IS_FILE,
						.written = region->categories & PAGE_IS_WRITTEN,
					})) {
				errno = ENOMEM;
				return -1;
			}
		}
		argument.start = argument.walk_end;
	}
	return 1;
}

static bool read_words(struct page_list *pages, int fd, vaddr start, vaddr end)
{
	uint64_t words[WORDS];

	if (end - start > MAPPING_LARGEST)
		return true;
	while (start < end) {
		size_t count = MIN((end - start) / PAGE_BYTES, (uint64_t)WORDS);
		ssize_t done = pread(fd, words, count * sizeof(words[0]),
				     (off_t)(start / PAGE_BYTES * sizeof(words[0])));

		if (done <= 0)
			return !done;
		count = (size_t)done / sizeof(words[0]);
		for (size_t i = 0; i < count; i++) {
			vaddr at = start + i * PAGE_BYTES;

			if ((words[i] & (WORD_PRESENT | WORD_SWAPPED)) &&
			    !add(pages, (struct pages){
						.start = at,
						.end = at + PAGE_BYTES,
						.swapped = words[i] & WORD_SWAPPED,
						.file = words[i] & WORD_FILE,
					}))
				return false;
		}
		start += count * PAGE_BYTES;
	}
	return true;
}

static int open_pagemap(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

bool pages_scan(struct page_list *pages, pid_t pid, pid_t shared, const struct mappings *mappings)
{
	int can = 1;

	_cleanup_close_ int private_fd = open_pagemap(pid);
	_cleanup_close_ int shared_fd = open_pagemap(shared);
	if (private_fd < 0 || shared_fd < 0)
		return false;
	pages->list.count = 0;
	for (size_t i = 0; i < mappings->list.count; i++) {
		const struct mapping *mapping = &mappings->list.items[i];
		int fd = mapping->shared ? shared_fd : private_fd;

		/* the kernel's own page has no entries */
		if (mapping->start >= 1ULL << 63)
			continue;
		if (can > 0)
			can = scan(pages, fd,
				   &(struct pm_scan_arg){
					   .start = mapping->start,
					   .end = mapping->end,
				   });
		if (can < 0 || (!can && !read_words(pages, fd, mapping->start, mapping->end)))
			return false;
	}
	return true;
}

bool pages_scan_written(struct page_list *pages, pid_t pid, const struct mappings *mappings,
			bool protect)
{
	_cleanup_close_ int fd = open_pagemap(pid);

	if (fd < 0)
		return false;
	pages->list.count = 0;
	for (size_t i = 0; i < mappings->list.count; i++) {
		const struct mapping *mapping = &mappings->list.items[i];
		const struct pm_scan_arg request = {
			.start = mapping->start,
			.end = mapping->end,
			.flags = protect ? PM_SCAN_WP_MATCHING : 0,
			.category_mask = protect ? PAGE_IS_WRITTEN : 0,
			.return_mask = PAGE_IS_WRITTEN,
		};

		if (mapping->start < 1ULL << 63 && scan(pages, fd, &request) <= 0)
			return false;
	}
	return true;
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
