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

/* Asks `query` of all mappings, or of those that are `wanted`. */
static bool ask_pages(const struct capture *capture, enum page_query query, const bool *wanted,
		      struct page_list *ret)
{
	return pages_scan(ret, &(struct page_scan){
				       .pid = capture->source,
				       .shared = capture->pid,
				       .mappings = &capture->mappings,
				       .wanted = wanted,
				       .workers = capture->parallel->workers,
				       .query = query,
			       });
}

bool capture_pages(struct capture *capture)
{
	return ask_pages(capture, PAGES_PRESENT, NULL, &capture->pages);
}

bool capture_pages_written(struct capture *capture)
{
	_cleanup_(pages_deinit) struct page_list written = { 0 };

	return ask_pages(capture, PAGES_PROTECT, NULL, &written) &&
	       pages_update(&capture->pages, &written);
}

static bool is_same(const struct mapping *a, const struct mapping *b)
{
	return a->start == b->start && a->end == b->end && a->inode == b->inode &&
	       a->offset == b->offset && a->permissions == b->permissions && a->shared == b->shared;
}

/* Of which mappings the pages matter: of those that are copied, and of new ones, of which nothing
 * is known yet. The plans are those of the mappings `before`. */
static bool *find_wanted(const struct capture *capture, const struct mappings *before)
{
	bool *wanted = calloc(capture->mappings.list.count + 1, sizeof(*wanted));
	size_t at = 0;

	for (size_t i = 0; wanted && i < capture->mappings.list.count; i++) {
		const struct mapping *mapping = &capture->mappings.list.items[i];
		enum portion portion = TAKE_PRESENT;

		while (at < before->list.count && before->list.items[at].start < mapping->start)
			at++;
		if (at < before->list.count && is_same(&before->list.items[at], mapping))
			portion = capture->plans.items[at].portion;
		wanted[i] = portion != TAKE_NOTHING && portion != TAKE_HEADER;
	}
	return wanted;
}

bool capture_changes(struct capture *capture)
{
	_cleanup_(mappings_deinit) struct mappings before = capture->mappings;
	_cleanup_(pages_deinit) struct page_list changed = { 0 };
	_cleanup_free_ bool *wanted = NULL;

	capture->mappings = (struct mappings){ 0 };
	if (!mappings_read(&capture->mappings, capture->pid))
		return false;
	wanted = find_wanted(capture, &before);
	return wanted && ask_pages(capture, PAGES_CHANGED, wanted, &changed) &&
	       pages_update(&capture->pages, &changed);
}

struct memheap_error *capture_survey(struct capture *capture)
{
	if (!mappings_read(&capture->mappings, capture->pid) || !capture_pages(capture))
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
static enum portion judge(const struct capture *capture, const struct mapping *mapping)
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

static bool is_common(const struct capture *capture, vaddr start, vaddr end)
{
	size_t found = pages_after(&capture->common, start);

	return capture->all_common || (found < capture->common.list.count &&
				       capture->common.list.items[found].start < end);
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
			.common = is_common(capture, start, next),
		};
		capture->bytes += next - start;
		start = next;
	}
	return true;
}

static bool add_present(struct capture *capture, const struct mapping *mapping, uint8_t *bytes,
			enum scope scope)
{
	for (size_t i = pages_after(&capture->pages, mapping->start);
	     i < capture->pages.list.count && capture->pages.list.items[i].start < mapping->end;
	     i++) {
		const struct pages *pages = &capture->pages.list.items[i];

		if (scope == SCOPE_WRITTEN && !pages->written)
			continue;
		if (!add_pieces(capture, mapping, bytes, MAX(pages->start, mapping->start),
				MIN(pages->end, mapping->end)))
			return false;
	}
	return true;
}

static bool is_whole(const struct capture *capture, const struct mapping *mapping)
{
	size_t found = pages_after(&capture->whole, mapping->start);

	return found < capture->whole.list.count &&
	       capture->whole.list.items[found].start == mapping->start &&
	       capture->whole.list.items[found].end == mapping->end;
}

/* Adds a file's mapping: the pages of the file once, those of the process each time. */
static bool add_file(struct capture *capture, const struct mapping *mapping,
		     const struct capture_plan *plan, enum scope scope)
{
	vaddr end = plan->portion == TAKE_HEADER ? mapping->start + PAGE_BYTES : mapping->end;

	if (scope == SCOPE_WRITTEN && is_whole(capture, mapping))
		return plan->portion == TAKE_HEADER ||
		       add_present(capture, mapping, plan->bytes, scope);
	return add_pieces(capture, mapping, plan->bytes, mapping->start, end);
}

static struct memheap_error *plan_mapping(struct capture *capture, const struct mapping *mapping,
					  enum scope scope)
{
	struct capture_plan *plan = vector_push(&capture->plans);
	bool added;

	if (!plan)
		return &error_no_memory;
	*plan = (struct capture_plan){ .portion = judge(capture, mapping) };
	if (plan->portion == TAKE_NOTHING)
		return NULL;
	plan->bytes = mirror_at(&capture->mirror, mapping->start, mapping->end);
	if (!plan->bytes)
		return error_create_errno("cannot get %llu bytes of address space",
					  (unsigned long long)(mapping->end - mapping->start));
	if (plan->portion == TAKE_HEADER || plan->portion == TAKE_ALL)
		added = add_file(capture, mapping, plan, scope);
	else
		added = add_present(capture, mapping, plan->bytes, scope);
	return added ? NULL : &error_no_memory;
}

struct memheap_error *capture_plan(struct capture *capture, enum scope scope)
{
	size_t parts = capture->mirror.list.count;

	capture->plans.count = capture->pieces.count = 0;
	capture->bytes = 0;
	for (size_t i = 0; i < capture->mappings.list.count; i++) {
		struct memheap_error *error =
			plan_mapping(capture, &capture->mappings.list.items[i], scope);

		if (error)
			return error;
	}
	if (scope == SCOPE_WRITTEN && parts != capture->mirror.list.count)
		return error_create(MEMHEAP_FAILED, "its address space grew too much meanwhile");
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

struct memheap_error *capture_prepare(struct capture *capture)
{
	struct memheap_error *error = capture_survey(capture);

	if (!error && !pages_find_common(&capture->common, capture->pid, &capture->pages))
		error = error_create_errno("cannot read what process %d shares", (int)capture->pid);
	if (!error && !mirror_reserve(&capture->mirror, &capture->mappings))
		error = error_create_errno("cannot reserve address space");
	if (!error)
		error = capture_plan(capture, SCOPE_ALL);
	return error ? error : capture_populate(capture);
}

/* Reads what can't be read as the process could read it, page by page (PROT_NONE), or must not be.
 */
static void read_file(const struct capture *capture, struct capture_piece *piece)
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

void capture_copy_piece(const struct capture *capture, struct capture_piece *piece)
{
	struct iovec to = { piece->to, piece->size };
	struct iovec from = { (void *)(uintptr_t)piece->at, piece->size }; /* NOLINT */
	/* the kernel may hold a lock of its memory, for which the process waits if it maps some */
	const struct live_priority before = live_hurry();
	ssize_t done = piece->common ? 0 : process_vm_readv(capture->source, &to, 1, &from, 1, 0);

	piece->copied = done > 0 ? (uint32_t)done : 0;
	if (piece->copied < piece->size)
		read_file(capture, piece);
	live_relax(&before);
}

static void copy(void *context, unsigned worker, size_t begin, size_t end)
{
	struct capture *capture = context;

	(void)worker;
	for (size_t i = begin; i < end; i++) {
		if (__atomic_load_n(&capture->late, __ATOMIC_RELAXED))
			return;
		if (!capture->pieces.items[i].settled)
			capture_copy_piece(capture, &capture->pieces.items[i]);
		if (live_now_ns() > capture->deadline_ns)
			__atomic_store_n(&capture->late, true, __ATOMIC_RELAXED);
	}
}

void capture_copy(struct capture *capture)
{
	const struct parallel quiet = { .workers = capture->parallel->workers };

	parallel_for(&quiet, "copying", capture->pieces.count, 1, copy, capture);
}

bool capture_note_whole(struct capture *capture)
{
	capture->whole.list.count = capture->unread.list.count = 0;
	for (size_t i = 0; i < capture->mappings.list.count; i++) {
		const struct mapping *mapping = &capture->mappings.list.items[i];
		enum portion portion = capture->plans.items[i].portion;
		struct pages *added;

		if (portion != TAKE_HEADER && portion != TAKE_ALL)
			continue;
		added = vector_push(&capture->whole.list);
		if (!added)
			return false;
		*added = (struct pages){ .start = mapping->start, .end = mapping->end };
	}
	for (size_t i = 0; i < capture->pieces.count; i++) {
		const struct capture_piece *piece = &capture->pieces.items[i];
		struct pages *added;

		if (piece->copied == piece->size)
			continue;
		added = vector_push(&capture->unread.list);
		if (!added)
			return false;
		*added = (struct pages){ .start = piece->at + piece->copied,
					 .end = piece->at + piece->size };
	}
	return true;
}

/* Makes zeros of [start, end) of a mapping. */
static void forget(const struct capture_plan *plan, const struct mapping *mapping, vaddr start,
		   vaddr end)
{
	if (start < end)
		madvise(plan->bytes + (start - mapping->start), end - start, MADV_DONTNEED);
}

void capture_forget(struct capture *capture)
{
	for (size_t i = 0; i < capture->mappings.list.count; i++) {
		const struct mapping *mapping = &capture->mappings.list.items[i];
		const struct capture_plan *plan = &capture->plans.items[i];
		vaddr at = mapping->start;

		if (plan->portion != TAKE_PRESENT)
			continue;
		for (size_t j = pages_after(&capture->pages, at);
		     j < capture->pages.list.count &&
		     capture->pages.list.items[j].start < mapping->end;
		     j++) {
			forget(plan, mapping, at, capture->pages.list.items[j].start);
			at = capture->pages.list.items[j].end;
		}
		forget(plan, mapping, at, mapping->end);
	}
}

struct memheap_error *capture_settle(struct capture *capture)
{
	struct memheap_error *error = capture_plan(capture, SCOPE_ALL);

	if (error)
		return error;
	capture_forget(capture);
	for (size_t i = 0; i < capture->pieces.count; i++) {
		struct capture_piece *piece = &capture->pieces.items[i];
		size_t found = pages_after(&capture->unread, piece->at);
		vaddr end = piece->at + piece->size;

		if (found < capture->unread.list.count)
			end = MIN(end, MAX(capture->unread.list.items[found].start, piece->at));
		piece->copied = (uint32_t)(end - piece->at);
	}
	return NULL;
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
	bool zeros = plan->portion == TAKE_PRESENT;
	vaddr from = mapping->start; /* where the stretch at hand begins */
	vaddr at = from;             /* up to where it is known */

	if (plan->portion == TAKE_NOTHING)
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
	pages_deinit(&capture->common);
	pages_deinit(&capture->whole);
	pages_deinit(&capture->unread);
	threads_deinit(&capture->threads);
	free(capture->auxv);
	free(capture->plans.items);
	free(capture->pieces.items);
	*capture = (struct capture){ 0 };
}
