/* SPDX-License-Identifier: MIT */
/* What only a process has that lives: how it was taken, and what its memory costs. A core that
 * memheap wrote has it in a note. */
#include <string.h>

#include "sections.h"

#define COLUMNS(array) .columns = (array), .column_count = ARRAY_SIZE(array)

enum {
	SNAPSHOT_MODE,
	SNAPSHOT_PAUSE,
	SNAPSHOT_COPIED,
	SNAPSHOT_STOPPED,
	SNAPSHOT_STATE,
	SNAPSHOT_CONSISTENT,
	SNAPSHOT_TORN,
	SNAPSHOT_ZOMBIE,
	SNAPSHOT_PASSED,
};

static const struct memheap_column snapshot_columns[] = {
	[SNAPSHOT_MODE] = { "mode", "MODE", MEMHEAP_TEXT,
			    "How its memory was taken: fork, precopy, stop or nostop" },
	[SNAPSHOT_PAUSE] = { "pause_us", "PAUSE, µs", MEMHEAP_COUNT,
			     "Microseconds from the moment when its first thread was asked to stop "
			     "to that when its last thread went on" },
	[SNAPSHOT_COPIED] = { "copied_bytes", "COPIED", MEMHEAP_BYTES, "Bytes that were copied" },
	[SNAPSHOT_STOPPED] = { "copied_in_pause_bytes", "IN THE PAUSE", MEMHEAP_BYTES,
			       "Of them, those copied while it stood still" },
	[SNAPSHOT_STATE] = { "state", "STATE", MEMHEAP_TEXT,
			     "What it was doing before, as in /proc/PID/status" },
	[SNAPSHOT_CONSISTENT] = { "consistent", "CONSISTENT", MEMHEAP_FLAG,
				  "Whether all bytes are of one moment: false when pages changed "
				  "while they were read (mode nostop), which the table torn "
				  "lists" },
	[SNAPSHOT_TORN] = { "torn_bytes", "TORN", MEMHEAP_BYTES, "Size of these pages" },
	[SNAPSHOT_ZOMBIE] = { "left_zombie", "LEFT A ZOMBIE", MEMHEAP_FLAG,
			      "Whether the entry of its frozen child could not be removed; the "
			      "next snapshot by fork will" },
	[SNAPSHOT_PASSED] = { "passed_over", "PASSED OVER", MEMHEAP_TEXT,
			      "Modes that were tried before, and why they were not used" },
};

const struct memheap_table_shape snapshot_shape = {
	.key = "snapshot",
	.title = "Snapshot",
	.flags = MEMHEAP_RECORD,
	.doc = "How the memory of a live process was taken, now or for a core that memheap wrote "
	       "of it; all null for other cores",
	COLUMNS(snapshot_columns),
};

static const char *state_name(char state)
{
	static const struct {
		char letter;
		const char *name;
	} states[] = {
		{ 'R', "running" },
		{ 'S', "sleeping" },
		{ 'D', "waiting in the kernel" },
		{ 'T', "stopped by a signal" },
		{ 't', "stopped by a tracer" },
		{ 'I', "idle" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		if (states[i].letter == state)
			return states[i].name;
	}
	return "unknown";
}

void add_snapshot(struct memheap_report *report)
{
	const struct taking *taking = &report->snapshot->target.process.taking;
	struct memheap_cell *row = report_row(report, &snapshot_shape);

	if (!taking->known)
		return;
	row[SNAPSHOT_MODE] = cell_text(taking_mode_name(taking->mode));
	row[SNAPSHOT_PAUSE] = cell_number((taking->pause_ns + 999) / 1000);
	row[SNAPSHOT_COPIED] = cell_number(taking->copied);
	row[SNAPSHOT_STOPPED] = cell_number(taking->while_stopped);
	row[SNAPSHOT_STATE] = cell_text(state_name(taking->state));
	row[SNAPSHOT_CONSISTENT] = cell_number(!taking->torn.count);
	row[SNAPSHOT_TORN] = cell_number(report->gaps.kinds[GAP_TORN].bytes);
	row[SNAPSHOT_ZOMBIE] = cell_number(taking->left_zombie);
	row[SNAPSHOT_PASSED] = cell_text(taking->passed);
}

enum { TORN_ADDRESS, TORN_END, TORN_BYTES };

static const struct memheap_column torn_columns[] = {
	[TORN_ADDRESS] = { "address", "START", MEMHEAP_ADDRESS, "First address" },
	[TORN_END] = { "end_address", "END", MEMHEAP_ADDRESS, "First address behind it" },
	[TORN_BYTES] = { "bytes", "BYTES", MEMHEAP_BYTES, "Its size" },
};

const struct memheap_table_shape torn_shape = {
	.key = "torn",
	.title = "Torn pages",
	.doc = "Pages that changed while they were read; all others are as they were at one moment",
	COLUMNS(torn_columns),
};

void add_torn(struct memheap_report *report)
{
	const struct ranges *torn = &report->snapshot->target.process.taking.torn;

	for (size_t i = 0; i < torn->count; i++) {
		const struct range *range = &torn->items[i];
		struct memheap_cell *row = report_row(report, &torn_shape);

		row[TORN_ADDRESS] = cell_number(range->start);
		row[TORN_END] = cell_number(range->end);
		row[TORN_BYTES] = cell_number(range->end - range->start);
	}
}

enum {
	MEMORY_RSS,
	MEMORY_ANONYMOUS,
	MEMORY_FILE,
	MEMORY_SHARED,
	MEMORY_SWAP,
	MEMORY_PEAK,
	MEMORY_LIMIT,
	MEMORY_USED,
};

static const struct memheap_column process_memory_columns[] = {
	[MEMORY_RSS] = { "rss_bytes", "RSS", MEMHEAP_BYTES,
			 "Resident: in memory (VmRSS in /proc/PID/status)" },
	[MEMORY_ANONYMOUS] = { "anonymous_rss_bytes", "ITS OWN", MEMHEAP_BYTES,
			       "Of it, pages of no file (RssAnon in /proc/PID/status)" },
	[MEMORY_FILE] = { "file_rss_bytes", "OF FILES", MEMHEAP_BYTES,
			  "Of it, pages of files, which others may share (RssFile)" },
	[MEMORY_SHARED] = { "shared_rss_bytes", "SHARED", MEMHEAP_BYTES,
			    "Of it, shared memory (RssShmem)" },
	[MEMORY_SWAP] = { "swap_bytes", "SWAP", MEMHEAP_BYTES, "Swapped out" },
	[MEMORY_PEAK] = { "peak_rss_bytes", "PEAK RSS", MEMHEAP_BYTES,
			  "The most that was ever resident (VmHWM)" },
	[MEMORY_LIMIT] = { "limit_bytes", "LIMIT", MEMHEAP_BYTES,
			   "The tightest memory limit of its cgroups; null: none" },
	[MEMORY_USED] = { "limit_used_bytes", "OF LIMIT USED", MEMHEAP_BYTES,
			  "What the processes below that limit use, page cache included" },
};

const struct memheap_table_shape process_memory_shape = {
	.key = "process_memory",
	.title = "Memory as the kernel counts it",
	.flags = MEMHEAP_RECORD,
	.doc = "What the kernel counts for a live process, or counted when memheap wrote a core of "
	       "it; all null for other cores",
	COLUMNS(process_memory_columns),
};

static struct memheap_cell cell_known(uint64_t bytes)
{
	return bytes == MEMORY_UNKNOWN ? (struct memheap_cell){ 0 } : cell_number(bytes);
}

void add_process_memory(struct memheap_report *report)
{
	const struct taking *taking = &report->snapshot->target.process.taking;
	struct memheap_cell *row = report_row(report, &process_memory_shape);

	if (!taking->known)
		return;
	row[MEMORY_RSS] = cell_known(taking->memory.rss);
	row[MEMORY_ANONYMOUS] = cell_known(taking->memory.anonymous);
	row[MEMORY_FILE] = cell_known(taking->memory.file);
	row[MEMORY_SHARED] = cell_known(taking->memory.shared);
	row[MEMORY_SWAP] = cell_known(taking->memory.swap);
	row[MEMORY_PEAK] = cell_known(taking->memory.peak);
	row[MEMORY_LIMIT] = cell_known(taking->memory.limit);
	row[MEMORY_USED] = cell_known(taking->memory.used);
}

enum { RESIDENT_REGION, RESIDENT_MAPPED, RESIDENT_RESIDENT, RESIDENT_SWAPPED };

static const struct memheap_column resident_columns[] = {
	[RESIDENT_REGION] = { "region", "REGION", MEMHEAP_TEXT, "What the memory is" },
	[RESIDENT_MAPPED] = { "bytes", "MAPPED", MEMHEAP_BYTES, "Its size" },
	[RESIDENT_RESIDENT] = { "resident_bytes", "RESIDENT", MEMHEAP_BYTES,
				"Pages of it that are in memory (/proc/PID/pagemap)" },
	[RESIDENT_SWAPPED] = { "swapped_bytes", "SWAPPED", MEMHEAP_BYTES,
			       "Pages of it that are swapped out" },
};

const struct memheap_table_shape resident_shape = {
	.key = "resident",
	.title = "Where the RSS is",
	.doc = "A live process's resident memory by what it is, at the moment of the snapshot, or "
	       "when memheap wrote a core of it; no rows for other cores",
	COLUMNS(resident_columns),
};

static uint64_t bytes_within(const struct ranges *ranges, vaddr start, vaddr end)
{
	const struct range *range = ranges_after(ranges, start),
			   *last = ranges->items + ranges->count;
	uint64_t bytes = 0;

	for (; range && range < last && range->start < end; range++)
		bytes += MIN(range->end, end) - MAX(range->start, start);
	return bytes;
}

struct residency residency_of(const struct memheap_snapshot *s, vaddr start, vaddr end)
{
	const struct taking *taking = &s->target.process.taking;

	return (struct residency){
		.resident = bytes_within(&taking->resident, start, end),
		.swapped = bytes_within(&taking->swapped, start, end),
	};
}

void add_resident(struct memheap_report *report, const struct areas *areas)
{
	uint64_t mapped[AREA_KINDS] = { 0 };
	struct residency sums[AREA_KINDS] = { 0 };

	if (!report->snapshot->target.process.taking.known)
		return;
	for (size_t i = 0; i < areas->list.count; i++) {
		const struct area *area = &areas->list.items[i];
		struct residency own = residency_of(report->snapshot, area->start, area->end);

		mapped[area->kind] += area->end - area->start;
		sums[area->kind].resident += own.resident;
		sums[area->kind].swapped += own.swapped;
	}
	for (int i = 0; i < AREA_KINDS; i++) {
		struct memheap_cell *row;

		if (!mapped[i])
			continue;
		row = report_row(report, &resident_shape);
		row[RESIDENT_REGION] = cell_text(area_kind_name(i));
		row[RESIDENT_MAPPED] = cell_number(mapped[i]);
		row[RESIDENT_RESIDENT] = cell_number(sums[i].resident);
		row[RESIDENT_SWAPPED] = cell_number(sums[i].swapped);
	}
}
