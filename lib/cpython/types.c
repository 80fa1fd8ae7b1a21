/* SPDX-License-Identifier: MIT */
/*
 * Types are found from the top: PyType_Type is known; everything whose type is a metatype is a
 * type, and types whose flags say so are metatypes themselves. Static types lie in the data of
 * modules, types made at run time in malloc's chunks (they are larger than what pymalloc serves).
 */
#include <stdio.h>
#include <stdlib.h>

#include "../base/cleanup.h"
#include "refcount.h"
#include "types.h"
#include "values.h"

#define NAME_MAX_BYTES 1024
#define BASIC_SIZE_MAX (1 << 30)
#define FIRST_ADDRESS  0x400000 /* where ld puts programs that are not PIE: nothing is below */
#define METATYPE_DEPTH 16
#define ROUNDS_MAX     16
#define PREHEADERS_MAX 32
#define PREHEADER_STEP 8 /* before 3.7.4 a GC header has 24 bytes */

/* The name that a type made at run time has as an object: 2.7 knows no qualified one. */
static enum field_id heap_name_field(const struct layout *layout)
{
	return layout_has(layout, FIELD_HEAP_TYPE_QUALNAME) ? FIELD_HEAP_TYPE_QUALNAME
							    : FIELD_HEAP_TYPE_NAME;
}

/* Whether the numbers in the type object at `bytes` make sense. */
static bool looks_like_type(const struct memory *memory, const uint8_t *bytes)
{
	const struct layout *layout = memory->layout;
	int64_t basic = field_load_signed(layout, bytes, FIELD_TYPE_BASIC_SIZE);
	int64_t item = field_load_signed(layout, bytes, FIELD_TYPE_ITEM_SIZE);
	vaddr base = field_load(layout, bytes, FIELD_TYPE_BASE);

	return (has_split_refcount(layout) ? split_refcount(layout, bytes) > 0
					   : field_load(layout, bytes, FIELD_OBJECT_REFCOUNT)) &&
	       field_load(layout, bytes, FIELD_TYPE_NAME) &&
	       /* no flag is above bit 31: Include/object.h, 2.7 to 3.15 */
	       field_load(layout, bytes, FIELD_TYPE_FLAGS) <= UINT32_MAX &&
	       basic >= (int64_t)layout_offset(layout, SIZE_OBJECT) && basic < BASIC_SIZE_MAX &&
	       item >= 0 && item < BASIC_SIZE_MAX && base % sizeof(vaddr) == 0;
}

static bool is_metatype(const struct type_table *table, vaddr at)
{
	uint32_t index = type_find(table, at);

	return index != TYPE_NONE && table->list.items[index].metatype;
}

/* Whether what lies at `at` is a type object, by its structure and that of its metatypes. */
static bool type_verify(const struct type_table *table, const struct memory *memory, vaddr at)
{
	for (int depth = 0; depth < METATYPE_DEPTH; depth++) {
		const uint8_t *bytes =
			at % sizeof(vaddr) ? NULL : memory_struct(memory, at, SIZE_TYPE);
		vaddr metatype;

		if (!bytes || !looks_like_type(memory, bytes))
			return false;
		if (depth && !(field_load(memory->layout, bytes, FIELD_TYPE_FLAGS) &
			       layout_constant(memory->layout, CONSTANT_TYPE_IS_TYPE)))
			return false;
		metatype = field_load(memory->layout, bytes, FIELD_OBJECT_TYPE);
		if (is_metatype(table, metatype))
			return true;
		if (metatype == at)
			return false;
		at = metatype;
	}
	return false;
}

/* The last part of a dotted C name, and what precedes it. */
static const char *join_static_name(struct strings *strings, const char *name, size_t length)
{
	static const char *const builtins[] = { "builtins.", "__builtin__." };

	for (size_t i = 0; i < ARRAY_SIZE(builtins); i++) {
		size_t prefix = strlen(builtins[i]);

		if (length > prefix && !memcmp(name, builtins[i], prefix))
			return strings_add(strings, name + prefix, length - prefix);
	}
	return strings_add(strings, name, length);
}

/* The value of __module__ in the dict of a heap type, or NULL. */
static const char *heap_type_module(const struct memory *memory, const uint8_t *bytes,
				    struct strings *strings)
{
	vaddr dict = field_load(memory->layout, bytes, FIELD_TYPE_DICT), module;
	uint64_t type, flags;

	if (!dict || !dict_lookup(memory, dict, "__module__", &module) ||
	    !memory_field(memory, module, FIELD_OBJECT_TYPE, &type) ||
	    !memory_field(memory, type, FIELD_TYPE_FLAGS, &flags) ||
	    !(flags & layout_constant(memory->layout, CONSTANT_TYPE_IS_STR)))
		return NULL;
	return str_value(memory, module, NAME_MAX_BYTES, strings);
}

/* 3.12 Objects/typeobject.c: type_module() and type_qualname(); in 2.7 a type has a plain name */
static const char *type_name(const struct memory *memory, vaddr at, const uint8_t *bytes,
			     struct strings *strings)
{
	const struct layout *layout = memory->layout;
	bool heap = field_load(layout, bytes, FIELD_TYPE_FLAGS) &
		    layout_constant(layout, CONSTANT_TYPE_HEAP);
	const char *name = NULL, *module;
	uint64_t qualname;
	size_t length;

	if (heap && memory_field(memory, at, heap_name_field(layout), &qualname))
		name = str_value(memory, qualname, NAME_MAX_BYTES, strings);
	if (name) {
		module = heap_type_module(memory, bytes, strings);
		if (!module || !strcmp(module, "builtins") || !strcmp(module, "__builtin__"))
			return name;
		return strings_format(strings, "%s.%s", module, name);
	}
	name = image_string(memory->image, field_load(layout, bytes, FIELD_TYPE_NAME),
			    NAME_MAX_BYTES, &length);
	return name && length ? join_static_name(strings, name, length) : NULL;
}

static uint8_t type_preheader(const struct layout *layout, uint64_t flags)
{
	uint64_t managed = layout_constant(layout, CONSTANT_TYPE_MANAGED_DICT) |
			   layout_constant(layout, CONSTANT_TYPE_MANAGED_WEAKREF);
	uint64_t size = 0;

	if (flags & layout_constant(layout, CONSTANT_TYPE_GC))
		size += layout_offset(layout, SIZE_GC_HEAD);
	if (flags & managed)
		size += layout_constant(layout, CONSTANT_MANAGED_BYTES);
	return (uint8_t)size;
}

bool type_add(struct type_table *table, const struct memory *memory, vaddr at)
{
	const struct layout *layout = memory->layout;
	const uint8_t *bytes = memory_struct(memory, at, SIZE_TYPE);
	uint64_t flags = field_load(layout, bytes, FIELD_TYPE_FLAGS);
	struct type *type;
	vaddr dict;

	if (type_find(table, at) != TYPE_NONE || table->list.count >= TYPE_NONE - 1)
		return true;
	if (!id_map_put(&table->by_address, at, (uint32_t)table->list.count))
		return false;
	type = vector_push(&table->list);
	if (!type)
		return false;
	*type = (struct type){
		.at = at,
		.name = type_name(memory, at, bytes, &table->strings),
		.basic_size = field_load(layout, bytes, FIELD_TYPE_BASIC_SIZE),
		.item_size = field_load(layout, bytes, FIELD_TYPE_ITEM_SIZE),
		.flags = flags,
		.base = field_load(layout, bytes, FIELD_TYPE_BASE),
		.preheader = type_preheader(layout, flags),
		.gc = flags & layout_constant(layout, CONSTANT_TYPE_GC),
		.heap = flags & layout_constant(layout, CONSTANT_TYPE_HEAP),
		.metatype = flags & layout_constant(layout, CONSTANT_TYPE_IS_TYPE),
		.named = true,
		.traverse = field_load(layout, bytes, FIELD_TYPE_TRAVERSE),
	};
	dict = field_load(layout, bytes, FIELD_TYPE_DICT);
	if (!type->name) {
		type->named = false;
		type->name =
			strings_format(&table->strings, "<type at 0x%llx>", (unsigned long long)at);
	}
	if (type->heap && dict)
		dict_lookup(memory, dict, "__sizeof__", &type->sizeof_method);
	return type->name;
}

/* Whether the field of a type refers to no object, or to one whose type lacks the flag; of what is
 * missing nothing is known. */
static bool refers_wrongly(const struct memory *memory, vaddr at, enum field_id field,
			   enum constant_id flag)
{
	uint64_t object, type, flags;

	if (!memory_field(memory, at, field, &object))
		return false;
	if (!image_maps(memory->image, object, sizeof(vaddr)))
		return true;
	return memory_field(memory, object, FIELD_OBJECT_TYPE, &type) &&
	       memory_field(memory, type, FIELD_TYPE_FLAGS, &flags) &&
	       !(flags & layout_constant(memory->layout, flag));
}

/*
 * Whether what lies at `at` in allocated memory is a type: what had a type before, and is not
 * overwritten yet, has many of its words. A type has been made at run time, or at least made ready,
 * and refers to more than one thing that a type must have: one word may be damaged, and a type that
 * is being freed has no tp_mro any more.
 */
static bool verify_allocated(const struct type_table *table, const struct memory *memory, vaddr at)
{
	const struct layout *layout = memory->layout;
	uint64_t heap = layout_constant(layout, CONSTANT_TYPE_HEAP), flags;
	int wrong = refers_wrongly(memory, at, FIELD_TYPE_MRO, CONSTANT_TYPE_IS_TUPLE) +
		    refers_wrongly(memory, at, FIELD_TYPE_BASES, CONSTANT_TYPE_IS_TUPLE);

	if (!memory_field(memory, at, FIELD_TYPE_FLAGS, &flags) ||
	    !(flags & (heap | layout_constant(layout, CONSTANT_TYPE_READY))))
		return false;
	if (flags & heap)
		wrong += refers_wrongly(memory, at, heap_name_field(layout), CONSTANT_TYPE_IS_STR);
	return wrong < 2 && type_verify(table, memory, at);
}

/* Whether the name of the type at `bytes` can be read, and is none. */
static bool has_wrong_name(const struct memory *memory, const uint8_t *bytes)
{
	vaddr at = field_load(memory->layout, bytes, FIELD_TYPE_NAME);
	const char *name = image_string(memory->image, at, NAME_MAX_BYTES, &(size_t){ 0 });

	if (!name)
		return image_at(memory->image, at, 1);
	for (const char *c = name; *c; c++) {
		if ((unsigned char)*c < ' ')
			return true;
	}
	return !*name;
}

/*
 * Whether what lies at `at` in a module's data is a type. A table of types may begin like one, and
 * the rest of it passes too where addresses are small numbers: in programs that are linked to a
 * fixed place, and in their heap.
 */
static bool verify_static(const struct type_table *table, const struct memory *memory, vaddr at)
{
	const struct layout *layout = memory->layout;
	const uint8_t *bytes;
	int wrong;

	if (!type_verify(table, memory, at))
		return false;
	bytes = memory_struct(memory, at, SIZE_TYPE);
	wrong = has_wrong_name(memory, bytes) +
		(field_load(layout, bytes, FIELD_TYPE_BASIC_SIZE) >= FIRST_ADDRESS) +
		(field_load(layout, bytes, FIELD_TYPE_ITEM_SIZE) >= FIRST_ADDRESS) +
		!!(field_load(layout, bytes, FIELD_TYPE_FLAGS) &
		   layout_constant(layout, CONSTANT_TYPE_HEAP));
	return wrong < 2; /* one word may be damaged */
}

/* Adds all types in the writable data of modules; false when out of memory. */
static bool scan_static_data(struct type_table *table, const struct memory *memory,
			     const struct modules *modules)
{
	const struct image *image = memory->image;
	uint32_t type_offset = layout_offset(memory->layout, FIELD_OBJECT_TYPE);

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = modules_data_size(modules, segment);

		for (uint64_t at = 0; at + type_offset + sizeof(vaddr) <= size;
		     at += sizeof(vaddr)) {
			if (!is_metatype(table, load_u64(segment->bytes + at + type_offset)) ||
			    !verify_static(table, memory, segment->start + at))
				continue;
			if (!type_add(table, memory, segment->start + at))
				return false;
		}
	}
	return true;
}

/* Adds the type that may lie in a block from `start` on; false when out of memory. */
static bool scan_block(struct type_table *table, const struct memory *memory, vaddr start)
{
	uint32_t type_offset = layout_offset(memory->layout, FIELD_OBJECT_TYPE);

	for (vaddr at = start; at <= start + PREHEADERS_MAX; at += PREHEADER_STEP) {
		uint64_t type;

		if (image_u64(memory->image, at + type_offset, &type) && is_metatype(table, type) &&
		    verify_allocated(table, memory, at))
			return type_add(table, memory, at);
	}
	return true;
}

static bool scan_chunks(struct type_table *table, const struct memory *memory,
			const struct block_map *blocks)
{
	uint32_t least = layout_offset(memory->layout, SIZE_TYPE);

	for (size_t i = 0; i < blocks->malloc.chunks.count; i++) {
		const struct chunk *chunk = &blocks->malloc.chunks.items[i];

		if (chunk->state == CHUNK_USED && chunk->size >= least &&
		    !scan_block(table, memory,
				chunk->start + chunk_guards(blocks, i) * GUARD_FRONT))
			return false;
	}
	return true;
}

/* Likewise in pages of mimalloc. */
static bool scan_pages(struct type_table *table, const struct memory *memory,
		       const struct block_map *blocks)
{
	for (size_t i = 0; i < blocks->mimalloc.pages.count; i++) {
		struct block_run run = page_run(blocks, &blocks->mimalloc.pages.items[i]);

		if (run.step < layout_offset(memory->layout, SIZE_TYPE))
			continue;
		for (uint32_t j = 0; j < run.count; j++) {
			struct block block = run_block(&run, j, true);

			if (tag_state(blocks->tags[block.id]) == BLOCK_USED &&
			    !scan_block(table, memory, block.start))
				return false;
		}
	}
	return true;
}

/* Adds the types in memory that malloc could not be walked in: they begin anywhere. */
static bool scan_unwalked(struct type_table *table, const struct memory *memory,
			  const struct malloc_map *malloc)
{
	uint32_t type_offset = layout_offset(memory->layout, FIELD_OBJECT_TYPE);

	for (size_t i = 0; i < malloc->unwalked.count; i++) {
		const struct range *range = &malloc->unwalked.items[i];
		const uint8_t *bytes =
			image_at(memory->image, range->start, range->end - range->start);
		vaddr at = round_up(range->start, PREHEADER_STEP);

		for (; bytes && at + type_offset + sizeof(vaddr) <= range->end;
		     at += PREHEADER_STEP) {
			uint64_t type = load_u64(bytes + (at - range->start) + type_offset);

			if (is_metatype(table, type) && verify_allocated(table, memory, at) &&
			    !type_add(table, memory, at))
				return false;
		}
	}
	return true;
}

static size_t count_metatypes(const struct type_table *table)
{
	size_t count = 0;

	for (size_t i = 0; i < table->list.count; i++)
		count += table->list.items[i].metatype;
	return count;
}

struct memheap_error *types_build(struct type_table *table, const struct python *python,
				  const struct modules *modules, const struct block_map *blocks)
{
	const struct memory *memory = &python->memory;
	size_t before = 0;

	if (!memory_struct(memory, python->type_type, SIZE_TYPE))
		return error_create(MEMHEAP_NOT_PYTHON, "cannot read PyType_Type at 0x%llx",
				    (unsigned long long)python->type_type);
	if (!type_add(table, memory, python->type_type))
		return &error_no_memory;
	/* each round may find metatypes, whose instances the next round finds */
	for (int i = 0; i < ROUNDS_MAX && count_metatypes(table) > before; i++) {
		before = count_metatypes(table);
		if (!scan_static_data(table, memory, modules) ||
		    !scan_chunks(table, memory, blocks) || !scan_pages(table, memory, blocks) ||
		    !scan_unwalked(table, memory, &blocks->malloc))
			return &error_no_memory;
	}
	return NULL;
}

void types_deinit(struct type_table *table)
{
	free(table->list.items);
	free(table->members.items);
	id_map_deinit(&table->by_address);
	strings_deinit(&table->strings);
	*table = (struct type_table){ 0 };
}

uint32_t type_find_static(const struct type_table *table, const char *name)
{
	for (uint32_t i = 0; i < table->list.count; i++) {
		if (!table->list.items[i].heap && !strcmp(table->list.items[i].name, name))
			return i;
	}
	return TYPE_NONE;
}

static int compare_names(const void *a, const void *b, void *closure)
{
	const struct type *types = closure;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	int order = strcmp(types[left].name, types[right].name);

	return order ? order : left < right ? -1 : left > right;
}

bool types_find_namesakes(struct type_table *table)
{
	struct type *types = table->list.items;
	uint32_t count = (uint32_t)table->list.count;

	_cleanup_free_ uint32_t *order = calloc((size_t)count + 1, sizeof(*order));
	if (!order)
		return false;
	for (uint32_t i = 0; i < count; i++)
		order[i] = i;
	qsort_r(order, count, sizeof(*order), compare_names, types);
	for (uint32_t i = 0; i < count; i++) {
		bool same = i && !strcmp(types[order[i]].name, types[order[i - 1]].name);

		types[order[i]].namesake = same ? types[order[i - 1]].namesake : order[i];
	}
	return true;
}
