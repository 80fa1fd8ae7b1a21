/* SPDX-License-Identifier: MIT */
#include "roots.h"

#include <stdlib.h>

#include "../base/bisect.h"
#include "names.h"

#define GRAIN 4096

struct PER_WORKER finds {
	VECTOR(struct root) list;
	bool failed; /* out of memory */
};

struct search {
	struct roots *roots;
	const struct graph *graph;
	const struct root_sources *sources;
	struct finds *finds; /* by worker */
	bool failed;         /* out of memory */
};

/* Adds the object that begins at `to`, if one does. */
static void add_root(struct search *search, enum root_kind kind, vaddr at, vaddr to,
		     const char *name)
{
	object_id object = graph_find(search->graph, search->sources->view->map, to);
	struct root *root;

	if (object == OBJECT_NONE)
		return;
	root = vector_push(&search->roots->list);
	if (root)
		*root = (struct root){ object, kind, at, name };
	else
		search->failed = true;
}

/* Whether an interpreter's state has a slot of a free list at that offset. */
static bool is_free_slot(const struct layout *layout, uint64_t offset)
{
	static const enum field_id lists[] = {
		FIELD_FLOAT_FREE_LIST,        FIELD_TUPLE_FREE_LISTS,    FIELD_LIST_FREE_LIST,
		FIELD_DICT_FREE_LIST,         FIELD_KEYS_FREE_LIST,      FIELD_CONTEXT_FREE_LIST,
		FIELD_FRAME_FREE_LIST,        FIELD_GEN_VALUE_FREE_LIST, FIELD_GEN_SEND_FREE_LIST,
		FIELD_MEMORY_ERROR_FREE_LIST,
	};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const struct field *field = &layout->fields[lists[i]];

		if (layout_has(layout, lists[i]) && offset >= field->offset &&
		    offset < (uint64_t)field->offset + field->size)
			return true;
	}
	return false;
}

/* Whether the word at `at` holds nothing: a slot of a free list leads to no live object, or was
 * not cleared when an object was taken from there. Where a static interpreter lies in module data,
 * its words are searched as such, too. */
static bool holds_nothing(const struct python *python, vaddr at)
{
	uint64_t size = layout_offset(&python->layout, SIZE_INTERP);

	for (size_t i = 0; i < python->interpreters.count; i++) {
		uint64_t offset = at - python->interpreters.items[i].at;

		if (offset < size && is_free_slot(&python->layout, offset))
			return true;
	}
	return false;
}

/* Adds what the words of [at, at + size) lead to, as far as they can be read. */
static void add_words(struct search *search, enum root_kind kind, vaddr at, uint64_t size)
{
	const struct python *python = search->sources->view->python;
	uint64_t room;
	const uint8_t *bytes = image_room(python->memory.image, at, &room);

	for (uint64_t i = 0; bytes && i + sizeof(vaddr) <= MIN(size, room); i += sizeof(vaddr)) {
		vaddr to = load_u64(bytes + i);

		if (to && to % sizeof(vaddr) == 0 && !holds_nothing(python, at + i))
			add_root(search, kind, at + i, to, NULL);
	}
}

static void add_modules(struct search *search)
{
	const struct python *python = search->sources->view->python;

	for (size_t i = 0; i < python->interpreters.count; i++)
		add_root(search, ROOT_MODULES, 0, python->interpreters.items[i].modules,
			 "sys.modules");
}

static void add_interpreters(struct search *search)
{
	const struct python *python = search->sources->view->python;

	for (size_t i = 0; i < python->interpreters.count; i++) {
		const struct interpreter *interpreter = &python->interpreters.items[i];

		add_root(search, ROOT_INTERPRETER, 0, interpreter->sys, "sys.__dict__");
		add_root(search, ROOT_INTERPRETER, 0, interpreter->builtins, "builtins.__dict__");
	}
}

static void add_states(struct search *search)
{
	const struct python *python = search->sources->view->python;

	for (size_t i = 0; i < python->interpreters.count; i++)
		add_words(search, ROOT_STATE, python->interpreters.items[i].at,
			  layout_offset(&python->layout, SIZE_INTERP));
}

static void add_threads(struct search *search)
{
	const struct python *python = search->sources->view->python;

	for (size_t i = 0; i < python->threads.count; i++)
		add_words(search, ROOT_THREAD, python->threads.items[i].at,
			  layout_offset(&python->layout, SIZE_THREAD));
}

/* A frame that is being visited. */
struct frame_visit {
	struct search *search;
	const struct thread_frame *frame;
	const char *name; /* of the frame */
};

static void see_local(void *closure, const struct reference *reference)
{
	const struct frame_visit *visit = closure;
	struct search *search = visit->search;
	struct strings *strings = &search->roots->strings;
	const char *name = reference_name(search->sources->view, reference, false, strings);

	name = name && visit->name ? strings_format(strings, "%s in %s",
						    *name == '.' ? name + 1 : name, visit->name)
				   : NULL;
	search->failed |= !name;
	add_root(search, ROOT_FRAME, visit->frame->at, reference->to, name);
}

static void add_frame(struct search *search, const struct thread_frame *frame)
{
	const struct heap_view *view = search->sources->view;
	struct frame_visit visit = {
		.search = search,
		.frame = frame,
		.name = thread_frame_name(view->python, frame, &search->roots->strings),
	};
	struct visitor visitor = {
		.memory = &view->python->memory,
		.see = see_local,
		.closure = &visit,
		.strong = REFERENCE_STRONG,
	};

	if (layout_has(&view->python->layout, FIELD_INNER_FRAME_CODE))
		frame_visit_inner(&visitor, frame->at, true);
	else
		add_root(search, ROOT_FRAME, frame->at, frame->at,
			 strings_format(&search->roots->strings, "frame of %s", visit.name));
}

static void add_statics(struct search *search)
{
	const struct block_map *map = search->sources->view->map;

	for (size_t i = 0; i < map->statics.count; i++) {
		block_tag tag = map->tags[map->first_static + i];
		const char *name;

		if (tag_state(tag) != BLOCK_OBJECT)
			continue;
		name = search->sources->view->objects->types.list.items[tag_type(tag)].name;
		add_root(search, ROOT_STATIC, map->statics.items[i].at, map->statics.items[i].at,
			 strings_format(&search->roots->strings, "static %s", name));
	}
}

static void add_module_data(struct search *search)
{
	const struct image *image = search->sources->view->python->memory.image;

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];

		add_words(search, ROOT_MODULE_DATA, segment->start,
			  modules_data_size(search->sources->modules, segment));
	}
}

/* Stacks are in use from where the stack pointer stands. */
static void add_stacks(struct search *search)
{
	const struct root_sources *sources = search->sources;

	for (size_t i = 0; i < sources->stacks->list.count; i++) {
		const struct stack *stack = &sources->stacks->list.items[i];
		vaddr sp = sources->process->threads.items[stack->thread].sp;
		vaddr from = round_down(sp, sizeof(vaddr));

		if (from < stack->start || from >= stack->end)
			from = stack->start;
		add_words(search, ROOT_STACK, from, stack->end - from);
	}
}

/* Searches blocks [begin, end) that C code uses, the interpreter's own among them. */
static void search_blocks(void *context, unsigned worker, size_t begin, size_t end)
{
	const struct search *search = context;
	const struct heap_view *view = search->sources->view;
	struct finds *finds = &search->finds[worker];

	for (block_id id = (block_id)begin; id < end; id++) {
		block_tag tag = view->map->tags[id];
		struct block block;
		const uint8_t *bytes;

		if (tag_state(tag) != BLOCK_USED &&
		    !(tag_state(tag) == BLOCK_BUFFER && (tag_detail(tag) == BUFFER_MODULE_DATA ||
							 tag_detail(tag) == BUFFER_INTERPRETER)))
			continue;
		block = block_get(view->map, id);
		bytes = image_at(view->python->memory.image, block.start, block.size);
		for (uint64_t at = 0; bytes && at + sizeof(vaddr) <= block.size;
		     at += sizeof(vaddr)) {
			vaddr to = load_u64(bytes + at);
			object_id object = to && to % sizeof(vaddr) == 0
						   ? graph_find(search->graph, view->map, to)
						   : OBJECT_NONE;
			struct root *root;

			if (object == OBJECT_NONE)
				continue;
			root = vector_push(&finds->list);
			if (root)
				*root = (struct root){ object, ROOT_C_MEMORY, block.start + at,
						       NULL };
			else
				finds->failed = true;
		}
	}
}

static int compare_roots(const void *a, const void *b)
{
	const struct root *left = a, *right = b;

	return left->at < right->at ? -1 : left->at > right->at;
}

static bool add_c_memory(struct search *search, const struct parallel *parallel)
{
	struct roots *roots = search->roots;
	size_t first = roots->list.count;

	search->finds = parallel_results(parallel, sizeof(*search->finds));
	if (!search->finds)
		return false;
	parallel_for(parallel, "searching C memory", search->sources->view->map->first_static,
		     GRAIN, search_blocks, search);
	for (unsigned i = 0; i < parallel->workers; i++) {
		struct finds *finds = &search->finds[i];

		search->failed |= finds->failed;
		for (size_t j = 0; j < finds->list.count; j++) {
			struct root *root = vector_push(&roots->list);

			if (root)
				*root = finds->list.items[j];
			else
				search->failed = true;
		}
		free(finds->list.items);
	}
	free(search->finds);
	if (roots->list.count > first)
		qsort(roots->list.items + first, roots->list.count - first,
		      sizeof(*roots->list.items), compare_roots);
	return true;
}

struct memheap_error *roots_find(struct roots *roots, const struct graph *graph,
				 const struct root_sources *sources,
				 const struct parallel *parallel)
{
	struct search search = { .roots = roots, .graph = graph, .sources = sources };

	if (!frame_list_find(&roots->frames, sources->view->python))
		return &error_no_memory;
	add_modules(&search);
	add_interpreters(&search);
	for (size_t i = 0; i < roots->frames.list.count; i++)
		add_frame(&search, &roots->frames.list.items[i]);
	add_threads(&search);
	add_statics(&search);
	add_states(&search);
	add_module_data(&search);
	add_stacks(&search);
	if (!add_c_memory(&search, parallel) || search.failed)
		return &error_no_memory;
	return NULL;
}

void roots_deinit(struct roots *roots)
{
	free(roots->list.items);
	frame_list_deinit(&roots->frames);
	strings_deinit(&roots->strings);
	*roots = (struct roots){ 0 };
}

const char *root_kind_name(enum root_kind kind)
{
	static const char *const names[ROOT_KINDS] = {
		[ROOT_MODULES] = "modules",
		[ROOT_INTERPRETER] = "interpreter",
		[ROOT_FRAME] = "frame",
		[ROOT_THREAD] = "thread",
		[ROOT_STATIC] = "static object",
		[ROOT_STATE] = "interpreter state",
		[ROOT_MODULE_DATA] = "module data",
		[ROOT_STACK] = "C stack",
		[ROOT_C_MEMORY] = "C memory",
	};

	return names[kind];
}

static uint32_t stack_thread(const struct root_sources *sources, vaddr at)
{
	const struct stack *stacks = sources->stacks->list.items;
	size_t found = bisect(i, sources->stacks->list.count, stacks[i].end <= at);

	return found == sources->stacks->list.count
		       ? 0
		       : sources->process->threads.items[stacks[found].thread].tid;
}

const char *root_name(const struct root *root, const struct root_sources *sources,
		      struct strings *strings)
{
	const struct module *module;
	const char *path, *slash;

	if (root->name)
		return strings_format(strings, "%s", root->name);
	switch ((enum root_kind)root->kind) {
	case ROOT_STACK:
		return strings_format(strings, "C stack of thread %u",
				      stack_thread(sources, root->at));
	case ROOT_MODULE_DATA:
		module = modules_find(sources->modules, root->at);
		path = module && module->path ? module->path : "?";
		slash = strrchr(path, '/');
		return strings_format(strings, "data of %s at 0x%llx", slash ? slash + 1 : path,
				      (unsigned long long)root->at);
	default:
		return strings_format(strings, "%s at 0x%llx", root_kind_name(root->kind),
				      (unsigned long long)root->at);
	}
}
