/* SPDX-License-Identifier: MIT */
/* path: the shortest ways from roots to an object, or to all objects of a type, as one tree. */
#include <fnmatch.h>
#include <stdlib.h>

#include "../base/bisect.h"
#include "../graph/ways.h"
#include "sections.h"

enum {
	PATH_DEPTH,
	PATH_NAME,
	PATH_TYPE,
	PATH_ADDRESS,
	PATH_OBJECTS,
	PATH_ROOT,
};

static const struct memheap_column path_columns[] = {
	[PATH_DEPTH] = { "depth", "DEPTH", MEMHEAP_COUNT, "Steps from the root; 0: it is one" },
	[PATH_NAME] = { "name", "NAME", MEMHEAP_TEXT,
			"The root's name, or what the reference from the object above is called" },
	[PATH_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "Type of the object" },
	[PATH_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "Its id()" },
	[PATH_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT,
			   "How many of the objects asked for are reached through it, itself "
			   "included" },
	[PATH_ROOT] = { "root", "ROOT", MEMHEAP_TEXT,
			"Of a root: its kind. C stack and C memory are guesses: words that nobody "
			"knows" },
};

static const struct memheap_table_shape path_shape = {
	.key = "path",
	.title = "What keeps it alive",
	.doc = "A tree, roots first: each row belongs to the nearest one above it of less depth",
	.columns = path_columns,
	.column_count = ARRAY_SIZE(path_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&path_shape, &completeness_shape, &gaps_shape, &diagnostics_shape, NULL,
};

/* An object on a way that is shown. */
struct node {
	object_id object, before;
	uint32_t objects;
};

struct path_tree {
	struct memheap_report *report;
	struct root_sources sources;
	struct heap_view view;
	const struct graph *graph;
	struct roots roots;
	struct ways ways;
	uint32_t *objects; /* by object: how many targets are reached through it */
	VECTOR(struct node) nodes;
	size_t shown, unreachable;
};

/* Counts the target along its way. */
static void count_target(struct path_tree *tree, object_id target)
{
	object_id at = target;

	if (tree->ways.before[target] == OBJECT_NONE) {
		tree->unreachable++;
		return;
	}
	while (at != tree->graph->count) {
		tree->objects[at]++;
		at = tree->ways.before[at];
	}
}

static void count_type(struct path_tree *tree, const char *pattern)
{
	const struct memheap_snapshot *s = tree->report->snapshot;
	bool *wanted = calloc(s->objects.types.list.count + 1, sizeof(*wanted));

	if (!wanted) {
		tree->report->failed = true;
		return;
	}
	for (size_t i = 0; i < s->objects.types.list.count; i++)
		wanted[i] = !fnmatch(pattern, s->objects.types.list.items[i].name, 0);
	for (object_id i = 0; i < tree->graph->count; i++) {
		if (wanted[graph_type(tree->graph, &s->blocks, i)])
			count_target(tree, i);
	}
	free(wanted);
}

static int compare_nodes(const void *a, const void *b)
{
	const struct node *left = a, *right = b;

	if (left->before != right->before)
		return left->before < right->before ? -1 : 1;
	if (left->objects != right->objects)
		return left->objects > right->objects ? -1 : 1;
	return left->object < right->object ? -1 : left->object > right->object;
}

static void list_nodes(struct path_tree *tree)
{
	for (object_id i = 0; i < tree->graph->count; i++) {
		struct node *node;

		if (!tree->objects[i])
			continue;
		node = vector_push(&tree->nodes);
		if (node)
			*node = (struct node){ i, tree->ways.before[i], tree->objects[i] };
		else
			tree->report->failed = true;
	}
	if (tree->nodes.count)
		qsort(tree->nodes.items, tree->nodes.count, sizeof(*tree->nodes.items),
		      compare_nodes);
}

static void add_node(struct path_tree *tree, const struct node *node, uint32_t depth)
{
	struct memheap_cell *row = report_row(tree->report, &path_shape);
	const struct way_names naming = {
		.ways = &tree->ways,
		.graph = tree->graph,
		.roots = &tree->roots,
		.sources = &tree->sources,
		.values = tree->report->query.values,
		.strings = &tree->report->strings,
	};
	struct object object;

	row[PATH_DEPTH] = cell_number(depth);
	row[PATH_NAME] = cell_text(way_step_name(&naming, node->object));
	row[PATH_OBJECTS] = cell_number(node->objects);
	if (!depth)
		row[PATH_ROOT] = cell_text(
			root_kind_name(tree->roots.list.items[tree->ways.root[node->object]].kind));
	if (!object_get(&tree->view, tree->graph->blocks[node->object], &object))
		return;
	row[PATH_TYPE] = cell_text(object.type->name);
	row[PATH_ADDRESS] = cell_number(object.at);
}

/* Where the nodes behind `before` begin. */
static size_t first_child(const struct path_tree *tree, object_id before)
{
	const struct node *nodes = tree->nodes.items;

	return bisect(i, tree->nodes.count, nodes[i].before < before);
}

/* Adds the tree in depth first, each level by the number of objects. */
static void add_tree(struct path_tree *tree)
{
	VECTOR(size_t) stack = { 0 };
	size_t *next = vector_push(&stack);
	/* sorted, any row may be among the first */
	uint64_t limit = tree->report->query.sort ? 0 : tree->report->query.limit;

	if (next)
		*next = first_child(tree, tree->graph->count);
	while (stack.count && (!limit || tree->shown < limit)) {
		size_t at = stack.items[stack.count - 1]++;
		const struct node *node = &tree->nodes.items[at];
		object_id above =
			stack.count > 1 ? tree->nodes.items[stack.items[stack.count - 2] - 1].object
					: tree->graph->count;

		if (at >= tree->nodes.count || node->before != above) {
			stack.count--;
			continue;
		}
		add_node(tree, node, (uint32_t)stack.count - 1);
		tree->shown++;
		next = vector_push(&stack);
		if (!next) {
			tree->report->failed = true;
			break;
		}
		*next = first_child(tree, node->object);
	}
	free(stack.items);
}

static void free_tree(struct path_tree *tree)
{
	roots_deinit(&tree->roots);
	ways_deinit(&tree->ways);
	free(tree->objects);
	free(tree->nodes.items);
}

/* Finds the way to the object at the query's address. */
static struct memheap_error *count_address(struct path_tree *tree)
{
	const struct memheap_snapshot *s = tree->report->snapshot;
	object_id target = graph_find(tree->graph, &s->blocks, tree->report->query.address);

	if (target == OBJECT_NONE)
		return error_no_object(tree->report);
	count_target(tree, target);
	if (tree->unreachable)
		return error_create(MEMHEAP_FAILED,
				    "nothing leads from a root to the object at 0x%llx: it is "
				    "garbage, or memory that memheap does not know holds it",
				    (unsigned long long)tree->report->query.address);
	return NULL;
}

static struct memheap_error *fill(struct path_tree *tree)
{
	const struct memheap_query *query = &tree->report->query;
	struct memheap_error *error;

	error = roots_find(&tree->roots, tree->graph, &tree->sources,
			   &tree->report->snapshot->parallel);
	if (error)
		return error;
	tree->objects = calloc((size_t)tree->graph->count + 1, sizeof(*tree->objects));
	if (!tree->objects || !ways_find(&tree->ways, tree->graph, &tree->roots))
		return &error_no_memory;
	if (query->address)
		error = count_address(tree);
	else
		count_type(tree, query->type);
	if (error)
		return error;
	list_nodes(tree);
	add_tree(tree);
	report_table(tree->report, &path_shape)->total = tree->nodes.count;
	return NULL;
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct path_tree tree = {
		.report = report,
		.view = { &s->objects, &s->blocks, &s->python },
		.graph = &s->graph,
	};
	struct memheap_error *error;

	if (!report->query.address == !report->query.type)
		return error_create(MEMHEAP_USAGE,
				    "path needs the address of an object, or a --type");
	tree.sources =
		(struct root_sources){ &tree.view, &s->modules, &s->stacks, &s->target.process };
	error = fill(&tree);
	free_tree(&tree);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return error;
}

const struct analysis analysis_path = {
	.shape = {
		.name = "path",
		.schema = "memheap.path",
		.schema_version = "1.0",
		.title = "What keeps objects alive",
		.tables = tables,
		.main_table = "path",
		.needs = MEMHEAP_GRAPH,
	},
	.build = build,
};
