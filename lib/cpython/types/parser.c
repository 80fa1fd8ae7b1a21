/* SPDX-License-Identifier: MIT */
/* parser.st (up to 3.9): a concrete syntax tree. Modules/parsermodule.c, Include/node.h */
#include "decoders.h"

/* PyST_Object */
#define ST_NODE  16
#define ST_BYTES 24 /* what is needed of it */

/* struct _node */
#define NODE_STR         8
#define NODE_CHILD_COUNT 24
#define NODE_CHILDREN    32
#define NODE_BYTES       40 /* what is needed of it; 3.8 has added members */

#define DEPTH_MAX      6000 /* MAXSTACK, Parser/parser.h */
#define NODES_MAX      (1 << 22)
#define EXACT_MAX      1
#define ALIGNED_MAX    128
#define ALIGNED_STEP   4
#define FIRST_DOUBLING 256

/* How many children there is room for: Parser/node.c, XXXROUNDUP() */
static uint64_t children_room(uint64_t count)
{
	uint64_t room = FIRST_DOUBLING;

	if (count <= EXACT_MAX)
		return count;
	if (count <= ALIGNED_MAX)
		return round_up(count, ALIGNED_STEP);
	while (room < count)
		room *= 2;
	return room;
}

static uint64_t node_size(const struct measure *measure)
{
	return layout_offset(measure->memory->layout, SIZE_SYNTAX_NODE);
}

/* Parser/node.c, sizeofchildren(); `budget` ends what no parser has made. */
static void measure_node(struct measure *measure, vaddr at, uint32_t *budget, int depth)
{
	const uint8_t *bytes = image_at(measure->memory->image, at, NODE_BYTES);
	uint32_t count;
	uint64_t room;
	vaddr children;

	if (!bytes || depth > DEPTH_MAX || !*budget) {
		measure->unreadable = true;
		return;
	}
	--*budget;
	count = load_u32(bytes + NODE_CHILD_COUNT);
	children = load_u64(bytes + NODE_CHILDREN);
	measure->size += own_string(measure, load_u64(bytes + NODE_STR), BUFFER_SYNTAX_TREE);
	if (!children)
		return;
	room = children_room(count) * node_size(measure);
	measure->size += room;
	own(measure, children, room, BUFFER_SYNTAX_TREE);
	for (uint32_t i = 0; i < count && *budget; i++)
		measure_node(measure, children + i * node_size(measure), budget, depth + 1);
}

static bool syntax_tree_measure(struct measure *measure, const struct object *object)
{
	uint32_t budget = NODES_MAX;
	vaddr node;

	if (!basic_measure(measure, object) || measure->size < ST_BYTES)
		return false;
	node = load_u64(object->bytes + ST_NODE);
	if (!node)
		return true;
	measure->size += node_size(measure);
	own(measure, node, node_size(measure), BUFFER_SYNTAX_TREE);
	measure_node(measure, node, &budget, 0);
	return true;
}

const struct decoder decoder_syntax_tree = {
	.type_name = "parser.st",
	.size = FIELD_COUNT,
	.measure = syntax_tree_measure,
};
