/* SPDX-License-Identifier: MIT */
#include "taking.h"

#include <stdlib.h>
#include <string.h>

#include "../base/vaddr.h"

#define VERSION 1

/* The note: this, `torn` × {start, end}, then the text of what was passed over. Little-endian. */
struct encoded {
	uint32_t version;
	uint32_t mode;
	uint64_t pause_ns;
	uint64_t copied;
	uint64_t while_stopped;
	uint32_t state;
	uint32_t left_zombie;
	uint64_t torn;
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
	const struct encoded head = {
		.version = VERSION,
		.mode = taking->mode,
		.pause_ns = taking->pause_ns,
		.copied = taking->copied,
		.while_stopped = taking->while_stopped,
		.state = (uint8_t)taking->state,
		.left_zombie = taking->left_zombie,
		.torn = taking->torn.count,
	};
	size_t ranges = taking->torn.count * sizeof(*taking->torn.items);
	size_t text = taking->passed ? strlen(taking->passed) : 0;
	uint8_t *bytes = malloc(sizeof(head) + ranges + text);

	if (!bytes)
		return NULL;
	*size = sizeof(head) + ranges + text;
	memcpy(bytes, &head, sizeof(head));
	if (ranges)
		memcpy(bytes + sizeof(head), taking->torn.items, ranges);
	if (text)
		memcpy(bytes + sizeof(head) + ranges, taking->passed, text);
	return bytes;
}

bool taking_decode(struct taking *taking, const uint8_t *bytes, size_t size,
		   struct strings *strings)
{
	struct encoded head;
	size_t text;

	if (taking->known || size < sizeof(head))
		return true;
	memcpy(&head, bytes, sizeof(head));
	if (head.version != VERSION || head.mode >= ARRAY_SIZE(mode_names) ||
	    head.torn > (size - sizeof(head)) / sizeof(struct range))
		return true;
	*taking = (struct taking){
		.known = true,
		.mode = (enum memheap_mode)head.mode,
		.pause_ns = head.pause_ns,
		.copied = head.copied,
		.while_stopped = head.while_stopped,
		.state = (char)head.state,
		.left_zombie = head.left_zombie,
	};
	for (size_t i = 0; i < head.torn; i++) {
		struct range range;

		memcpy(&range, bytes + sizeof(head) + i * sizeof(range), sizeof(range));
		if (range.start < range.end && !ranges_add(&taking->torn, range.start, range.end))
			return false;
	}
	ranges_join(&taking->torn);
	text = sizeof(head) + (size_t)head.torn * sizeof(struct range);
	if (text < size)
		taking->passed = strings_add(strings, (const char *)bytes + text, size - text);
	return text == size || taking->passed;
}

void taking_count(const struct taking *taking, struct gaps *gaps)
{
	for (size_t i = 0; i < taking->torn.count; i++)
		gap_add(gaps, GAP_TORN, taking->torn.items[i].start,
			taking->torn.items[i].end - taking->torn.items[i].start);
}

void taking_deinit(struct taking *taking)
{
	ranges_deinit(&taking->torn);
}
