/* SPDX-License-Identifier: MIT */
#include "../unit.h"
#include "modules/elf_file.h"

/* One note with an owner of 4 bytes. */
struct note {
	Elf64_Nhdr header;
	char owner[4];
	uint8_t payload[40];
};

enum { NOTE_HEADER = offsetof(struct note, payload) };

static struct build_id parse(const void *bytes, size_t size)
{
	struct build_id id = { .size = 0 };

	build_id_parse(&id, bytes, size);
	return id;
}

static void finds_the_build_id(void **state)
{
	struct note note = { { 4, 20, NT_GNU_BUILD_ID }, "GNU", { 0xAB, 0, 0xCD } };
	uint8_t both[NOTE_HEADER + 4 + sizeof(note)];
	char text[2 * BUILD_ID_MAX + 1];
	struct build_id id;

	(void)state;
	id = parse(&note, NOTE_HEADER + 20);
	assert_int_equal(id.size, 20);
	build_id_format(&id, text);
	assert_string_equal(text, "ab00cd0000000000000000000000000000000000");
	assert_int_equal(parse(&note, NOTE_HEADER + 19).size, 0);
	assert_int_equal(parse(&note, 11).size, 0);
	assert_int_equal(parse(&note, 0).size, 0);

	/* behind another note, whose payload is padded */
	memcpy(both, &(struct note){ { 4, 3, NT_GNU_ABI_TAG }, "GNU", { 0 } }, NOTE_HEADER + 4);
	memcpy(both + NOTE_HEADER + 4, &note, sizeof(note));
	assert_int_equal(parse(both, sizeof(both)).size, 20);
}

static void ignores_impossible_notes(void **state)
{
	struct note note = { { 4, 40, NT_GNU_BUILD_ID }, "GNU", { 1 } };

	(void)state;
	assert_int_equal(parse(&note, sizeof(note)).size, BUILD_ID_MAX);
	note.header.n_descsz = UINT32_MAX;
	assert_int_equal(parse(&note, sizeof(note)).size, 0);
	note.header = (Elf64_Nhdr){ UINT32_MAX, 8, NT_GNU_BUILD_ID };
	assert_int_equal(parse(&note, sizeof(note)).size, 0);
	note = (struct note){ { 4, 8, NT_GNU_BUILD_ID }, "GNX", { 1 } };
	assert_int_equal(parse(&note, NOTE_HEADER + 8).size, 0);
}

struct file {
	Elf64_Ehdr header;
	Elf64_Phdr segments[20];
};

static void parses_headers_that_fit(void **state)
{
	struct file file = { .header = {
				     .e_ident = { 0x7F, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB,
						  EV_CURRENT },
				     .e_phoff = sizeof(Elf64_Ehdr),
				     .e_phentsize = sizeof(Elf64_Phdr),
				     .e_phnum = 2,
			     } };
	struct elf_headers headers;

	(void)state;
	file.segments[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_vaddr = 4096, .p_memsz = 100 };
	file.segments[1] =
		(Elf64_Phdr){ .p_type = PT_LOAD, .p_vaddr = 8192, .p_memsz = UINT64_MAX };
	assert_true(elf_headers_parse(&headers, (uint8_t *)&file, 64 + 2 * 56));
	assert_int_equal(headers.load_count, 1); /* the other one wraps around */
	assert_int_equal(headers.loads[0].end, 4196);
	assert_false(elf_headers_parse(&headers, (uint8_t *)&file, 64 + 2 * 56 - 1));
	assert_false(elf_headers_parse(&headers, (uint8_t *)&file, 63));
	file.header.e_phoff = UINT64_MAX;
	assert_false(elf_headers_parse(&headers, (uint8_t *)&file, sizeof(file)));
	file.header.e_phoff = sizeof(Elf64_Ehdr);
	file.header.e_phnum = 20;
	for (size_t i = 0; i < ARRAY_SIZE(file.segments); i++)
		file.segments[i] = file.segments[0];
	assert_true(elf_headers_parse(&headers, (uint8_t *)&file, sizeof(file)));
	assert_int_equal(headers.load_count, ELF_LOADS_MAX);
	file.header.e_phnum = 21;
	assert_false(elf_headers_parse(&headers, (uint8_t *)&file, sizeof(file)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_build_id),
		cmocka_unit_test(ignores_impossible_notes),
		cmocka_unit_test(parses_headers_that_fit),
	};

	return RUN_TESTS(tests);
}
