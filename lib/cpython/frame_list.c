/* SPDX-License-Identifier: MIT */
#include "frame_list.h"

#include <stdlib.h>

#include "lines.h"
#include "values.h"

#define FRAMES_MAX (1 << 20)
#define NAME_MAX   1024
#define UNIT_BYTES 2 /* of an instruction */
#define TAG_BITS   3 /* 3.14: f_executable is a tagged reference */

/* Where the next instruction of a frame is in its code, in bytes. */
static uint64_t instruction_offset(const struct memory *memory, const struct thread_frame *frame)
{
	const struct layout *layout = memory->layout;
	uint64_t at, first;

	if (!layout_has(layout, FIELD_INNER_FRAME_INSTRUCTION)) {
		if (!memory_field(memory, frame->at, FIELD_FRAME_LAST_INSTRUCTION, &at))
			return 0;
		at = (int32_t)at < 0 ? 0 : at;
		return layout_knows(layout, CONSTANT_LINE_RANGES) ? at * UNIT_BYTES : at;
	}
	first = memory_address(memory, frame->code, FIELD_CODE_INSTRUCTIONS);
	if (!memory_field(memory, frame->at, FIELD_INNER_FRAME_INSTRUCTION, &at) || at < first)
		return 0;
	return at - first;
}

/* Reads the frame at `at`; false when it has no code: it is the entry of a C function. */
static bool read_frame(const struct memory *memory, vaddr at, struct thread_frame *frame)
{
	bool inner = layout_has(memory->layout, FIELD_INNER_FRAME_CODE);
	uint64_t code, names;

	frame->at = at;
	if (!memory_field(memory, at, inner ? FIELD_INNER_FRAME_CODE : FIELD_FRAME_CODE, &code))
		return false;
	frame->code = inner ? code & ~(uint64_t)TAG_BITS : code;
	if (!memory_field(memory, frame->code, FIELD_CODE_FILENAME, &names) || !names)
		return false;
	frame->line = code_line(memory, frame->code, instruction_offset(memory, frame));
	return true;
}

/* The innermost frame of a thread: 3.11 and 3.12 have it in a structure on the C stack. */
static vaddr first_frame(const struct memory *memory, vaddr thread)
{
	uint64_t at;

	if (layout_has(memory->layout, FIELD_C_FRAME_CURRENT) &&
	    memory_field(memory, thread, FIELD_THREAD_C_FRAME, &at))
		return memory_field(memory, at, FIELD_C_FRAME_CURRENT, &at) ? at : 0;
	return memory_field(memory, thread, FIELD_THREAD_FRAME, &at) ? at : 0;
}

static bool add_frames(struct frame_list *frames, const struct python *python, uint32_t thread)
{
	const struct memory *memory = &python->memory;
	bool inner = layout_has(memory->layout, FIELD_INNER_FRAME_PREVIOUS);
	uint64_t at = first_frame(memory, python->threads.items[thread].at);
	struct id_map met = { 0 };
	uint32_t depth = 0;

	for (int i = 0; at && i < FRAMES_MAX && id_map_meet(&met, at); i++) {
		struct thread_frame frame = { .thread = thread, .depth = depth };

		if (read_frame(memory, at, &frame)) {
			struct thread_frame *added = vector_push(&frames->list);

			if (!added) {
				id_map_deinit(&met);
				return false;
			}
			*added = frame;
			depth++;
		}
		if (!memory_field(memory, at, inner ? FIELD_INNER_FRAME_PREVIOUS : FIELD_FRAME_BACK,
				  &at))
			break;
	}
	id_map_deinit(&met);
	return true;
}

bool frame_list_find(struct frame_list *frames, const struct python *python)
{
	for (uint32_t i = 0; i < python->threads.count; i++) {
		if (!add_frames(frames, python, i))
			return false;
	}
	return true;
}

void frame_list_deinit(struct frame_list *frames)
{
	free(frames->list.items);
	*frames = (struct frame_list){ 0 };
}

const char *thread_frame_name(const struct python *python, const struct thread_frame *frame,
			      struct strings *strings)
{
	const struct memory *memory = &python->memory;
	const char *name = NULL, *file = NULL;
	uint64_t at;

	if (memory_field(memory, frame->code, FIELD_CODE_QUALNAME, &at) ||
	    memory_field(memory, frame->code, FIELD_CODE_NAME, &at))
		name = str_value(memory, at, NAME_MAX, strings);
	if (memory_field(memory, frame->code, FIELD_CODE_FILENAME, &at))
		file = str_value(memory, at, NAME_MAX, strings);
	return strings_format(strings, "%s() at %s:%u", name ? name : "?", file ? file : "?",
			      frame->line);
}
