/* SPDX-License-Identifier: MIT */
/* leaks: blocks of C code that nothing points to, and objects that nothing refers to. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "../cpython/refcount.h"
#include "../graph/cycles.h"
#include "../graph/leaks.h"
#include "by_type.h"
#include "sections.h"

#define CHUNKS_MAX 100  /* rows of chunks, unless --limit says how many */
#define HINT_BYTES 4096 /* of a block that are looked at */
#define TEXT_MIN   4    /* characters that are a text */
#define TEXT_SHOWN 40

enum {
	SUM_CHUNKS,
	SUM_BYTES,
	SUM_INDIRECT,
	SUM_INDIRECT_BYTES,
	SUM_INSIDE,
	SUM_INSIDE_BYTES,
	SUM_OBJECTS,
	SUM_SHALLOW,
	SUM_UNREFERENCED,
	SUM_COLLECTABLE,
	SUM_SEARCHED,
};

static const struct memheap_column sum_columns[] = {
	[SUM_CHUNKS] = { "lost_chunks", "LOST CHUNKS", MEMHEAP_COUNT,
			 "Blocks that C code allocated and nothing in the process points to" },
	[SUM_BYTES] = { "lost_bytes", "LOST BYTES", MEMHEAP_BYTES, "Their usable bytes" },
	[SUM_INDIRECT] = { "indirect_chunks", "INDIRECTLY", MEMHEAP_COUNT,
			   "Blocks that only lost ones point to" },
	[SUM_INDIRECT_BYTES] = { "indirect_bytes", "INDIRECT BYTES", MEMHEAP_BYTES,
				 "Their usable bytes" },
	[SUM_INSIDE] = { "possibly_lost_chunks", "POSSIBLY", MEMHEAP_COUNT,
			 "Blocks of which only the middle is pointed to: mostly held" },
	[SUM_INSIDE_BYTES] = { "possibly_lost_bytes", "POSSIBLE BYTES", MEMHEAP_BYTES,
			       "Their usable bytes" },
	[SUM_OBJECTS] = { "lost_objects", "LOST OBJECTS", MEMHEAP_COUNT,
			  "Objects that nothing outside of them leads to" },
	[SUM_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
			  "What sys.getsizeof() would say of them" },
	[SUM_UNREFERENCED] = { "unreferenced_objects", "UNREFERENCED", MEMHEAP_COUNT,
			       "Those of them that nothing refers to: leaked references. The rest "
			       "are held by these, by lost chunks, or by each other" },
	[SUM_COLLECTABLE] = { "collectable_objects", "COLLECTABLE", MEMHEAP_COUNT,
			      "Those of them that gc.collect() would free" },
	[SUM_SEARCHED] = { "native_chunks", "NATIVE CHUNKS", MEMHEAP_COUNT,
			   "All blocks that C code uses and no object owns" },
};

static const struct memheap_table_shape sum_shape = {
	.key = "leaks",
	.title = "Lost memory",
	.flags = MEMHEAP_RECORD,
	.doc = "What nothing in the process leads to any more",
	.columns = sum_columns,
	.column_count = ARRAY_SIZE(sum_columns),
};

enum { TYPES_UNREFERENCED = BY_TYPE_COLUMNS, TYPES_COLLECTABLE };

static const struct memheap_column types_columns[] = {
	BY_TYPE_COLUMNS_OF("Objects that nothing outside of lost memory leads to"),
	[TYPES_UNREFERENCED] = { "unreferenced_objects", "UNREFERENCED", MEMHEAP_COUNT,
				 "Those of them that nothing refers to" },
	[TYPES_COLLECTABLE] = { "collectable_objects", "COLLECTABLE", MEMHEAP_COUNT,
				"Those of them that gc.collect() would free" },
};

static const struct memheap_table_shape leak_types_shape = {
	.key = "types",
	.title = "Lost objects",
	.doc = "Types of objects that nothing outside of lost memory leads to",
	.columns = types_columns,
	.column_count = ARRAY_SIZE(types_columns),
};

enum { OBJECTS_HELD = EXAMPLE_COLUMNS };

static const struct memheap_column objects_columns[] = {
	EXAMPLE_COLUMNS_OF_OBJECT,
	[OBJECTS_HELD] = { "held_by", "HELD BY", MEMHEAP_TEXT,
			   "nothing; or lost memory: lost objects, lost chunks, a cycle of its "
			   "own" },
};

static const struct memheap_table_shape leak_objects_shape = {
	.key = "objects",
	.title = "Examples of lost objects",
	.doc = "Objects that nothing outside of lost memory leads to: 5 of each type and 100 at "
	       "most, or as many as the limit says",
	.columns = objects_columns,
	.column_count = ARRAY_SIZE(objects_columns),
};

enum { SIZES_SIZE, SIZES_CHUNKS, SIZES_BYTES, SIZES_INDIRECT, SIZES_INSIDE };

static const struct memheap_column sizes_columns[] = {
	[SIZES_SIZE] = { "chunk_bytes", "CHUNK", MEMHEAP_BYTES, "Usable bytes of a block" },
	[SIZES_CHUNKS] = { "lost_chunks", "LOST", MEMHEAP_COUNT,
			   "Blocks of that size that nothing points to" },
	[SIZES_BYTES] = { "lost_bytes", "LOST BYTES", MEMHEAP_BYTES, "Their usable bytes" },
	[SIZES_INDIRECT] = { "indirect_chunks", "INDIRECTLY", MEMHEAP_COUNT,
			     "Blocks of that size that only lost ones point to" },
	[SIZES_INSIDE] = { "possibly_lost_chunks", "POSSIBLY", MEMHEAP_COUNT,
			   "Blocks of that size of which only the middle is pointed to" },
};

static const struct memheap_table_shape sizes_shape = {
	.key = "sizes",
	.title = "Lost chunks by size",
	.doc = "Blocks of C code that are or may be lost, by their size",
	.columns = sizes_columns,
	.column_count = ARRAY_SIZE(sizes_columns),
};

enum { CHUNKS_ADDRESS, CHUNKS_SIZE, CHUNKS_ALLOCATOR, CHUNKS_LOST, CHUNKS_HINT };

static const struct memheap_column chunks_columns[] = {
	[CHUNKS_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS,
			     "What malloc() returned, or pymalloc" },
	[CHUNKS_SIZE] = { "chunk_bytes", "CHUNK", MEMHEAP_BYTES, "Its usable bytes" },
	[CHUNKS_ALLOCATOR] = { "allocator", "ALLOCATOR", MEMHEAP_TEXT,
			       "malloc, pymalloc or mimalloc" },
	[CHUNKS_LOST] = { "lost", "LOST", MEMHEAP_TEXT,
			  "yes: nothing points to it; indirectly: only lost ones do; possibly: its "
			  "middle is pointed to only" },
	[CHUNKS_HINT] = { "content", "CONTENT", MEMHEAP_TEXT, "What it seems to hold" },
};

static const struct memheap_table_shape chunks_shape = {
	.key = "chunks",
	.title = "Lost chunks",
	.doc = "Blocks of C code that are or may be lost: those that are first, then the largest; "
	       "100, or as many as the limit says",
	.columns = chunks_columns,
	.column_count = ARRAY_SIZE(chunks_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&sum_shape,          &leak_types_shape, &leak_objects_shape, &sizes_shape, &chunks_shape,
	&completeness_shape, &gaps_shape,       &diagnostics_shape,  NULL,
};

enum { OTHER_UNREFERENCED, OTHER_COLLECTABLE }; /* what is counted besides, by type */

struct work {
	struct memheap_report *report;
	const struct memheap_snapshot *s;
	struct leaks leaks;
	struct cycles cycles;
	struct by_type types;
	VECTOR(uint32_t) order; /* blocks that are or may be lost */
	uint64_t chunks[HOLD_BEGIN], bytes[HOLD_BEGIN];
};

static struct memheap_error *find(struct work *work)
{
	const struct memheap_snapshot *s = work->s;
	const struct heap_view view = { &s->objects, &s->blocks, &s->python };
	const struct root_sources sources = { &view, &s->modules, &s->stacks, &s->target.process };
	struct roots roots = { 0 };
	struct memheap_error *error = roots_find(&roots, &s->graph, &sources, &s->parallel);

	if (!error)
		error = leaks_find(&work->leaks, &s->graph, &roots, &sources, &s->parallel);
	roots_deinit(&roots);
	if (!error)
		error = cycles_find(&work->cycles, &s->graph, &view, &s->parallel);
	return error;
}

/* Immortal objects are no leak: they are to be there for ever. */
static bool is_lost(const void *closure, object_id id)
{
	const struct work *work = closure;
	const struct heap_view view = { &work->s->objects, &work->s->blocks, &work->s->python };
	struct object object;

	return work->leaks.objects[id] != OBJECT_HELD &&
	       object_get(&view, work->s->graph.blocks[id], &object) &&
	       !object_is_immortal(work->s->python.memory.layout, object.bytes);
}

static void add_type_row(void *closure, struct memheap_cell *row, const struct type_sum *sum)
{
	(void)closure;
	row[TYPES_UNREFERENCED] = cell_number(sum->other[OTHER_UNREFERENCED]);
	row[TYPES_COLLECTABLE] = cell_number(sum->other[OTHER_COLLECTABLE]);
}

static struct type_sum add_lost_types(struct work *work)
{
	for (object_id id = 0; id < work->s->graph.count; id++) {
		struct type_sum *sum;

		if (!is_lost(work, id))
			continue;
		sum = by_type_count(&work->types, id);
		sum->other[OTHER_UNREFERENCED] += work->leaks.objects[id] == OBJECT_LOST;
		sum->other[OTHER_COLLECTABLE] += work->cycles.fates[id] == FATE_COLLECTED ||
						 work->cycles.fates[id] == FATE_FREED_ALONG;
	}
	return by_type_rows(&work->types, work->report, &leak_types_shape, add_type_row, work);
}

static void add_object(void *closure, object_id id)
{
	struct work *work = closure;
	struct memheap_cell *row = example_row(work->report, &leak_objects_shape, id);

	row[OBJECTS_HELD] =
		cell_text(work->leaks.objects[id] == OBJECT_LOST ? "nothing" : "lost memory");
}

/* The text that bytes begin with, if they do: its characters are values. */
static const char *text_hint(const struct work *work, const uint8_t *bytes, uint64_t size)
{
	uint64_t length = 0;

	while (length < size && isprint(bytes[length]))
		length++;
	if (length < TEXT_MIN)
		return NULL;
	if (work->report->query.values)
		return report_text(work->report, "text: %.*s", (int)MIN(length, TEXT_SHOWN),
				   (const char *)bytes);
	return report_text(work->report, "text of %llu%s characters", (unsigned long long)length,
			   length == HINT_BYTES ? " or more" : "");
}

/* The same of wide characters, as CPython keeps paths and arguments. */
static const char *wide_hint(const struct work *work, const uint8_t *bytes, uint64_t size)
{
	uint64_t length = 0;

	while ((length + 1) * 4 <= size && load_u32(bytes + length * 4) < 128 &&
	       isprint((int)load_u32(bytes + length * 4)))
		length++;
	if (length < TEXT_MIN)
		return NULL;
	return report_text(work->report, "text of %llu wide characters",
			   (unsigned long long)length);
}

/* What the first pointer leads to: an object, or a module (a C++ object begins with such). */
static const char *pointer_hint(const struct work *work, const uint8_t *bytes, uint64_t size)
{
	const struct memheap_snapshot *s = work->s;

	for (uint64_t i = 0; i + sizeof(vaddr) <= size; i += sizeof(vaddr)) {
		vaddr to = load_u64(bytes + i);
		block_id id = to ? object_find(&s->blocks, to) : BLOCK_NONE;
		const struct module *module = to ? modules_find(&s->modules, to) : NULL;
		const char *slash;

		if (id != BLOCK_NONE)
			return report_text(
				work->report, "refers to a %s",
				s->objects.types.list.items[tag_type(s->blocks.tags[id])].name);
		if (!module || !module->path)
			continue;
		slash = strrchr(module->path, '/');
		return report_text(work->report, "points into %s",
				   slash ? slash + 1 : module->path);
	}
	return NULL;
}

static const char *hint(const struct work *work, const struct native_block *block)
{
	uint64_t size = MIN(block->size, HINT_BYTES), zeros = 0;
	const uint8_t *bytes = image_at(&work->s->target.image, block->start, size);
	const char *text;

	if (!bytes)
		return NULL;
	text = text_hint(work, bytes, size);
	if (!text)
		text = wide_hint(work, bytes, size);
	if (!text)
		text = pointer_hint(work, bytes, size);
	while (zeros < size && !bytes[zeros])
		zeros++;
	return !text && zeros == size ? "zeros" : text;
}

static int compare_blocks(const void *a, const void *b, void *closure)
{
	const struct native_block *left =
		(const struct native_block *)closure + *(const uint32_t *)a;
	const struct native_block *right =
		(const struct native_block *)closure + *(const uint32_t *)b;

	if (left->hold != right->hold)
		return left->hold < right->hold ? -1 : 1;
	if (left->size != right->size)
		return left->size > right->size ? -1 : 1;
	return left->start < right->start ? -1 : left->start > right->start;
}

static int compare_block_sizes(const void *a, const void *b, void *closure)
{
	const struct native_block *blocks = closure;
	uint64_t left = blocks[*(const uint32_t *)a].size;
	uint64_t right = blocks[*(const uint32_t *)b].size;

	return left > right ? -1 : left < right;
}

/* Adds a row for the `counts` of blocks of one size. */
static void add_size(const struct work *work, uint64_t size, const uint64_t *counts)
{
	struct memheap_cell *row = report_row(work->report, &sizes_shape);

	row[SIZES_SIZE] = cell_number(size);
	row[SIZES_CHUNKS] = cell_number(counts[HOLD_NONE]);
	row[SIZES_BYTES] = cell_number(counts[HOLD_NONE] * size);
	row[SIZES_INDIRECT] = cell_number(counts[HOLD_INDIRECT]);
	row[SIZES_INSIDE] = cell_number(counts[HOLD_INSIDE]);
}

static void add_sizes(struct work *work)
{
	const struct native_block *blocks = work->leaks.blocks.items;
	uint64_t counts[HOLD_BEGIN] = { 0 };

	if (work->order.count)
		qsort_r(work->order.items, work->order.count, sizeof(*work->order.items),
			compare_block_sizes, work->leaks.blocks.items);
	for (size_t i = 0; i < work->order.count; i++) {
		const struct native_block *block = &blocks[work->order.items[i]];
		bool last = i + 1 == work->order.count ||
			    blocks[work->order.items[i + 1]].size != block->size;

		counts[block->hold]++;
		if (!last)
			continue;
		add_size(work, block->size, counts);
		memset(counts, 0, sizeof(counts));
	}
}

static void add_chunks(struct work *work)
{
	static const char *const allocators[] = {
		[ALLOCATOR_PYMALLOC] = "pymalloc",
		[ALLOCATOR_MIMALLOC] = "mimalloc",
		[ALLOCATOR_MALLOC] = "malloc",
	};
	static const char *const losts[] = {
		[HOLD_NONE] = "yes",
		[HOLD_INDIRECT] = "indirectly",
		[HOLD_INSIDE] = "possibly",
	};
	uint64_t limit = query_examples(&work->report->query, CHUNKS_MAX);

	if (work->order.count)
		qsort_r(work->order.items, work->order.count, sizeof(*work->order.items),
			compare_blocks, work->leaks.blocks.items);
	for (size_t i = 0; i < MIN(work->order.count, limit); i++) {
		const struct native_block *block = &work->leaks.blocks.items[work->order.items[i]];
		struct memheap_cell *row = report_row(work->report, &chunks_shape);

		row[CHUNKS_ADDRESS] = cell_number(block->start);
		row[CHUNKS_SIZE] = cell_number(block->size);
		row[CHUNKS_ALLOCATOR] =
			cell_text(allocators[block_get(&work->s->blocks, block->id).allocator]);
		row[CHUNKS_LOST] = cell_text(losts[block->hold]);
		row[CHUNKS_HINT] = cell_text(hint(work, block));
	}
}

/* Counts the blocks that are or may be lost; false when out of memory. */
static bool count_blocks(struct work *work)
{
	for (uint32_t i = 0; i < work->leaks.blocks.count; i++) {
		const struct native_block *block = &work->leaks.blocks.items[i];
		uint32_t *index;

		if (block->hold == HOLD_BEGIN)
			continue;
		index = vector_push(&work->order);
		if (!index)
			return false;
		*index = i;
		work->chunks[block->hold]++;
		work->bytes[block->hold] += block->size;
	}
	return true;
}

static void add_sum(const struct work *work, const struct type_sum *objects)
{
	struct memheap_cell *row = report_row(work->report, &sum_shape);

	row[SUM_CHUNKS] = cell_number(work->chunks[HOLD_NONE]);
	row[SUM_BYTES] = cell_number(work->bytes[HOLD_NONE]);
	row[SUM_INDIRECT] = cell_number(work->chunks[HOLD_INDIRECT]);
	row[SUM_INDIRECT_BYTES] = cell_number(work->bytes[HOLD_INDIRECT]);
	row[SUM_INSIDE] = cell_number(work->chunks[HOLD_INSIDE]);
	row[SUM_INSIDE_BYTES] = cell_number(work->bytes[HOLD_INSIDE]);
	row[SUM_OBJECTS] = cell_number(objects->objects);
	row[SUM_SHALLOW] = cell_number(objects->shallow);
	row[SUM_UNREFERENCED] = cell_number(objects->other[OTHER_UNREFERENCED]);
	row[SUM_COLLECTABLE] = cell_number(objects->other[OTHER_COLLECTABLE]);
	row[SUM_SEARCHED] = cell_number(work->leaks.blocks.count);
}

static void free_work(struct work *work)
{
	leaks_deinit(&work->leaks);
	cycles_deinit(&work->cycles);
	by_type_deinit(&work->types);
	free(work->order.items);
}

static struct memheap_error *build(struct memheap_report *report)
{
	_cleanup_(free_work) struct work work = { .report = report, .s = report->snapshot };
	struct memheap_error *error = find(&work);
	struct type_sum objects;

	if (error)
		return error;
	if (!by_type_init(&work.types, report) || !count_blocks(&work))
		return &error_no_memory;
	objects = add_lost_types(&work);
	add_sum(&work, &objects);
	if (!by_type_examples(&work.types, &report->query, is_lost, add_object, &work))
		return &error_no_memory;
	add_sizes(&work);
	add_chunks(&work);
	report->gaps.kinds[GAP_REFERENCES_UNREADABLE].count += work.s->graph.incomplete;
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_leaks = {
	.shape = {
		.name = "leaks",
		.schema = "memheap.leaks",
		.schema_version = "1.0",
		.title = "Memory that nothing leads to",
		.tables = tables,
		.main_table = "types",
		.needs = MEMHEAP_GRAPH,
	},
	.build = build,
};
