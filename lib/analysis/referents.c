/* SPDX-License-Identifier: MIT */
#include "referents.h"

#include <stdlib.h>

static void add(void *closure, block_id to, const struct reference *reference)
{
	struct referents *referents = closure;
	uint64_t *address = vector_push(&referents->kinds[reference->kind].list);

	(void)to;
	if (address)
		*address = reference->to;
	else
		referents->failed = true;
}

bool referents_collect(struct referents *referents, const struct memheap_snapshot *s, block_id id)
{
	struct heap_view view = { &s->objects, &s->blocks, &s->python };
	struct object object;

	for (int i = 0; i < REFERENCE_KINDS; i++)
		referents->kinds[i].list.count = 0;
	return object_get(&view, id, &object) && references_visit(&view, &object, add, referents);
}

void referents_deinit(struct referents *referents)
{
	for (int i = 0; i < REFERENCE_KINDS; i++)
		free(referents->kinds[i].list.items);
	*referents = (struct referents){ 0 };
}

struct memheap_cell referents_cell(struct referents *referents, enum reference_kind kind)
{
	struct memheap_addresses *cell = &referents->kinds[kind].cell;

	cell->items = referents->kinds[kind].list.items;
	cell->count = referents->kinds[kind].list.count;
	return (struct memheap_cell){ .addresses = cell, .present = true };
}
