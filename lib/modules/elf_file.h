/* SPDX-License-Identifier: MIT */
/* An ELF file on disk: its build id, symbols, sections and bytes. */
#pragma once

#include "../base/error.h"
#include "../base/vaddr.h"

#define BUILD_ID_MAX 32

struct build_id {
	uint8_t bytes[BUILD_ID_MAX];
	size_t size; /* 0: none */
};

/* One PT_LOAD. */
struct elf_load {
	vaddr start, end; /* link addresses; [start, end) is p_memsz bytes */
	uint64_t offset;  /* in the file */
	uint64_t file_size;
	uint32_t flags; /* PF_* */
};

#define ELF_LOADS_MAX 16

/* The program headers that matter, from a file or from the header page in a core. */
struct elf_headers {
	struct elf_load loads[ELF_LOADS_MAX];
	size_t load_count;
	vaddr relro_start, relro_end;
	uint64_t tls_bytes; /* of thread-local data, for each thread */
};

struct elf_file {
	char *path;
	const uint8_t *bytes; /* the whole file, mapped */
	uint64_t size;
	struct elf_headers headers;
	struct build_id build_id;
	struct Elf *elf;
};

/* A symbol or section, by link address. */
struct elf_symbol {
	vaddr address;
	uint64_t size;
	const char *table; /* of a symbol: ".symtab" or ".dynsym" */
	const struct elf_file *file;
};

struct memheap_error *elf_file_open(const char *path, struct elf_file **ret);

/*
 * The ELF file in section .gnu_debugdata of `file`, compressed with xz: the symbols of functions
 * that Fedora leaves in stripped files ("MiniDebugInfo" in gdb's manual). NULL when there is none
 * that can be read.
 */
struct elf_file *elf_file_mini_debug(const struct elf_file *file);

/* Accepts NULL. */
void elf_file_close(struct elf_file *file);

/*
 * The first data or code symbol called `name` in .symtab or .dynsym that is defined; local ones
 * too. Compilers rename statics when they optimise at link time: `name` also finds
 * `name.lto_priv.0` and the like.
 */
bool elf_file_symbol(const struct elf_file *file, const char *name, struct elf_symbol *ret);

/* The section called `name`, by link address; false when there is none in memory. */
bool elf_file_section(const struct elf_file *file, const char *name, struct elf_symbol *ret);

/* The file name and checksum in .gnu_debuglink; false when there is none. */
bool elf_file_debug_link(const struct elf_file *file, const char **name, uint32_t *checksum);

/*
 * The file name and build id in .gnu_debugaltlink: DWARF that several files share is in that one,
 * as dwz puts it. False when there is none.
 */
bool elf_file_alt_link(const struct elf_file *file, const char **name, struct build_id *id);

/* Whether the file has DWARF (.debug_info). */
bool elf_file_has_dwarf(const struct elf_file *file);

/*
 * Program headers at `bytes` (the start of an ELF file or of its image in memory), of which
 * `size` can be read; false when this is no 64-bit little-endian ELF file.
 */
bool elf_headers_parse(struct elf_headers *headers, const uint8_t *bytes, uint64_t size);

/* The build id in the notes at `bytes`, if any. */
void build_id_parse(struct build_id *id, const uint8_t *bytes, uint64_t size);

static inline bool build_id_equal(const struct build_id *a, const struct build_id *b)
{
	return a->size == b->size && !memcmp(a->bytes, b->bytes, a->size);
}

/* The id as hexadecimal digits; `text` has room for 2 * BUILD_ID_MAX + 1 bytes. */
void build_id_format(const struct build_id *id, char *text);

static inline void elf_file_cleanup(struct elf_file **file)
{
	elf_file_close(*file);
}
