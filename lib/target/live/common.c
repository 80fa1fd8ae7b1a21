/* SPDX-License-Identifier: MIT */
/*
 * A word of /proc/PID/pagemap tells of each page whether it is mapped once
 * (Documentation/admin-guide/mm/pagemap.rst); smaps tells it of whole mappings, but the process
 * waits meanwhile if it maps memory. A page of zeros that was only read counts as common.
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "../../base/cleanup.h"

#define PAGE_BYTES     4096
#define WORDS          4096
#define WORD_PRESENT   (1ULL << 63)
#define WORD_EXCLUSIVE (1ULL << 56)

static bool add(struct page_list *common, vaddr start, vaddr end)
{
	struct pages *last =
		common->list.count ? &common->list.items[common->list.count - 1] : NULL;

	if (last && last->end == start) {
		last->end = end;
		return true;
	}
	last = vector_push(&common->list);
	if (last)
		*last = (struct pages){ .start = start, .end = end };
	else
		errno = ENOMEM;
	return last;
}

static bool ask(struct page_list *common, int fd, vaddr start, vaddr end)
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
			vaddr at = start + i * PAGE_BYTES;

			if ((words[i] & (WORD_PRESENT | WORD_EXCLUSIVE)) == WORD_PRESENT &&
			    !add(common, at, at + PAGE_BYTES))
				return false;
		}
		start += count * PAGE_BYTES;
	}
	return true;
}

bool common_find(struct page_list *common, pid_t pid, const struct page_list *pages)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	common->list.count = 0;
	for (size_t i = 0; i < pages->list.count; i++) {
		const struct pages *run = &pages->list.items[i];

		/* a file's pages are nobody's own; of those on disk it is not known */
		if (!run->file && !(run->swapped ? add(common, run->start, run->end)
						 : ask(common, fd, run->start, run->end)))
			return false;
	}
	return true;
}
