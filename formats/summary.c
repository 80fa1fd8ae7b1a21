/* SPDX-License-Identifier: MIT */
/*
 * analyze on one screen, in the order of the questions on call: what is this, can I trust it,
 * where did the memory go, what is it, what to do next.
 */
#include <string.h>

#include "text.h"

#define BAR_CELLS      64
#define TYPES_SHOWN    15
#define CELLS_MAX      64
#define LABEL_WIDTH    11
#define RETAINED_WIDTH 11
#define NAME_SHOWN     200 /* bytes of a command line */

/* One line of the bar: leaves of the accounting that belong together. */
struct slice {
	const char *unicode, *ascii;
	const char *label;
	const char *prefixes[4]; /* of paths, first match wins */
	const char *what;
	uint64_t bytes;
};

/* The sum of the slices is the image: the last but one takes what no other wants. */
static const struct slice slices[] = {
	{ "█", "#", "objects", { "python/" }, "Python objects, their buffers, free lists", 0 },
	{ "▓", "+", "pymalloc", { "pymalloc/" }, "free in pymalloc: fragmentation, headers", 0 },
	{ "▚", "*", "mimalloc", { "mimalloc/" }, "free in mimalloc: fragmentation, reserved", 0 },
	{ "▒", "=", "malloc used", { "malloc/used" }, "malloc, used by C code or unknown", 0 },
	{ "▩",
	  "&",
	  "other malloc",
	  { "jemalloc/", "tcmalloc/", "musl/" },
	  "what else another allocator has",
	  0 },
	{ "░", "-", "malloc free", { "malloc/" }, "free in malloc, headers", 0 },
	{ "◆",
	  "m",
	  "program",
	  { "modules/", "files", "kernel" },
	  "code, module data, mapped files",
	  0 },
	{ "◇", "s", "stacks", { "stacks/" }, "C stacks of threads", 0 },
	{ "·", ".", "not in core", { "missing/" }, "not in the core", 0 },
	{ "?", "?", "unknown", { "" }, "neither object nor known otherwise", 0 },
};

#define SLICES      (sizeof(slices) / sizeof(slices[0]))
#define NOT_IN_CORE (SLICES - 2)

struct summary {
	const struct memheap_report *report;
	const struct style *style;
	FILE *out;
	struct slice slices[SLICES];
	uint64_t image, shown;
};

static const char *text_of(const struct summary *summary, const char *table, const char *key)
{
	struct memheap_cell cell = text_cell(summary->report, table, key);

	return cell.present ? cell.text : NULL;
}

static uint64_t number_of(const struct summary *summary, const char *table, const char *key)
{
	struct memheap_cell cell = text_cell(summary->report, table, key);

	return cell.present ? cell.number : 0;
}

static const char *bytes_of(const struct summary *summary, const char *table, const char *key,
			    char text[UNIT_TEXT_MAX])
{
	return format_bytes(text, number_of(summary, table, key), summary->style);
}

static void line(const struct summary *summary, const char *label)
{
	fprintf(summary->out, "  %-*s ", LABEL_WIDTH, label);
}

/* How many bytes of a command line are shown; whole characters. */
static int shown_bytes(const char *text)
{
	size_t length = strnlen(text, NAME_SHOWN);

	while (length && ((unsigned char)text[length] & 0xC0) == 0x80)
		length--;
	return (int)length;
}

static bool is_live(const struct summary *summary)
{
	return !strcmp(text_of(summary, "target", "kind"), "process");
}

/* It lived when memheap took it, now or for the core that it wrote. */
static bool was_taken(const struct summary *summary)
{
	return text_of(summary, "snapshot", "mode");
}

/* Of a core that is cut off before the interpreter's data, names of files tell the version. */
static void write_python(const struct summary *summary)
{
	const char *version = text_of(summary, "python", "version");
	const char *build = text_of(summary, "python", "build");

	line(summary, "Python");
	fprintf(summary->out, "%s %s, %s, %s\n", text_of(summary, "python", "implementation"),
		version ? version : "of an unknown version", build ? build : "by its name only",
		text_of(summary, "target", "machine"));
}

static void write_identity(const struct summary *summary)
{
	const char *name = text_of(summary, "target", "command_line");
	const char *executable = text_of(summary, "target", "executable");
	char size[UNIT_TEXT_MAX], threads[UNIT_TEXT_MAX];

	name = name && *name ? name : "unknown";
	fprintf(summary->out, "memheap %s   %s   %s%s\n\n", memheap_version(),
		text_of(summary, "target", "path"), is_live(summary) ? "RSS " : "",
		is_live(summary) ? bytes_of(summary, "process_memory", "rss_bytes", size)
				 : bytes_of(summary, "target", "file_bytes", size));
	line(summary, "Program");
	fprintf(summary->out, "%.*s%s%s%s%s\n", shown_bytes(name), name,
		name[shown_bytes(name)] ? text_dots(summary->style) : "", executable ? "  (" : "",
		executable ? executable : "", executable ? ")" : "");
	write_python(summary);
	line(summary, is_live(summary) ? "Lives" : "Died");
	fprintf(summary->out, "%s; process %llu, %s thread%s\n",
		is_live(summary) ? text_of(summary, "snapshot", "state")
				 : text_of(summary, "target", "death"),
		(unsigned long long)number_of(summary, "target", "pid"),
		format_count(threads, number_of(summary, "target", "threads")),
		number_of(summary, "target", "threads") == 1 ? "" : "s");
}

/* How a process was taken that lived. */
static void write_taking(const struct summary *summary)
{
	uint64_t torn = number_of(summary, "snapshot", "torn_bytes");
	char copied[UNIT_TEXT_MAX], refilled[UNIT_TEXT_MAX], text[UNIT_TEXT_MAX];

	line(summary, "Taken by");
	fprintf(summary->out, "%s: it stood still for %.1f ms; %s copied, %s refilled from files\n",
		text_of(summary, "snapshot", "mode"),
		(double)number_of(summary, "snapshot", "pause_us") / 1000,
		bytes_of(summary, "snapshot", "copied_bytes", copied),
		bytes_of(summary, "completeness", "refilled_bytes", refilled));
	if (torn) {
		line(summary, "Torn");
		fprintf(summary->out,
			"%s changed while they were read: what lies there may be wrong\n",
			format_bytes(text, torn, summary->style));
	}
	if (text_of(summary, "snapshot", "passed_over")) {
		line(summary, "Not by");
		fprintf(summary->out, "%s\n", text_of(summary, "snapshot", "passed_over"));
	}
}

/* What the kernel said of its memory then. */
static void write_process_memory(const struct summary *summary)
{
	uint64_t limit = number_of(summary, "process_memory", "limit_bytes");
	uint64_t used = number_of(summary, "process_memory", "limit_used_bytes");
	char rss[UNIT_TEXT_MAX], swap[UNIT_TEXT_MAX], peak[UNIT_TEXT_MAX], text[UNIT_TEXT_MAX];

	line(summary, "Memory");
	fprintf(summary->out, "RSS %s, at most %s so far; swap %s",
		bytes_of(summary, "process_memory", "rss_bytes", rss),
		bytes_of(summary, "process_memory", "peak_rss_bytes", peak),
		bytes_of(summary, "process_memory", "swap_bytes", swap));
	if (limit)
		fprintf(summary->out, "; limit of its cgroup %s, %.0f %% used",
			format_bytes(text, limit, summary->style),
			(double)used * 100 / (double)limit);
	putc('\n', summary->out);
}

static void write_trust(const struct summary *summary)
{
	uint64_t truncated = number_of(summary, "completeness", "truncated_bytes");
	char present[UNIT_TEXT_MAX], refilled[UNIT_TEXT_MAX], missing[UNIT_TEXT_MAX];

	if (was_taken(summary)) {
		write_taking(summary);
		write_process_memory(summary);
	}
	if (truncated) {
		line(summary, "Core");
		fprintf(summary->out,
			"TRUNCATED, %s cut off: what follows is a part of the truth\n",
			format_bytes(missing, truncated, summary->style));
	} else if (!is_live(summary)) {
		line(summary, "Core");
		fprintf(summary->out, "%s%s in it, %s refilled from files, %s missing\n",
			memheap_report_status(summary->report) == MEMHEAP_PARTIAL ? "DAMAGED, "
										  : "",
			bytes_of(summary, "completeness", "present_bytes", present),
			bytes_of(summary, "completeness", "refilled_bytes", refilled),
			bytes_of(summary, "completeness", "missing_bytes", missing));
	}
	line(summary, "Found by");
	if (text_of(summary, "resolution", "method"))
		fprintf(summary->out, "%s; layout: %s\n\n",
			text_of(summary, "resolution", "method"),
			text_of(summary, "resolution", "layout"));
	else
		fputs("nothing: the data of the interpreter are cut off\n\n", summary->out);
}

static bool add_leaf(void *closure, const struct memheap_cell *cells)
{
	struct summary *summary = closure;
	const char *path = cells[0].text;

	summary->image += cells[1].number;
	for (size_t i = 0; i < SLICES; i++) {
		struct slice *slice = &summary->slices[i];

		for (size_t j = 0; j < 4 && slice->prefixes[j]; j++) {
			if (strncmp(path, slice->prefixes[j], strlen(slice->prefixes[j])))
				continue;
			slice->bytes += cells[1].number;
			return true;
		}
	}
	return true;
}

static const char *glyph(const struct summary *summary, const struct slice *slice)
{
	return summary->style->unicode ? slice->unicode : slice->ascii;
}

/* The bar shows what is there; each slice gets its share, none is rounded away by others. */
static void write_bar(const struct summary *summary)
{
	uint64_t before = 0;
	int drawn = 0;

	fputs("  ", summary->out);
	for (size_t i = 0; i < SLICES; i++) {
		const struct slice *slice = &summary->slices[i];
		int end;

		before += slice->bytes;
		end = summary->image
			      ? (int)((double)before * BAR_CELLS / (double)summary->image + 0.5)
			      : 0;
		for (; drawn < end; drawn++)
			fputs(glyph(summary, slice), summary->out);
	}
	putc('\n', summary->out);
}

static void write_memory(struct summary *summary)
{
	char text[UNIT_TEXT_MAX];

	memheap_table_each(memheap_report_table(summary->report, "memory"), add_leaf, summary);
	text_heading("Where the memory is", summary->style, summary->out);
	write_bar(summary);
	for (size_t i = 0; i < SLICES; i++) {
		const struct slice *slice = &summary->slices[i];

		if (!slice->bytes)
			continue;
		fprintf(summary->out, "  %s %-*s %11s %5.1f %%  %s\n", glyph(summary, slice),
			LABEL_WIDTH, slice->label, format_bytes(text, slice->bytes, summary->style),
			summary->image ? (double)slice->bytes * 100 / (double)summary->image : 0,
			slice->what);
	}
	fprintf(summary->out, "    %-*s %11s          all that the process had mapped\n\n",
		LABEL_WIDTH, "sum", format_bytes(text, summary->image, summary->style));
}

/* Columns of the table resident. */
enum { RESIDENT_REGION, RESIDENT_MAPPED, RESIDENT_RESIDENT, RESIDENT_SWAPPED };

static bool write_resident_row(void *closure, const struct memheap_cell *cells)
{
	const struct summary *summary = closure;
	char mapped[UNIT_TEXT_MAX], resident[UNIT_TEXT_MAX], swapped[UNIT_TEXT_MAX];

	if (!cells[RESIDENT_RESIDENT].number && !cells[RESIDENT_SWAPPED].number)
		return true;
	fprintf(summary->out, "  %-38s %12s %12s %12s\n", cells[RESIDENT_REGION].text,
		format_bytes(resident, cells[RESIDENT_RESIDENT].number, summary->style),
		format_bytes(swapped, cells[RESIDENT_SWAPPED].number, summary->style),
		format_bytes(mapped, cells[RESIDENT_MAPPED].number, summary->style));
	return true;
}

static void write_resident(struct summary *summary)
{
	text_heading("Where the RSS is", summary->style, summary->out);
	fprintf(summary->out, "  %-38s %12s %12s %12s\n", "REGION", "RESIDENT", "SWAPPED",
		"MAPPED");
	memheap_table_each(memheap_report_table(summary->report, "resident"), write_resident_row,
			   summary);
	putc('\n', summary->out);
}

/* Whether who holds the memory was looked for. */
static bool has_suspects(const struct summary *summary)
{
	return text_cell(summary->report, "suspects_limits", "occupied_bytes").present;
}

/* Columns of the table types. */
enum {
	TYPES_TYPE,
	TYPES_OBJECTS,
	TYPES_SHALLOW,
	TYPES_OCCUPIED,
	TYPES_TRACKED,
	TYPES_SHARE,
	TYPES_RETAINED
};

static bool write_type(void *closure, const struct memheap_cell *cells)
{
	struct summary *summary = closure;
	char objects[UNIT_TEXT_MAX], shallow[UNIT_TEXT_MAX], occupied[UNIT_TEXT_MAX],
		retained[UNIT_TEXT_MAX] = "";

	if (cells[TYPES_RETAINED].present)
		format_bytes(retained, cells[TYPES_RETAINED].number, summary->style);
	fprintf(summary->out, "  %-38.38s %12s %12s %12s %5.1f %%%s%*s\n", cells[TYPES_TYPE].text,
		format_count(objects, cells[TYPES_OBJECTS].number),
		format_bytes(shallow, cells[TYPES_SHALLOW].number, summary->style),
		format_bytes(occupied, cells[TYPES_OCCUPIED].number, summary->style),
		(double)cells[TYPES_SHARE].number / 100, *retained ? " " : "",
		*retained ? RETAINED_WIDTH : 0, retained);
	return ++summary->shown < TYPES_SHOWN;
}

static void write_types(struct summary *summary)
{
	const struct memheap_table *types = memheap_report_table(summary->report, "types");
	char count[UNIT_TEXT_MAX];

	text_heading("Top types", summary->style, summary->out);
	fprintf(summary->out, "  %-38s %12s %12s %12s%s\n", "TYPE", "OBJECTS", "SHALLOW",
		"OCCUPIED", has_suspects(summary) ? "            RETAINED" : "");
	memheap_table_each(types, write_type, summary);
	if (memheap_table_total(types) > summary->shown)
		fprintf(summary->out, "  %s %s more types\n", text_dots(summary->style),
			format_count(count, memheap_table_total(types) - summary->shown));
	putc('\n', summary->out);
}

/* The same for mimalloc. */
static void write_pages(const struct summary *summary)
{
	uint64_t pages = number_of(summary, "mimalloc", "pages");
	uint64_t bytes = number_of(summary, "mimalloc", "page_bytes");
	uint64_t used = number_of(summary, "mimalloc", "used_bytes");
	char count[UNIT_TEXT_MAX], size[UNIT_TEXT_MAX], free[UNIT_TEXT_MAX];

	line(summary, "Pages");
	fprintf(summary->out, "%s of %s, %.1f %% used; available %s in blocks\n\n",
		format_count(count, pages), format_bytes(size, bytes, summary->style),
		(double)used * 100 / (double)bytes,
		bytes_of(summary, "mimalloc", "free_bytes", free));
}

static void write_arenas(const struct summary *summary)
{
	uint64_t arenas = number_of(summary, "pymalloc", "arenas");
	uint64_t bytes = number_of(summary, "pymalloc", "arena_bytes");
	uint64_t used = number_of(summary, "pymalloc", "used_bytes");
	char count[UNIT_TEXT_MAX], size[UNIT_TEXT_MAX], free[UNIT_TEXT_MAX], pools[UNIT_TEXT_MAX];

	if (number_of(summary, "mimalloc", "pages")) {
		write_pages(summary);
		return;
	}
	line(summary, "Arenas");
	if (!arenas) {
		fputs("none\n\n", summary->out);
		return;
	}
	fprintf(summary->out,
		"%s of %s, %.1f %% used; available %s in blocks, %s in whole pools\n\n",
		format_count(count, arenas), format_bytes(size, bytes, summary->style),
		(double)used * 100 / (double)(arenas * bytes),
		bytes_of(summary, "pymalloc", "free_bytes", free),
		bytes_of(summary, "pymalloc", "unused_pool_bytes", pools));
}

static bool keep_type(void *closure, const struct memheap_cell *cells)
{
	*(const char **)closure = cells[TYPES_TYPE].text;
	return false;
}

/* Commands that can be copied, with what was found filled in. */
static void write_next(const struct summary *summary)
{
	const char *core = summary->style->core ? summary->style->core : "CORE", *type = NULL;

	memheap_table_each(memheap_report_table(summary->report, "types"), keep_type, &type);
	text_heading("Next", summary->style, summary->out);
	if (type)
		fprintf(summary->out,
			"  memheap objects %s --type '%s' --sort occupied_bytes --limit 20\n", core,
			type);
	if (has_suspects(summary))
		fprintf(summary->out,
			"  memheap retained %s            what each type and object holds\n", core);
	else
		fprintf(summary->out, "  memheap suspects %s            who holds the memory\n",
			core);
	fprintf(summary->out, "  memheap types %s --limit 0      all types\n", core);
	fprintf(summary->out, "  memheap arenas %s              fragmentation, arena by arena\n",
		core);
	fprintf(summary->out, "  memheap analyze %s --format json   everything, for a machine\n",
		core);
}

bool text_summary(const struct memheap_report *report, const struct style *style, FILE *out)
{
	struct summary summary = { .report = report, .style = style, .out = out };

	memcpy(summary.slices, slices, sizeof(slices));
	write_identity(&summary);
	write_trust(&summary);
	write_memory(&summary);
	if (was_taken(&summary))
		write_resident(&summary);
	write_types(&summary);
	write_arenas(&summary);
	if (has_suspects(&summary))
		text_suspects_rows(report, style, out);
	text_warnings(report, style, out);
	write_next(&summary);
	return !ferror(out);
}
