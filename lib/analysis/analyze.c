/* SPDX-License-Identifier: MIT */
/* analyze: the whole answer in one report. */
#include "sections.h"

static const struct memheap_table_shape *const tables[] = {
	&tool_shape,           &target_shape,
	&python_shape,         &resolution_shape,
	&snapshot_shape,       &process_memory_shape,
	&torn_shape,           &completeness_shape,
	&resident_shape,       &memory_shape,
	&types_shape,          &pymalloc_shape,
	&size_classes_shape,   &mimalloc_shape,
	&mimalloc_heaps_shape, &malloc_shape,
	&free_lists_shape,     &gc_shape,
	&generations_shape,    &gaps_shape,
	&diagnostics_shape,    NULL,
};

static struct memheap_error *build(struct memheap_report *report)
{
	struct areas areas = { 0 };

	if (!areas_find(&areas, report->snapshot))
		report->failed = true;
	add_tool(report);
	add_target(report);
	add_python(report);
	add_resolution(report);
	add_snapshot(report);
	add_process_memory(report);
	add_torn(report);
	add_completeness(report);
	add_resident(report, &areas);
	add_memory(report, &areas);
	add_types(report, NULL);
	add_pymalloc(report);
	add_size_classes(report);
	add_mimalloc(report);
	add_malloc(report);
	add_free_lists(report);
	add_gc(report, false);
	add_gaps(report);
	add_diagnostics(report);
	areas_deinit(&areas);
	return NULL;
}

const struct analysis analysis_analyze = {
	.shape = {
		.name = "analyze",
		.schema = "memheap.report",
		.schema_version = "1.0",
		.title = "What is in the memory of a CPython process",
		.tables = tables,
		.main_table = "types",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build,
};
