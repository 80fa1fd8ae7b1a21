/* SPDX-License-Identifier: MIT */
#include "../unit.h"
#include "target/process.h"
#include "target/stacks.h"

static void decodes_a_thread(void **state)
{
	struct process process = { .machine = EM_X86_64 };
	uint8_t status[112 + 27 * 8] = { 0 };

	(void)state;
	put_u64(status + 32, 4711);
	put_u64(status + 112 + 16 * 8, 0x1000);
	put_u64(status + 112 + 19 * 8, 0x2000);
	put_u64(status + 112 + 21 * 8, 0x3000);
	assert_true(process_add_note(&process, "CORE", NT_PRSTATUS, status, sizeof(status)));
	assert_true(process_add_note(&process, "CORE", NT_PRSTATUS, status, sizeof(status) - 1));
	assert_true(process_add_note(&process, "CORE", NT_PRSTATUS, status, 111));
	assert_true(process_add_note(&process, "LINUX", NT_PRSTATUS, status, sizeof(status)));
	assert_int_equal(process.threads.count, 2);
	assert_int_equal(process.threads.items[0].tid, 4711);
	assert_int_equal(process.threads.items[0].pc, 0x1000);
	assert_int_equal(process.threads.items[0].sp, 0x2000);
	assert_int_equal(process.threads.items[0].tls, 0x3000);
	assert_int_equal(process.threads.items[1].sp, 0); /* its registers are cut off */
	process_deinit(&process);
}

/* struct user_pt_regs, and the thread pointer in a note of its own */
static void decodes_a_thread_of_aarch64(void **state)
{
	struct process process = { .machine = EM_AARCH64 };
	uint8_t status[112 + 34 * 8] = { 0 }, tls[8], auxv[32] = { 0 };

	(void)state;
	put_u64(tls, 0x3000);
	assert_true(process_add_note(&process, "LINUX", NT_ARM_TLS, tls, sizeof(tls)));
	put_u64(status + 112 + 31 * 8, 0x2000);
	put_u64(status + 112 + 32 * 8, 0x1000);
	assert_true(process_add_note(&process, "CORE", NT_PRSTATUS, status, sizeof(status)));
	assert_true(process_add_note(&process, "LINUX", NT_ARM_TLS, tls, sizeof(tls) - 1));
	assert_int_equal(process.threads.items[0].tls, 0);
	assert_true(process_add_note(&process, "LINUX", NT_ARM_TLS, tls, sizeof(tls)));
	assert_int_equal(process.threads.items[0].pc, 0x1000);
	assert_int_equal(process.threads.items[0].sp, 0x2000);
	assert_int_equal(process.threads.items[0].tls, 0x3000);

	put_u64(auxv, AT_PAGESZ);
	put_u64(auxv + 8, 5000); /* no power of two */
	assert_true(process_add_note(&process, "CORE", NT_AUXV, auxv, sizeof(auxv)));
	assert_int_equal(process.page_bytes, 0);
	put_u64(auxv + 8, 65536);
	assert_true(process_add_note(&process, "CORE", NT_AUXV, auxv, sizeof(auxv)));
	assert_int_equal(process.page_bytes, 65536);
	process_deinit(&process);
}

static void decodes_the_identity(void **state)
{
	struct process process = { 0 };
	uint8_t info[136] = { 0 };

	(void)state;
	memset(info + 40, 'n', 16); /* no NUL at its end */
	memset(info + 56, 'a', 79);
	assert_true(process_add_note(&process, "CORE", NT_PRPSINFO, info, sizeof(info) - 1));
	assert_null(process.name);
	assert_true(process_add_note(&process, "CORE", NT_PRPSINFO, info, sizeof(info)));
	assert_string_equal(process.name, "nnnnnnnnnnnnnnnn");
	assert_true(process.command_line_cut);
	memcpy(info + 56, "python3 -c x   ", 16);
	assert_true(process_add_note(&process, "CORE", NT_PRPSINFO, info, sizeof(info)));
	assert_string_equal(process.command_line, "python3 -c x");
	assert_false(process.command_line_cut);
	process_deinit(&process);
}

/* NT_FILE with one mapping of "/x" and `count` as its count. */
static size_t add_mapping(uint64_t count, vaddr start, vaddr end, size_t size)
{
	struct process process = { 0 };
	uint8_t bytes[16 + 24 + 3] = { 0 };
	size_t added;

	put_u64(bytes, count);
	put_u64(bytes + 8, 4096);
	put_u64(bytes + 16, start);
	put_u64(bytes + 24, end);
	memcpy(bytes + 40, "/x", 3);
	assert_true(process_add_note(&process, "CORE", NT_FILE, bytes, size));
	added = process.mappings.count;
	process_deinit(&process);
	return added;
}

static void believes_mappings_that_can_be(void **state)
{
	(void)state;
	assert_int_equal(add_mapping(1, 4096, 8192, 43), 1);
	assert_int_equal(add_mapping(1, 4096, 8192, 42), 0); /* the path does not end */
	assert_int_equal(add_mapping(1, 4096, 8192, 15), 0);
	assert_int_equal(add_mapping(2, 4096, 8192, 43), 0);
	assert_int_equal(add_mapping(UINT64_MAX, 4096, 8192, 43), 0);
	assert_int_equal(add_mapping(1, 4096, 4096, 43), 0);
	assert_int_equal(add_mapping(1, 8192, 4096, 43), 0);
	assert_int_equal(add_mapping(1, 4096, UINT64_MAX, 43), 0);
	assert_int_equal(add_mapping(1, 0xffffffffff600000, 0xffffffffff601000, 43), 1);
}

/* Private huge pages have the name of a file, and are none. */
static void takes_huge_pages_for_no_file(void **state)
{
	static const char *const paths[] = { "/anon_hugepage (deleted)", "/anon_hugepage" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct process process = { 0 };
		uint8_t bytes[16 + 24 + 32] = { 0 };

		put_u64(bytes, 1);
		put_u64(bytes + 8, 4096);
		put_u64(bytes + 16, 2 << 20);
		put_u64(bytes + 24, 4 << 20);
		memcpy(bytes + 40, paths[i], strlen(paths[i]));
		assert_true(process_add_note(&process, "CORE", NT_FILE, bytes, sizeof(bytes)));
		assert_int_equal(process.mappings.count, i);
		process_deinit(&process);
	}
}

static void finds_stacks(void **state)
{
	struct process process = { .machine = EM_X86_64 };
	struct process_thread threads[] = {
		{ .tid = 1, .sp = 0x2800 },                  /* to the end of the segment */
		{ .tid = 2, .sp = 0x11000, .tls = 0x12f00 }, /* to the end of the descriptor */
		{ .tid = 3, .sp = 0x90000 },                 /* nowhere */
		{ .tid = 4, .sp = 0x2900 },                  /* on the stack of the first */
	};
	struct stacks stacks = { 0 };
	struct image image = { 0 };
	struct gaps gaps = { 0 };

	(void)state;
	process.threads.items = threads;
	process.threads.count = ARRAY_SIZE(threads);
	add_segment(&image, 0x2000, 0x1000, NULL);
	add_segment(&image, 0x10000, 0x10000, NULL);
	assert_true(image_build(&image, &gaps));
	assert_true(stacks_find(&stacks, &image, &process));
	assert_int_equal(stacks.list.count, 2);
	assert_int_equal(stacks.list.items[0].end, 0x3000);
	assert_int_equal(stacks.list.items[1].start, 0x10000);
	assert_int_equal(stacks.list.items[1].end, 0x14000);
	assert_int_equal(stacks.list.items[1].thread, 1);
	stacks_deinit(&stacks);
	image_deinit(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes_a_thread),
		cmocka_unit_test(decodes_a_thread_of_aarch64),
		cmocka_unit_test(decodes_the_identity),
		cmocka_unit_test(believes_mappings_that_can_be),
		cmocka_unit_test(takes_huge_pages_for_no_file),
		cmocka_unit_test(finds_stacks),
	};

	return RUN_TESTS(tests);
}
