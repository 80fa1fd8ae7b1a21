/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"

/* Removed when the program is interrupted. */
static char *volatile pending;

static void remove_pending(int signal)
{
	if (pending)
		unlink(pending);
	_exit(signal == SIGINT ? MEMHEAP_INTERRUPTED : 128 + signal);
}

static struct memheap_error *fail(const char *doing, const char *path)
{
	struct memheap_error *error = malloc(sizeof(*error));

	if (!error)
		abort();
	*error = (struct memheap_error){
		.status =
			errno == EACCES || errno == EPERM ? MEMHEAP_NOT_PERMITTED : MEMHEAP_FAILED,
	};
	if (asprintf(&error->message, "cannot %s %s: %s", doing, path, strerror(errno)) < 0)
		abort();
	return error;
}

/* The permissions of a new file, or those of the file that is replaced. */
static mode_t file_mode(const char *path)
{
	struct stat status;
	mode_t mask = umask(0);

	umask(mask);
	return stat(path, &status) ? 0666 & ~mask : status.st_mode & 07777;
}

/* Makes a file that is removed when a signal ends the program, however early that comes. */
static int make_temporary(char *path)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
	sigset_t signals, before;
	int fd, failure;

	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaddset(&signals, ends[i]);
	sigprocmask(SIG_BLOCK, &signals, &before);
	fd = mkostemp(path, O_CLOEXEC);
	failure = errno;
	if (fd >= 0)
		pending = path;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		/* what nohup ignores stays ignored */
		if (signal(ends[i], remove_pending) == SIG_IGN)
			signal(ends[i], SIG_IGN);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = failure;
	return fd;
}

struct memheap_error *output_open(struct output *output, const char *path)
{
	struct stat status;
	int fd;

	*output = (struct output){ .file = stdout, .path = path };
	if (!path)
		return NULL;
	/* a device or a pipe can't be replaced */
	if (!stat(path, &status) && !S_ISREG(status.st_mode)) {
		output->file = fopen(path, "we");
		return output->file ? NULL : fail("open", path);
	}
	if (asprintf(&output->temporary, "%s.XXXXXX", path) < 0)
		abort();
	fd = make_temporary(output->temporary);
	if (fd < 0)
		return fail("write", path);
	output->file = fdopen(fd, "w");
	return output->file && !fchmod(fd, file_mode(path)) ? NULL : fail("write", path);
}

struct memheap_error *output_commit(struct output *output)
{
	const char *name = output->path ? output->path : "standard output";

	if (fflush(output->file) || ferror(output->file))
		return fail("write", name);
	if (!output->temporary)
		return NULL;
	if (rename(output->temporary, output->path))
		return fail("write", name);
	pending = NULL;
	free(output->temporary);
	output->temporary = NULL;
	return NULL;
}

void output_discard(struct output *output)
{
	if (output->file && output->file != stdout)
		fclose(output->file);
	if (output->temporary)
		unlink(output->temporary);
	pending = NULL;
	free(output->temporary);
	*output = (struct output){ 0 };
}
