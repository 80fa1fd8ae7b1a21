/* SPDX-License-Identifier: MIT */
/*
 * object ADDR: what is at or around an address. What may hold text of the program's (characters,
 * bytes, data nobody knows) is only shown when values are asked for.
 */
#include <stdio.h>
#include <string.h>

#include "../base/bisect.h"
#include "../cpython/owners.h"
#include "sections.h"

#define WORDS_MAX     128
#define HEX_ROW_BYTES 16
#define HEX_ROWS_MAX  64

enum {
	PLACE_ADDRESS,
	PLACE_REGION,
	PLACE_PATH,
	PLACE_ALLOCATOR,
	PLACE_STATE,
	PLACE_USE,
	PLACE_BLOCK,
	PLACE_BLOCK_BYTES,
	PLACE_GUARDS,
	PLACE_OFFSET,
	PLACE_ARENA,
	PLACE_POOL,
};

static const struct memheap_column place_columns[] = {
	[PLACE_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "The address asked for" },
	[PLACE_REGION] = { "region", "REGION", MEMHEAP_TEXT, "What the memory is that it lies in" },
	[PLACE_PATH] = { "path", "PATH", MEMHEAP_TEXT, "The mapped file there" },
	[PLACE_ALLOCATOR] = { "allocator", "ALLOCATOR", MEMHEAP_TEXT,
			      "pymalloc, mimalloc or malloc" },
	[PLACE_STATE] = { "state", "STATE", MEMHEAP_TEXT,
			  "object, buffer, free list, used (nobody knows for what), free, "
			  "untouched, static object, or no block" },
	[PLACE_USE] = { "use", "USE", MEMHEAP_TEXT, "What a buffer is for; which free list" },
	[PLACE_BLOCK] = { "block_address", "BLOCK", MEMHEAP_ADDRESS, "Start of the block" },
	[PLACE_BLOCK_BYTES] = { "block_bytes", "BLOCK SIZE", MEMHEAP_BYTES, "Its usable bytes" },
	[PLACE_GUARDS] = { "guards", "GUARDS", MEMHEAP_TEXT,
			   "How the guards are that debug hooks put around the block: intact; "
			   "header, trailer, or header and trailer overwritten (memory "
			   "corruption: the program wrote outside of this block, or of a "
			   "neighbour's); absent without hooks" },
	[PLACE_OFFSET] = { "offset_bytes", "OFFSET", MEMHEAP_BYTES,
			   "Where the address lies in the block; absent in the guards before it" },
	[PLACE_ARENA] = { "arena_address", "ARENA", MEMHEAP_ADDRESS, "Its arena of pymalloc" },
	[PLACE_POOL] = { "pool_address", "POOL", MEMHEAP_ADDRESS, "Its pool of pymalloc" },
};

static const struct memheap_table_shape place_shape = {
	.key = "place",
	.title = "Place",
	.flags = MEMHEAP_RECORD,
	.doc = "The block at the address",
	.columns = place_columns,
	.column_count = ARRAY_SIZE(place_columns),
};

enum {
	OBJECT_ADDRESS,
	OBJECT_TYPE,
	OBJECT_TYPE_ADDRESS,
	OBJECT_SHALLOW,
	OBJECT_OCCUPIED,
	OBJECT_REFCOUNT,
	OBJECT_TRACKED,
	OBJECT_RELATION,
};

static const struct memheap_column object_columns[] = {
	[OBJECT_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "id() of the object" },
	[OBJECT_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "module.qualname; built-in types bare" },
	[OBJECT_TYPE_ADDRESS] = { "type_address", "TYPE AT", MEMHEAP_ADDRESS,
				  "Address of the type object" },
	[OBJECT_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
			     "What sys.getsizeof() would say" },
	[OBJECT_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,
			      "Its block and the buffers that only it owns" },
	[OBJECT_REFCOUNT] = { "refcount", "REFCOUNT", MEMHEAP_COUNT, "As in the objects command" },
	[OBJECT_TRACKED] = { "gc_tracked", "TRACKED", MEMHEAP_FLAG, "gc.is_tracked()" },
	[OBJECT_RELATION] = { "relation", "RELATION", MEMHEAP_TEXT,
			      "self: the object at the address; owner: it owns the buffer there; "
			      "sharer: it shares it; previous, next: its neighbours" },
};

static const struct memheap_table_shape object_shape = {
	.key = "objects",
	.title = "Objects at, behind and around the address",
	.doc = "The object at the address, or the owner of the buffer there, and its neighbours",
	.columns = object_columns,
	.column_count = ARRAY_SIZE(object_columns),
};

enum { WORDS_OFFSET, WORDS_ADDRESS, WORDS_FIELD, WORDS_VALUE, WORDS_POINTS };

static const struct memheap_column words_columns[] = {
	[WORDS_OFFSET] = { "offset_bytes", "OFFSET", MEMHEAP_NUMBER,
			   "From the object (negative: its pre-header), or from the block" },
	[WORDS_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "Address of the word" },
	[WORDS_FIELD] = { "field", "FIELD", MEMHEAP_TEXT,
			  "The member of CPython's structure, where the layout knows it" },
	[WORDS_VALUE] = { "word", "WORD", MEMHEAP_ADDRESS,
			  "Its 64 bits; left out when it may be text and values aren't asked for",
			  true },
	[WORDS_POINTS] = { "points_to", "POINTS TO", MEMHEAP_TEXT, "What lies there" },
};

static const struct memheap_table_shape words_shape = {
	.key = "words",
	.title = "Words",
	.doc = "The block word by word, as far as its first 1024 bytes",
	.columns = words_columns,
	.column_count = ARRAY_SIZE(words_columns),
};

enum { BYTES_ADDRESS, BYTES_HEX, BYTES_TEXT };

static const struct memheap_column bytes_columns[] = {
	[BYTES_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "Address of the first byte" },
	[BYTES_HEX] = { "hex", "HEX", MEMHEAP_TEXT, "Up to 16 bytes" },
	[BYTES_TEXT] = { "text", "TEXT", MEMHEAP_TEXT, "The same as ASCII" },
};

static const struct memheap_table_shape bytes_shape = {
	.key = "bytes",
	.title = "Bytes",
	.doc = "Hex dump of the block's first 1024 bytes, when values are asked for",
	.columns = bytes_columns,
	.column_count = ARRAY_SIZE(bytes_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&place_shape,        &object_shape, &words_shape,       &bytes_shape,
	&completeness_shape, &gaps_shape,   &diagnostics_shape, NULL,
};

/* What the address leads to. */
struct place {
	struct block block; /* id BLOCK_NONE: none */
	bool is_static;     /* `block` is an object in static data */
	block_tag tag;
	vaddr base;              /* offsets count from here: the object, or the block */
	const struct type *type; /* of the object in the block, or NULL */
};

/* The object in static data that holds `at`. */
static bool find_static(const struct block_map *map, vaddr at, struct place *place)
{
	const struct static_object *objects = map->statics.items;
	size_t found = bisect(i, map->statics.count, objects[i].at + objects[i].size <= at);

	if (found == map->statics.count || objects[found].at > at)
		return false;
	place->block = (struct block){
		.id = map->first_static + (block_id)found,
		.start = objects[found].at,
		.size = objects[found].size,
	};
	place->is_static = true;
	return true;
}

static struct place find_place(const struct memheap_snapshot *s, vaddr at)
{
	struct place place = { .block.id = BLOCK_NONE };

	if (!block_find(&s->blocks, at, &place.block) && !find_static(&s->blocks, at, &place))
		return place;
	place.tag = s->blocks.tags[place.block.id];
	place.base = place.block.start;
	if (tag_state(place.tag) == BLOCK_OBJECT) {
		place.base += tag_preheader(place.tag);
		place.type = &s->objects.types.list.items[tag_type(place.tag)];
	}
	return place;
}

static const char *state_name(const struct place *place)
{
	static const char *const names[] = {
		[BLOCK_UNSEEN] = "no block",     [BLOCK_FREE] = "free",
		[BLOCK_UNTOUCHED] = "untouched", [BLOCK_USED] = "used",
		[BLOCK_OBJECT] = "object",       [BLOCK_BUFFER] = "buffer",
		[BLOCK_PARKED] = "free list",
	};

	if (place->block.id == BLOCK_NONE)
		return "no block";
	return place->is_static ? "static object" : names[tag_state(place->tag)];
}

static const char *use_name(const struct place *place)
{
	switch (tag_state(place->tag)) {
	case BLOCK_BUFFER:
		return buffer_names[tag_detail(place->tag)];
	case BLOCK_PARKED:
		return free_list_names[tag_detail(place->tag)];
	default:
		return NULL;
	}
}

static const char *allocator_name(const struct block_map *map, const struct block *block)
{
	static const char *const names[] = {
		[ALLOCATOR_PYMALLOC] = "pymalloc",
		[ALLOCATOR_MIMALLOC] = "mimalloc",
		[ALLOCATOR_MALLOC] = "malloc",
	};
	const struct heap *heap = block->allocator == ALLOCATOR_MALLOC
					  ? malloc_find_heap(&map->malloc, block->start)
					  : NULL;

	return heap && heap->kind == HEAP_FOREIGN
		       ? foreign_name(map->malloc.foreign.items[heap->arena].kind)
		       : names[block->allocator];
}

static void add_place(struct memheap_report *report, const struct place *place,
		      const struct area *area)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct pymalloc *pymalloc = &s->blocks.pymalloc;
	vaddr at = report->query.address;
	const struct arena *arena = pymalloc_find_arena(pymalloc, at);
	struct memheap_cell *row = report_row(report, &place_shape);

	row[PLACE_ADDRESS] = cell_number(at);
	row[PLACE_REGION] = cell_text(area_kind_name(area->kind));
	row[PLACE_PATH] = cell_text(area->segment->path);
	row[PLACE_STATE] = cell_text(state_name(place));
	if (arena) {
		row[PLACE_ARENA] = cell_number(arena->start);
		if (at >= arena->first_pool)
			row[PLACE_POOL] = cell_number(round_down(at, pymalloc->pool_bytes));
	}
	if (place->block.id == BLOCK_NONE)
		return;
	row[PLACE_USE] = cell_text(use_name(place));
	if (!place->is_static)
		row[PLACE_ALLOCATOR] = cell_text(allocator_name(&s->blocks, &place->block));
	row[PLACE_BLOCK] = cell_number(place->block.start);
	row[PLACE_BLOCK_BYTES] = cell_number(place->block.size);
	row[PLACE_GUARDS] =
		cell_text(debug_hooks_condition(&s->blocks.hooks, &place->block, &s->target.image));
	if (at >= place->block.start)
		row[PLACE_OFFSET] = cell_number(at - place->block.start);
}

static void add_object(struct memheap_report *report, block_id id, const char *relation)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct object_info info;
	struct memheap_cell *row;

	if (!objects_get(&s->objects, &s->blocks, &s->python, id, &info))
		return;
	row = report_row(report, &object_shape);
	row[OBJECT_ADDRESS] = cell_number(info.at);
	row[OBJECT_TYPE] = cell_text(s->objects.types.list.items[info.type].name);
	row[OBJECT_TYPE_ADDRESS] = cell_number(s->objects.types.list.items[info.type].at);
	row[OBJECT_SHALLOW] = cell_number(info.shallow_bytes);
	row[OBJECT_OCCUPIED] = cell_number(info.occupied_bytes);
	row[OBJECT_REFCOUNT] = cell_number(info.refcount);
	row[OBJECT_TRACKED] = cell_number(info.gc_tracked);
	row[OBJECT_RELATION] = cell_text(relation);
}

/* Adds the object of the nearest block, up to a pool's worth away, that is one. */
static void add_neighbour(struct memheap_report *report, const struct place *place, int step)
{
	const struct block_map *map = &report->snapshot->blocks;
	uint64_t first = place->is_static ? map->first_static : 0;
	uint64_t end = place->is_static ? map->count : map->first_static;
	int64_t id = (int64_t)place->block.id + step;

	for (int i = 0; i < WORDS_MAX && id >= (int64_t)first && id < (int64_t)end; i++) {
		if (tag_state(map->tags[id]) == BLOCK_OBJECT) {
			add_object(report, (block_id)id, step < 0 ? "previous" : "next");
			return;
		}
		id += step;
	}
}

static struct memheap_error *add_objects(struct memheap_report *report, const struct place *place)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct memheap_error *error;
	struct owner owner;

	if (place->block.id == BLOCK_NONE)
		return NULL;
	if (place->type) {
		add_object(report, place->block.id, "self");
	} else if (tag_state(place->tag) == BLOCK_BUFFER) {
		error = owner_find(&owner, place->block.start, &s->objects, &s->blocks, &s->python,
				   &s->parallel);
		if (error)
			return error;
		if (owner.id != BLOCK_NONE)
			add_object(report, owner.id, owner.shared ? "sharer" : "owner");
	}
	add_neighbour(report, place, -1);
	add_neighbour(report, place, 1);
	return NULL;
}

/* The structures that an object of `type` begins with, outermost last; their fields are shown. */
static bool is_structure_of(const struct type *type, const char *structure)
{
	static const struct {
		const char *type, *structure;
	} rows[] = {
		{ "list", "PyListObject" },
		{ "dict", "PyDictObject" },
		{ "int", "PyLongObject" },
		{ "str", "PyASCIIObject" },
		{ "set", "PySetObject" },
		{ "frozenset", "PySetObject" },
		{ "bytearray", "PyByteArrayObject" },
		{ "type", "PyTypeObject" },
		{ "code", "PyCodeObject" },
		{ "module", "PyModuleObject" },
		{ "frame", "PyFrameObject|_frame" },
		{ "generator", "PyGenObject" },
		{ "collections.deque", "dequeobject" },
	};
	const char *name = type->decoder ? type->decoder->type_name : type->name;

	if (!strcmp(structure, "PyObject") ||
	    (type->item_size && !strcmp(structure, "PyVarObject")))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!strcmp(rows[i].type, name) && !strcmp(rows[i].structure, structure))
			return true;
	}
	return false;
}

/* The member that lies at `offset` of an object of `type`, or FIELD_COUNT. */
static enum field_id field_at(const struct layout *layout, const struct type *type, int64_t offset)
{
	for (enum field_id i = 0; type && offset >= 0 && i < FIELD_COUNT; i++) {
		const struct field_name *name = &field_names[i];

		if (name->member && layout_has(layout, i) &&
		    layout_offset(layout, i) == (uint64_t)offset &&
		    is_structure_of(type, name->structure))
			return i;
	}
	return FIELD_COUNT;
}

/* What lies at `at`: "dict object", "type int", "buffer: list items", "main stack". */
static const char *describe(struct memheap_report *report, const struct areas *areas, vaddr at)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct area *area = area_find(areas, at);
	struct place place;
	uint32_t type;

	if (!area)
		return NULL;
	place = find_place(s, at);
	type = type_find(&s->objects.types, at);
	if (type != TYPE_NONE)
		return report_text(report, "type %s", s->objects.types.list.items[type].name);
	if (place.type && at == place.base)
		return report_text(report, "%s object", place.type->name);
	if (place.type)
		return report_text(report, "inside %s object", place.type->name);
	if (place.block.id != BLOCK_NONE)
		return report_text(report, "%s%s%s", state_name(&place),
				   use_name(&place) ? ": " : "",
				   use_name(&place) ? use_name(&place) : "");
	return area_kind_name(area->kind);
}

/* Whether a word may be shown without values being asked for: pointers, and members of structures
 * that are known to hold no value. */
static bool is_harmless(enum field_id field, const char *points_to, uint64_t word)
{
	return points_to || !word || (field != FIELD_COUNT && field != FIELD_LONG_DIGITS);
}

static void add_words(struct memheap_report *report, const struct place *place,
		      const struct areas *areas)
{
	const struct memheap_snapshot *s = report->snapshot;
	uint64_t size = MIN(place->block.size, (uint64_t)WORDS_MAX * 8);
	const uint8_t *bytes = image_at(&s->target.image, place->block.start, size);

	for (uint64_t at = 0; bytes && at + 8 <= size; at += 8) {
		uint64_t word = load_u64(bytes + at);
		int64_t offset = (int64_t)(place->block.start + at - place->base);
		const char *points_to = describe(report, areas, word);
		enum field_id field = field_at(&s->python.layout, place->type, offset);
		struct memheap_cell *row = report_row(report, &words_shape);

		row[WORDS_OFFSET] = cell_signed(offset);
		row[WORDS_ADDRESS] = cell_number(place->block.start + at);
		if (field != FIELD_COUNT)
			row[WORDS_FIELD] = cell_text(field_names[field].member);
		row[WORDS_POINTS] = cell_text(points_to);
		if (report->query.values || is_harmless(field, points_to, word))
			row[WORDS_VALUE] = cell_number(word);
	}
}

static void add_bytes(struct memheap_report *report, const struct place *place)
{
	uint64_t size = MIN(place->block.size, (uint64_t)HEX_ROW_BYTES * HEX_ROWS_MAX);
	const uint8_t *bytes = image_at(&report->snapshot->target.image, place->block.start, size);

	for (uint64_t at = 0; bytes && at < size; at += HEX_ROW_BYTES) {
		struct memheap_cell *row = report_row(report, &bytes_shape);
		char hex[3 * HEX_ROW_BYTES + 1] = "", text[HEX_ROW_BYTES + 1] = "";

		for (uint64_t i = 0; i < MIN(size - at, (uint64_t)HEX_ROW_BYTES); i++) {
			uint8_t byte = bytes[at + i];

			snprintf(hex + 3 * i, 4, "%02x ", byte);
			text[i] = byte >= 0x20 && byte < 0x7F ? (char)byte : '.';
		}
		hex[strlen(hex) - 1] = '\0';
		row[BYTES_ADDRESS] = cell_number(place->block.start + at);
		row[BYTES_HEX] = cell_text(report_text(report, "%s", hex));
		row[BYTES_TEXT] = cell_text(report_text(report, "%s", text));
	}
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct memheap_error *error = NULL;
	struct areas areas = { 0 };
	const struct area *area;
	struct place place;

	if (!areas_find(&areas, s))
		report->failed = true;
	area = area_find(&areas, report->query.address);
	if (area) {
		place = find_place(s, report->query.address);
		add_place(report, &place, area);
		error = add_objects(report, &place);
		if (place.block.id != BLOCK_NONE)
			add_words(report, &place, &areas);
		if (place.block.id != BLOCK_NONE && report->query.values)
			add_bytes(report, &place);
	} else {
		error = error_hint(error_create(MEMHEAP_FAILED, "nothing is mapped at 0x%llx in %s",
						(unsigned long long)report->query.address,
						s->target.path),
				   "memheap regions shows what is mapped where");
	}
	areas_deinit(&areas);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return error;
}

const struct analysis analysis_object = {
	.shape = {
		.name = "object",
		.schema = "memheap.object",
		.schema_version = "1.0",
		.title = "What is at an address",
		.tables = tables,
		.main_table = "words",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build,
};
