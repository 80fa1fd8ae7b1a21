/* SPDX-License-Identifier: MIT */
/* tree: a process and its descendants, with the memory that they share counted once. */
#include "sections.h"

enum { TREE_PROCESSES, TREE_DECODED, TREE_RSS, TREE_ONCE, TREE_COUNTED };

static const struct memheap_column tree_columns[] = {
	[TREE_PROCESSES] = { "processes", "PROCESSES", MEMHEAP_COUNT,
			     "The process and its descendants" },
	[TREE_DECODED] = { "decoded_processes", "DECODED", MEMHEAP_COUNT,
			   "Of them, those whose Python heap was decoded" },
	[TREE_RSS] = { "rss_bytes", "SUM OF RSS", MEMHEAP_BYTES,
		       "The sum of their resident memory: what is shared counts for each" },
	[TREE_ONCE] = { "once_bytes", "COUNTED ONCE", MEMHEAP_BYTES,
			"Their resident memory, what they share counted once" },
	[TREE_COUNTED] = { "counted_by", "COUNTED BY", MEMHEAP_TEXT,
			   "page frames (exact), or Pss (what other processes share too counts in "
			   "part) where the kernel does not tell frames" },
};

static const struct memheap_table_shape tree_shape = {
	.key = "tree",
	.title = "All together",
	.flags = MEMHEAP_RECORD,
	.doc = "The sums over all processes of the tree",
	.columns = tree_columns,
	.column_count = ARRAY_SIZE(tree_columns),
};

enum {
	PROCESSES_PID,
	PROCESSES_PARENT,
	PROCESSES_NAME,
	PROCESSES_RSS,
	PROCESSES_PSS,
	PROCESSES_OWN,
	PROCESSES_OBJECTS,
	PROCESSES_OCCUPIED,
	PROCESSES_MODE,
	PROCESSES_PAUSE,
	PROCESSES_PROBLEM,
};

static const struct memheap_column processes_columns[] = {
	[PROCESSES_PID] = { "pid", "PID", MEMHEAP_ID, "Process id" },
	[PROCESSES_PARENT] = { "parent_pid", "PARENT", MEMHEAP_ID, "Process id of its parent" },
	[PROCESSES_NAME] = { "name", "NAME", MEMHEAP_TEXT, "Its name, at most 15 bytes" },
	[PROCESSES_RSS] = { "rss_bytes", "RSS", MEMHEAP_BYTES, "Its resident memory" },
	[PROCESSES_PSS] = { "pss_bytes", "PSS", MEMHEAP_BYTES,
			    "The same, each page divided by how many processes have it" },
	[PROCESSES_OWN] = { "own_bytes", "ITS OWN", MEMHEAP_BYTES,
			    "Pages that no other process of the tree has: what its end would free; "
			    "null where the kernel does not tell page frames" },
	[PROCESSES_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT, "Live objects" },
	[PROCESSES_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,
				 "What its objects really take" },
	[PROCESSES_MODE] = { "mode", "MODE", MEMHEAP_TEXT, "How its memory was taken" },
	[PROCESSES_PAUSE] = { "pause_us", "PAUSE, µs", MEMHEAP_COUNT, "That it stood still" },
	[PROCESSES_PROBLEM] = { "problem", "PROBLEM", MEMHEAP_TEXT,
				"Why it was not decoded: no Python, most often" },
};

static const struct memheap_table_shape processes_shape = {
	.key = "processes",
	.title = "Processes",
	.doc = "The processes of the tree, parents before their children",
	.columns = processes_columns,
	.column_count = ARRAY_SIZE(processes_columns),
};

enum { TYPES_TYPE, TYPES_PROCESSES, TYPES_OBJECTS, TYPES_OCCUPIED };

static const struct memheap_column types_columns[] = {
	[TYPES_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "module.qualname" },
	[TYPES_PROCESSES] = { "processes", "PROCESSES", MEMHEAP_COUNT, "Processes that have some" },
	[TYPES_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT, "Live objects, of all processes" },
	[TYPES_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,
			     "What they really take, in all processes: pages that are shared count "
			     "for each" },
};

static const struct memheap_table_shape tree_types_shape = {
	.key = "types",
	.title = "Types",
	.doc = "Live objects of all processes by type",
	.columns = types_columns,
	.column_count = ARRAY_SIZE(types_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&tree_shape,
	&processes_shape,
	&tree_types_shape,
	NULL,
};

static struct memheap_cell cell_known(uint64_t bytes)
{
	return bytes == MEMORY_UNKNOWN ? (struct memheap_cell){ 0 } : cell_number(bytes);
}

static void add_process(struct memheap_report *report, const struct family_member *member,
			const struct tree_process *process)
{
	struct memheap_cell *row = report_row(report, &processes_shape);

	row[PROCESSES_PID] = cell_number((uint64_t)member->pid);
	row[PROCESSES_PARENT] = cell_number((uint64_t)member->parent);
	row[PROCESSES_NAME] = cell_text(report_text(report, "%s", member->status.name));
	row[PROCESSES_RSS] = cell_known(member->memory.rss);
	row[PROCESSES_PSS] = cell_known(member->pss);
	row[PROCESSES_OWN] = cell_known(member->own_bytes);
	row[PROCESSES_PROBLEM] = cell_text(process->problem);
	if (process->problem)
		return;
	row[PROCESSES_OBJECTS] = cell_number(process->objects);
	row[PROCESSES_OCCUPIED] = cell_number(process->occupied_bytes);
	row[PROCESSES_MODE] = cell_text(process->mode);
	row[PROCESSES_PAUSE] = cell_number((process->pause_ns + 999) / 1000);
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct tree *tree = &report->snapshot->tree;
	struct memheap_cell *row = report_row(report, &tree_shape);
	uint64_t decoded = 0;

	for (size_t i = 0; i < tree->list.count; i++)
		decoded += !tree->list.items[i].problem;
	row[TREE_PROCESSES] = cell_number(tree->list.count);
	row[TREE_DECODED] = cell_number(decoded);
	row[TREE_RSS] = cell_number(tree->family.rss_bytes);
	row[TREE_ONCE] = cell_number(tree->family.once_bytes);
	row[TREE_COUNTED] = cell_text(tree->family.frames ? "page frames" : "Pss");
	for (size_t i = 0; i < tree->list.count; i++)
		add_process(report, &tree->family.list.items[i], &tree->list.items[i]);
	for (size_t i = 0; i < tree->types.count; i++) {
		const struct tree_type *type = &tree->types.items[i];

		row = report_row(report, &tree_types_shape);
		row[TYPES_TYPE] = cell_text(type->name);
		row[TYPES_PROCESSES] = cell_number(type->processes);
		row[TYPES_OBJECTS] = cell_number(type->objects);
		row[TYPES_OCCUPIED] = cell_number(type->occupied_bytes);
	}
	return NULL;
}

const struct analysis analysis_tree = {
	.shape = {
		.name = "tree",
		.schema = "memheap.tree",
		.schema_version = "1.0",
		.title = "A process and its descendants",
		.tables = tables,
		.main_table = "types",
		.needs = MEMHEAP_TREE,
	},
	.build = build,
};
