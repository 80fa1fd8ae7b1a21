/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../unit.h"
#include "target/live/pages.h"

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#define UFFD_FEATURE_WP_ASYNC       (1 << 15)
#endif

#define PAGE  4096UL
#define TABLE (2UL << 20) /* what one page of page tables maps */

static void add(struct page_list *pages, vaddr start, vaddr end, bool written, bool absent)
{
	struct pages *run = vector_push(&pages->list);

	assert_non_null(run);
	*run = (struct pages){ .start = start, .end = end, .written = written, .absent = absent };
}

static void assert_run(const struct page_list *pages, size_t index, vaddr start, vaddr end,
		       bool written)
{
	assert_true(index < pages->list.count);
	assert_int_equal(pages->list.items[index].start, start);
	assert_int_equal(pages->list.items[index].end, end);
	assert_int_equal(pages->list.items[index].written, written);
	assert_false(pages->list.items[index].absent);
}

static void puts_changes_in_place_of_what_was_there(void **state)
{
	struct page_list pages = { 0 }, changed = { 0 };

	(void)state;
	add(&pages, 0x2000, 0x8000, true, false);
	add(&pages, 0x9000, 0xa000, true, false);
	add(&pages, 0xc000, 0xd000, true, false);
	add(&pages, 0xf000, 0x10000, false, false);
	add(&changed, 0x1000, 0x2000, true, false); /* new, before the first */
	add(&changed, 0x3000, 0x4000, true, false); /* inside */
	add(&changed, 0x5000, 0x6000, false, true); /* gone from inside */
	add(&changed, 0x7000, 0x9000, true, false); /* from inside to behind */
	add(&changed, 0xb000, 0xe000, false, true); /* all of one is gone */
	add(&changed, 0x11000, 0x12000, true, false);
	assert_true(pages_update(&pages, &changed));
	assert_int_equal(pages.list.count, 9);
	assert_run(&pages, 0, 0x1000, 0x2000, true);
	assert_run(&pages, 1, 0x2000, 0x3000, false);
	assert_run(&pages, 2, 0x3000, 0x4000, true);
	assert_run(&pages, 3, 0x4000, 0x5000, false);
	assert_run(&pages, 4, 0x6000, 0x7000, false);
	assert_run(&pages, 5, 0x7000, 0x9000, true);
	assert_run(&pages, 6, 0x9000, 0xa000, false);
	assert_run(&pages, 7, 0xf000, 0x10000, false);
	assert_run(&pages, 8, 0x11000, 0x12000, true);
	pages_deinit(&pages);
	pages_deinit(&changed);
}

static void one_change_covers_several_runs(void **state)
{
	struct page_list pages = { 0 }, changed = { 0 };

	(void)state;
	add(&pages, 0x1000, 0x2000, false, false);
	add(&pages, 0x3000, 0x4000, false, false);
	add(&pages, 0x5000, 0x7000, false, false);
	add(&changed, 0x1000, 0x6000, true, false);
	assert_true(pages_update(&pages, &changed));
	assert_int_equal(pages.list.count, 2);
	assert_run(&pages, 0, 0x1000, 0x6000, true);
	assert_run(&pages, 1, 0x6000, 0x7000, false);
	changed.list.count = 0;
	assert_true(pages_update(&pages, &changed)); /* nothing is written any more */
	assert_int_equal(pages.list.count, 1);
	assert_run(&pages, 0, 0x1000, 0x7000, false);
	pages_deinit(&pages);
	pages_deinit(&changed);
}

/* A userfaultfd that watches [start, end) of our own; -1 where it can't be had. */
static int watch(vaddr start, vaddr end)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
	struct uffdio_api api = { .api = UFFD_API,
				  .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
					      UFFD_FEATURE_PAGEFAULT_FLAG_WP };
	struct uffdio_register request = { .range = { start, end - start },
					   .mode = UFFDIO_REGISTER_MODE_WP };

	return fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &request) ? -1
											     : fd;
}

/* The kernel's answers: pages that were written, that went one by one, and with their table. */
static void tells_what_changed(void **state)
{
	char *room =
		mmap(NULL, 4 * TABLE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	vaddr at = round_up((uintptr_t)room, TABLE);
	volatile char *bytes = (char *)(uintptr_t)at; /* NOLINT */
	struct mapping mapping = { .start = at, .end = at + 3 * TABLE };
	struct mappings mappings = { .list = { &mapping, 1, 1 } };
	struct page_scan scan = {
		.pid = getpid(), .shared = getpid(), .mappings = &mappings, .workers = 2
	};
	struct page_list pages = { 0 }, changed = { 0 };
	int fd = watch(at, mapping.end);

	(void)state;
	if (fd < 0) {
		printf("no userfaultfd here: %s\n", strerror(errno));
		skip();
	}
	for (vaddr i = 0; i < 2 * TABLE; i += PAGE)
		bytes[i] = 1;
	assert_true(pages_scan(&pages, &scan));
	assert_int_equal(pages.list.count, 1);
	assert_run(&pages, 0, at, at + 2 * TABLE, false);
	scan.query = PAGES_PROTECT;
	assert_true(pages_scan(&changed, &scan));
	assert_int_equal(changed.list.count, 1);
	assert_run(&changed, 0, at, at + 2 * TABLE, true);

	bytes[5 * PAGE] = 2;
	madvise((void *)(bytes + 9 * PAGE), PAGE, MADV_DONTNEED);
	madvise((void *)(bytes + TABLE), TABLE, MADV_DONTNEED);
	bytes[2 * TABLE] = 2;
	scan.query = PAGES_CHANGED;
	assert_true(pages_scan(&changed, &scan));
	assert_true(pages_update(&pages, &changed));
	assert_int_equal(pages.list.count, 5);
	assert_run(&pages, 0, at, at + 5 * PAGE, false);
	assert_run(&pages, 1, at + 5 * PAGE, at + 6 * PAGE, true);
	assert_run(&pages, 2, at + 6 * PAGE, at + 9 * PAGE, false);
	assert_run(&pages, 3, at + 10 * PAGE, at + TABLE, false);
	assert_run(&pages, 4, at + 2 * TABLE, at + 2 * TABLE + PAGE, true);
	scan.query = PAGES_PROTECT;
	assert_true(pages_scan(&changed, &scan));
	assert_int_equal(changed.list.count, 2);
	assert_true(pages_scan(&changed, &scan));
	assert_int_equal(changed.list.count, 0);
	pages_deinit(&pages);
	pages_deinit(&changed);
	close(fd);
	munmap(room, 4 * TABLE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puts_changes_in_place_of_what_was_there),
		cmocka_unit_test(one_change_covers_several_runs),
		cmocka_unit_test(tells_what_changed),
	};

	return RUN_TESTS(tests);
}
