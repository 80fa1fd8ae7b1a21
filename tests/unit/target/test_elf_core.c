/* SPDX-License-Identifier: MIT */
/* A core of a few hundred bytes, made of literals. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../unit.h"
#include "target/target.h"

static const struct parallel alone = { .workers = 1 };
static const struct target_options options = { .parallel = &alone };

#define PAGE 0x1000

struct core {
	Elf64_Ehdr header;
	Elf64_Phdr notes, heap, file;
	struct __attribute__((packed)) {
		Elf64_Nhdr header;
		char owner[8];
		uint64_t count, page, mappings[2][3];
		char paths[12];
	} note;
	uint8_t content[64];
};

static struct core make_core(void)
{
	struct core core = {
		.header = {
			.e_ident = { 0x7F, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_CORE,
			.e_machine = EM_X86_64,
			.e_version = EV_CURRENT,
			.e_phoff = sizeof(Elf64_Ehdr),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 3,
		},
		.notes = {
			.p_type = PT_NOTE,
			.p_offset = offsetof(struct core, note),
			.p_filesz = sizeof(((struct core *)0)->note),
		},
		.heap = {
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_W,
			.p_offset = offsetof(struct core, content),
			.p_vaddr = 16 * PAGE,
			.p_filesz = 64,
			.p_memsz = PAGE,
		},
		.file = {
			.p_type = PT_LOAD,
			.p_flags = PF_R,
			.p_offset = offsetof(struct core, content) + 64,
			.p_vaddr = 32 * PAGE,
			.p_memsz = 4 * PAGE,
		},
		.note = {
			.header = { 5, 16 + 48 + 12, NT_FILE },
			.owner = "CORE",
			.count = 2,
			.page = PAGE,
			.mappings = { { 33 * PAGE, 34 * PAGE, 7 }, { 48 * PAGE, 50 * PAGE, 0 } },
			.paths = "/lib/a\0/b",
		},
		.content = "content",
	};

	return core;
}

/* Opens the first `size` bytes of `core` into `target`. */
static struct memheap_error *open_core(struct target *target, const struct core *core, size_t size)
{
	int file = memfd_create("core", 0);
	struct memheap_error *error;
	char path[32];

	assert_int_equal(write(file, core, size), size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	error = target_open(target, path, &options);
	close(file);
	return error;
}

static void expect_segment(const struct target *target, size_t index, vaddr start, uint64_t size,
			   const char *path, uint64_t offset)
{
	const struct segment *segment = &target->image.segments.items[index];

	assert_int_equal(segment->start, start);
	assert_int_equal(segment->end - segment->start, size);
	assert_int_equal(!segment->path, !path);
	if (!path)
		return;
	assert_string_equal(segment->path, path);
	assert_int_equal(segment->path_offset, offset);
}

static void cuts_segments_at_mappings(void **state)
{
	struct core core = make_core();
	struct target target;

	(void)state;
	assert_null(open_core(&target, &core, sizeof(core)));
	assert_int_equal(target.image.segments.count, 6);
	expect_segment(&target, 0, 16 * PAGE, 64, NULL, 0);
	expect_segment(&target, 1, 16 * PAGE + 64, PAGE - 64, NULL, 0);
	expect_segment(&target, 2, 32 * PAGE, PAGE, NULL, 0);
	expect_segment(&target, 3, 33 * PAGE, PAGE, "/lib/a", 7 * PAGE);
	expect_segment(&target, 4, 34 * PAGE, 2 * PAGE, NULL, 0);
	expect_segment(&target, 5, 48 * PAGE, 2 * PAGE, "/b", 0);
	assert_string_equal(image_at(&target.image, 16 * PAGE, 8), "content");
	assert_null(image_at(&target.image, 16 * PAGE + 64, 1));
	assert_int_equal(target.expected_size, sizeof(core));
	target_close(&target, &alone);
}

static void counts_what_is_cut_off(void **state)
{
	struct core core = make_core();
	struct target target;

	(void)state;
	assert_null(open_core(&target, &core, sizeof(core) - 50));
	assert_int_equal(target.gaps.kinds[GAP_CORE_TRUNCATED].count, 1);
	assert_int_equal(target.gaps.kinds[GAP_CORE_TRUNCATED].bytes, 50);
	assert_int_equal(target.gaps.kinds[GAP_CORE_TRUNCATED].first, 16 * PAGE + 14);
	assert_true(target.image.segments.items[1].truncated);
	assert_false(target.image.segments.items[2].truncated);
	target_close(&target, &alone);
}

static void refuses(const struct core *core, size_t size, enum memheap_status status,
		    const char *reason)
{
	struct target target;
	struct memheap_error *error = open_core(&target, core, size);

	assert_non_null(error);
	assert_int_equal(error->status, status);
	assert_non_null(strstr(error->message, reason));
	assert_non_null(error->hint);
	memheap_error_destroy(error);
	target_close(&target, &alone);
}

static void refuses_what_is_no_core(void **state)
{
	struct core core = make_core();

	(void)state;
	refuses(&core, 0, MEMHEAP_FAILED, "empty");
	refuses(&core, 63, MEMHEAP_FAILED, "cut off inside its header");
	refuses(&core, 64, MEMHEAP_FAILED, "cut off");
	core.header.e_type = ET_REL;
	refuses(&core, sizeof(core), MEMHEAP_FAILED, "object file");
	core.header.e_ident[EI_CLASS] = ELFCLASS32;
	refuses(&core, sizeof(core), MEMHEAP_NOT_PYTHON, "another kind of machine");
	core = make_core();
	core.header.e_phnum = 1;
	core.note.count = 0;
	refuses(&core, sizeof(core), MEMHEAP_FAILED, "no memory");
}

static void leaves_out_impossible_segments(void **state)
{
	static const vaddr starts[] = { 1ULL << 57, UINT64_MAX - 100, 1ULL << 63 };
	struct core core = make_core();
	struct target target;

	(void)state;
	core.file.p_memsz = 1ULL << 57;
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		core.file.p_vaddr = starts[i];
		assert_null(open_core(&target, &core, sizeof(core)));
		assert_int_equal(target.gaps.kinds[GAP_SEGMENT_IMPOSSIBLE].count, 1);
		assert_int_equal(target.image.segments.count, 4);
		target_close(&target, &alone);
	}
	core.file.p_vaddr = 0xffffffffff600000; /* where x86-64 has its vsyscall page */
	core.file.p_memsz = PAGE;
	assert_null(open_core(&target, &core, sizeof(core)));
	assert_int_equal(target.gaps.kinds[GAP_SEGMENT_IMPOSSIBLE].count, 0);
	target_close(&target, &alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_segments_at_mappings),
		cmocka_unit_test(counts_what_is_cut_off),
		cmocka_unit_test(refuses_what_is_no_core),
		cmocka_unit_test(leaves_out_impossible_segments),
	};

	return RUN_TESTS(tests);
}
