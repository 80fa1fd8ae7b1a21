/* SPDX-License-Identifier: MIT */
#include <elf.h>

#include "dict_keys.h"
#include "free_lists.h"
#include "gc_head.h"

#define CHAIN_MAX        100000
#define TUPLE_LISTS_MAX  64
#define TUPLE_LENGTH_END 20
#define NEAR_BYTES       64 /* how near a list's count stands to its head */
#define KEYS_MIN_SLOTS   8  /* Objects/dictobject.c: PyDict_MINSIZE */

const char *const free_list_names[FREE_LIST_KINDS] = {
#define FREE_LIST(name, text, type) text,
#include "free_lists.def"
#undef FREE_LIST
};

static const char *const parked_types[FREE_LIST_KINDS] = {
#define FREE_LIST(name, text, type) type,
#include "free_lists.def"
#undef FREE_LIST
};

struct marking {
	struct block_map *map;
	const struct python *python;
	const struct type_table *types;
	uint32_t unicode; /* index of 2.7's type unicode, or TYPE_NONE */
};

/* The index of a static type of this name, or TYPE_NONE. */
static uint32_t find_static_type(const struct type_table *types, const char *name)
{
	for (uint32_t i = 0; i < types->list.count; i++) {
		if (!types->list.items[i].heap && !strcmp(types->list.items[i].name, name))
			return i;
	}
	return TYPE_NONE;
}

/* Parks the used block that holds the dead object at `at`; false when there is none. Blocks of a
 * malloc that could not be walked are not known. */
static bool park(const struct marking *marking, vaddr at, enum free_list_kind kind)
{
	struct block block;

	if (!block_find(marking->map, at, &block))
		return malloc_is_unwalked(&marking->map->malloc, at);
	if (marking->map->tags[block.id] != BLOCK_USED)
		return false;
	marking->map->tags[block.id] = tag_make(BLOCK_PARKED, kind, TYPE_NONE);
	return true;
}

static void report_break(const struct marking *marking, vaddr at)
{
	gap_add(&marking->map->gaps, GAP_FREE_LIST_DAMAGED, at, 0);
}

/* Whether a list of this length, -1, is closed for ever: of a thread that has ended, and in
 * free-threaded builds also of one that has forked, which ends the others for them. 3.13
 * Python/pystate.c, PyThreadState_Clear(); Objects/floatobject.c, _PyFloat_ClearFreeList() */
static bool is_closed(uint64_t length)
{
	return (uint32_t)length == UINT32_MAX;
}

/* Parks `count` objects of an array of pointers. */
static void park_array(const struct marking *marking, vaddr array, uint64_t count,
		       enum free_list_kind kind)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t object;

		if (!image_u64(marking->python->memory.image, array + i * sizeof(vaddr), &object) ||
		    !park(marking, object, kind)) {
			report_break(marking, array + i * sizeof(vaddr));
			return;
		}
	}
}

/* Parks `count` objects that are linked through field `link`. */
static void park_chain(const struct marking *marking, vaddr object, uint64_t count,
		       enum field_id link, enum free_list_kind kind)
{
	for (uint64_t i = 0; i < count && i < CHAIN_MAX; i++) {
		if (!park(marking, object, kind) ||
		    !memory_field(&marking->python->memory, object, link, &object)) {
			report_break(marking, object);
			return;
		}
	}
}

/* A free list of an interpreter, or of a thread. */
struct list_row {
	enum free_list_kind kind;
	enum field_id list, count;
	enum field_id link; /* of a chain; FIELD_COUNT: an array of pointers */
};

/* 3.10-3.13 Include/internal/pycore_interp.h and pycore_freelist.h; how each is linked: float
 * Objects/floatobject.c (through ob_type), frame frameobject.c, exceptions.c (through dict),
 * context Python/context.c (through ctx_weakreflist). */
static const struct list_row rows[] = {
	{ FREE_LIST_FLOAT, FIELD_FLOAT_FREE_LIST, FIELD_FLOAT_FREE_COUNT, FIELD_OBJECT_TYPE },
	{ FREE_LIST_LIST, FIELD_LIST_FREE_LIST, FIELD_LIST_FREE_COUNT, FIELD_COUNT },
	{ FREE_LIST_DICT, FIELD_DICT_FREE_LIST, FIELD_DICT_FREE_COUNT, FIELD_COUNT },
	{ FREE_LIST_DICT_KEYS, FIELD_KEYS_FREE_LIST, FIELD_KEYS_FREE_COUNT, FIELD_COUNT },
	{ FREE_LIST_CONTEXT, FIELD_CONTEXT_FREE_LIST, FIELD_CONTEXT_FREE_COUNT,
	  FIELD_CONTEXT_WEAK_LIST },
	{ FREE_LIST_FRAME, FIELD_FRAME_FREE_LIST, FIELD_FRAME_FREE_COUNT, FIELD_FRAME_BACK },
	{ FREE_LIST_GENERATOR_VALUE, FIELD_GEN_VALUE_FREE_LIST, FIELD_GEN_VALUE_FREE_COUNT,
	  FIELD_COUNT },
	{ FREE_LIST_GENERATOR_SEND, FIELD_GEN_SEND_FREE_LIST, FIELD_GEN_SEND_FREE_COUNT,
	  FIELD_COUNT },
};

static const struct list_row memory_error_row = {
	FREE_LIST_MEMORY_ERROR,
	FIELD_MEMORY_ERROR_FREE_LIST,
	FIELD_MEMORY_ERROR_FREE_COUNT,
	FIELD_EXCEPTION_DICT,
};

static void mark_row(const struct marking *marking, vaddr state, const struct list_row *row)
{
	const struct memory *memory = &marking->python->memory;
	uint64_t count, head;

	if (!memory_field(memory, state, row->count, &count) || is_closed(count))
		return;
	if (row->link == FIELD_COUNT) {
		uint64_t room = memory->layout->fields[row->list].size / sizeof(vaddr);

		park_array(marking, memory_address(memory, state, row->list), MIN(count, room),
			   row->kind);
	} else if (memory_field(memory, state, row->list, &head)) {
		park_chain(marking, head, count, row->link, row->kind);
	}
}

/* A list for each small length, linked through the first item. Objects/tupleobject.c */
static void mark_tuples(const struct marking *marking, vaddr state)
{
	const struct memory *memory = &marking->python->memory;
	const struct layout *layout = memory->layout;
	vaddr lists = memory_address(memory, state, FIELD_TUPLE_FREE_LISTS);
	vaddr counts = memory_address(memory, state, FIELD_TUPLE_FREE_COUNTS);
	uint64_t room = layout->fields[FIELD_TUPLE_FREE_LISTS].size / sizeof(vaddr);
	/* up to 3.10 the first list holds the live empty tuple */
	uint64_t first = !layout_constant(layout, CONSTANT_TUPLE_FREE_LIST_FIRST);

	if (!layout_has(layout, FIELD_TUPLE_FREE_LISTS))
		return;
	for (uint64_t i = first; i < MIN(room, (uint64_t)TUPLE_LISTS_MAX); i++) {
		uint64_t head;
		uint32_t count;

		if (image_u64(memory->image, lists + i * sizeof(vaddr), &head) &&
		    image_u32(memory->image, counts + i * sizeof(count), &count) &&
		    !is_closed(count))
			park_chain(marking, head, count, FIELD_TUPLE_ITEMS, FREE_LIST_TUPLE);
	}
}

/* A list since 3.14. */
struct state_row {
	enum free_list_kind kind;
	enum field_id list; /* a struct _Py_freelist, or an array of them */
};

/* 3.14 Include/internal/pycore_interp_structs.h, struct _Py_freelists; how they are linked:
 * pycore_freelist.h, _PyFreeList_Push() */
static const struct state_row state_rows[] = {
	{ FREE_LIST_FLOAT, FIELD_FREE_FLOATS },
	{ FREE_LIST_COMPLEX, FIELD_FREE_COMPLEXES },
	{ FREE_LIST_INT, FIELD_FREE_INTS },
	{ FREE_LIST_TUPLE, FIELD_FREE_TUPLES },
	{ FREE_LIST_LIST, FIELD_FREE_LISTS },
	{ FREE_LIST_LIST_ITERATOR, FIELD_FREE_LIST_ITERATORS },
	{ FREE_LIST_TUPLE_ITERATOR, FIELD_FREE_TUPLE_ITERATORS },
	{ FREE_LIST_DICT, FIELD_FREE_DICTS },
	{ FREE_LIST_DICT_KEYS, FIELD_FREE_DICT_KEYS },
	{ FREE_LIST_SLICE, FIELD_FREE_SLICES },
	{ FREE_LIST_RANGE, FIELD_FREE_RANGES },
	{ FREE_LIST_RANGE_ITERATOR, FIELD_FREE_RANGE_ITERATORS },
	{ FREE_LIST_CONTEXT, FIELD_FREE_CONTEXTS },
	{ FREE_LIST_GENERATOR_VALUE, FIELD_FREE_GENERATOR_VALUES },
	{ FREE_LIST_GENERATOR_SEND, FIELD_FREE_GENERATOR_SENDS },
	{ FREE_LIST_FUTURE_ITERATOR, FIELD_FREE_FUTURE_ITERATORS },
	{ FREE_LIST_STACK_CHUNK, FIELD_FREE_STACK_CHUNKS },
	{ FREE_LIST_STR_WRITER, FIELD_FREE_STR_WRITERS },
	{ FREE_LIST_BYTES_WRITER, FIELD_FREE_BYTES_WRITERS },
	{ FREE_LIST_BUILTIN, FIELD_FREE_FUNCTIONS },
	{ FREE_LIST_BUILTIN, FIELD_FREE_C_METHODS },
	{ FREE_LIST_METHOD, FIELD_FREE_METHODS },
};

/* Parks `count` objects whose first words, where their refcounts were, link them. */
static void park_first_words(const struct marking *marking, vaddr object, uint64_t count,
			     enum free_list_kind kind)
{
	for (uint64_t i = 0; i < count && i < CHAIN_MAX; i++) {
		if (!park(marking, object, kind) ||
		    !image_u64(marking->python->memory.image, object, &object)) {
			report_break(marking, object);
			return;
		}
	}
}

/* Marks the lists of the struct _Py_freelists at `lists`. */
static void mark_state(const struct marking *marking, vaddr lists)
{
	const struct memory *memory = &marking->python->memory;
	uint64_t size = layout_offset(memory->layout, SIZE_FREE_LIST), head, count;

	for (size_t i = 0; size && i < ARRAY_SIZE(state_rows); i++) {
		const struct field *field = &memory->layout->fields[state_rows[i].list];
		vaddr at = lists + field->offset;

		if (field->source == FIELD_ABSENT)
			continue;
		for (uint64_t j = 0; j < field->size / size; j++, at += size) {
			if (memory_field(memory, at, FIELD_FREE_LIST_HEAD, &head) &&
			    memory_field(memory, at, FIELD_FREE_LIST_LENGTH, &count) &&
			    !is_closed(count))
				park_first_words(marking, head, count, state_rows[i].kind);
		}
	}
}

/* The list that the free objects of a number block are on. */
static enum free_list_kind number_list(const struct marking *marking,
				       const struct number_block *block)
{
	vaddr type = number_block_type(&marking->map->numbers, block);
	uint32_t index = type ? type_find(marking->types, type) : TYPE_NONE;
	const char *name = index == TYPE_NONE ? "" : marking->types->list.items[index].name;

	return !strcmp(name, "float") ? FREE_LIST_FLOAT
	       : !strcmp(name, "int") ? FREE_LIST_INT
				      : FREE_LIST_NUMBER;
}

/* 2.7: parks the free objects of the blocks of int and float. */
static void mark_numbers(const struct marking *marking)
{
	const struct number_blocks *numbers = &marking->map->numbers;
	block_tag link = tag_make(BLOCK_BUFFER, BUFFER_NUMBER_BLOCKS, TYPE_NONE);

	for (size_t i = 0; i < numbers->list.count; i++) {
		const struct number_block *block = &numbers->list.items[i];
		block_tag *tags = marking->map->tags + marking->map->first_chunk + block->chunk;
		block_tag parked = tag_make(BLOCK_PARKED, number_list(marking, block), TYPE_NONE);

		tags[0] = link;
		for (uint32_t j = 0; j < numbers->objects; j++) {
			if (block->free >> j & 1)
				tags[1 + j] = parked;
		}
		if (block->tail)
			tags[1 + numbers->objects] = link;
	}
}

/* Marks the lists of an interpreter, or (free-threaded builds) of a thread. */
static void mark_lists(const struct marking *marking, vaddr state)
{
	const struct memory *memory = &marking->python->memory;
	uint64_t slice;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		mark_row(marking, state, &rows[i]);
	mark_tuples(marking, state);
	if (memory_field(memory, state, FIELD_SLICE_CACHE, &slice) && slice)
		park(marking, slice, FREE_LIST_SLICE);
	if (layout_has(memory->layout, SIZE_FREE_LIST_STATE))
		mark_state(marking, memory_address(memory, state, FIELD_FREE_LIST_STATE));
}

void free_lists_mark(struct block_map *map, const struct python *python,
		     const struct type_table *types)
{
	struct marking marking = { map, python, types, TYPE_NONE };

	mark_numbers(&marking);
	for (size_t i = 0; i < python->interpreters.count; i++) {
		vaddr interp = python->interpreters.items[i].at;

		mark_row(&marking, interp, &memory_error_row);
		if (!layout_has(&python->layout, FIELD_THREAD_FREE_LISTS))
			mark_lists(&marking, interp);
	}
	for (size_t i = 0; i < python->threads.count; i++) {
		if (layout_has(&python->layout, FIELD_THREAD_FREE_LISTS))
			mark_lists(&marking, python->threads.items[i].at);
	}
}

/* The list that a dead object of this type would be on, or FREE_LIST_KINDS. */
static enum free_list_kind list_of_type(const struct type *type)
{
	for (int i = 0; i < FREE_LIST_KINDS; i++) {
		if (parked_types[i] && !strcmp(parked_types[i], type->name))
			return i;
	}
	return FREE_LIST_KINDS;
}

/*
 * Whether the dead frame at `at` may be on the list of frames: that links them
 * through f_back (3.9 Objects/frameobject.c, frame_dealloc()). One that was taken off the list, and
 * whose memory is something else now, leads to a frame that is in use again.
 */
static bool is_chained_frame(const struct marking *marking, vaddr at)
{
	const struct memory *memory = &marking->python->memory;
	const block_tag *tags = marking->map->tags;
	uint64_t back, refcount;
	struct block block;

	if (!memory_field(memory, at, FIELD_FRAME_BACK, &back))
		return false;
	return !back ||
	       (block_find(marking->map, back, &block) &&
		(tags[block.id] == BLOCK_USED || tag_state(tags[block.id]) == BLOCK_PARKED) &&
		memory_field(memory, back, FIELD_OBJECT_REFCOUNT, &refcount) && !refcount);
}

/* Whether there is a list of tuples as long as this one. One that is longer is a trace of a tuple
 * in a block that is another's now. 2.7 to 3.9 Objects/tupleobject.c, PyTuple_MAXSAVESIZE */
static bool has_tuple_list(const struct layout *layout, const uint8_t *bytes, uint64_t room)
{
	uint64_t length;

	if (room < layout_offset(layout, FIELD_TUPLE_ITEMS))
		return false;
	length = field_load(layout, bytes, FIELD_VAR_SIZE);
	return length > 0 && length < TUPLE_LENGTH_END;
}

/* Whether the block holds a dead object, with refcount 0, of a type with a free list. */
static bool search_object(const struct marking *marking, vaddr at, const uint8_t *bytes,
			  uint64_t size, enum free_list_kind *ret)
{
	const struct layout *layout = &marking->python->layout;
	uint32_t gc = layout_offset(layout, SIZE_GC_HEAD), index;

	if (size < gc + layout_offset(layout, SIZE_OBJECT) ||
	    field_load(layout, bytes + gc, FIELD_OBJECT_REFCOUNT) ||
	    gc_head_tracking(layout, bytes, false) != GC_UNTRACKED)
		return false;
	index = type_find(marking->types, field_load(layout, bytes + gc, FIELD_OBJECT_TYPE));
	if (index == TYPE_NONE || marking->types->list.items[index].preheader != gc)
		return false;
	*ret = list_of_type(&marking->types->list.items[index]);
	if (*ret == FREE_LIST_FRAME)
		return is_chained_frame(marking, at + gc);
	if (*ret == FREE_LIST_TUPLE)
		return has_tuple_list(layout, bytes + gc, size - gc);
	return *ret != FREE_LIST_KINDS;
}

/* Whether the block holds a keys table of the smallest size that nobody refers to. */
static bool search_keys(const struct marking *marking, vaddr at, uint64_t size)
{
	struct dict_keys keys;

	return dict_keys_read(&marking->python->memory, at, &keys) && !keys.refcount &&
	       keys.slots == KEYS_MIN_SLOTS && keys.size <= size && keys.size + 16 > size;
}

/*
 * Whether the block holds one of 2.7's free unicode objects: chained through their refcounts. Short
 * ones keep their characters, which are parked with them. Objects/unicodeobject.c,
 * unicode_dealloc()
 */
static bool search_unicode(const struct marking *marking, const uint8_t *bytes, uint64_t size)
{
	const struct memory *memory = &marking->python->memory;
	const struct layout *layout = memory->layout;
	vaddr type =
		marking->unicode == TYPE_NONE ? 0 : marking->types->list.items[marking->unicode].at;
	uint64_t next_type;
	vaddr next, data;

	if (!type || size < layout_offset(layout, SIZE_LEGACY_STR) ||
	    field_load(layout, bytes, FIELD_OBJECT_TYPE) != type)
		return false;
	next = field_load(layout, bytes, FIELD_OBJECT_REFCOUNT);
	if (next &&
	    (!memory_field(memory, next, FIELD_OBJECT_TYPE, &next_type) || next_type != type))
		return false;
	data = field_load(layout, bytes, FIELD_UNICODE_DATA);
	if (data)
		park(marking, data, FREE_LIST_UNICODE);
	return true;
}

static void search_blocks(const struct marking *marking)
{
	struct block_map *map = marking->map;

	for (block_id id = 0; id < map->first_static; id++) {
		enum free_list_kind kind;
		struct block block;
		const uint8_t *bytes;

		if (map->tags[id] != BLOCK_USED)
			continue;
		block = block_get(map, id);
		bytes = image_at(marking->python->memory.image, block.start, block.size);
		if (!bytes)
			continue;
		if (search_object(marking, block.start, bytes, block.size, &kind))
			map->tags[id] = tag_make(BLOCK_PARKED, kind, TYPE_NONE);
		else if (search_keys(marking, block.start, block.size))
			map->tags[id] = tag_make(BLOCK_PARKED, FREE_LIST_DICT_KEYS, TYPE_NONE);
		else if (search_unicode(marking, bytes, block.size))
			map->tags[id] = tag_make(BLOCK_PARKED, FREE_LIST_UNICODE, TYPE_NONE);
	}
}

/* Whether the bits of a double are those of a normal number. */
static bool is_normal(uint64_t bits)
{
	uint64_t exponent = bits >> 52 & 0x7FF;

	return exponent && exponent != 0x7FF;
}

/* The length of a chain of dead floats from `at`: refcount 0, ob_type the next one; 0 when it is
 * none. The last one must have a normal number for its value: zeros, small integers and pointers,
 * which are found in other structures, are none as a double. */
static uint64_t float_chain(const struct marking *marking, vaddr at)
{
	const struct memory *memory = &marking->python->memory;
	uint64_t size = layout_offset(memory->layout, SIZE_FLOAT);
	uint64_t length = 0, refcount, value = 0;

	while (at && length < CHAIN_MAX) {
		struct block block;

		if (!block_find(marking->map, at, &block) || block.start != at ||
		    block.size < size || block.size >= size + 16 ||
		    marking->map->tags[block.id] != BLOCK_USED ||
		    !memory_field(memory, at, FIELD_OBJECT_REFCOUNT, &refcount) || refcount ||
		    !image_u64(memory->image, at + layout_offset(memory->layout, SIZE_OBJECT),
			       &value) ||
		    !memory_field(memory, at, FIELD_OBJECT_TYPE, &at))
			return 0;
		length++;
	}
	return at || !is_normal(value) ? 0 : length;
}

/* Whether a 32-bit `count` stands near offset `at` of the segment. */
static bool count_is_near(const struct segment *segment, uint64_t at, uint64_t count)
{
	uint64_t size = segment->end - segment->start;
	uint64_t first = at > NEAR_BYTES ? at - NEAR_BYTES : 0;

	for (uint64_t i = first; i + 4 <= size && i <= at + NEAR_BYTES; i += 4) {
		if (load_u32(segment->bytes + i) == count)
			return true;
	}
	return false;
}

/*
 * The head of the list of floats is a static variable next to its count. Of several that look like
 * it the longest is taken; of several as long, such as cleared integers of the parser that 3.8 has,
 * none.
 */
static void search_floats(const struct marking *marking)
{
	const struct image *image = marking->python->memory.image;
	const struct module *module = marking->python->module;
	uint64_t longest = 0;
	bool unique = false;
	vaddr found = 0;

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(module, segment);

		for (uint64_t at = 0; at + 8 <= size; at += 8) {
			vaddr head = load_u64(segment->bytes + at);
			uint64_t length = head ? float_chain(marking, head) : 0;

			if (!length || length < longest || !count_is_near(segment, at, length))
				continue;
			unique = length > longest;
			longest = length;
			found = head;
		}
	}
	if (unique)
		park_chain(marking, found, longest, FIELD_OBJECT_TYPE, FREE_LIST_FLOAT);
}

void free_lists_search(struct block_map *map, const struct python *python,
		       const struct type_table *types)
{
	struct marking marking = { map, python, types, find_static_type(types, "unicode") };

	if (layout_has(&python->layout, FIELD_FLOAT_FREE_LIST) ||
	    layout_has(&python->layout, SIZE_FREE_LIST_STATE))
		return;
	search_blocks(&marking);
	search_floats(&marking);
}
