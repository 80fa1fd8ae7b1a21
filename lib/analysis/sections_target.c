/* SPDX-License-Identifier: MIT */
/* What the target is, and how complete the answer about it. */
#include <elf.h>
#include <signal.h>
#include <string.h>

#include "sections.h"

#define COLUMNS(array) .columns = (array), .column_count = ARRAY_SIZE(array)

enum { TOOL_NAME, TOOL_VERSION, TOOL_LIBRARIES };

static const struct memheap_column tool_columns[] = {
	[TOOL_NAME] = { "name", "TOOL", MEMHEAP_TEXT, "Name of the program that made the report" },
	[TOOL_VERSION] = { "version", "VERSION", MEMHEAP_TEXT, "Its version" },
	[TOOL_LIBRARIES] = { "libraries", "LIBRARIES", MEMHEAP_TEXT,
			     "Libraries that it uses, with their versions" },
};

const struct memheap_table_shape tool_shape = {
	.key = "tool",
	.title = "Tool",
	.flags = MEMHEAP_RECORD,
	.doc = "What made this report",
	COLUMNS(tool_columns),
};

void add_tool(struct memheap_report *report)
{
	struct memheap_cell *row = report_row(report, &tool_shape);

	row[TOOL_NAME] = cell_text("memheap");
	row[TOOL_VERSION] = cell_text(memheap_version());
	row[TOOL_LIBRARIES] = cell_text(memheap_library_versions());
}

enum {
	TARGET_KIND,
	TARGET_PATH,
	TARGET_FILE_BYTES,
	TARGET_MACHINE,
	TARGET_PID,
	TARGET_PARENT_PID,
	TARGET_UID,
	TARGET_NAME,
	TARGET_EXECUTABLE,
	TARGET_COMMAND_LINE,
	TARGET_COMMAND_LINE_CUT,
	TARGET_SIGNAL,
	TARGET_SIGNAL_CODE,
	TARGET_SENDER_PID,
	TARGET_SENDER_UID,
	TARGET_FAULT_ADDRESS,
	TARGET_DEATH,
	TARGET_THREADS,
};

static const struct memheap_column target_columns[] = {
	[TARGET_KIND] = { "kind", "KIND", MEMHEAP_TEXT, "What was read: core or process" },
	[TARGET_PATH] = { "path", "FILE", MEMHEAP_TEXT, "The core file, or the process" },
	[TARGET_FILE_BYTES] = { "file_bytes", "FILE SIZE", MEMHEAP_BYTES, "Size of that file" },
	[TARGET_MACHINE] = { "machine", "MACHINE", MEMHEAP_TEXT, "Architecture (ELF header)" },
	[TARGET_PID] = { "pid", "PID", MEMHEAP_ID, "Process id (NT_PRPSINFO)" },
	[TARGET_PARENT_PID] = { "parent_pid", "PARENT", MEMHEAP_ID,
				"Process id of its parent (NT_PRPSINFO)" },
	[TARGET_UID] = { "uid", "UID", MEMHEAP_COUNT, "Its user (NT_PRPSINFO)" },
	[TARGET_NAME] = { "name", "NAME", MEMHEAP_TEXT,
			  "Its name, at most 15 bytes (NT_PRPSINFO)" },
	[TARGET_EXECUTABLE] = { "executable", "EXECUTABLE", MEMHEAP_TEXT,
				"Path of the program file (NT_FILE, NT_AUXV)" },
	[TARGET_COMMAND_LINE] = { "command_line", "COMMAND LINE", MEMHEAP_TEXT,
				  "Its arguments, from its stack; else as ps shows them "
				  "(NT_PRPSINFO)" },
	[TARGET_COMMAND_LINE_CUT] = { "command_line_cut", "CUT", MEMHEAP_FLAG,
				      "Whether the kernel kept only the first 79 bytes" },
	[TARGET_SIGNAL] = { "signal", "SIGNAL", MEMHEAP_TEXT,
			    "The signal that ended it (NT_SIGINFO, NT_PRSTATUS)" },
	[TARGET_SIGNAL_CODE] = { "signal_code", "CODE", MEMHEAP_NUMBER,
				 "si_code: 0 or less when a process sent the signal" },
	[TARGET_SENDER_PID] = { "sender_pid", "SENT BY", MEMHEAP_ID,
				"Process that sent the signal (NT_SIGINFO)" },
	[TARGET_SENDER_UID] = { "sender_uid", "SENDER'S UID", MEMHEAP_COUNT,
				"User of that process (NT_SIGINFO)" },
	[TARGET_FAULT_ADDRESS] = { "fault_address", "FAULT AT", MEMHEAP_ADDRESS,
				   "Address of the fault (NT_SIGINFO)" },
	[TARGET_DEATH] = { "death", "DIED", MEMHEAP_TEXT, "Why it died, in words" },
	[TARGET_THREADS] = { "threads", "THREADS", MEMHEAP_COUNT,
			     "Threads of the process (NT_PRSTATUS)" },
};

const struct memheap_table_shape target_shape = {
	.key = "target",
	.title = "Target",
	.flags = MEMHEAP_RECORD,
	.doc = "The process that was looked at, as the core's notes tell",
	COLUMNS(target_columns),
};

static const char *describe_machine(struct memheap_report *report, uint16_t machine)
{
	const char *name = machine_name(machine);

	return name ? name : report_text(report, "ELF machine %u", machine);
}

const char *signal_name(struct memheap_report *report, uint32_t number)
{
	const char *name = sigabbrev_np((int)number);

	return name ? report_text(report, "SIG%s", name) : report_text(report, "signal %u", number);
}

static const char *death(struct memheap_report *report, const struct process *process,
			 uint32_t number)
{
	const struct process_signal *signal = &process->signal;
	const char *name = signal_name(report, number);

	if (!signal->number)
		return name;
	if (signal->code > 0 && signal->code != SI_KERNEL)
		return report_text(report, "%s at address 0x%llx", name,
				   (unsigned long long)signal->address);
	if (signal->code > 0)
		return report_text(report, "%s sent by the kernel", name);
	if (signal->sender_pid == process->pid)
		return report_text(report, "%s sent by itself", name);
	return report_text(report, "%s sent by process %u of user %u", name, signal->sender_pid,
			   signal->sender_uid);
}

static void add_signal(struct memheap_report *report, const struct process *process,
		       struct memheap_cell *row)
{
	const struct process_signal *signal = &process->signal;
	uint32_t number = signal->number;

	if (!number && process->threads.count)
		number = process->threads.items[0].signal;
	if (report->snapshot->target.live) {
		row[TARGET_DEATH] = cell_text("it lives");
		return;
	}
	if (!number) {
		row[TARGET_DEATH] = cell_text("it did not die: the core was taken from outside");
		return;
	}
	row[TARGET_SIGNAL] = cell_text(signal_name(report, number));
	row[TARGET_DEATH] = cell_text(death(report, process, number));
	if (!signal->number)
		return;
	row[TARGET_SIGNAL_CODE] = cell_signed(signal->code);
	if (signal->code > 0) {
		row[TARGET_FAULT_ADDRESS] = cell_number(signal->address);
	} else {
		row[TARGET_SENDER_PID] = cell_number(signal->sender_pid);
		row[TARGET_SENDER_UID] = cell_number(signal->sender_uid);
	}
}

void add_target(struct memheap_report *report)
{
	const struct target *target = &report->snapshot->target;
	const struct process *process = &target->process;
	const struct module *executable = report->snapshot->modules.executable;
	struct memheap_cell *row = report_row(report, &target_shape);

	row[TARGET_KIND] = cell_text(target->live ? "process" : "core");
	row[TARGET_PATH] =
		cell_text(strings_add(&report->strings, target->path, strlen(target->path)));
	if (!target->live && !target->unpacked.stopped)
		row[TARGET_FILE_BYTES] = cell_number(target->file_size);
	row[TARGET_MACHINE] = cell_text(describe_machine(report, process->machine));
	if (process->name) {
		row[TARGET_PID] = cell_number(process->pid);
		row[TARGET_PARENT_PID] = cell_number(process->parent_pid);
		row[TARGET_UID] = cell_number(process->uid);
		row[TARGET_COMMAND_LINE_CUT] = cell_number(process->command_line_cut);
	}
	row[TARGET_NAME] = cell_text(process->name);
	row[TARGET_COMMAND_LINE] = cell_text(process->command_line);
	if (executable)
		row[TARGET_EXECUTABLE] = cell_text(executable->path);
	add_signal(report, process, row);
	row[TARGET_THREADS] = cell_number(process->threads.count);
}

enum {
	COMPLETE_PARTIAL,
	COMPLETE_IMAGE,
	COMPLETE_PRESENT,
	COMPLETE_REFILLED,
	COMPLETE_MISSING,
	COMPLETE_TRUNCATED,
	COMPLETE_FILE,
	COMPLETE_EXPECTED_FILE,
	COMPLETE_DAMAGED,
};

static const struct memheap_column completeness_columns[] = {
	[COMPLETE_PARTIAL] = { "partial", "PARTIAL", MEMHEAP_FLAG,
			       "Whether so much is missing or damaged that the answer is only a "
			       "part of the truth (exit code 5)" },
	[COMPLETE_IMAGE] = { "image_bytes", "IMAGE", MEMHEAP_BYTES,
			     "Size of the process's mappings: what a complete image would hold" },
	[COMPLETE_PRESENT] = { "present_bytes", "IN THE CORE", MEMHEAP_BYTES,
			       "Bytes of the image that the core holds, or that were taken from "
			       "the live process" },
	[COMPLETE_REFILLED] = { "refilled_bytes", "REFILLED", MEMHEAP_BYTES,
				"Bytes taken from the mapped files on disk" },
	[COMPLETE_MISSING] = { "missing_bytes", "MISSING", MEMHEAP_BYTES,
			       "Bytes that nobody knows; memory that was never touched among "
			       "them" },
	[COMPLETE_TRUNCATED] = { "truncated_bytes", "CUT OFF", MEMHEAP_BYTES,
				 "Missing bytes that the core's headers announce" },
	[COMPLETE_FILE] = { "file_bytes", "FILE SIZE", MEMHEAP_BYTES, "Size of the core file" },
	[COMPLETE_EXPECTED_FILE] = { "expected_file_bytes", "SHOULD BE", MEMHEAP_BYTES,
				     "Size that its headers announce" },
	[COMPLETE_DAMAGED] = { "damaged_bytes", "DAMAGED", MEMHEAP_BYTES,
			       "Bytes behind gaps of damage" },
};

const struct memheap_table_shape completeness_shape = {
	.key = "completeness",
	.title = "Completeness",
	.flags = MEMHEAP_RECORD,
	.doc = "How much of the process the core holds; image_bytes is the sum of present_bytes, "
	       "refilled_bytes and missing_bytes",
	COLUMNS(completeness_columns),
};

/* Gaps that mean damage: what is behind them is not accounted as what it is. */
static bool is_damage(enum gap_kind kind)
{
	switch (kind) {
	case GAP_ARENA_UNREADABLE:
	case GAP_ARENA_DAMAGED:
	case GAP_POOL_DAMAGED:
	case GAP_HEAP_UNREADABLE:
	case GAP_HEAP_DAMAGED:
	case GAP_HEAP_LIST_DAMAGED:
	case GAP_GC_LIST_DAMAGED:
	case GAP_FREE_LIST_DAMAGED:
	case GAP_INTERPRETER_DAMAGED:
	case GAP_GUARDS_DAMAGED:
		return true;
	default:
		return false;
	}
}

static uint64_t damaged_bytes(const struct gaps *gaps)
{
	uint64_t bytes = 0;

	for (int i = 0; i < GAP_KINDS; i++)
		bytes += is_damage(i) ? gaps->kinds[i].bytes : 0;
	return bytes;
}

/* An answer is partial when the core is cut off, or damage was met; a list, when it may lack cores
 * of Pythons. */
void set_status(struct memheap_report *report)
{
	const struct gaps *gaps = &report->gaps;

	report->status = MEMHEAP_DONE;
	for (int i = 0; i < GAP_KINDS; i++) {
		if (gaps->kinds[i].count &&
		    (is_damage(i) || i == GAP_CORE_TRUNCATED || i == GAP_STREAM_DAMAGED ||
		     i == GAP_TORN || i == GAP_CORE_UNREADABLE))
			report->status = MEMHEAP_PARTIAL;
	}
}

void add_completeness(struct memheap_report *report)
{
	const struct target *target = &report->snapshot->target;
	struct memheap_cell *row = report_row(report, &completeness_shape);
	uint64_t bytes[3] = { 0 }, truncated = 0;

	for (size_t i = 0; i < target->image.segments.count; i++) {
		const struct segment *segment = &target->image.segments.items[i];

		bytes[segment->origin] += segment->end - segment->start;
		truncated +=
			segment->truncated && !segment->bytes ? segment->end - segment->start : 0;
	}
	set_status(report);
	row[COMPLETE_PARTIAL] = cell_number(report->status == MEMHEAP_PARTIAL);
	row[COMPLETE_IMAGE] = cell_number(bytes[0] + bytes[1] + bytes[2]);
	row[COMPLETE_PRESENT] = cell_number(bytes[SEGMENT_DUMPED]);
	row[COMPLETE_REFILLED] = cell_number(bytes[SEGMENT_REFILLED]);
	row[COMPLETE_MISSING] = cell_number(bytes[SEGMENT_MISSING]);
	row[COMPLETE_TRUNCATED] = cell_number(truncated);
	if (!target->live && !target->unpacked.stopped)
		row[COMPLETE_FILE] = cell_number(target->file_size);
	if (!target->live)
		row[COMPLETE_EXPECTED_FILE] = cell_number(target->expected_size);
	row[COMPLETE_DAMAGED] = cell_number(damaged_bytes(&report->gaps));
}

enum { GAPS_GAP, GAPS_CODE, GAPS_COUNT, GAPS_BYTES, GAPS_ADDRESS, GAPS_TEXT };

static const struct memheap_column gaps_columns[] = {
	[GAPS_GAP] = { "gap", "GAP", MEMHEAP_TEXT, "What could not be seen: a stable key" },
	[GAPS_CODE] = { "code", "CODE", MEMHEAP_TEXT, "Its stable code" },
	[GAPS_COUNT] = { "count", "COUNT", MEMHEAP_COUNT, "How often it was met" },
	[GAPS_BYTES] = { "bytes", "BYTES", MEMHEAP_BYTES, "Bytes of the image, as far as known" },
	[GAPS_ADDRESS] = { "first_address", "FIRST AT", MEMHEAP_ADDRESS,
			   "The lowest address where it was met" },
	[GAPS_TEXT] = { "message", "WHAT IT MEANS", MEMHEAP_TEXT, "What it means" },
};

const struct memheap_table_shape gaps_shape = {
	.key = "gaps",
	.title = "Gaps",
	.doc = "What could not be seen, counted; no rows when everything was",
	COLUMNS(gaps_columns),
};

void add_gaps(struct memheap_report *report)
{
	for (int i = 0; i < GAP_KINDS; i++) {
		const struct gap *gap = &report->gaps.kinds[i];
		struct memheap_cell *row;

		if (!gap->count)
			continue;
		row = report_row(report, &gaps_shape);
		row[GAPS_GAP] = cell_text(gap_infos[i].key);
		row[GAPS_CODE] = cell_text(gap_infos[i].code);
		row[GAPS_COUNT] = cell_number(gap->count);
		row[GAPS_BYTES] = cell_number(gap->bytes);
		row[GAPS_ADDRESS] = cell_number(gap->first);
		row[GAPS_TEXT] = cell_text(gap_infos[i].text);
	}
}

enum { DIAGNOSTICS_CODE, DIAGNOSTICS_LEVEL, DIAGNOSTICS_MESSAGE, DIAGNOSTICS_HINT };

static const struct memheap_column diagnostics_columns[] = {
	[DIAGNOSTICS_CODE] = { "code", "CODE", MEMHEAP_TEXT, "Its stable code: MHnnnn" },
	[DIAGNOSTICS_LEVEL] = { "level", "LEVEL", MEMHEAP_TEXT, "info or warning" },
	[DIAGNOSTICS_MESSAGE] = { "message", "MESSAGE", MEMHEAP_TEXT, "What was met" },
	[DIAGNOSTICS_HINT] = { "hint", "HINT", MEMHEAP_TEXT, "What can be done about it" },
};

const struct memheap_table_shape diagnostics_shape = {
	.key = "diagnostics",
	.title = "Diagnostics",
	.doc = "What the reader should know beside the numbers",
	COLUMNS(diagnostics_columns),
};

void add_diagnostics(struct memheap_report *report)
{
	add_notices(report, &report->snapshot->notices);
}

void add_notices(struct memheap_report *report, const struct notices *notices)
{
	for (size_t i = 0; i < notices->list.count; i++) {
		const struct notice *notice = &notices->list.items[i];
		const struct notice_info *info = &notice_infos[notice->kind];
		struct memheap_cell *row = report_row(report, &diagnostics_shape);

		row[DIAGNOSTICS_CODE] = cell_text(info->code);
		row[DIAGNOSTICS_LEVEL] = cell_text(info->level);
		row[DIAGNOSTICS_MESSAGE] = cell_text(notice->text);
		row[DIAGNOSTICS_HINT] = cell_text(*notice->hint ? notice->hint : NULL);
	}
}
