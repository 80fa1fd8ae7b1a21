/* SPDX-License-Identifier: MIT */
/*
 * objects: object by object, streamed. In the order of addresses nothing is stored; sorted by a
 * column, 16 bytes an object.
 */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "../cpython/values.h"
#include "referents.h"
#include "sections.h"

#define VALUE_MAX 200 /* characters of a value that are shown */

enum {
	OBJECTS_ADDRESS,
	OBJECTS_TYPE,
	OBJECTS_SHALLOW,
	OBJECTS_OCCUPIED,
	OBJECTS_TRACKED,
	OBJECTS_REFCOUNT,
	OBJECTS_REGION,
	OBJECTS_VALUE,
	OBJECTS_REFS,
	OBJECTS_WEAK_REFS,
	OBJECTS_EXTRA_REFS,
	OBJECTS_CONSERVATIVE_REFS,
};

static const struct memheap_column objects_columns[] = {
	[OBJECTS_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "id() of the object" },
	[OBJECTS_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "module.qualname; built-in types bare" },
	[OBJECTS_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,
			      "What sys.getsizeof() would say" },
	[OBJECTS_OCCUPIED] = { "occupied_bytes", "OCCUPIED", MEMHEAP_BYTES,
			       "The allocator blocks that it and the buffers that only it owns "
			       "really take; 0 for an object in static data without buffers" },
	[OBJECTS_TRACKED] = { "gc_tracked", "TRACKED", MEMHEAP_FLAG, "gc.is_tracked()" },
	[OBJECTS_REFCOUNT] = { "refcount", "REFCOUNT", MEMHEAP_COUNT,
			       "PyObject.ob_refcnt; 4294967295 for an immortal object. In "
			       "free-threaded builds what the owner and other threads count, "
			       "less what deferred counting adds" },
	[OBJECTS_REGION] = { "region", "REGION", MEMHEAP_TEXT,
			     "What the memory is that it lies in" },
	[OBJECTS_VALUE] = { "value", "VALUE", MEMHEAP_TEXT,
			    "Its value, for str and int; only when asked for", true },
	[OBJECTS_REFS] = { "refs", "REFS", MEMHEAP_ADDRESSES,
			   "The objects that it refers to, as gc.get_referents() would give them: "
			   "what its tp_traverse visits; this and the next three only when asked "
			   "for",
			   true },
	[OBJECTS_WEAK_REFS] = { "weak_refs", "WEAK REFS", MEMHEAP_ADDRESSES,
				"Those that it refers to weakly", true },
	[OBJECTS_EXTRA_REFS] = { "extra_refs", "EXTRA REFS", MEMHEAP_ADDRESSES,
				 "Those that it holds, and no tp_traverse visits", true },
	[OBJECTS_CONSERVATIVE_REFS] = { "conservative_refs", "MAYBE REFS", MEMHEAP_ADDRESSES,
					"Objects whose address is among its words, if nobody knows "
					"what these words are",
					true },
};

static const struct memheap_table_shape objects_shape = {
	.key = "objects",
	.title = "Objects",
	.doc = "Live objects, by address unless sorted",
	.columns = objects_columns,
	.column_count = ARRAY_SIZE(objects_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&objects_shape, &completeness_shape, &torn_shape, &gaps_shape, &diagnostics_shape, NULL,
};

/* An object in the order to be shown in. */
struct sorted_object {
	uint64_t key;
	block_id id;
};

/* What is kept for streaming. */
struct stream {
	struct areas areas;
	bool *type_wanted;   /* by index of the type; NULL: all */
	uint64_t *type_rank; /* for sorting by name */
	uint64_t region_rank[AREA_KINDS];
	struct sorted_object *sorted;
	size_t sorted_count;
	struct referents referents; /* of the object at hand */
};

/* The blocks of the four kinds, each by address, merged. */
struct cursor {
	const struct block_map *map;
	size_t arena, pool; /* next pool, by index */
	uint32_t block;     /* in that pool */
	size_t page;        /* of mimalloc, by index */
	uint32_t paged;     /* block in that page */
	size_t chunk, static_object;
};

/* The next block of pymalloc: its address, or UINT64_MAX at the end. */
static vaddr next_pool_block(struct cursor *cursor, block_id *id)
{
	const struct pymalloc *pymalloc = &cursor->map->pymalloc;

	for (;;) {
		const struct arena *arena;
		const struct pool *pool;

		if (cursor->arena == pymalloc->arenas.count)
			return UINT64_MAX;
		arena = &pymalloc->arenas.items[cursor->arena];
		if (cursor->pool == arena->pool_count) {
			cursor->arena++;
			cursor->pool = cursor->block = 0;
			continue;
		}
		pool = &pymalloc->pools[arena->pools + cursor->pool];
		if (cursor->block < pool->carved) {
			*id = pool->first + cursor->block;
			return pymalloc_pool_at(pymalloc, arena, (uint32_t)cursor->pool) +
			       pymalloc->header_bytes +
			       cursor->block * pymalloc_block_bytes(pymalloc, pool->size_class);
		}
		cursor->pool++;
		cursor->block = 0;
	}
}

/* The next block of mimalloc: its address, or UINT64_MAX at the end. */
static vaddr next_page_block(struct cursor *cursor, block_id *id)
{
	const struct mimalloc *mimalloc = &cursor->map->mimalloc;

	for (; cursor->page < mimalloc->pages.count; cursor->page++, cursor->paged = 0) {
		const struct mimalloc_page *page = &mimalloc->pages.items[cursor->page];

		if (cursor->paged < page->carved) {
			*id = page->first + cursor->paged;
			return page->start + cursor->paged * page->block_bytes;
		}
	}
	return UINT64_MAX;
}

/* The next block or static by address; false at the end. */
static bool next_block(struct cursor *cursor, block_id *id)
{
	const struct block_map *map = cursor->map;
	vaddr pool = next_pool_block(cursor, id), chunk = UINT64_MAX, object = UINT64_MAX, page;
	block_id paged = BLOCK_NONE;

	page = next_page_block(cursor, &paged);
	if (cursor->chunk < map->malloc.chunks.count)
		chunk = map->malloc.chunks.items[cursor->chunk].start;
	if (cursor->static_object < map->statics.count)
		object = map->statics.items[cursor->static_object].at;
	if (pool <= page && pool <= chunk && pool <= object) {
		cursor->block++;
		return pool != UINT64_MAX;
	}
	if (page <= chunk && page <= object) {
		*id = paged;
		cursor->paged++;
		return true;
	}
	if (chunk <= object)
		*id = map->first_chunk + (block_id)cursor->chunk++;
	else
		*id = map->first_static + (block_id)cursor->static_object++;
	return true;
}

static const char *region_of(const struct stream *stream, vaddr at)
{
	const struct area *area = area_find(&stream->areas, at);

	return area ? area_kind_name(area->kind) : "";
}

/* Looks at one block; false when it is no object that the query wants. */
static bool wanted_object(const struct memheap_report *report, const struct stream *stream,
			  block_id id, struct object_info *info)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct memheap_query *query = &report->query;
	block_tag tag = s->blocks.tags[id];

	if (tag_state(tag) != BLOCK_OBJECT ||
	    (stream->type_wanted && !stream->type_wanted[tag_type(tag)]) ||
	    !objects_get(&s->objects, &s->blocks, &s->python, id, info))
		return false;
	if (info->occupied_bytes < query->min_bytes ||
	    (query->max_bytes && info->occupied_bytes > query->max_bytes))
		return false;
	return !query->region || !fnmatch(query->region, region_of(stream, info->at), 0);
}

static const char *value_text(const struct memheap_snapshot *s, const struct object_info *info,
			      struct strings *strings)
{
	const struct type *type = &s->objects.types.list.items[info->type];
	int64_t number;

	if (type->flags & (layout_constant(&s->python.layout, CONSTANT_TYPE_IS_STR) |
			   layout_constant(&s->python.layout, CONSTANT_TYPE_IS_UNICODE)))
		return str_value(&s->python.memory, info->at, VALUE_MAX, strings);
	if (!strcmp(type->name, "int") && long_value(&s->python.memory, info->at, &number))
		return strings_format(strings, "%lld", (long long)number);
	return NULL;
}

static void set_referents(struct memheap_cell *cells, const struct memheap_snapshot *s,
			  struct referents *referents, block_id id)
{
	static const int columns[REFERENCE_KINDS] = {
		[REFERENCE_STRONG] = OBJECTS_REFS,
		[REFERENCE_WEAK] = OBJECTS_WEAK_REFS,
		[REFERENCE_EXTRA] = OBJECTS_EXTRA_REFS,
		[REFERENCE_CONSERVATIVE] = OBJECTS_CONSERVATIVE_REFS,
	};

	referents_collect(referents, s, id);
	for (int i = 0; i < REFERENCE_KINDS; i++)
		cells[columns[i]] = referents_cell(referents, i);
}

/* Hands the object of block `id` on as a row. */
static bool emit(const struct memheap_table *table, struct stream *stream, block_id id,
		 const struct object_info *info, memheap_row_fn *row, void *closure)
{
	const struct memheap_snapshot *s = table->report->snapshot;
	struct memheap_cell cells[ARRAY_SIZE(objects_columns)] = {
		[OBJECTS_ADDRESS] = cell_number(info->at),
		[OBJECTS_TYPE] = cell_text(s->objects.types.list.items[info->type].name),
		[OBJECTS_SHALLOW] = cell_number(info->shallow_bytes),
		[OBJECTS_OCCUPIED] = cell_number(info->occupied_bytes),
		[OBJECTS_TRACKED] = cell_number(info->gc_tracked),
		[OBJECTS_REFCOUNT] = cell_number(info->refcount),
		[OBJECTS_REGION] = cell_text(region_of(stream, info->at)),
	};
	struct strings strings = { 0 };
	bool more;

	if (table->report->query.values)
		cells[OBJECTS_VALUE] = cell_text(value_text(s, info, &strings));
	if (table->report->query.references)
		set_referents(cells, s, &stream->referents, id);
	more = row(closure, cells);
	strings_deinit(&strings);
	return more && !stream->referents.failed;
}

static bool stream_sorted(const struct memheap_table *table, struct stream *stream,
			  memheap_row_fn *row, void *closure)
{
	const struct memheap_snapshot *s = table->report->snapshot;

	for (size_t i = 0; i < stream->sorted_count; i++) {
		struct object_info info;

		if (objects_get(&s->objects, &s->blocks, &s->python, stream->sorted[i].id, &info) &&
		    !emit(table, stream, stream->sorted[i].id, &info, row, closure))
			return false;
	}
	return true;
}

static bool stream_objects(const struct memheap_table *table, memheap_row_fn *row, void *closure)
{
	const struct memheap_report *report = table->report;
	struct stream *stream = report->stream_data;
	struct cursor cursor = { .map = &report->snapshot->blocks };
	uint64_t limit = report->query.limit, count = 0;
	block_id id;

	if (stream->sorted)
		return stream_sorted(table, stream, row, closure);
	while ((!limit || count < limit) && next_block(&cursor, &id)) {
		struct object_info info;

		if (!wanted_object(report, stream, id, &info))
			continue;
		count++;
		if (!emit(table, stream, id, &info, row, closure))
			return false;
	}
	return true;
}

static int compare_type_names(const void *a, const void *b, void *closure)
{
	const struct type_table *types = closure;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

	return strcmp(types->list.items[left].name, types->list.items[right].name);
}

/* Gives each type its rank among the names. */
static bool rank_types(struct stream *stream, const struct type_table *types)
{
	uint32_t *order = calloc(types->list.count + 1, sizeof(*order));
	uint64_t rank = 0;

	stream->type_rank = calloc(types->list.count + 1, sizeof(*stream->type_rank));
	if (!order || !stream->type_rank) {
		free(order);
		return false;
	}
	for (uint32_t i = 0; i < types->list.count; i++)
		order[i] = i;
	qsort_r(order, types->list.count, sizeof(*order), compare_type_names, (void *)types);
	for (size_t i = 0; i < types->list.count; i++) {
		if (i &&
		    strcmp(types->list.items[order[i]].name, types->list.items[order[i - 1]].name))
			rank++;
		stream->type_rank[order[i]] = rank;
	}
	free(order);
	return true;
}

static void rank_regions(struct stream *stream)
{
	for (int i = 0; i < AREA_KINDS; i++) {
		for (int j = 0; j < AREA_KINDS; j++)
			stream->region_rank[i] += strcmp(area_kind_name(j), area_kind_name(i)) < 0;
	}
}

/* The number that objects are sorted by. */
static uint64_t sort_key(const struct stream *stream, const struct object_info *info, int column)
{
	const struct area *area;

	switch (column) {
	case OBJECTS_TYPE:
		return stream->type_rank[info->type];
	case OBJECTS_SHALLOW:
		return info->shallow_bytes;
	case OBJECTS_OCCUPIED:
		return info->occupied_bytes;
	case OBJECTS_TRACKED:
		return info->gc_tracked;
	case OBJECTS_REFCOUNT:
		return info->refcount;
	case OBJECTS_REGION:
		area = area_find(&stream->areas, info->at);
		return area ? stream->region_rank[area->kind] : 0;
	default:
		return info->at;
	}
}

static int compare_ascending(const void *a, const void *b)
{
	const struct sorted_object *left = a, *right = b;

	if (left->key != right->key)
		return left->key < right->key ? -1 : 1;
	return left->id < right->id ? -1 : left->id > right->id;
}

static int compare_descending(const void *a, const void *b)
{
	const struct sorted_object *left = a, *right = b;

	if (left->key != right->key)
		return left->key > right->key ? -1 : 1;
	return left->id < right->id ? -1 : left->id > right->id;
}

/* Collects the wanted objects in the order asked for; false when out of memory. */
static bool sort_objects(struct memheap_report *report, struct stream *stream, int column)
{
	VECTOR(struct sorted_object) found = { 0 };
	struct cursor cursor = { .map = &report->snapshot->blocks };
	struct object_info info;
	block_id id;

	rank_regions(stream);
	if (!rank_types(stream, &report->snapshot->objects.types))
		return false;
	while (next_block(&cursor, &id)) {
		struct sorted_object *object;

		if (!wanted_object(report, stream, id, &info))
			continue;
		object = vector_push(&found);
		if (!object) {
			free(found.items);
			return false;
		}
		*object = (struct sorted_object){ sort_key(stream, &info, column), id };
	}
	if (found.count)
		qsort(found.items, found.count, sizeof(*found.items),
		      report->query.ascending ? compare_ascending : compare_descending);
	stream->sorted = found.items ? found.items : calloc(1, sizeof(*found.items));
	stream->sorted_count =
		report->query.limit ? MIN(found.count, (size_t)report->query.limit) : found.count;
	return stream->sorted;
}

static bool match_types(struct stream *stream, const struct type_table *types, const char *pattern)
{
	stream->type_wanted = calloc(types->list.count + 1, sizeof(*stream->type_wanted));
	for (size_t i = 0; stream->type_wanted && i < types->list.count; i++)
		stream->type_wanted[i] = !fnmatch(pattern, types->list.items[i].name, 0);
	return stream->type_wanted;
}

/* Counts the wanted objects whose references cannot all be read: rows come too late for that. */
static void count_unreadable(struct memheap_report *report, struct stream *stream)
{
	struct cursor cursor = { .map = &report->snapshot->blocks };
	struct object_info info;
	block_id id;

	while (next_block(&cursor, &id))
		report->gaps.kinds[GAP_REFERENCES_UNREADABLE].count +=
			wanted_object(report, stream, id, &info) &&
			!referents_collect(&stream->referents, report->snapshot, id);
}

static void free_stream(void *data)
{
	struct stream *stream = data;

	if (!stream)
		return;
	areas_deinit(&stream->areas);
	free(stream->type_wanted);
	free(stream->type_rank);
	free(stream->sorted);
	referents_deinit(&stream->referents);
	free(stream);
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct memheap_query *query = &report->query;
	struct memheap_table *table = report_table(report, &objects_shape);
	struct stream *stream;

	if (query->sort && memheap_table_column(&objects_shape, query->sort) >= OBJECTS_VALUE)
		return error_create(MEMHEAP_USAGE, "objects cannot be sorted by %s", query->sort);
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return &error_no_memory;
	report->stream_data = stream;
	report->free_stream_data = free_stream;
	table->stream = stream_objects;
	table->total = report->snapshot->objects.count;
	if (!areas_find(&stream->areas, report->snapshot) ||
	    (query->type && !match_types(stream, &report->snapshot->objects.types, query->type)) ||
	    (query->sort &&
	     !sort_objects(report, stream, memheap_table_column(&objects_shape, query->sort))))
		return &error_no_memory;
	if (query->references)
		count_unreadable(report, stream);
	add_completeness(report);
	add_torn(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_objects = {
	.shape = {
		.name = "objects",
		.schema = "memheap.objects",
		.schema_version = "1.0",
		.title = "Live objects, one by one",
		.tables = tables,
		.main_table = "objects",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build,
};
