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

const struct glibc_shape glibc_shapes[GLIBC_SHAPES] = {
	{
		.fastbins = 16,
		.top = 96,
		.bins = 112,
		.next = 2160,
		.system_bytes = 2184,
		.size = 2200,
	},
	/* 2.43 and later */
	{ .mmapped_less = CHUNK_HEADER,
	  .top = 8,
	  .bins = 24,
	  .next = 2072,
	  .system_bytes = 2096,
	  .size = 2112 },
};

/* A place where an arena may be, and its shape. */
struct site {
	const struct image *image;
	const struct glibc_shape *shape;
	vaddr at;
};

/* Whether bin `index` (from 1) is a ring: empty, or its first chunk points back. */
static bool is_ring(const struct site *site, unsigned index)
{
	/* the address that a bin takes for a chunk whose links are its list head */
	vaddr bin = site->at + site->shape->bins + (index - 1) * 16ULL - CHUNK_HEADER;
	uint64_t forward, back;

	return image_u64(site->image, bin + CHUNK_HEADER, &forward) &&
	       image_u64(site->image, forward + CHUNK_HEADER + 8, &back) && back == bin;
}

/* Whether nearly all bins are rings. */
static bool has_bins(const struct site *site)
{
	unsigned rings = 0;

	/* the second bin tells most candidates */
	if (!image_at(site->image, site->at, site->shape->size) || !is_ring(site, 2))
		return false;
	for (unsigned i = 1; i <= BIN_COUNT; i++)
		rings += is_ring(site, i);
	return rings >= RINGS_MIN;
}

/* Whether a malloc_state lies here. One of another shape looks the same from bins on; only the
 * ring of arenas tells them apart, because its links lead to their beginnings. `sure`: they do. */
static bool is_main_arena(const struct site *site, bool sure)
{
	uint64_t top, next, size;
	struct site other = *site;

	if (!has_bins(site) || !image_u64(site->image, site->at + site->shape->next, &next) ||
	    !next || !image_u64(site->image, site->at + site->shape->top, &top) ||
	    !image_u64(site->image, top + 8, &size) || !(size & PREVIOUS_IN_USE))
		return false;
	other.at = next;
	return !sure || next == site->at || has_bins(&other);
}

/* Searches the writable data of `module`. */
static bool search_module(struct malloc_map *map, const struct image *image,
			  const struct module *module, bool sure)
{
	struct site site = { image, map->shape, 0 };

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(module, segment);

		for (uint64_t at = 0; at + site.shape->size <= size; at += 8) {
			site.at = segment->start + at;
			if (!is_main_arena(&site, sure))
				continue;
			map->main_arena = site.at;
			map->found = "search by structure";
			return true;
		}
	}
	return false;
}

/* Looks in `module` for an arena of the shape map->shape. */
static bool find_in_module(struct malloc_map *map, const struct image *image,
			   const struct module *module, bool sure)
{
	struct site site = { image, map->shape, 0 };
	struct elf_symbol symbol;

	if (module_symbol(module, "main_arena", &symbol)) {
		site.at = symbol.address;
		if (is_main_arena(&site, sure)) {
			map->main_arena = symbol.address;
			map->found = "symbol main_arena";
			return true;
		}
	}
	return search_module(map, image, module, sure);
}

bool glibc_find_main_arena(struct malloc_map *map, const struct image *image,
			   const struct modules *modules)
{
	/* at first with the ring of arenas as a witness; it may be damaged */
	for (unsigned i = 0; i < 2 * GLIBC_SHAPES; i++) {
		map->shape = &glibc_shapes[i % GLIBC_SHAPES];
		for (size_t j = 0; j < modules->list.count; j++) {
			const struct module *module = &modules->list.items[j];

			if ((is_libc(module) || module == modules->executable) &&
			    find_in_module(map, image, module, i < GLIBC_SHAPES))
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
