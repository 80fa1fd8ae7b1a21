/* SPDX-License-Identifier: MIT */
/*
 * Notes of Linux cores, by offset: the structures are the same on every 64-bit little-endian
 * machine but for the registers (Linux include/linux/elfcore.h, fs/binfmt_elf.c).
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"

#define PRSTATUS_CURSIG 12
#define PRSTATUS_PID    32
#define PRSTATUS_REGS   112

#define PRPSINFO_UID    16
#define PRPSINFO_PID    24
#define PRPSINFO_PPID   28
#define PRPSINFO_FNAME  40
#define PRPSINFO_PSARGS 56
#define PRPSINFO_SIZE   136

#define SIGINFO_CODE  8
#define SIGINFO_UNION 16

/* Where the registers that we need lie in pr_reg, in 8-byte words; the general ones come first. */
struct registers {
	uint16_t machine;
	uint8_t pc, sp, tls, count;
	const char *general[GENERAL_REGISTERS_MAX]; /* their names */
};

#define NO_REGISTER UINT8_MAX

static const struct registers machines[] = {
	/* Linux arch/x86/include/asm/user_64.h: struct user_regs_struct */
	{
		.machine = EM_X86_64,
		.pc = 16,
		.sp = 19,
		.tls = 21,
		.count = 27,
		.general = { "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8",
			     "rax", "rcx", "rdx", "rsi", "rdi" },
	},
	/* Linux arch/arm64/include/uapi/asm/ptrace.h: struct user_pt_regs */
	{
		.machine = EM_AARCH64,
		.pc = 32,
		.sp = 31,
		.tls = NO_REGISTER,
		.count = 34,
		.general = { "x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",
			     "x8",  "x9",  "x10", "x11", "x12", "x13", "x14", "x15",
			     "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23",
			     "x24", "x25", "x26", "x27", "x28", "x29", "x30" },
	},
};

const char *machine_register(uint16_t machine, unsigned index)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (machines[i].machine == machine && index < GENERAL_REGISTERS_MAX)
			return machines[i].general[index];
	}
	return NULL;
}

bool machine_is_known(uint16_t machine)
{
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (machines[i].machine == machine)
			return true;
	}
	return false;
}

const char *machine_name(uint16_t machine)
{
	switch (machine) {
	case EM_X86_64:
		return "x86-64";
	case EM_AARCH64:
		return "aarch64";
	case EM_RISCV:
		return "riscv64";
	case EM_PPC64:
		return "ppc64le";
	case EM_LOONGARCH:
		return "loongarch64";
	}
	return NULL;
}

static bool add_thread(struct process *process, const uint8_t *bytes, size_t size)
{
	struct process_thread *thread;

	if (size < PRSTATUS_REGS)
		return true;
	thread = vector_push(&process->threads);
	if (!thread)
		return false;
	*thread = (struct process_thread){
		.tid = load_u32(bytes + PRSTATUS_PID),
		.signal = load_u16(bytes + PRSTATUS_CURSIG),
	};
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		const struct registers *registers = &machines[i];
		const uint8_t *words = bytes + PRSTATUS_REGS;

		if (registers->machine != process->machine ||
		    size < PRSTATUS_REGS + registers->count * sizeof(uint64_t))
			continue;
		thread->pc = load_u64(words + registers->pc * sizeof(uint64_t));
		thread->sp = load_u64(words + registers->sp * sizeof(uint64_t));
		if (registers->tls != NO_REGISTER)
			thread->tls = load_u64(words + registers->tls * sizeof(uint64_t));
		for (size_t j = 0; j < GENERAL_REGISTERS_MAX && registers->general[j]; j++)
			thread->registers[j] = load_u64(words + j * sizeof(uint64_t));
	}
	return true;
}

static bool set_identity(struct process *process, const uint8_t *bytes, size_t size)
{
	const char *name = (const char *)bytes + PRPSINFO_FNAME;
	const char *arguments = (const char *)bytes + PRPSINFO_PSARGS;
	size_t length;

	if (size < PRPSINFO_SIZE)
		return true;
	process->uid = load_u32(bytes + PRPSINFO_UID);
	process->pid = load_u32(bytes + PRPSINFO_PID);
	process->parent_pid = load_u32(bytes + PRPSINFO_PPID);
	process->name = strings_add(&process->strings, name, strnlen(name, 16));
	length = strnlen(arguments, 80);
	process->command_line_cut = length >= 79;
	while (length && arguments[length - 1] == ' ')
		length--;
	process->command_line = strings_add(&process->strings, arguments, length);
	return process->name && process->command_line;
}

static void set_signal(struct process *process, const uint8_t *bytes, size_t size)
{
	if (size < SIGINFO_UNION + sizeof(uint64_t))
		return;
	process->signal = (struct process_signal){
		.number = load_u32(bytes),
		.code = (int32_t)load_u32(bytes + SIGINFO_CODE),
	};
	if (process->signal.code > 0) {
		process->signal.address = load_u64(bytes + SIGINFO_UNION);
	} else {
		process->signal.sender_pid = load_u32(bytes + SIGINFO_UNION);
		process->signal.sender_uid = load_u32(bytes + SIGINFO_UNION + 4);
	}
}

static void set_auxv(struct process *process, const uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at + 16 <= size; at += 16) {
		uint64_t value = load_u64(bytes + at + 8);

		if (at + 16 <= AUXV_MAX)
			process->auxv_size = at + 16;
		switch (load_u64(bytes + at)) {
		case AT_ENTRY:
			process->entry = value;
			break;
		case AT_PAGESZ:
			/* 4, 16 or 64 KiB on aarch64 */
			if (value >= 4096 && value <= 65536 && !(value & (value - 1)))
				process->page_bytes = (uint32_t)value;
			break;
		case AT_PHDR:
			process->headers = value;
			break;
		case AT_SYSINFO_EHDR:
			process->vdso = value;
			break;
		case AT_EXECFN:
			process->exec_name = value;
			break;
		case AT_NULL:
			size = at;
			break;
		}
	}
	memcpy(process->auxv, bytes, process->auxv_size);
}

/* What private huge pages are called, which have no file: Linux fs/hugetlbfs/inode.c,
 * hugetlb_file_setup() */
#define HUGE_PAGES "/anon_hugepage (deleted)"

/* NT_FILE: count, page size, count × {start, end, offset in pages}, count × NUL-ended path. */
static bool add_mappings(struct process *process, const uint8_t *bytes, size_t size)
{
	uint64_t count, page;
	size_t names;

	if (size < 16)
		return true;
	count = load_u64(bytes);
	page = load_u64(bytes + 8);
	if (count > (size - 16) / 24)
		return true;
	names = 16 + (size_t)count * 24;
	for (uint64_t i = 0; i < count; i++) {
		const uint8_t *entry = bytes + 16 + i * 24;
		const char *path = (const char *)bytes + names;
		size_t length = strnlen(path, size - names);
		struct process_mapping *mapping;

		if (length == size - names)
			return true;
		names += length + 1;
		if (!strcmp(path, HUGE_PAGES) || load_u64(entry) >= load_u64(entry + 8) ||
		    !process_can_map(load_u64(entry), load_u64(entry + 8) - load_u64(entry)))
			continue;
		mapping = vector_push(&process->mappings);
		if (!mapping)
			return false;
		*mapping = (struct process_mapping){
			.start = load_u64(entry),
			.end = load_u64(entry + 8),
			.offset = load_u64(entry + 16) * page,
			.path = strings_add(&process->strings, path, length),
		};
		if (!mapping->path)
			return false;
	}
	return true;
}

bool process_add_note(struct process *process, const char *owner, uint32_t type,
		      const uint8_t *bytes, size_t size)
{
	/* Linux arch/arm64/kernel/ptrace.c: behind the NT_PRSTATUS of each thread */
	if (!strcmp(owner, "LINUX") && type == NT_ARM_TLS && process->machine == EM_AARCH64 &&
	    process->threads.count && size >= sizeof(uint64_t))
		process->threads.items[process->threads.count - 1].tls = load_u64(bytes);
	if (!strcmp(owner, TAKING_OWNER) && type == TAKING_TYPE)
		return taking_decode(&process->taking, bytes, size, &process->strings);
	if (strcmp(owner, "CORE"))
		return true;
	switch (type) {
	case NT_PRSTATUS:
		return add_thread(process, bytes, size);
	case NT_PRPSINFO:
		return set_identity(process, bytes, size);
	case NT_SIGINFO:
		set_signal(process, bytes, size);
		return true;
	case NT_AUXV:
		set_auxv(process, bytes, size);
		return true;
	case NT_FILE:
		return add_mappings(process, bytes, size);
	}
	return true;
}

void process_deinit(struct process *process)
{
	free(process->threads.items);
	free(process->mappings.items);
	taking_deinit(&process->taking);
	strings_deinit(&process->strings);
	*process = (struct process){ 0 };
}
