/* SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <libsmartcols.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "help.h"

#define ARGUMENTS_MAX 8 /* of any command */

static int print_version(void)
{
	const char *smartcols;

	scols_get_library_version(&smartcols);
	printf("memheap %s (%s, jansson %s, libsmartcols %s)\n", memheap_version(),
	       memheap_library_versions(), jansson_version_str(), smartcols);
	return command_end();
}

static int unknown_command(const char *name)
{
	const struct command *guess = command_guess(name);

	fprintf(stderr, "memheap: there is no command '%s'", name);
	if (guess)
		fprintf(stderr, "; did you mean '%s'?\n", guess->name);
	else if (!access(name, R_OK))
		fprintf(stderr, "; try: memheap analyze %s\n", name);
	else
		fputs(" (see memheap help)\n", stderr);
	return MEMHEAP_USAGE;
}

static int wrong_arguments(const struct command *command, const struct settings *settings)
{
	if (settings->argument_count < command->arguments_min)
		fprintf(stderr, "memheap: %s needs %s", command->name, command->arguments);
	else
		fprintf(stderr, "memheap: %s takes %s, not '%s' too", command->name,
			*command->arguments ? command->arguments : "no arguments",
			settings->arguments[command->arguments_max]);
	fprintf(stderr, " (see memheap help %s)\n", command->name);
	return MEMHEAP_USAGE;
}

/* Puts the path of the core that --coredump means before the other arguments. */
static int run_on_coredump(const struct command *command, struct settings *settings)
{
	const char *arguments[ARGUMENTS_MAX + 1] = { 0 };
	struct memheap_error *error;
	char *path;
	int status;

	if (settings->argument_count + 1 < command->arguments_min ||
	    settings->argument_count + 1 > command->arguments_max) {
		fprintf(stderr, "memheap: with --coredump, %s takes %s (see memheap help %s)\n",
			command->name,
			command->arguments_max > 1 ? strchr(command->arguments, ' ') + 1
						   : "no CORE",
			command->name);
		return MEMHEAP_USAGE;
	}
	error = memheap_coredump_find(settings->query.directory, settings->coredump, &path);
	if (error)
		return command_fail(error);
	arguments[0] = path;
	for (unsigned i = 0; i < settings->argument_count; i++)
		arguments[i + 1] = settings->arguments[i];
	settings->arguments = arguments;
	settings->argument_count++;
	status = command->run(command, settings);
	free(path);
	return status;
}

static int run_command(const char *name, int argc, char **argv)
{
	const struct command *command = command_find(name);
	struct settings settings = { .format = format_find("table") };

	if (!command)
		return unknown_command(name);
	if (!options_parse(&settings, command, argc, argv))
		return MEMHEAP_USAGE;
	if (settings.help) {
		help_command(command, stdout);
		return command_end();
	}
	if (settings.version)
		return print_version();
	if (settings.coredump)
		return run_on_coredump(command, &settings);
	if (settings.argument_count < command->arguments_min ||
	    settings.argument_count > command->arguments_max)
		return wrong_arguments(command, &settings);
	return command->run(command, &settings);
}

/* The mapped core was cut short while it was read. */
static void file_changed(int signal)
{
	static const char message[] = "memheap: a file changed while it was read\n";

	(void)signal;
	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(MEMHEAP_FAILED);
	_exit(MEMHEAP_FAILED);
}

static void interrupted(int signal)
{
	(void)signal;
	_exit(MEMHEAP_INTERRUPTED);
}

int main(int argc, char **argv)
{
	struct settings settings = { .format = format_find("table") };

	signal(SIGBUS, file_changed);
	signal(SIGINT, interrupted);
	if (!options_parse(&settings, NULL, argc, argv))
		return MEMHEAP_USAGE;
	if (settings.version)
		return print_version();
	if (settings.help) {
		help_overview(stdout);
		return command_end();
	}
	if (!settings.argument_count) {
		help_overview(stderr);
		return MEMHEAP_USAGE;
	}
	return run_command(settings.arguments[0], (int)settings.argument_count,
			   (char **)settings.arguments);
}
