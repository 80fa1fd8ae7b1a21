/* SPDX-License-Identifier: MIT */
#include "mirror.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../../base/bisect.h"

#define PAGE_BYTES 4096UL
#define HUGE_BYTES (2UL << 20)
#define SLACK      (1UL << 30)  /* around mappings */
#define ADDRESSES  (1ULL << 47) /* of the target's half */

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

static bool add_part(struct mirror *mirror, vaddr start, vaddr end)
{
	struct mirror_part *part;
	uint8_t *bytes;

	/* with huge pages at the same places as the target has them */
	bytes = mmap(NULL, end - start + HUGE_BYTES, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED)
		return false;
	part = vector_push(&mirror->list);
	if (!part) {
		munmap(bytes, end - start + HUGE_BYTES);
		errno = ENOMEM;
		return false;
	}
	*part = (struct mirror_part){ start, end, bytes };
	return true;
}

static uint8_t *bytes_of(const struct mirror_part *part, vaddr at)
{
	uint64_t shift = (part->start - (uintptr_t)part->bytes) & (HUGE_BYTES - 1);

	return part->bytes + shift + (at - part->start);
}

bool mirror_reserve(struct mirror *mirror, const struct mappings *mappings)
{
	vaddr start = 0, end = 0;

	for (size_t i = 0; i < mappings->list.count; i++) {
		const struct mapping *mapping = &mappings->list.items[i];

		if (!mapping->permissions || mapping->start >= ADDRESSES)
			continue;
		if (end && mapping->start < end + SLACK) {
			end = MIN(mapping->end + SLACK, ADDRESSES);
			continue;
		}
		if (end && !add_part(mirror, start, end))
			return false;
		start = MAX(mapping->start, end + SLACK) - SLACK;
		end = MIN(mapping->end + SLACK, ADDRESSES);
	}
	return !end || add_part(mirror, start, end);
}

static int compare_parts(const void *a, const void *b)
{
	const struct mirror_part *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

uint8_t *mirror_at(struct mirror *mirror, vaddr start, vaddr end)
{
	const struct mirror_part *parts = mirror->list.items;
	size_t found = bisect(i, mirror->list.count, parts[i].end < end);
	uint8_t *bytes;

	if (found == mirror->list.count || parts[found].start > start) {
		if (!add_part(mirror, start, end))
			return NULL;
		/* parts may overlap: each address has its bytes from where it was asked for */
		qsort(mirror->list.items, mirror->list.count, sizeof(*mirror->list.items),
		      compare_parts);
		parts = mirror->list.items;
		for (found = 0; parts[found].start != start || parts[found].end != end; found++)
			;
	}
	bytes = bytes_of(&parts[found], start);
	return mprotect(bytes, end - start, PROT_READ | PROT_WRITE) ? NULL : bytes;
}

void mirror_populate(uint8_t *bytes, uint64_t size)
{
	if (!madvise(bytes, size, MADV_POPULATE_WRITE))
		return;
	for (uint64_t at = 0; at < size; at += PAGE_BYTES)
		((volatile uint8_t *)bytes)[at] = 0;
}

void mirror_deinit(struct mirror *mirror)
{
	for (size_t i = 0; i < mirror->list.count; i++) {
		const struct mirror_part *part = &mirror->list.items[i];

		munmap(part->bytes, part->end - part->start + HUGE_BYTES);
	}
	free(mirror->list.items);
	*mirror = (struct mirror){ 0 };
}
