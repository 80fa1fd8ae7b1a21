/* SPDX-License-Identifier: MIT */
/* arenas: a map of the arenas, one cell each, and the tables that explain it. */
#include <string.h>

#include "text.h"

#define MAP_COLUMNS 64
#define CELLS_MAX   64

/* How full an arena is, in hundredths of a percent, and what its cell looks like. */
static const struct level {
	uint64_t from;
	const char *unicode, *ascii, *meaning;
} levels[] = {
	{ 9500, "█", "#", "95 % used or more" },
	{ 7500, "▓", "+", "75 to 95 %" },
	{ 2500, "▒", "-", "25 to 75 %" },
	{ 1, "░", ".", "less than 25 %" },
	{ 0, "·", "_", "empty" },
};

struct map {
	const struct style *style;
	FILE *out;
	int address, percent, damaged, readable; /* columns */
	uint64_t count;
};

static const char *cell_of(const struct map *map, const struct memheap_cell *cells)
{
	if (cells[map->damaged].number || !cells[map->readable].number)
		return "!";
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (cells[map->percent].number >= levels[i].from)
			return map->style->unicode ? levels[i].unicode : levels[i].ascii;
	}
	return "?";
}

static bool draw_arena(void *closure, const struct memheap_cell *cells)
{
	struct map *map = closure;

	if (map->count % MAP_COLUMNS == 0)
		fprintf(map->out, "%s  0x%012llx  ", map->count ? "\n" : "",
			(unsigned long long)cells[map->address].number);
	fputs(cell_of(map, cells), map->out);
	map->count++;
	return !ferror(map->out);
}

static void draw_legend(const struct style *style, FILE *out)
{
	fputs("  each cell is one arena, named by the first address of its line:\n  ", out);
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		fprintf(out, "%s %s   ", style->unicode ? levels[i].unicode : levels[i].ascii,
			levels[i].meaning);
	fputs("! damaged or not in the core\n\n", out);
}

static void draw_map(const struct memheap_report *report, const struct style *style, FILE *out)
{
	const struct memheap_table *arenas = memheap_report_table(report, "arenas");
	const struct memheap_table_shape *shape = memheap_table_shape_of(arenas);
	struct map map = {
		.style = style,
		.out = out,
		.address = memheap_table_column(shape, "address"),
		.percent = memheap_table_column(shape, "used_percent"),
		.damaged = memheap_table_column(shape, "damaged_pools"),
		.readable = memheap_table_column(shape, "readable"),
	};

	text_heading("Arena map", style, out);
	memheap_table_each(arenas, draw_arena, &map);
	fputs(map.count ? "\n\n" : "  there are no arenas\n\n", out);
	draw_legend(style, out);
}

bool text_arenas(const struct memheap_report *report, const struct style *style, FILE *out)
{
	static const char *const records[] = { "pymalloc", "fragmentation" };

	draw_map(report, style, out);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		if (!text_record(memheap_report_table(report, records[i]), style, out))
			return false;
	}
	if (!text_record(memheap_report_table(report, "mimalloc"), style, out) ||
	    !text_table(memheap_report_table(report, "mimalloc.heaps"), style, out) ||
	    !text_table(memheap_report_table(report, "pymalloc.size_classes"), style, out) ||
	    !text_table(memheap_report_table(report, "arenas"), style, out))
		return false;
	text_warnings(report, style, out);
	return !ferror(out);
}
