/* SPDX-License-Identifier: MIT */
/* Help texts, and the man page's source, from the tables of commands and options. */
#include <string.h>

#include "commands.h"
#include "help.h"

#define WIDTH       80
#define HELP_INDENT 28

/* Prints `text` from column `indent` on, broken at WIDTH. */
static void wrap(const char *text, int indent, FILE *out)
{
	int column = indent;

	while (*text) {
		int length = (int)strcspn(text, " \n");

		if (column > indent && column + 1 + length > WIDTH) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			putc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", length, text);
		column += length;
		text += length;
		if (*text == '\n') {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		text += *text != '\0';
	}
	putc('\n', out);
}

static void print_option(const struct option_row *row, FILE *out)
{
	char text[64];
	int length;

	length = snprintf(text, sizeof(text), "  %c%c%s --%s%s%s", row->letter ? '-' : ' ',
			  row->letter ? row->letter : ' ', row->letter ? "," : " ", row->name,
			  row->argument ? " " : "", row->argument ? row->argument : "");
	fprintf(out, "%-*s", HELP_INDENT, text);
	if (length >= HELP_INDENT)
		fprintf(out, "\n%*s", HELP_INDENT, "");
	wrap(row->help, HELP_INDENT, out);
}

void help_overview(FILE *out)
{
	fputs("Usage: memheap COMMAND [OPTION]... CORE|PID\n\n", out);
	wrap("What is in the memory of a CPython process, to the byte, from its core dump "
	     "or while it lives, without running any code of it.",
	     0, out);
	fputs("\nCommands:\n", out);
	for (size_t i = 0; commands[i]; i++)
		fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\nExamples:\n"
	      "  memheap analyze core.1234\n"
	      "  memheap analyze 1234                 a process that lives; ./1234 is a file\n"
	      "  ssh host cat core.zst | memheap analyze -\n\n"
	      "memheap help COMMAND tells more; memheap --version which version this is.\n",
	      out);
}

void help_command(const struct command *command, FILE *out)
{
	fprintf(out, "Usage: memheap %s [OPTION]... %s\n\n", command->name, command->arguments);
	wrap(command->description, 0, out);
	fputs("\nOptions:\n", out);
	for (size_t i = 0; i < option_row_count; i++) {
		if (option_applies(&option_rows[i], command))
			print_option(&option_rows[i], out);
	}
	if (command->examples)
		fprintf(out, "\nExamples:\n%s", command->examples);
}

/* Text with scdoc's special characters escaped. */
static void man_text(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (strchr("\\*_<>#", *text))
			putc('\\', out);
		putc(*text, out);
	}
}

static void man_commands(FILE *out)
{
	fputs("# COMMANDS\n\n", out);
	for (size_t i = 0; commands[i]; i++) {
		const struct command *command = commands[i];

		fprintf(out, "*%s* %s%s\n\t", command->name, *command->arguments ? "" : "",
			command->arguments);
		man_text(command->description, out);
		fputs("\n\n", out);
	}
}

static void man_options(FILE *out)
{
	fputs("# OPTIONS\n\n", out);
	for (size_t i = 0; i < option_row_count; i++) {
		const struct option_row *row = &option_rows[i];
		bool some = false;

		if (row->letter)
			fprintf(out, "*-%c*, ", row->letter);
		fprintf(out, "*--%s*%s%s%s\n\t", row->name, row->argument ? " _" : "",
			row->argument ? row->argument : "", row->argument ? "_" : "");
		man_text(row->help, out);
		for (size_t j = 0; commands[j] && row->commands != COMMANDS_ALL &&
				   row->commands != COMMANDS_REPORT;
		     j++) {
			if (!(row->commands & commands[j]->bit))
				continue;
			fprintf(out, "%s%s", some ? ", " : ". For ", commands[j]->name);
			some = true;
		}
		fputs(".\n\n", out);
	}
}

static void man_columns(FILE *out)
{
	const struct memheap_report_shape *const *shapes = memheap_report_shapes();

	fputs("# TABLES\n\nEvery table of the JSON form, with its columns. Sizes are bytes.\n\n",
	      out);
	for (; *shapes; shapes++) {
		fprintf(out, "*%s* (schema %s %s): ", (*shapes)->name, (*shapes)->schema,
			(*shapes)->schema_version);
		for (size_t i = 0; (*shapes)->tables[i]; i++) {
			fputs(i ? ", " : "", out);
			man_text((*shapes)->tables[i]->key, out);
		}
		fputs("\n\n", out);
	}
	fputs("*memheap schema* prints what each column means.\n\n", out);
}

static void man_live(FILE *out)
{
	fputs("# LIVE PROCESSES\n\n"
	      "Where a core is expected, a number is the id of a process; a file of that name is "
	      "_./1234_. The memory of the process is taken, it goes on, and what was taken is "
	      "looked at: *--mode* tells how. The answer says how long it stood still. No code of "
	      "its program is run, it is left as it was, and when memheap is killed at any moment, "
	      "the "
	      "kernel lets the process go on.\n\n"
	      "System calls that wait are restarted by the kernel, unseen by the process, but for "
	      "those that Linux never restarts after a stop (*signal*(7): *epoll_wait*, *semop*, "
	      "*sigtimedwait*, socket calls with a timeout, …): they may return EINTR once, as "
	      "after a debugger. CPython repeats them itself.\n\n"
	      "*precopy* asks the kernel which pages were written by a userfaultfd (Linux 6.7 and "
	      "later, with CAP\\_SYS\\_PTRACE), and not by soft-dirty bits, which older kernels "
	      "may have: a process has one set of them, to clear it would spoil the work of "
	      "another "
	      "tool that uses it (CRIU), and nothing would put it back if memheap were killed. "
	      "Before 6.7 *fork* is taken.\n\n"
	      "Who may look at a process is decided by the rules of *ptrace*(2): its own user if "
	      "it has no capabilities that memheap lacks, else CAP\\_SYS\\_PTRACE; "
	      "kernel.yama.ptrace\\_scope may forbid more. A refusal (exit status 4) names the "
	      "rule; *nostop* is under the same. For Docker: memheap as the user and group of the "
	      "process (*docker exec --user*), else as root with *--cap-add=SYS\\_PTRACE*, and "
	      "*--pid=container:NAME* for a container beside. For Kubernetes: "
	      "*shareProcessNamespace: true*, and the same user or *runAsUser: 0* with "
	      "*securityContext.capabilities.add: \\[SYS\\_PTRACE\\]*.\n\n",
	      out);
}

void help_man(FILE *out)
{
	fputs("memheap(1)\n\n# NAME\n\nmemheap - what is in the memory of a CPython process\n\n"
	      "# SYNOPSIS\n\n*memheap* _COMMAND_ [_OPTION_]... _CORE_|_PID_\n\n# DESCRIPTION\n\n"
	      "memheap tells what is in the memory of a CPython process, to the byte, from a core "
	      "dump or while it lives, without running any code of that process: live objects by "
	      "type, the buffers "
	      "that they own, what is only fragmentation, what belongs to C code. It needs "
	      "neither debug symbols nor Python.\n\n",
	      out);
	man_commands(out);
	man_options(out);
	man_columns(out);
	man_live(out);
	fputs("# EXIT STATUS\n\n"
	      "*0*\n\tDone.\n\n"
	      "*1*\n\tFailure: the core cannot be read, the answer cannot be written, out of "
	      "memory.\n\n"
	      "*2*\n\tThe command line makes no sense.\n\n"
	      "*3*\n\tNot a core of a CPython that memheap knows.\n\n"
	      "*4*\n\tThe system does not permit it.\n\n"
	      "*5*\n\tA partial answer was printed: the core is truncated, damage was met, or "
	      "*list* "
	      "may not read all cores.\n\n"
	      "*130*\n\tInterrupted.\n\n"
	      "# ENVIRONMENT\n\n*TMPDIR*\n\tDirectory for temporary files, unless *--tmpdir* is "
	      "given.\n\n*NO\\_COLOR*\n\tWhen set and not empty: no colours.\n\n"
	      "# NOTES\n\n"
	      "The kernel leaves read-only file pages out of a core. memheap takes them from the "
	      "files on this machine when their build id is that of the core; for a core from "
	      "another machine see *--sysroot*, *--exe* and *--lib-path*. A core that needs no "
	      "files is made with\n\n"
	      "```\necho 0x7f > /proc/PID/coredump_filter\n```\n\n"
	      "A core that is compressed with zstd, lz4, xz or gzip, whatever its name, is "
	      "unpacked to "
	      "a temporary file, in which pages of zeros take no space. A _CORE_ of *-* is "
	      "standard "
	      "input, compressed or not.\n\n"
	      "Values of strings are never printed unless *--values* is given.\n\n"
	      "# EXAMPLES\n\n"
	      "```\n"
	      "memheap analyze core.1234\n"
	      "memheap objects core.1234 --type 'myapp.*' --sort occupied_bytes --limit 20\n"
	      "memheap analyze core.1234 --format json | jq .types\n"
	      "```\n",
	      out);
}
