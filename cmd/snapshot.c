/* SPDX-License-Identifier: MIT */
/* snapshot: a core of a process that lives on. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "output.h"
#include "progress.h"

/* One line for people: what was written, and what it cost the process. */
static void print_cost(const struct settings *settings, const struct memheap_snapshot *snapshot)
{
	struct memheap_taking taking;
	struct stat status;

	if (settings->quiet || !memheap_snapshot_taking(snapshot, &taking))
		return;
	if (stat(settings->output, &status))
		return;
	printf("%s: %.1f MiB on disk; %s: process %s stood still for %.1f ms\n", settings->output,
	       (double)status.st_blocks / 2048, taking.mode, settings->arguments[0],
	       (double)taking.pause_us / 1000);
}

static uint64_t torn_bytes(const struct memheap_snapshot *snapshot)
{
	struct memheap_taking taking;

	return memheap_snapshot_taking(snapshot, &taking) ? taking.torn : 0;
}

struct memheap_error *command_write_core(const struct memheap_snapshot *snapshot,
					 const struct settings *settings, const char *path)
{
	const struct memheap_core_options options = {
		.content = settings->core_content,
		.compress = settings->compress,
		.path = path,
	};
	struct memheap_error *error;
	struct output output;

	error = output_open(&output, path);
	/* it has all that the process knew: nobody else may read it */
	if (!error && output.temporary)
		fchmod(fileno(output.file), 0600);
	if (!error)
		error = memheap_core_write(snapshot, fileno(output.file), &options);
	if (!error)
		error = output_commit(&output);
	output_discard(&output);
	if (!error && torn_bytes(snapshot))
		fprintf(stderr,
			"memheap: %s: %llu KiB are torn: these pages changed while they were read "
			"(--mode nostop); a note in the core tells memheap which\n",
			path, (unsigned long long)(torn_bytes(snapshot) >> 10));
	return error;
}

int command_snapshot(const struct command *command, const struct settings *given)
{
	struct memheap_snapshot *snapshot = NULL;
	struct settings settings = *given;
	struct memheap_error *error;
	bool python = settings.core_content == MEMHEAP_CORE_PYTHON, torn = false;
	int status;

	(void)command;
	if (!settings.output || !memheap_path_is_process(settings.arguments[0])) {
		fputs("memheap: snapshot needs a process and a file: memheap snapshot PID -o "
		      "FILE\n",
		      stderr);
		return MEMHEAP_USAGE;
	}
	settings.options.library_paths = settings.library_paths;
	settings.options.progress = progress_start(settings.quiet);
	error = memheap_snapshot_create(settings.arguments[0], &settings.options,
					python ? MEMHEAP_OBJECTS : MEMHEAP_IMAGE, &snapshot);
	progress_end();
	if (!error)
		error = command_write_core(snapshot, &settings, settings.output);
	if (!error) {
		print_cost(&settings, snapshot);
		torn = torn_bytes(snapshot);
	}
	memheap_snapshot_destroy(snapshot);
	status = error ? command_fail(error) : command_end();
	return torn && status == MEMHEAP_DONE ? MEMHEAP_PARTIAL : status;
}
