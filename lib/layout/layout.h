/* SPDX-License-Identifier: MIT */
/*
 * The layout: where each field of each CPython structure lies in this target, and how we know.
 * Code asks layout_has(); it never compares versions.
 */
#pragma once

#include "../base/notices.h"
#include "../modules/modules.h"

enum field_id {
#define FIELD(name, structure, member) FIELD_##name,
#define SIZE_OF(name, structure)       SIZE_##name,
#include "fields.def"
	FIELD_COUNT
};

enum field_source {
	FIELD_ABSENT, /* this version has no such field */
	FROM_TABLE,   /* a generated table of lib/layout/versions */
	FROM_DWARF,   /* the target's debug information */
	FROM_TARGET,  /* the target's own _Py_DebugOffsets */
};

/* A field, or (SIZE_*) the size of a structure, which stands in `offset`. */
struct field {
	uint32_t offset;   /* bytes from the start of its structure */
	uint32_t size;     /* bytes */
	uint8_t bit, bits; /* of a bit-field: its first bit, its number of bits (0: none) */
	uint8_t source;    /* enum field_source */
};

enum constant_id {
#define CONSTANT(name, ...) CONSTANT_##name,
#include "constants.def"
#undef CONSTANT
	CONSTANT_COUNT
};

#define CONSTANT_ABSENT UINT64_MAX

/* What CPython's source decides of one of its static types; made by fixtures/fingerprints.py. */
struct fingerprint {
	const char *name;            /* "dict", "collections.deque" */
	const char *extension;       /* module that it may be from; "": the interpreter itself */
	const char *metatype, *base; /* their names; "": no base */
	uint32_t basic_size, item_size;
	uint64_t keys; /* of its dict: the sum of the FNV-1a of each */
	bool at_start; /* prepared when CPython starts; each version has one order for these */
	bool strict;   /* only a type with these keys is meant: another release has others */
	const char *known_as; /* what modules call it: "types.FunctionType|types.LambdaType" */
};

struct layout {
	uint32_t version;    /* PY_VERSION_HEX of the target; shown, never compared */
	const char *table;   /* the generated table in use: "3.12.1"; NULL: none */
	bool borrowed;       /* the table is of another release, or of another build of this one */
	bool other_sizes;    /* that is so, and the target tells other sizes of its state, or none
				where it should */
	bool from_headers;   /* the table is of a build of which only headers were at hand */
	enum field_id moved; /* a field of objects that the target contradicts; or FIELD_COUNT */
	unsigned from_table, from_dwarf, from_target; /* numbers of fields */
	unsigned differences;   /* fields in which DWARF contradicts the table or the target */
	const char *dwarf_path; /* where the debug information was read; NULL: nowhere */
	struct field fields[FIELD_COUNT];
	uint64_t constants[CONSTANT_COUNT];
	/* names of CPython's own static types, by their place in its table of them; NULL: unknown
	 */
	const char *const *static_types;
	size_t static_type_count;
	const struct fingerprint *fingerprints; /* of static types; NULL: unknown */
	size_t fingerprint_count;
};

/* What a field is called in CPython: "PyListObject.ob_item". */
struct field_name {
	const char *module;    /* extension module of the structure; NULL: the interpreter */
	const char *structure; /* alternatives parted by '|' */
	const char *member;    /* likewise; NULL for the size of the structure */
};

extern const struct field_name field_names[FIELD_COUNT];

/* Where an interpreter's facts are found, as far as it is known before there is a layout. */
struct layout_target {
	const struct image *image;
	const struct modules *modules;
	const struct module *interpreter;
	vaddr runtime;    /* _PyRuntime */
	uint32_t version; /* PY_VERSION_HEX */
	uint16_t machine; /* EM_* */
	bool free_threaded;
	bool debug_offsets; /* `runtime` begins with a _Py_DebugOffsets */
};

/*
 * Chooses and checks the layout. With MEMHEAP_LAYOUT_AUTO the table and the target's own offsets
 * are taken, and checked against DWARF where it is at hand: DWARF wins, and what differs is
 * noticed.
 */
struct memheap_error *layout_load(struct layout *layout, const struct layout_target *target,
				  enum memheap_layout_source source, struct notices *notices);

static inline bool layout_has(const struct layout *layout, enum field_id id)
{
	return layout->fields[id].source != FIELD_ABSENT;
}

/* The offset of a field that is there (0 for one that isn't), or the size of a structure. */
static inline uint32_t layout_offset(const struct layout *layout, enum field_id id)
{
	return layout->fields[id].offset;
}

static inline bool layout_knows(const struct layout *layout, enum constant_id id)
{
	return layout->constants[id] != CONSTANT_ABSENT;
}

/* The value of a constant, 0 where the version does without. */
static inline uint64_t layout_constant(const struct layout *layout, enum constant_id id)
{
	return layout_knows(layout, id) ? layout->constants[id] : 0;
}

/* What `source` is called in reports. */
const char *field_source_name(enum field_source source);
