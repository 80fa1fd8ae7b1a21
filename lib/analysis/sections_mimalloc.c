/* SPDX-License-Identifier: MIT */
/* mimalloc: its memory, and heap by heap what is in use. */
#include "sections.h"

#define COLUMNS(array) .columns = (array), .column_count = ARRAY_SIZE(array)

enum {
	MIMALLOC_ARENAS,
	MIMALLOC_ARENA_BYTES,
	MIMALLOC_SEGMENTS,
	MIMALLOC_ABANDONED,
	MIMALLOC_SEGMENT_BYTES,
	MIMALLOC_PAGES,
	MIMALLOC_PAGE_BYTES,
	MIMALLOC_USED_BLOCKS,
	MIMALLOC_USED_BYTES,
	MIMALLOC_FREE_BLOCKS,
	MIMALLOC_FREE_BYTES,
};

static const struct memheap_column mimalloc_columns[] = {
	[MIMALLOC_ARENAS] = { "arenas", "ARENAS", MEMHEAP_COUNT,
			      "Reserved stretches of memory that segments are cut from" },
	[MIMALLOC_ARENA_BYTES] = { "arena_bytes", "ARENA BYTES", MEMHEAP_BYTES,
				   "Their bytes, most of them never used" },
	[MIMALLOC_SEGMENTS] = { "segments", "SEGMENTS", MEMHEAP_COUNT, "Segments in use" },
	[MIMALLOC_ABANDONED] = { "abandoned_segments", "ABANDONED", MEMHEAP_COUNT,
				 "Of these, left behind by threads that ended" },
	[MIMALLOC_SEGMENT_BYTES] = { "segment_bytes", "SEGMENT BYTES", MEMHEAP_BYTES,
				     "Bytes of the segments, most of which may be untouched" },
	[MIMALLOC_PAGES] = { "pages", "PAGES", MEMHEAP_COUNT, "Pages in use" },
	[MIMALLOC_PAGE_BYTES] = { "page_bytes", "PAGE BYTES", MEMHEAP_BYTES, "Their bytes" },
	[MIMALLOC_USED_BLOCKS] = { "used_blocks", "USED", MEMHEAP_COUNT, "Blocks in use" },
	[MIMALLOC_USED_BYTES] = { "used_bytes", "USED BYTES", MEMHEAP_BYTES, "Their bytes" },
	[MIMALLOC_FREE_BLOCKS] = { "free_blocks", "AVAILABLE", MEMHEAP_COUNT,
				   "Available blocks of pages in use, free and untouched" },
	[MIMALLOC_FREE_BYTES] = { "free_bytes", "AVAILABLE BYTES", MEMHEAP_BYTES, "Their bytes" },
};

const struct memheap_table_shape mimalloc_shape = {
	.key = "mimalloc",
	.title = "mimalloc",
	.flags = MEMHEAP_RECORD,
	.doc = "The allocator of free-threaded builds, and of PYTHONMALLOC=mimalloc; all cells "
	       "are absent where it is not in use",
	COLUMNS(mimalloc_columns),
};

enum {
	HEAPS_INTERPRETER,
	HEAPS_THREAD,
	HEAPS_ADDRESS,
	HEAPS_USE,
	HEAPS_PAGES,
	HEAPS_USED,
	HEAPS_USED_BYTES,
	HEAPS_FREE,
	HEAPS_UNTOUCHED,
	HEAPS_DELAYED,
	HEAPS_UNKNOWN,
	HEAPS_FREE_BYTES,
};

static const struct memheap_column heaps_columns[] = {
	[HEAPS_INTERPRETER] = { "interpreter", "INTERPRETER", MEMHEAP_ID,
				"Id of the interpreter that its thread belongs to" },
	[HEAPS_THREAD] = { "tid", "THREAD", MEMHEAP_ID,
			   "Kernel's id of its thread; absent for what threads left behind that "
			   "ended, and for threads without a Python frame" },
	[HEAPS_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS,
			    "mi_heap_t; absent for what threads left behind" },
	[HEAPS_USE] = { "use", "USE", MEMHEAP_TEXT,
			"memory: PyMem_Malloc(); objects: those without garbage collection, and "
			"PyObject_Malloc(); gc objects; gc objects with pre-header; all: of a "
			"build with the GIL" },
	[HEAPS_PAGES] = { "pages", "PAGES", MEMHEAP_COUNT, "Pages in use" },
	[HEAPS_USED] = { "used_blocks", "USED", MEMHEAP_COUNT, "Blocks in use" },
	[HEAPS_USED_BYTES] = { "used_bytes", "USED BYTES", MEMHEAP_BYTES, "Their bytes" },
	[HEAPS_FREE] = { "free_blocks", "AVAILABLE", MEMHEAP_COUNT,
			 "Available blocks of these pages, free and untouched" },
	[HEAPS_UNTOUCHED] = { "untouched_blocks", "UNTOUCHED", MEMHEAP_COUNT,
			      "Of these, never handed out" },
	[HEAPS_DELAYED] = { "delayed_blocks", "DELAYED", MEMHEAP_COUNT,
			    "Of the available ones, freed by another thread and not yet taken "
			    "back" },
	[HEAPS_UNKNOWN] = { "unknown_blocks", "UNKNOWN", MEMHEAP_COUNT,
			    "Used blocks that are neither an object nor a known buffer" },
	[HEAPS_FREE_BYTES] = { "free_bytes", "AVAILABLE BYTES", MEMHEAP_BYTES,
			       "Bytes of the available blocks: fragmentation" },
};

const struct memheap_table_shape mimalloc_heaps_shape = {
	.key = "mimalloc.heaps",
	.title = "Heaps of mimalloc",
	.doc = "What mi_heap_visit_blocks() would count in each heap",
	COLUMNS(heaps_columns),
};

static const char *const uses[MIMALLOC_USES] = {
	[MIMALLOC_ANY] = "all",
	[MIMALLOC_MEM] = "memory",
	[MIMALLOC_OBJECT] = "objects",
	[MIMALLOC_GC] = "gc objects",
	[MIMALLOC_GC_PRE] = "gc objects with pre-header",
};

/* The kernel's id of the thread that has the heap. */
static struct memheap_cell heap_thread(const struct python *python,
				       const struct mimalloc_heap *heap)
{
	for (size_t i = 0; heap->at && i < python->threads.count; i++) {
		if (python->threads.items[i].id == heap->thread_id)
			return cell_number(python->threads.items[i].native_id);
	}
	return (struct memheap_cell){ 0 };
}

static void add_heap(struct memheap_report *report, const struct mimalloc_heap *heap)
{
	const struct memheap_snapshot *s = report->snapshot;
	struct memheap_cell *row = report_row(report, &mimalloc_heaps_shape);

	row[HEAPS_INTERPRETER] =
		cell_number((uint64_t)s->python.interpreters.items[heap->interpreter].id);
	row[HEAPS_THREAD] = heap_thread(&s->python, heap);
	if (heap->at)
		row[HEAPS_ADDRESS] = cell_number(heap->at);
	row[HEAPS_USE] = cell_text(uses[heap->use]);
	row[HEAPS_PAGES] = cell_number(heap->pages);
	row[HEAPS_USED] = cell_number(heap->used);
	row[HEAPS_USED_BYTES] = cell_number(heap->used_bytes);
	row[HEAPS_FREE] = cell_number(heap->free + heap->untouched);
	row[HEAPS_UNTOUCHED] = cell_number(heap->untouched);
	row[HEAPS_DELAYED] = cell_number(heap->delayed);
	row[HEAPS_UNKNOWN] = cell_number(heap->unknown);
	row[HEAPS_FREE_BYTES] = cell_number(heap->free_bytes);
}

void add_mimalloc(struct memheap_report *report)
{
	const struct mimalloc *mimalloc = &report->snapshot->blocks.mimalloc;
	struct memheap_cell *row = report_row(report, &mimalloc_shape);
	struct mimalloc_heap sum = { 0 };
	uint64_t arenas = 0, segments = 0, abandoned = 0, pages = 0;

	if (!mimalloc->segments.count)
		return;
	for (size_t i = 0; i < mimalloc->arenas.count; i++)
		arenas += mimalloc->arenas.items[i].size;
	for (size_t i = 0; i < mimalloc->segments.count; i++) {
		segments += mimalloc->segments.items[i].size;
		abandoned += !mimalloc->segments.items[i].thread_id;
	}
	for (size_t i = 0; i < mimalloc->pages.count; i++)
		pages += mimalloc->pages.items[i].span_bytes;
	for (size_t i = 0; i < mimalloc->heaps.count; i++) {
		const struct mimalloc_heap *heap = &mimalloc->heaps.items[i];

		sum.used += heap->used;
		sum.used_bytes += heap->used_bytes;
		sum.free += heap->free + heap->untouched;
		sum.free_bytes += heap->free_bytes;
	}
	row[MIMALLOC_ARENAS] = cell_number(mimalloc->arenas.count);
	row[MIMALLOC_ARENA_BYTES] = cell_number(arenas);
	row[MIMALLOC_SEGMENTS] = cell_number(mimalloc->segments.count);
	row[MIMALLOC_ABANDONED] = cell_number(abandoned);
	row[MIMALLOC_SEGMENT_BYTES] = cell_number(segments);
	row[MIMALLOC_PAGES] = cell_number(mimalloc->pages.count);
	row[MIMALLOC_PAGE_BYTES] = cell_number(pages);
	row[MIMALLOC_USED_BLOCKS] = cell_number(sum.used);
	row[MIMALLOC_USED_BYTES] = cell_number(sum.used_bytes);
	row[MIMALLOC_FREE_BLOCKS] = cell_number(sum.free);
	row[MIMALLOC_FREE_BYTES] = cell_number(sum.free_bytes);
	for (size_t i = 0; i < mimalloc->heaps.count; i++)
		add_heap(report, &mimalloc->heaps.items[i]);
}
