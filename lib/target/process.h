/* SPDX-License-Identifier: MIT */
/* What a core's notes say of the process: who it was, why it died, what it had mapped. */
#pragma once

#include "../base/strings.h"
#include "../base/vaddr.h"
#include "../base/vector.h"
#include "taking.h"

/*
 * Whether a process can have memory at [at, at + size): of its own half of the addresses 57 bits at
 * most, of the kernel's half a few pages (x86-64's vsyscall). Documentation/arch/x86/x86_64/mm.rst
 */
static inline bool process_can_map(vaddr at, uint64_t size)
{
	return range_holds(0, 1ULL << 57, at, size) ||
	       (size <= 1 << 20 && range_holds(1ULL << 63, 0xffffffffff700000ULL, at, size));
}

#define GENERAL_REGISTERS_MAX 31

/* One NT_PRSTATUS: a thread and where it stood. */
struct process_thread {
	uint32_t tid;
	uint32_t signal; /* the signal that the thread was taking, or 0 */
	vaddr pc, sp;
	vaddr tls; /* the thread pointer; 0 when the notes don't tell */
	vaddr registers[GENERAL_REGISTERS_MAX]; /* the general ones; 0 when they are cut off */
};

/* One entry of NT_FILE. */
struct process_mapping {
	vaddr start, end;
	uint64_t offset; /* bytes into the file */
	const char *path;
};

/* NT_SIGINFO: why it died. */
struct process_signal {
	uint32_t number; /* 0: unknown */
	int32_t code;
	uint32_t sender_pid, sender_uid; /* when sent by a process: code <= 0 */
	vaddr address;                   /* of the fault, when code > 0 */
};

#define AUXV_MAX 1024

struct process {
	uint16_t machine;    /* EM_X86_64, … */
	uint32_t page_bytes; /* AT_PAGESZ; 0: unknown */
	uint32_t pid, parent_pid, uid;
	const char *name;         /* comm, at most 15 bytes; NULL when unknown */
	const char *command_line; /* all arguments, or as ps shows them; NULL when unknown */
	bool command_line_cut;    /* only its beginning is known: notes have 79 bytes */
	struct process_signal signal;
	VECTOR(struct process_thread) threads;   /* the one that died first */
	VECTOR(struct process_mapping) mappings; /* by address */
	vaddr entry;                             /* AT_ENTRY of the executable; 0 when unknown */
	vaddr headers;                           /* AT_PHDR */
	vaddr vdso;                              /* AT_SYSINFO_EHDR */
	vaddr exec_name;        /* AT_EXECFN: the string that was passed to execve() */
	uint8_t auxv[AUXV_MAX]; /* NT_AUXV, up to AT_NULL */
	size_t auxv_size;
	struct taking taking; /* by memheap; else unknown */
	struct strings strings;
};

/* Decodes one note. Notes that are unknown or too short are ignored; false: out of memory. */
bool process_add_note(struct process *process, const char *owner, uint32_t type,
		      const uint8_t *bytes, size_t size);

/* Whether cores of that machine (EM_*) can be decoded: the registers that matter are known, and
 * CPython's and glibc's structures are those of 64 bits, little-endian. */
bool machine_is_known(uint16_t machine);

/* What general register `index` of a thread is called; NULL when there is none. */
const char *machine_register(uint16_t machine, unsigned index);

/* What a machine is called; NULL when that is not known. */
const char *machine_name(uint16_t machine);

void process_deinit(struct process *process);
