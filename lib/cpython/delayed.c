/* SPDX-License-Identifier: MIT */
#include "delayed.h"

#include "../base/cleanup.h"
#include "../base/id_map.h"

struct queues {
	const struct memory *memory;
	waiting_fn *see;
	void *closure;
};

/* What a chunk of a queue holds between its two indices. The lowest bit tells objects from other
 * memory; where objects only lose a reference, they live. */
static void see_items(const struct queues *queues, vaddr chunk)
{
	const struct memory *memory = queues->memory;
	const struct layout *layout = memory->layout;
	vaddr items = memory_address(memory, chunk, FIELD_DELAYED_ITEMS);
	uint64_t room = layout->fields[FIELD_DELAYED_ITEMS].size;
	uint64_t size = layout_offset(layout, SIZE_DELAYED_ITEM), begin, end, item;

	if (!size || !memory_field(memory, chunk, FIELD_DELAYED_READ, &begin) ||
	    !memory_field(memory, chunk, FIELD_DELAYED_WRITE, &end))
		return;
	for (uint64_t i = begin; i < MIN(end, room / size); i++) {
		if (!image_u64(memory->image, items + i * size, &item))
			return;
		queues->see(queues->closure, item & ~1ULL,
			    item & 1 && layout_knows(layout, CONSTANT_DELAYED_REFERENCES));
	}
}

/* The chunks of a queue are linked in a ring through its head; the link is their first word. */
static void see_queue(const struct queues *queues, vaddr head)
{
	_cleanup_(id_map_deinit) struct id_map met = { 0 };
	const struct image *image = queues->memory->image;
	uint64_t chunk;

	if (!image_u64(image, head, &chunk))
		return;
	while (chunk && chunk != head && id_map_meet(&met, chunk)) {
		see_items(queues, chunk);
		queues->see(queues->closure, chunk, false);
		if (!image_u64(image, chunk, &chunk))
			return;
	}
}

void delayed_each(const struct python *python, waiting_fn *see, void *closure)
{
	const struct memory *memory = &python->memory;
	const struct queues queues = { memory, see, closure };

	if (!layout_has(memory->layout, FIELD_THREAD_DELAYED))
		return;
	for (size_t i = 0; i < python->threads.count; i++)
		see_queue(&queues, memory_address(memory, python->threads.items[i].at,
						  FIELD_THREAD_DELAYED));
	if (!layout_has(memory->layout, FIELD_INTERP_DELAYED))
		return;
	for (size_t i = 0; i < python->interpreters.count; i++)
		see_queue(&queues, memory_address(memory, python->interpreters.items[i].at,
						  FIELD_INTERP_DELAYED));
}
