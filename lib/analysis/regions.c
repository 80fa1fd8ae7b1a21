/* SPDX-License-Identifier: MIT */
/* regions: the address space, stretch by stretch. */
#include <elf.h>
#include <fnmatch.h>

#include "sections.h"

enum {
	REGIONS_ADDRESS,
	REGIONS_END,
	REGIONS_BYTES,
	REGIONS_REGION,
	REGIONS_RESIDENT,
	REGIONS_SWAPPED,
	REGIONS_ORIGIN,
	REGIONS_PERMISSIONS,
	REGIONS_THREAD,
	REGIONS_PATH,
	REGIONS_OFFSET,
};

static const struct memheap_column regions_columns[] = {
	[REGIONS_ADDRESS] = { "address", "START", MEMHEAP_ADDRESS, "First address" },
	[REGIONS_END] = { "end_address", "END", MEMHEAP_ADDRESS, "First address behind it" },
	[REGIONS_BYTES] = { "bytes", "BYTES", MEMHEAP_BYTES, "Its size" },
	[REGIONS_REGION] = { "region", "REGION", MEMHEAP_TEXT, "What it is" },
	[REGIONS_RESIDENT] = { "resident_bytes", "RESIDENT", MEMHEAP_BYTES,
			       "Of a live process, or when memheap wrote the core: its pages in "
			       "memory",
			       .optional = true },
	[REGIONS_SWAPPED] = { "swapped_bytes", "SWAPPED", MEMHEAP_BYTES,
			      "Of a live process, or when memheap wrote the core: its pages that "
			      "are swapped out",
			      .optional = true },
	[REGIONS_ORIGIN] = { "origin", "ORIGIN", MEMHEAP_TEXT,
			     "Where its bytes come from: core (or the live process), file (on "
			     "disk), or missing" },
	[REGIONS_PERMISSIONS] = { "permissions", "PERMISSIONS", MEMHEAP_TEXT, "rwx" },
	[REGIONS_THREAD] = { "thread_id", "THREAD", MEMHEAP_ID,
			     "Kernel's id of the thread whose stack it is" },
	[REGIONS_PATH] = { "path", "PATH", MEMHEAP_TEXT, "The mapped file (NT_FILE)" },
	[REGIONS_OFFSET] = { "file_offset_bytes", "OFFSET", MEMHEAP_BYTES,
			     "Where it begins in that file" },
};

static const struct memheap_table_shape regions_shape = {
	.key = "regions",
	.title = "Regions",
	.doc = "The image in stretches of one use, by address: they cover it without overlap",
	.columns = regions_columns,
	.column_count = ARRAY_SIZE(regions_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&regions_shape, &completeness_shape, &gaps_shape, &diagnostics_shape, NULL,
};

static void add_region(struct memheap_report *report, const struct area *area)
{
	static const char *const origins[] = {
		[SEGMENT_DUMPED] = "core",
		[SEGMENT_REFILLED] = "file",
		[SEGMENT_MISSING] = "missing",
	};
	const struct memheap_snapshot *s = report->snapshot;
	const struct segment *segment = area->segment;
	struct memheap_cell *row = report_row(report, &regions_shape);

	row[REGIONS_ADDRESS] = cell_number(area->start);
	row[REGIONS_END] = cell_number(area->end);
	row[REGIONS_BYTES] = cell_number(area->end - area->start);
	row[REGIONS_REGION] = cell_text(area_kind_name(area->kind));
	if (s->target.process.taking.known) {
		struct residency own = residency_of(s, area->start, area->end);

		row[REGIONS_RESIDENT] = cell_number(own.resident);
		row[REGIONS_SWAPPED] = cell_number(own.swapped);
	}
	row[REGIONS_ORIGIN] = cell_text(origins[segment->origin]);
	row[REGIONS_PERMISSIONS] = cell_text(report_text(
		report, "%c%c%c", segment->permissions & PF_R ? 'r' : '-',
		segment->permissions & PF_W ? 'w' : '-', segment->permissions & PF_X ? 'x' : '-'));
	if (area->kind == AREA_MAIN_STACK || area->kind == AREA_THREAD_STACK) {
		const struct stack *stack = &s->stacks.list.items[area->index];

		row[REGIONS_THREAD] =
			cell_number(s->target.process.threads.items[stack->thread].tid);
	}
	if (segment->path) {
		row[REGIONS_PATH] = cell_text(segment->path);
		row[REGIONS_OFFSET] =
			cell_number(segment->path_offset + (area->start - segment->start));
	}
}

static struct memheap_error *build(struct memheap_report *report)
{
	const char *pattern = report->query.region;
	struct areas areas = { 0 };

	if (!areas_find(&areas, report->snapshot))
		report->failed = true;
	for (size_t i = 0; i < areas.list.count; i++) {
		const struct area *area = &areas.list.items[i];

		if (!pattern || !fnmatch(pattern, area_kind_name(area->kind), 0))
			add_region(report, area);
	}
	areas_deinit(&areas);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_regions = {
	.shape = {
		.name = "regions",
		.schema = "memheap.regions",
		.schema_version = "1.0",
		.title = "The address space",
		.tables = tables,
		.main_table = "regions",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build,
};
