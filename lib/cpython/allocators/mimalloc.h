/* SPDX-License-Identifier: MIT */
/*
 * mimalloc: what CPython allocates with where PYTHONMALLOC=mimalloc asks for it, and in
 * free-threaded builds always (3.13 and later). Segments of 32 MiB, or one huge block, are cut into
 * slices of 64 KiB; slices in a row make a page, which holds blocks of one size and belongs to a
 * heap. 3.13 Include/internal/mimalloc/mimalloc/types.h
 */
#pragma once

#include "../../base/parallel.h"
#include "../runtime.h"

#define MIMALLOC_HEAP_NONE UINT32_MAX

/* What a heap of a free-threaded build is for: 3.13 Include/internal/pycore_mimalloc.h,
 * mi_heap_tag_t. In a build with the GIL each thread has one heap, for all. */
enum mimalloc_use {
	MIMALLOC_ANY,
	MIMALLOC_MEM,    /* PyMem_Malloc(): no objects */
	MIMALLOC_OBJECT, /* objects without garbage collection, and what PyObject_Malloc() gives */
	MIMALLOC_GC,     /* objects with */
	MIMALLOC_GC_PRE, /* objects with, behind a pre-header */
	MIMALLOC_USES
};

struct mimalloc_heap {
	vaddr at;             /* mi_heap_t; 0: pages that exited threads left behind */
	uint64_t thread_id;   /* pthread_t of its thread */
	uint32_t interpreter; /* index; of a heap of the process: 0 */
	uint8_t use;          /* enum mimalloc_use */
	uint64_t pages, used, free, untouched, delayed, unknown; /* blocks */
	uint64_t used_bytes, free_bytes, unknown_bytes;
};

/* A page, or what is known of its blocks. */
struct mimalloc_page {
	vaddr at;   /* mi_page_t */
	vaddr span; /* start of its slices */
	uint64_t span_bytes;
	vaddr start; /* of the first block */
	uint64_t block_bytes;
	uint32_t first;  /* block_id of the first block */
	uint32_t count;  /* blocks it has room for */
	uint32_t carved; /* blocks ever handed out: those before it are used or free */
	uint32_t used;
	uint32_t delayed; /* free ones, that other threads freed and the owner has not taken back */
	uint32_t unknown; /* used ones that nobody knows; set when blocks are counted */
	uint32_t heap;    /* index */
	bool opaque;      /* as in struct pool */
	bool damaged;     /* its lists contradict its header */
	bool readable;
};

struct mimalloc_segment {
	vaddr start;
	uint64_t size;
	uint64_t info_bytes; /* of its own header */
	uint64_t thread_id;  /* 0: abandoned */
	uint32_t pages;      /* index of the first one */
	uint32_t page_count;
	bool huge; /* one page, of one block */
};

/* What segments are cut from: reserved at once, used bit by bit. */
struct mimalloc_arena {
	vaddr start;
	uint64_t size;
};

struct mimalloc {
	const char *found; /* how the segments' cookie was: "symbol _mi_heap_main"; NULL: none */
	uint64_t cookie;
	bool divided;                             /* heaps have uses: a free-threaded build */
	VECTOR(struct mimalloc_arena) arenas;     /* by start */
	VECTOR(struct mimalloc_segment) segments; /* by start */
	VECTOR(struct mimalloc_page) pages;       /* by start */
	VECTOR(struct mimalloc_heap) heaps;       /* of the threads, in their order; then others */
};

/* Finds the segments, their pages and heaps; the pages' free lists are not yet walked. */
struct memheap_error *mimalloc_load(struct mimalloc *mimalloc, const struct python *python,
				    struct gaps *gaps);

void mimalloc_deinit(struct mimalloc *mimalloc);

/*
 * Walks the lists of free blocks of a page and marks these in `free`, which has room for `carved`
 * bits and is all zero. Sets page->used; a list that is broken is a gap.
 */
void mimalloc_walk_page(const struct memory *memory, struct mimalloc_page *page, uint64_t *free,
			struct gaps *gaps);

/* Called for a block that another thread freed and gave to the heap's owner. */
typedef void delayed_fn(void *context, struct mimalloc_page *page, uint32_t index);

/* Calls `fn` for the blocks on the heap's list of blocks that other threads freed. */
void mimalloc_each_delayed(const struct mimalloc *mimalloc, const struct memory *memory,
			   const struct mimalloc_heap *heap, delayed_fn *fn, void *context);

/* The segment, and the page, that hold `at`, or NULL. */
const struct mimalloc_segment *mimalloc_find_segment(const struct mimalloc *mimalloc, vaddr at);
struct mimalloc_page *mimalloc_find_page(const struct mimalloc *mimalloc, vaddr at);

/* Adds up, for each heap, what its pages hold. */
void mimalloc_sum_heaps(struct mimalloc *mimalloc);
