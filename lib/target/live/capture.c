/* SPDX-License-Identifier: MIT */
#include "capture.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "../../base/cleanup.h"

#define PAGE_BYTES       4096UL
#define HUGE_BYTES       (2UL << 20)
#define PIECE_BYTES      HUGE_BYTES
#define FILE_LARGEST     (256UL << 20) /* private file mappings that are taken in full */
#define KERNEL_ADDRESSES (1ULL << 63)

struct memheap_error *capture_survey(struct capture *capture)
{
	if (!mappings_read(&capture->mappings, capture->pid) ||
	    !pages_scan(&capture->pages, capture->pid, capture->pid, &capture->mappings))
		return error_create_errno("cannot read the mappings of process %d",
					  (int)capture->pid);
	if (!capture->mappings.list.count)
		return error_create(MEMHEAP_FAILED, "process %d has ended", (int)capture->pid);
	return NULL;
}

static bool starts_with(const char *text, const char *start)
{
	return text && !strncmp(text, start, strlen(start));
}

static bool is_deleted(const char *path)
{
	static const char mark[] = " (deleted)";
	size_t length = path ? strlen(path) : 0;

	return length >= strlen(mark) && !strcmp(path + length - strlen(mark), mark);
}

/* Reading a device's memory may do something. */
static bool is_device(const struct mapping *mapping)
{
	return starts_with(mapping->path, "[vvar") ||
	       (starts_with(mapping->path, "/dev/") && !starts_with(mapping->path, "/dev/zero") &&
		!starts_with(mapping->path, "/dev/shm/"));
}

/* Whether the process has any page in it (`own`: that no file has). */
static bool has_pages(const struct capture *capture, const struct mapping *mapping, bool own)
{
	for (size_t i = pages_after(&capture->pages, mapping->start);
	     i < capture->pages.list.count && capture->pages.list.items[i].start < mapping->end;
	     i++) {
		if (!own || !capture->pages.list.items[i].file)
			return true;
	}
	return false;
}

/* As the kernel does for a core (fs/coredump.c, vma_dump_size()), with its default filter. */
static enum taking judge(const struct capture *capture, const struct mapping *mapping)
{
	if (mapping->start >= KERNEL_ADDRESSES || is_device(mapping))
		return TAKE_NOTHING;
	if (mapping->shared)
		return is_deleted(mapping->path) ? TAKE_SHARED : TAKE_NOTHING;
	if (!mapping->inode)
		return mapping->permissions || has_pages(capture, mapping, false) ? TAKE_PRESENT
										  : TAKE_NOTHING;
	if (has_pages(capture, mapping, true) || mapping->permissions & PF_W)
		return mapping->end - mapping->start <= FILE_LARGEST ? TAKE_ALL : TAKE_SHARED;
	return mapping->offset || !(mapping->permissions & PF_R) ? TAKE_NOTHING : TAKE_HEADER;
}

/* Adds [start, end) of a mapping whose bytes go to `bytes`, in pieces. */
static bool add_pieces(struct capture *capture, const struct mapping *mapping, uint8_t *bytes,
		       vaddr start, vaddr end)
{
	while (start < end) {
		struct capture_piece *piece = vector_push(&capture->pieces);
		vaddr next = MIN(round_down(start, PIECE_BYTES) + PIECE_BYTES, end);

		if (!piece)
			return false;
		*piece = (struct capture_piece){
			.at = start,
			.to = bytes + (start - mapping->start),
			.size = (uint32_t)(next - start),
		};
		capture->bytes += next - start;
		start = next;
	}
	return true;
}

static bool add_present(struct capture *capture, const struct mapping *mapping, uint8_t *bytes)
{
	for (size_t i = pages_after(&capture->pages, mapping->start);
	     i < capture->pages.list.count && capture->pages.list.items[i].start < mapping->end;
	     i++) {
		const struct pages *pages = &capture->pages.list.items[i];

		if (!add_pieces(capture, mapping, bytes, MAX(pages->start, mapping->start),
				MIN(pages->end, mapping->end)))
			return false;
	}
	return true;
}

static struct memheap_error *plan_mapping(struct capture *capture, const struct mapping *mapping)
{
	struct capture_plan *plan = vector_push(&capture->plans);
	bool added = true;

	if (!plan)
		return &error_no_memory;
	*plan = (struct capture_plan){ .taking = judge(capture, mapping) };
	if (plan->taking == TAKE_NOTHING)
		return NULL;
	plan->bytes = mirror_at(&capture->mirror, mapping->start, mapping->end);
	if (!plan->bytes)
		return error_create_errno("cannot get %llu bytes of address space",
					  (unsigned long long)(mapping->end - mapping->start));
	if (plan->taking == TAKE_HEADER)
		added = add_pieces(capture, mapping, plan->bytes, mapping->start,
				   mapping->start + PAGE_BYTES);
	else if (plan->taking == TAKE_ALL)
		added = add_pieces(capture, mapping, plan->bytes, mapping->start, mapping->end);
	else
		added = add_present(capture, mapping, plan->bytes);
	return added ? NULL : &error_no_memory;
}

struct memheap_error *capture_plan(struct capture *capture)
{
	capture->plans.count = capture->pieces.count = 0;
	capture->bytes = 0;
	for (size_t i = 0; i < capture->mappings.list.count; i++) {
		struct memheap_error *error =
			plan_mapping(capture, &capture->mappings.list.items[i]);

		if (error)
			return error;
	}
	return NULL;
}

/* What can be had without driving others out of memory; UINT64_MAX: not known. */
static uint64_t available_memory(void)
{
	_cleanup_free_ char *text = proc_read(getpid(), "../meminfo", NULL);
	const char *line = text ? strstr(text, "MemAvailable:") : NULL;

	return line ? strtoull(line + strlen("MemAvailable:"), NULL, 10) << 10 : UINT64_MAX;
}

static void populate(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct capture *capture = context;

	(void)worker;
	for (size_t i = begin; i < end; i++)
		mirror_populate(capture->pieces.items[i].to, capture->pieces.items[i].size);
}

struct memheap_error *capture_populate(struct capture *capture)
{
	uint64_t available = available_memory();

	if (capture->bytes > available)
		return error_hint(
			error_create(MEMHEAP_FAILED,
				     "a copy of process %d needs %llu bytes of memory, and %llu "
				     "are free",
				     (int)capture->pid, (unsigned long long)capture->bytes,
				     (unsigned long long)available),
			"let the kernel write a core (gcore does it without a copy), or free "
			"memory");
	parallel_for(capture->parallel, "getting memory", capture->pieces.count, 1, populate,
		     capture);
	return NULL;
}

/* What can't be read as the process could read it, page by page: PROT_NONE. */
static void read_forced(const struct capture *capture, struct capture_piece *piece)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)capture->source);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && piece->copied < piece->size) {
		ssize_t done = pread(fd, piece->to + piece->copied, piece->size - piece->copied,
				     (off_t)(piece->at + piece->copied));

		if (done <= 0)
			return;
		piece->copied += (uint32_t)done;
	}
}

static void copy_piece(const struct capture *capture, struct capture_piece *piece)
{
	struct iovec to = { piece->to, piece->size };
	struct iovec from = { (void *)(uintptr_t)piece->at, piece->size }; /* NOLINT */
	ssize_t done = process_vm_readv(capture->source, &to, 1, &from, 1, 0);

	piece->copied = done > 0 ? (uint32_t)done : 0;
	if (piece->copied < piece->size)
		read_forced(capture, piece);
}

static void copy(void *context, unsigned worker, size_t begin, size_t end)
{
	struct capture *capture = context;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		if (__atomic_load_n(&capture->late, __ATOMIC_RELAXED))
			return;
		copy_piece(capture, &capture->pieces.items[i]);
		if (live_now_ns() > capture->deadline_ns)
			__atomic_store_n(&capture->late, true, __ATOMIC_RELAXED);
	}
}

void capture_copy(struct capture *capture)
{
	const struct parallel quiet = { .workers = capture->parallel->workers };

	parallel_for(&quiet, "copying", capture->pieces.count, 1, copy, capture);
}

uint64_t capture_copied(const struct capture *capture)
{
	uint64_t copied = 0;

	for (size_t i = 0; i < capture->pieces.count; i++)
		copied += capture->pieces.items[i].copied;
	return copied;
}

static bool add_segment(struct image *image, const struct mapping *mapping, vaddr start, vaddr end,
			const uint8_t *bytes)
{
	struct segment *segment;

	if (start >= end)
		return true;
	segment = vector_push(&image->segments);
	if (!segment)
		return false;
	*segment = (struct segment){
		.start = start,
		.end = end,
		.bytes = bytes,
		.path_offset = mapping->offset + (start - mapping->start),
		.permissions = mapping->permissions,
		.origin = bytes ? SEGMENT_DUMPED : SEGMENT_MISSING,
	};
	return true;
}

/* Cuts a mapping into what was copied and what is missing; pieces from number `*next` on. */
static bool add_mapping(const struct capture *capture, struct image *image, size_t index,
			size_t *next)
{
	const struct mapping *mapping = &capture->mappings.list.items[index];
	const struct capture_plan *plan = &capture->plans.items[index];
	bool zeros = plan->taking == TAKE_PRESENT;
	vaddr from = mapping->start; /* where the stretch at hand begins */
	vaddr at = from;             /* up to where it is known */

	if (plan->taking == TAKE_NOTHING)
		return add_segment(image, mapping, from, mapping->end, NULL);
	for (; *next < capture->pieces.count; ++*next) {
		const struct capture_piece *piece = &capture->pieces.items[*next];

		if (piece->at >= mapping->end)
			break;
		if (!zeros && piece->at > at) {
			if (!add_segment(image, mapping, from, at,
					 plan->bytes + (from - mapping->start)) ||
			    !add_segment(image, mapping, at, piece->at, NULL))
				return false;
			from = piece->at;
		}
		at = piece->at + piece->copied;
		if (piece->copied == piece->size)
			continue;
		if (!add_segment(image, mapping, from, at, plan->bytes + (from - mapping->start)) ||
		    !add_segment(image, mapping, at, piece->at + piece->size, NULL))
			return false;
		from = at = piece->at + piece->size;
	}
	at = zeros ? mapping->end : at;
	return add_segment(image, mapping, from, at, plan->bytes + (from - mapping->start)) &&
	       add_segment(image, mapping, at, mapping->end, NULL);
}

bool capture_image(const struct capture *capture, struct image *image)
{
	size_t next = 0;

	image->segments.count = 0;
	for (size_t i = 0; i < capture->mappings.list.count; i++) {
		if (!add_mapping(capture, image, i, &next))
			return false;
	}
	return true;
}

void capture_deinit(struct capture *capture)
{
	mirror_deinit(&capture->mirror);
	mappings_deinit(&capture->mappings);
	pages_deinit(&capture->pages);
	threads_deinit(&capture->threads);
	free(capture->auxv);
	free(capture->plans.items);
	free(capture->pieces.items);
	*capture = (struct capture){ 0 };
}
