/* SPDX-License-Identifier: MIT */
/* analyze: the whole answer in one report. */
#include <stdlib.h>

#include "../base/cleanup.h"
#include "holders.h"

static const struct memheap_table_shape *const tables[] = {
	&tool_shape,
	&target_shape,
	&python_shape,
	&resolution_shape,
	&snapshot_shape,
	&process_memory_shape,
	&torn_shape,
	&completeness_shape,
	&resident_shape,
	&memory_shape,
	&retaining_types_shape,
	&suspects_shape,
	&suspects_limits_shape,
	&pymalloc_shape,
	&size_classes_shape,
	&mimalloc_shape,
	&mimalloc_heaps_shape,
	&malloc_shape,
	&free_lists_shape,
	&gc_shape,
	&generations_shape,
	&gaps_shape,
	&diagnostics_shape,
	NULL,
};

/* Types, with what they retain, and suspects; without a graph only the types. */
static struct memheap_error *add_who_holds(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	_cleanup_(holders_deinit) struct holders holders = { 0 };
	_cleanup_free_ struct type_retention *types = NULL;
	struct memheap_error *error;

	if (!s->has_graph) {
		add_retaining_types(report, NULL);
		report_row(report, &suspects_limits_shape); /* nobody knows */
		return NULL;
	}
	error = holders_find_suspects(&holders, report);
	if (error)
		return error;
	types = retention_by_type(&holders.retention, &s->graph, &holders.view);
	if (!types)
		return &error_no_memory;
	add_retaining_types(report, types);
	add_suspects(report, &holders);
	return NULL;
}

static struct memheap_error *build(struct memheap_report *report)
{
	struct areas areas = { 0 };
	struct memheap_error *error;

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
	error = add_who_holds(report);
	add_pymalloc(report);
	add_size_classes(report);
	add_mimalloc(report);
	add_malloc(report);
	add_free_lists(report);
	add_gc(report, false);
	add_gaps(report);
	add_diagnostics(report);
	areas_deinit(&areas);
	return error;
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
