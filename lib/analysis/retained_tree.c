/* SPDX-License-Identifier: MIT */
#include "retained_tree.h"

#include <stdlib.h>

#include "../base/cleanup.h"
#include "../graph/names.h"

#define DEPTH_DEFAULT 3
#define MIN_DIVISOR   100 /* shown is what retains a hundredth of all, unless --min says how much */
#define STEPS_MAX     64

enum {
	TREE_DEPTH,
	TREE_NAME,
	TREE_TYPE,
	TREE_ADDRESS,
	TREE_OCCUPIED,
	TREE_RETAINED,
	TREE_CHILDREN,
};

static const struct memheap_column tree_columns[] = {
	[TREE_DEPTH] = { "depth", "DEPTH", MEMHEAP_COUNT, "Steps from where the tree begins" },
	[TREE_NAME] = { "name", "NAME", MEMHEAP_TEXT,
			"A thread, a frame, or the way to the object: from the one above it in the "
			"tree, or from a root" },
	[TREE_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "Type of the object" },
	[TREE_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "id() of the object" },
	[TREE_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,
			    "What it and the buffers that only it owns take" },
	[TREE_RETAINED] = { "retained_bytes", "RETAINED", MEMHEAP_BYTES,
			    "What would be freed with it: itself, and all below it" },
	[TREE_CHILDREN] = { "children", "CHILDREN", MEMHEAP_COUNT,
			    "How many are right below it, shown or not" },
};

#define TREE_SHAPE(key_, title_, doc_)                                                    \
	{                                                                                 \
		.key = (key_), .title = (title_), .doc = (doc_), .columns = tree_columns, \
		.column_count = ARRAY_SIZE(tree_columns),                                 \
	}

const struct memheap_table_shape retained_tree_shape =
	TREE_SHAPE("tree", "What holds what",
		   "The tree of dominators, opened as far as asked for: each row belongs to the "
		   "nearest one above it of less depth, through which every way to it leads");

const struct memheap_table_shape retained_threads_shape =
	TREE_SHAPE("threads", "Retained by threads",
		   "Threads, their frames, and what only their local variables hold, as a tree");

enum { MODULES_MODULE, MODULES_ADDRESS, MODULES_RETAINED };

static const struct memheap_column modules_columns[] = {
	[MODULES_MODULE] = { "module", "MODULE", MEMHEAP_TEXT, "Its name in sys.modules" },
	[MODULES_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "id() of the module" },
	[MODULES_RETAINED] = { "retained_bytes", "RETAINED", MEMHEAP_BYTES,
			       "What would be freed with the module and its variables" },
};

const struct memheap_table_shape retained_modules_shape = {
	.key = "modules",
	.title = "Retained by modules",
	.doc = "Modules, by what only they and their global variables hold",
	.columns = modules_columns,
	.column_count = ARRAY_SIZE(modules_columns),
};

/* A node to be shown. */
struct opened {
	object_id node;
	uint64_t depth;
};

/* A tree being opened. */
struct opening {
	struct memheap_report *report;
	const struct holders *holders;
	const struct memheap_table_shape *shape;
	uint64_t depth, min; /* how far, and what is enough */
	VECTOR(struct opened) stack;
};

static const char *type_name(const struct memheap_report *report, object_id id)
{
	const struct memheap_snapshot *s = report->snapshot;

	return s->objects.types.list.items[graph_type(&s->graph, &s->blocks, id)].name;
}

static const char *group_name(const struct opening *opening, object_id node)
{
	const struct retention *retention = &opening->holders->retention;
	const struct root_group *group = &retention->groups.items[node - retention->count - 1];
	const struct python *python = &opening->report->snapshot->python;
	vaddr thread = python->threads.items[group->thread].at;
	uint64_t id;

	if (group->frame != FRAME_NONE)
		return thread_frame_name(python, &retention->roots.frames.list.items[group->frame],
					 &opening->report->strings);
	if (memory_field(&python->memory, thread, FIELD_THREAD_NATIVE_ID, &id))
		return report_text(opening->report, "thread %llu", (unsigned long long)id);
	/* before 3.11 only what threading.get_ident() says is there */
	if (memory_field(&python->memory, thread, FIELD_THREAD_ID, &id))
		return report_text(opening->report, "thread 0x%llx", (unsigned long long)id);
	return "thread";
}

/* The steps from the node above to an object, or from a root if that is no object. */
static const char *object_name(const struct opening *opening, object_id id, object_id above)
{
	const struct holders *holders = opening->holders;
	const object_id *before = holders->ways.before;
	struct way_words way;
	const char *text = "";
	size_t steps = 0;

	for (object_id i = id; i != above && i < holders->retention.count; i = before[i])
		steps++;
	way = way_in_words(opening->report, holders, id);
	if (above >= holders->retention.count || steps > STEPS_MAX || steps > way.count) {
		text = way.expression;
		steps = 0;
	}
	for (size_t i = way.count - steps; i < way.count && text; i++)
		text = report_text(opening->report, "%s%s%s", text,
				   *text && !strchr(".[", *way.names[i]) ? " " : "", way.names[i]);
	free(way.names);
	return text;
}

static void add_row(struct opening *opening, const struct opened *opened)
{
	const struct retention *retention = &opening->holders->retention;
	struct memheap_cell *row = report_row(opening->report, opening->shape);
	object_id node = opened->node;
	uint64_t children = 0;
	struct object object;

	for (object_id i = retention->child[node]; i != OBJECT_NONE; i = retention->sibling[i])
		children++;
	row[TREE_DEPTH] = cell_number(opened->depth);
	row[TREE_RETAINED] = cell_number(retention->retained[node]);
	row[TREE_CHILDREN] = cell_number(children);
	if (node > retention->count) {
		row[TREE_NAME] = cell_text(group_name(opening, node));
		return;
	}
	row[TREE_NAME] = cell_text(object_name(opening, node, retention->dominators[node]));
	row[TREE_TYPE] = cell_text(type_name(opening->report, node));
	row[TREE_OCCUPIED] = cell_number(retention->sizes[node]);
	if (object_get(&opening->holders->view, opening->report->snapshot->graph.blocks[node],
		       &object))
		row[TREE_ADDRESS] = cell_number(object.at);
}

static int compare_opened(const void *a, const void *b, void *closure)
{
	const uint64_t *retained = closure;
	object_id left = ((const struct opened *)a)->node, right = ((const struct opened *)b)->node;

	/* the last one is shown first */
	if (retained[left] != retained[right])
		return retained[left] < retained[right] ? -1 : 1;
	return left > right ? -1 : left < right;
}

/* Puts on the stack what lies right below a node and retains enough. */
static void open_node(struct opening *opening, object_id node, uint64_t depth)
{
	const struct retention *retention = &opening->holders->retention;
	size_t first = opening->stack.count;

	for (object_id i = retention->child[node]; i != OBJECT_NONE; i = retention->sibling[i]) {
		struct opened *opened;

		if (retention->retained[i] < MAX(opening->min, 1))
			continue;
		opened = vector_push(&opening->stack);
		if (opened)
			*opened = (struct opened){ i, depth };
		else
			opening->report->failed = true;
	}
	if (opening->stack.count > first)
		qsort_r(opening->stack.items + first, opening->stack.count - first,
			sizeof(*opening->stack.items), compare_opened, retention->retained);
}

/* Shows what is on the stack, and what lies below it. */
static void show(struct opening *opening)
{
	while (opening->stack.count && !opening->report->failed) {
		struct opened opened = opening->stack.items[--opening->stack.count];

		add_row(opening, &opened);
		if (opened.depth + 1 < opening->depth)
			open_node(opening, opened.node, opened.depth + 1);
	}
	free(opening->stack.items);
}

static struct opening make_opening(struct memheap_report *report, const struct holders *holders,
				   const struct memheap_table_shape *shape)
{
	const struct memheap_query *query = &report->query;
	const struct retention *retention = &holders->retention;

	return (struct opening){
		.report = report,
		.holders = holders,
		.shape = shape,
		.depth = query->depth ? query->depth : DEPTH_DEFAULT,
		.min = query->min_given ? query->min_bytes
					: retention->retained[retention->count] / MIN_DIVISOR,
	};
}

struct memheap_error *add_retained_tree(struct memheap_report *report,
					const struct holders *holders)
{
	struct opening opening = make_opening(report, holders, &retained_tree_shape);
	const struct memheap_snapshot *s = report->snapshot;
	struct opened *first;
	object_id id;

	if (!report->query.address) {
		open_node(&opening, holders->retention.count, 0);
		show(&opening);
		return NULL;
	}
	id = graph_find(&s->graph, &s->blocks, report->query.address);
	if (id == OBJECT_NONE)
		return error_no_object(report);
	first = vector_push(&opening.stack);
	if (!first)
		return &error_no_memory;
	*first = (struct opened){ id, 0 };
	show(&opening);
	return NULL;
}

void add_retained_threads(struct memheap_report *report, const struct holders *holders)
{
	struct opening opening = make_opening(report, holders, &retained_threads_shape);
	const struct retention *retention = &holders->retention;

	/* the last one is shown first */
	for (size_t i = retention->groups.count; i-- > 0;) {
		struct opened *opened;

		if (retention->groups.items[i].frame != FRAME_NONE)
			continue;
		opened = vector_push(&opening.stack);
		if (opened)
			*opened = (struct opened){ retention->count + 1 + (object_id)i, 0 };
		else
			report->failed = true;
	}
	show(&opening);
}

/* A module, with its variables. */
struct module_row {
	const char *name;
	object_id module;
	uint64_t retained;
};

/* The modules of sys.modules, one after the other. */
struct module_list {
	struct memheap_report *report;
	const struct holders *holders;
	VECTOR(struct module_row) rows;
	object_id dict; /* of the module at hand */
};

static void see_dict(void *closure, block_id to, const struct reference *reference)
{
	struct module_list *list = closure;

	if (reference->step == STEP_MEMBER && !strcmp(reference->text, "__dict__"))
		list->dict = graph_object(&list->report->snapshot->graph, to);
}

/* What a module and its dict retain together, each byte counted once. */
static uint64_t module_retained(struct module_list *list, object_id module)
{
	const struct retention *retention = &list->holders->retention;
	struct object object;

	list->dict = OBJECT_NONE;
	if (object_get(&list->holders->view, list->report->snapshot->graph.blocks[module], &object))
		references_visit(&list->holders->view, &object, see_dict, list);
	if (list->dict == OBJECT_NONE || retention_is_below(retention, list->dict, module))
		return retention->retained[module];
	if (retention_is_below(retention, module, list->dict))
		return retention->retained[list->dict];
	return retention->retained[module] + retention->retained[list->dict];
}

static void see_module(void *closure, block_id to, const struct reference *reference)
{
	struct module_list *list = closure;
	object_id id = graph_object(&list->report->snapshot->graph, to);
	const char *name;
	struct module_row *row;

	if (reference->step != STEP_VALUE || strcmp(type_name(list->report, id), "module"))
		return;
	/* a module may have several names: the first one counts */
	for (size_t i = 0; i < list->rows.count; i++) {
		if (list->rows.items[i].module == id)
			return;
	}
	name = reference_name(&list->holders->view, reference, false, &list->report->strings);
	row = name ? vector_push(&list->rows) : NULL;
	if (row)
		*row = (struct module_row){ name, id, module_retained(list, id) };
	else
		list->report->failed = true;
}

static int compare_modules(const void *a, const void *b)
{
	const struct module_row *left = a, *right = b;

	if (left->retained != right->retained)
		return left->retained > right->retained ? -1 : 1;
	return left->module < right->module ? -1 : left->module > right->module;
}

static void add_module_row(struct memheap_report *report, const struct holders *holders,
			   const struct module_row *module)
{
	struct memheap_cell *row = report_row(report, &retained_modules_shape);
	size_t length = strlen(module->name);
	struct object object;

	/* without the brackets and quotes of a key */
	row[MODULES_MODULE] =
		cell_text(length > 4 && module->name[1] == '"'
				  ? report_text(report, "%.*s", (int)length - 4, module->name + 2)
				  : module->name);
	row[MODULES_RETAINED] = cell_number(module->retained);
	if (object_get(&holders->view, report->snapshot->graph.blocks[module->module], &object))
		row[MODULES_ADDRESS] = cell_number(object.at);
}

void add_retained_modules(struct memheap_report *report, const struct holders *holders)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct module_list list = { .report = report, .holders = holders };
	uint64_t limit = report->query.limit;

	for (size_t i = 0; i < s->python.interpreters.count; i++) {
		block_id dict = object_find(&s->blocks, s->python.interpreters.items[i].modules);
		struct object object;

		if (dict != BLOCK_NONE && object_get(&holders->view, dict, &object))
			references_visit(&holders->view, &object, see_module, &list);
	}
	if (list.rows.count)
		qsort(list.rows.items, list.rows.count, sizeof(*list.rows.items), compare_modules);
	for (size_t i = 0; i < list.rows.count && (!limit || i < limit); i++)
		add_module_row(report, holders, &list.rows.items[i]);
	report_table(report, &retained_modules_shape)->total = list.rows.count;
	free(list.rows.items);
}
