/* SPDX-License-Identifier: MIT */
/*
 * nostop: the memory is read while the process runs, and read again. Between the end of one pass
 * and the beginning of the next lies a moment; a page that both passes found alike was so at that
 * moment, as every other such page was: they are a consistent image. (But for one that was changed
 * and changed back between the two looks at it, to the last bit: nobody can tell that.) Pages that
 * differ are torn, and counted; passes go on while that helps. No ptrace is needed, only the right
 * to read.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "../../base/cleanup.h"
#include "live.h"

#define PAGE_BYTES 4096U
#define PASSES_MIN 2
#define PASSES_MAX 10

/* One pass over all pieces that compares. */
struct pass {
	struct capture *capture;
	struct ranges *torn; /* one for each worker */
	bool failed;         /* out of memory */
};

static bool add_torn(struct ranges *torn, vaddr at)
{
	struct range *last = torn->count ? &torn->items[torn->count - 1] : NULL;

	if (last && last->end == at) {
		last->end += PAGE_BYTES;
		return true;
	}
	return ranges_add(torn, at, at + PAGE_BYTES);
}

/* Puts the newer bytes of each page that differs in place of the older ones. */
static bool renew(struct capture_piece *piece, const uint8_t *bytes, struct ranges *torn)
{
	for (uint32_t at = 0; at < piece->copied; at += PAGE_BYTES) {
		uint32_t size = MIN(PAGE_BYTES, piece->copied - at);

		if (!memcmp(piece->to + at, bytes + at, size))
			continue;
		memcpy(piece->to + at, bytes + at, size);
		if (!add_torn(torn, piece->at + at))
			return false;
	}
	return true;
}

static void compare(void *context, unsigned worker, size_t begin, size_t end)
{
	struct pass *pass = context;

	for (size_t i = begin; i < end; i++) {
		struct capture_piece *piece = &pass->capture->pieces.items[i];
		_cleanup_free_ uint8_t *bytes = malloc(piece->size);
		struct capture_piece again = *piece;

		again.to = bytes;
		if (bytes)
			capture_copy_piece(pass->capture, &again);
		piece->copied = again.copied;
		if (!bytes || !renew(piece, bytes, &pass->torn[worker]))
			__atomic_store_n(&pass->failed, true, __ATOMIC_RELAXED);
	}
}

/* Reads everything again; what differs goes to `torn`. False when out of memory. */
static bool read_again(struct capture *capture, struct ranges *torn)
{
	unsigned workers = capture->parallel->workers;
	struct pass pass = { .capture = capture, .torn = calloc(workers, sizeof(*pass.torn)) };

	if (!pass.torn)
		return false;
	parallel_for(capture->parallel, "reading again", capture->pieces.count, 1, compare, &pass);
	torn->count = 0;
	for (unsigned i = 0; i < workers; i++) {
		for (size_t j = 0; j < pass.torn[i].count; j++) {
			const struct range *range = &pass.torn[i].items[j];

			if (!ranges_add(torn, range->start, range->end))
				pass.failed = true;
		}
		ranges_deinit(&pass.torn[i]);
	}
	free(pass.torn);
	return !pass.failed;
}

/* Adds pages that were there `before` and are not any more. */
static bool add_vanished(struct ranges *torn, const struct page_list *before,
			 const struct page_list *now)
{
	for (size_t i = 0; i < before->list.count; i++) {
		vaddr at = before->list.items[i].start, end = before->list.items[i].end;

		for (size_t j = pages_after(now, at); at < end; j++) {
			const struct pages *run = j < now->list.count ? &now->list.items[j] : NULL;
			vaddr next = run ? MIN(MAX(run->start, at), end) : end;

			if (next > at && !ranges_add(torn, at, next))
				return false;
			at = run ? MAX(next, run->end) : end;
		}
	}
	return true;
}

/* One more pass, over mappings and pages as they are now; what differs goes to `torn`. */
static struct memheap_error *pass_again(struct capture *capture, struct ranges *torn)
{
	struct page_list before = capture->pages;
	size_t parts = capture->mirror.list.count;
	struct memheap_error *error;

	capture->pages = (struct page_list){ 0 };
	error = capture_survey(capture);
	if (!error)
		error = capture_plan(capture, SCOPE_ALL);
	if (!error && parts != capture->mirror.list.count)
		error = error_create(MEMHEAP_FAILED, "its address space grew too much meanwhile");
	if (!error && !(read_again(capture, torn) && add_vanished(torn, &before, &capture->pages)))
		error = &error_no_memory;
	ranges_join(torn);
	pages_deinit(&before);
	return error;
}

/* Where a thread stands that waits: "NUMBER ARGUMENTS… SP PC" in /proc/PID/syscall. */
static void read_place(struct live_thread *thread)
{
	_cleanup_free_ char *text = proc_read(thread->tid, "syscall", NULL);
	char *end = text ? strrchr(text, ' ') : NULL;

	if (!end || strncmp(text, "running", 7) == 0)
		return;
	thread->registers.rip = strtoull(end + 1, NULL, 16);
	*end = '\0';
	end = strrchr(text, ' ');
	thread->registers.rsp = end ? strtoull(end + 1, NULL, 16) : 0;
}

static struct memheap_error *list_threads(struct capture *capture)
{
	const struct dirent *entry;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)capture->pid);
	tasks = opendir(path);
	if (!tasks)
		return error_create_errno("cannot list the threads of %d", (int)capture->pid);
	while ((entry = readdir(tasks))) {
		struct live_thread *thread;

		if (*entry->d_name == '.')
			continue;
		thread = vector_push(&capture->threads.list);
		if (!thread)
			break;
		*thread = (struct live_thread){ .tid = (pid_t)atoi(entry->d_name) };
		read_place(thread);
	}
	closedir(tasks);
	return NULL;
}

struct memheap_error *live_nostop(struct live_attempt *attempt)
{
	struct capture *capture = attempt->capture;
	uint64_t least = UINT64_MAX;
	struct memheap_error *error = capture_prepare(capture);

	if (!error)
		capture_copy(capture);
	for (unsigned i = 0; !error && i < PASSES_MAX; i++) {
		uint64_t bytes;

		error = pass_again(capture, &attempt->live->taking.torn);
		bytes = taking_torn(&attempt->live->taking);
		/* what is torn is what the last pass found: it ends with a good one */
		if (!bytes || (i >= PASSES_MIN && bytes <= least / 4 * 5))
			break;
		least = MIN(least, bytes);
	}
	if (!error)
		capture_forget(capture);
	if (!error && attempt->live->program != live_program(capture->pid))
		error = error_create(MEMHEAP_FAILED, "it was read from two programs");
	return error ? error : list_threads(capture);
}
