/* SPDX-License-Identifier: MIT */
/*
 * The chunks of glibc's malloc: main arena (brk), thread arenas, mmapped chunks. glibc 2.31 to
 * 2.43; found by symbol or by structure, always verified by the walk itself.
 */
#pragma once

#include "../base/notices.h"
#include "../base/ranges.h"
#include "../modules/modules.h"

enum chunk_state {
	CHUNK_USED,
	CHUNK_FREE,    /* in a small, large or unsorted bin */
	CHUNK_FASTBIN, /* freed, in a fastbin */
	CHUNK_TCACHE,  /* freed, in a thread's cache */
	CHUNK_TOP,     /* the wilderness at the end of an arena */
	CHUNK_STATES
};

/* Where in a chunk an object begins: so many bytes behind its start, and one. */
enum chunk_begins {
	BEGINS_ANYWHERE, /* nobody knows */
	BEGINS_HERE,
	BEGINS_NOWHERE = 255,
};

/* One chunk: what the program sees of it. Its header lies in the 8 (mmapped: 16) bytes before. */
struct chunk {
	vaddr start;
	uint64_t size : 48;  /* usable bytes */
	uint64_t state : 8;  /* enum chunk_state */
	uint64_t begins : 8; /* enum chunk_begins */
};

enum heap_kind {
	HEAP_MAIN,    /* grown by brk */
	HEAP_THREAD,  /* of a thread arena */
	HEAP_MMAPPED, /* one mmapped chunk */
	HEAP_FOREIGN, /* of another allocator: its chunks are the blocks that are known */
};

/* A contiguous stretch of memory that malloc manages. */
struct heap {
	vaddr start, end;
	enum heap_kind kind;
	uint32_t arena; /* index; 0 is the main arena; mmapped chunks have none; of a foreign one
			   its index in `foreign` */
	size_t first;   /* its chunks: first .. first + count - 1 */
	size_t count;
	uint64_t damaged; /* bytes behind chunks whose size makes no sense */
};

struct malloc_arena {
	vaddr at; /* its malloc_state */
	uint64_t system_bytes;
};

/* Allocators that are known by name, and not walked. */
enum foreign_kind { FOREIGN_NONE, FOREIGN_JEMALLOC, FOREIGN_TCMALLOC, FOREIGN_MUSL, FOREIGN_KINDS };

/* A stretch of memory of such an allocator. */
struct foreign_range {
	vaddr start, end;
	enum foreign_kind kind; /* NONE: it may be one's, where no malloc is known */
};

struct malloc_map {
	const char *found; /* how: "symbol main_arena", "search by structure"; NULL: not found */
	const struct glibc_shape *shape;
	vaddr main_arena;
	bool mangled; /* links of tcache and fastbins are mangled (glibc 2.32 and later) */
	bool counted; /* whether malloc's own count of mmapped chunks is known */
	uint64_t mmapped_count, mmapped_bytes;
	VECTOR(struct malloc_arena) arenas;
	VECTOR(struct heap) heaps;   /* by start */
	VECTOR(struct chunk) chunks; /* by start */
	/* where malloc's chunks, or another allocator's, may be that could not be walked */
	struct ranges unwalked;
	VECTOR(struct foreign_range) foreign; /* by start; in `unwalked` too */
	enum foreign_kind foreign_kind;       /* of the last one that was met; NONE: none */
	const struct module *foreign_module;
};

/* Memory that is not malloc's. */
struct malloc_taken {
	struct ranges ranges;      /* for certain; joined */
	struct ranges stacks;      /* probably; by start, without overlaps */
	VECTOR(vaddr) descriptors; /* one of the C library in each thread's */
};

/* Walks malloc. A heap that can't be walked is a gap; no malloc at all leaves the map empty. */
struct memheap_error *malloc_load(struct malloc_map *map, const struct image *image,
				  const struct modules *modules, const struct malloc_taken *taken,
				  struct gaps *gaps);

void malloc_unload(struct malloc_map *map);

/* Adds blocks in `foreign` that are known, by start and without overlaps, as chunks that are used:
 * the chunks get other indices. False when out of memory. */
bool malloc_add_known(struct malloc_map *map, const struct chunk *blocks, size_t count);

/* The heap that holds `at`, or NULL. */
const struct heap *malloc_find_heap(const struct malloc_map *map, vaddr at);

/* The first heap that ends behind `at`, or NULL. */
const struct heap *malloc_heap_after(const struct malloc_map *map, vaddr at);

/* The chunk of `heap` whose usable bytes hold `at`: its index, or SIZE_MAX. */
size_t malloc_find_chunk(const struct malloc_map *map, const struct heap *heap, vaddr at);

/* Whether what lies at `at` belongs to a malloc that could not be walked. */
bool malloc_is_unwalked(const struct malloc_map *map, vaddr at);

/* What an allocator is called in reports. */
const char *foreign_name(enum foreign_kind kind);

/* What `state` is called in reports. */
const char *chunk_state_name(enum chunk_state state);
