/* SPDX-License-Identifier: MIT */
/*
 * Anonymous memory that is nobody's: where no malloc is known, it may be another allocator's.
 *
 * What other allocators have is not walked, but it is told apart: all that the data of the
 * allocator's module leads to, by words that are addresses, directly or through memory that is its
 * own already. Its descriptors are found from its data, and its pages from those (jemalloc's
 * extents, tcmalloc's free lists, the groups of musl's mallocng).
 */
#include <elf.h>
#include <stdlib.h>

#include "../base/bisect.h"
#include "../base/cleanup.h"
#include "glibc.h"

#define R_DEBUG_MAP      8  /* struct r_debug.r_map */
#define LINK_MAP_DYNAMIC 16 /* struct link_map.l_ld */
#define LINK_MAP_NEXT    24
#define LINK_MAPS_MAX    4096
#define LOADER_DATA_MAX  (1 << 20) /* glibc 2.36's has 5.4 KiB */

/* How to know an allocator's module: by a name in its path, or by a function that it exports. */
static const struct {
	enum foreign_kind kind;
	const char *names[2];
	const char *symbol;
} allocators[] = {
	/* jemalloc.3: its interface without a prefix, as in programs that link it statically */
	{ FOREIGN_JEMALLOC, { "/libjemalloc" }, "mallctlbymib" },
	/* gperftools/src/gperftools/tcmalloc.h */
	{ FOREIGN_TCMALLOC, { "/libtcmalloc" }, "tc_malloc_skip_new_handler" },
	/* the loader is the library; Debian installs it below the name of its architecture */
	{ FOREIGN_MUSL, { "/ld-musl-", "-musl/libc.so" }, NULL },
};

const char *foreign_name(enum foreign_kind kind)
{
	static const char *const names[FOREIGN_KINDS] = {
		[FOREIGN_NONE] = "unknown",
		[FOREIGN_JEMALLOC] = "jemalloc",
		[FOREIGN_TCMALLOC] = "tcmalloc",
		[FOREIGN_MUSL] = "musl",
	};

	return names[kind];
}

static enum foreign_kind kind_of(const struct module *module)
{
	struct elf_symbol symbol;

	for (size_t i = 0; i < ARRAY_SIZE(allocators); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(allocators[i].names); j++) {
			if (allocators[i].names[j] && strstr(module->path, allocators[i].names[j]))
				return allocators[i].kind;
		}
		if (allocators[i].symbol && module_symbol(module, allocators[i].symbol, &symbol))
			return allocators[i].kind;
	}
	return FOREIGN_NONE;
}

/* Anonymous memory that is nobody's yet. */
struct rest {
	const struct image *image;
	VECTOR(vaddr) libc_own;              /* addresses in ranges that are the C library's */
	VECTOR(struct foreign_range) ranges; /* by start */
	VECTOR(size_t) to_follow;            /* indices of those that are somebody's now */
	size_t left;                         /* how many are still nobody's */
};

bool malloc_is_unwalked(const struct malloc_map *map, vaddr at)
{
	for (size_t i = 0; i < map->unwalked.count; i++) {
		if (at >= map->unwalked.items[i].start && at < map->unwalked.items[i].end)
			return true;
	}
	return false;
}

/* Adds what heaps and other owners leave of [at, segment_end). */
static bool add_rest(struct rest *rest, const struct malloc_map *map,
		     const struct malloc_taken *taken, vaddr at, vaddr segment_end)
{
	while (at < segment_end) {
		vaddr end = malloc_taken_until(map, taken, at);

		if (!end) {
			struct foreign_range *range = vector_push(&rest->ranges);

			end = malloc_taken_from(map, taken, at, segment_end);
			if (!range)
				return false;
			*range = (struct foreign_range){ at, end, FOREIGN_NONE };
		}
		at = end;
	}
	return true;
}

static bool find_rest(struct rest *rest, const struct malloc_map *map,
		      const struct modules *modules, const struct malloc_taken *taken)
{
	for (size_t i = 0; i < rest->image->segments.count; i++) {
		const struct segment *segment = &rest->image->segments.items[i];
		/* without a gap behind it, the brk heap is in one segment with a .bss */
		vaddr start = segment->start + modules_data_size(modules, segment);

		if (segment->bytes && !segment->path && segment->permissions & PF_W &&
		    !add_rest(rest, map, taken, start, segment->end))
			return false;
	}
	rest->left = rest->ranges.count;
	return true;
}

/* The range that holds `at`, or NULL. */
static struct foreign_range *find_range(const struct rest *rest, vaddr at)
{
	struct foreign_range *ranges = rest->ranges.items;
	size_t found = bisect(i, rest->ranges.count, ranges[i].end <= at);

	return found < rest->ranges.count && ranges[found].start <= at ? &ranges[found] : NULL;
}

static bool add_libc_own(struct rest *rest, vaddr at)
{
	vaddr *own = vector_push(&rest->libc_own);

	if (own)
		*own = at;
	return own;
}

/*
 * What the loader's data that is read-only after relocation leads to: it was written before there
 * was a malloc, so the loader has it by itself (elf/dl-find_object.c: _dlfo_nodelete_mappings).
 */
static bool find_loader_own(struct rest *rest, const struct module *loader)
{
	struct elf_symbol data = { 0 };
	uint64_t word;

	module_section(loader, ".data.rel.ro", &data);
	/* the file tells the size, which may be any */
	for (uint64_t at = 0; at + 8 <= MIN(data.size, LOADER_DATA_MAX); at += 8) {
		if (image_u64(rest->image, data.address + at, &word) && find_range(rest, word) &&
		    !add_libc_own(rest, word))
			return false;
	}
	return true;
}

/*
 * What the C library has in anonymous memory, and allocators have pointers to: the descriptors of
 * threads, and the loader's of modules (elf/link.h: _r_debug.r_map, a list by l_next). The loader
 * makes these by itself up to its own; later, for dlopen(), by malloc.
 */
static bool find_libc_own(struct rest *rest, const struct modules *modules,
			  const struct malloc_taken *taken)
{
	const struct module *loader = NULL;
	struct elf_symbol symbol;
	uint64_t at, dynamic;

	for (size_t i = 0; i < taken->descriptors.count; i++) {
		if (!add_libc_own(rest, taken->descriptors.items[i]))
			return false;
	}
	for (size_t i = 0; i < modules->list.count && !loader; i++) {
		if (module_symbol(&modules->list.items[i], "_r_debug", &symbol))
			loader = &modules->list.items[i];
	}
	if (loader && !find_loader_own(rest, loader))
		return false;
	if (!loader || !image_u64(rest->image, symbol.address + R_DEBUG_MAP, &at))
		return true;
	for (int i = 0; i < LINK_MAPS_MAX && at; i++) {
		if (!image_u64(rest->image, at + LINK_MAP_DYNAMIC, &dynamic) ||
		    modules_find(modules, dynamic) == loader)
			return true;
		if (!add_libc_own(rest, at))
			return false;
		if (!image_u64(rest->image, at + LINK_MAP_NEXT, &at))
			return true;
	}
	return true;
}

/*
 * Whether the range is a stack that is kept for a thread to come (nptl/allocatestack.c): it lies
 * above a guard page, and at its end is the descriptor of the thread that had it, whose first and
 * third word are its address (sysdeps/x86_64/nptl/tls.h, tcbhead_t).
 */
static bool is_old_stack(const struct foreign_range *range, const struct image *image)
{
	const struct segment *below = image_segment(image, range->start - 1);
	vaddr at = range->end - MIN(range->end - range->start, (uint64_t)PAGE_BYTES);

	if (!below || below->end != range->start || below->permissions)
		return false;
	for (; range->end - at >= 24; at += 8) {
		const uint8_t *words = image_at(image, at, 24);

		if (words && load_u64(words) == at && load_u64(words + 16) == at)
			return true;
	}
	return false;
}

static bool is_libc_own(const struct foreign_range *range, const struct rest *rest)
{
	if (is_old_stack(range, rest->image))
		return true;
	for (size_t i = 0; i < rest->libc_own.count; i++) {
		if (rest->libc_own.items[i] >= range->start && rest->libc_own.items[i] < range->end)
			return true;
	}
	return false;
}

/* Gives to `kind` the ranges that the words at [start, end) lead to; false when out of memory. */
static bool follow_words(struct rest *rest, vaddr start, vaddr end, enum foreign_kind kind)
{
	const uint8_t *bytes = image_at(rest->image, start, end - start);
	vaddr lowest = rest->ranges.items[0].start;
	vaddr highest = rest->ranges.items[rest->ranges.count - 1].end;

	for (uint64_t at = 0; bytes && rest->left && at + 8 <= end - start; at += 8) {
		vaddr word = load_u64(bytes + at);
		struct foreign_range *range;
		size_t *index;

		if (word < lowest || word >= highest)
			continue;
		range = find_range(rest, word);
		if (!range || range->kind != FOREIGN_NONE || is_libc_own(range, rest))
			continue;
		range->kind = kind;
		rest->left--;
		index = vector_push(&rest->to_follow);
		if (!index)
			return false;
		*index = (size_t)(range - rest->ranges.items);
	}
	return true;
}

/* Gives to `kind` what the data of its module leads to; false when out of memory. The loader's own
 * words in that data, which lead to what the loader has, are in .got.plt. */
static bool follow_module(struct rest *rest, const struct module *module, enum foreign_kind kind)
{
	struct elf_symbol got = { 0 };
	bool done = true;

	module_section(module, ".got.plt", &got);
	for (size_t i = 0; done && i < rest->image->segments.count; i++) {
		const struct segment *segment = &rest->image->segments.items[i];
		vaddr start = segment->start;
		vaddr end = start + module_writable_size(module, segment);
		vaddr got_start = MIN(MAX(got.address, start), end);
		vaddr got_end = MIN(MAX(got.address + got.size, start), end);

		done = follow_words(rest, start, got_start, kind) &&
		       follow_words(rest, got_end, end, kind);
	}
	while (done && rest->to_follow.count) {
		size_t index = rest->to_follow.items[--rest->to_follow.count];
		const struct foreign_range *range = &rest->ranges.items[index];

		done = follow_words(rest, range->start, range->end, kind);
	}
	return done;
}

/* Keeps what is another allocator's, and, where there is no glibc malloc, what may be. */
static bool keep(struct malloc_map *map, const struct rest *rest, struct gaps *gaps)
{
	for (size_t i = 0; i < rest->ranges.count; i++) {
		const struct foreign_range *range = &rest->ranges.items[i];
		struct foreign_range *kept;

		if (range->kind == FOREIGN_NONE && map->found)
			continue;
		gap_add(gaps, GAP_MALLOC_UNKNOWN, range->start, range->end - range->start);
		if (!ranges_add(&map->unwalked, range->start, range->end))
			return false;
		kept = map->foreign.count ? &map->foreign.items[map->foreign.count - 1] : NULL;
		/* a block may reach over the border of two segments */
		if (kept && kept->end == range->start && kept->kind == range->kind) {
			kept->end = range->end;
			continue;
		}
		kept = vector_push(&map->foreign);
		if (!kept)
			return false;
		*kept = *range;
	}
	return true;
}

bool malloc_add_known(struct malloc_map *map, const struct chunk *blocks, size_t count)
{
	size_t before = map->heaps.count, next = 0;

	for (size_t i = 0; i < map->foreign.count; i++) {
		const struct foreign_range *range = &map->foreign.items[i];
		size_t first = map->chunks.count;
		struct heap *heap;

		for (; next < count && blocks[next].start < range->end; next++) {
			struct chunk *chunk = vector_push(&map->chunks);

			if (!chunk)
				return false;
			*chunk = blocks[next];
		}
		if (map->chunks.count == first)
			continue;
		heap = vector_push(&map->heaps);
		if (!heap)
			return false;
		*heap = (struct heap){
			.start = range->start,
			.end = range->end,
			.kind = HEAP_FOREIGN,
			.arena = (uint32_t)i,
			.first = first,
			.count = map->chunks.count - first,
		};
	}
	return !before || glibc_order_heaps(map);
}

bool malloc_find_unwalked(struct malloc_map *map, const struct image *image,
			  const struct modules *modules, const struct malloc_taken *taken,
			  struct gaps *gaps)
{
	struct rest rest = { .image = image };
	bool done = find_rest(&rest, map, modules, taken) && find_libc_own(&rest, modules, taken);

	for (size_t i = 0; done && rest.ranges.count && i < modules->list.count; i++) {
		const struct module *module = &modules->list.items[i];
		enum foreign_kind kind = kind_of(module);

		if (kind == FOREIGN_NONE)
			continue;
		map->foreign_module = module;
		map->foreign_kind = kind;
		done = follow_module(&rest, module, kind);
	}
	if (done)
		done = keep(map, &rest, gaps);
	free(rest.libc_own.items);
	free(rest.ranges.items);
	free(rest.to_follow.items);
	return done;
}
