/* SPDX-License-Identifier: MIT */
/*
 * A process may hold several copies of _PyRuntime (a static interpreter that also loaded a
 * libpython); the one whose interpreters can be walked is the live one. Every candidate is
 * verified before it is believed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../base/cleanup.h"
#include "../base/id_map.h"
#include "../layout/debug_offsets.h"
#include "gc_head.h"
#include "layout_proof.h"
#include "old_runtime.h"
#include "runtime.h"
#include "runtime_find.h"
#include "values.h"
#include "version.h"

#define PAGE_BYTES 4096

static vaddr read_pointer(const struct memory *memory, vaddr base, enum field_id id)
{
	uint64_t value;

	return memory_field(memory, base, id, &value) ? value : 0;
}

/* Reads the threads of one interpreter; false when its list is not one. */
static bool read_threads(struct python *python, vaddr interp, uint32_t index, struct id_map *met)
{
	const struct memory *memory = &python->memory;
	vaddr at = read_pointer(memory, interp, FIELD_INTERP_THREADS);

	for (size_t i = 0; at; i++) {
		struct thread_state *thread;

		if (read_pointer(memory, at, FIELD_THREAD_INTERP) != interp ||
		    !id_map_meet(met, at)) {
			gap_add(&python->gaps, GAP_INTERPRETER_DAMAGED, at, 0);
			return i > 0;
		}
		thread = vector_push(&python->threads);
		if (!thread)
			return false;
		*thread = (struct thread_state){
			.at = at,
			.interpreter = index,
			.id = read_pointer(memory, at, FIELD_THREAD_ID),
			.native_id = read_pointer(memory, at, FIELD_THREAD_NATIVE_ID),
		};
		at = read_pointer(memory, at, FIELD_THREAD_NEXT);
	}
	return true;
}

static vaddr find_gc(const struct python *python, vaddr interp)
{
	const struct layout *layout = &python->layout;

	if (layout_has(layout, FIELD_INTERP_GC))
		return memory_address(&python->memory, interp, FIELD_INTERP_GC);
	return layout_has(layout, FIELD_RUNTIME_GC)
		       ? memory_address(&python->memory, python->runtime, FIELD_RUNTIME_GC)
		       : old_runtime_generations(python);
}

/* Reads one interpreter; false when there is none at `at`. */
static bool read_interpreter(struct python *python, vaddr at, struct id_map *met)
{
	const struct memory *memory = &python->memory;
	uint32_t index = (uint32_t)python->interpreters.count;
	uint64_t id = 0, collecting;
	struct interpreter *interp;

	if ((layout_has(memory->layout, FIELD_INTERP_ID) &&
	     !memory_field(memory, at, FIELD_INTERP_ID, &id)) ||
	    (int64_t)id < 0 || id > UINT32_MAX || !id_map_meet(met, at) ||
	    !read_threads(python, at, index, met))
		return false;
	interp = vector_push(&python->interpreters);
	if (!interp)
		return false;
	*interp = (struct interpreter){
		.at = at,
		.id = (int64_t)id,
		.sys = read_pointer(memory, at, FIELD_INTERP_SYS),
		.builtins = read_pointer(memory, at, FIELD_INTERP_BUILTINS),
		.modules = read_pointer(memory, at, FIELD_INTERP_MODULES),
		.gc = find_gc(python, at),
	};
	if (memory_field(memory, interp->gc, FIELD_GC_COLLECTING, &collecting))
		python->collecting |= collecting;
	else
		python->collecting |= old_runtime_collecting(python, interp);
	return true;
}

static int compare_frame_stacks(const void *a, const void *b)
{
	const struct frame_stack *left = a, *right = b;

	return left->start < right->start ? -1 : left->start > right->start;
}

/* Follows the stack chunks of a thread from `at` down; false when out of memory. */
static bool read_frame_stack(struct python *python, vaddr at, struct id_map *met)
{
	while (at) {
		vaddr size = read_pointer(&python->memory, at, FIELD_STACK_CHUNK_SIZE);
		struct frame_stack *stack;

		if (!size || size % PAGE_BYTES || at % PAGE_BYTES ||
		    !image_maps(python->memory.image, at, size) || !id_map_meet(met, at)) {
			gap_add(&python->gaps, GAP_INTERPRETER_DAMAGED, at, 0);
			return true;
		}
		stack = vector_push(&python->frame_stacks);
		if (!stack)
			return false;
		*stack = (struct frame_stack){ at, at + size };
		at = read_pointer(&python->memory, at, FIELD_STACK_CHUNK_PREVIOUS);
	}
	return true;
}

/* Sorts them, and leaves out those that overlap another. */
static void order_frame_stacks(struct python *python)
{
	struct frame_stack *items = python->frame_stacks.items;
	size_t kept = 0;

	if (python->frame_stacks.count)
		qsort(items, python->frame_stacks.count, sizeof(*items), compare_frame_stacks);
	for (size_t i = 0; i < python->frame_stacks.count; i++) {
		if (kept && items[i].start < items[kept - 1].end)
			gap_add(&python->gaps, GAP_INTERPRETER_DAMAGED, items[i].start, 0);
		else
			items[kept++] = items[i];
	}
	python->frame_stacks.count = kept;
}

static bool read_frame_stacks(struct python *python, struct id_map *met)
{
	for (size_t i = 0; i < python->threads.count; i++) {
		vaddr thread = python->threads.items[i].at;

		if (!read_frame_stack(
			    python, read_pointer(&python->memory, thread, FIELD_THREAD_STACK_CHUNK),
			    met) ||
		    !read_frame_stack(
			    python,
			    read_pointer(&python->memory, thread, FIELD_THREAD_CACHED_CHUNK), met))
			return false;
	}
	order_frame_stacks(python);
	return true;
}

static int compare_interpreters(const void *a, const void *b)
{
	const struct interpreter *left = a, *right = b;

	return left->id < right->id ? -1 : left->id > right->id;
}

/* New interpreters are pushed at the head of the list: the main one is its end. */
static void sort_interpreters(struct python *python)
{
	struct interpreter *items = python->interpreters.items;
	size_t count = python->interpreters.count;

	/* before 3.7 they have no id */
	for (size_t i = 0; i < count && !layout_has(&python->layout, FIELD_INTERP_ID); i++)
		items[i].id = (int64_t)(count - 1 - i);
	_cleanup_free_ vaddr *before = count ? calloc(count, sizeof(*before)) : NULL;
	if (!before)
		return;
	for (size_t i = 0; i < count; i++)
		before[i] = items[i].at;
	qsort(items, count, sizeof(*items), compare_interpreters);
	for (size_t i = 0; i < python->threads.count; i++) {
		struct thread_state *thread = &python->threads.items[i];
		vaddr at = before[thread->interpreter];

		for (uint32_t j = 0; j < count; j++) {
			if (items[j].at == at)
				thread->interpreter = j;
		}
	}
}

/* Walks the interpreters of the runtime; false when this is no runtime that was initialised. */
static bool read_interpreters(struct python *python)
{
	const struct memory *memory = &python->memory;
	vaddr at = layout_has(memory->layout, FIELD_RUNTIME_INTERPRETERS)
			   ? read_pointer(memory, python->runtime, FIELD_RUNTIME_INTERPRETERS)
			   : old_runtime_interpreters(python, &python->runtime_found);

	_cleanup_(id_map_deinit) struct id_map met = { 0 };
	uint64_t finalizing = 0;

	python->interpreters.count = python->threads.count = python->frame_stacks.count = 0;
	while (at) {
		if (!read_interpreter(python, at, &met)) {
			gap_add(&python->gaps, GAP_INTERPRETER_DAMAGED, at, 0);
			break;
		}
		at = read_pointer(memory, at, FIELD_INTERP_NEXT);
	}
	if (!python->interpreters.count || !read_frame_stacks(python, &met))
		return false;
	sort_interpreters(python);
	if (!memory_field(memory, python->runtime, FIELD_RUNTIME_FINALIZING, &finalizing))
		finalizing = old_runtime_finalizing(python, &python->interpreters.items[0]);
	python->finalizing = finalizing;
	return true;
}

/* What sys.hexversion says, the last word on the version; 0 when it can't be read (yet). */
static uint32_t read_hexversion(const struct python *python)
{
	vaddr sys = python->interpreters.items[0].sys, value;
	int64_t hex;

	if (!sys || !dict_lookup(&python->memory, sys, "hexversion", &value) ||
	    !long_value(&python->memory, value, &hex) || (hex >> 24 != 2 && hex >> 24 != 3))
		return 0;
	return (uint32_t)hex;
}

/* Takes `type` for PyType_Type if it is its own type. */
static bool accept_type_type(struct python *python, vaddr type)
{
	if (!type || read_pointer(&python->memory, type, FIELD_OBJECT_TYPE) != type)
		return false;
	python->type_type = type;
	return true;
}

/*
 * PyType_Type is the type of the type of every object, and its own type. Not just its symbol: a
 * program that copies the variable (a copy relocation) leaves the library's unused, whose type is
 * then the one in use. Of a core that is cut off the first objects, which lie highest, may be lost.
 */
static bool read_type_type(struct python *python)
{
	const struct memory *memory = &python->memory;
	const struct interpreter *interp = &python->interpreters.items[0];
	const vaddr dicts[] = { interp->builtins, interp->sys, interp->modules };
	struct elf_symbol symbol;

	for (size_t i = 0; i < ARRAY_SIZE(dicts); i++) {
		vaddr dict = dicts[i] ? read_pointer(memory, dicts[i], FIELD_OBJECT_TYPE) : 0;

		if (dict && accept_type_type(python, read_pointer(memory, dict, FIELD_OBJECT_TYPE)))
			return true;
	}
	return module_symbol(python->module, "PyType_Type", &symbol) &&
	       accept_type_type(python, read_pointer(memory, symbol.address, FIELD_OBJECT_TYPE));
}

/* 2.7: whether characters of unicode have 2 or 4 bytes. */
static void read_unicode_width(struct python *python)
{
	vaddr sys = python->interpreters.items[0].sys, value;
	int64_t max;

	if (layout_knows(&python->layout, CONSTANT_UNICODE_WIDTH) && sys &&
	    dict_lookup(&python->memory, sys, "maxunicode", &value) &&
	    long_value(&python->memory, value, &max))
		python->layout.constants[CONSTANT_UNICODE_WIDTH] = max > 0xFFFF ? 4 : 2;
}

/* Up to 3.7, releases and distributions differ in the size of the GC header: whether the layout's
 * is that of the target, in front of the dicts that every interpreter has. */
static bool gc_heads_fit(const struct python *python)
{
	const struct interpreter *interp = &python->interpreters.items[0];
	const vaddr dicts[] = { interp->builtins, interp->sys, interp->modules };
	vaddr size = layout_offset(&python->layout, SIZE_GC_HEAD);

	if (!layout_has(&python->layout, FIELD_GC_HEAD_REFS))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(dicts); i++) {
		if (dicts[i] && (gc_head_is_linked(&python->memory, dicts[i] - size) ||
				 gc_head_is_untracked(&python->memory, dicts[i] - size)))
			return true;
	}
	return false;
}

/* Tries the runtime at `runtime` of `module`; an error says why it can't be the live one. */
static struct memheap_error *try_runtime(struct python *python, const struct target *target,
					 const struct modules *modules,
					 const struct python_version *version,
					 enum memheap_layout_source source, struct notices *notices)
{
	struct layout_target layout_target = {
		.image = &target->image,
		.modules = modules,
		.interpreter = python->module,
		.runtime = python->runtime,
		.version = version->hex,
		.machine = target->process.machine,
		.free_threaded = version->free_threaded,
		.debug_offsets = version->debug_offsets,
	};
	struct memheap_error *error;
	uint32_t hex;

	python->memory = (struct memory){ &target->image, &python->layout };
	error = layout_load(&python->layout, &layout_target, source, notices);
	if (error)
		return error;
	if (!read_interpreters(python))
		return error_create(
			MEMHEAP_NOT_PYTHON,
			"the runtime of %s holds no interpreter: it is not initialised yet, or "
			"shut down already",
			python->module->path);
	hex = read_hexversion(python);
	python->version = hex ? hex : version->hex;
	version_format(python->version, python->version_text);
	if (hex && hex >> 16 != version->hex >> 16)
		return error_create(MEMHEAP_NOT_PYTHON,
				    "%s contradicts itself: its %s says another version than "
				    "sys.hexversion (%s)",
				    python->module->path, version->found, python->version_text);
	if (!read_type_type(python))
		return error_create(MEMHEAP_NOT_PYTHON, "cannot find PyType_Type of %s",
				    python->module->path);
	read_unicode_width(python);
	if (!gc_heads_fit(python))
		return error_hint(
			error_create(MEMHEAP_NOT_PYTHON,
				     "no layout for this build of CPython %s: its GC "
				     "header is another than that of %s",
				     python->version_text,
				     python->layout.table ? python->layout.table : "DWARF"),
			"install the debug symbols of this interpreter");
	error = layout_prove(python);
	python->refused = error;
	return error;
}

/* A debug build's structures have more members than those in the tables, which are of releases;
 * reference tracing, up to 3.12, links all objects in front of their refcount. */
static struct memheap_error *try_debug_build(struct python *python, const struct target *target,
					     const struct modules *modules,
					     const struct python_version *version,
					     enum memheap_layout_source source,
					     struct notices *notices)
{
	const char *path = python->module->path;
	const char *kind =
		version->traces_references ? "build with reference tracing" : "debug build";
	struct memheap_error *error;

	if (source == MEMHEAP_LAYOUT_TABLE)
		return error_hint(error_create(MEMHEAP_NOT_PYTHON,
					       "%s is a %s, of which there is no table", path,
					       kind),
				  "leave out --layout=table");
	error = try_runtime(python, target, modules, version, MEMHEAP_LAYOUT_DWARF, notices);
	if (error && !python->layout.dwarf_path) {
		memheap_error_destroy(error);
		return error_hint(error_create(MEMHEAP_NOT_PYTHON,
					       "%s is a %s, whose layout only its debug symbols "
					       "tell",
					       path, kind),
				  "install the debug symbols of this interpreter");
	}
	return error;
}

/* Tries the runtime that may be at `place` of `module`. */
static struct memheap_error *try_place(struct python *python, const struct runtime_ladder *ladder,
				       struct module *module, const struct runtime_place *place)
{
	struct python_version version = place->version;

	python->module = module;
	python->runtime = place->at;
	python->runtime_found = place->how;
	python->gaps = (struct gaps){ 0 };
	module_load_debug(module, ladder->files);
	if (!version.found &&
	    !version_find(&ladder->target->image, module, python->runtime, &version))
		return error_create(MEMHEAP_NOT_PYTHON,
				    "cannot tell which version of CPython %s is", module->path);
	python->version_found = version.found;
	python->free_threaded = version.free_threaded;
	python->debug = version.debug;
	python->traces_references = version.traces_references;
	if (version.debug || version.traces_references)
		return try_debug_build(python, ladder->target, ladder->modules, &version,
				       ladder->layout, ladder->notices);
	return try_runtime(python, ladder->target, ladder->modules, &version, ladder->layout,
			   ladder->notices);
}

static struct memheap_error *no_python(const struct target *target, const struct modules *modules)
{
	for (size_t i = 0; i < modules->list.count; i++) {
		const struct module *module = &modules->list.items[i];
		char id[2 * BUILD_ID_MAX + 1];

		if (module->file || !sounds_like_python(module))
			continue;
		build_id_format(&module->build_id, id);
		return error_hint(
			error_create(MEMHEAP_NOT_PYTHON,
				     "cannot read the interpreter's symbols: %s (build id %s) is "
				     "%s on this machine (looked at %s)",
				     module->path, *id ? id : "unknown",
				     module->status == MODULE_MISMATCH ? "another file"
								       : "not found",
				     module->tried ? module->tried : module->path),
			"copy that file from the machine of the core and give --exe, --lib-path "
			"or --sysroot");
	}
	return error_hint(error_create(MEMHEAP_NOT_PYTHON,
				       "%s is not a core of a CPython: none of its %zu ELF files "
				       "has the symbol _PyRuntime",
				       target->path, modules->list.count),
			  "of CPython, 2.7, 3.6 and later are known");
}

/*
 * Whether the runtime at `place`, beside the one that was taken, was initialised too. Two copies in
 * one process are a static interpreter that loaded a libpython: only one of them has run.
 */
static bool is_live(const struct runtime_ladder *ladder, struct module *module,
		    const struct runtime_place *place)
{
	struct python *other = calloc(1, sizeof(*other));
	struct notices notices = { 0 };
	struct runtime_ladder quiet = *ladder;
	bool live = false;

	quiet.notices = &notices;
	if (other) {
		struct memheap_error *error = try_place(other, &quiet, module, place);

		live = !error;
		memheap_error_destroy(error);
		python_unload(other);
	}
	notices_deinit(&notices);
	free(other);
	return live;
}

/* Tells of other copies of the runtime that the same rung finds. */
static void notice_copies(const struct python *python, const struct runtime_ladder *ladder,
			  runtime_find_fn *find)
{
	struct runtime_place place;

	for (size_t i = 0; i < ladder->modules->list.count; i++) {
		struct module *module = &ladder->modules->list.items[i];
		bool live;

		if (module == python->module || !find(ladder, module, &place))
			continue;
		live = is_live(ladder, module, &place);
		notice_add(ladder->notices, live ? NOTICE_RUNTIME_LIVE_COPY : NOTICE_RUNTIME_COPY,
			   "the process holds another _PyRuntime, of %s, %s; this report is about "
			   "that of %s",
			   module->path,
			   live ? "which has interpreters too: they are not in the report"
				: "which has no interpreter",
			   python->module->path);
	}
}

/* Tries one rung on each module; `*first` is why the first candidate was refused. */
static bool try_rung(struct python *python, const struct runtime_ladder *ladder,
		     runtime_find_fn *find, struct memheap_error **first)
{
	struct runtime_place place;

	for (size_t i = 0; i < ladder->modules->list.count; i++) {
		struct module *module = &ladder->modules->list.items[i];
		size_t noticed = ladder->notices->list.count;
		struct memheap_error *error;

		if (!find(ladder, module, &place))
			continue;
		error = try_place(python, ladder, module, &place);
		if (!error) {
			notice_copies(python, ladder, find);
			return true;
		}
		notices_forget(ladder->notices, noticed);
		if (!*first)
			*first = error;
		else
			memheap_error_destroy(error);
	}
	return false;
}

/* Registers and stacks are another thing on each machine; big-endian ones, and those of 32 bits,
 * are refused before. */
static struct memheap_error *other_machine(const struct target *target)
{
	const char *name = machine_name(target->process.machine);

	return error_hint(error_create(MEMHEAP_NOT_PYTHON,
				       "%s is the core of another machine (%s, ELF machine %u)",
				       target->path, name ? name : "unknown",
				       target->process.machine),
			  "cores of x86-64 and aarch64 are known");
}

struct memheap_error *python_load(struct python *python, const struct target *target,
				  struct modules *modules, const struct module_search *files,
				  enum memheap_layout_source layout, struct notices *notices)
{
	const struct runtime_ladder ladder = {
		target, modules, files, &python->strings, layout, notices,
	};
	_cleanup_(error_cleanup) struct memheap_error *first = NULL;

	if (!machine_is_known(target->process.machine))
		return other_machine(target);
	for (size_t i = 0; runtime_rungs[i]; i++) {
		if (try_rung(python, &ladder, runtime_rungs[i], &first))
			return NULL;
		if (python->refused)
			break;
	}
	python->module = NULL;
	return first ? take(first) : no_python(target, modules);
}

void python_unload(struct python *python)
{
	free(python->interpreters.items);
	free(python->threads.items);
	free(python->frame_stacks.items);
	strings_deinit(&python->strings);
	*python = (struct python){ 0 };
}

bool python_symbol(const struct python *python, const char *name, struct elf_symbol *ret)
{
	return module_symbol(python->module, name, ret);
}
