/* SPDX-License-Identifier: MIT */
#include "runtime_find.h"
#include "../layout/debug_offsets.h"
#include "old_runtime.h"
#include "runtime_search.h"

bool sounds_like_python(const struct module *module)
{
	const char *slash = strrchr(module->path, '/');
	const char *name = slash ? slash + 1 : module->path;

	return !strncmp(name, "python", 6) || !strncmp(name, "libpython", 9);
}

/* A symbol that linking needs: nearly every interpreter has it, stripped or not. */
static bool by_symbol(const struct runtime_ladder *ladder, struct module *module,
		      struct runtime_place *ret)
{
	struct elf_symbol symbol;

	if (!module_symbol(module, "_PyRuntime", &symbol))
		return false;
	*ret = (struct runtime_place){ .at = symbol.address };
	ret->how =
		symbol.file == module->file
			? strings_format(ladder->strings, "symbol _PyRuntime in %s", symbol.table)
			: strings_format(ladder->strings, "symbol _PyRuntime in %s of %s",
					 symbol.table, symbol.file->path);
	return ret->how;
}

/* Before 3.7 there is no _PyRuntime, and 0 stands for it. */
static bool by_old_symbol(const struct runtime_ladder *ladder, struct module *module,
			  struct runtime_place *ret)
{
	(void)ladder;
	*ret = (struct runtime_place){ .how = "symbol _PyThreadState_Current" };
	return old_runtime_is_in(module);
}

/* A static interpreter that hides its symbols, and has them in a debug file. */
static bool by_debug_file(const struct runtime_ladder *ladder, struct module *module,
			  struct runtime_place *ret)
{
	struct elf_symbol section;

	if (module != ladder->modules->executable && !sounds_like_python(module) &&
	    !module_section(module, ".PyRuntime", &section))
		return false;
	module_load_debug(module, ladder->files);
	return by_symbol(ladder, module, ret);
}

/* 3.10 Python/pylifecycle.c: _PyRuntime has a section of its own. */
static bool by_section(const struct runtime_ladder *ladder, struct module *module,
		       struct runtime_place *ret)
{
	struct elf_symbol section;

	(void)ladder;
	if (!module_section(module, ".PyRuntime", &section))
		return false;
	*ret = (struct runtime_place){ .at = section.address, .how = "section .PyRuntime" };
	return true;
}

/* 3.13 and later: the cookie that it begins with. */
static bool by_cookie(const struct runtime_ladder *ladder, struct module *module,
		      struct runtime_place *ret)
{
	const struct image *image = &ladder->target->image;

	*ret = (struct runtime_place){ .how = "cookie of _Py_DebugOffsets" };
	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(module, segment);

		if (debug_offsets_search(image, segment->start, size, &ret->at))
			return true;
	}
	return false;
}

static bool by_structure(const struct runtime_ladder *ladder, struct module *module,
			 struct runtime_place *ret)
{
	*ret = (struct runtime_place){ .how = "structure of _PyRuntime" };
	return runtime_search(ladder->target, module, &ret->at, &ret->version);
}

runtime_find_fn *const runtime_rungs[] = {
	by_symbol, by_old_symbol, by_debug_file, by_section, by_cookie, by_structure, NULL,
};
