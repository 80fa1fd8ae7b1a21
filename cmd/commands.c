/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "help.h"
#include "output.h"

static int command_schema(const struct command *command, const struct settings *settings)
{
	const struct memheap_report_shape *const *shapes = memheap_report_shapes();
	const char *name = settings->argument_count ? settings->arguments[0] : "analyze";
	struct memheap_error *error;
	struct output output;

	(void)command;
	while (*shapes && strcmp((*shapes)->name, name))
		shapes++;
	if (!*shapes) {
		fprintf(stderr, "memheap: there is no schema for '%s'; there is one for", name);
		for (shapes = memheap_report_shapes(); *shapes; shapes++)
			fprintf(stderr, " %s", (*shapes)->name);
		putc('\n', stderr);
		return MEMHEAP_USAGE;
	}
	error = output_open(&output, settings->output);
	if (!error) {
		format_write_schema(*shapes, output.file);
		error = output_commit(&output);
	}
	output_discard(&output);
	return error ? command_fail(error) : MEMHEAP_DONE;
}

static int command_help(const struct command *command, const struct settings *settings)
{
	const char *name = settings->argument_count ? settings->arguments[0] : NULL;
	const struct command *about = name ? command_find(name) : NULL;

	(void)command;
	if (!name) {
		help_overview(stdout);
	} else if (!strcmp(name, "man")) {
		help_man(stdout);
	} else if (about) {
		help_command(about, stdout);
	} else {
		fprintf(stderr, "memheap: there is no command '%s' (see memheap help)\n", name);
		return MEMHEAP_USAGE;
	}
	return command_end();
}

static const struct command analyze = {
	.name = "analyze",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_ANALYZE,
	.summary = "where the memory went, on one screen; as JSON: everything",
	.description =
		"Tells what the process was, whether the core can be trusted, where every "
		"byte of its memory went, which types of objects it held, and what to look "
		"at next. With --format json one document holds all tables. Of a live process it "
		"also tells where its resident memory is, and what limits it has.",
	.examples = "  memheap analyze core.1234\n"
		    "  memheap analyze core.1234 --format json | jq '.types[:10]'\n"
		    "  memheap analyze core.1234 --format csv --table memory\n"
		    "  memheap analyze 1234 --max-pause 50\n"
		    "  memheap analyze --tree 1234\n",
	.run = command_report,
};

static const struct command info = {
	.name = "info",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_INFO,
	.summary = "what this core is: program, Python, signal, threads, modules",
	.description = "Answers from the core's notes, without walking the heap: which program it "
		       "was, which Python and how we know, why it died, its threads, its segments, "
		       "the ELF files it had mapped and whether they are on this machine, and how "
		       "complete the core is.",
	.examples = "  memheap info core.1234\n"
		    "  memheap info core.1234 --sysroot /mnt/image\n",
	.run = command_report,
};

static const struct command types = {
	.name = "types",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_TYPES,
	.summary = "live objects by type",
	.description = "Counts the live objects of each type: how many, what sys.getsizeof() would "
		       "say of them, and what they and their buffers really occupy.",
	.examples = "  memheap types core.1234 --sort objects --limit 20\n"
		    "  memheap types core.1234 --type 'myapp.*' --format csv\n",
	.run = command_report,
};

static const struct command arenas = {
	.name = "arenas",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_ARENAS,
	.summary = "pymalloc's arenas: a map, size classes, fragmentation; mimalloc's heaps",
	.description = "Draws a map of pymalloc's arenas, prints the size-class table that "
		       "sys._debugmallocstats() would print, and tells how much memory is only "
		       "fragmentation. Where CPython allocates with mimalloc, tells what is in use "
		       "in each of its heaps, which belong to threads.",
	.examples = "  memheap arenas core.1234\n"
		    "  memheap arenas core.1234 --format csv --table pymalloc.size_classes\n"
		    "  memheap arenas core.1234 --format csv --table mimalloc.heaps\n",
	.run = command_report,
};

static const struct command regions = {
	.name = "regions",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_REGIONS,
	.summary = "the address space, stretch by stretch",
	.description = "Lists the address space in stretches of one use: arenas, malloc's heaps, "
		       "stacks, the data and code of modules, mapped files, what is missing.",
	.examples = "  memheap regions core.1234 --sort bytes --limit 20\n"
		    "  memheap regions core.1234 --region 'missing*'\n",
	.run = command_report,
};

static const struct command gc = {
	.name = "gc",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_GC,
	.summary = "the garbage collector: generations, thresholds, statistics",
	.description = "Tells the garbage collector's state as the functions of module gc would: "
		       "generations with their counts, thresholds and statistics, tracked and "
		       "untracked objects, frozen objects.",
	.examples = "  memheap gc core.1234\n",
	.run = command_report,
};

static const struct command objects = {
	.name = "objects",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_OBJECTS,
	.summary = "live objects, one by one",
	.description = "Lists live objects with their type, sizes, refcount and region; by address "
		       "unless sorted. As jsonl or csv they are streamed.",
	.examples = "  memheap objects core.1234 --type dict --sort occupied_bytes --limit 20\n"
		    "  memheap objects core.1234 --min-size 1M\n"
		    "  memheap objects core.1234 --format jsonl -o objects.jsonl\n"
		    "  memheap objects core.1234 --refs --format jsonl -o graph.jsonl\n",
	.run = command_report,
};

static const struct command object = {
	.name = "object",
	.arguments = "CORE|PID ADDRESS",
	.arguments_min = 2,
	.arguments_max = 2,
	.bit = COMMAND_OBJECT,
	.summary = "what is at or around an address",
	.description = "Tells what is at an address (hexadecimal): the block and its state, the "
		       "object, the owner of a buffer, the neighbours, and the block word by word "
		       "with the fields that are known.",
	.examples = "  memheap object core.1234 0x7f2d3c0a1b40\n",
	.run = command_report,
};

static const struct command path = {
	.name = "path",
	.arguments = "CORE|PID [ADDRESS]",
	.arguments_min = 1,
	.arguments_max = 2,
	.bit = COMMAND_PATH,
	.summary = "what keeps an object alive, or all of a type",
	.description = "Shows the shortest way from a root to the object at an address "
		       "(hexadecimal), or with --type to all objects of a type, as one tree: "
		       "sys.modules, local variables of frames, threads, the interpreter's "
		       "state, static objects, and, where none of these leads there, words of C "
		       "memory, which are guesses. With --dot it is drawn.",
	.examples =
		"  memheap path core.1234 0x7f2d3c0a1b40\n"
		"  memheap path core.1234 --type 'myapp.Order' --limit 30\n"
		"  memheap path core.1234 --type 'myapp.Order' --dot | dot -Tsvg -o order.svg\n",
	.run = command_report,
};

static const struct command deep = {
	.name = "deep",
	.arguments = "CORE|PID ADDRESS",
	.arguments_min = 2,
	.arguments_max = 2,
	.bit = COMMAND_DEEP,
	.summary = "what an object takes with all that it leads to",
	.description = "Adds up what sys.getsizeof() would say of the object at an address "
		       "(hexadecimal) and of all that it leads to, each object once, by type: the "
		       "deep size as pympler's asizeof means it. It follows what "
		       "gc.get_referents() would tell of, and the keys of dicts. Code is left "
		       "out, and what it leads to: modules, types, functions, methods, generators, "
		       "frames; and names of attributes that a class keeps for its instances. Weak "
		       "references are not followed. What others hold too is counted nevertheless: "
		       "memheap retained tells what would be freed.",
	.examples = "  memheap deep core.1234 0x7f2d3c0a1b40\n",
	.run = command_report,
};

static const struct command retained = {
	.name = "retained",
	.arguments = "CORE|PID [ADDRESS]",
	.arguments_min = 1,
	.arguments_max = 2,
	.bit = COMMAND_RETAINED,
	.summary = "what would be freed with each object, type, module, thread: as a tree",
	.description =
		"Tells what holds the memory: an object retains itself "
		"and all that can be reached only through it, with the buffers. Weak "
		"references hold nothing, nor does the table of interned strings. What is "
		"held in two ways is retained by what both come from. Words of C memory "
		"that may be references hold only what nothing else leads to. The tree shows "
		"what holds what, level by level (--depth, --min), from all roots or from "
		"the object at an address (hexadecimal) on; threads have their frames and "
		"what only those hold. For types and modules each byte counts once, "
		"however deep their objects lie in each other; what two of them hold only "
		"together is not counted. --limit and --type are for the table of objects "
		"too.",
	.examples = "  memheap retained core.1234\n"
		    "  memheap retained core.1234 --by tree --depth 5 --min 1M\n"
		    "  memheap retained core.1234 0x7f2d3c0a1b40 --by tree\n"
		    "  memheap retained core.1234 --by thread\n"
		    "  memheap retained core.1234 --type 'myapp.*'\n"
		    "  memheap retained core.1234 --format csv --table objects --limit 1000\n",
	.run = command_report,
};

static const struct command suspects = {
	.name = "suspects",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_SUSPECTS,
	.summary = "what memory has piled up in, and what holds it",
	.description =
		"Names the places where a tenth or more of the memory of all objects (and "
		"at least 256 KiB) has piled up: an object that retains so much while none "
		"of what it holds retains nearly all of it; objects of one type that nothing "
		"holds alone; chains; objects that nothing holds. For each it tells the way "
		"from a module, a local variable or a thread to it, and what it holds. "
		"Modules, classes and functions themselves are no suspects. Where nothing "
		"stands out it says so.",
	.examples = "  memheap suspects core.1234\n"
		    "  memheap suspects core.1234 --format json | jq '.suspects[0].path'\n",
	.run = command_report,
};

static const struct command snapshot = {
	.name = "snapshot",
	.arguments = "PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_SNAPSHOT,
	.summary = "write a core of a process that lives on",
	.description =
		"Writes an ELF core of a live process to the file that -o names, for memheap "
		"and gdb, here or on another machine: with all threads and registers, with "
		"holes in place of zeros, and readable by its owner only. A note for memheap "
		"says how it was taken, where the RSS was, what the limit of its cgroup was, and "
		"which pages are torn (--mode nostop). The file is there when all is written.",
	.examples = "  memheap snapshot 1234 -o core.1234\n"
		    "  memheap snapshot 1234 --compress -o core.1234.zst\n",
	.run = command_snapshot,
};

static const struct command watch = {
	.name = "watch",
	.arguments = "PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_WATCH,
	.summary = "what grows in a process, as it grows",
	.description =
		"Takes a light snapshot of a live process again and again, and tells what grew, "
		"by type and category, since the start and since the last one: as a table that "
		"renews itself on a terminal, else as JSON lines. At the end it tells what grew "
		"in all, and what the watching cost the process. Between snapshots the RSS is "
		"looked at, and when it passes a threshold, a core is written.",
	.examples = "  memheap watch 1234 --interval 60\n"
		    "  memheap watch 1234 --snapshot-at 2G -o core.1234\n",
	.run = command_watch,
};

static const struct command refs = {
	.name = "refs",
	.arguments = "CORE|PID ADDRESS",
	.arguments_min = 2,
	.arguments_max = 2,
	.bit = COMMAND_REFS,
	.summary = "what an object refers to, with names",
	.description = "Lists the references of the object at an address (hexadecimal): what each "
		       "is called, and the object that it leads to. Keys that are data, and no "
		       "names of the program's own, are told by their type unless --values is "
		       "given.",
	.examples = "  memheap refs core.1234 0x7f2d3c0a1b40\n",
	.run = command_report,
};

static const struct command referrers = {
	.name = "referrers",
	.arguments = "CORE|PID ADDRESS",
	.arguments_min = 2,
	.arguments_max = 2,
	.bit = COMMAND_REFERRERS,
	.summary = "what refers to an object, with names",
	.description = "Lists the references to the object at an address (hexadecimal): which "
		       "object each is in, and what it is called there.",
	.examples = "  memheap referrers core.1234 0x7f2d3c0a1b40\n"
		    "  memheap referrers core.1234 0x7f2d3c0a1b40 --sort type --limit 20\n",
	.run = command_report,
};

static const struct command cycles = {
	.name = "cycles",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_CYCLES,
	.summary = "what gc.collect() would free, without collecting",
	.description = "Does the garbage collector's own arithmetic: which tracked objects have "
		       "references from such objects only, and are reached from no other. Tells "
		       "them by type, with an example of a cycle, what would be freed along with "
		       "them because nothing else refers to it, what is uncollectable (its type "
		       "has tp_del, or such an object leads to it; in 2.7 what has __del__, and "
		       "generators with something to do at their end), and what is in gc.garbage. "
		       "Frozen objects stay, as in a collection. No code runs: it is assumed that "
		       "no __del__ and no callback of a weak reference brings an object back to "
		       "life, or drops references before the collector does.",
	.examples = "  memheap cycles core.1234\n"
		    "  memheap cycles core.1234 --format csv --table freed_along\n",
	.run = command_report,
};

static const struct command refcounts = {
	.name = "refcounts",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_REFCOUNTS,
	.summary = "objects with more references than anybody holds: leaked by C code",
	.description =
		"Audits reference counts: of each object, whether as many references to it can be "
		"found in the process as its refcount says. Those of objects and of Python frames "
		"are known; besides, each word of C stacks, registers, thread-local data, data of "
		"modules, native memory and the interpreter's state that holds its address may be "
		"one. An object with more references than all these together was leaked: some C "
		"code did not give back what it took. Objects that need such words are told as "
		"unsure; mostly these are right. What is counted wrongly: an object too many, "
		"where "
		"C code hides the address (in tagged pointers, or outside of the core), has taken "
		"a "
		"reference for ever without keeping it (a few types and modules of CPython "
		"itself), or where what a type refers to is not known; one too few, where a word "
		"that was left behind still holds the address. Immortal objects (3.12 and later) "
		"do "
		"not count, and are left out. In free-threaded builds all that counts is summed "
		"up: "
		"the owner's count, that of other threads, and those that threads have for types, "
		"functions and the like; since 3.14 frames have references that no object counts, "
		"which are added. --limit and --type are for the table of objects too.",
	.examples = "  memheap refcounts core.1234\n"
		    "  memheap refcounts core.1234 --type 'myapp.*' --limit 1000\n"
		    "  memheap refcounts core.1234 --format jsonl --table objects\n",
	.run = command_report,
};

static const struct command leaks = {
	.name = "leaks",
	.arguments = "CORE|PID",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_LEAKS,
	.summary = "memory that nothing in the process leads to",
	.description =
		"Searches all memory for pointers, as garbage collectors of C do: objects and "
		"their "
		"buffers, data of modules, C stacks from the stack pointer on, registers, "
		"thread-local data, and anonymous memory of other kinds. A block that C code "
		"allocated, and that nothing points to, is lost; so is, indirectly, one that only "
		"lost ones point to. One of which only the middle is pointed to is mostly held, "
		"and "
		"told as possibly lost. Lost objects are those that no root leads to: either "
		"nothing "
		"refers to them, because a reference was leaked, or only such objects, lost "
		"blocks, "
		"or a cycle of their own; some of these gc.collect() would free. A pointer that is "
		"hidden (compressed, encrypted, in a file or in another process) is not seen; a "
		"word "
		"that was left behind, and is one by accident, hides a leak. What each block seems "
		"to hold is told in words, its characters only with --values. --limit is for the "
		"tables of objects and of chunks too, --type for both tables of objects.",
	.examples = "  memheap leaks core.1234\n"
		    "  memheap leaks core.1234 --format csv --table chunks --limit 1000\n"
		    "  memheap leaks core.1234 --table sizes --format jsonl\n",
	.run = command_report,
};

static const struct command list = {
	.name = "list",
	.arguments = "",
	.arguments_min = 0,
	.arguments_max = 0,
	.bit = COMMAND_LIST,
	.summary = "the cores of Python processes that this machine keeps",
	.description = "Lists the cores that systemd-coredump keeps, newest first, by their names, "
		       "their extended attributes and their notes; the journal is not needed. "
		       "Other cores too, in a directory where the kernel puts them: files called "
		       "core, core.* or *.core. Whether a process was a Python, and which, is what "
		       "its files are called by; a core that may not be read is known by its name.",
	.examples = "  memheap list\n"
		    "  memheap list --directory /var/crash --all\n"
		    "  memheap analyze --coredump last\n",
	.run = command_report,
};

static const struct command schema = {
	.name = "schema",
	.arguments = "[COMMAND]",
	.arguments_min = 0,
	.arguments_max = 1,
	.bit = COMMAND_SCHEMA,
	.summary = "the JSON Schema of a command's JSON form",
	.description = "Prints the JSON Schema (draft 2020-12) of the JSON form of COMMAND "
		       "(analyze when none is given), with what each column means.",
	.examples = "  memheap schema analyze\n",
	.run = command_schema,
};

static const struct command completion = {
	.name = "completion",
	.arguments = "bash|zsh|fish",
	.arguments_min = 1,
	.arguments_max = 1,
	.bit = COMMAND_COMPLETION,
	.summary = "completions for a shell",
	.description = "Prints completions for bash, zsh or fish. The installed program brings "
		       "them along; for a copy of it: source <(memheap completion bash).",
	.examples = NULL,
	.run = command_completion,
};

static const struct command help = {
	.name = "help",
	.arguments = "[COMMAND]",
	.arguments_min = 0,
	.arguments_max = 1,
	.bit = COMMAND_HELP,
	.summary = "help about a command",
	.description = "Prints help about COMMAND, or an overview.",
	.examples = NULL,
	.run = command_help,
};

const struct command *const commands[] = {
	&analyze, &info,      &types,    &arenas, &regions, &gc,         &objects,  &object,
	&refs,    &referrers, &path,     &cycles, &deep,    &retained,   &suspects, &refcounts,
	&leaks,   &list,      &snapshot, &watch,  &schema,  &completion, &help,     NULL,
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; commands[i]; i++) {
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	}
	return NULL;
}

/* How many characters must be changed, put in or left out to make `b` of `a`. */
static size_t distance(const char *a, const char *b)
{
	size_t row[32], length = strlen(b);

	if (length >= 32 || strlen(a) >= 32)
		return SIZE_MAX;
	for (size_t j = 0; j <= length; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= length; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			row[j] = row[j] + 1 < change ? row[j] + 1 : change;
			row[j] = row[j - 1] + 1 < row[j] ? row[j - 1] + 1 : row[j];
		}
	}
	return row[length];
}

const struct command *command_guess(const char *name)
{
	const struct command *best = NULL;
	size_t least = 3;

	for (size_t i = 0; commands[i]; i++) {
		size_t changes = distance(name, commands[i]->name);

		if (changes < least) {
			least = changes;
			best = commands[i];
		}
	}
	return best;
}

int command_fail(struct memheap_error *error)
{
	int status = error->status;

	fprintf(stderr, "memheap: %s\n", error->message);
	if (error->hint)
		fprintf(stderr, "  hint: %s\n", error->hint);
	memheap_error_destroy(error);
	return status;
}

int command_end(void)
{
	struct output output = { .file = stdout };
	struct memheap_error *error = output_commit(&output);

	return error ? command_fail(error) : MEMHEAP_DONE;
}
