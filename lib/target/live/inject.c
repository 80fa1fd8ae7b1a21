/* SPDX-License-Identifier: MIT */
/*
 * The net is what the kernel itself would push for a signal (Linux arch/x86/kernel/signal_64.c,
 * struct rt_sigframe; arch/x86/include/uapi/asm/sigcontext.h): rt_sigreturn takes all registers,
 * the FPU's state and the signal mask from it. The order of steps: first the stack pointer and the
 * program counter lead to the net, then signals are blocked, then calls are made; and back.
 */
#include "inject.h"

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "../../base/cleanup.h"

#define RED_ZONE      128
#define STACK_ROOM    (16UL << 10) /* that must be left below the stack pointer */
#define SEARCH_BYTES  (1UL << 20)
#define STEPS_MAX     64 /* stops on the way of one call */
#define KERNEL_SIGSET 8

/* arch/x86/include/uapi/asm/ucontext.h */
#define UC_FP_XSTATE  0x1
#define UC_RESTORE_SS 0x6

/* arch/x86/include/uapi/asm/sigcontext.h, struct _fpx_sw_bytes */
#define XSAVE_SOFTWARE   464
#define XSAVE_MAGIC1     0x46505853U
#define XSAVE_MAGIC2     0x46505845U
#define XSAVE_HEADER_END 576
#define XSAVE_TILES      18 /* Intel AMX: its state comes and goes with permissions */

/* Results of a call that was interrupted: include/linux/errno.h */
#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516

#ifndef PTRACE_GET_RSEQ_CONFIGURATION /* Linux 5.13 */
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif

struct software_bytes {
	uint32_t magic1, extended_size;
	uint64_t features;
	uint32_t size;
};

/* As the kernel lays it out; its mask of signals has 8 bytes, not glibc's 128. */
struct signal_frame {
	uint64_t back;
	ucontext_t context;
};

_Static_assert(offsetof(struct signal_frame, context) == 8, "struct rt_sigframe");

static bool read_target(pid_t pid, vaddr at, void *to, size_t size)
{
	struct iovec own = { to, size };
	struct iovec theirs = { (void *)(uintptr_t)at, size }; /* NOLINT */

	return process_vm_readv(pid, &own, 1, &theirs, 1, 0) == (ssize_t)size;
}

static bool write_target(pid_t pid, vaddr at, const void *from, size_t size)
{
	struct iovec own = { (void *)from, size };
	struct iovec theirs = { (void *)(uintptr_t)at, size }; /* NOLINT */

	return process_vm_writev(pid, &own, 1, &theirs, 1, 0) == (ssize_t)size;
}

static const uint8_t call_bytes[] = { 0x0f, 0x05, 0xc3 };
static const uint8_t back_bytes[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };

static void search(struct gadgets *gadgets, const uint8_t *bytes, size_t size, vaddr at)
{
	const uint8_t *call = memmem(bytes, size, call_bytes, sizeof(call_bytes));
	const uint8_t *back = memmem(bytes, size, back_bytes, sizeof(back_bytes));

	if (call && !gadgets->call)
		gadgets->call = at + (vaddr)(call - bytes);
	if (back && !gadgets->back)
		gadgets->back = at + (vaddr)(back - bytes);
}

/* Intel's manual, volume 1, 13.2: which parts there are, and where those behind the first two lie
 */
static void ask_processor(uint32_t ends[XSAVE_COMPONENTS])
{
	unsigned bytes, offset, low, high, rest;

	if (!__get_cpuid_count(0xd, 0, &low, &rest, &rest, &high))
		return;
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++) {
		if (((uint64_t)high << 32 | low) >> i & 1 &&
		    __get_cpuid_count(0xd, i, &bytes, &offset, &rest, &rest))
			ends[i] = offset + bytes;
	}
}

struct memheap_error *inject_find(struct gadgets *gadgets, pid_t pid,
				  const struct mappings *mappings)
{
	_cleanup_free_ uint8_t *bytes = malloc(SEARCH_BYTES);
	int failure = 0;

	*gadgets = (struct gadgets){ 0 };
	ask_processor(gadgets->ends);
	for (size_t i = 0; bytes && i < mappings->list.count; i++) {
		const struct mapping *mapping = &mappings->list.items[i];

		if (!(mapping->permissions & PF_X) || !mapping_has_file(mapping))
			continue;
		for (vaddr at = mapping->start; at < mapping->end; at += SEARCH_BYTES) {
			size_t size = MIN(SEARCH_BYTES, mapping->end - at);

			if (!read_target(pid, at, bytes, size)) {
				failure = errno;
				break;
			}
			search(gadgets, bytes, size, at);
			if (gadgets->call && gadgets->back)
				return NULL;
		}
	}
	if (!bytes)
		return &error_no_memory;
	return failure ? error_create(MEMHEAP_FAILED, "process_vm_readv cannot read its code: %s",
				      strerror(failure))
		       : error_create(
				 MEMHEAP_FAILED,
				 "it has no instructions for a system call that it could make");
}

const char *inject_refusal(const struct proc_status *status)
{
	if (status->seccomp)
		return "it filters its system calls (seccomp): one that it does not expect could "
		       "end it";
	if (status->shadow_stack)
		return "it has a shadow stack, which an injected return would violate";
	return NULL;
}

/* Whether it stands inside a sequence that the kernel would have to restart (rseq(2)): after a
 * detour it could not any more. Inside of a system call it never does. */
static bool in_sequence(const struct injection *injection)
{
	const struct live_thread *thread = injection->thread;
	uint64_t configuration[3] = { 0 }, sequence = 0;

	if ((int64_t)thread->registers.orig_rax >= 0)
		return false;
	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, thread->tid, (void *)sizeof(configuration),
		   configuration) < 0)
		return errno != EIO && errno != EINVAL;
	return configuration[0] &&
	       (!read_target(injection->pid, configuration[0] + 8, &sequence, sizeof(sequence)) ||
		sequence);
}

/* Whether below its stack pointer there is stack, and enough of it. */
static bool has_room(const struct live_thread *thread, const struct mappings *mappings)
{
	const struct user_regs_struct *registers = &thread->registers;

	for (size_t i = 0; i < mappings->list.count; i++) {
		const struct mapping *mapping = &mappings->list.items[i];
		bool is_main = mapping->path && !strcmp(mapping->path, "[stack]");

		if (registers->rsp < mapping->start || registers->rsp >= mapping->end)
			continue;
		/* glibc puts what the thread pointer points at on top of a thread's stack */
		return registers->rsp - mapping->start >= STACK_ROOM && !mapping->inode &&
		       (is_main ||
			(registers->fs_base > registers->rsp && registers->fs_base < mapping->end));
	}
	return false;
}

/* Bytes of the FPU's state that a frame has, its tiles left out; 0: it can't be told. */
static size_t extended_bytes(const struct injection *injection, uint64_t *features)
{
	const struct live_thread *thread = injection->thread;
	size_t size = XSAVE_HEADER_END;
	uint64_t used;

	if (thread->extended_size < XSAVE_HEADER_END)
		return 0;
	*features = load_u64(thread->extended + XSAVE_SOFTWARE) & ~(1ULL << XSAVE_TILES);
	used = load_u64(thread->extended + 512);
	if (used & ~*features)
		return 0;
	for (unsigned i = 2; i < XSAVE_COMPONENTS; i++) {
		if (!(*features & 1ULL << i))
			continue;
		if (!injection->gadgets.ends[i])
			return 0;
		size = MAX(size, (size_t)injection->gadgets.ends[i]);
	}
	return size <= thread->extended_size ? size : 0;
}

/* The registers with which it goes on when the kernel would have gone on with `registers`: calls
 * that wait begin anew, or end with EINTR where that needs more than registers. */
static void set_context(ucontext_t *context, const struct user_regs_struct *registers,
			uint64_t mask)
{
	int64_t result = (int64_t)registers->rax;
	greg_t *to = context->uc_mcontext.gregs;
	bool again =
		(int64_t)registers->orig_rax >= 0 &&
		(result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND);
	const greg_t values[NGREG] = {
		[REG_R8] = (greg_t)registers->r8,
		[REG_R9] = (greg_t)registers->r9,
		[REG_R10] = (greg_t)registers->r10,
		[REG_R11] = (greg_t)registers->r11,
		[REG_R12] = (greg_t)registers->r12,
		[REG_R13] = (greg_t)registers->r13,
		[REG_R14] = (greg_t)registers->r14,
		[REG_R15] = (greg_t)registers->r15,
		[REG_RDI] = (greg_t)registers->rdi,
		[REG_RSI] = (greg_t)registers->rsi,
		[REG_RBP] = (greg_t)registers->rbp,
		[REG_RBX] = (greg_t)registers->rbx,
		[REG_RDX] = (greg_t)registers->rdx,
		[REG_RCX] = (greg_t)registers->rcx,
		[REG_RSP] = (greg_t)registers->rsp,
		[REG_EFL] = (greg_t)registers->eflags,
		[REG_RIP] = (greg_t)(registers->rip - (again ? 2 : 0)),
		[REG_RAX] = (greg_t)(again ? registers->orig_rax : registers->rax),
		[REG_CSGSFS] = (greg_t)(registers->cs | registers->ss << 48),
	};

	memcpy(to, values, sizeof(values));
	if ((int64_t)registers->orig_rax >= 0 && result == -ERESTART_RESTARTBLOCK)
		to[REG_RAX] = -EINTR;
	context->uc_flags = UC_RESTORE_SS;
	/* not valid, so that the kernel leaves the alternate stack as it is */
	context->uc_stack.ss_flags = 1 << 30;
	memcpy(&context->uc_sigmask, &mask, KERNEL_SIGSET);
}

/* Lays out both frames in `bytes`, which will lie at injection->bottom. */
static void make_frames(const struct injection *injection, uint8_t *bytes, vaddr floats,
			size_t extended, uint64_t features)
{
	const struct software_bytes software = {
		XSAVE_MAGIC1,
		(uint32_t)extended + sizeof(uint32_t),
		features,
		(uint32_t)extended,
	};
	const uint32_t magic2 = XSAVE_MAGIC2;
	struct signal_frame frame = { .back = injection->gadgets.back };
	struct user_regs_struct end = injection->thread->registers;
	uint8_t *state = bytes + (floats - injection->bottom);

	set_context(&frame.context, &end, injection->mask);
	frame.context.uc_flags |= UC_FP_XSTATE;
	frame.context.uc_mcontext.fpregs = (void *)(uintptr_t)floats; /* NOLINT */
	memcpy(bytes + (injection->frame - injection->bottom), &frame, sizeof(frame));
	memcpy(state, injection->thread->extended, extended);
	memcpy(state + XSAVE_SOFTWARE, &software, sizeof(software));
	memcpy(state + extended, &magic2, sizeof(magic2));

	/* who returns to the other one calls exit_group() */
	end.orig_rax = UINT64_MAX;
	end.rax = SYS_exit_group;
	end.rdi = INJECT_STATUS;
	end.rip = injection->gadgets.call;
	end.rsp = injection->child;
	end.eflags = 0x202;
	frame = (struct signal_frame){ .back = injection->gadgets.back };
	set_context(&frame.context, &end, UINT64_MAX);
	memcpy(bytes + (injection->child - injection->bottom), &frame, sizeof(frame));
}

/* Whether the instructions are still where they were found. */
static bool gadgets_hold(const struct injection *injection)
{
	uint8_t bytes[sizeof(back_bytes)];

	return read_target(injection->pid, injection->gadgets.call, bytes, sizeof(call_bytes)) &&
	       !memcmp(bytes, call_bytes, sizeof(call_bytes)) &&
	       read_target(injection->pid, injection->gadgets.back, bytes, sizeof(back_bytes)) &&
	       !memcmp(bytes, back_bytes, sizeof(back_bytes));
}

/* Points the thread at the net: whatever comes now, it finds its way back. */
static bool set_registers(const struct injection *injection, long number,
			  const uint64_t arguments[4])
{
	struct user_regs_struct registers = injection->thread->registers;

	registers.orig_rax = UINT64_MAX; /* nothing to restart */
	registers.rsp = injection->frame;
	registers.rip = number < 0 ? injection->gadgets.back : injection->gadgets.call;
	registers.eflags &= ~0x500ULL; /* neither single steps nor backwards */
	if (number < 0) {
		registers.rsp += sizeof(vaddr);
	} else {
		registers.rax = (uint64_t)number;
		registers.rdi = arguments[0];
		registers.rsi = arguments[1];
		registers.rdx = arguments[2];
		registers.r10 = arguments[3];
		registers.r8 = registers.r9 = 0;
	}
	return !ptrace(PTRACE_SETREGS, injection->thread->tid, NULL, &registers);
}

static bool set_mask(const struct injection *injection, uint64_t mask)
{
	return !ptrace(PTRACE_SETSIGMASK, injection->thread->tid, (void *)KERNEL_SIGSET, &mask);
}

bool inject_begin(struct injection *injection, const struct mappings *mappings)
{
	const struct live_thread *thread = injection->thread;
	uint64_t features = 0;
	size_t extended = extended_bytes(injection, &features);
	vaddr top = thread->registers.rsp - RED_ZONE, floats;

	if (!extended || thread->registers.cs != 0x33 || !has_room(thread, mappings) ||
	    in_sequence(injection) || !gadgets_hold(injection) ||
	    ptrace(PTRACE_GETSIGMASK, thread->tid, (void *)KERNEL_SIGSET, &injection->mask))
		return false;
	floats = round_down(top - extended - sizeof(uint32_t), 64);
	injection->frame = round_down(floats - sizeof(struct signal_frame), 16) - sizeof(vaddr);
	injection->child =
		round_down(injection->frame - sizeof(struct signal_frame), 16) - sizeof(vaddr);
	injection->bottom = injection->child;
	injection->size = top - injection->bottom;
	_cleanup_free_ uint8_t *bytes = calloc(1, injection->size);
	injection->saved = malloc(injection->size);
	if (!bytes || !injection->saved ||
	    !read_target(injection->pid, injection->bottom, injection->saved, injection->size))
		goto failed;
	make_frames(injection, bytes, floats, extended, features);
	if (write_target(injection->pid, injection->bottom, bytes, injection->size) &&
	    set_registers(injection, -1, NULL) && set_mask(injection, UINT64_MAX))
		return true;
	inject_end(injection);
failed:
	free(injection->saved);
	injection->saved = NULL;
	return false;
}

/* The signal that `status` says is on its way to the thread; 0: none. Only SIGSTOP can be. */
static int signal_of(int status)
{
	return status >> 16 || WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
}

/* Lets it run from the stop that `status` told of to its next one; false when it is gone. */
static bool step(const struct injection *injection, int request, int *status)
{
	pid_t tid = injection->thread->tid;
	uintptr_t signal = *status ? (uintptr_t)signal_of(*status) : 0;

	if (!ptrace(request, tid, NULL, (void *)signal) && waitpid(tid, status, __WALL) == tid &&
	    WIFSTOPPED(*status))
		return true;
	injection->thread->gone = true;
	injection->thread->stopped = false;
	return false;
}

bool inject_call(struct injection *injection, long number, const uint64_t arguments[4],
		 int64_t *result)
{
	const pid_t tid = injection->thread->tid;
	int status = 0;

	injection->born = 0;
	if (ptrace(PTRACE_SETOPTIONS, tid, NULL,
		   (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)) ||
	    !set_registers(injection, number, arguments))
		return false;
	for (unsigned i = 0; i < STEPS_MAX && step(injection, PTRACE_SYSCALL, &status); i++) {
		struct __ptrace_syscall_info info = { 0 };
		unsigned long born;

		if (status >> 16 == PTRACE_EVENT_CLONE &&
		    !ptrace(PTRACE_GETEVENTMSG, tid, NULL, &born))
			injection->born = (pid_t)born;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80) ||
		    ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof(info), &info) < 0 ||
		    info.op != PTRACE_SYSCALL_INFO_EXIT || info.exit.rval == -ERESTARTNOINTR)
			continue;
		*result = info.exit.rval;
		return true;
	}
	return false;
}

/* Brings it from behind its call to the kind of stop that it was found in: only from there the
 * kernel restarts what it was waiting for. */
static bool return_to_stop(const struct injection *injection)
{
	int status = 0;

	ptrace(PTRACE_INTERRUPT, injection->thread->tid, NULL, NULL);
	for (unsigned i = 0; i < STEPS_MAX && step(injection, PTRACE_CONT, &status); i++) {
		if (status >> 16 == PTRACE_EVENT_STOP)
			return true;
	}
	return false;
}

bool inject_end(struct injection *injection)
{
	struct live_thread *thread = injection->thread;
	bool restored = !thread->gone && return_to_stop(injection) &&
			!ptrace(PTRACE_SETOPTIONS, thread->tid, NULL, NULL) &&
			set_mask(injection, injection->mask) &&
			!ptrace(PTRACE_SETREGS, thread->tid, NULL, &thread->registers);

	if (restored && injection->saved)
		write_target(injection->pid, injection->bottom, injection->saved, injection->size);
	free(injection->saved);
	injection->saved = NULL;
	return restored;
}
