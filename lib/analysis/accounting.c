/* SPDX-License-Identifier: MIT */
/*
 * Areas cover the image. Inside of arenas and heaps, blocks are counted by what they are; what is
 * left there is the allocators' own overhead, or (damage) unknown. Objects in static data are taken
 * out of the data of modules.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../base/cleanup.h"
#include "accounting.h"

struct builder {
	struct accounting *accounting;
	const struct memheap_snapshot *s;
	uint64_t areas[AREA_KINDS]; /* bytes of each kind */
	bool failed;
};

static void add_leaf(struct builder *builder, uint64_t bytes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void add_leaf(struct builder *builder, uint64_t bytes, const char *format, ...)
{
	struct accounting *accounting = builder->accounting;
	struct account_leaf *leaf;
	va_list args;
	char path[2048];

	if (!bytes)
		return;
	va_start(args, format);
	vsnprintf(path, sizeof(path), format, args);
	va_end(args);
	leaf = vector_push(&accounting->leaves);
	if (!leaf) {
		builder->failed = true;
		return;
	}
	*leaf = (struct account_leaf){
		.path = strings_add(&accounting->strings, path, strlen(path)),
		.bytes = bytes,
	};
	builder->failed |= !leaf->path;
	accounting->sum += bytes;
}

/* The name of a type as the last part of a path. */
static const char *path_name(const char *name, char *copy, size_t size)
{
	snprintf(copy, size, "%s", name);
	for (char *slash = copy; (slash = strchr(slash, '/'));)
		*slash = '|';
	return copy;
}

enum type_sum {
	SUM_BLOCKS,
	SUM_STATIC,
};

/* Interned strings have a leaf of their own. */
static uint64_t type_bytes(const struct objects *objects, size_t type, enum type_sum sum)
{
	const struct type_totals *totals = &objects->by_type[type];

	if (sum == SUM_STATIC)
		return totals->static_bytes;
	return totals->block_bytes - (type == objects->str_type ? objects->interned.bytes : 0);
}

/* A type's bytes, for bringing types of the same name together. */
struct named_bytes {
	const char *name;
	uint64_t bytes;
};

static int compare_names(const void *a, const void *b)
{
	const struct named_bytes *left = a, *right = b;

	return strcmp(left->name, right->name);
}

static int compare_bytes(const void *a, const void *b)
{
	const struct named_bytes *left = a, *right = b;

	if (left->bytes != right->bytes)
		return left->bytes > right->bytes ? -1 : 1;
	return strcmp(left->name, right->name);
}

/* Adds a leaf below `path` for each type, largest first. */
static void add_types(struct builder *builder, const char *path, enum type_sum sum)
{
	const struct objects *objects = &builder->s->objects;
	size_t count = objects->types.list.count, kept = 0;
	char copy[1024];

	_cleanup_free_ struct named_bytes *names = calloc(count + 1, sizeof(*names));
	if (!names) {
		builder->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		names[i] = (struct named_bytes){ objects->types.list.items[i].name,
						 type_bytes(objects, i, sum) };
	qsort(names, count, sizeof(*names), compare_names);
	for (size_t i = 0; i < count; i++) {
		if (kept && !strcmp(names[kept - 1].name, names[i].name))
			names[kept - 1].bytes += names[i].bytes;
		else
			names[kept++] = names[i];
	}
	qsort(names, kept, sizeof(*names), compare_bytes);
	for (size_t i = 0; i < kept; i++)
		add_leaf(builder, names[i].bytes, "%s/%s", path,
			 path_name(names[i].name, copy, sizeof(copy)));
}

static void add_totals(struct builder *builder, const char *path, const struct block_totals *totals,
		       const char *const *names, size_t count)
{
	_cleanup_free_ struct named_bytes *rows = calloc(count, sizeof(*rows));

	if (!rows) {
		builder->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		rows[i] = (struct named_bytes){ names[i], totals[i].bytes };
	qsort(rows, count, sizeof(*rows), compare_bytes);
	for (size_t i = 0; i < count; i++)
		add_leaf(builder, rows[i].bytes, "%s/%s", path, rows[i].name);
}

/* Bytes of pymalloc that are no blocks in use. */
struct pymalloc_sums {
	uint64_t free, untouched, unused_pools, headers, tails, alignment, guards, damaged;
};

/* Adds one pool; false when it is not in the image. */
static void sum_pool(struct pymalloc_sums *sums, const struct block_map *map,
		     const struct pool *pool)
{
	const struct pymalloc *pymalloc = &map->pymalloc;
	uint64_t size = pymalloc_block_bytes(pymalloc, pool->size_class);

	if (!pool->count) {
		*(pool->damaged ? &sums->damaged : &sums->unused_pools) += pymalloc->pool_bytes;
		return;
	}
	sums->headers += pymalloc->header_bytes;
	sums->tails += pymalloc->pool_bytes - pymalloc->header_bytes - pool->count * size;
	sums->guards +=
		(uint64_t)pool->used * pool_guards(map, pool->size_class) * map->hooks.bytes;
	sums->free += ((uint64_t)pool->carved - pool->used) * size;
	sums->untouched += ((uint64_t)pool->count - pool->carved) * size;
}

/* Adds one arena of which `readable` bytes are in the image. */
static void sum_arena(struct pymalloc_sums *sums, const struct memheap_snapshot *s,
		      const struct arena *arena, uint64_t readable)
{
	const struct pymalloc *pymalloc = &s->blocks.pymalloc;
	uint64_t known = 0;

	for (uint32_t i = 0; i < arena->pool_count; i++) {
		vaddr at = pymalloc_pool_at(pymalloc, arena, i);

		if (!arena->readable && !image_at(&s->target.image, at, pymalloc->pool_bytes))
			continue;
		sum_pool(sums, &s->blocks, &pymalloc->pools[arena->pools + i]);
		known += pymalloc->pool_bytes;
	}
	*(arena->readable ? &sums->alignment : &sums->damaged) += readable - known;
}

/* Bytes of mimalloc that are no blocks in use. */
struct mimalloc_sums {
	uint64_t free, untouched, free_pages, headers, padding, guards, damaged;
};

/* Adds one page; returns its bytes, as far as known. */
static uint64_t sum_page(struct mimalloc_sums *sums, const struct block_map *map,
			 const struct mimalloc_page *page)
{
	uint64_t blocks = page->count * page->block_bytes;

	if (!page->readable)
		return 0;
	sums->guards += (uint64_t)page->used * page_guards(map, page) * map->hooks.bytes;
	sums->free += (page->carved - page->used) * page->block_bytes;
	sums->untouched += (page->count - page->carved) * page->block_bytes;
	*(page->count ? &sums->padding : &sums->damaged) += page->span_bytes - blocks;
	return page->span_bytes;
}

/* Adds one segment of which `readable` bytes are in the image. */
static void sum_segment(struct mimalloc_sums *sums, const struct memheap_snapshot *s,
			const struct mimalloc_segment *segment, uint64_t readable)
{
	const struct block_map *map = &s->blocks;
	bool whole = image_at(&s->target.image, segment->start, segment->info_bytes);
	uint64_t known = whole ? segment->info_bytes : 0;

	sums->headers += known;
	for (uint32_t i = 0; i < segment->page_count; i++) {
		const struct mimalloc_page *page = &map->mimalloc.pages.items[segment->pages + i];

		known += sum_page(sums, map, page);
		whole &= page->readable;
	}
	*(whole ? &sums->free_pages : &sums->damaged) += readable - MIN(readable, known);
}

/* Bytes of malloc that are no chunks in use. */
struct malloc_sums {
	uint64_t states[CHUNK_STATES]; /* by state, but CHUNK_USED */
	uint64_t overhead, guards, damaged;
	uint64_t known[FOREIGN_KINDS]; /* of other allocators, in blocks */
};

/* Adds one heap of which `readable` bytes are in the image. */
static void sum_heap(struct malloc_sums *sums, const struct block_map *map, const struct heap *heap,
		     uint64_t readable)
{
	uint64_t usable = 0;

	if (heap->kind == HEAP_FOREIGN) {
		sums->known[map->malloc.foreign.items[heap->arena].kind] +=
			blocks_known_bytes(map, heap);
		return;
	}
	for (size_t i = heap->first; i < heap->first + heap->count; i++) {
		const struct chunk *chunk = &map->malloc.chunks.items[i];

		usable += chunk->size;
		sums->guards += chunk_guards(map, i) * map->hooks.bytes;
		if (chunk->state != CHUNK_USED)
			sums->states[chunk->state] += chunk->size;
	}
	sums->damaged += MIN(heap->damaged, readable - MIN(usable, readable));
	sums->overhead += readable - MIN(readable, usable + heap->damaged);
}

/* The readable bytes of each arena and heap: areas know what is missing. One may be cut into
 * several areas by the borders of segments. */
static void sum_allocators(struct builder *builder, const struct areas *areas,
			   struct pymalloc_sums *pymalloc, struct mimalloc_sums *mimalloc,
			   struct malloc_sums *malloc)
{
	const struct block_map *map = &builder->s->blocks;
	size_t arenas = map->pymalloc.arenas.count, segments = map->mimalloc.segments.count;
	size_t heaps = map->malloc.heaps.count;

	_cleanup_free_ uint64_t *readable =
		calloc(arenas + segments + heaps + 1, sizeof(*readable));
	if (!readable) {
		builder->failed = true;
		return;
	}
	for (size_t i = 0; i < areas->list.count; i++) {
		const struct area *area = &areas->list.items[i];

		if (area->kind <= AREA_MMAPPED && area->kind != AREA_MI_ARENA)
			readable[(area->kind == AREA_ARENA        ? 0
				  : area->kind == AREA_MI_SEGMENT ? arenas
								  : arenas + segments) +
				 area->index] += area->end - area->start;
	}
	for (size_t i = 0; i < arenas; i++)
		sum_arena(pymalloc, builder->s, &map->pymalloc.arenas.items[i], readable[i]);
	for (size_t i = 0; i < segments; i++)
		sum_segment(mimalloc, builder->s, &map->mimalloc.segments.items[i],
			    readable[arenas + i]);
	for (size_t i = 0; i < heaps; i++)
		sum_heap(malloc, map, &map->malloc.heaps.items[i], readable[arenas + segments + i]);
}

/* Used blocks that nobody knows, by size class. */
static void add_unknown_blocks(struct builder *builder)
{
	const struct pymalloc *pymalloc = &builder->s->blocks.pymalloc;

	for (unsigned i = 0; i < pymalloc->class_count; i++) {
		uint64_t size = pymalloc_block_bytes(pymalloc, i), unknown = 0;
		uint64_t guards =
			pool_guards(&builder->s->blocks, i) * builder->s->blocks.hooks.bytes;

		for (size_t state = 0; state < pymalloc->states.count; state++)
			unknown += objects_class(&builder->s->objects, state, i)->unknown;
		add_leaf(builder, unknown * (size - guards), "unknown/pymalloc blocks/%llu bytes",
			 (unsigned long long)size);
	}
}

/* Likewise of mimalloc: its blocks have many sizes. */
static void add_unknown_pages(struct builder *builder)
{
	const struct block_map *map = &builder->s->blocks;
	uint64_t bytes = 0;

	for (size_t i = 0; i < map->mimalloc.pages.count; i++) {
		const struct mimalloc_page *page = &map->mimalloc.pages.items[i];

		bytes += page->unknown *
			 (page->block_bytes - page_guards(map, page) * map->hooks.bytes);
	}
	add_leaf(builder, bytes, "unknown/mimalloc blocks");
}

static void add_python(struct builder *builder)
{
	const struct objects *objects = &builder->s->objects;

	add_types(builder, "python/objects", SUM_BLOCKS);
	add_leaf(builder, objects->interned.bytes, "python/interned strings");
	add_totals(builder, "python/buffers", objects->buffers, buffer_names, BUFFER_KINDS);
	add_totals(builder, "python/free lists", objects->parked, free_list_names, FREE_LIST_KINDS);
	add_types(builder, "python/static objects", SUM_STATIC);
	add_leaf(builder, builder->areas[AREA_FRAME_STACK], "python/frame stacks");
}

static void add_pymalloc(struct builder *builder, const struct pymalloc_sums *sums)
{
	add_leaf(builder, sums->free, "pymalloc/free blocks");
	add_leaf(builder, sums->untouched, "pymalloc/untouched blocks");
	add_leaf(builder, sums->unused_pools, "pymalloc/unused pools");
	add_leaf(builder, sums->headers, "pymalloc/pool headers");
	add_leaf(builder, sums->tails, "pymalloc/pool tails");
	add_leaf(builder, sums->guards, "pymalloc/debug guards");
	add_leaf(builder, sums->alignment, "pymalloc/arena alignment");
}

static void add_mimalloc(struct builder *builder, const struct mimalloc_sums *sums)
{
	add_leaf(builder, sums->free, "mimalloc/free blocks");
	add_leaf(builder, sums->untouched, "mimalloc/untouched blocks");
	add_leaf(builder, sums->free_pages, "mimalloc/free pages");
	add_leaf(builder, sums->headers, "mimalloc/segment headers");
	add_leaf(builder, sums->padding, "mimalloc/page padding");
	add_leaf(builder, sums->guards, "mimalloc/debug guards");
	add_leaf(builder, builder->areas[AREA_MI_ARENA], "mimalloc/unused");
}

static void add_malloc(struct builder *builder, const struct malloc_sums *sums)
{
	add_leaf(builder, builder->s->objects.unknown_chunks.bytes, "malloc/used by others");
	add_leaf(builder, sums->states[CHUNK_FREE], "malloc/free chunks");
	add_leaf(builder, sums->states[CHUNK_TCACHE], "malloc/thread caches");
	add_leaf(builder, sums->states[CHUNK_FASTBIN], "malloc/fastbins");
	add_leaf(builder, sums->states[CHUNK_TOP], "malloc/top");
	add_leaf(builder, sums->guards, "malloc/debug guards");
	add_leaf(builder, sums->overhead, "malloc/overhead");
	add_leaf(builder, builder->areas[AREA_JEMALLOC] - sums->known[FOREIGN_JEMALLOC],
		 "jemalloc/rest");
	add_leaf(builder, builder->areas[AREA_TCMALLOC] - sums->known[FOREIGN_TCMALLOC],
		 "tcmalloc/rest");
	add_leaf(builder, builder->areas[AREA_MUSL] - sums->known[FOREIGN_MUSL], "musl/rest");
}

static uint64_t sum_statics(const struct memheap_snapshot *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->objects.types.list.count; i++)
		sum += s->objects.by_type[i].static_bytes;
	return sum;
}

static void add_rest(struct builder *builder, const struct pymalloc_sums *pymalloc,
		     const struct mimalloc_sums *mimalloc, const struct malloc_sums *malloc)
{
	const uint64_t *areas = builder->areas;

	add_leaf(builder, areas[AREA_MAIN_STACK], "stacks/main thread");
	add_leaf(builder, areas[AREA_THREAD_STACK], "stacks/other threads");
	add_leaf(builder, areas[AREA_MODULE_DATA] - sum_statics(builder->s), "modules/data");
	add_leaf(builder, areas[AREA_MODULE_CODE], "modules/code");
	add_leaf(builder, areas[AREA_FILE], "files");
	add_leaf(builder, areas[AREA_VDSO], "kernel");
	add_leaf(builder, areas[AREA_MISSING_FILE], "missing/files");
	add_leaf(builder, areas[AREA_MISSING_ANONYMOUS], "missing/anonymous");
	add_leaf(builder, areas[AREA_MISSING_RESERVED], "missing/reserved");
	add_leaf(builder, areas[AREA_MISSING_TRUNCATED], "missing/truncated");
	add_unknown_blocks(builder);
	add_unknown_pages(builder);
	add_leaf(builder, areas[AREA_ANONYMOUS] - malloc->known[FOREIGN_NONE], "unknown/anonymous");
	add_leaf(builder, pymalloc->damaged, "unknown/damaged pools");
	add_leaf(builder, mimalloc->damaged, "unknown/damaged mimalloc pages");
	add_leaf(builder, malloc->damaged, "unknown/damaged malloc heaps");
}

bool accounting_build(struct accounting *accounting, const struct memheap_snapshot *s,
		      const struct areas *areas)
{
	struct builder builder = { .accounting = accounting, .s = s };
	struct pymalloc_sums pymalloc = { 0 };
	struct mimalloc_sums mimalloc = { 0 };
	struct malloc_sums malloc = { 0 };

	for (size_t i = 0; i < areas->list.count; i++) {
		const struct area *area = &areas->list.items[i];

		builder.areas[area->kind] += area->end - area->start;
		accounting->image_bytes += area->end - area->start;
	}
	sum_allocators(&builder, areas, &pymalloc, &mimalloc, &malloc);
	add_python(&builder);
	add_pymalloc(&builder, &pymalloc);
	add_mimalloc(&builder, &mimalloc);
	add_malloc(&builder, &malloc);
	add_rest(&builder, &pymalloc, &mimalloc, &malloc);
	return !builder.failed;
}

void accounting_deinit(struct accounting *accounting)
{
	free(accounting->leaves.items);
	strings_deinit(&accounting->strings);
	*accounting = (struct accounting){ 0 };
}
