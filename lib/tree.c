/* SPDX-License-Identifier: MIT */
/* A process and its descendants, taken one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"
#include "target/live/live.h"
#include "target/live/refuse.h"

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct tree_type *)a)->name, ((const struct tree_type *)b)->name);
}

static int compare_sizes(const void *a, const void *b)
{
	const struct tree_type *left = a, *right = b;

	if (left->occupied_bytes != right->occupied_bytes)
		return left->occupied_bytes > right->occupied_bytes ? -1 : 1;
	return compare_names(a, b);
}

/* Adds the types of one process as rows of their own. */
static bool add_types(struct tree *tree, struct tree_process *process,
		      const struct memheap_snapshot *s)
{
	for (size_t i = 0; i < s->objects.types.list.count; i++) {
		const struct type_totals *totals = &s->objects.by_type[i];
		const char *name = s->objects.types.list.items[i].name;
		struct tree_type *type;

		if (!totals->objects)
			continue;
		type = vector_push(&tree->types);
		if (!type)
			return false;
		*type = (struct tree_type){
			.name = strings_add(&tree->strings, name, strlen(name)),
			.processes = 1,
			.objects = totals->objects,
			.occupied_bytes = totals->block_bytes + totals->buffer_bytes,
		};
		if (!type->name)
			return false;
		process->objects += type->objects;
		process->occupied_bytes += type->occupied_bytes;
	}
	return true;
}

/* Makes one row of the rows of each name. */
static void merge_types(struct tree *tree)
{
	struct tree_type *types = tree->types.items;
	size_t kept = 0;

	if (!tree->types.count)
		return;
	qsort(types, tree->types.count, sizeof(*types), compare_names);
	for (size_t i = 0; i < tree->types.count; i++) {
		if (!kept || strcmp(types[kept - 1].name, types[i].name)) {
			types[kept++] = types[i];
			continue;
		}
		types[kept - 1].processes += types[i].processes;
		types[kept - 1].objects += types[i].objects;
		types[kept - 1].occupied_bytes += types[i].occupied_bytes;
	}
	tree->types.count = kept;
}

/* Takes and decodes one process; what fails is said in its row. */
static struct memheap_error *take_member(struct tree *tree, const struct family_member *member,
					 const struct memheap_options *options)
{
	struct tree_process *process = vector_push(&tree->list);
	struct memheap_snapshot *s = NULL;
	struct memheap_error *error;
	char path[16];
	bool added;

	if (!process)
		return &error_no_memory;
	*process = (struct tree_process){ 0 };
	snprintf(path, sizeof(path), "%d", (int)member->pid);
	error = memheap_snapshot_create(path, options, MEMHEAP_OBJECTS, &s);
	if (error) {
		process->problem =
			strings_add(&tree->strings, error->message, strlen(error->message));
		memheap_error_destroy(error);
		return NULL;
	}
	process->mode = taking_mode_name(s->target.process.taking.mode);
	process->pause_ns = s->target.process.taking.pause_ns;
	added = add_types(tree, process, s);
	memheap_snapshot_destroy(s);
	merge_types(tree);
	return added ? NULL : &error_no_memory;
}

struct memheap_error *memheap_tree_create(const char *path, const struct memheap_options *options,
					  struct memheap_snapshot **ret)
{
	struct memheap_snapshot *s = calloc(1, sizeof(*s));
	struct proc_status status;
	struct memheap_error *error;

	if (!s)
		return &error_no_memory;
	s->stage = MEMHEAP_TREE;
	s->target.fd = -1;
	error = refuse_pid((pid_t)atoi(path), &status);
	if (!error)
		error = family_find(&s->tree.family, (pid_t)atoi(path));
	for (size_t i = 0; !error && i < s->tree.family.list.count; i++)
		error = take_member(&s->tree, &s->tree.family.list.items[i], options);
	if (error) {
		memheap_snapshot_destroy(s);
		return error;
	}
	if (s->tree.types.count)
		qsort(s->tree.types.items, s->tree.types.count, sizeof(*s->tree.types.items),
		      compare_sizes);
	*ret = s;
	return NULL;
}

void tree_deinit(struct tree *tree)
{
	family_deinit(&tree->family);
	free(tree->list.items);
	free(tree->types.items);
	strings_deinit(&tree->strings);
	*tree = (struct tree){ 0 };
}
