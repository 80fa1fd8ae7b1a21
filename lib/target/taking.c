/* SPDX-License-Identifier: MIT */
#include "taking.h"

#include <stdlib.h>
#include <string.h>

#include "../base/vaddr.h"

#define VERSION 1

#define LISTS 3

/* The note: this, {start, end} of all ranges, list after list, then the text of what was passed
 * over. Little-endian. */
struct encoded {
	uint32_t version;
	uint32_t mode;
	uint64_t pause_ns;
	uint64_t copied;
	uint64_t while_stopped;
	uint32_t state;
	uint32_t left_zombie;
	struct live_memory memory;
	uint64_t counts[LISTS]; /* of ranges: resident, swapped, torn */
};

static const char *const mode_names[] = {
	[MEMHEAP_MODE_AUTO] = "auto",       [MEMHEAP_MODE_FORK] = "fork",
	[MEMHEAP_MODE_PRECOPY] = "precopy", [MEMHEAP_MODE_STOP] = "stop",
	[MEMHEAP_MODE_NOSTOP] = "nostop",
};

const char *taking_mode_name(enum memheap_mode mode)
{
	return mode_names[mode];
}

uint64_t taking_torn(const struct taking *taking)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < taking->torn.count; i++)
		bytes += taking->torn.items[i].end - taking->torn.items[i].start;
	return bytes;
}

uint8_t *taking_encode(const struct taking *taking, size_t *size)
{
	const struct ranges *lists[LISTS] = { &taking->resident, &taking->swapped, &taking->torn };
	struct encoded head = {
		.version = VERSION,
		.mode = taking->mode,
		.pause_ns = taking->pause_ns,
		.copied = taking->copied,
		.while_stopped = taking->while_stopped,
		.state = (uint8_t)taking->state,
		.left_zombie = taking->left_zombie,
		.memory = taking->memory,
	};
	size_t text = taking->passed ? strlen(taking->passed) : 0;
	uint8_t *bytes, *at;

	*size = sizeof(head) + text;
	for (int i = 0; i < LISTS; i++) {
		head.counts[i] = lists[i]->count;
		*size += lists[i]->count * sizeof(struct range);
	}
	bytes = malloc(*size);
	if (!bytes)
		return NULL;
	at = mempcpy(bytes, &head, sizeof(head));
	for (int i = 0; i < LISTS; i++) {
		if (lists[i]->count)
			at = mempcpy(at, lists[i]->items, lists[i]->count * sizeof(struct range));
	}
	if (text)
		memcpy(at, taking->passed, text);
	return bytes;
}

/* Takes `count` ranges from the beginning of what is left. False: out of memory. */
static bool decode_ranges(struct ranges *ranges, uint64_t count, const uint8_t **at, size_t *left)
{
	for (; count && *left >= sizeof(struct range); count--) {
		struct range range;

		memcpy(&range, *at, sizeof(range));
		*at += sizeof(range);
		*left -= sizeof(range);
		if (range.start < range.end && !ranges_add(ranges, range.start, range.end))
			return false;
	}
	ranges_join(ranges);
	return true;
}

bool taking_decode(struct taking *taking, const uint8_t *bytes, size_t size,
		   struct strings *strings)
{
	struct ranges *lists[LISTS] = { &taking->resident, &taking->swapped, &taking->torn };
	struct encoded head;

	if (taking->known || size < sizeof(head))
		return true;
	memcpy(&head, bytes, sizeof(head));
	if (head.version != VERSION || head.mode >= ARRAY_SIZE(mode_names))
		return true;
	*taking = (struct taking){
		.known = true,
		.mode = (enum memheap_mode)head.mode,
		.pause_ns = head.pause_ns,
		.copied = head.copied,
		.while_stopped = head.while_stopped,
		.state = (char)head.state,
		.left_zombie = head.left_zombie,
		.memory = head.memory,
	};
	bytes += sizeof(head);
	size -= sizeof(head);
	for (int i = 0; i < LISTS; i++) {
		if (!decode_ranges(lists[i], head.counts[i], &bytes, &size))
			return false;
	}
	if (size)
		taking->passed = strings_add(strings, (const char *)bytes, size);
	return !size || taking->passed;
}

void taking_count(const struct taking *taking, struct gaps *gaps)
{
	for (size_t i = 0; i < taking->torn.count; i++)
		gap_add(gaps, GAP_TORN, taking->torn.items[i].start,
			taking->torn.items[i].end - taking->torn.items[i].start);
}

void taking_deinit(struct taking *taking)
{
	ranges_deinit(&taking->resident);
	ranges_deinit(&taking->swapped);
	ranges_deinit(&taking->torn);
}
