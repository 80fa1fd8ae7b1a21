/* SPDX-License-Identifier: MIT */
/*
 * What the kernel did not write (p_filesz < p_memsz) and what a short file does not hold are
 * missing segments. NT_FILE names the mapped files: segments are cut where a mapping begins or
 * ends, and mappings without any program header (gcore leaves out read-only ones) are missing
 * segments too.
 */
#include <gelf.h>
#include <stdlib.h>

#include "../base/bisect.h"
#include "../base/cleanup.h"
#include "arguments.h"
#include "elf_core.h"

/* The executable's first page, with its build id, lies near the beginning too. */
#define HEAD_BYTES (1UL << 20)

static void cleanup_elf(Elf **elf)
{
	elf_end(*elf);
}

static struct memheap_error *bad_core(const struct target *target, const char *what)
{
	return error_hint(error_create(MEMHEAP_FAILED, "cannot read %s: %s", target->path, what),
			  "give the core that the kernel or gcore wrote");
}

static struct memheap_error *cut_off(const struct target *target, const char *where)
{
	return error_hint(error_create(MEMHEAP_FAILED, "cannot read %s: it is cut off %s",
				       target->path, where),
			  "raise the limit on cores (ulimit -c unlimited) and free the disk");
}

static struct memheap_error *check_header(const struct target *target, Elf *elf, GElf_Ehdr *header)
{
	if (target->file_size < sizeof(Elf64_Ehdr) &&
	    !memcmp(target->file, ELFMAG, MIN(target->file_size, (uint64_t)SELFMAG)))
		return cut_off(target, "inside its header");
	if (elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, header))
		return bad_core(target, "it is not an ELF core file");
	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
		return error_hint(error_create(MEMHEAP_NOT_PYTHON,
					       "cannot read %s: it is of another kind of machine",
					       target->path),
				  "only 64-bit little-endian cores are known");
	if (header->e_type != ET_CORE)
		return bad_core(target, header->e_type == ET_REL
						? "it is an object file, not a core"
						: "it is a program or library, not a core");
	return NULL;
}

static bool add_notes(struct target *target, Elf *elf, const GElf_Phdr *header)
{
	uint64_t start = MIN(header->p_offset, target->file_size), size;
	size_t at = 0, name, payload;
	GElf_Nhdr note;
	Elf_Data *data;

	/* gdb writes them behind the memory, where they are the first to be cut off */
	size = MIN(header->p_filesz, target->file_size - start);
	if (size < header->p_filesz)
		gap_add(&target->gaps, GAP_CORE_TRUNCATED, 0, header->p_filesz - size);
	if (!size)
		return true;
	data = elf_getdata_rawchunk(elf, (int64_t)header->p_offset, size, ELF_T_NHDR);
	while (data && (at = gelf_getnote(data, at, &note, &name, &payload))) {
		const char *bytes = data->d_buf;
		char owner[8] = "";

		memcpy(owner, bytes + name, MIN(note.n_namesz, sizeof(owner) - 1));
		if (!process_add_note(&target->process, owner, note.n_type,
				      (const uint8_t *)bytes + payload, note.n_descsz))
			return false;
	}
	return true;
}

static int compare_mappings(const void *a, const void *b)
{
	const struct process_mapping *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* The first mapping that ends after `at`, or NULL. */
static const struct process_mapping *mapping_after(const struct process *process, vaddr at)
{
	const struct process_mapping *mappings = process->mappings.items;
	size_t found = bisect(i, process->mappings.count, mappings[i].end <= at);

	return found < process->mappings.count ? &mappings[found] : NULL;
}

/* Adds `whole`, cut into one segment for each mapping and each stretch between mappings. */
static bool add_segments(struct target *target, struct segment whole)
{
	while (whole.start < whole.end) {
		const struct process_mapping *mapping =
			mapping_after(&target->process, whole.start);
		struct segment *piece = vector_push(&target->image.segments);

		if (!piece)
			return false;
		*piece = whole;
		if (mapping && mapping->start <= whole.start) {
			piece->end = MIN(whole.end, mapping->end);
			piece->path = mapping->path;
			piece->path_offset = mapping->offset + (whole.start - mapping->start);
		} else if (mapping) {
			piece->end = MIN(whole.end, mapping->start);
		}
		if (whole.bytes)
			whole.bytes += piece->end - piece->start;
		whole.start = piece->end;
	}
	return true;
}

static bool add_segment(struct target *target, const struct segment *segment)
{
	struct segment *added;

	if (segment->start >= segment->end)
		return true;
	added = vector_push(&target->image.segments);
	if (added)
		*added = *segment;
	return added;
}

/* One PT_LOAD: the bytes in the file, those that the file should hold, those never dumped. */
static bool add_load(struct target *target, Elf *elf, const GElf_Phdr *header)
{
	uint64_t memory = header->p_memsz, dumped = MIN(header->p_filesz, memory), present;
	struct segment segment = { .permissions = (uint8_t)header->p_flags };

	(void)elf;
	if (!process_can_map(header->p_vaddr, memory)) {
		gap_add(&target->gaps, GAP_SEGMENT_IMPOSSIBLE, header->p_vaddr, 0);
		return true;
	}
	present = header->p_offset < target->file_size
			  ? MIN(dumped, target->file_size - header->p_offset)
			  : 0;

	segment.start = header->p_vaddr;
	segment.end = header->p_vaddr + present;
	segment.bytes = present ? target->file + header->p_offset : NULL;
	if (!add_segment(target, &segment))
		return false;

	segment.bytes = NULL;
	if (target->unpacked.stopped) {
		segment.unread = true;
		segment.start = segment.end;
		segment.end = header->p_vaddr + dumped;
		if (!add_segment(target, &segment))
			return false;
		segment.unread = false;
	}
	segment.origin = SEGMENT_MISSING;
	segment.truncated = true;
	segment.start = segment.end;
	segment.end = header->p_vaddr + dumped;
	if (segment.end > segment.start)
		gap_add(&target->gaps, GAP_CORE_TRUNCATED, segment.start,
			segment.end - segment.start);
	if (!add_segment(target, &segment))
		return false;

	segment.truncated = false;
	segment.start = segment.end;
	segment.end = header->p_vaddr + memory;
	return add_segment(target, &segment);
}

/* Adds the parts of [at, end), mapped from files, that no segment covers; `covered` is sorted. */
static bool add_uncovered(struct target *target, const struct image *covered, vaddr at, vaddr end)
{
	while (at < end) {
		const struct segment *next = image_segment_after(covered, at);
		struct segment hole = {
			.start = at,
			.end = next ? MIN(next->start, end) : end,
			.permissions = PF_R,
			.origin = SEGMENT_MISSING,
		};

		if (hole.start < hole.end && !add_segments(target, hole))
			return false;
		at = next ? next->end : end;
	}
	return true;
}

/* Cuts the segments at the borders of mappings, and adds what NT_FILE knows and no program header
 * covers. */
static bool apply_mappings(struct target *target)
{
	const struct process_mapping *mappings = target->process.mappings.items;
	struct image covered = target->image;
	bool added = true;
	vaddr done = 0;

	target->image.segments.items = NULL;
	target->image.segments.count = target->image.segments.capacity = 0;
	for (size_t i = 0; added && i < target->process.mappings.count; i++) {
		added = add_uncovered(target, &covered, MAX(done, mappings[i].start),
				      mappings[i].end);
		done = MAX(done, mappings[i].end);
	}
	for (size_t i = 0; added && i < covered.segments.count; i++)
		added = add_segments(target, covered.segments.items[i]);
	covered.runs.items = NULL;
	image_deinit(&covered);
	return added && image_build(&target->image, &target->gaps);
}

/* Calls `add` for each program header of `type`; false when out of memory. */
static bool each_header(struct target *target, Elf *elf, size_t count, uint32_t type,
			bool (*add)(struct target *, Elf *, const GElf_Phdr *))
{
	for (size_t i = 0; i < count; i++) {
		GElf_Phdr header;

		if (!gelf_getphdr(elf, (int)i, &header))
			break;
		if (header.p_filesz <= UINT64_MAX - header.p_offset)
			target->expected_size =
				MAX(target->expected_size, header.p_offset + header.p_filesz);
		if (header.p_type == type && !add(target, elf, &header))
			return false;
	}
	return true;
}

bool elf_core_has_head(int fd, uint64_t size)
{
	Elf64_Ehdr header;

	if (size < HEAD_BYTES || pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == PN_XNUM ||
	    !range_holds(0, size, header.e_phoff, header.e_phnum * sizeof(Elf64_Phdr)))
		return false;
	for (size_t i = 0; i < header.e_phnum; i++) {
		off_t at = (off_t)(header.e_phoff + i * sizeof(Elf64_Phdr));
		Elf64_Phdr segment;

		if (pread(fd, &segment, sizeof(segment), at) != sizeof(segment) ||
		    (segment.p_type == PT_NOTE &&
		     !range_holds(0, size, segment.p_offset, segment.p_filesz)))
			return false;
	}
	return true;
}

struct memheap_error *elf_core_load(struct target *target)
{
	struct process *process = &target->process;
	struct memheap_error *error;
	GElf_Ehdr header;
	size_t count;

	elf_version(EV_CURRENT);
	_cleanup_(cleanup_elf) Elf *elf = elf_memory((char *)target->file, target->file_size);
	error = check_header(target, elf, &header);
	if (error)
		return error;
	process->machine = header.e_machine;
	if (elf_getphdrnum(elf, &count) || !count)
		return cut_off(target, "before its program headers");

	if (!each_header(target, elf, count, PT_NOTE, add_notes))
		return &error_no_memory;
	if (process->mappings.count)
		qsort(process->mappings.items, process->mappings.count,
		      sizeof(*process->mappings.items), compare_mappings);
	if (!each_header(target, elf, count, PT_LOAD, add_load) ||
	    !image_build(&target->image, &target->gaps) || !apply_mappings(target))
		return &error_no_memory;
	taking_count(&process->taking, &target->gaps);
	if (!target->image.segments.count &&
	    !range_holds(0, target->file_size, header.e_phoff,
			 (uint64_t)header.e_phnum * header.e_phentsize))
		return cut_off(target, "inside its program headers");
	if (!target->image.segments.count)
		return bad_core(target, "it holds no memory (no PT_LOAD program header)");
	arguments_read(process, &target->image);
	return NULL;
}
