/* SPDX-License-Identifier: MIT */
#include "roots.h"

#include <stdlib.h>

#include "../base/bisect.h"
#include "../cpython/idle_words.h"
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
	struct ranges idle;  /* words that hold nothing */
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

/* Adds what the words of [at, at + size) lead to, as far as they can be read. */
static void add_words(struct search *search, enum root_kind kind, vaddr at, uint64_t size)
{
	const struct python *python = search->sources->view->python;
	uint64_t room;
	const uint8_t *bytes = image_room(python->memory.image, at, &room);

	for (uint64_t i = 0; bytes && i + sizeof(vaddr) <= MIN(size, room); i += sizeof(vaddr)) {
		vaddr to = load_u64(bytes + i);

		if (to && to % sizeof(vaddr) == 0 && !ranges_hold(&search->idle, at + i))
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
	/* the name of the module in 2.7, where it has unicode besides str */
	const char *builtins = layout_knows(&python->layout, CONSTANT_TYPE_IS_UNICODE)
				       ? "__builtin__.__dict__"
				       : "builtins.__dict__";

	for (size_t i = 0; i < python->interpreters.count; i++) {
		const struct interpreter *interpreter = &python->interpreters.items[i];

		add_root(search, ROOT_INTERPRETER, 0, interpreter->sys, "sys.__dict__");
		add_root(search, ROOT_INTERPRETER, 0, interpreter->builtins, builtins);
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

static bool add_places(struct search *search)
{
	static const enum root_kind kinds[] = {
		[PLACE_MODULE_DATA] = ROOT_MODULE_DATA,
		[PLACE_FRAME_STACK] = ROOT_FRAME_STACK,
		[PLACE_TLS] = ROOT_TLS,
		[PLACE_STACK] = ROOT_STACK,
		[PLACE_OTHER] = ROOT_OTHER,
	};
	struct places places = { 0 };
	bool found = places_find(&places, search->sources, &search->roots->frames);

	for (size_t i = 0; i < places.list.count; i++) {
		const struct word_place *place = &places.list.items[i];

		add_words(search, kinds[place->kind], place->start, place->end - place->start);
	}
	places_deinit(&places);
	return found;
}

static void add_registers(struct search *search)
{
	const struct process *process = search->sources->process;

	for (size_t i = 0; i < process->threads.count; i++) {
		const struct process_thread *thread = &process->threads.items[i];
		const char *name;

		for (unsigned j = 0; (name = machine_register(process->machine, j)); j++) {
			if (!thread->registers[j])
				continue;
			add_root(search, ROOT_REGISTER, 0, thread->registers[j],
				 strings_format(&search->roots->strings, "register %s of thread %u",
						name, thread->tid));
		}
	}
}

/* Searches blocks [begin, end) that C code uses; those of the interpreter's state are known. */
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
		    !(tag_state(tag) == BLOCK_BUFFER && tag_detail(tag) == BUFFER_MODULE_DATA))
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

/* By kind; those of a kind in the order in which they were found. */
static bool sort_by_kind(struct roots *roots)
{
	size_t places[ROOT_KINDS + 1] = { 0 };
	struct root *sorted = malloc((roots->list.count + 1) * sizeof(*sorted));

	if (!sorted)
		return false;
	for (size_t i = 0; i < roots->list.count; i++)
		places[roots->list.items[i].kind + 1]++;
	for (int i = 0; i < ROOT_KINDS; i++)
		places[i + 1] += places[i];
	for (size_t i = 0; i < roots->list.count; i++)
		sorted[places[roots->list.items[i].kind]++] = roots->list.items[i];
	free(roots->list.items);
	roots->list.items = sorted;
	roots->list.capacity = roots->list.count + 1;
	return true;
}

struct memheap_error *roots_find(struct roots *roots, const struct graph *graph,
				 const struct root_sources *sources,
				 const struct parallel *parallel)
{
	struct search search = { .roots = roots, .graph = graph, .sources = sources };

	bool found = frame_list_find(&roots->frames, sources->view->python) &&
		     idle_words_find(&search.idle, sources->view);

	if (found) {
		add_modules(&search);
		add_interpreters(&search);
		for (size_t i = 0; i < roots->frames.list.count; i++)
			add_frame(&search, &roots->frames.list.items[i]);
		add_threads(&search);
		add_statics(&search);
		add_states(&search);
		add_registers(&search);
		found = add_places(&search) && add_c_memory(&search, parallel) && !search.failed &&
			sort_by_kind(roots);
	}
	ranges_deinit(&search.idle);
	return found ? NULL : &error_no_memory;
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
		[ROOT_FRAME_STACK] = "frame stack",
		[ROOT_TLS] = "thread-local data",
		[ROOT_REGISTER] = "register",
		[ROOT_STACK] = "C stack",
		[ROOT_C_MEMORY] = "C memory",
		[ROOT_OTHER] = "other memory",
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

/* The thread whose thread pointer is nearest to `at`. */
static uint32_t tls_thread(const struct root_sources *sources, vaddr at)
{
	const struct process_thread *nearest = NULL;
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < sources->process->threads.count; i++) {
		const struct process_thread *thread = &sources->process->threads.items[i];
		uint64_t distance = thread->tls > at ? thread->tls - at : at - thread->tls;

		if (thread->tls && distance < least) {
			nearest = thread;
			least = distance;
		}
	}
	return nearest ? nearest->tid : 0;
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
	case ROOT_TLS:
		return strings_format(strings, "thread-local data of thread %u",
				      tls_thread(sources, root->at));
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
