/* SPDX-License-Identifier: MIT */
/*
 * Where glibc keeps its main arena. Stripped libraries have no symbol for it; but each of its 127
 * bins is a ring: the first chunk of a bin points back at it, and an empty bin at itself.
 */
#include <elf.h>
#include <string.h>

#include "glibc.h"

#define RINGS_MIN     (BIN_COUNT - 7) /* some may be damaged */
#define COUNTER_WORDS 4               /* n_mmaps stands four words before sbrk_base */

static bool is_libc(const struct module *module)
{
	const char *slash = strrchr(module->path, '/');
	const char *name = slash ? slash + 1 : module->path;

	return !strncmp(name, "libc.so", 7) || !strncmp(name, "libc-2.", 7);
}

/* The address that bin `index` (from 1) takes for a chunk whose links are its list head. */
static vaddr bin_at(vaddr arena, unsigned index)
{
	return arena + ARENA_BINS + (index - 1) * 16ULL - CHUNK_HEADER;
}

/* Whether bin `index` of an arena at `at` is a ring: empty, or its first chunk points back. */
static bool is_ring(const struct image *image, vaddr at, unsigned index)
{
	vaddr bin = bin_at(at, index);
	uint64_t forward, back;

	return image_u64(image, bin + CHUNK_HEADER, &forward) &&
	       image_u64(image, forward + CHUNK_HEADER + 8, &back) && back == bin;
}

/* Whether a malloc_state lies at `at`: nearly all bins are rings, and the top chunk has a size. */
static bool is_main_arena(const struct image *image, vaddr at)
{
	unsigned rings = 0;
	uint64_t top, next, size;

	/* the second bin tells most candidates */
	if (!image_at(image, at, ARENA_SIZE) || !is_ring(image, at, 2))
		return false;
	for (unsigned i = 1; i <= BIN_COUNT; i++)
		rings += is_ring(image, at, i);
	return rings >= RINGS_MIN && image_u64(image, at + ARENA_NEXT, &next) && next &&
	       image_u64(image, at + ARENA_TOP, &top) && image_u64(image, top + 8, &size) &&
	       size & PREVIOUS_IN_USE;
}

/* Searches the writable data of `module`. */
static bool search_module(const struct image *image, const struct module *module, vaddr *ret)
{
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(module, segment);

		for (uint64_t at = 0; at + ARENA_SIZE <= size; at += 8) {
			if (is_main_arena(image, segment->start + at)) {
				*ret = segment->start + at;
				return true;
			}
		}
	}
	return false;
}

bool glibc_find_main_arena(struct malloc_map *map, const struct image *image,
			   const struct modules *modules)
{
	for (size_t i = 0; i < modules->list.count; i++) {
		const struct module *module = &modules->list.items[i];
		struct elf_symbol symbol;

		if (!is_libc(module) && module != modules->executable)
			continue;
		if (module_symbol(module, "main_arena", &symbol) &&
		    is_main_arena(image, symbol.address)) {
			map->main_arena = symbol.address;
			map->found = "symbol main_arena";
			return true;
		}
		if (search_module(image, module, &map->main_arena)) {
			map->found = "search by structure";
			return true;
		}
	}
	return false;
}

/* struct malloc_par: …, n_mmaps and n_mmaps_max, max_n_mmaps and a flag, mmapped_mem,
 * max_mmapped_mem, sbrk_base. What precedes n_mmaps changed in 2.35. */
static bool read_counters(struct malloc_map *map, const uint8_t *sbrk_base)
{
	const uint8_t *counters = sbrk_base - COUNTER_WORDS * 8;
	uint32_t count = load_u32(counters), most = load_u32(counters + 8);
	uint64_t bytes = load_u64(counters + 16), most_bytes = load_u64(counters + 24);

	if (count > most || bytes > most_bytes || bytes % PAGE_BYTES || most_bytes % PAGE_BYTES ||
	    !count != !bytes)
		return false;
	map->counted = true;
	map->mmapped_count = count;
	map->mmapped_bytes = bytes;
	return true;
}

void glibc_find_mmap_counters(struct malloc_map *map, const struct image *image,
			      const struct modules *modules, vaddr heap_start)
{
	const struct module *module = modules_find(modules, map->main_arena);

	for (size_t i = 0; module && i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(module, segment);
		for (uint64_t at = COUNTER_WORDS * 8; at + 8 <= size; at += 8) {
			if (load_u64(segment->bytes + at) == heap_start &&
			    read_counters(map, segment->bytes + at))
				return;
		}
	}
}
