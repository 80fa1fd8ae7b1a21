/* SPDX-License-Identifier: MIT */
/* Suspects in words, for a person who knows the program and not CPython. */
#include <ctype.h>
#include <stdlib.h>

#include "../base/cleanup.h"
#include "../cpython/values.h"
#include "holders.h"

#define STEPS_SHOWN  48       /* of a longer way the first and last ones */
#define LOCAL        "local " /* what names of local variables begin with */
#define TYPES_SHOWN  3
#define VARIABLE_MAX 200
#define DEPTH_MAX    16
#define CLOSURE_MAX  (1 << 16)

/* A way that is being told. */
struct telling {
	struct memheap_report *report;
	const struct holders *holders;
	const struct graph *graph;
	object_id *objects; /* on the way, the root's first */
	const char **names; /* of the steps to them */
	size_t count;
	const char *expression, *remarks;
};

static const struct type *type_of(const struct telling *telling, object_id id)
{
	const struct memheap_snapshot *s = telling->report->snapshot;

	return &s->objects.types.list.items[graph_type(telling->graph, &s->blocks, id)];
}

static bool is_a(const struct telling *telling, size_t step, const char *name)
{
	return step < telling->count &&
	       !strcmp(type_of(telling, telling->objects[step])->name, name);
}

static bool is_called(const struct telling *telling, size_t step, const char *name)
{
	return step < telling->count && !strcmp(telling->names[step], name);
}

static void remark(struct telling *telling, const char *text)
{
	if (text && telling->remarks)
		telling->remarks = report_text(telling->report, "%s %s", telling->remarks, text);
}

struct code_search {
	const struct heap_view *view;
	vaddr code;
};

static void compare_code(void *closure, block_id to, const struct reference *reference)
{
	struct code_search *search = closure;
	const struct type *types = search->view->objects->types.list.items;

	if (!search->code && !strcmp(types[tag_type(search->view->map->tags[to])].name, "code"))
		search->code = reference->to;
}

/* The code of a function, frame or generator; 0: it has none. */
static vaddr code_of(const struct telling *telling, object_id id)
{
	struct code_search search = { &telling->holders->view, 0 };
	struct object object;

	if (object_get(search.view, telling->graph->blocks[id], &object))
		references_visit(search.view, &object, compare_code, &search);
	return search.code;
}

/* "f() at app.py:12", the line where the function begins; NULL: it is not known. */
static const char *function_name(const struct telling *telling, object_id id)
{
	const struct python *python = &telling->report->snapshot->python;
	struct thread_frame frame = { .code = code_of(telling, id) };
	uint64_t line;

	if (!frame.code)
		return NULL;
	if (memory_field(&python->memory, frame.code, FIELD_CODE_FIRST_LINE, &line))
		frame.line = (uint32_t)line;
	return thread_frame_name(python, &frame, &telling->report->strings);
}

/* What the function calls the variable in cell `index` of its closure of `count` cells. */
static const char *free_variable(const struct telling *telling, object_id function, uint64_t index,
				 uint64_t count)
{
	const struct memory *memory = &telling->report->snapshot->python.memory;
	vaddr code = code_of(telling, function);
	uint64_t names, size, name;

	/* free variables are the last ones: 3.11 has one tuple of all locals */
	if (!code ||
	    (!memory_field(memory, code, FIELD_CODE_LOCALS_NAMES, &names) &&
	     !memory_field(memory, code, FIELD_CODE_FREE_VARS, &names)) ||
	    !memory_field(memory, names, FIELD_VAR_SIZE, &size) || size > CLOSURE_MAX ||
	    count > size || index >= count ||
	    !image_u64(memory->image,
		       names + layout_offset(memory->layout, FIELD_TUPLE_ITEMS) +
			       (size - count + index) * sizeof(vaddr),
		       &name))
		return NULL;
	return str_value(memory, name, VARIABLE_MAX, &telling->report->strings);
}

/* Tells of steps [i, i + 3]: a function, its closure, a cell, what is in it. */
static void remark_closure(struct telling *telling, size_t i)
{
	const struct memory *memory = &telling->report->snapshot->python.memory;
	const char *name = function_name(telling, telling->objects[i]), *variable;
	struct object closure;
	uint64_t count;

	if (!is_called(telling, i + 1, ".__closure__") || i + 2 >= telling->count || !name ||
	    !object_get(&telling->holders->view, telling->graph->blocks[telling->objects[i + 1]],
			&closure) ||
	    !memory_field(memory, closure.at, FIELD_VAR_SIZE, &count))
		return;
	variable = free_variable(telling, telling->objects[i],
				 strtoull(telling->names[i + 2] + 1, NULL, 10), count);
	if (variable)
		remark(telling,
		       report_text(telling->report,
				   "The function %s is a closure, which keeps the variable "
				   "%s.",
				   name, variable));
}

static void remark_lru_cache(struct telling *telling, size_t i)
{
	const struct edges *out = &telling->graph->out;
	object_id id = telling->objects[i];
	const char *name = NULL;

	for (uint32_t j = out->first[id]; j < out->first[id + 1] && !name; j++) {
		object_id to = edge_id(out->to[j]);

		if (!strcmp(type_of(telling, to)->name, "function"))
			name = function_name(telling, to);
	}
	remark(telling, report_text(telling->report, "functools.lru_cache keeps the results of %s.",
				    name ? name : "a function"));
}

static void remark_frame(struct telling *telling, size_t i)
{
	const char *name = function_name(telling, telling->objects[i]);
	bool local =
		i + 1 < telling->count && !strncmp(telling->names[i + 1], LOCAL, strlen(LOCAL));

	if (!name || !is_called(telling, i, ".tb_frame"))
		return;
	remark(telling, report_text(telling->report, "A traceback keeps the frame of %s%s%s.", name,
				    local ? ", with the local variable " : "",
				    local ? telling->names[i + 1] + strlen(LOCAL) : ""));
}

/* Whether objects of the type keep variables of a function. */
static bool is_code_holder(const struct type *type)
{
	static const char *const names[] = { "function",      "method",
					     "frame",         "generator",
					     "coroutine",     "async_generator",
					     "traceback",     "functools.partial",
					     "instancemethod" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(type->name, names[i]))
			return true;
	}
	return false;
}

static void make_remarks(struct telling *telling)
{
	for (size_t i = 0; i < telling->count; i++) {
		if (is_a(telling, i, "function"))
			remark_closure(telling, i);
		if (is_a(telling, i, "functools._lru_cache_wrapper"))
			remark_lru_cache(telling, i);
		if (is_a(telling, i, "frame"))
			remark_frame(telling, i);
		if (is_a(telling, i, "_thread._local") || is_a(telling, i, "thread._local"))
			remark(telling, "It is thread-local: a thread keeps it until it ends.");
		if (is_called(telling, i + 1, ".__traceback__"))
			remark(telling, report_text(telling->report, "The exception is a %s.",
						    type_of(telling, telling->objects[i])->name));
	}
}

/* The attribute that the key between brackets is, or NULL: "["name"]" → "name". */
static const char *attribute_of(struct telling *telling, const char *key)
{
	size_t length = strlen(key);

	if (length < 5 || strncmp(key, "[\"", 2) || strcmp(key + length - 2, "\"]"))
		return NULL;
	for (size_t i = 2; i < length - 2; i++) {
		unsigned char character = (unsigned char)key[i];

		if (!isalnum(character) && character != '_' && character < 0x80)
			return NULL;
	}
	return report_text(telling->report, "%.*s", (int)length - 4, key + 2);
}

/* How many steps from `i` on are one, and what it is called: those that nobody writes. */
static size_t write_step(struct telling *telling, size_t i, const char **ret)
{
	bool local = is_called(telling, i, ".dummies") || is_called(telling, i, ".localdicts");
	size_t key = i + (local ? 2 : 1);
	const char *name = telling->names[i], *attribute;

	/* of a thread-local object, the dict of the thread */
	if ((local || is_called(telling, i, ".__dict__")) && key < telling->count) {
		attribute = attribute_of(telling, telling->names[key]);
		if (attribute) {
			*ret = report_text(telling->report, ".%s", attribute);
			return key + 1 - i;
		}
	}
	if (is_called(telling, i - 1, ".tb_frame") && !strncmp(name, LOCAL, strlen(LOCAL))) {
		*ret = report_text(telling->report, ".f_locals[\"%s\"]", name + strlen(LOCAL));
		return 1;
	}
	*ret = *name == '.' || *name == '[' ? name : report_text(telling->report, " → %s", name);
	return 1;
}

static void write_expression(struct telling *telling)
{
	const char *module = telling->count > 1 && is_called(telling, 0, "sys.modules")
				     ? attribute_of(telling, telling->names[1])
				     : NULL;

	telling->expression = module ? module : telling->names[0];
	for (size_t i = module ? 2 : 1; i < telling->count;) {
		const char *step;

		i += write_step(telling, i, &step);
		if (!step || !telling->expression)
			return;
		telling->expression =
			report_text(telling->report, "%s%s", telling->expression, step);
	}
}

/* Lists the objects on the way, and how their steps are called. */
static bool list_steps(struct telling *telling, object_id id)
{
	const object_id *before = telling->holders->ways.before;
	const struct way_names naming = {
		.ways = &telling->holders->ways,
		.graph = telling->graph,
		.roots = &telling->holders->retention.roots,
		.sources = &telling->holders->sources,
		.values = telling->report->query.values,
		.strings = &telling->report->strings,
	};
	size_t length = 0, left_out, at;

	for (object_id i = id; i != telling->graph->count; i = before[i])
		length++;
	left_out = length > STEPS_SHOWN ? length - STEPS_SHOWN : 0;
	telling->count = length - left_out;
	telling->objects = calloc(telling->count + 1, sizeof(*telling->objects));
	telling->names = calloc(telling->count + 1, sizeof(*telling->names));
	if (!telling->objects || !telling->names)
		return false;
	at = length;
	for (object_id i = id; at--; i = before[i]) {
		bool last = at >= STEPS_SHOWN / 2 + left_out;
		size_t step = last ? at - left_out : at;
		const char *name;

		if (!last && at >= STEPS_SHOWN / 2)
			continue;
		name = way_step_name(&naming, i);
		telling->objects[step] = i;
		telling->names[step] = name ? name : "?";
	}
	if (left_out)
		telling->names[STEPS_SHOWN / 2] =
			report_text(telling->report, "… %zu steps … %s", left_out,
				    telling->names[STEPS_SHOWN / 2]);
	return !telling->report->failed;
}

struct way_words way_in_words(struct memheap_report *report, const struct holders *holders,
			      object_id id)
{
	struct telling telling = {
		.report = report,
		.holders = holders,
		.graph = &report->snapshot->graph,
		.remarks = "",
	};

	if (id == telling.graph->count || holders->ways.before[id] == OBJECT_NONE)
		return (struct way_words){ .remarks = "" };
	if (list_steps(&telling, id)) {
		write_expression(&telling);
		make_remarks(&telling);
	} else {
		report->failed = true;
		free(telling.names);
		telling.names = NULL;
		telling.count = 0;
	}
	free(telling.objects);
	return (struct way_words){ telling.names, telling.count, telling.expression,
				   telling.remarks };
}

/* "5.1 MiB" */
static const char *size_text(struct memheap_report *report, uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	while (value >= 1023.95 && unit + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		unit++;
	}
	return report_text(report, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

/* "12,000" */
static const char *count_text(struct memheap_report *report, uint64_t count)
{
	const char *text = "";

	for (; count >= 1000 && text; count /= 1000)
		text = report_text(report, ",%03llu%s", (unsigned long long)(count % 1000), text);
	return text ? report_text(report, "%llu%s", (unsigned long long)count, text) : NULL;
}

/* What of one type an object dominates at once. */
struct content {
	uint64_t objects, retained;
};

/* "12,000 app.Order (5.1 MiB), 12,000 int (…)": the children in the tree of dominators. */
static const char *contents_text(struct memheap_report *report, const struct holders *holders,
				 object_id id)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct retention *retention = &holders->retention;
	const char *text = "";

	_cleanup_free_ struct content *contents =
		calloc(s->objects.types.list.count + 1, sizeof(*contents));
	if (!contents)
		return NULL;
	for (object_id i = retention->child[id]; i != OBJECT_NONE; i = retention->sibling[i]) {
		uint32_t type = graph_type(&s->graph, &s->blocks, i);
		struct content *content = &contents[s->objects.types.list.items[type].namesake];

		content->objects++;
		content->retained += retention->retained[i];
	}
	for (int i = 0; i < TYPES_SHOWN && text; i++) {
		size_t most = 0;

		for (size_t j = 1; j < s->objects.types.list.count; j++) {
			if (contents[j].retained > contents[most].retained)
				most = j;
		}
		/* what is little is not what the leak is made of */
		if (contents[most].retained < retention->retained[id] / 20)
			break;
		text = report_text(report, "%s%s%s %s (%s)", text, *text ? ", " : "",
				   count_text(report, contents[most].objects),
				   s->objects.types.list.items[most].name,
				   size_text(report, contents[most].retained));
		contents[most].retained = 0;
	}
	return text;
}

/* What most lies in below an object that holds several, if that is worth a look. */
static object_id largest_below(const struct memheap_report *report, const struct holders *holders,
			       object_id id)
{
	const struct retention *retention = &holders->retention;
	const struct memheap_snapshot *s = report->snapshot;
	object_id largest = OBJECT_NONE;

	for (object_id i = retention->child[id]; i != OBJECT_NONE; i = retention->sibling[i]) {
		if (largest == OBJECT_NONE || retention->retained[i] > retention->retained[largest])
			largest = i;
	}
	/* what a function or a generator keeps has a name of its own */
	if (largest == OBJECT_NONE ||
	    !is_code_holder(
		    &s->objects.types.list.items[graph_type(&s->graph, &s->blocks, largest)]))
		return OBJECT_NONE;
	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		object_id most = OBJECT_NONE, i = retention->child[largest];

		for (; i != OBJECT_NONE; i = retention->sibling[i]) {
			if (retention->retained[i] > retention->retained[largest] / 2)
				most = i;
		}
		if (most == OBJECT_NONE)
			break;
		largest = most;
	}
	return largest;
}

/* " The largest is app.callbacks[3]….", with remarks; "" where nothing is to be told. */
static const char *largest_text(struct memheap_report *report, const struct holders *holders,
				object_id id)
{
	object_id largest = largest_below(report, holders, id);
	struct way_words way;

	if (largest == OBJECT_NONE)
		return "";
	way = way_in_words(report, holders, largest);
	free(way.names);
	return way.expression ? report_text(report, " The largest is in %s.%s", way.expression,
					    way.remarks ? way.remarks : "")
			      : "";
}

/* How much, and which part of all. */
static const char *amount_text(struct memheap_report *report, const struct holders *holders,
			       const struct suspect *suspect)
{
	return report_text(report, "%s, %.0f %% of what all objects take",
			   size_text(report, suspect->retained),
			   (double)suspect->retained * 100 / (double)holders->suspects.sum);
}

static const char *object_text(struct memheap_report *report, const struct holders *holders,
			       const struct suspect *suspect, const char *holder)
{
	const char *amount = amount_text(report, holders, suspect);
	const char *contents = contents_text(report, holders, suspect->first);
	uint64_t own = holders->retention.sizes[suspect->first];
	const char *type = report->snapshot->objects.types.list.items[suspect->type].name;

	if (own >= suspect->retained / 2)
		return report_text(report,
				   "%s, a %s, is so large by itself: %s, of which it holds "
				   "%s in its own memory.",
				   holder, type, amount, size_text(report, own));
	return report_text(report, "%s, a %s, holds %s%s%s.%s", holder, type, amount,
			   contents && *contents ? ": " : "", contents ? contents : "",
			   largest_text(report, holders, suspect->first));
}

static const char *group_text(struct memheap_report *report, const struct holders *holders,
			      const struct suspect *suspect, const char *holder)
{
	const char *amount = amount_text(report, holders, suspect);
	const char *count = count_text(report, suspect->objects);
	const char *type = report->snapshot->objects.types.list.items[suspect->type].name;
	struct way_words way;
	const char *text;

	if (holder)
		return report_text(report,
				   "%s objects of type %s hold %s. Most are reached through %s, "
				   "but each is held by something else, too.",
				   count, type, amount, holder);
	way = way_in_words(report, holders, suspect->first);
	text = report_text(report,
			   "%s objects of type %s hold %s. They have no holder in common; the "
			   "largest is %s.",
			   count, type, amount, way.expression ? way.expression : "?");
	free(way.names);
	return text;
}

const char *suspect_in_words(struct memheap_report *report, const struct holders *holders,
			     const struct suspect *suspect, const struct way_words *way)
{
	const char *type = report->snapshot->objects.types.list.items[suspect->type].name;
	const char *holder = way->expression, *text = NULL;

	switch ((enum suspect_kind)suspect->kind) {
	case SUSPECT_OBJECT:
		text = object_text(report, holders, suspect, holder ? holder : "?");
		break;
	case SUSPECT_GROUP:
		text = group_text(report, holders, suspect, holder);
		break;
	case SUSPECT_CHAIN:
		text = report_text(report,
				   "%s objects of type %s hold %s, each with the next: a chain "
				   "that begins at %s.",
				   count_text(report, suspect->objects), type,
				   amount_text(report, holders, suspect), holder ? holder : "?");
		break;
	case SUSPECT_LOST:
		text = report_text(
			report,
			"Nothing that memheap knows holds %s objects of %s, most of them of type "
			"%s: garbage that no collection has come to (see memheap cycles), or "
			"references that C code keeps, or has forgotten.",
			count_text(report, suspect->objects), amount_text(report, holders, suspect),
			type);
		break;
	}
	return text ? report_text(report, "%s%s", text, way->remarks ? way->remarks : "") : NULL;
}
