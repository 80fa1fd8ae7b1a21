/* SPDX-License-Identifier: MIT */
/* Tables that several reports have. */
#pragma once

#include "../graph/retention.h"
#include "accounting.h"

extern const struct memheap_table_shape tool_shape, target_shape, python_shape, resolution_shape,
	completeness_shape, memory_shape, types_shape, retaining_types_shape, pymalloc_shape,
	size_classes_shape, mimalloc_shape, mimalloc_heaps_shape, malloc_shape, free_lists_shape,
	gc_shape, generations_shape, gaps_shape, diagnostics_shape, snapshot_shape,
	process_memory_shape, resident_shape, torn_shape;

void add_tool(struct memheap_report *report);
void add_target(struct memheap_report *report);
/* Nothing when there is no Python. */
void add_python(struct memheap_report *report);
void add_resolution(struct memheap_report *report);
/* How a live process was taken, and what the kernel says of its memory. */
void add_snapshot(struct memheap_report *report);
void add_process_memory(struct memheap_report *report);
/* What of it changed while it was read. */
void add_torn(struct memheap_report *report);
/* Its resident memory by area. */
void add_resident(struct memheap_report *report, const struct areas *areas);

struct residency {
	uint64_t resident, swapped;
};

/* Of [start, end) in a live process. */
struct residency residency_of(const struct memheap_snapshot *s, vaddr start, vaddr end);

void add_completeness(struct memheap_report *report);
void add_memory(struct memheap_report *report, const struct areas *areas);
/* Rows of types whose name matches `pattern` (NULL: all), by occupied bytes. */
void add_types(struct memheap_report *report, const char *pattern);
/* All of them with what they retain, by the index of their type; NULL: not known. */
void add_retaining_types(struct memheap_report *report, const struct type_retention *retained);
void add_pymalloc(struct memheap_report *report);
void add_size_classes(struct memheap_report *report);

/* The id of the interpreter that has state number `state` of pymalloc. */
struct memheap_cell cell_state(const struct memheap_snapshot *s, size_t state);
/* With its heaps. */
void add_mimalloc(struct memheap_report *report);
void add_malloc(struct memheap_report *report);
void add_free_lists(struct memheap_report *report);
/* Of the main interpreter; `count` walks the lists of the generations. */
void add_gc(struct memheap_report *report, bool count);
void add_gaps(struct memheap_report *report);
void add_diagnostics(struct memheap_report *report);
void add_notices(struct memheap_report *report, const struct notices *notices);

/* "SIGABRT" */
const char *signal_name(struct memheap_report *report, uint32_t number);

/* Sets the report's status from its snapshot's gaps. */
void set_status(struct memheap_report *report);
