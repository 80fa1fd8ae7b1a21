/* SPDX-License-Identifier: MIT */
/* Types of standard extension modules with one or two blocks of their own. */
#include "decoders.h"

#define CODES_MAX          (1 << 20)
#define NODES_MAX          (1 << 20)
#define DECIMAL_DATA_FLAGS 0xE0 /* libmpdec: MPD_STATIC_DATA, MPD_SHARED_DATA, MPD_CONST_DATA */

/* Modules/_struct.c, s_sizeof(): records up to and with the first without a format. */
static bool struct_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t bytes = layout_offset(layout, SIZE_STRUCT_CODE), format;
	vaddr first, code;

	if (!basic_measure(measure, object))
		return false;
	first = code = object_field(measure, object, FIELD_STRUCT_CODES);
	for (int i = 0; i < CODES_MAX; i++, code += bytes) {
		if (!memory_field(measure->memory, code, FIELD_STRUCT_CODE_FORMAT, &format)) {
			measure->unreadable = true;
			break;
		}
		measure->size += bytes;
		if (!format)
			break;
	}
	own(measure, first, measure->size - measure->inside, BUFFER_STRUCT_CODES);
	return true;
}

/* Modules/_decimal/_decimal.c, dec_sizeof() */
static bool decimal_measure(struct measure *measure, const struct object *object)
{
	uint64_t allocated;

	if (!basic_measure(measure, object))
		return false;
	if (object_field(measure, object, FIELD_DECIMAL_FLAGS) & DECIMAL_DATA_FLAGS)
		return true;
	allocated = object_field(measure, object, FIELD_DECIMAL_ALLOCATED);
	if (allocated >> 48)
		return false;
	measure->size += allocated * sizeof(uint64_t);
	own(measure, object_field(measure, object, FIELD_DECIMAL_DATA),
	    allocated * sizeof(uint64_t), BUFFER_DECIMAL_DIGITS);
	return true;
}

/* Modules/_elementtree.c, _elementtree_Element___sizeof___impl() */
static bool element_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	const uint8_t *bytes;
	vaddr extra, children;
	uint64_t room;

	if (!basic_measure(measure, object) || !object_has(measure, object, FIELD_ELEMENT_EXTRA))
		return false;
	extra = object_field(measure, object, FIELD_ELEMENT_EXTRA);
	if (!extra)
		return true;
	own(measure, extra, layout_offset(layout, SIZE_ELEMENT_EXTRA), BUFFER_XML_ELEMENT);
	measure->size += layout_offset(layout, SIZE_ELEMENT_EXTRA);
	bytes = memory_struct(measure->memory, extra, SIZE_ELEMENT_EXTRA);
	if (!bytes) {
		measure->unreadable = true;
		return true;
	}
	children = field_load(layout, bytes, FIELD_ELEMENT_EXTRA_CHILDREN);
	if (children == extra + layout_offset(layout, FIELD_ELEMENT_EXTRA_INLINE))
		return true;
	room = field_load(layout, bytes, FIELD_ELEMENT_EXTRA_ALLOCATED) * sizeof(vaddr);
	measure->size += room;
	own(measure, children, room, BUFFER_XML_ELEMENT);
	return true;
}

/*
 * element_gc_traverse(). The lowest bit of text and tail tells that they are lists of str to be
 * joined: JOIN_OBJ().
 */
static void element_visit(struct visitor *visitor, const struct object *object)
{
	const struct layout *layout = visitor->memory->layout;
	vaddr extra = visited_field(visitor, object, FIELD_ELEMENT_EXTRA);
	const uint8_t *bytes;

	refer_member(visitor, visitor->strong, visited_field(visitor, object, FIELD_ELEMENT_TAG),
		     "tag");
	refer_member(visitor, visitor->strong,
		     visited_field(visitor, object, FIELD_ELEMENT_TEXT) & ~1ULL, "text");
	refer_member(visitor, visitor->strong,
		     visited_field(visitor, object, FIELD_ELEMENT_TAIL) & ~1ULL, "tail");
	bytes = extra ? memory_struct(visitor->memory, extra, SIZE_ELEMENT_EXTRA) : NULL;
	if (!bytes)
		return;
	refer_member(visitor, visitor->strong,
		     field_load(layout, bytes, FIELD_ELEMENT_EXTRA_ATTRIBUTES), "attrib");
	refer_items(visitor, field_load(layout, bytes, FIELD_ELEMENT_EXTRA_CHILDREN),
		    field_load(layout, bytes, FIELD_ELEMENT_EXTRA_LENGTH));
}

/* elementiter_traverse(): the elements on the way to where it is. */
static void element_iterator_visit(struct visitor *visitor, const struct object *object)
{
	const struct memory *memory = visitor->memory;
	uint64_t bytes = layout_offset(memory->layout, SIZE_PARENT_LOCATOR);
	uint64_t count = visited_field(visitor, object, FIELD_ELEMENT_ITERATOR_USED);
	vaddr stack = visited_field(visitor, object, FIELD_ELEMENT_ITERATOR_STACK), parent;

	for (uint64_t i = 0; stack && i < count; i++) {
		if (!memory_field(memory, stack + i * bytes, FIELD_PARENT_LOCATOR_PARENT,
				  &parent)) {
			visitor->unreadable = true;
			return;
		}
		refer(visitor, parent, STEP_ITEM, i);
	}
}

static bool queue_measure(struct measure *measure, const struct object *object)
{
	const struct layout *layout = measure->memory->layout;
	uint64_t capacity;

	if (!basic_measure(measure, object))
		return false;
	if (!layout_knows(layout, CONSTANT_QUEUE_COUNTS_ITEMS) ||
	    !object_has(measure, object, FIELD_QUEUE_CAPACITY))
		return true;
	capacity = object_field(measure, object, FIELD_QUEUE_CAPACITY);
	if (capacity >> 48)
		return false;
	measure->size += capacity * sizeof(vaddr);
	own(measure, object_field(measure, object, FIELD_QUEUE_ITEMS), capacity * sizeof(vaddr),
	    BUFFER_EXTENSION);
	return true;
}

/* 3.13 Modules/_queuemodule.c: a ring; before it is a list, which references.def has. */
static void queue_visit(struct visitor *visitor, const struct object *object)
{
	vaddr items = visited_field(visitor, object, FIELD_QUEUE_ITEMS);
	uint64_t capacity = visited_field(visitor, object, FIELD_QUEUE_CAPACITY);
	uint64_t first = visited_field(visitor, object, FIELD_QUEUE_GET);
	uint64_t count = visited_field(visitor, object, FIELD_QUEUE_COUNT), to;

	for (uint64_t i = 0; i < count && count <= capacity; i++) {
		vaddr at = items + (first + i) % capacity * sizeof(vaddr);

		if (!image_u64(visitor->memory->image, at, &to)) {
			visitor->unreadable = true;
			return;
		}
		refer(visitor, to, STEP_ITEM, i);
	}
}

/* 3.10 Modules/_sqlite/cache.c, cache_traverse(): all nodes, which a dict has, too. */
static void sqlite_cache_visit(struct visitor *visitor, const struct object *object)
{
	vaddr node = visited_field(visitor, object, FIELD_SQLITE_CACHE_FIRST);

	for (int i = 0; node && i < NODES_MAX; i++) {
		refer(visitor, node, STEP_ITEM, (uint64_t)i);
		if (!memory_field(visitor->memory, node, FIELD_SQLITE_NODE_NEXT, &node))
			return;
	}
}

static bool lock_measure(struct measure *measure, const struct object *object)
{
	if (!plain_measure(measure, object))
		return false;
	if (object_has(measure, object, FIELD_LOCK_LOCK))
		own(measure, object_field(measure, object, FIELD_LOCK_LOCK), 0, BUFFER_LOCK);
	return true;
}

static bool rlock_measure(struct measure *measure, const struct object *object)
{
	if (!plain_measure(measure, object))
		return false;
	if (object_has(measure, object, FIELD_RLOCK_LOCK))
		own(measure, object_field(measure, object, FIELD_RLOCK_LOCK), 0, BUFFER_LOCK);
	return true;
}

/*
 * Modules/_datetimemodule.c: without a time zone the object is allocated without the member for
 * it, although tp_basicsize counts it.
 */
static bool zoned_measure(struct measure *measure, const struct object *object,
			  enum field_id has_zone, enum field_id zone)
{
	uint64_t bare = layout_offset(measure->memory->layout, zone);

	measure->size = measure->inside = object->type->basic_size;
	if (bare && bare <= object->room && !object_field(measure, object, has_zone)) {
		measure->inside = MIN(measure->size, bare);
		measure->elsewhere = measure->size - measure->inside;
	}
	return measure->inside <= object->room;
}

static void visit_zone(struct visitor *visitor, const struct object *object, enum field_id has_zone,
		       enum field_id zone)
{
	if (visited_field(visitor, object, has_zone))
		refer_member(visitor, visitor->strong, visited_field(visitor, object, zone),
			     "tzinfo");
}

static void datetime_visit(struct visitor *visitor, const struct object *object)
{
	visit_zone(visitor, object, FIELD_DATETIME_HAS_ZONE, FIELD_DATETIME_ZONE);
}

static void time_visit(struct visitor *visitor, const struct object *object)
{
	visit_zone(visitor, object, FIELD_TIME_HAS_ZONE, FIELD_TIME_ZONE);
}

static bool datetime_measure(struct measure *measure, const struct object *object)
{
	return zoned_measure(measure, object, FIELD_DATETIME_HAS_ZONE, FIELD_DATETIME_ZONE);
}

static bool time_measure(struct measure *measure, const struct object *object)
{
	return zoned_measure(measure, object, FIELD_TIME_HAS_ZONE, FIELD_TIME_ZONE);
}

/* Modules/_operator.c: 3.13 makes an array of the arguments at the first call. */
static bool method_caller_measure(struct measure *measure, const struct object *object)
{
	if (!basic_measure(measure, object))
		return false;
	if (layout_has(measure->memory->layout, FIELD_METHOD_CALLER_XARGS))
		own(measure, object_field(measure, object, FIELD_METHOD_CALLER_CALL_ARGS), 0,
		    BUFFER_CALL_ARGUMENTS);
	return true;
}

/*
 * Modules/_operator.c, methodcaller_traverse(): 3.14 visits the arguments for calls. 3.13 has an
 * array of borrowed ones, and the names of keywords, which it does not visit, and does not even
 * clear before that array is made.
 */
static void method_caller_visit(struct visitor *visitor, const struct object *object)
{
	vaddr arguments = visited_field(visitor, object, FIELD_METHOD_CALLER_CALL_ARGS);
	vaddr names = visited_field(visitor, object, FIELD_METHOD_CALLER_CALL_NAMES);

	if (!layout_has(visitor->memory->layout, FIELD_METHOD_CALLER_XARGS)) {
		refer_member(visitor, visitor->strong, arguments, "vectorcall_args");
		refer_member(visitor, visitor->strong, names, "vectorcall_kwnames");
	} else if (arguments) {
		refer_member(visitor, REFERENCE_EXTRA, names, "vectorcall_kwnames");
	}
}

const struct decoder decoder_struct = {
	.type_name = "_struct.Struct",
	.size = SIZE_STRUCT,
	.measure = struct_measure,
};

/* the name of the type up to 3.8, without a module */
const struct decoder decoder_struct_3_8 = {
	.type_name = "Struct",
	.size = FIELD_COUNT,
	.measure = struct_measure,
};

const struct decoder decoder_decimal = {
	.type_name = "decimal.Decimal",
	.size = SIZE_DECIMAL,
	.measure = decimal_measure,
};

const struct decoder decoder_element = {
	.type_name = "xml.etree.ElementTree.Element",
	.size = SIZE_ELEMENT,
	.measure = element_measure,
	.visit = element_visit,
};

/* the name of the type in 2.7 */
const struct decoder decoder_element_2 = {
	.type_name = "Element",
	.size = SIZE_ELEMENT,
	.measure = element_measure,
	.visit = element_visit,
};

const struct decoder decoder_element_iterator = {
	.type_name = "_elementtree._element_iterator",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = basic_measure,
	.visit = element_iterator_visit,
};

const struct decoder decoder_method_caller = {
	.type_name = "operator.methodcaller",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = method_caller_measure,
	.visit = method_caller_visit,
};

const struct decoder decoder_sqlite_cache = {
	.type_name = "sqlite3.Cache",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = basic_measure,
	.visit = sqlite_cache_visit,
};

const struct decoder decoder_simple_queue = {
	.type_name = "_queue.SimpleQueue",
	.size = FIELD_COUNT,
	.by_name = true,
	.measure = queue_measure,
	.visit = queue_visit,
};

const struct decoder decoder_lock = {
	.type_name = "_thread.lock",
	.size = SIZE_LOCK,
	.measure = lock_measure,
};

/* the name of the type in 2.7 */
const struct decoder decoder_lock_2 = {
	.type_name = "thread.lock",
	.size = FIELD_COUNT,
	.measure = lock_measure,
};

const struct decoder decoder_rlock = {
	.type_name = "_thread.RLock",
	.size = SIZE_RLOCK,
	.measure = rlock_measure,
};

const struct decoder decoder_datetime = {
	.type_name = "datetime.datetime",
	.size = SIZE_DATETIME,
	.measure = datetime_measure,
	.visit = datetime_visit,
};

const struct decoder decoder_time = {
	.type_name = "datetime.time",
	.size = SIZE_TIME,
	.measure = time_measure,
	.visit = time_visit,
};
