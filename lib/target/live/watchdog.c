/* SPDX-License-Identifier: MIT */
#include "watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_NS 1000000000ULL /* the pause is bounded by other means: these come first */

/* One for each process of ours: there is one pause at a time. */
static _Thread_local struct {
	pid_t pid; /* 0: there is none */
	int pipe;
} dog;

/* Calls only what may be called in a child of a program with threads. */
static void watch(int pipe, pid_t parent, int limit_ms)
{
	struct pollfd wait = { .fd = pipe, .events = POLLIN };
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* a byte at the beginning of a pause, and one at its end */
	while (getppid() == parent && read(pipe, &byte, 1) == 1) {
		while (!poll(&wait, 1, limit_ms)) {
			if (getppid() == parent)
				kill(parent, SIGKILL);
			_exit(1);
		}
		if (read(pipe, &byte, 1) != 1)
			break;
	}
	_exit(0);
}

void watchdog_start(uint64_t max_pause_ns)
{
	pid_t parent = getpid();
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return;
	dog.pid = fork();
	if (!dog.pid) {
		close(ends[1]);
		watch(ends[0], parent, (int)((max_pause_ns + GRACE_NS) / 1000000));
	}
	close(ends[0]);
	if (dog.pid > 0) {
		dog.pipe = ends[1];
		return;
	}
	dog.pid = 0;
	close(ends[1]);
}

static void tell(void)
{
	if (dog.pid && write(dog.pipe, "", 1) != 1)
		watchdog_stop();
}

void watchdog_begin(void)
{
	tell();
}

void watchdog_end(void)
{
	tell();
}

void watchdog_stop(void)
{
	pid_t pid = dog.pid;

	if (!pid)
		return;
	dog.pid = 0;
	close(dog.pipe);
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}
