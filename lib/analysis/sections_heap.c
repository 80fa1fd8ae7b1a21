/* SPDX-License-Identifier: MIT */
/* Where the memory is: the accounting, types, allocators. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "../base/cleanup.h"
#include "sections.h"

#define COLUMNS(array) .columns = (array), .column_count = ARRAY_SIZE(array)

enum { MEMORY_PATH, MEMORY_BYTES, MEMORY_SHARE };

static const struct memheap_column memory_columns[] = {
	[MEMORY_PATH] = { "path", "MEMORY", MEMHEAP_TEXT,
			  "Leaf of the tree of categories, parts separated by '/'" },
	[MEMORY_BYTES] = { "bytes", "BYTES", MEMHEAP_BYTES, "Bytes of the image" },
	[MEMORY_SHARE] = { "percent", "SHARE", MEMHEAP_PERCENT, "Share of the image" },
};

const struct memheap_table_shape memory_shape = {
	.key = "memory",
	.title = "Memory",
	.doc = "Every byte of the image in exactly one leaf: the rows sum to "
	       "completeness.image_bytes",
	COLUMNS(memory_columns),
};

void add_memory(struct memheap_report *report, const struct areas *areas)
{
	struct accounting accounting = { 0 };

	if (!accounting_build(&accounting, report->snapshot, areas))
		report->failed = true;
	for (size_t i = 0; i < accounting.leaves.count; i++) {
		const struct account_leaf *leaf = &accounting.leaves.items[i];
		struct memheap_cell *row = report_row(report, &memory_shape);

		row[MEMORY_PATH] = cell_text(report_text(report, "%s", leaf->path));
		row[MEMORY_BYTES] = cell_number(leaf->bytes);
		row[MEMORY_SHARE] = cell_percent(leaf->bytes, accounting.image_bytes);
	}
	accounting_deinit(&accounting);
}

enum {
	TYPES_TYPE,
	TYPES_OBJECTS,
	TYPES_SHALLOW,
	TYPES_OCCUPIED,
	TYPES_TRACKED,
	TYPES_SHARE,
	TYPES_RETAINED,
};

#define TYPES_COLUMNS                                                                             \
	[TYPES_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "module.qualname; built-in types bare" },  \
	[TYPES_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT, "Live objects of the type" },    \
	[TYPES_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,                            \
			    "What sys.getsizeof() would say of them, summed" },                   \
	[TYPES_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,                         \
			     "The allocator blocks that they and the buffers that only they own " \
			     "really take" },                                                     \
	[TYPES_TRACKED] = { "tracked_objects", "TRACKED", MEMHEAP_COUNT,                          \
			    "Of these, tracked by the garbage collector" },                       \
	[TYPES_SHARE] = { "percent", "SHARE", MEMHEAP_PERCENT,                                    \
			  "occupied_bytes as a share of all types' occupied_bytes" }

static const struct memheap_column types_columns[] = { TYPES_COLUMNS };

const struct memheap_table_shape types_shape = {
	.key = "types",
	.title = "Types",
	.doc = "Live objects by type; types of the same name are one row",
	COLUMNS(types_columns),
};

static const struct memheap_column retaining_columns[] = {
	TYPES_COLUMNS,
	[TYPES_RETAINED] = { "retained_bytes", "RETAINED", MEMHEAP_BYTES,
			     "All that at least one of them retains, each byte counted once; none "
			     "where who holds them was not looked for" },
};

const struct memheap_table_shape retaining_types_shape = {
	.key = "types",
	.title = "Types",
	.doc = "Live objects by type; types of the same name are one row",
	COLUMNS(retaining_columns),
};

/* Sums over the types of one name. */
struct type_row {
	const char *name;
	uint64_t objects, shallow, occupied, tracked, retained;
};

static int compare_occupied(const void *a, const void *b)
{
	const struct type_row *left = a, *right = b;

	if (left->occupied != right->occupied)
		return left->occupied > right->occupied ? -1 : 1;
	if (left->shallow != right->shallow)
		return left->shallow > right->shallow ? -1 : 1;
	return strcmp(left->name, right->name);
}

/* Fills `rows` with the types that have objects, one row a name; returns their number. */
static size_t collect_types(const struct objects *objects, const struct type_retention *retained,
			    struct type_row *rows)
{
	size_t kept = 0;

	for (size_t i = 0; i < objects->types.list.count; i++) {
		const struct type_totals *totals = &objects->by_type[i];
		const struct type *type = &objects->types.list.items[i];
		struct type_row *row = &rows[type->namesake];

		row->name = type->name;
		row->objects += totals->objects;
		row->shallow += totals->shallow_bytes;
		row->occupied += totals->block_bytes + totals->buffer_bytes;
		row->tracked += totals->tracked;
		row->retained += retained ? retained[i].retained : 0;
	}
	for (size_t i = 0; i < objects->types.list.count; i++) {
		if (rows[i].objects)
			rows[kept++] = rows[i];
	}
	qsort(rows, kept, sizeof(*rows), compare_occupied);
	return kept;
}

static void add_types_rows(struct memheap_report *report, const struct memheap_table_shape *shape,
			   const char *pattern, const struct type_retention *retained)
{
	const struct objects *objects = &report->snapshot->objects;
	uint64_t sum = 0;
	size_t count;

	_cleanup_free_ struct type_row *rows = calloc(objects->types.list.count + 1, sizeof(*rows));
	if (!rows) {
		report->failed = true;
		return;
	}
	count = collect_types(objects, retained, rows);
	for (size_t i = 0; i < count; i++)
		sum += rows[i].occupied;
	for (size_t i = 0; i < count; i++) {
		struct memheap_cell *row;

		if (pattern && fnmatch(pattern, rows[i].name, 0))
			continue;
		row = report_row(report, shape);
		row[TYPES_TYPE] = cell_text(rows[i].name);
		row[TYPES_OBJECTS] = cell_number(rows[i].objects);
		row[TYPES_SHALLOW] = cell_number(rows[i].shallow);
		row[TYPES_OCCUPIED] = cell_number(rows[i].occupied);
		row[TYPES_TRACKED] = cell_number(rows[i].tracked);
		row[TYPES_SHARE] = cell_percent(rows[i].occupied, sum);
		if (retained)
			row[TYPES_RETAINED] = cell_number(rows[i].retained);
	}
}

void add_types(struct memheap_report *report, const char *pattern)
{
	add_types_rows(report, &types_shape, pattern, NULL);
}

void add_retaining_types(struct memheap_report *report, const struct type_retention *retained)
{
	add_types_rows(report, &retaining_types_shape, NULL, retained);
}

enum {
	PYMALLOC_ARENAS,
	PYMALLOC_ARENA_BYTES,
	PYMALLOC_POOL_BYTES,
	PYMALLOC_TOTAL_ARENAS,
	PYMALLOC_PEAK_ARENAS,
	PYMALLOC_POOLS,
	PYMALLOC_UNUSED_POOLS,
	PYMALLOC_USED_BLOCKS,
	PYMALLOC_FREE_BLOCKS,
	PYMALLOC_UNTOUCHED_BLOCKS,
	PYMALLOC_USED_BYTES,
	PYMALLOC_FREE_BYTES,
	PYMALLOC_UNUSED_POOL_BYTES,
	PYMALLOC_HEADER_BYTES,
	PYMALLOC_TAIL_BYTES,
	PYMALLOC_ALIGNMENT_BYTES,
	PYMALLOC_TOTAL_BYTES,
};

static const struct memheap_column pymalloc_columns[] = {
	[PYMALLOC_ARENAS] = { "arenas", "ARENAS", MEMHEAP_COUNT,
			      "'# arenas allocated current' of sys._debugmallocstats(), summed "
			      "over interpreters" },
	[PYMALLOC_ARENA_BYTES] = { "arena_bytes", "ARENA SIZE", MEMHEAP_BYTES,
				   "Size of one arena (ARENA_SIZE)" },
	[PYMALLOC_POOL_BYTES] = { "pool_bytes", "POOL SIZE", MEMHEAP_BYTES,
				  "Size of one pool (POOL_SIZE)" },
	[PYMALLOC_TOTAL_ARENAS] = { "arenas_allocated_total", "ARENAS EVER", MEMHEAP_COUNT,
				    "'# arenas allocated total'; absent without symbols up to "
				    "3.11" },
	[PYMALLOC_PEAK_ARENAS] = { "arenas_highwater", "ARENAS AT MOST", MEMHEAP_COUNT,
				   "'# arenas highwater mark'; absent likewise" },
	[PYMALLOC_POOLS] = { "pools", "POOLS", MEMHEAP_COUNT, "Pools in use" },
	[PYMALLOC_UNUSED_POOLS] = { "unused_pools", "UNUSED POOLS", MEMHEAP_COUNT,
				    "'# unused pools': free, or never used" },
	[PYMALLOC_USED_BLOCKS] = { "used_blocks", "USED", MEMHEAP_COUNT, "Blocks in use" },
	[PYMALLOC_FREE_BLOCKS] = { "free_blocks", "AVAILABLE", MEMHEAP_COUNT,
				   "Available blocks of pools in use, free and untouched" },
	[PYMALLOC_UNTOUCHED_BLOCKS] = { "untouched_blocks", "UNTOUCHED", MEMHEAP_COUNT,
					"Of these, never handed out" },
	[PYMALLOC_USED_BYTES] = { "used_bytes", "USED BYTES", MEMHEAP_BYTES,
				  "'# bytes in allocated blocks'" },
	[PYMALLOC_FREE_BYTES] = { "free_bytes", "AVAILABLE BYTES", MEMHEAP_BYTES,
				  "'# bytes in available blocks'" },
	[PYMALLOC_UNUSED_POOL_BYTES] = { "unused_pool_bytes", "UNUSED POOL BYTES", MEMHEAP_BYTES,
					 "'unused pools * pool size'" },
	[PYMALLOC_HEADER_BYTES] = { "pool_header_bytes", "HEADERS", MEMHEAP_BYTES,
				    "'# bytes lost to pool headers'" },
	[PYMALLOC_TAIL_BYTES] = { "pool_tail_bytes", "TAILS", MEMHEAP_BYTES,
				  "'# bytes lost to quantization'" },
	[PYMALLOC_ALIGNMENT_BYTES] = { "arena_alignment_bytes", "ALIGNMENT", MEMHEAP_BYTES,
				       "'# bytes lost to arena alignment'" },
	[PYMALLOC_TOTAL_BYTES] = { "total_bytes", "TOTAL", MEMHEAP_BYTES,
				   "'Total': the sum of the six rows before" },
};

const struct memheap_table_shape pymalloc_shape = {
	.key = "pymalloc",
	.title = "pymalloc",
	.flags = MEMHEAP_RECORD,
	.doc = "CPython's own allocator, in the terms of sys._debugmallocstats() "
	       "(Objects/obmalloc.c, _PyObject_DebugMallocStats)",
	COLUMNS(pymalloc_columns),
};

struct memheap_cell cell_state(const struct memheap_snapshot *s, size_t state)
{
	uint32_t interpreter = s->blocks.pymalloc.states.items[state].interpreter;

	return cell_number((uint64_t)s->python.interpreters.items[interpreter].id);
}

/* Sums over all pools. */
struct pool_sums {
	uint64_t pools, used, free, untouched, used_bytes, free_bytes, headers, tails;
};

static struct pool_sums sum_classes(const struct memheap_snapshot *s)
{
	const struct pymalloc *pymalloc = &s->blocks.pymalloc;
	struct pool_sums sums = { 0 };

	for (size_t i = 0; i < pymalloc->states.count * pymalloc->class_count; i++) {
		unsigned size_class = (unsigned)(i % pymalloc->class_count);
		const struct class_totals *class =
			objects_class(&s->objects, i / pymalloc->class_count, size_class);
		uint64_t size = pymalloc_block_bytes(pymalloc, size_class);
		uint64_t room = pymalloc->pool_bytes - pymalloc->header_bytes;

		sums.pools += class->pools;
		sums.used += class->used;
		sums.free += class->free;
		sums.untouched += class->untouched;
		sums.used_bytes += class->used * size;
		sums.free_bytes += (class->free + class->untouched) * size;
		sums.headers += class->pools * pymalloc->header_bytes;
		sums.tails += class->pools * (room % size);
	}
	return sums;
}

/* The counters of all states; false when one doesn't know them. */
static bool sum_counters(const struct pymalloc *pymalloc, uint64_t *total, uint64_t *peak)
{
	*total = *peak = 0;
	for (size_t i = 0; i < pymalloc->states.count; i++) {
		const struct pymalloc_state *state = &pymalloc->states.items[i];

		if (!state->counted)
			return false;
		*total += state->arenas_total;
		*peak += state->arenas_peak;
	}
	return pymalloc->states.count;
}

void add_pymalloc(struct memheap_report *report)
{
	const struct pymalloc *pymalloc = &report->snapshot->blocks.pymalloc;
	struct memheap_cell *row = report_row(report, &pymalloc_shape);
	struct pool_sums sums = sum_classes(report->snapshot);
	uint64_t unused = 0, alignment = 0, total, peak;

	for (size_t i = 0; i < pymalloc->arenas.count; i++) {
		const struct arena *arena = &pymalloc->arenas.items[i];

		unused += arena->free_pools;
		alignment += pymalloc->arena_bytes - arena->pool_count * pymalloc->pool_bytes;
	}
	row[PYMALLOC_ARENAS] = cell_number(pymalloc->arenas.count);
	row[PYMALLOC_ARENA_BYTES] = cell_number(pymalloc->arena_bytes);
	row[PYMALLOC_POOL_BYTES] = cell_number(pymalloc->pool_bytes);
	if (sum_counters(pymalloc, &total, &peak)) {
		row[PYMALLOC_TOTAL_ARENAS] = cell_number(total);
		row[PYMALLOC_PEAK_ARENAS] = cell_number(peak);
	}
	row[PYMALLOC_POOLS] = cell_number(sums.pools);
	row[PYMALLOC_UNUSED_POOLS] = cell_number(unused);
	row[PYMALLOC_USED_BLOCKS] = cell_number(sums.used);
	row[PYMALLOC_FREE_BLOCKS] = cell_number(sums.free + sums.untouched);
	row[PYMALLOC_UNTOUCHED_BLOCKS] = cell_number(sums.untouched);
	row[PYMALLOC_USED_BYTES] = cell_number(sums.used_bytes);
	row[PYMALLOC_FREE_BYTES] = cell_number(sums.free_bytes);
	row[PYMALLOC_UNUSED_POOL_BYTES] = cell_number(unused * pymalloc->pool_bytes);
	row[PYMALLOC_HEADER_BYTES] = cell_number(sums.headers);
	row[PYMALLOC_TAIL_BYTES] = cell_number(sums.tails);
	row[PYMALLOC_ALIGNMENT_BYTES] = cell_number(alignment);
	row[PYMALLOC_TOTAL_BYTES] =
		cell_number(sums.used_bytes + sums.free_bytes + unused * pymalloc->pool_bytes +
			    sums.headers + sums.tails + alignment);
}

enum {
	CLASSES_INTERPRETER,
	CLASSES_BLOCK_BYTES,
	CLASSES_POOLS,
	CLASSES_USED,
	CLASSES_FREE,
	CLASSES_UNTOUCHED,
	CLASSES_UNKNOWN,
	CLASSES_FREE_BYTES,
	CLASSES_FILL,
};

static const struct memheap_column size_classes_columns[] = {
	[CLASSES_INTERPRETER] = { "interpreter", "INTERPRETER", MEMHEAP_ID,
				  "Id of the interpreter that owns the pools (all share up to "
				  "3.11: 0)" },
	[CLASSES_BLOCK_BYTES] = { "block_bytes", "BLOCK SIZE", MEMHEAP_BYTES,
				  "Size of the class's blocks" },
	[CLASSES_POOLS] = { "pools", "POOLS", MEMHEAP_COUNT, "Pools in use" },
	[CLASSES_USED] = { "used_blocks", "USED", MEMHEAP_COUNT, "Blocks in use" },
	[CLASSES_FREE] = { "free_blocks", "AVAILABLE", MEMHEAP_COUNT,
			   "Available blocks of these pools, free and untouched" },
	[CLASSES_UNTOUCHED] = { "untouched_blocks", "UNTOUCHED", MEMHEAP_COUNT,
				"Of these, never handed out" },
	[CLASSES_UNKNOWN] = { "unknown_blocks", "UNKNOWN", MEMHEAP_COUNT,
			      "Used blocks that are neither an object nor a known buffer" },
	[CLASSES_FREE_BYTES] = { "free_bytes", "AVAILABLE BYTES", MEMHEAP_BYTES,
				 "Bytes of the available blocks: fragmentation" },
	[CLASSES_FILL] = { "used_percent", "FILL", MEMHEAP_PERCENT,
			   "Used blocks as a share of all blocks of these pools" },
};

const struct memheap_table_shape size_classes_shape = {
	.key = "pymalloc.size_classes",
	.title = "Size classes",
	.doc = "The table that sys._debugmallocstats() prints in each interpreter",
	COLUMNS(size_classes_columns),
};

static void add_size_class(struct memheap_report *report, size_t state, unsigned size_class)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct class_totals *class = objects_class(&s->objects, state, size_class);
	uint64_t size = pymalloc_block_bytes(&s->blocks.pymalloc, size_class);
	uint64_t free = class->free + class->untouched;
	struct memheap_cell *row;

	if (!class->pools)
		return;
	row = report_row(report, &size_classes_shape);
	row[CLASSES_INTERPRETER] = cell_state(s, state);
	row[CLASSES_BLOCK_BYTES] = cell_number(size);
	row[CLASSES_POOLS] = cell_number(class->pools);
	row[CLASSES_USED] = cell_number(class->used);
	row[CLASSES_FREE] = cell_number(free);
	row[CLASSES_UNTOUCHED] = cell_number(class->untouched);
	row[CLASSES_UNKNOWN] = cell_number(class->unknown);
	row[CLASSES_FREE_BYTES] = cell_number(free * size);
	row[CLASSES_FILL] = cell_percent(class->used, class->used + free);
}

void add_size_classes(struct memheap_report *report)
{
	const struct pymalloc *pymalloc = &report->snapshot->blocks.pymalloc;

	for (size_t state = 0; state < pymalloc->states.count; state++) {
		for (unsigned i = 0; i < pymalloc->class_count; i++)
			add_size_class(report, state, i);
	}
}

enum {
	MALLOC_ARENAS,
	MALLOC_HEAPS,
	MALLOC_SYSTEM_BYTES,
	MALLOC_USED_CHUNKS,
	MALLOC_USED_BYTES,
	MALLOC_FREE_CHUNKS,
	MALLOC_FREE_BYTES,
	MALLOC_FASTBIN_CHUNKS,
	MALLOC_FASTBIN_BYTES,
	MALLOC_TCACHE_CHUNKS,
	MALLOC_TCACHE_BYTES,
	MALLOC_TOP_BYTES,
	MALLOC_MMAPPED_CHUNKS,
	MALLOC_MMAPPED_BYTES,
	MALLOC_OTHERS_CHUNKS,
	MALLOC_OTHERS_BYTES,
};

static const struct memheap_column malloc_columns[] = {
	[MALLOC_ARENAS] = { "arenas", "ARENAS", MEMHEAP_COUNT,
			    "Arenas of glibc's malloc, the main one among them" },
	[MALLOC_HEAPS] = { "heaps", "HEAPS", MEMHEAP_COUNT,
			   "Stretches of memory that arenas have, mmapped chunks not counted" },
	[MALLOC_SYSTEM_BYTES] = { "system_bytes", "SYSTEM", MEMHEAP_BYTES,
				  "What the arenas got from the system (malloc_info: 'system')" },
	[MALLOC_USED_CHUNKS] = { "used_chunks", "USED", MEMHEAP_COUNT, "Chunks in use" },
	[MALLOC_USED_BYTES] = { "used_bytes", "USED BYTES", MEMHEAP_BYTES,
				"Their usable bytes, headers not counted" },
	[MALLOC_FREE_CHUNKS] = { "free_chunks", "FREE", MEMHEAP_COUNT,
				 "Chunks in small, large and unsorted bins" },
	[MALLOC_FREE_BYTES] = { "free_bytes", "FREE BYTES", MEMHEAP_BYTES, "Their bytes" },
	[MALLOC_FASTBIN_CHUNKS] = { "fastbin_chunks", "FASTBIN", MEMHEAP_COUNT,
				    "Freed chunks in fastbins" },
	[MALLOC_FASTBIN_BYTES] = { "fastbin_bytes", "FASTBIN BYTES", MEMHEAP_BYTES, "Their bytes" },
	[MALLOC_TCACHE_CHUNKS] = { "tcache_chunks", "TCACHE", MEMHEAP_COUNT,
				   "Freed chunks in the caches of threads" },
	[MALLOC_TCACHE_BYTES] = { "tcache_bytes", "TCACHE BYTES", MEMHEAP_BYTES, "Their bytes" },
	[MALLOC_TOP_BYTES] = { "top_bytes", "TOP BYTES", MEMHEAP_BYTES,
			       "Bytes at the ends of arenas that were never handed out, or given "
			       "back" },
	[MALLOC_MMAPPED_CHUNKS] = { "mmapped_chunks", "MMAPPED", MEMHEAP_COUNT,
				    "Large chunks with a mapping of their own, used ones as well" },
	[MALLOC_MMAPPED_BYTES] = { "mmapped_bytes", "MMAPPED BYTES", MEMHEAP_BYTES,
				   "Bytes of those mappings" },
	[MALLOC_OTHERS_CHUNKS] = { "unknown_chunks", "NOT PYTHON'S", MEMHEAP_COUNT,
				   "Used chunks that are neither an object nor a known buffer" },
	[MALLOC_OTHERS_BYTES] = { "unknown_bytes", "NOT PYTHON'S BYTES", MEMHEAP_BYTES,
				  "Their usable bytes" },
};

const struct memheap_table_shape malloc_shape = {
	.key = "malloc",
	.title = "malloc",
	.flags = MEMHEAP_RECORD,
	.doc = "glibc's malloc, chunk by chunk; all cells are absent where it was not found",
	COLUMNS(malloc_columns),
};

static void add_chunks(struct memheap_cell *row, const struct malloc_map *malloc)
{
	struct block_totals sums[CHUNK_STATES] = { 0 };

	for (size_t i = 0; i < malloc->heaps.count; i++) {
		const struct heap *heap = &malloc->heaps.items[i];

		for (size_t j = 0; heap->kind != HEAP_FOREIGN && j < heap->count; j++) {
			const struct chunk *chunk = &malloc->chunks.items[heap->first + j];

			sums[chunk->state].blocks++;
			sums[chunk->state].bytes += chunk->size;
		}
	}
	row[MALLOC_USED_CHUNKS] = cell_number(sums[CHUNK_USED].blocks);
	row[MALLOC_USED_BYTES] = cell_number(sums[CHUNK_USED].bytes);
	row[MALLOC_FREE_CHUNKS] = cell_number(sums[CHUNK_FREE].blocks);
	row[MALLOC_FREE_BYTES] = cell_number(sums[CHUNK_FREE].bytes);
	row[MALLOC_FASTBIN_CHUNKS] = cell_number(sums[CHUNK_FASTBIN].blocks);
	row[MALLOC_FASTBIN_BYTES] = cell_number(sums[CHUNK_FASTBIN].bytes);
	row[MALLOC_TCACHE_CHUNKS] = cell_number(sums[CHUNK_TCACHE].blocks);
	row[MALLOC_TCACHE_BYTES] = cell_number(sums[CHUNK_TCACHE].bytes);
	row[MALLOC_TOP_BYTES] = cell_number(sums[CHUNK_TOP].bytes);
}

void add_malloc(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct malloc_map *malloc = &s->blocks.malloc;
	struct memheap_cell *row = report_row(report, &malloc_shape);
	uint64_t system = 0, heaps = 0, mmapped = 0, mmapped_bytes = 0;

	if (!malloc->found)
		return;
	for (size_t i = 0; i < malloc->arenas.count; i++)
		system += malloc->arenas.items[i].system_bytes;
	for (size_t i = 0; i < malloc->heaps.count; i++) {
		const struct heap *heap = &malloc->heaps.items[i];

		heaps += heap->kind == HEAP_MAIN || heap->kind == HEAP_THREAD;
		mmapped += heap->kind == HEAP_MMAPPED;
		mmapped_bytes += heap->kind == HEAP_MMAPPED ? heap->end - heap->start : 0;
	}
	add_chunks(row, malloc);
	row[MALLOC_ARENAS] = cell_number(malloc->arenas.count);
	row[MALLOC_HEAPS] = cell_number(heaps);
	row[MALLOC_SYSTEM_BYTES] = cell_number(system);
	row[MALLOC_MMAPPED_CHUNKS] = cell_number(mmapped);
	row[MALLOC_MMAPPED_BYTES] = cell_number(mmapped_bytes);
	row[MALLOC_OTHERS_CHUNKS] = cell_number(s->objects.unknown_chunks.blocks);
	row[MALLOC_OTHERS_BYTES] = cell_number(s->objects.unknown_chunks.bytes);
}

enum { FREE_LISTS_LIST, FREE_LISTS_OBJECTS, FREE_LISTS_BYTES };

static const struct memheap_column free_lists_columns[] = {
	[FREE_LISTS_LIST] = { "free_list", "FREE LIST", MEMHEAP_TEXT,
			      "What is kept there, by the name of its type" },
	[FREE_LISTS_OBJECTS] = { "objects", "PARKED", MEMHEAP_COUNT,
				 "Dead objects (or keys tables) that are kept" },
	[FREE_LISTS_BYTES] = { "bytes", "BYTES", MEMHEAP_BYTES, "Their blocks" },
};

const struct memheap_table_shape free_lists_shape = {
	.key = "free_lists",
	.title = "Free lists",
	.doc = "Dead objects that CPython keeps for the next request: memory that is used to the "
	       "allocator and free to the program",
	COLUMNS(free_lists_columns),
};

void add_free_lists(struct memheap_report *report)
{
	for (int i = 0; i < FREE_LIST_KINDS; i++) {
		const struct block_totals *totals = &report->snapshot->objects.parked[i];
		struct memheap_cell *row;

		if (!totals->blocks)
			continue;
		row = report_row(report, &free_lists_shape);
		row[FREE_LISTS_LIST] = cell_text(free_list_names[i]);
		row[FREE_LISTS_OBJECTS] = cell_number(totals->blocks);
		row[FREE_LISTS_BYTES] = cell_number(totals->bytes);
	}
}
