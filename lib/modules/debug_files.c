/* SPDX-License-Identifier: MIT */
/* Separate debug files, where gdb looks for them too (gdb's manual, "Separate Debug Files"). */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "../base/cleanup.h"
#include "modules.h"
#include "sysroot.h"

#define DEBUG_ROOT "/usr/lib/debug"

/* Where to look, and for what. */
struct wanted {
	const struct module_search *search;
	struct build_id id;       /* size 0: there is none */
	const uint32_t *checksum; /* NULL: none is known */
	struct elf_file **ret;    /* where it goes */
	const char *name;         /* of what it belongs to */
};

/* The build id tells; without one, the checksum in .gnu_debuglink. */
static bool is_wanted(const struct wanted *wanted, const struct elf_file *file)
{
	if (wanted->id.size && file->build_id.size)
		return build_id_equal(&wanted->id, &file->build_id);
	return wanted->checksum &&
	       *wanted->checksum == crc32(crc32(0, NULL, 0), file->bytes, (uInt)file->size);
}

/* Takes the file at `path` when it is the wanted one. */
static void try_path(const struct wanted *wanted, const char *path)
{
	_cleanup_(elf_file_cleanup) struct elf_file *file = NULL;
	struct memheap_error *error;

	if (*wanted->ret || !path)
		return;
	error = elf_file_open(path, &file);
	if (error)
		memheap_error_destroy(error);
	else if (is_wanted(wanted, file))
		*wanted->ret = take(file);
}

/* Tries `path` of the target, below the sysroot, where a live process sees it, and here. */
static void try_roots(const struct wanted *wanted, const char *path)
{
	const char *const roots[] = { wanted->search->sysroot, wanted->search->process_root };

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		_cleanup_free_ char *below = roots[i] ? sysroot_path(roots[i], path) : NULL;

		try_path(wanted, below);
	}
	try_path(wanted, path);
}

static void try_build_id(const struct wanted *wanted)
{
	char id[2 * BUILD_ID_MAX + 1], path[sizeof(DEBUG_ROOT) + sizeof(id) + 32];

	if (wanted->id.size < 2)
		return;
	build_id_format(&wanted->id, id);
	snprintf(path, sizeof(path), DEBUG_ROOT "/.build-id/%.2s/%s.debug", id, id + 2);
	try_roots(wanted, path);
}

/* The directory of `path`, without a slash at its end. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
}

/* Looks for the name in .gnu_debuglink next to the module, where that lies in the target. */
static void try_link(struct wanted *wanted, const struct module *module)
{
	static const char *const formats[] = { "%s/%s", "%s/.debug/%s", DEBUG_ROOT "%s/%s" };
	uint32_t checksum;
	const char *name;

	_cleanup_free_ char *directory = directory_of(module->path);
	if (!directory || !module->file || !elf_file_debug_link(module->file, &name, &checksum) ||
	    strchr(name, '/'))
		return;
	wanted->checksum = &checksum;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, formats[i], directory, name) < 0)
			path = NULL;
		else
			try_roots(wanted, path);
	}
	wanted->checksum = NULL;
}

static void try_debuginfod(const struct wanted *wanted)
{
	_cleanup_free_ char *path = NULL;

	if (!*wanted->ret)
		path = debuginfod_find(wanted->search->debuginfod, DEBUGINFOD_DEBUG, &wanted->id,
				       wanted->name);
	try_path(wanted, path);
}

/* dwz(1) names the shared file by an absolute path, or from where the referring file lies. */
static void load_alt(struct module *module, const struct module_search *search)
{
	struct wanted wanted = { .search = search, .ret = &module->alt, .name = module->path };
	const struct elf_file *file = module_dwarf(module);
	const char *name;

	if (!file || !elf_file_alt_link(file, &name, &wanted.id))
		return;
	if (*name == '/') {
		try_roots(&wanted, name);
	} else {
		_cleanup_free_ char *directory = directory_of(file->path), *path = NULL;

		if (directory && asprintf(&path, "%s/%s", directory, name) < 0)
			path = NULL;
		try_path(&wanted, path);
	}
	try_build_id(&wanted);
	try_debuginfod(&wanted);
}

void module_load_debug(struct module *module, const struct module_search *search)
{
	struct wanted wanted = {
		.search = search,
		.id = module->file ? module->file->build_id : module->build_id,
		.ret = &module->debug,
		.name = module->path,
	};

	if (module->debug_tried)
		return;
	module->debug_tried = true;
	if (module->file)
		module->mini = elf_file_mini_debug(module->file);
	try_build_id(&wanted);
	try_link(&wanted, module);
	if (!module_dwarf(module))
		try_debuginfod(&wanted);
	load_alt(module, search);
}
