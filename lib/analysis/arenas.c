/* SPDX-License-Identifier: MIT */
/* arenas: where pymalloc's memory is, arena by arena, and what is only fragmentation; mimalloc's,
 * heap by heap. */
#include "sections.h"

#define NEARLY_EMPTY 2500 /* hundredths of a percent */

enum {
	ARENAS_ADDRESS,
	ARENAS_INTERPRETER,
	ARENAS_POOLS,
	ARENAS_USED_POOLS,
	ARENAS_UNUSED_POOLS,
	ARENAS_USED_BLOCKS,
	ARENAS_USED_BYTES,
	ARENAS_FREE_BYTES,
	ARENAS_FILL,
	ARENAS_READABLE,
	ARENAS_DAMAGED,
};

static const struct memheap_column arenas_columns[] = {
	[ARENAS_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "Start of the arena" },
	[ARENAS_INTERPRETER] = { "interpreter", "INTERPRETER", MEMHEAP_ID,
				 "Id of the interpreter that owns it (all share up to 3.11: 0)" },
	[ARENAS_POOLS] = { "pools", "POOLS", MEMHEAP_COUNT, "Pools that it has room for" },
	[ARENAS_USED_POOLS] = { "used_pools", "USED POOLS", MEMHEAP_COUNT, "Pools in use" },
	[ARENAS_UNUSED_POOLS] = { "unused_pools", "UNUSED POOLS", MEMHEAP_COUNT,
				  "Pools that are free, or were never used" },
	[ARENAS_USED_BLOCKS] = { "used_blocks", "USED BLOCKS", MEMHEAP_COUNT, "Blocks in use" },
	[ARENAS_USED_BYTES] = { "used_bytes", "USED BYTES", MEMHEAP_BYTES,
				"Bytes of blocks in use" },
	[ARENAS_FREE_BYTES] = { "free_bytes", "AVAILABLE BYTES", MEMHEAP_BYTES,
				"Bytes of available blocks in pools in use" },
	[ARENAS_FILL] = { "used_percent", "FILL", MEMHEAP_PERCENT,
			  "used_bytes as a share of the arena" },
	[ARENAS_READABLE] = { "readable", "READABLE", MEMHEAP_FLAG,
			      "Whether all of it is in the image" },
	[ARENAS_DAMAGED] = { "damaged_pools", "DAMAGED", MEMHEAP_COUNT,
			     "Pools that contradict themselves" },
};

static const struct memheap_table_shape arenas_shape = {
	.key = "arenas",
	.title = "Arenas",
	.doc = "Every arena, by address. An arena goes back to the system only when its last "
	       "block is free",
	.columns = arenas_columns,
	.column_count = ARRAY_SIZE(arenas_columns),
};

enum {
	FRAGMENTATION_FREE,
	FRAGMENTATION_UNUSED,
	FRAGMENTATION_PERCENT,
	FRAGMENTATION_ARENAS,
	FRAGMENTATION_PINNED
};

static const struct memheap_column fragmentation_columns[] = {
	[FRAGMENTATION_FREE] = { "free_bytes", "AVAILABLE BYTES", MEMHEAP_BYTES,
				 "Bytes of available blocks: only requests of the same size can "
				 "use them" },
	[FRAGMENTATION_UNUSED] = { "unused_pool_bytes", "UNUSED POOL BYTES", MEMHEAP_BYTES,
				   "Bytes of unused pools: requests of up to 512 bytes can use "
				   "them" },
	[FRAGMENTATION_PERCENT] = { "percent", "SHARE", MEMHEAP_PERCENT,
				    "Both as a share of all arenas" },
	[FRAGMENTATION_ARENAS] = { "nearly_empty_arenas", "NEARLY EMPTY ARENAS", MEMHEAP_COUNT,
				   "Arenas of which less than a quarter is used" },
	[FRAGMENTATION_PINNED] = { "pinning_blocks", "BLOCKS THAT PIN THEM", MEMHEAP_COUNT,
				   "Used blocks that keep those arenas from going back to the "
				   "system" },
};

static const struct memheap_table_shape fragmentation_shape = {
	.key = "fragmentation",
	.title = "Fragmentation",
	.flags = MEMHEAP_RECORD,
	.doc = "Memory that pymalloc holds and no object uses",
	.columns = fragmentation_columns,
	.column_count = ARRAY_SIZE(fragmentation_columns),
};

static const struct memheap_table_shape *const tables[] = {
	&arenas_shape,       &pymalloc_shape,
	&size_classes_shape, &fragmentation_shape,
	&mimalloc_shape,     &mimalloc_heaps_shape,
	&completeness_shape, &gaps_shape,
	&diagnostics_shape,  NULL,
};

/* What the pools of one arena hold. */
struct arena_sums {
	uint64_t used_pools, used_blocks, used_bytes, free_bytes, damaged;
};

static struct arena_sums sum_arena(const struct pymalloc *pymalloc, const struct arena *arena)
{
	struct arena_sums sums = { 0 };

	for (uint32_t i = 0; i < arena->pool_count; i++) {
		const struct pool *pool = &pymalloc->pools[arena->pools + i];
		uint64_t size = pymalloc_block_bytes(pymalloc, pool->size_class);

		sums.damaged += pool->damaged;
		if (!pool->count)
			continue;
		sums.used_pools++;
		sums.used_blocks += pool->used;
		sums.used_bytes += pool->used * size;
		sums.free_bytes += ((uint64_t)pool->count - pool->used) * size;
	}
	return sums;
}

static struct memheap_error *build(struct memheap_report *report)
{
	const struct memheap_snapshot *s = report->snapshot;
	const struct pymalloc *pymalloc = &s->blocks.pymalloc;
	uint64_t free = 0, unused = 0, nearly_empty = 0, pinning = 0;
	struct memheap_cell *row;

	for (size_t i = 0; i < pymalloc->arenas.count; i++) {
		const struct arena *arena = &pymalloc->arenas.items[i];
		struct arena_sums sums = sum_arena(pymalloc, arena);
		struct memheap_cell fill = cell_percent(sums.used_bytes, pymalloc->arena_bytes);

		row = report_row(report, &arenas_shape);
		row[ARENAS_ADDRESS] = cell_number(arena->start);
		row[ARENAS_INTERPRETER] = cell_state(s, arena->state);
		row[ARENAS_POOLS] = cell_number(arena->pool_count);
		row[ARENAS_USED_POOLS] = cell_number(sums.used_pools);
		row[ARENAS_UNUSED_POOLS] = cell_number(arena->free_pools);
		row[ARENAS_USED_BLOCKS] = cell_number(sums.used_blocks);
		row[ARENAS_USED_BYTES] = cell_number(sums.used_bytes);
		row[ARENAS_FREE_BYTES] = cell_number(sums.free_bytes);
		row[ARENAS_FILL] = fill;
		row[ARENAS_READABLE] = cell_number(arena->readable);
		row[ARENAS_DAMAGED] = cell_number(sums.damaged);
		free += sums.free_bytes;
		unused += arena->free_pools * pymalloc->pool_bytes;
		if (arena->readable && fill.number < NEARLY_EMPTY) {
			nearly_empty++;
			pinning += sums.used_blocks;
		}
	}
	row = report_row(report, &fragmentation_shape);
	row[FRAGMENTATION_FREE] = cell_number(free);
	row[FRAGMENTATION_UNUSED] = cell_number(unused);
	row[FRAGMENTATION_PERCENT] =
		cell_percent(free + unused, pymalloc->arenas.count * pymalloc->arena_bytes);
	row[FRAGMENTATION_ARENAS] = cell_number(nearly_empty);
	row[FRAGMENTATION_PINNED] = cell_number(pinning);
	add_pymalloc(report);
	add_size_classes(report);
	add_mimalloc(report);
	add_completeness(report);
	add_gaps(report);
	add_diagnostics(report);
	return NULL;
}

const struct analysis analysis_arenas = {
	.shape = {
		.name = "arenas",
		.schema = "memheap.arenas",
		.schema_version = "1.0",
		.title = "pymalloc's arenas, mimalloc's heaps",
		.tables = tables,
		.main_table = "arenas",
		.needs = MEMHEAP_OBJECTS,
	},
	.build = build,
};
