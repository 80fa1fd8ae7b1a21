/* SPDX-License-Identifier: MIT */
/* Completions for shells, from the tables of commands and options. */
#include <string.h>

#include "commands.h"
#include "output.h"

static void print_choices(const char *choices, const char *separator, FILE *out)
{
	for (; *choices; choices++) {
		if (*choices == '|')
			fputs(separator, out);
		else
			putc(*choices, out);
	}
}

/* The text between single quotes of a shell. */
static void print_quoted(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", out);
		else
			putc(*text, out);
	}
}

/* The first sentence of a help text, without what shells take for syntax. */
static void print_brief(const char *help, FILE *out)
{
	for (; *help && *help != ':' && strncmp(help, ". ", 2); help++) {
		if (!strchr("'[]`$\"\\", *help))
			putc(*help, out);
	}
}

static void bash_option(const struct option_row *row, FILE *out)
{
	fprintf(out, "\t--%s%s%c) ", row->name, row->letter ? "|-" : "",
		row->letter ? row->letter : ' ');
	switch (row->kind) {
	case ARGUMENT_CHOICE:
		fputs("COMPREPLY=($(compgen -W '", out);
		print_choices(row->choices, " ", out);
		fputs("' -- \"$cur\")); return ;;\n", out);
		return;
	case ARGUMENT_DIRECTORY:
		fputs("COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n", out);
		return;
	case ARGUMENT_FILE:
		fputs("COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", out);
		return;
	default:
		fputs("return ;;\n", out);
	}
}

static void complete_bash(FILE *out)
{
	fputs("# bash completion for memheap\n"
	      "_memheap()\n{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i\n"
	      "\tlocal commands='",
	      out);
	for (size_t i = 0; commands[i]; i++)
		fprintf(out, "%s%s", i ? " " : "", commands[i]->name);
	fputs("'\n\tCOMPREPLY=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\t[[ ${COMP_WORDS[i]} != -* ]] && command=${COMP_WORDS[i]} && break\n"
	      "\tdone\n"
	      "\tif [[ -z $command ]]; then\n"
	      "\t\tCOMPREPLY=($(compgen -W \"$commands --help --version\" -- \"$cur\"))\n"
	      "\t\treturn\n\tfi\n"
	      "\tcase $prev in\n",
	      out);
	for (size_t i = 0; i < option_row_count; i++) {
		if (option_rows[i].kind != ARGUMENT_NONE)
			bash_option(&option_rows[i], out);
	}
	fputs("\tesac\n\tif [[ $cur == -* ]]; then\n\t\tcase $command in\n", out);
	for (size_t i = 0; commands[i]; i++) {
		fprintf(out, "\t\t%s) COMPREPLY=($(compgen -W '", commands[i]->name);
		for (size_t j = 0; j < option_row_count; j++) {
			if (option_applies(&option_rows[j], commands[i]))
				fprintf(out, "--%s ", option_rows[j].name);
		}
		fputs("' -- \"$cur\")) ;;\n", out);
	}
	fputs("\t\tesac\n\telse\n\t\tcase $command in\n"
	      "\t\thelp|schema) COMPREPLY=($(compgen -W \"$commands\" -- \"$cur\")) ;;\n"
	      "\t\tcompletion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\")) ;;\n"
	      "\t\t*) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
	      "\t\tesac\n\tfi\n}\n"
	      "complete -o filenames -F _memheap memheap\n",
	      out);
}

static void zsh_option(const struct option_row *row, FILE *out)
{
	fputs("\t\t\t'", out);
	if (row->letter)
		fprintf(out, "(-%c --%s)'{-%c,--%s}'[", row->letter, row->name, row->letter,
			row->name);
	else
		fprintf(out, "--%s[", row->name);
	print_brief(row->help, out);
	putc(']', out);
	if (row->kind != ARGUMENT_NONE)
		fprintf(out, ":%s:", row->argument);
	if (row->kind == ARGUMENT_CHOICE) {
		putc('(', out);
		print_choices(row->choices, " ", out);
		putc(')', out);
	} else if (row->kind == ARGUMENT_FILE) {
		fputs("_files", out);
	} else if (row->kind == ARGUMENT_DIRECTORY) {
		fputs("_files -/", out);
	}
	fputs("' \\\n", out);
}

static void complete_zsh(FILE *out)
{
	fputs("#compdef memheap\n\n_memheap()\n{\n\tlocal -a commands\n\tlocal state line\n"
	      "\tcommands=(\n",
	      out);
	for (size_t i = 0; commands[i]; i++) {
		fprintf(out, "\t\t'%s:", commands[i]->name);
		print_quoted(commands[i]->summary, out);
		fputs("'\n", out);
	}
	fputs("\t)\n\t_arguments -C '(- *)--help[Print this help]' "
	      "'(- *)--version[Print the version]' '1: :->command' '*:: :->arguments'\n"
	      "\tcase $state in\n"
	      "\tcommand)\n\t\t_describe command commands\n\t\t;;\n"
	      "\targuments)\n\t\tcase $line[1] in\n",
	      out);
	for (size_t i = 0; commands[i]; i++) {
		fprintf(out, "\t\t%s)\n\t\t\t_arguments \\\n", commands[i]->name);
		for (size_t j = 0; j < option_row_count; j++) {
			if (option_applies(&option_rows[j], commands[i]))
				zsh_option(&option_rows[j], out);
		}
		fputs("\t\t\t'*:file:", out);
		if (commands[i]->bit & (COMMAND_HELP | COMMAND_SCHEMA)) {
			putc('(', out);
			for (size_t j = 0; commands[j]; j++)
				fprintf(out, "%s ", commands[j]->name);
			putc(')', out);
		} else {
			fputs(commands[i]->bit & COMMAND_COMPLETION ? "(bash zsh fish)" : "_files",
			      out);
		}
		fputs("'\n\t\t\t;;\n", out);
	}
	fputs("\t\tesac\n\t\t;;\n\tesac\n}\n\n_memheap \"$@\"\n", out);
}

static void fish_option(const struct command *command, const struct option_row *row, FILE *out)
{
	fprintf(out, "complete -c memheap -n '__fish_seen_subcommand_from %s' -l %s", command->name,
		row->name);
	if (row->letter)
		fprintf(out, " -s %c", row->letter);
	if (row->kind == ARGUMENT_CHOICE) {
		fputs(" -x -a '", out);
		print_choices(row->choices, " ", out);
		putc('\'', out);
	} else if (row->kind == ARGUMENT_DIRECTORY) {
		fputs(" -x -a '(__fish_complete_directories)'", out);
	} else if (row->kind != ARGUMENT_NONE) {
		fputs(row->kind == ARGUMENT_FILE ? " -r -F" : " -x", out);
	}
	fputs(" -d '", out);
	print_brief(row->help, out);
	fputs("'\n", out);
}

static void complete_fish(FILE *out)
{
	fputs("# fish completion for memheap\n", out);
	for (size_t i = 0; commands[i]; i++) {
		fprintf(out, "complete -c memheap -n __fish_use_subcommand -f -a %s -d '",
			commands[i]->name);
		print_quoted(commands[i]->summary, out);
		fputs("'\n", out);
	}
	for (size_t i = 0; commands[i]; i++) {
		for (size_t j = 0; j < option_row_count; j++) {
			if (option_applies(&option_rows[j], commands[i]))
				fish_option(commands[i], &option_rows[j], out);
		}
	}
	fputs("complete -c memheap -n '__fish_seen_subcommand_from help schema' -f -a '", out);
	for (size_t i = 0; commands[i]; i++)
		fprintf(out, "%s ", commands[i]->name);
	fputs("'\ncomplete -c memheap -n '__fish_seen_subcommand_from completion' -f -a "
	      "'bash zsh fish'\n",
	      out);
}

int command_completion(const struct command *command, const struct settings *settings)
{
	static const struct {
		const char *name;
		void (*print)(FILE *out);
	} shells[] = {
		{ "bash", complete_bash },
		{ "zsh", complete_zsh },
		{ "fish", complete_fish },
	};
	struct memheap_error *error;
	struct output output;

	(void)command;
	for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
		if (strcmp(shells[i].name, settings->arguments[0]))
			continue;
		error = output_open(&output, settings->output);
		if (!error) {
			shells[i].print(output.file);
			error = output_commit(&output);
		}
		output_discard(&output);
		return error ? command_fail(error) : MEMHEAP_DONE;
	}
	fprintf(stderr, "memheap: completions are for bash, zsh and fish, not for '%s'\n",
		settings->arguments[0]);
	return MEMHEAP_USAGE;
}
