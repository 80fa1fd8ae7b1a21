/* SPDX-License-Identifier: MIT */
/* gc: the state of the garbage collector. */
#include "sections.h"

static const struct memheap_table_shape *const tables[] = {
	&gc_shape, &generations_shape, &completeness_shape, &gaps_shape, &diagnostics_shape, NULL,
};

static struct memheap_error *build(struct memheap_report *report)
{
	add_gc(report, true);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_gc = {
	.shape = {
		.name = "gc",
		.schema = "memheap.gc",
		.schema_version = "1.0",
		.title = "The garbage collector",
		.tables = tables,
		.main_table = "gc.generations",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build,
};
