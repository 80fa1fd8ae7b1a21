/* SPDX-License-Identifier: MIT */
/* Which interpreter it is, how everything was found, and the garbage collector. */
#include "sections.h"

#define COLUMNS(array) .columns = (array), .column_count = ARRAY_SIZE(array)

enum {
	PYTHON_IMPLEMENTATION,
	PYTHON_VERSION,
	PYTHON_HEXVERSION,
	PYTHON_BUILD,
	PYTHON_FREE_THREADED,
	PYTHON_INTERPRETERS,
	PYTHON_THREADS,
	PYTHON_FINALIZING,
};

static const struct memheap_column python_columns[] = {
	[PYTHON_IMPLEMENTATION] = { "implementation", "IMPLEMENTATION", MEMHEAP_TEXT, "CPython" },
	[PYTHON_VERSION] = { "version", "VERSION", MEMHEAP_TEXT, "As in sys.version" },
	[PYTHON_HEXVERSION] = { "hexversion", "HEXVERSION", MEMHEAP_ID, "As sys.hexversion" },
	[PYTHON_BUILD] = { "build", "BUILD", MEMHEAP_TEXT,
			   "release; debug (configured --with-pydebug); or trace-refs "
			   "(configured --with-trace-refs), where all objects are linked" },
	[PYTHON_FREE_THREADED] = { "free_threaded", "FREE-THREADED", MEMHEAP_FLAG,
				   "Whether it is a build without the GIL" },
	[PYTHON_INTERPRETERS] = { "interpreters", "INTERPRETERS", MEMHEAP_COUNT,
				  "Interpreter states (_PyRuntime.interpreters)" },
	[PYTHON_THREADS] = { "thread_states", "THREAD STATES", MEMHEAP_COUNT,
			     "Thread states of all interpreters" },
	[PYTHON_FINALIZING] = { "finalizing", "FINALIZING", MEMHEAP_FLAG,
				"Whether it was shutting down (_PyRuntime.finalizing)" },
};

const struct memheap_table_shape python_shape = {
	.key = "python",
	.title = "Python",
	.flags = MEMHEAP_RECORD,
	.doc = "The interpreter",
	COLUMNS(python_columns),
};

void add_python(struct memheap_report *report)
{
	const struct python *python = &report->snapshot->python;
	const struct python_name *name = &report->snapshot->python_name;
	struct memheap_cell *row = report_row(report, &python_shape);

	if (!report->snapshot->has_python) {
		if (name->path) {
			row[PYTHON_IMPLEMENTATION] = cell_text("CPython");
			row[PYTHON_VERSION] = cell_text(*name->version ? name->version : NULL);
		}
		return;
	}
	row[PYTHON_IMPLEMENTATION] = cell_text("CPython");
	row[PYTHON_VERSION] = cell_text(python->version_text);
	row[PYTHON_HEXVERSION] = cell_number(python->version);
	row[PYTHON_BUILD] = cell_text(python->traces_references ? "trace-refs"
				      : python->debug           ? "debug"
								: "release");
	row[PYTHON_FREE_THREADED] = cell_number(python->free_threaded);
	row[PYTHON_INTERPRETERS] = cell_number(python->interpreters.count);
	row[PYTHON_THREADS] = cell_number(python->threads.count);
	row[PYTHON_FINALIZING] = cell_number(python->finalizing);
}

enum {
	RESOLUTION_FILE,
	RESOLUTION_BUILD_ID,
	RESOLUTION_FOUND,
	RESOLUTION_RUNTIME,
	RESOLUTION_METHOD,
	RESOLUTION_VERSION,
	RESOLUTION_LAYOUT,
	RESOLUTION_TABLE,
	RESOLUTION_DWARF,
	RESOLUTION_FROM_TARGET,
	RESOLUTION_FROM_TABLE,
	RESOLUTION_FROM_DWARF,
	RESOLUTION_DIFFERENCES,
	RESOLUTION_ALLOCATOR,
	RESOLUTION_PYMALLOC,
	RESOLUTION_MIMALLOC,
	RESOLUTION_MALLOC,
};

static const struct memheap_column resolution_columns[] = {
	[RESOLUTION_FILE] = { "interpreter_path", "INTERPRETER", MEMHEAP_TEXT,
			      "ELF file that the interpreter is in, by its path in the target" },
	[RESOLUTION_BUILD_ID] = { "build_id", "BUILD ID", MEMHEAP_TEXT,
				  "Build id of that file, from the core" },
	[RESOLUTION_FOUND] = { "interpreter_file", "FILE READ", MEMHEAP_TEXT,
			       "File on this machine that its symbols come from" },
	[RESOLUTION_RUNTIME] = { "runtime_address", "RUNTIME", MEMHEAP_ADDRESS,
				 "Address of _PyRuntime" },
	[RESOLUTION_METHOD] = { "method", "FOUND BY", MEMHEAP_TEXT, "How _PyRuntime was found" },
	[RESOLUTION_VERSION] = { "version_method", "VERSION BY", MEMHEAP_TEXT,
				 "How the version was found; sys.hexversion has the last word" },
	[RESOLUTION_LAYOUT] = { "layout", "LAYOUT", MEMHEAP_TEXT,
				"Where the offsets of CPython's structures come from" },
	[RESOLUTION_TABLE] = { "layout_table", "TABLE", MEMHEAP_TEXT,
			       "The built-in table in use: the release that it was made from" },
	[RESOLUTION_DWARF] = { "layout_dwarf", "DWARF", MEMHEAP_TEXT,
			       "The debug information in use" },
	[RESOLUTION_FROM_TARGET] = { "layout_fields_from_target", "FROM TARGET", MEMHEAP_COUNT,
				     "Fields that the target's _Py_DebugOffsets tells" },
	[RESOLUTION_FROM_TABLE] = { "layout_fields_from_table", "FROM TABLE", MEMHEAP_COUNT,
				    "Fields from the table" },
	[RESOLUTION_FROM_DWARF] = { "layout_fields_from_dwarf", "FROM DWARF", MEMHEAP_COUNT,
				    "Fields from DWARF" },
	[RESOLUTION_DIFFERENCES] = { "layout_differences", "DIFFERENCES", MEMHEAP_COUNT,
				     "Fields in which DWARF contradicted the rest, and won" },
	[RESOLUTION_ALLOCATOR] = { "allocator", "ALLOCATOR", MEMHEAP_TEXT,
				   "What objects are allocated with, as PYTHONMALLOC says: "
				   "pymalloc, mimalloc or malloc; and whether debug hooks are "
				   "around it" },
	[RESOLUTION_PYMALLOC] = { "pymalloc_method", "PYMALLOC BY", MEMHEAP_TEXT,
				  "How pymalloc's arenas were found" },
	[RESOLUTION_MIMALLOC] = { "mimalloc_method", "MIMALLOC BY", MEMHEAP_TEXT,
				  "How mimalloc's segments were found" },
	[RESOLUTION_MALLOC] = { "malloc_method", "MALLOC BY", MEMHEAP_TEXT,
				"How malloc's main arena was found" },
};

const struct memheap_table_shape resolution_shape = {
	.key = "resolution",
	.title = "Resolution",
	.flags = MEMHEAP_RECORD,
	.doc = "How the interpreter, the layout and the allocators were found",
	COLUMNS(resolution_columns),
};

/* "target's own offsets and table 3.13.0, checked against DWARF" */
static const char *describe_layout(struct memheap_report *report, const struct layout *layout)
{
	const char *target = layout->from_target ? "target's own offsets" : "";
	const char *and = layout->from_target && layout->table ? " and " : "";

	if (!layout->from_target && !layout->table)
		return "DWARF";
	return report_text(report, "%s%s%s%s%s", target, and, layout->table ? "table " : "",
			   layout->table ? layout->table : "",
			   !layout->dwarf_path   ? ""
			   : layout->differences ? ", corrected by DWARF"
						 : ", checked against DWARF");
}

/* "pymalloc, debug hooks" */
static const char *describe_allocator(const struct block_map *map)
{
	bool hooked = map->hooks.pools || map->hooks.pages || map->hooks.chunks;

	if (map->mimalloc.pages.count)
		return hooked ? "mimalloc, debug hooks" : "mimalloc";
	if (map->pymalloc.arenas.count)
		return hooked ? "pymalloc, debug hooks" : "pymalloc";
	return hooked ? "malloc, debug hooks" : "malloc";
}

void add_resolution(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct python *python = &s->python;
	const struct layout *layout = &python->layout;
	struct memheap_cell *row = report_row(report, &resolution_shape);
	char id[2 * BUILD_ID_MAX + 1];

	if (!s->has_python)
		return;
	build_id_format(&python->module->build_id, id);
	row[RESOLUTION_FILE] = cell_text(python->module->path);
	row[RESOLUTION_BUILD_ID] = cell_text(*id ? report_text(report, "%s", id) : NULL);
	if (python->module->file)
		row[RESOLUTION_FOUND] =
			cell_text(report_text(report, "%s", python->module->file->path));
	row[RESOLUTION_RUNTIME] = cell_number(python->runtime);
	row[RESOLUTION_METHOD] = cell_text(python->runtime_found);
	row[RESOLUTION_VERSION] = cell_text(python->version_found);
	row[RESOLUTION_LAYOUT] = cell_text(describe_layout(report, layout));
	row[RESOLUTION_TABLE] = cell_text(layout->table);
	if (layout->dwarf_path)
		row[RESOLUTION_DWARF] = cell_text(report_text(report, "%s", layout->dwarf_path));
	row[RESOLUTION_FROM_TARGET] = cell_number(layout->from_target);
	row[RESOLUTION_FROM_TABLE] = cell_number(layout->from_table);
	row[RESOLUTION_FROM_DWARF] = cell_number(layout->from_dwarf);
	row[RESOLUTION_DIFFERENCES] = cell_number(layout->differences);
	if (s->blocks.tags)
		row[RESOLUTION_ALLOCATOR] = cell_text(describe_allocator(&s->blocks));
	if (s->blocks.pymalloc.states.count)
		row[RESOLUTION_PYMALLOC] = cell_text(s->blocks.pymalloc.states.items[0].found);
	if (s->blocks.mimalloc.segments.count)
		row[RESOLUTION_MIMALLOC] = cell_text(s->blocks.mimalloc.found);
	row[RESOLUTION_MALLOC] = cell_text(s->blocks.malloc.found);
	if (s->blocks.malloc.foreign_kind != FOREIGN_NONE)
		row[RESOLUTION_MALLOC] = cell_text(report_text(
			report, "%s, not walked", foreign_name(s->blocks.malloc.foreign_kind)));
}

enum { GC_ENABLED, GC_COLLECTING, GC_TRACKED, GC_UNTRACKED, GC_FREEZE_COUNT, GC_GARBAGE };

static const struct memheap_column gc_columns[] = {
	[GC_ENABLED] = { "enabled", "ENABLED", MEMHEAP_FLAG, "gc.isenabled()" },
	[GC_COLLECTING] = { "collecting", "COLLECTING", MEMHEAP_FLAG,
			    "Whether a collection was going on" },
	[GC_TRACKED] = { "tracked_objects", "TRACKED", MEMHEAP_COUNT,
			 "Objects that the collector tracks, of all interpreters" },
	[GC_UNTRACKED] = { "untracked_objects", "UNTRACKED", MEMHEAP_COUNT,
			   "Objects that it doesn't track" },
	[GC_FREEZE_COUNT] = { "freeze_count", "FROZEN", MEMHEAP_COUNT, "gc.get_freeze_count()" },
	[GC_GARBAGE] = { "garbage", "GARBAGE", MEMHEAP_COUNT, "len(gc.garbage)" },
};

const struct memheap_table_shape gc_shape = {
	.key = "gc",
	.title = "Garbage collector",
	.flags = MEMHEAP_RECORD,
	.doc = "The garbage collector of the main interpreter",
	COLUMNS(gc_columns),
};

enum {
	GENERATIONS_INTERPRETER,
	GENERATIONS_GENERATION,
	GENERATIONS_COUNT,
	GENERATIONS_THRESHOLD,
	GENERATIONS_COLLECTIONS,
	GENERATIONS_COLLECTED,
	GENERATIONS_UNCOLLECTABLE,
	GENERATIONS_CANDIDATES,
	GENERATIONS_DURATION,
	GENERATIONS_OBJECTS,
};

static const struct memheap_column generations_columns[] = {
	[GENERATIONS_INTERPRETER] = { "interpreter", "INTERPRETER", MEMHEAP_ID,
				      "Id of the interpreter" },
	[GENERATIONS_GENERATION] = { "generation", "GENERATION", MEMHEAP_COUNT,
				     "0 is the youngest" },
	[GENERATIONS_COUNT] = { "count", "COUNT", MEMHEAP_NUMBER, "gc.get_count()" },
	[GENERATIONS_THRESHOLD] = { "threshold", "THRESHOLD", MEMHEAP_NUMBER,
				    "gc.get_threshold()" },
	[GENERATIONS_COLLECTIONS] = { "collections", "COLLECTIONS", MEMHEAP_COUNT,
				      "gc.get_stats()['collections']" },
	[GENERATIONS_COLLECTED] = { "collected", "COLLECTED", MEMHEAP_COUNT,
				    "gc.get_stats()['collected']" },
	[GENERATIONS_UNCOLLECTABLE] = { "uncollectable", "UNCOLLECTABLE", MEMHEAP_COUNT,
					"gc.get_stats()['uncollectable']" },
	[GENERATIONS_CANDIDATES] = { "candidates", "CANDIDATES", MEMHEAP_COUNT,
				     "gc.get_stats()['candidates'], from 3.15 on" },
	[GENERATIONS_DURATION] = { "duration_nanoseconds", "DURATION", MEMHEAP_COUNT,
				   "gc.get_stats()['duration'], from 3.15 on" },
	[GENERATIONS_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT,
				  "Objects on its list; absent where it was not walked, and in "
				  "free-threaded builds, which have no lists" },
};

const struct memheap_table_shape generations_shape = {
	.key = "gc.generations",
	.title = "Generations",
	.doc = "The generations of each interpreter (of all interpreters together up to 3.8)",
	COLUMNS(generations_columns),
};

static void add_generations(struct memheap_report *report, const struct gc_state *gc, bool count)
{
	const struct python *python = &report->snapshot->python;

	for (unsigned i = 0; i < GENERATIONS; i++) {
		const struct gc_generation *generation = &gc->generations[i];
		struct memheap_cell *row = report_row(report, &generations_shape);

		row[GENERATIONS_INTERPRETER] =
			cell_number((uint64_t)python->interpreters.items[gc->interpreter].id);
		row[GENERATIONS_GENERATION] = cell_number(i);
		row[GENERATIONS_COUNT] = cell_signed(generation->count);
		row[GENERATIONS_THRESHOLD] = cell_signed(generation->threshold);
		if (gc->knows_stats) {
			row[GENERATIONS_COLLECTIONS] = cell_number(generation->collections);
			row[GENERATIONS_COLLECTED] = cell_number(generation->collected);
			row[GENERATIONS_UNCOLLECTABLE] = cell_number(generation->uncollectable);
		}
		if (gc->knows_duration) {
			row[GENERATIONS_CANDIDATES] = cell_number(generation->candidates);
			row[GENERATIONS_DURATION] = cell_number(generation->duration);
		}
		if (count && gc->lists)
			row[GENERATIONS_OBJECTS] = cell_number(generation->objects);
	}
}

void add_gc(struct memheap_report *report, bool count)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct python *python = &s->python;
	struct memheap_cell *row = report_row(report, &gc_shape);

	row[GC_TRACKED] = cell_number(s->objects.tracked);
	row[GC_UNTRACKED] = cell_number(s->objects.untracked);
	for (uint32_t i = 0; i < python->interpreters.count; i++) {
		struct gc_state gc;

		/* one state for all interpreters up to 3.8 */
		if (i && python->interpreters.items[i].gc == python->interpreters.items[0].gc)
			continue;
		if (!gc_read(python, i, &gc))
			continue;
		if (count && gc.lists)
			gc_count_objects(python, &gc, &report->gaps);
		add_generations(report, &gc, count);
		if (i)
			continue;
		row = report_table(report, &gc_shape)->cells.items;
		if (gc.knows_enabled)
			row[GC_ENABLED] = cell_number(gc.enabled);
		row[GC_COLLECTING] = cell_number(gc.collecting);
		row[GC_FREEZE_COUNT] =
			cell_number(gc.lists ? gc.permanent_objects : s->objects.frozen);
		if (gc.knows_garbage)
			row[GC_GARBAGE] = cell_number(gc.garbage);
	}
}
