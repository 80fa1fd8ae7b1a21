/* SPDX-License-Identifier: MIT */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/cleanup.h"
#include "modules.h"
#include "sysroot.h"

#define PAGE_BYTES 4096

const char *module_status_name(enum module_status status)
{
	static const char *const names[] = {
		[MODULE_FOUND] = "found",
		[MODULE_UNREAD] = "found, build id not unpacked",
		[MODULE_UNVERIFIED] = "found, no build id",
		[MODULE_FORCED] = "forced",
		[MODULE_MISMATCH] = "other build id",
		[MODULE_MISSING] = "not found",
	};

	return names[status];
}

/* Whether `at` is in the core, behind the head of it that was unpacked. */
static bool is_unread(const struct image *image, vaddr at)
{
	const struct segment *segment = image_segment(image, at);

	return segment && segment->unread;
}

/* Reads the build id of the ELF image whose header is at `base`. */
static void read_build_id(struct module *module, const struct image *image, vaddr base)
{
	uint64_t room;
	const uint8_t *bytes = image_room(image, base, &room);
	Elf64_Ehdr header;

	memcpy(&header, bytes, sizeof(header));
	for (size_t i = 0; i < header.e_phnum && !module->build_id.size; i++) {
		Elf64_Phdr segment;
		const uint8_t *notes;

		memcpy(&segment, bytes + header.e_phoff + i * sizeof(segment), sizeof(segment));
		if (segment.p_type != PT_NOTE)
			continue;
		notes = image_at(image, module->bias + segment.p_vaddr, segment.p_memsz);
		if (notes)
			build_id_parse(&module->build_id, notes, segment.p_memsz);
		else
			module->unread |= is_unread(image, module->bias + segment.p_vaddr);
	}
}

static vaddr lowest_load(const struct elf_headers *headers)
{
	vaddr lowest = UINT64_MAX;

	for (size_t i = 0; i < headers->load_count; i++)
		lowest = MIN(lowest, headers->loads[i].start);
	return round_down(lowest, PAGE_BYTES);
}

/* Where the module lies, once its program headers are known. */
static void set_range(struct module *module, const struct process *process, vaddr base)
{
	uint64_t page = MAX(process->page_bytes, (uint32_t)PAGE_BYTES);

	module->bias = base - lowest_load(&module->headers);
	for (size_t i = 0; i < module->headers.load_count; i++) {
		vaddr end = module->bias + module->headers.loads[i].end;

		module->end = MAX(module->end, round_up(end, page));
	}
}

static bool is_mapped(const struct process *process, const char *path, vaddr at)
{
	for (size_t i = 0; i < process->mappings.count; i++) {
		const struct process_mapping *mapping = &process->mappings.items[i];

		if (at >= mapping->start && at < mapping->end && !strcmp(mapping->path, path))
			return true;
	}
	return false;
}

/* Whether the file is mapped as the dynamic loader does it, not merely read through a mapping. */
static bool is_loaded(const struct module *module, const struct process *process)
{
	for (size_t i = 0; i < module->headers.load_count; i++) {
		const struct elf_load *load = &module->headers.loads[i];

		if (load->file_size &&
		    !is_mapped(process, module->path, module->bias + load->start))
			return false;
	}
	return true;
}

/* Whether `mapping` begins with the header of an ELF file that is in the core. */
static bool shows_header(const struct image *image, const struct process_mapping *mapping)
{
	const char *magic = image_at(image, mapping->start, SELFMAG);

	return !mapping->offset && magic && !memcmp(magic, ELFMAG, SELFMAG);
}

/*
 * Whether the core has ELF headers at all (bit 4 of coredump_filter). If it hasn't, every file
 * that is mapped from its start may be a module.
 */
static bool has_headers(const struct target *target)
{
	for (size_t i = 0; i < target->process.mappings.count; i++) {
		if (shows_header(&target->image, &target->process.mappings.items[i]))
			return true;
	}
	return false;
}

/* Whether some of what is mapped from `path` may be executed. */
static bool is_executable(const struct image *image, const char *path)
{
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];

		if (segment->permissions & PF_X && segment->path && !strcmp(segment->path, path))
			return true;
	}
	return false;
}

/* Whether `mapping` is the begin of an ELF file; `headers`: as has_headers(). */
static bool may_be_module(const struct target *target, const struct process_mapping *mapping,
			  bool headers)
{
	/* of a core that was not unpacked only the permissions are known */
	if (is_unread(&target->image, mapping->start))
		return !mapping->offset && is_executable(&target->image, mapping->path);
	return headers ? shows_header(&target->image, mapping) : !mapping->offset;
}

static bool add_module(struct modules *modules, const struct target *target, size_t index)
{
	const struct process_mapping *mappings = target->process.mappings.items;
	const struct process_mapping *mapping = &mappings[index];
	struct module *module = vector_push(&modules->list);
	uint64_t room;
	const uint8_t *bytes;

	if (!module)
		return false;
	*module = (struct module){
		.path = mapping->path,
		.start = mapping->start,
		.end = mapping->end,
		.first_end = mapping->end,
		.unread = is_unread(&target->image, mapping->start),
		.status = MODULE_MISSING,
	};
	for (size_t i = index + 1; i < target->process.mappings.count && mappings[i].offset &&
				   !strcmp(mappings[i].path, mapping->path);
	     i++)
		module->end = mappings[i].end;
	bytes = image_room(&target->image, mapping->start, &room);
	if (bytes && elf_headers_parse(&module->headers, bytes, room)) {
		set_range(module, &target->process, mapping->start);
		if (!is_loaded(module, &target->process)) {
			modules->list.count--;
			return true;
		}
		read_build_id(module, &target->image, mapping->start);
	}
	return true;
}

/*
 * Whether `file` begins as the module does in the core: its header, which tells where the sections
 * are and with that the file's size, its program headers, and what else is in the first page.
 */
static bool same_begin(const struct image *image, const struct module *module,
		       const struct elf_file *file)
{
	uint64_t room, size = MIN(file->size, (uint64_t)PAGE_BYTES);
	const uint8_t *bytes = image_room(image, module->start, &room);

	return bytes && room >= size && !memcmp(bytes, file->bytes, size);
}

/* Whether every mapping of the module can come from `file`: for cores without header pages. */
static bool fits_mappings(const struct module *module, const struct elf_file *file)
{
	vaddr end = 0;

	for (size_t i = 0; i < file->headers.load_count; i++)
		end = MAX(end, file->headers.loads[i].end);
	return file->headers.load_count &&
	       module->start + round_up(end, PAGE_BYTES) - lowest_load(&file->headers) >=
		       module->end;
}

static enum module_status judge(const struct image *image, const struct module *module,
				const struct elf_file *file, bool force)
{
	if (module->build_id.size) {
		if (build_id_equal(&module->build_id, &file->build_id))
			return MODULE_FOUND;
	} else if (module->headers.load_count ? same_begin(image, module, file)
					      : fits_mappings(module, file)) {
		return module->unread ? MODULE_UNREAD : MODULE_UNVERIFIED;
	}
	return force ? MODULE_FORCED : MODULE_MISMATCH;
}

/* Remembers that `path` was looked at. */
static bool note_tried(struct module *module, const char *path)
{
	char *joined;

	if (asprintf(&joined, "%s%s%s", module->tried ? module->tried : "",
		     module->tried ? ", " : "", path) < 0)
		return false;
	free(module->tried);
	module->tried = joined;
	return true;
}

/* What a module's file is looked for with. */
struct lookup {
	const struct module_search *search;
	const struct image *image;
	struct module *module;
};

/* Tries the file at `path`; false when out of memory, which `path` may be NULL for. */
static bool try_file(const struct lookup *lookup, const char *path)
{
	struct module *module = lookup->module;
	bool force = lookup->search->force;

	_cleanup_(elf_file_cleanup) struct elf_file *file = NULL;
	struct memheap_error *error;
	enum module_status status;

	if (module->file && module->status != MODULE_FORCED)
		return true;
	if (!path || !note_tried(module, path))
		return false;
	error = elf_file_open(path, &file);
	if (error) {
		memheap_error_destroy(error);
		return true;
	}
	status = judge(lookup->image, module, file, force);
	if (status < module->status)
		module->status = status;
	if (status == MODULE_MISMATCH || (status == MODULE_FORCED && module->file))
		return true;
	elf_file_close(module->file);
	module->file = take(file);
	return true;
}

/* Tries what a live process sees at that path, and the very file that it mapped, deleted or not. */
static bool try_process(const struct lookup *lookup, const char *path)
{
	const char *root = lookup->search->process_root;

	_cleanup_free_ char *below = sysroot_path(root, path), *mapped = NULL;
	if (below && !try_file(lookup, below))
		return false;
	if (asprintf(&mapped, "%.*s/map_files/%llx-%llx", (int)(strlen(root) - strlen("/root")),
		     root, (unsigned long long)lookup->module->start,
		     (unsigned long long)lookup->module->first_end) < 0)
		mapped = NULL;
	return try_file(lookup, mapped);
}

/* Asks debuginfod for a file that is not here. */
static bool download_file(const struct lookup *lookup)
{
	struct module *module = lookup->module;

	if (module->file && module->status != MODULE_FORCED)
		return true;
	_cleanup_free_ char *path = debuginfod_find(
		lookup->search->debuginfod, DEBUGINFOD_EXECUTABLE, &module->build_id, module->path);
	return !path || try_file(lookup, path);
}

/* Looks everywhere for the file of the module, first where the user said: the best match wins. */
static bool find_file(const struct lookup *lookup, bool executable)
{
	const struct module_search *search = lookup->search;
	const char *name = strrchr(lookup->module->path, '/');
	static const char deleted[] = " (deleted)";
	size_t length = strlen(lookup->module->path);

	if (length > strlen(deleted) &&
	    !strcmp(lookup->module->path + length - strlen(deleted), deleted))
		length -= strlen(deleted);
	_cleanup_free_ char *path = strndup(lookup->module->path, length);
	if (!path)
		return false;
	if (search->executable && executable && !try_file(lookup, search->executable))
		return false;
	name = name ? name + 1 : lookup->module->path;
	for (size_t i = 0; i < search->library_path_count; i++) {
		_cleanup_free_ char *joined = NULL;

		if (asprintf(&joined, "%s/%s", search->library_paths[i], name) < 0)
			joined = NULL;
		if (!try_file(lookup, joined))
			return false;
	}
	if (search->sysroot) {
		_cleanup_free_ char *below = sysroot_path(search->sysroot, path);

		if (below && !try_file(lookup, below))
			return false;
	}
	return try_file(lookup, path) && (!search->process_root || try_process(lookup, path)) &&
	       download_file(lookup);
}

static void notice_bad(struct notices *notices, const struct module *module)
{
	char expected[2 * BUILD_ID_MAX + 1];

	build_id_format(&module->build_id, expected);
	if (module->status == MODULE_MISMATCH)
		notice_add(notices, NOTICE_MODULE_MISMATCH,
			   "%s on this machine is not the file of the core (build id %s)",
			   module->path, *expected ? expected : "unknown");
	else if (module->status == MODULE_FORCED)
		notice_add(notices, NOTICE_MODULE_FORCED,
			   "%s is used although it is not the file of the core (build id %s)",
			   module->file->path, *expected ? expected : "unknown");
}

/* One notice for all modules of `status`. */
static void notice_all(struct notices *notices, const struct modules *modules,
		       enum module_status status, enum notice_kind kind, const char *what)
{
	size_t count = 0, first = 0;

	for (size_t i = 0; i < modules->list.count; i++) {
		if (modules->list.items[i].status != status)
			continue;
		if (!count++)
			first = i;
	}
	if (count)
		notice_add(notices, kind, "%zu of %zu mapped ELF files %s: %s%s", count,
			   modules->list.count, what, modules->list.items[first].path,
			   count > 1 ? ", …" : "");
}

/* Whether the bytes of `segment` can't have been changed since they were mapped. */
static bool can_refill(const struct module *module, const struct segment *segment)
{
	const struct elf_headers *headers = &module->headers;
	vaddr start = module->bias + headers->relro_start;
	vaddr end = module->bias + headers->relro_end;

	return segment->origin == SEGMENT_MISSING && segment->path &&
	       !(segment->permissions & PF_W) && !strcmp(segment->path, module->path) &&
	       segment->start >= module->start && segment->end <= module->end &&
	       (segment->end <= start || segment->start >= end) &&
	       segment->path_offset < module->file->size;
}

/* Gives missing segments the bytes of the module's file; what lies behind its end stays missing. */
static bool refill(struct image *image, const struct module *module)
{
	size_t count = image->segments.count;

	for (size_t i = 0; i < count; i++) {
		struct segment *segment = &image->segments.items[i];
		uint64_t present;

		if (!can_refill(module, segment))
			continue;
		present = MIN(segment->end - segment->start,
			      round_up(module->file->size, PAGE_BYTES) - segment->path_offset);
		if (present < segment->end - segment->start) {
			struct segment rest = *segment, *added;

			rest.start += present;
			rest.path_offset += present;
			segment->end = rest.start;
			added = vector_push(&image->segments);
			if (!added)
				return false;
			*added = rest;
			segment = &image->segments.items[i];
		}
		segment->bytes = module->file->bytes + segment->path_offset;
		segment->origin = SEGMENT_REFILLED;
	}
	return true;
}

static void find_executable(struct modules *modules, const struct process *process)
{
	modules->executable = NULL;
	for (size_t i = 0; i < modules->list.count; i++) {
		struct module *module = &modules->list.items[i];

		if (process->headers && process->headers >= module->start &&
		    process->headers < module->end)
			modules->executable = module;
	}
}

/* Neither the core nor a file has the module's headers: its .bss is taken to be what is mapped
 * right behind its data, writable and of no file. */
static void add_bss(struct module *module, const struct image *image)
{
	const struct segment *segment = image_segment(image, module->end);

	if (segment && segment->start == module->end && !segment->path &&
	    (segment->permissions & PF_W))
		module->end = segment->end;
}

struct memheap_error *modules_load(struct modules *modules, struct target *target,
				   const struct module_search *search, struct notices *notices)
{
	struct image *image = &target->image;
	bool headers = has_headers(target);

	for (size_t i = 0; i < target->process.mappings.count; i++) {
		const struct process_mapping *mapping = &target->process.mappings.items[i];

		if (may_be_module(target, mapping, headers) && !add_module(modules, target, i))
			return &error_no_memory;
	}
	find_executable(modules, &target->process);
	for (size_t i = 0; i < modules->list.count; i++) {
		struct module *module = &modules->list.items[i];

		if (!find_file(&(struct lookup){ search, image, module },
			       module == modules->executable))
			return &error_no_memory;
		notice_bad(notices, module);
		if (!module->file) {
			if (!module->headers.load_count)
				add_bss(module, image);
			continue;
		}
		if (!module->headers.load_count) {
			module->headers = module->file->headers;
			set_range(module, &target->process, module->start);
		}
		if (!refill(image, module))
			return &error_no_memory;
	}
	notice_all(notices, modules, MODULE_MISSING, NOTICE_MODULE_MISSING,
		   "are not on this machine");
	notice_all(notices, modules, MODULE_UNVERIFIED, NOTICE_MODULE_UNVERIFIED,
		   "have no build id, and were taken for those on this machine by name, size and "
		   "what the core holds of them");
	return image_build(image, &target->gaps) ? NULL : &error_no_memory;
}

void modules_deinit(struct modules *modules)
{
	for (size_t i = 0; i < modules->list.count; i++) {
		struct module *module = &modules->list.items[i];

		elf_file_close(module->file);
		elf_file_close(module->mini);
		elf_file_close(module->debug);
		elf_file_close(module->alt);
		free(module->tried);
	}
	free(modules->list.items);
	*modules = (struct modules){ 0 };
}

const struct module *modules_find(const struct modules *modules, vaddr at)
{
	for (size_t i = 0; i < modules->list.count; i++) {
		const struct module *module = &modules->list.items[i];

		if (at >= module->start && at < module->end)
			return module;
	}
	return NULL;
}

bool module_is_extension(const struct module *module, const char *names)
{
	const char *slash = strrchr(module->path, '/');
	const char *file = slash ? slash + 1 : module->path;

	while (*names) {
		size_t length = strcspn(names, "|");

		if (!strncmp(file, names, length) && file[length] == '.')
			return true;
		names += length + (names[length] == '|');
	}
	return false;
}

uint64_t module_writable_size(const struct module *module, const struct segment *segment)
{
	if (!segment->bytes || !(segment->permissions & PF_W) || segment->start < module->start ||
	    segment->start >= module->end)
		return 0;
	return MIN(segment->end, module->end) - segment->start;
}

uint64_t modules_data_size(const struct modules *modules, const struct segment *segment)
{
	const struct module *module = modules_find(modules, segment->start);

	if (!module || !segment->bytes)
		return 0;
	if (!(segment->permissions & PF_W) &&
	    (segment->start < module->bias + module->headers.relro_start ||
	     segment->start >= module->bias + module->headers.relro_end))
		return 0;
	return MIN(segment->end, module->end) - segment->start;
}

bool module_symbol(const struct module *module, const char *name, struct elf_symbol *ret)
{
	const struct elf_file *files[] = { module->file, module->debug, module->mini };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (!files[i] || !elf_file_symbol(files[i], name, ret))
			continue;
		ret->address += module->bias;
		return true;
	}
	return false;
}

const struct elf_file *module_dwarf(const struct module *module)
{
	if (module->debug && elf_file_has_dwarf(module->debug))
		return module->debug;
	return module->file && elf_file_has_dwarf(module->file) ? module->file : NULL;
}

bool module_section(const struct module *module, const char *name, struct elf_symbol *ret)
{
	if (!module->file || !elf_file_section(module->file, name, ret))
		return false;
	ret->address += module->bias;
	return true;
}
