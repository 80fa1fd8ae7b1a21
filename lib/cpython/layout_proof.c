/* SPDX-License-Identifier: MIT */
/*
 * What a release may have moved, and where it would show:
 *
 * - members of objects: a type tells how large its instances are, and _Py_DebugOffsets (3.13) where
 *   many of them lie;
 * - members of the interpreter's state: it begins with what _Py_DebugOffsets tells, and the last of
 *   what is read from it, the dict of interned strings, is behind all the rest;
 * - members of _PyRuntime: what is read last of it leads to the main interpreter.
 *
 * 3.13 and later tell the sizes of these: where they are the table's, nothing was moved. Where they
 * are not, or where the table is of headers only, all of the evidence must be there. Before,
 * nothing tells sizes, and what is missing (in a core that is cut off, of an interpreter that shuts
 * down) refutes nothing: from 3.8.2, 3.9.2, 3.10.4, 3.11.2 and 3.12.1 on no release has moved what
 * is read.
 */
#include <stdio.h>

#include "allocators/mimalloc.h"
#include "layout_proof.h"
#include "static_state.h"
#include "values.h"

/* A type in builtins, and what its tp_basicsize is made of. */
static const struct {
	const char *type;
	enum field_id size;
	uint32_t more;
	bool since_3; /* in 2.7 the type of that name is another */
} sizes[] = {
	{ "object", SIZE_OBJECT, 0, true },
	{ "type", SIZE_HEAP_TYPE, 0, false },
	{ "dict", SIZE_DICT, 0, false },
	{ "list", SIZE_LIST, 0, false },
	{ "tuple", FIELD_TUPLE_ITEMS, 0, false },
	{ "set", SIZE_SET, 0, false },
	{ "frozenset", SIZE_SET, 0, false },
	{ "float", SIZE_FLOAT, 0, false },
	{ "bytearray", SIZE_BYTEARRAY, 0, false },
	{ "int", FIELD_LONG_DIGITS, 0, true },
	{ "str", SIZE_LEGACY_STR, 0, true },
	{ "bytes", FIELD_BYTES_DATA, 1, true }, /* with the NUL behind it */
};

/* An interpreter that shuts down has None in place of what is in builtins. */
static bool find_type(const struct python *python, const char *name, vaddr *ret)
{
	vaddr builtins = python->interpreters.items[0].builtins;
	uint64_t type;

	return builtins && dict_lookup(&python->memory, builtins, name, ret) &&
	       memory_field(&python->memory, *ret, FIELD_OBJECT_TYPE, &type) &&
	       type == python->type_type;
}

/* The name of a type whose instances have another size; NULL: none. */
static const char *find_other_size(const struct python *python)
{
	const struct layout *layout = &python->layout;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t size;
		vaddr type;

		if (sizes[i].since_3 && layout_has(layout, SIZE_INT))
			continue;
		if (layout_has(layout, sizes[i].size) && find_type(python, sizes[i].type, &type) &&
		    memory_field(&python->memory, type, FIELD_TYPE_BASIC_SIZE, &size) &&
		    size != layout_offset(layout, sizes[i].size) + sizes[i].more)
			return sizes[i].type;
	}
	return NULL;
}

/* Whether the entry of a static type in the interpreter's state tells of that type. */
static bool proves_static_types(const struct python *python)
{
	vaddr type;

	return find_type(python, "dict", &type) && static_type_state(python, type);
}

/* Whether the interned strings are in a dict. */
static bool proves_interned(const struct python *python)
{
	const struct memory *memory = &python->memory;
	uint64_t dict, type;
	vaddr expected;

	return find_type(python, "dict", &expected) &&
	       memory_field(memory, python->interpreters.items[0].at, FIELD_INTERP_INTERNED,
			    &dict) &&
	       memory_field(memory, dict, FIELD_OBJECT_TYPE, &type) && type == expected;
}

/*
 * Whether pymalloc's state lies where the table says: it begins with the heads of the lists of
 * pools, two words to a size class, which lead to pools or, of an empty list, 16 bytes before
 * themselves. 3.13 Include/internal/pycore_obmalloc_init.h, _obmalloc_pools_INIT()
 */
static bool proves_obmalloc(const struct python *python)
{
	const struct memory *memory = &python->memory;
	const uint64_t pool_bytes = layout_constant(&python->layout, CONSTANT_POOL_BYTES);
	const uint64_t step = layout_constant(&python->layout, CONSTANT_BLOCK_ALIGNMENT);
	const uint64_t requests = layout_constant(&python->layout, CONSTANT_SMALL_REQUEST_MAX);
	vaddr state;

	if (!step || !pool_bytes ||
	    !image_u64(
		    memory->image,
		    memory_address(memory, python->interpreters.items[0].at, FIELD_INTERP_OBMALLOC),
		    &state))
		return false;
	for (uint64_t i = 0; i < requests / step; i++) {
		vaddr at = state + i * 2 * sizeof(vaddr);
		uint64_t next;

		if (!image_u64(memory->image, at, &next) ||
		    (next != at - 2 * sizeof(vaddr) && (!next || next % pool_bytes)))
			return false;
	}
	return true;
}

/*
 * Whether the heaps of free-threaded builds lie in the threads' states where the table says: they
 * are numbered by their use. 3.14 Python/pystate.c, tstate_mimalloc_bind()
 */
static bool proves_heaps(const struct python *python)
{
	const struct memory *memory = &python->memory;
	const uint64_t uses = MIMALLOC_USES - MIMALLOC_MEM;
	size_t proven = 0;

	for (size_t i = 0; i < python->threads.count * uses; i++) {
		vaddr heaps = memory_address(memory, python->threads.items[i / uses].at,
					     FIELD_THREAD_MI_HEAPS);
		vaddr heap = heaps + i % uses * layout_offset(memory->layout, SIZE_MI_HEAP);
		uint64_t thread, tag;

		if (!memory_field(memory, heap, FIELD_MI_HEAP_THREAD, &thread) ||
		    !memory_field(memory, heap, FIELD_MI_HEAP_TAG, &tag) ||
		    (thread && tag != i % uses))
			return false;
		proven += thread && tag;
	}
	return proven;
}

/* Whether what _PyRuntime says last is the main interpreter; 0 once that shuts down. */
static bool proves_runtime(const struct python *python)
{
	uint64_t main, thread;

	return memory_field(&python->memory, python->runtime, FIELD_RUNTIME_MAIN_INTERPRETER,
			    &main) &&
	       memory_field(&python->memory, python->runtime, FIELD_RUNTIME_AUTO_THREAD, &thread) &&
	       main == python->interpreters.items[0].at && (thread == main || !thread);
}

static struct memheap_error *refuse(const struct python *python, const char *what)
{
	return error_hint(error_create(MEMHEAP_NOT_PYTHON,
				       "no layout for this build of CPython %s: %s than the table "
				       "of %s says",
				       python->version_text, what, python->layout.table),
			  "install the debug symbols of this interpreter");
}

struct memheap_error *layout_prove(const struct python *python)
{
	const struct layout *layout = &python->layout;
	const char *other;

	if ((!layout->borrowed && !layout->from_headers) || layout->dwarf_path)
		return NULL;
	if ((layout->other_sizes || layout->from_headers) && layout->moved < FIELD_COUNT) {
		char what[128];

		snprintf(what, sizeof(what), "its own offsets tell another %s of %s",
			 field_names[layout->moved].member ? field_names[layout->moved].member
							   : "size",
			 field_names[layout->moved].structure);
		return refuse(python, what);
	}
	other = find_other_size(python);
	if (other) {
		char what[64];

		snprintf(what, sizeof(what), "the instances of %s have another size", other);
		return refuse(python, what);
	}
	if (!layout->other_sizes && !layout->from_headers)
		return NULL;
	/* what free-threaded builds have in a thread's state is only proven in part */
	if (layout->other_sizes && python->free_threaded)
		return refuse(python, "its own offsets tell other sizes");
	if (!proves_runtime(python))
		return refuse(python, "_PyRuntime has other members");
	if (python->free_threaded && !proves_heaps(python))
		return refuse(python, "_PyThreadStateImpl has other members");
	if ((!python->free_threaded && !proves_obmalloc(python)) || !proves_static_types(python) ||
	    !proves_interned(python))
		return refuse(python, "PyInterpreterState has other members");
	return NULL;
}
