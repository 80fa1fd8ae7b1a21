/* SPDX-License-Identifier: MIT */
/*
 * precopy: pages are write-protected and copied while the process runs; the kernel itself lifts
 * the protection of a page that is written and remembers it (userfaultfd with
 * UFFD_FEATURE_WP_ASYNC, PAGEMAP_SCAN: Linux 6.7). When few are written between two rounds, all
 * threads stop for these.
 *
 * The descriptor must be made by a task with the memory of the process. That is a child which
 * shares it, is traced from birth and runs nothing but that one call; the descriptor is taken over
 * from it, and it is gone before the process goes on. When the descriptor is closed, however we
 * end, the kernel removes all protection.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../base/cleanup.h"
#include "live.h"

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

#define ROUNDS_MAX   8
#define FEW_BYTES    (2UL << 20) /* that may be left for the pause */
#define HELPER_STEPS 16
#define STEP_BYTES   (16UL << 20) /* of pages that are let go at once */

/* Has the helper make the descriptor; -1 with errno. */
static int make_descriptor(const struct live_child *helper, const struct gadgets *gadgets)
{
	struct user_regs_struct registers;
	int status;

	if (ptrace(PTRACE_GETREGS, helper->pid, NULL, &registers))
		return -1;
	registers.orig_rax = UINT64_MAX;
	registers.rax = SYS_userfaultfd;
	registers.rdi = O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY;
	registers.rip = gadgets->call;
	if (ptrace(PTRACE_SETREGS, helper->pid, NULL, &registers))
		return -1;
	for (unsigned i = 0; i < HELPER_STEPS; i++) {
		struct __ptrace_syscall_info info = { 0 };

		if (ptrace(PTRACE_SYSCALL, helper->pid, NULL, NULL) ||
		    waitpid(helper->pid, &status, __WALL) != helper->pid || !WIFSTOPPED(status))
			return -1;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, helper->pid, (void *)sizeof(info), &info) < 0 ||
		    info.op != PTRACE_SYSCALL_INFO_EXIT)
			continue;
		errno = info.exit.rval < 0 ? (int)-info.exit.rval : 0;
		return info.exit.rval < 0 ? -1 : (int)info.exit.rval;
	}
	errno = ETIMEDOUT;
	return -1;
}

/* The same file as descriptor `theirs` of process `pid`, as one of ours; -1 with errno. */
static int take_descriptor(pid_t pid, int theirs)
{
	_cleanup_close_ int process = (int)syscall(SYS_pidfd_open, pid, 0);

	return process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, theirs, 0);
}

/* Spreads the net below the one thread that was stopped, or any of all. */
static bool begin_injection(const struct live_attempt *attempt, struct injection *injection)
{
	struct capture *capture = attempt->capture;

	return mappings_read(&capture->mappings, capture->pid) && threads_read(&capture->threads) &&
	       live_inject_somewhere(injection, &capture->threads, &capture->mappings);
}

/* Stops one thread if that will do, else all. */
static struct memheap_error *stop_for_injection(struct live_attempt *attempt,
						struct injection *injection)
{
	struct capture *capture = attempt->capture;
	uint64_t deadline_ns = live_now_ns() + attempt->max_pause_ns;
	struct memheap_error *error;

	if (threads_stop_one(&capture->threads, capture->pid, deadline_ns) &&
	    begin_injection(attempt, injection))
		return NULL;
	threads_resume(&capture->threads);
	threads_deinit(&capture->threads);
	error = threads_stop(&capture->threads, capture->pid, deadline_ns);
	if (!error && !begin_injection(attempt, injection))
		error = error_create(MEMHEAP_FAILED,
				     "none of its threads is where it could make a call");
	return error;
}

/* Gets a userfaultfd of the memory of the process. */
static struct memheap_error *get_descriptor(struct live_attempt *attempt,
					    struct injection *injection, int *ret)
{
	struct memheap_error *error = stop_for_injection(attempt, injection);
	struct live_child helper = { 0 };
	int theirs;

	if (error)
		return error;
	if (live_clone(injection, CLONE_VM, &helper)) {
		theirs = make_descriptor(&helper, &injection->gadgets);
		*ret = theirs < 0 ? -1 : take_descriptor(helper.pid, theirs);
	}
	if (*ret < 0)
		error = error_create(MEMHEAP_FAILED, "it cannot have a userfaultfd: %s",
				     strerror(errno));
	live_kill_child(&helper);
	attempt->live->taking.left_zombie = helper.pid > 0 && !live_wait_for(injection, &helper);
	live_reap_leftovers(injection);
	if (!inject_end(injection) && !error)
		error = error_create(MEMHEAP_FAILED, "the thread that was used is gone");
	return error;
}

static struct memheap_error *protect(const struct capture *capture, int fd,
				     struct page_list *watched)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		.features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
			    UFFD_FEATURE_PAGEFAULT_FLAG_WP,
	};
	if (ioctl(fd, UFFDIO_API, &api))
		return error_create(MEMHEAP_FAILED,
				    "this kernel cannot tell which pages were written: %s",
				    strerror(errno));
	for (size_t i = 0; i < capture->mappings.list.count; i++) {
		const struct mapping *mapping = &capture->mappings.list.items[i];
		enum portion portion = capture->plans.items[i].portion;
		struct uffdio_register request = {
			.range = { mapping->start, mapping->end - mapping->start },
			.mode = UFFDIO_REGISTER_MODE_WP,
		};

		struct pages *added;

		/* others may write what is shared; what can't be watched is copied in the pause */
		if ((portion != TAKE_PRESENT && portion != TAKE_ALL) ||
		    ioctl(fd, UFFDIO_REGISTER, &request))
			continue;
		added = vector_push(&watched->list);
		if (!added)
			return &error_no_memory;
		*added = (struct pages){ .start = mapping->start, .end = mapping->end };
	}
	return watched->list.count
		       ? NULL
		       : error_create(MEMHEAP_FAILED, "none of its memory can be protected");
}

static void release(int fd, vaddr start, vaddr end)
{
	const struct live_priority before = live_hurry();
	struct uffdio_range range = { start, end - start };

	/* what is not mapped any more is not protected either */
	ioctl(fd, UFFDIO_UNREGISTER, &range);
	live_relax(&before);
}

/*
 * Ends the protection, step by step: while it is lifted the process waits if it maps memory or
 * writes to a new page. Closing the descriptor lifts it in one go, which takes 40 ms a GB.
 */
static void unprotect(const struct page_list *watched, const struct page_list *pages, int fd)
{
	for (size_t i = 0; i < watched->list.count; i++) {
		const struct pages *range = &watched->list.items[i];
		vaddr at = range->start; /* up to where it is lifted */
		uint64_t bytes = 0;      /* of pages behind that */

		for (size_t j = pages_after(pages, at);
		     j < pages->list.count && pages->list.items[j].start < range->end; j++) {
			vaddr from = MAX(pages->list.items[j].start, at);
			vaddr end = MIN(pages->list.items[j].end, range->end);

			while (bytes + (end - from) >= STEP_BYTES) {
				vaddr cut = from + (STEP_BYTES - bytes);

				release(fd, at, cut);
				at = from = cut;
				bytes = 0;
			}
			bytes += end - from;
		}
	}
}

static uint64_t written_bytes(const struct page_list *pages)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < pages->list.count; i++) {
		const struct pages *run = &pages->list.items[i];

		bytes += run->written ? run->end - run->start : 0;
	}
	return bytes;
}

/* Copies what was written, until little is left or it does not become less. */
static struct memheap_error *copy_rounds(const struct live_attempt *attempt)
{
	struct capture *capture = attempt->capture;
	uint64_t before = UINT64_MAX;

	for (unsigned round = 0; round < ROUNDS_MAX; round++) {
		struct memheap_error *error;
		uint64_t bytes;

		if (!capture_pages_written(capture))
			return error_create_errno("cannot ask which pages were written");
		bytes = written_bytes(&capture->pages);
		error = capture_plan(capture, SCOPE_WRITTEN);
		if (!error)
			capture_copy(capture);
		if (!error && !round && !capture_note_whole(capture))
			error = &error_no_memory;
		if (error || bytes <= FEW_BYTES)
			return error;
		if (round > 1 && bytes > before / 4 * 3)
			break;
		before = bytes;
	}
	/* asked for, it takes what is left during the pause, as far as that may last */
	if (!attempt->automatic)
		return NULL;
	return error_create(MEMHEAP_FAILED, "it writes too much for it: %llu bytes in one round",
			    (unsigned long long)before);
}

/* The last round, with all threads stopped. */
static struct memheap_error *copy_rest(struct live_attempt *attempt)
{
	struct capture *capture = attempt->capture;
	struct memheap_error *error = NULL;

	threads_deinit(&capture->threads);
	capture->deadline_ns = live_now_ns() + attempt->max_pause_ns;
	error = threads_stop(&capture->threads, capture->pid, capture->deadline_ns);
	if (!error && (!capture_changes(capture) || !threads_read(&capture->threads)))
		error = error_create_errno("cannot read process %d", (int)capture->pid);
	if (!error)
		error = capture_plan(capture, SCOPE_WRITTEN);
	if (!error)
		capture_copy(capture);
	threads_resume(&capture->threads);
	if (!error && capture->late)
		return error_create(MEMHEAP_FAILED, "the pause of %llu ms did not suffice",
				    (unsigned long long)(attempt->max_pause_ns / 1000000));
	return error;
}

/* Makes everything ready that needs no stop. */
static struct memheap_error *prepare(const struct live_attempt *attempt, struct gadgets *gadgets)
{
	struct memheap_error *error = live_find_gadgets(attempt, gadgets);

	if (error)
		return error;
	if (!pages_can_protect(attempt->capture->pid))
		return error_create(MEMHEAP_FAILED, "this kernel cannot tell which pages were "
						    "written since (PAGEMAP_SCAN): Linux 6.7 can");
	return capture_prepare(attempt->capture);
}

struct memheap_error *live_precopy(struct live_attempt *attempt)
{
	struct capture *capture = attempt->capture;
	struct injection injection = { .pid = capture->pid };
	struct memheap_error *error = prepare(attempt, &injection.gadgets);
	_cleanup_(pages_deinit) struct page_list watched = { 0 };
	uint64_t first_ns;

	_cleanup_close_ int fd = -1;
	if (error)
		return error;
	error = get_descriptor(attempt, &injection, &fd);
	threads_resume(&capture->threads);
	first_ns = capture->threads.pause_ns;
	/* what was stopped may have other mappings than what was surveyed */
	if (!error)
		error = capture_plan(capture, SCOPE_ALL);
	if (!error)
		error = protect(capture, fd, &watched);
	if (!error)
		error = copy_rounds(attempt);
	if (!error)
		error = copy_rest(attempt);
	unprotect(&watched, &capture->pages, fd);
	capture->threads.pause_ns = MAX(capture->threads.pause_ns, first_ns);
	attempt->live->taking.while_stopped = error ? 0 : capture_copied(capture);
	return error ? error : capture_settle(capture);
}
