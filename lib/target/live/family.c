/* SPDX-License-Identifier: MIT */
/*
 * Whether two processes have the same page is told by its frame: bits 0 to 54 of its word in
 * /proc/PID/pagemap, which are zero without CAP_SYS_ADMIN
 * (Documentation/admin-guide/mm/pagemap.rst).
 */
#include "family.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../base/bisect.h"
#include "../../base/cleanup.h"
#include "pages.h"

#define PAGE_BYTES 4096U
#define WORDS      4096U
#define FRAME_MASK ((1ULL << 55) - 1)

/* The frames of one member, sorted. */
struct frames {
	VECTOR(uint64_t) list;
};

static bool is_member(const struct family *family, pid_t pid)
{
	for (size_t i = 0; i < family->list.count; i++) {
		if (family->list.items[i].pid == pid)
			return true;
	}
	return false;
}

/* Adds what lives and has memory; false when out of memory. */
static bool add(struct family *family, pid_t pid)
{
	struct family_member member = { .pid = pid, .own_bytes = MEMORY_UNKNOWN }, *added;

	if (!proc_status(pid, &member.status) || member.status.state == 'Z')
		return true;
	member.parent = (pid_t)member.status.parent;
	memory_read(&member.memory, pid);
	member.pss = memory_share(pid);
	added = vector_push(&family->list);
	if (added)
		*added = member;
	return added;
}

/* Adds the children of members, until there are no more. */
static struct memheap_error *add_descendants(struct family *family)
{
	size_t before;

	do {
		const struct dirent *entry;
		DIR *processes = opendir("/proc");

		if (!processes)
			return error_create_errno("cannot list the processes");
		before = family->list.count;
		while ((entry = readdir(processes))) {
			pid_t pid = (pid_t)atoi(entry->d_name);

			if (pid > 0 && !is_member(family, pid) &&
			    is_member(family, (pid_t)proc_stat(pid, 4)) && !add(family, pid)) {
				closedir(processes);
				return &error_no_memory;
			}
		}
		closedir(processes);
	} while (family->list.count > before);
	return NULL;
}

static int compare_frames(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

/* Reads the frames of a run of pages; false when they are not told, or out of memory. */
static bool read_run(struct frames *frames, int fd, const struct pages *run)
{
	uint64_t words[WORDS];

	for (vaddr at = run->start; at < run->end;) {
		size_t count = MIN((run->end - at) / PAGE_BYTES, (uint64_t)WORDS);
		ssize_t size = pread(fd, words, count * sizeof(words[0]),
				     (off_t)(at / PAGE_BYTES * sizeof(words[0])));

		if (size <= 0)
			return !size;
		count = (size_t)size / sizeof(words[0]);
		for (size_t i = 0; i < count; i++) {
			uint64_t *frame;

			/* it went since the run was seen */
			if (!(words[i] >> 63))
				continue;
			if (!(words[i] & FRAME_MASK))
				return false;
			frame = vector_push(&frames->list);
			if (!frame)
				return false;
			*frame = words[i] & FRAME_MASK;
		}
		at += count * PAGE_BYTES;
	}
	return true;
}

static bool read_frames(struct frames *frames, pid_t pid)
{
	struct mappings mappings = { 0 };
	struct page_list pages = { 0 };
	char path[64];
	bool told;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	told = fd >= 0 && mappings_read(&mappings, pid) &&
	       pages_scan(&pages, &(struct page_scan){
					  .pid = pid,
					  .shared = pid,
					  .mappings = &mappings,
					  .workers = 1,
				  });
	for (size_t i = 0; told && i < pages.list.count; i++) {
		if (!pages.list.items[i].swapped)
			told = read_run(frames, fd, &pages.list.items[i]);
	}
	mappings_deinit(&mappings);
	pages_deinit(&pages);
	if (told && frames->list.count)
		qsort(frames->list.items, frames->list.count, sizeof(uint64_t), compare_frames);
	return told;
}

/* Of a sorted list: without what it has twice, or only what it has once. */
static size_t squeeze(uint64_t *frames, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++) {
		if (!kept || frames[kept - 1] != frames[i])
			frames[kept++] = frames[i];
	}
	return kept;
}

/* How often `frame` is in the sorted list. */
static size_t times(const struct frames *all, uint64_t frame)
{
	const uint64_t *items = all->list.items;
	size_t first = bisect(i, all->list.count, items[i] < frame);
	size_t end = first;

	while (end < all->list.count && items[end] == frame && end - first < 2)
		end++;
	return end - first;
}

/* Counts each page once; false when the kernel does not tell frames. */
static bool count_frames(struct family *family)
{
	struct frames *each = calloc(family->list.count, sizeof(*each)), all = { 0 };
	bool told = each;

	for (size_t i = 0; told && i < family->list.count; i++) {
		told = read_frames(&each[i], family->list.items[i].pid);
		each[i].list.count = squeeze(each[i].list.items, each[i].list.count);
		for (size_t j = 0; told && j < each[i].list.count; j++) {
			uint64_t *frame = vector_push(&all.list);

			told = frame;
			if (frame)
				*frame = each[i].list.items[j];
		}
	}
	if (told && all.list.count)
		qsort(all.list.items, all.list.count, sizeof(uint64_t), compare_frames);
	for (size_t i = 0; told && i < family->list.count; i++) {
		struct family_member *member = &family->list.items[i];

		member->own_bytes = 0;
		for (size_t j = 0; j < each[i].list.count; j++)
			member->own_bytes +=
				times(&all, each[i].list.items[j]) == 1 ? PAGE_BYTES : 0;
	}
	if (told)
		family->once_bytes = squeeze(all.list.items, all.list.count) * PAGE_BYTES;
	for (size_t i = 0; each && i < family->list.count; i++)
		free(each[i].list.items);
	free(each);
	free(all.list.items);
	return told;
}

struct memheap_error *family_find(struct family *family, pid_t pid)
{
	struct memheap_error *error = add(family, pid) ? add_descendants(family) : &error_no_memory;

	if (error)
		return error;
	family->frames = count_frames(family);
	for (size_t i = 0; i < family->list.count; i++) {
		const struct family_member *member = &family->list.items[i];
		uint64_t rss = member->memory.rss;

		family->rss_bytes += rss == MEMORY_UNKNOWN ? 0 : rss;
		if (!family->frames && member->pss != MEMORY_UNKNOWN)
			family->once_bytes += member->pss;
	}
	return NULL;
}

void family_deinit(struct family *family)
{
	free(family->list.items);
	*family = (struct family){ 0 };
}
