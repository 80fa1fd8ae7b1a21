/* SPDX-License-Identifier: MIT */
#include <elf.h>

#include "gc_head.h"
#include "old_runtime.h"
#include "values.h"

#define INTERPRETERS_MAX 4096

bool old_runtime_is_in(const struct module *module)
{
	struct elf_symbol symbol;

	return module_symbol(module, "_PyThreadState_Current", &symbol);
}

bool old_runtime_variable(const struct python *python, const char *name, uint64_t *ret)
{
	const struct image *image = python->memory.image;
	struct elf_symbol symbol;
	uint32_t value;

	if (!python_symbol(python, name, &symbol))
		return false;
	if (symbol.size == sizeof(*ret))
		return image_u64(image, symbol.address, ret);
	if (symbol.size != sizeof(value) || !image_u32(image, symbol.address, &value))
		return false;
	*ret = value;
	return true;
}

/* Whether the type of the type of the object at `at` is its own type, as only PyType_Type is. */
static bool is_object(const struct memory *memory, vaddr at)
{
	uint64_t type, metatype, last;

	return memory_field(memory, at, FIELD_OBJECT_TYPE, &type) &&
	       memory_field(memory, type, FIELD_OBJECT_TYPE, &metatype) &&
	       memory_field(memory, metatype, FIELD_OBJECT_TYPE, &last) && metatype == last;
}

/* Whether an interpreter lies at `at`: its first thread knows it, and its dicts are objects. That
 * of modules goes first at the end: PyImport_Cleanup(), 3.6 Python/import.c. */
static bool is_interpreter(const struct memory *memory, vaddr at)
{
	uint64_t thread, owner, sys, builtins, modules;

	return at % sizeof(vaddr) == 0 && memory_field(memory, at, FIELD_INTERP_THREADS, &thread) &&
	       memory_field(memory, thread, FIELD_THREAD_INTERP, &owner) && owner == at &&
	       memory_field(memory, at, FIELD_INTERP_SYS, &sys) && is_object(memory, sys) &&
	       memory_field(memory, at, FIELD_INTERP_BUILTINS, &builtins) &&
	       is_object(memory, builtins) &&
	       memory_field(memory, at, FIELD_INTERP_MODULES, &modules) &&
	       (!modules || is_object(memory, modules));
}

/* How many interpreters the list from `at` on has. */
static unsigned list_length(const struct memory *memory, vaddr at)
{
	unsigned length = 0;
	uint64_t next = at;

	while (length < INTERPRETERS_MAX && next && is_interpreter(memory, next)) {
		length++;
		if (!memory_field(memory, next, FIELD_INTERP_NEXT, &next))
			break;
	}
	return length;
}

/* Stripped: of the static variables that point to an interpreter, the head of the list is the one
 * from which most are reached. */
static vaddr search_interpreters(const struct python *python)
{
	const struct memory *memory = &python->memory;
	const struct image *image = memory->image;
	unsigned most = 0;
	vaddr best = 0;

	for (size_t i = 0; i < image->segments.count; i++) {
		const struct segment *segment = &image->segments.items[i];
		uint64_t size = module_writable_size(python->module, segment);

		for (uint64_t at = 0; at + sizeof(vaddr) <= size; at += sizeof(vaddr)) {
			vaddr candidate = load_u64(segment->bytes + at);
			unsigned length =
				candidate && candidate != best ? list_length(memory, candidate) : 0;

			if (length > most) {
				most = length;
				best = candidate;
			}
		}
	}
	return best;
}

vaddr old_runtime_interpreters(const struct python *python, const char **how)
{
	uint64_t head;

	if (old_runtime_variable(python, "interp_head", &head)) {
		*how = "symbol interp_head";
		return head;
	}
	*how = "search of static data";
	return search_interpreters(python);
}

vaddr old_runtime_generations(const struct python *python)
{
	uint64_t generations;

	return old_runtime_variable(python, "_PyGC_generation0", &generations) ? generations : 0;
}

/* Without the symbol: outside of collections, an object that is in a list has a header that says
 * so, and the dict of sys always is. */
bool old_runtime_collecting(const struct python *python, const struct interpreter *interp)
{
	const struct memory *memory = &python->memory;
	vaddr head = interp->sys - layout_offset(memory->layout, SIZE_GC_HEAD);
	const uint8_t *bytes;
	uint64_t collecting;

	if (old_runtime_variable(python, "collecting", &collecting))
		return collecting;
	bytes = memory_struct(memory, head, SIZE_GC_HEAD);
	return bytes && gc_head_is_linked(memory, head) &&
	       gc_head_tracking(memory->layout, bytes, false) == GC_NO_HEAD;
}

/*
 * PyImport_Cleanup(), 2.7 Python/import.c, which clears the modules, begins by setting sys.path to
 * None. 2.7 has no variable for it that only one file defines.
 */
bool old_runtime_finalizing(const struct python *python, const struct interpreter *interp)
{
	const struct memory *memory = &python->memory;
	uint64_t finalizing;
	vaddr path, none;

	if (old_runtime_variable(python, "_Py_Finalizing", &finalizing))
		return finalizing;
	return interp->sys && interp->builtins && dict_lookup(memory, interp->sys, "path", &path) &&
	       dict_lookup(memory, interp->builtins, "None", &none) && path == none;
}
