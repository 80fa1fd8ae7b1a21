/* SPDX-License-Identifier: MIT */
/* types: live objects by type. */
#include "sections.h"

static const struct memheap_table_shape *const tables[] = {
	&types_shape, &completeness_shape, &gaps_shape, &diagnostics_shape, NULL,
};

static struct memheap_error *build(struct memheap_report *report)
{
	add_types(report, report->query.type);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_types = {
	.shape = {
		.name = "types",
		.schema = "memheap.types",
		.schema_version = "1.0",
		.title = "Live objects by type",
		.tables = tables,
		.main_table = "types",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build,
};
