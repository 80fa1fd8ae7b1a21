/* SPDX-License-Identifier: MIT */
/* info: what this core is, without walking the heap. */
#include "sections.h"

enum {
	THREADS_TID,
	THREADS_SIGNAL,
	THREADS_PC,
	THREADS_SP,
	THREADS_STACK,
	THREADS_STATE,
	THREADS_INTERPRETER
};

static const struct memheap_column threads_columns[] = {
	[THREADS_TID] = { "thread_id", "THREAD", MEMHEAP_ID,
			  "Kernel's id of the thread (NT_PRSTATUS)" },
	[THREADS_SIGNAL] = { "signal_number", "SIGNAL", MEMHEAP_COUNT,
			     "Signal that it was taking; absent when none" },
	[THREADS_PC] = { "pc_address", "PC", MEMHEAP_ADDRESS, "Where it was executing" },
	[THREADS_SP] = { "sp_address", "SP", MEMHEAP_ADDRESS, "Its stack pointer" },
	[THREADS_STACK] = { "stack_bytes", "STACK", MEMHEAP_BYTES, "Size of its stack's mapping" },
	[THREADS_STATE] = { "thread_state_address", "PYTHON STATE", MEMHEAP_ADDRESS,
			    "Its PyThreadState; absent for a thread that Python doesn't know" },
	[THREADS_INTERPRETER] = { "interpreter", "INTERPRETER", MEMHEAP_ID,
				  "Id of its interpreter" },
};

static const struct memheap_table_shape threads_shape = {
	.key = "threads",
	.title = "Threads",
	.doc = "The threads of the process, the one that died first",
	.columns = threads_columns,
	.column_count = ARRAY_SIZE(threads_columns),
};

enum { SEGMENTS_REGION, SEGMENTS_COUNT, SEGMENTS_BYTES };

static const struct memheap_column segments_columns[] = {
	[SEGMENTS_REGION] = { "region", "REGION", MEMHEAP_TEXT, "What the segments are" },
	[SEGMENTS_COUNT] = { "segments", "SEGMENTS", MEMHEAP_COUNT, "How many there are" },
	[SEGMENTS_BYTES] = { "bytes", "BYTES", MEMHEAP_BYTES, "Their size" },
};

static const struct memheap_table_shape segments_shape = {
	.key = "segments",
	.title = "Segments",
	.doc = "The image's segments by kind; the heap is not looked into",
	.columns = segments_columns,
	.column_count = ARRAY_SIZE(segments_columns),
};

enum {
	MODULES_PATH,
	MODULES_ADDRESS,
	MODULES_BYTES,
	MODULES_BUILD_ID,
	MODULES_STATUS,
	MODULES_FILE
};

static const struct memheap_column modules_columns[] = {
	[MODULES_PATH] = { "path", "PATH", MEMHEAP_TEXT, "The mapped ELF file (NT_FILE)" },
	[MODULES_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "Where it begins" },
	[MODULES_BYTES] = { "bytes", "BYTES", MEMHEAP_BYTES, "Addresses that it covers" },
	[MODULES_BUILD_ID] = { "build_id", "BUILD ID", MEMHEAP_TEXT,
			       "Its build id, from the core" },
	[MODULES_STATUS] = { "status", "ON THIS MACHINE", MEMHEAP_TEXT,
			     "found; found, build id not unpacked (of a compressed core's head); "
			     "found, no build id; forced; other build id; not found" },
	[MODULES_FILE] = { "file", "FILE READ", MEMHEAP_TEXT, "The file in use" },
};

static const struct memheap_table_shape modules_shape = {
	.key = "modules",
	.title = "Modules",
	.doc = "ELF files mapped in the process",
	.columns = modules_columns,
	.column_count = ARRAY_SIZE(modules_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&tool_shape,
	&target_shape,
	&python_shape,
	&resolution_shape,
	&snapshot_shape,
	&process_memory_shape,
	&completeness_shape,
	&threads_shape,
	&segments_shape,
	&modules_shape,
	&gaps_shape,
	&diagnostics_shape,
	NULL,
};

static void add_threads(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct process *process = &s->target.process;

	for (size_t i = 0; i < process->threads.count; i++) {
		const struct process_thread *thread = &process->threads.items[i];
		struct memheap_cell *row = report_row(report, &threads_shape);

		row[THREADS_TID] = cell_number(thread->tid);
		if (thread->signal)
			row[THREADS_SIGNAL] = cell_number(thread->signal);
		row[THREADS_PC] = cell_number(thread->pc);
		row[THREADS_SP] = cell_number(thread->sp);
		for (size_t j = 0; j < s->stacks.list.count; j++) {
			const struct stack *stack = &s->stacks.list.items[j];

			if (stack->thread == i)
				row[THREADS_STACK] = cell_number(stack->end - stack->start);
		}
		for (size_t j = 0; j < s->python.threads.count; j++) {
			const struct thread_state *state = &s->python.threads.items[j];

			/* pthread_self() is the thread pointer */
			if (!thread->tls || state->id != thread->tls)
				continue;
			row[THREADS_STATE] = cell_number(state->at);
			row[THREADS_INTERPRETER] = cell_number(
				(uint64_t)s->python.interpreters.items[state->interpreter].id);
		}
	}
}

static void add_segments(struct memheap_report *report)
{
	uint64_t count[AREA_KINDS] = { 0 }, bytes[AREA_KINDS] = { 0 };
	struct areas areas = { 0 };

	if (!areas_find(&areas, report->snapshot))
		report->failed = true;
	for (size_t i = 0; i < areas.list.count; i++) {
		const struct area *area = &areas.list.items[i];

		count[area->kind]++;
		bytes[area->kind] += area->end - area->start;
	}
	for (int i = 0; i < AREA_KINDS; i++) {
		struct memheap_cell *row;

		if (!count[i])
			continue;
		row = report_row(report, &segments_shape);
		row[SEGMENTS_REGION] = cell_text(area_kind_name(i));
		row[SEGMENTS_COUNT] = cell_number(count[i]);
		row[SEGMENTS_BYTES] = cell_number(bytes[i]);
	}
	areas_deinit(&areas);
}

static void add_modules(struct memheap_report *report)
{
	const struct modules *modules = &report->snapshot->modules;

	for (size_t i = 0; i < modules->list.count; i++) {
		const struct module *module = &modules->list.items[i];
		struct memheap_cell *row = report_row(report, &modules_shape);
		char id[2 * BUILD_ID_MAX + 1];

		build_id_format(&module->build_id, id);
		row[MODULES_PATH] = cell_text(module->path);
		row[MODULES_ADDRESS] = cell_number(module->start);
		row[MODULES_BYTES] = cell_number(module->end - module->start);
		row[MODULES_BUILD_ID] = cell_text(*id ? report_text(report, "%s", id) : NULL);
		row[MODULES_STATUS] = cell_text(module_status_name(module->status));
		if (module->file)
			row[MODULES_FILE] =
				cell_text(report_text(report, "%s", module->file->path));
	}
}

static struct memheap_error *build(struct memheap_report *report)
{
	add_tool(report);
	add_target(report);
	add_python(report);
	add_resolution(report);
	add_snapshot(report);
	add_process_memory(report);
	add_completeness(report);
	add_threads(report);
	add_segments(report);
	add_modules(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_info = {
	.shape = {
		.name = "info",
		.schema = "memheap.info",
		.schema_version = "1.0",
		.title = "What this core is",
		.tables = tables,
		.main_table = "modules",
		.needs = MEMHEAP_IMAGE,
	},
	.build = build,
};
