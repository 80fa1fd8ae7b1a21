/* SPDX-License-Identifier: MIT */
/* glibc's malloc structures, malloc/malloc.c and malloc/arena.c, from 2.31 to 2.43. */
#pragma once

#include "malloc.h"

/* Offsets in struct malloc_state, which lost its fastbins in 2.43. */
struct glibc_shape {
	uint16_t fastbins; /* 0: none */
	uint16_t top, bins, next, system_bytes;
	uint16_t size;
	uint16_t mmapped_less; /* what the size of an mmapped chunk lacks to whole pages */
};

#define GLIBC_SHAPES  2
#define FASTBIN_COUNT 10
#define BIN_COUNT     127

extern const struct glibc_shape glibc_shapes[GLIBC_SHAPES];

/* struct malloc_chunk: previous size, size with flags, then the user's memory */
#define CHUNK_HEADER    16
#define CHUNK_MIN       32
#define CHUNK_ALIGNMENT 16
#define PREVIOUS_IN_USE 1
#define IS_MMAPPED      2
#define NOT_MAIN_ARENA  4
#define SIZE_FLAGS      7

/* struct heap_info: every heap of a thread arena is aligned to HEAP_BYTES */
#define HEAP_BYTES         (64ULL << 20)
#define HEAP_INFO_ARENA    0
#define HEAP_INFO_PREVIOUS 8
#define HEAP_INFO_SIZE     16

#define PAGE_BYTES 4096

/* Finds the main arena and its shape: by symbol, or by its self-referential empty bins. Sets
 * map->found. */
bool glibc_find_main_arena(struct malloc_map *map, const struct image *image,
			   const struct modules *modules);

/* Finds malloc's own count of its mmapped chunks, next to where it keeps `heap_start`. */
void glibc_find_mmap_counters(struct malloc_map *map, const struct image *image,
			      const struct modules *modules, vaddr heap_start);

/* Brings heaps, and with them their chunks, into the order of addresses; false when out of memory.
 */
bool glibc_order_heaps(struct malloc_map *map);

/* Marks the chunks that are in fastbins and thread caches. */
void glibc_mark_lists(struct malloc_map *map, const struct image *image, struct gaps *gaps);

/* Finds mmapped chunks in anonymous memory that neither a heap nor `taken` covers; false when out
 * of memory. */
bool glibc_find_mmapped(struct malloc_map *map, const struct image *image,
			const struct malloc_taken *taken);

/* The end of the taken range or heap that holds `at`, or 0. */
vaddr malloc_taken_until(const struct malloc_map *map, const struct malloc_taken *taken, vaddr at);

/* Where the first taken range or heap behind `at` begins, or `end`. */
vaddr malloc_taken_from(const struct malloc_map *map, const struct malloc_taken *taken, vaddr at,
			vaddr end);

/* Whether [start, end) overlaps a range that is taken for certain. */
bool malloc_overlaps_taken(const struct malloc_taken *taken, vaddr start, vaddr end);

/* Finds the memory of other allocators; where there is no glibc malloc, all anonymous memory that
 * nobody has taken may be theirs. Each is a gap. False when out of memory. */
bool malloc_find_unwalked(struct malloc_map *map, const struct image *image,
			  const struct modules *modules, const struct malloc_taken *taken,
			  struct gaps *gaps);
