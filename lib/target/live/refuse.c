/* SPDX-License-Identifier: MIT */
/*
 * The rules are those of ptrace(2), "Ptrace access mode checking", in the order in which the kernel
 * asks (kernel/ptrace.c, __ptrace_may_access()), and of Yama
 * (Documentation/admin-guide/LSM/Yama.rst).
 */
#include "refuse.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "../../base/cleanup.h"

#define NOBODY INT_MAX /* more than the kernel's PID_MAX_LIMIT */
/* Docker and Kubernetes give a capability to root only. */
#define CONTAINER                                                                             \
	"in a container: docker run --cap-add=SYS_PTRACE, and memheap as root there (docker " \
	"exec --user root); Kubernetes: securityContext: {runAsUser: 0, capabilities: {add: " \
	"[SYS_PTRACE]}}, and for a sidecar: shareProcessNamespace: true"

static bool is_32_bit(pid_t pid)
{
	unsigned char ident[EI_NIDENT];
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd >= 0 && read(fd, ident, sizeof(ident)) == sizeof(ident) &&
	       !memcmp(ident, ELFMAG, SELFMAG) && ident[EI_CLASS] != ELFCLASS64;
}

/* include/linux/sched.h, PF_KTHREAD; proc(5): flags */
static bool is_kernel_thread(pid_t pid)
{
	return proc_stat(pid, 9) & 0x200000;
}

static struct memheap_error *refuse_traced(pid_t pid, const struct proc_status *status)
{
	struct proc_status tracer = { 0 };

	proc_status((pid_t)status->tracer, &tracer);
	return error_hint(
		error_create(MEMHEAP_NOT_PERMITTED,
			     "process %d is traced by process %u (%s): a process has one tracer",
			     (int)pid, status->tracer, *tracer.name ? tracer.name : "?"),
		"end that one first, or read without stopping it: --mode nostop");
}

struct memheap_error *refuse_pid(pid_t pid, struct proc_status *status)
{
	if (!proc_status(pid, status))
		return error_hint(
			error_create(MEMHEAP_FAILED, "there is no process %d", (int)pid),
			"a file of that name is ./%d; processes of other containers are seen from "
			"their host, or with --pid=host",
			(int)pid);
	if (status->tgid != (uint32_t)pid)
		return error_hint(error_create(MEMHEAP_USAGE, "%d is a thread of process %u",
					       (int)pid, status->tgid),
				  "give the process: %u", status->tgid);
	if (status->state == 'Z' || status->state == 'X')
		return error_hint(error_create(MEMHEAP_FAILED,
					       "process %d has ended and has no memory any more: "
					       "it is a zombie",
					       (int)pid),
				  "its parent, process %u, has not asked for its end yet",
				  status->parent);
	if (pid == getpid())
		return error_create(MEMHEAP_USAGE, "process %d is memheap itself", (int)pid);
	if (is_kernel_thread(pid))
		return error_create(MEMHEAP_NOT_PYTHON, "process %d (%s) is a thread of the kernel",
				    (int)pid, status->name);
	if (is_32_bit(pid))
		return error_hint(
			error_create(MEMHEAP_NOT_PYTHON, "process %d is a 32-bit one", (int)pid),
			"only 64-bit processes are known");
	return NULL;
}

struct memheap_error *refuse_tracer(pid_t pid, const struct proc_status *status)
{
	return status->tracer ? refuse_traced(pid, status) : NULL;
}

/* What /proc/sys/kernel/yama/ptrace_scope says; 0 without Yama. */
static int yama_scope(void)
{
	_cleanup_free_ char *text = proc_read(getpid(), "../sys/kernel/yama/ptrace_scope", NULL);

	return text ? atoi(text) : 0;
}

/* Whether the process is as its user left it: else its files in /proc belong to root. */
static bool is_dumpable(pid_t pid, const struct proc_status *status)
{
	struct stat file;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	return stat(path, &file) || file.st_uid == status->uid || !status->uid;
}

/* Whether our capabilities don't count for the process: we are in a user namespace
 * (user_namespaces(7); the first one has all users), and it is not in ours. */
static bool is_outside(pid_t pid)
{
	_cleanup_free_ char *map = proc_read(getpid(), "uid_map", NULL);
	unsigned inside, outside, count;
	struct stat own, theirs;
	char path[64];

	if (!map || sscanf(map, "%u %u %u", &inside, &outside, &count) != 3 || count == UINT32_MAX)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	return stat("/proc/self/ns/user", &own) || stat(path, &theirs) ||
	       own.st_ino != theirs.st_ino;
}

static bool may_open_memory(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 || (errno != EACCES && errno != EPERM);
}

/* Whether a filter forbids our own calls. Docker 20.10's lets ptrace pass (on Linux 4.8 and later),
 * and process_vm_readv with CAP_SYS_PTRACE only, in place of which memory can be read as a file.
 * Those that pass don't find the process that nobody is. */
static bool is_filtered(const struct proc_status *own)
{
	if (own->seccomp != 2)
		return false;
	errno = 0;
	if (ptrace(PTRACE_CONT, NOBODY, NULL, NULL) < 0 && errno != ESRCH)
		return true;
	return process_vm_readv(NOBODY, NULL, 0, NULL, 0, 0) < 0 && errno != ESRCH;
}

/* A rule in words, and what would allow it. */
struct rule {
	char text[256], remedy[512];
};

static bool has(const struct proc_status *status, unsigned capability)
{
	return status->effective & 1ULL << capability;
}

#define SET(field, ...) snprintf(rule->field, sizeof(rule->field), __VA_ARGS__)

/* With CAP_SYS_PTRACE. */
static void find_rule_for_mighty(struct rule *rule, pid_t pid, const struct proc_status *own,
				 const struct proc_status *status)
{
	if (is_outside(pid)) {
		SET(text, "memheap is in a user namespace (unshare -U, a rootless container), and "
			  "the process is outside of it");
		SET(remedy, "run memheap where the process was started, or outside, on the host, "
			    "as root: sudo memheap ...");
	} else if (own->uid != status->uid && !has(own, CAP_DAC_READ_SEARCH) &&
		   !has(own, CAP_DAC_OVERRIDE)) {
		SET(text,
		    "its files in /proc are for user %u only, and memheap has CAP_SYS_PTRACE "
		    "but not CAP_DAC_READ_SEARCH",
		    status->uid);
		SET(remedy, "run memheap as root: sudo memheap ...; or give it both: setcap "
			    "cap_sys_ptrace,cap_dac_read_search+ep memheap");
	} else {
		SET(text, "a security module (AppArmor, SELinux) forbids it");
		SET(remedy, "look for its refusal in the log: dmesg, journalctl -t audit; run "
			    "memheap on the host, as root, or in a container: docker run "
			    "--security-opt apparmor=unconfined, or label=disable");
	}
}

/* Of another user or group. */
static void find_rule_for_others(struct rule *rule, const struct proc_status *own,
				 const struct proc_status *status)
{
	SET(text,
	    "it belongs to another user or group (%u:%u; memheap has %u:%u), and memheap "
	    "has no CAP_SYS_PTRACE",
	    status->uid, status->gid, own->uid, own->gid);
	SET(remedy, "%ssudo -u '#%u' -g '#%u' memheap ...; docker exec --user %u:%u; " CONTAINER,
	    own->uid ? "run memheap as root: sudo memheap ...; or as that user: "
		     : "run memheap "
		       "as that user: ",
	    status->uid, status->gid, status->uid, status->gid);
}

static void find_rule_of_yama(struct rule *rule, int scope)
{
	SET(text, "kernel.yama.ptrace_scope is %d: %s", scope,
	    scope == 1 ? "only an ancestor may trace it" : "it takes CAP_SYS_PTRACE");
	SET(remedy, "sudo sysctl kernel.yama.ptrace_scope=0, or run memheap as root: sudo memheap "
		    "...; " CONTAINER);
}

static void find_rule(struct rule *rule, pid_t pid)
{
	struct proc_status own = { 0 }, status = { 0 };
	int scope = yama_scope();

	proc_status(getpid(), &own);
	proc_status(pid, &status);
	/* it does not filter how files are opened */
	if (is_filtered(&own) && may_open_memory(pid)) {
		SET(text, "memheap's own system calls are filtered (Seccomp: 2 in "
			  "/proc/self/status)");
		SET(remedy, "the container's seccomp profile may forbid ptrace and "
			    "process_vm_readv: docker run --cap-add=SYS_PTRACE, or --security-opt "
			    "seccomp=unconfined");
	} else if (scope == 3) {
		SET(text, "kernel.yama.ptrace_scope is 3: nobody may trace");
		SET(remedy, "only a reboot undoes it; a core by SIGABRT is still possible");
	} else if (has(&own, CAP_SYS_PTRACE)) {
		find_rule_for_mighty(rule, pid, &own, &status);
	} else if (own.uid != status.uid || own.gid != status.gid) {
		find_rule_for_others(rule, &own, &status);
	} else if (status.permitted & ~own.permitted) {
		SET(text, "it has capabilities that memheap has not, and memheap has no "
			  "CAP_SYS_PTRACE");
		SET(remedy, CONTAINER);
	} else if (!is_dumpable(pid, &status)) {
		SET(text, "it is protected: it was set-user-ID, or called prctl(PR_SET_DUMPABLE)");
		SET(remedy, "run memheap as root: sudo memheap ...");
	} else if (scope > 0) {
		find_rule_of_yama(rule, scope);
	} else {
		SET(text, "a security module (AppArmor, SELinux), or another user namespace, "
			  "forbids it");
		SET(remedy, CONTAINER);
	}
}

struct memheap_error *refuse_memory(pid_t pid)
{
	return may_open_memory(pid)
		       ? NULL
		       : error_create_errno("cannot read the memory of process %d", (int)pid);
}

struct memheap_error *refuse_explain(struct memheap_error *error, pid_t pid)
{
	struct proc_status status;
	struct memheap_error *longer;
	struct rule rule = { 0 };

	if (!error || error->status != MEMHEAP_NOT_PERMITTED || error->hint)
		return error;
	if (proc_status(pid, &status) && status.tracer && status.tracer != (uint32_t)getpid()) {
		memheap_error_destroy(error);
		return refuse_traced(pid, &status);
	}
	find_rule(&rule, pid);
	longer =
		error_hint(error_create(MEMHEAP_NOT_PERMITTED, "%s: %s", error->message, rule.text),
			   "%s", rule.remedy);
	memheap_error_destroy(error);
	return longer;
}
