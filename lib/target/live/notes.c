/* SPDX-License-Identifier: MIT */
/* In the order of the kernel, which gdb relies on: Linux fs/binfmt_elf.c, write_note_info(). */
#include "notes.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>

#include "../../base/cleanup.h"

#define PAGE_BYTES    4096
#define SIGINFO_BYTES 128

static bool append(struct notes *notes, const void *bytes, size_t size)
{
	size_t needed = notes->list.count + size;

	if (needed > notes->list.capacity) {
		size_t capacity = MAX(2 * notes->list.capacity, needed);
		uint8_t *larger = realloc(notes->list.items, capacity);

		if (!larger)
			return false;
		notes->list.items = larger;
		notes->list.capacity = capacity;
	}
	if (size)
		memcpy(notes->list.items + notes->list.count, bytes, size);
	notes->list.count = needed;
	return true;
}

static bool pad(struct notes *notes)
{
	return append(notes, "\0\0\0", -notes->list.count & 3);
}

static bool add(struct notes *notes, const char *owner, uint32_t type, const void *bytes,
		size_t size)
{
	const Elf64_Nhdr header = {
		.n_namesz = (uint32_t)strlen(owner) + 1,
		.n_descsz = (uint32_t)size,
		.n_type = type,
	};

	return append(notes, &header, sizeof(header)) && append(notes, owner, header.n_namesz) &&
	       pad(notes) && append(notes, bytes, size) && pad(notes);
}

static bool add_identity(struct notes *notes, const struct notes_source *source)
{
	struct elf_prpsinfo info = {
		.pr_sname = source->status->state,
		.pr_uid = source->status->uid,
		.pr_gid = source->status->gid,
		.pr_pid = source->pid,
		.pr_ppid = (int)source->status->parent,
		.pr_pgrp = (int)proc_stat(source->pid, 5),
		.pr_sid = (int)proc_stat(source->pid, 6),
		.pr_nice = (char)(int64_t)proc_stat(source->pid, 19),
	};
	size_t size;
	const char *states = "RSDTZW", *state = strchr(states, source->status->state);

	_cleanup_free_ char *arguments = proc_read(source->pid, "cmdline", &size);
	info.pr_state = state ? (char)(state - states) : 0;
	memcpy(info.pr_fname, source->status->name, sizeof(info.pr_fname));
	if (arguments) {
		size = MIN(size, sizeof(info.pr_psargs) - 1);
		for (size_t i = 0; i < size; i++)
			info.pr_psargs[i] = (char)(arguments[i] ? arguments[i] : ' ');
	}
	return add(notes, "CORE", NT_PRPSINFO, &info, sizeof(info));
}

/* NT_FILE: count, page size, count × {start, end, offset in pages}, count × NUL-ended path. */
static bool add_files(struct notes *notes, const struct mappings *mappings)
{
	struct notes table = { 0 }, names = { 0 };
	uint64_t head[2] = { 0, PAGE_BYTES };
	bool added = append(&table, head, sizeof(head));

	for (size_t i = 0; added && i < mappings->list.count; i++) {
		const struct mapping *mapping = &mappings->list.items[i];
		const uint64_t entry[3] = { mapping->start, mapping->end,
					    mapping->offset / PAGE_BYTES };

		if (!mapping_has_file(mapping))
			continue;
		head[0]++;
		added = append(&table, entry, sizeof(entry)) &&
			append(&names, mapping->path, strlen(mapping->path) + 1);
	}
	added = added && append(&table, names.list.items, names.list.count);
	if (added) {
		memcpy(table.list.items, head, sizeof(head));
		added = add(notes, "CORE", NT_FILE, table.list.items, table.list.count);
	}
	notes_deinit(&table);
	notes_deinit(&names);
	return added;
}

static bool add_status(struct notes *notes, const struct notes_source *source,
		       const struct live_thread *thread)
{
	struct elf_prstatus status = {
		.pr_pid = thread->tid,
		.pr_ppid = (int)source->status->parent,
		.pr_pgrp = (int)proc_stat(source->pid, 5),
		.pr_sid = (int)proc_stat(source->pid, 6),
		.pr_fpvalid = 1,
	};

	_Static_assert(sizeof(status.pr_reg) == sizeof(thread->registers), "registers");
	memcpy(&status.pr_reg, &thread->registers, sizeof(status.pr_reg));
	return add(notes, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

static bool add_floats(struct notes *notes, const struct live_thread *thread)
{
	return add(notes, "CORE", NT_FPREGSET, &thread->floats, sizeof(thread->floats)) &&
	       (!thread->extended_size ||
		add(notes, "LINUX", NT_X86_XSTATE, thread->extended, thread->extended_size));
}

/* The last one: readers that don't know it have all others then. */
static bool add_taking(struct notes *notes, const struct taking *taking)
{
	size_t size = 0;
	_cleanup_free_ uint8_t *bytes = taking_encode(taking, &size);

	return bytes && add(notes, TAKING_OWNER, TAKING_TYPE, bytes, size);
}

bool notes_make(struct notes *notes, const struct notes_source *source)
{
	static const uint8_t no_signal[SIGINFO_BYTES];
	bool first = true;

	for (size_t i = 0; i < source->threads->list.count; i++) {
		const struct live_thread *thread = &source->threads->list.items[i];

		if (thread->gone)
			continue;
		if (!add_status(notes, source, thread))
			return false;
		if (first && !(add_identity(notes, source) &&
			       add(notes, "CORE", NT_SIGINFO, no_signal, sizeof(no_signal)) &&
			       add(notes, "CORE", NT_AUXV, source->auxv, source->auxv_size) &&
			       add_files(notes, source->mappings)))
			return false;
		first = false;
		if (!add_floats(notes, thread))
			return false;
	}
	return add_taking(notes, source->taking);
}

bool notes_decode(const struct notes *notes, struct process *process)
{
	size_t at = 0;

	while (at < notes->list.count) {
		const uint8_t *bytes = notes->list.items + at;
		size_t name = at + sizeof(Elf64_Nhdr), payload;
		Elf64_Nhdr header;

		memcpy(&header, bytes, sizeof(header));
		payload = name + round_up(header.n_namesz, 4);
		if (!process_add_note(process, (const char *)notes->list.items + name,
				      header.n_type, notes->list.items + payload, header.n_descsz))
			return false;
		at = payload + round_up(header.n_descsz, 4);
	}
	return true;
}

void notes_deinit(struct notes *notes)
{
	free(notes->list.items);
	*notes = (struct notes){ 0 };
}
