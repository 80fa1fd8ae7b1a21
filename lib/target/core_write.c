/* SPDX-License-Identifier: MIT */
/* The layout is that of Linux fs/binfmt_elf.c, elf_core_dump(). */
#include "core_write.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <zstd.h>

#include "../base/cleanup.h"
#include "spool.h"

#define PAGE_BYTES  4096UL
#define CHUNK_BYTES (16UL << 20)
#define LEVEL       1  /* of zstd: memory speed matters more than the last tenth */
#define PACKED_MIN  20 /* how many times smaller a core gets at best, for the look at free space */

/* Where the bytes go: to a file with holes, or through zstd into one. */
struct sink {
	struct spool spool;
	ZSTD_CCtx *zstd; /* NULL: not compressed */
	uint8_t *packed; /* what zstd gives, until it is a chunk */
	size_t packed_size;
};

static bool flush_packed(struct sink *sink, bool all)
{
	size_t size = all ? sink->packed_size : sink->packed_size / PAGE_BYTES * PAGE_BYTES;

	if (!spool_append(&sink->spool, sink->packed, size))
		return false;
	sink->packed_size -= size;
	memmove(sink->packed, sink->packed + size, sink->packed_size);
	return true;
}

static bool pack(struct sink *sink, const uint8_t *bytes, size_t size, ZSTD_EndDirective how)
{
	ZSTD_inBuffer in = { bytes, size, 0 };
	size_t left;

	do {
		ZSTD_outBuffer out = { sink->packed, CHUNK_BYTES, sink->packed_size };

		left = ZSTD_compressStream2(sink->zstd, &out, &in, how);
		if (ZSTD_isError(left)) {
			errno = ENOMEM;
			return false;
		}
		sink->packed_size = out.pos;
		if (sink->packed_size == CHUNK_BYTES && !flush_packed(sink, false))
			return false;
	} while (how == ZSTD_e_end ? left : in.pos < in.size);
	return true;
}

static bool put(struct sink *sink, const uint8_t *bytes, uint64_t size)
{
	while (size) {
		size_t part = MIN(size, CHUNK_BYTES);

		if (!(sink->zstd ? pack(sink, bytes, part, ZSTD_e_continue)
				 : spool_append(&sink->spool, bytes, part)))
			return false;
		bytes += part;
		size -= part;
	}
	return true;
}

static bool finish(struct sink *sink)
{
	if (sink->zstd && !(pack(sink, NULL, 0, ZSTD_e_end) && flush_packed(sink, true)))
		return false;
	return spool_end(&sink->spool);
}

/* What of the file is written before the memory, padded to pages: it is the caller's to free. */
static uint8_t *make_head(const struct core_source *source, uint64_t *size)
{
	size_t headers = source->count + 1;
	bool many = headers >= PN_XNUM;
	uint64_t notes =
		sizeof(Elf64_Ehdr) + headers * sizeof(Elf64_Phdr) + (many ? sizeof(Elf64_Shdr) : 0);
	uint64_t at = *size = round_up(notes + source->notes_size, PAGE_BYTES);
	const Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = source->machine,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (uint16_t)(many ? PN_XNUM : headers),
		.e_shoff = many ? notes - sizeof(Elf64_Shdr) : 0,
		.e_shentsize = many ? sizeof(Elf64_Shdr) : 0,
		.e_shnum = many,
	};
	/* with too many program headers for their field, a section header tells */
	const Elf64_Shdr number = { .sh_size = 1, .sh_info = (uint32_t)headers };
	uint8_t *head = calloc(1, *size);
	Elf64_Phdr *programs = head ? (void *)(head + sizeof(header)) : NULL;

	if (!head)
		return NULL;
	memcpy(head, &header, sizeof(header));
	*programs++ = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = notes,
		.p_filesz = source->notes_size,
		.p_align = 4,
	};
	for (size_t i = 0; i < source->count; i++) {
		const struct core_piece *piece = &source->pieces[i];

		programs[i] = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_flags = piece->permissions,
			.p_offset = at,
			.p_vaddr = piece->start,
			.p_filesz = piece->bytes ? piece->end - piece->start : 0,
			.p_memsz = piece->end - piece->start,
			.p_align = PAGE_BYTES,
		};
		at += programs[i].p_filesz;
	}
	if (many)
		memcpy(head + notes - sizeof(number), &number, sizeof(number));
	memcpy(head + notes, source->notes, source->notes_size);
	return head;
}

/* Bytes that are no pages of zeros. */
static uint64_t filled_bytes(const struct core_source *source)
{
	static const uint8_t zeros[PAGE_BYTES];
	uint64_t bytes = 0;

	for (size_t i = 0; i < source->count; i++) {
		const struct core_piece *piece = &source->pieces[i];

		for (uint64_t at = 0; piece->bytes && at < piece->end - piece->start;
		     at += PAGE_BYTES)
			bytes += memcmp(piece->bytes + at, zeros, PAGE_BYTES) ? PAGE_BYTES : 0;
	}
	return bytes;
}

static struct memheap_error *check_room(int fd, const struct core_source *source)
{
	uint64_t needed = filled_bytes(source) / (source->compress ? PACKED_MIN : 1), available;
	struct statvfs status;

	if (fstatvfs(fd, &status))
		return NULL;
	available = (uint64_t)status.f_bavail * status.f_frsize;
	if (available >= needed)
		return NULL;
	return error_hint(error_create(MEMHEAP_FAILED,
				       "cannot write %s: it takes %llu bytes, and %llu are free",
				       source->path, (unsigned long long)needed,
				       (unsigned long long)available),
			  "write it elsewhere, or make it smaller: --compress, --anonymous-only, "
			  "--python-only");
}

static struct memheap_error *write_all(struct sink *sink, const struct core_source *source)
{
	uint64_t size;
	bool written;

	_cleanup_free_ uint8_t *head = make_head(source, &size);
	if (!head)
		return &error_no_memory;
	written = put(sink, head, size);
	for (size_t i = 0; written && i < source->count; i++) {
		const struct core_piece *piece = &source->pieces[i];

		if (piece->bytes)
			written = put(sink, piece->bytes, piece->end - piece->start);
	}
	return written && finish(sink) ? NULL : error_create_errno("cannot write %s", source->path);
}

struct memheap_error *core_write(int fd, const struct core_source *source)
{
	struct sink sink = { .spool = { .fd = fd } };
	struct memheap_error *error = check_room(fd, source);

	if (error)
		return error;
	if (source->compress) {
		sink.zstd = ZSTD_createCCtx();
		sink.packed = malloc(CHUNK_BYTES);
		if (!sink.zstd || !sink.packed) {
			error = &error_no_memory;
		} else {
			ZSTD_CCtx_setParameter(sink.zstd, ZSTD_c_compressionLevel, LEVEL);
			ZSTD_CCtx_setParameter(sink.zstd, ZSTD_c_checksumFlag, 1);
			/* fails where the library has no threads: then it works without */
			ZSTD_CCtx_setParameter(sink.zstd, ZSTD_c_nbWorkers, (int)source->workers);
		}
	}
	if (!error)
		error = write_all(&sink, source);
	ZSTD_freeCCtx(sink.zstd);
	free(sink.packed);
	return error;
}
