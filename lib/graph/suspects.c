/* SPDX-License-Identifier: MIT */
#include "suspects.h"

#include <stdlib.h>

#include "../base/cleanup.h"
#include "dominators.h"

/* A tenth of all objects stands out, as in Eclipse MAT; in a small process at least so much. */
#define SHARE_DIVISOR 10
#define LEAST_BYTES   (256 << 10)

/* At most SHARE_DIVISOR objects that stand out can lie side by side: more of one type are a chain
 * beyond doubt. */
#define CHAIN_LENGTH (2 * SHARE_DIVISOR)

/* Of what a group retains, so much comes from what is called its common holder. */
#define COMMON_PERCENT 80

/* Whose references are looked at to tell what a dict is for, and how many. */
#define HOLDERS_MAX    32
#define REFERENCES_MAX 1000

/* How deep tuples of constants lie in each other. */
#define TUPLES_MAX 3

/* What an object is to what it holds. */
enum role {
	ROLE_SCOPE,     /* it has names for what it holds: an instance, a closure */
	ROLE_CONTAINER, /* it has many alike: a list */
	ROLE_PROGRAM,   /* it belongs to the program's text: a module, a class */
};

struct hunt {
	struct suspects *suspects;
	const struct graph *graph;
	const struct heap_view *view;
	const struct retention *retention;
	const struct ways *ways;
	VECTOR(object_id) stack;  /* to be visited */
	struct type_notes *types; /* by type */
	struct known_role {
		object_id id;
		enum role role;
	} * last;    /* the role that was last found */
	bool failed; /* out of memory */
};

struct type_notes {
	uint8_t role;      /* enum role */
	uint64_t sum;      /* of the objects right below the one at hand */
	uint64_t piled_up; /* in the objects that stand out */
	object_id first;   /* the one of those that retains most */
	uint32_t visited;  /* how many of those */
};

static uint32_t type_index(const struct hunt *hunt, object_id id)
{
	return graph_type(hunt->graph, hunt->view->map, id);
}

/* The first type of the same name: they count as one. */
static uint32_t name_index(const struct hunt *hunt, object_id id)
{
	return hunt->view->objects->types.list.items[type_index(hunt, id)].namesake;
}

static const struct type *type_of(const struct hunt *hunt, object_id id)
{
	return &hunt->view->objects->types.list.items[type_index(hunt, id)];
}

/* Whether `type` or a base of it is one of the `count` types called so. */
static bool is_kind_of(const struct hunt *hunt, const struct type *type, const char *const *names,
		       size_t count)
{
	const struct type_table *types = &hunt->view->objects->types;

	for (int depth = 0; type && depth < 64; depth++) {
		for (size_t i = 0; i < count; i++) {
			if (!strcmp(type->name, names[i]))
				return true;
		}
		type = type_base(types, type);
	}
	return false;
}

/* Types of what every program is made of, which is much in small processes, and no leak. */
static bool is_program(const struct hunt *hunt, const struct type *type)
{
	static const char *const names[] = {
		"module",
		"function",
		"code",
		"builtin_function_or_method",
		"method_descriptor",
		"wrapper_descriptor",
		"getset_descriptor",
		"member_descriptor",
		"classmethod_descriptor",
		"classmethod",
		"classobj", /* 2.7 */
		"staticmethod",
		"property",
	};

	return type->metatype || is_kind_of(hunt, type, names, ARRAY_SIZE(names));
}

static bool is_container(const struct hunt *hunt, const struct type *type)
{
	static const char *const names[] = { "dict", "list",      "tuple",
					     "set",  "frozenset", "collections.deque" };

	return is_kind_of(hunt, type, names, ARRAY_SIZE(names));
}

static bool note_roles(struct hunt *hunt)
{
	const struct type_table *types = &hunt->view->objects->types;

	hunt->types = calloc(types->list.count + 1, sizeof(*hunt->types));
	for (size_t i = 0; hunt->types && i < types->list.count; i++) {
		const struct type *type = &types->list.items[i];

		hunt->types[i].role = is_program(hunt, type)     ? ROLE_PROGRAM
				      : is_container(hunt, type) ? ROLE_CONTAINER
								 : ROLE_SCOPE;
	}
	return hunt->types;
}

struct dict_search {
	block_id dict;
	bool found;
};

static void compare_dict(void *closure, block_id to, const struct reference *reference)
{
	struct dict_search *search = closure;

	search->found |= to == search->dict && reference->step == STEP_MEMBER &&
			 !strcmp(reference->text, "__dict__");
}

/* Whether objects like that, which is no large one, have a __dict__. */
static bool may_have_dict(const struct hunt *hunt, object_id id)
{
	const uint32_t *first = hunt->graph->out.first;

	return first[id + 1] - first[id] <= REFERENCES_MAX &&
	       (hunt->types[type_index(hunt, id)].role != ROLE_CONTAINER ||
		type_of(hunt, id)->heap);
}

/* The object whose __dict__ this is, or OBJECT_NONE. */
static object_id dict_holder(const struct hunt *hunt, object_id id)
{
	const struct edges *in = &hunt->graph->in;
	struct dict_search search = { hunt->graph->blocks[id], false };

	for (uint32_t i = in->first[id]; i < in->first[id + 1] && i < in->first[id] + HOLDERS_MAX;
	     i++) {
		object_id holder = edge_id(in->to[i]);
		struct object object;

		if (!may_have_dict(hunt, holder) ||
		    !object_get(hunt->view, hunt->graph->blocks[holder], &object))
			continue;
		references_visit(hunt->view, &object, compare_dict, &search);
		if (search.found)
			return holder;
	}
	return OBJECT_NONE;
}

static enum role find_role(const struct hunt *hunt, object_id id)
{
	enum role role;
	object_id holder;

	if (id >= hunt->graph->count || hunt->retention->root_kinds[id] == ROOT_MODULES + 1 ||
	    hunt->retention->root_kinds[id] == ROOT_INTERPRETER + 1)
		return ROLE_PROGRAM;
	role = hunt->types[type_index(hunt, id)].role;
	if (strcmp(type_of(hunt, id)->name, "dict"))
		return role;
	holder = dict_holder(hunt, id);
	if (holder == OBJECT_NONE)
		return ROLE_CONTAINER;
	return hunt->types[type_index(hunt, holder)].role == ROLE_PROGRAM ? ROLE_PROGRAM
									  : ROLE_SCOPE;
}

/* The same, with the last answer kept: one dict often holds all that are asked about. */
static enum role role_of(const struct hunt *hunt, object_id id)
{
	if (hunt->last->id != id)
		*hunt->last = (struct known_role){ id, find_role(hunt, id) };
	return hunt->last->role;
}

static struct suspect *add_suspect(struct hunt *hunt)
{
	struct suspect *suspect = vector_push(&hunt->suspects->list);

	hunt->failed |= !suspect;
	return suspect;
}

/* What a child must retain to be looked at by itself, and not as a part of what `id` holds. */
static uint64_t limit_of(const struct hunt *hunt, object_id id, enum role role)
{
	uint64_t retained = hunt->retention->retained[id], threshold = hunt->suspects->threshold;

	switch (role) {
	case ROLE_CONTAINER:
		return MAX(threshold, retained / 2);
	case ROLE_SCOPE:
		return MAX(threshold, retained / 4);
	default:
		return threshold;
	}
}

/* Whether a part of the program refers to the object: itself, or through a tuple of constants. */
static bool is_constant(const struct hunt *hunt, object_id id, int depth)
{
	const struct edges *in = &hunt->graph->in;

	for (uint32_t i = in->first[id]; i < in->first[id + 1] && i < in->first[id] + HOLDERS_MAX;
	     i++) {
		object_id holder = edge_id(in->to[i]);

		if (role_of(hunt, holder) == ROLE_PROGRAM)
			return true;
		if (depth && !strcmp(type_of(hunt, holder)->name, "tuple") &&
		    is_constant(hunt, holder, depth - 1))
			return true;
	}
	return false;
}

/*
 * Whether an object below a part of the program is data. Others are parts themselves; names,
 * docstrings and other constants of built-in types, many of which several parts share; and what
 * CPython's own variables in C refer to.
 */
static bool is_data(const struct hunt *hunt, object_id id)
{
	struct object object;
	uint64_t interned;
	uint32_t type;
	uint8_t root;

	/* the frames of a thread are looked at one by one */
	if (id >= hunt->graph->count)
		return false;
	type = type_index(hunt, id);
	root = hunt->retention->root_kinds[id];
	if (find_role(hunt, id) == ROLE_PROGRAM ||
	    (root > ROOTS_CERTAIN && root <= ROOT_MODULE_DATA + 1))
		return false;
	if (type == hunt->view->objects->str_type &&
	    object_get(hunt->view, hunt->graph->blocks[id], &object) &&
	    memory_field(&hunt->view->python->memory, object.at, FIELD_STR_INTERNED, &interned) &&
	    interned)
		return false;
	return type_of(hunt, id)->heap || !is_constant(hunt, id, TUPLES_MAX);
}

/* Finds the last object through which most of the ways lead to what has weight. */
static bool find_common(const struct hunt *hunt, const uint64_t *weights, uint64_t sum,
			object_id *ret)
{
	const object_id *before = hunt->ways->before;
	uint64_t enough = sum / 100 * COMMON_PERCENT;
	object_id count = hunt->graph->count, last = count;

	_cleanup_free_ uint64_t *below = calloc((size_t)count + 1, sizeof(*below));
	_cleanup_free_ uint8_t *passed = calloc((size_t)count + 1, sizeof(*passed));
	if (!below || !passed || !dominators_sum(before, count, 0, weights, below))
		return false;
	/* all of these lie on one way */
	for (object_id i = 0; i < count; i++) {
		if (below[i] >= enough && !weights[i])
			passed[before[i]] = true;
	}
	for (object_id i = 0; i < count && last == count; i++) {
		if (below[i] >= enough && !weights[i] && !passed[i])
			last = i;
	}
	*ret = last;
	return true;
}

/* The objects of one type right below `id` that do not stand out one by one. */
static void add_group(struct hunt *hunt, object_id id, uint32_t type, uint64_t limit)
{
	const struct retention *retention = hunt->retention;
	struct suspect group = { .kind = SUSPECT_GROUP, .type = type, .first = OBJECT_NONE };
	struct suspect *added;

	_cleanup_free_ uint64_t *weights = calloc((size_t)hunt->graph->count + 1, sizeof(*weights));
	if (!weights) {
		hunt->failed = true;
		return;
	}
	for (object_id i = retention->child[id]; i != OBJECT_NONE; i = retention->sibling[i]) {
		if (retention->retained[i] >= limit || !is_data(hunt, i) ||
		    name_index(hunt, i) != type)
			continue;
		weights[i] = retention->retained[i];
		group.retained += weights[i];
		group.objects++;
		if (group.first == OBJECT_NONE || weights[i] > weights[group.first])
			group.first = i;
	}
	group.piled_up = group.retained;
	hunt->failed |= !find_common(hunt, weights, group.retained, &group.above);
	added = add_suspect(hunt);
	if (added)
		*added = group;
}

/* Looks for types of which much lies right below `id`, which is no holder of data itself. */
static void look_for_groups(struct hunt *hunt, object_id id, uint64_t limit)
{
	const struct retention *retention = hunt->retention;
	size_t count = hunt->view->objects->types.list.count;

	for (size_t i = 0; i < count; i++)
		hunt->types[i].sum = 0;
	for (object_id i = retention->child[id]; i != OBJECT_NONE; i = retention->sibling[i]) {
		if (retention->retained[i] < limit && is_data(hunt, i))
			hunt->types[name_index(hunt, i)].sum += retention->retained[i];
	}
	for (uint32_t i = 0; i < count; i++) {
		if (hunt->types[i].sum >= hunt->suspects->threshold)
			add_group(hunt, id, i, limit);
	}
}

/* How much of what lies below `id`, and does not stand out, `id` itself refers to. */
static uint64_t held_directly(const struct hunt *hunt, object_id id, uint64_t limit)
{
	const struct retention *retention = hunt->retention;
	uint64_t sum = retention->sizes[id];

	for (object_id i = retention->child[id]; i != OBJECT_NONE; i = retention->sibling[i]) {
		if (retention->retained[i] < limit && hunt->ways->before[i] == id)
			sum += retention->retained[i];
	}
	return sum;
}

/* The type that a link of a chain counts for: that of the instance, if this is its __dict__. */
static uint32_t link_type(const struct hunt *hunt, object_id id)
{
	object_id above = hunt->retention->dominators[id];

	if (!strcmp(type_of(hunt, id)->name, "dict") && above < hunt->graph->count &&
	    dict_holder(hunt, id) == above)
		return name_index(hunt, above);
	return name_index(hunt, id);
}

static void count_link(struct hunt *hunt, object_id id, uint64_t piled_up)
{
	struct type_notes *link = &hunt->types[link_type(hunt, id)];
	const uint64_t *retained = hunt->retention->retained;

	if (!link->visited++ || retained[id] > retained[link->first])
		link->first = id;
	link->piled_up += piled_up;
}

/* Looks at an object that stands out: at its children that do, and at what remains. */
static void visit(struct hunt *hunt, object_id id)
{
	const struct retention *retention = hunt->retention;
	enum role role = role_of(hunt, id);
	uint64_t limit = limit_of(hunt, id, role), remains = retention->retained[id], most = 0;
	struct suspect *suspect;

	for (object_id i = retention->child[id]; i != OBJECT_NONE; i = retention->sibling[i]) {
		most = MAX(most, retention->retained[i]);
		if (retention->retained[i] < limit)
			continue;
		remains -= retention->retained[i];
		if (vector_push(&hunt->stack))
			hunt->stack.items[hunt->stack.count - 1] = i;
		else
			hunt->failed = true;
	}
	if (role == ROLE_PROGRAM || held_directly(hunt, id, limit) < remains / 2) {
		if (remains >= hunt->suspects->threshold)
			look_for_groups(hunt, id, limit);
		return;
	}
	count_link(hunt, id, remains);
	if (remains < hunt->suspects->threshold)
		return;
	suspect = add_suspect(hunt);
	if (suspect)
		*suspect = (struct suspect){
			SUSPECT_OBJECT, name_index(hunt, id), id, id, 1, retention->retained[id],
			remains
		};
}

/* How many objects of a type the first of a chain retains, itself included. */
static uint64_t count_below(const struct hunt *hunt, object_id top, uint32_t type)
{
	const struct retention *retention = hunt->retention;
	object_id at = top;
	uint64_t count = 0;

	while (true) {
		object_id next = retention->child[at];

		count += name_index(hunt, at) == type;
		while (next == OBJECT_NONE && at != top) {
			next = retention->sibling[at];
			at = retention->dominators[at];
		}
		if (next == OBJECT_NONE)
			return count;
		at = next;
	}
}

/* Makes one suspect of the links of a chain, which end where they stand out no more. */
static void join_links(struct hunt *hunt, uint32_t type)
{
	const struct type_notes *link = &hunt->types[type];
	struct suspects *suspects = hunt->suspects;
	size_t kept = 0;
	struct suspect *chain;

	if (link->visited < CHAIN_LENGTH || link->piled_up < suspects->threshold)
		return;
	for (size_t i = 0; i < suspects->list.count; i++) {
		const struct suspect *suspect = &suspects->list.items[i];

		if (suspect->kind == SUSPECT_CHAIN &&
		    retention_is_below(hunt->retention, link->first, suspect->first))
			return;
		/* where the last link that stands out seems to hold the rest */
		if (suspect->kind != SUSPECT_OBJECT || link_type(hunt, suspect->first) != type)
			suspects->list.items[kept++] = *suspect;
	}
	suspects->list.count = kept;
	chain = add_suspect(hunt);
	if (chain)
		*chain = (struct suspect){ SUSPECT_CHAIN,
					   type,
					   link->first,
					   link->first,
					   count_below(hunt, link->first, type),
					   hunt->retention->retained[link->first],
					   hunt->retention->retained[link->first] };
}

/* What nothing holds, as one suspect with the type of which there is most. */
static void look_for_lost(struct hunt *hunt)
{
	const struct retention *retention = hunt->retention;
	size_t count = hunt->view->objects->types.list.count;
	struct suspect lost = { .kind = SUSPECT_LOST, .first = OBJECT_NONE };
	struct suspect *added;

	for (size_t i = 0; i < count; i++)
		hunt->types[i].sum = 0;
	for (object_id i = 0; i < hunt->graph->count; i++) {
		if (retention->dominators[i] != OBJECT_NONE)
			continue;
		lost.objects++;
		lost.retained += retention->sizes[i];
		hunt->types[name_index(hunt, i)].sum += retention->sizes[i];
	}
	if (lost.retained < hunt->suspects->threshold)
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (hunt->types[i].sum > hunt->types[lost.type].sum)
			lost.type = i;
	}
	for (object_id i = 0; i < hunt->graph->count && lost.first == OBJECT_NONE; i++) {
		if (retention->dominators[i] == OBJECT_NONE && name_index(hunt, i) == lost.type)
			lost.first = i;
	}
	lost.above = lost.first;
	lost.piled_up = lost.retained;
	added = add_suspect(hunt);
	if (added)
		*added = lost;
}

static int compare_suspects(const void *a, const void *b)
{
	const struct suspect *left = a, *right = b;

	if (left->piled_up != right->piled_up)
		return left->piled_up > right->piled_up ? -1 : 1;
	return left->first < right->first ? -1 : left->first > right->first;
}

/* The longest chain comes first: what it holds is no chain of its own. */
static void join_all_links(struct hunt *hunt)
{
	size_t count = hunt->view->objects->types.list.count;

	while (true) {
		uint32_t longest = TYPE_NONE;

		for (uint32_t i = 0; i < count; i++) {
			if (hunt->types[i].visited >= CHAIN_LENGTH &&
			    (longest == TYPE_NONE ||
			     hunt->retention->retained[hunt->types[i].first] >
				     hunt->retention->retained[hunt->types[longest].first]))
				longest = i;
		}
		if (longest == TYPE_NONE)
			return;
		join_links(hunt, longest);
		hunt->types[longest].visited = 0;
	}
}

bool suspects_find(struct suspects *suspects, const struct graph *graph,
		   const struct heap_view *view, const struct retention *retention,
		   const struct ways *ways)
{
	struct known_role last = { OBJECT_NONE, ROLE_PROGRAM };
	struct hunt hunt = {
		.suspects = suspects,
		.graph = graph,
		.view = view,
		.retention = retention,
		.ways = ways,
		.last = &last,
	};

	if (!note_roles(&hunt))
		return false;
	for (object_id i = 0; i < graph->count; i++)
		suspects->sum += retention->sizes[i];
	suspects->threshold = MAX(suspects->sum / SHARE_DIVISOR, LEAST_BYTES);
	visit(&hunt, graph->count);
	while (hunt.stack.count && !hunt.failed)
		visit(&hunt, hunt.stack.items[--hunt.stack.count]);
	free(hunt.stack.items);
	join_all_links(&hunt);
	look_for_lost(&hunt);
	free(hunt.types);
	if (suspects->list.count)
		qsort(suspects->list.items, suspects->list.count, sizeof(*suspects->list.items),
		      compare_suspects);
	return !hunt.failed;
}

void suspects_deinit(struct suspects *suspects)
{
	free(suspects->list.items);
	*suspects = (struct suspects){ 0 };
}
