/* SPDX-License-Identifier: MIT */
/*
 * _PyRuntime has two words side by side: the head of the list of interpreters, and the main one,
 * which is the end of that list; further on a third, the interpreter of threads that C code makes,
 * which is the main one. The main interpreter's id is 0, and its threads point back at it.
 * That much fits several versions; but only with the layout of its own version the interpreter
 * leads to a dict with a hexversion, and that tells the version to the patch level. A dict without
 * one, as at the end of finalization, leaves it to the text that Py_GetVersion() made.
 */
#include <stdlib.h>

#include "../base/cleanup.h"
#include "../layout/versions.h"
#include "runtime_search.h"
#include "values.h"

#define PYTHON_MAJOR 3

static vaddr pointer_at(const struct memory *memory, vaddr base, enum field_id id)
{
	uint64_t value;

	return memory_field(memory, base, id, &value) && value % sizeof(vaddr) == 0 ? value : 0;
}

/* Whether a main interpreter lies at `at`, with a thread: there is one as long as it lives. */
static bool is_main(const struct memory *memory, vaddr at)
{
	vaddr thread = pointer_at(memory, at, FIELD_INTERP_THREADS);
	uint64_t id;

	return thread && memory_field(memory, at, FIELD_INTERP_ID, &id) && !id &&
	       !pointer_at(memory, at, FIELD_INTERP_NEXT) &&
	       pointer_at(memory, thread, FIELD_THREAD_INTERP) == at;
}

/* Whether the list of interpreters from `at` on, newer ones first, ends at `last`. */
static bool leads_to(const struct memory *memory, vaddr at, vaddr last)
{
	uint64_t before = INT64_MAX, id;

	while (at && at != last) {
		if (!memory_field(memory, at, FIELD_INTERP_ID, &id) || id >= before)
			return false;
		before = id;
		at = pointer_at(memory, at, FIELD_INTERP_NEXT);
	}
	return at;
}

/* What is looked for: interpreters of the layout's version. */
struct search {
	struct memory memory;
	const struct module *module;
	struct python_version text; /* what Py_GetVersion() says; hex 0 when nobody asked it */
};

/* Whether the interpreter is of the version that the layout is of. */
static bool read_version(const struct search *search, vaddr interp, struct python_version *ret)
{
	const struct memory *memory = &search->memory;
	vaddr sys = pointer_at(memory, interp, FIELD_INTERP_SYS), value;
	int64_t hex;

	*ret = search->text;
	if (sys && dict_lookup(memory, sys, "hexversion", &value) &&
	    long_value(memory, value, &hex) && hex >> 24 == PYTHON_MAJOR)
		*ret = (struct python_version){
			.hex = (uint32_t)hex,
			.found = "sys.hexversion",
			/* Python/sysmodule.c: defined where Py_REF_DEBUG is */
			.debug = dict_lookup(memory, sys, "gettotalrefcount", &value),
		};
	return ret->hex >> 16 == memory->layout->version >> 16;
}

/* Whether a runtime begins at `bytes`, all of which can be read. */
static bool is_runtime(const struct search *search, const uint8_t *bytes,
		       struct python_version *version)
{
	const struct memory *memory = &search->memory;
	vaddr main = field_load(memory->layout, bytes, FIELD_RUNTIME_MAIN_INTERPRETER);

	return main && main == field_load(memory->layout, bytes, FIELD_RUNTIME_AUTO_THREAD) &&
	       is_main(memory, main) &&
	       leads_to(memory, field_load(memory->layout, bytes, FIELD_RUNTIME_INTERPRETERS),
			main) &&
	       read_version(search, main, version);
}

static bool search_module(const struct search *search, vaddr *runtime,
			  struct python_version *version)
{
	const struct image *image = search->memory.image;
	uint64_t least = layout_offset(search->memory.layout, SIZE_RUNTIME);

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(search->module, segment), room;

		/* it may reach over the border of two segments: .data and .bss */
		const uint8_t *bytes = size ? image_room(image, segment->start, &room) : NULL;

		for (uint64_t at = 0; at < size && room - at >= least; at += sizeof(vaddr)) {
			if (!is_runtime(search, bytes + at, version))
				continue;
			*runtime = segment->start + at;
			return true;
		}
	}
	return false;
}

bool runtime_search(const struct target *target, const struct module *module, vaddr *runtime,
		    struct python_version *version)
{
	const struct image *image = &target->image;

	_cleanup_free_ struct layout *layout = calloc(1, sizeof(*layout));
	struct search search = { { image, layout }, module, { 0 } };

	if (!version_find(image, module, 0, &search.text))
		search.text.hex = 0;
	for (size_t i = 0; layout && version_tables[i]; i++) {
		version_layout(version_tables[i], target->process.machine, layout);
		if (layout_has(layout, FIELD_RUNTIME_AUTO_THREAD) &&
		    search_module(&search, runtime, version))
			return true;
	}
	return false;
}
