/* SPDX-License-Identifier: MIT */
/* Separate debug files, where gdb looks for them too (gdb's manual, "Separate Debug Files"). */
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "../base/cleanup.h"
#include "modules.h"

#define DEBUG_ROOT "/usr/lib/debug"

static bool is_twin(const struct elf_file *file, const struct elf_file *debug,
		    const uint32_t *checksum)
{
	if (file->build_id.size)
		return build_id_equal(&file->build_id, &debug->build_id);
	return checksum && *checksum == crc32(crc32(0, NULL, 0), debug->bytes, (uInt)debug->size);
}

/* Takes the file at `path` when it belongs to the module; `path` may be NULL (out of memory). */
static void try_debug(struct module *module, const char *path, const uint32_t *checksum)
{
	_cleanup_(elf_file_cleanup) struct elf_file *debug = NULL;
	struct memheap_error *error;

	if (module->debug || !path)
		return;
	error = elf_file_open(path, &debug);
	if (error)
		memheap_error_destroy(error);
	else if (is_twin(module->file, debug, checksum))
		module->debug = take(debug);
}

static void try_build_id(struct module *module, const char *root)
{
	char id[2 * BUILD_ID_MAX + 1];
	char *path;

	if (module->file->build_id.size < 2)
		return;
	build_id_format(&module->file->build_id, id);
	if (asprintf(&path, "%s" DEBUG_ROOT "/.build-id/%.2s/%s.debug", root, id, id + 2) < 0)
		return;
	try_debug(module, path, NULL);
	free(path);
}

static void try_link(struct module *module, const char *root, const char *directory)
{
	static const char *const formats[] = { "%s%s/%s", "%s%s/.debug/%s",
					       "%s" DEBUG_ROOT "%s/%s" };
	const char *name;
	uint32_t checksum;

	if (!elf_file_debug_link(module->file, &name, &checksum) || strchr(name, '/'))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		char path[4096];
		int length = snprintf(path, sizeof(path), formats[i], root, directory, name);

		if (length > 0 && (size_t)length < sizeof(path))
			try_debug(module, path, &checksum);
	}
}

void module_load_debug(struct module *module, const struct module_search *search)
{
	const char *slash;

	if (!module->file || module->debug)
		return;
	slash = strrchr(module->path, '/');
	_cleanup_free_ char *directory =
		slash ? strndup(module->path, (size_t)(slash - module->path)) : strdup(".");
	if (!directory)
		return;
	if (search->sysroot) {
		try_build_id(module, search->sysroot);
		try_link(module, search->sysroot, directory);
	}
	try_build_id(module, "");
	try_link(module, "", directory);
}
