/* SPDX-License-Identifier: MIT */
/* suspects: what memory has piled up in, and what holds it. */
#include <stdlib.h>

#include "../base/cleanup.h"
#include "holders.h"

enum {
	SUSPECTS_RANK,
	SUSPECTS_KIND,
	SUSPECTS_TYPE,
	SUSPECTS_ADDRESS,
	SUSPECTS_OBJECTS,
	SUSPECTS_RETAINED,
	SUSPECTS_SHARE,
	SUSPECTS_HOLDER,
	SUSPECTS_PATH,
	SUSPECTS_TEXT,
};

static const struct memheap_column columns[] = {
	[SUSPECTS_RANK] = { "rank", "RANK", MEMHEAP_COUNT,
			    "1: where most has piled up, without what further suspects hold" },
	[SUSPECTS_KIND] = { "kind", "KIND", MEMHEAP_TEXT,
			    "object: one object, and what it retains; group: objects of one type "
			    "that nothing holds alone; chain: objects of one type, each of which "
			    "retains the next; lost: objects that nothing holds" },
	[SUSPECTS_TYPE] = { "type", "TYPE", MEMHEAP_TEXT,
			    "Type of the object, or objects; of those that are lost the one of "
			    "which there is most" },
	[SUSPECTS_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS,
			       "id() of the object; of a group the one that retains most; the "
			       "first of a chain" },
	[SUSPECTS_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT,
			       "1, or how many the group or chain has, or are lost" },
	[SUSPECTS_RETAINED] = { "retained_bytes", "RETAINED", MEMHEAP_BYTES,
				"What would be freed with it, or with all of them" },
	[SUSPECTS_SHARE] = { "retained_percent", "SHARE", MEMHEAP_PERCENT,
			     "Of what all objects occupy" },
	[SUSPECTS_HOLDER] = { "holder", "HOLDER", MEMHEAP_TEXT,
			      "What holds it, as it would stand in the program, as far as that "
			      "can be written: a global variable, an attribute, a local variable "
			      "of a function" },
	[SUSPECTS_PATH] = { "path", "PATH", MEMHEAP_TEXTS,
			    "Names of the steps of the shortest way to it, the root's first; of a "
			    "group what most ways have in common; none of what is lost" },
	[SUSPECTS_TEXT] = { "text", "TEXT", MEMHEAP_TEXT, "The same in words" },
};

const struct memheap_table_shape suspects_shape = {
	.key = "suspects",
	.title = "Suspects",
	.doc = "What a tenth of the memory of all objects or more has piled up in; none: nothing "
	       "stands out",
	.columns = columns,
	.column_count = ARRAY_SIZE(columns),
};

enum { LIMITS_OCCUPIED, LIMITS_THRESHOLD };

static const struct memheap_column limits_columns[] = {
	[LIMITS_OCCUPIED] = { "occupied_bytes", "Objects", MEMHEAP_BYTES,
			      "What all objects and their buffers take" },
	[LIMITS_THRESHOLD] = { "threshold_bytes", "Stands out", MEMHEAP_BYTES,
			       "So much in one place makes a suspect" },
};

const struct memheap_table_shape suspects_limits_shape = {
	.key = "suspects_limits",
	.title = "What makes a suspect",
	.flags = MEMHEAP_RECORD,
	.doc = "What the suspects are measured by",
	.columns = limits_columns,
	.column_count = ARRAY_SIZE(limits_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&suspects_shape, &suspects_limits_shape, &completeness_shape,
	&gaps_shape,     &diagnostics_shape,     NULL,
};

struct memheap_error *holders_find(struct holders *ret, const struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct memheap_error *error;

	ret->view = (struct heap_view){ &s->objects, &s->blocks, &s->python };
	ret->sources =
		(struct root_sources){ &ret->view, &s->modules, &s->stacks, &s->target.process };
	error = retention_find(&ret->retention, &s->graph, &ret->sources, &s->parallel);
	if (!error && !ways_find(&ret->ways, &s->graph, &ret->retention.roots))
		error = &error_no_memory;
	return error;
}

struct memheap_error *holders_find_suspects(struct holders *ret,
					    const struct memheap_report *report)
{
	struct memheap_error *error = holders_find(ret, report);

	if (!error && !suspects_find(&ret->suspects, &report->snapshot->graph, &ret->view,
				     &ret->retention, &ret->ways))
		error = &error_no_memory;
	return error;
}

void holders_deinit(struct holders *holders)
{
	suspects_deinit(&holders->suspects);
	ways_deinit(&holders->ways);
	retention_deinit(&holders->retention);
}

/* The names as a cell that lives as long as the report. */
static struct memheap_cell cell_names(struct memheap_report *report, const struct way_words *way)
{
	struct memheap_texts *texts =
		report_keep(report, sizeof(*texts) + (way->count + 1) * sizeof(*way->names));
	const char **items = texts ? (const char **)(texts + 1) : NULL;

	if (!texts)
		return (struct memheap_cell){ 0 };
	for (size_t i = 0; i < way->count; i++)
		items[i] = way->names[i];
	*texts = (struct memheap_texts){ items, way->count };
	return (struct memheap_cell){ .texts = texts, .present = true };
}

static void add_suspect(struct memheap_report *report, const struct holders *holders, size_t index)
{
	static const char *const kinds[] = {
		[SUSPECT_OBJECT] = "object",
		[SUSPECT_GROUP] = "group",
		[SUSPECT_CHAIN] = "chain",
		[SUSPECT_LOST] = "lost",
	};
	const struct suspect *suspect = &holders->suspects.list.items[index];
	const struct memheap_snapshot *s = report->snapshot;
	struct way_words way = way_in_words(report, holders, suspect->above);
	struct memheap_cell *row = report_row(report, &suspects_shape);
	struct object object;

	row[SUSPECTS_RANK] = cell_number(index + 1);
	row[SUSPECTS_KIND] = cell_text(kinds[suspect->kind]);
	row[SUSPECTS_TYPE] = cell_text(s->objects.types.list.items[suspect->type].name);
	row[SUSPECTS_OBJECTS] = cell_number(suspect->objects);
	row[SUSPECTS_RETAINED] = cell_number(suspect->retained);
	row[SUSPECTS_SHARE] = cell_percent(suspect->retained, holders->suspects.sum);
	row[SUSPECTS_HOLDER] = cell_text(way.expression);
	row[SUSPECTS_PATH] = cell_names(report, &way);
	row[SUSPECTS_TEXT] = cell_text(suspect_in_words(report, holders, suspect, &way));
	if (object_get(&holders->view, s->graph.blocks[suspect->first], &object))
		row[SUSPECTS_ADDRESS] = cell_number(object.at);
	free(way.names);
}

void add_suspects(struct memheap_report *report, const struct holders *holders)
{
	struct memheap_cell *row;

	for (size_t i = 0; i < holders->suspects.list.count; i++)
		add_suspect(report, holders, i);
	row = report_row(report, &suspects_limits_shape);
	row[LIMITS_OCCUPIED] = cell_number(holders->suspects.sum);
	row[LIMITS_THRESHOLD] = cell_number(holders->suspects.threshold);
}

static struct memheap_error *build(struct memheap_report *report)
{
	_cleanup_(holders_deinit) struct holders holders = { 0 };
	struct memheap_error *error = holders_find_suspects(&holders, report);

	if (error)
		return error;
	add_suspects(report, &holders);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_suspects = {
	.shape = {
		.name = "suspects",
		.schema = "memheap.suspects",
		.schema_version = "1.0",
		.title = "What memory has piled up in",
		.tables = tables,
		.main_table = "suspects",
		.needs = MEMHEAP_GRAPH,
	},
	.build = build,
};
