/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the decoders of the heap. The input is damage to a small real core: a byte that chooses
 * the core, then patches of 8 bytes: what to do, which word (of those that are not zero), a value.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/vaddr.h"
#include "fuzz.h"

#define CORE_MAX    (16 << 20)
#define PATCH_BYTES 8
#define PATCHES_MAX 64
#define HEADER_MAX  8192 /* program headers and notes lie before */

enum action {
	SET_WORD,  /* to a small number, positive or negative */
	COPY_WORD, /* of elsewhere: often a pointer */
	ADD_TO_WORD,
	SET_BYTE,
	SET_HALF, /* its lower half */
	FLIP_BIT,
	CUT_FILE,
	SET_HEADER, /* one byte of the headers and notes */
	ACTIONS
};

struct base {
	const char *core, *executable; /* files in CORES */
	struct memory_file core_file, executable_file;
	uint8_t *bytes;
	size_t size;
	uint32_t *words; /* offsets of those that are not zero */
	size_t word_count;
};

static struct base bases[] = {
	{ .core = "3.13.core.gz", .executable = "3.13.elf" },
	{ .core = "3.8.core.gz", .executable = "3.8.elf" },
	{ .core = "3.8.core.gz", .executable = "3.8.stripped.elf" },
	/* without an ELF file */
	{ .core = "3.8.core.gz", .executable = "3.8.core.gz" },
};

/* The content of a file in CORES, unpacked. */
static uint8_t *read_file(const char *name, size_t *size)
{
	uint8_t *bytes = malloc(CORE_MAX);
	char path[4096];
	gzFile file;
	int length;

	snprintf(path, sizeof(path), "%s/%s", CORES, name);
	file = gzopen(path, "rb");
	length = file && bytes ? gzread(file, bytes, CORE_MAX) : -1;
	if (length <= 0) {
		fprintf(stderr, "cannot read %s\n", path);
		abort();
	}
	gzclose(file);
	*size = (size_t)length;
	return bytes;
}

static void load_base(struct base *base)
{
	size_t size;
	uint8_t *executable = read_file(base->executable, &size);

	base->executable_file = memory_file_create("executable");
	memory_file_write(&base->executable_file, executable, size, 0);
	free(executable);
	base->bytes = read_file(base->core, &base->size);
	base->core_file = memory_file_create("core");
	memory_file_write(&base->core_file, base->bytes, base->size, 0);
	base->words = malloc(base->size / 8 * sizeof(*base->words));
	if (!base->words)
		abort();
	for (uint32_t at = 0; at + 8 <= base->size; at += 8) {
		if (load_u64(base->bytes + at))
			base->words[base->word_count++] = at;
	}
}

/* Does what `patch` says; returns the offset that it changed, with the value that was there. */
static uint64_t apply(const struct base *base, const uint8_t *patch)
{
	uint64_t at = base->words[(load_u32(patch) >> 8) % base->word_count];
	uint64_t word = load_u64(base->bytes + at), header = (load_u32(patch) >> 8) % HEADER_MAX;
	uint32_t value = load_u32(patch + 4);

	switch (patch[0] % ACTIONS) {
	case SET_WORD:
		word = (uint64_t)(int32_t)value;
		break;
	case COPY_WORD:
		word = load_u64(base->bytes + base->words[value % base->word_count]);
		break;
	case ADD_TO_WORD:
		word += (uint64_t)(int32_t)value;
		break;
	case SET_BYTE:
		memory_file_write(&base->core_file, patch + 5, 1, at + (value & 7));
		return at;
	case SET_HALF:
		memory_file_write(&base->core_file, patch + 4, 4, at);
		return at;
	case FLIP_BIT:
		word ^= 1ULL << value % 64;
		break;
	case CUT_FILE:
		memory_file_resize(&base->core_file, at);
		return at;
	case SET_HEADER:
		memory_file_write(&base->core_file, patch + 4, 1, header);
		return header & ~7ULL;
	}
	memory_file_write(&base->core_file, &word, sizeof(word), at);
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct base *base = &bases[size ? bytes[0] % ARRAY_SIZE(bases) : 0];
	uint64_t changed[PATCHES_MAX], address = 0;
	size_t count = 0;

	if (!base->bytes)
		load_base(base);
	for (size_t at = 1; at + PATCH_BYTES <= size && count < PATCHES_MAX; at += PATCH_BYTES) {
		changed[count] = apply(base, bytes + at);
		address = load_u64(base->bytes + changed[count++]);
	}
	read_everything(base->core_file.path, base->executable_file.path, MEMHEAP_OBJECTS, address);
	memory_file_resize(&base->core_file, base->size);
	for (size_t i = 0; i < count; i++)
		memory_file_write(&base->core_file, base->bytes + changed[i],
				  MIN(base->size - changed[i], 8), changed[i]);
	for (size_t i = 0; i < count; i++) {
		if (bytes[1 + i * PATCH_BYTES] % ACTIONS == CUT_FILE)
			memory_file_write(&base->core_file, base->bytes + changed[i],
					  base->size - changed[i], changed[i]);
	}
	return 0;
}
