/* SPDX-License-Identifier: MIT */
/* The type table: every type object of the process. */
#pragma once

#include "../base/id_map.h"
#include "blocks.h"
#include "decoder.h"

#define TYPE_NONE TAG_TYPE_MAX

#define ARRAY_KINDS_MAX 17

/* The sizes of the items of array.array, by the addresses of their descriptions. */
struct item_sizes {
	vaddr description[ARRAY_KINDS_MAX];
	uint8_t bytes[ARRAY_KINDS_MAX]; /* 0: unknown */
	size_t count;
};

/* A word of an instance that refers to an object. */
struct member {
	uint32_t offset;
	uint8_t kind;     /* enum reference_kind */
	const char *name; /* NULL: nobody knows, and it may be something else */
};

/* Where instances keep their __dict__. */
enum dict_place {
	DICT_NOWHERE, /* or where members or the decoder report it */
	DICT_AT_OFFSET,
	DICT_MANAGED, /* in front of the instance; see constants.def */
};

struct type {
	vaddr at;
	const char *name; /* "collections.OrderedDict"; built-ins bare: "dict" */
	uint64_t basic_size, item_size, flags;
	vaddr base;                    /* tp_base; 0 for object */
	const struct decoder *decoder; /* of the type or its nearest base that has one */
	uint8_t preheader;             /* bytes between an instance's block and the instance */
	bool gc;                       /* instances have a GC header */
	bool heap;                     /* made at run time, not static */
	bool metatype;                 /* instances are types */
	bool opaque;                   /* instances hold words that no decoder knows */
	vaddr sizeof_method;           /* __sizeof__ in its own dict; 0: none */
	bool default_sizeof;           /* neither it nor a base but object has a __sizeof__ */
	bool python_sizeof; /* __sizeof__ is overridden by Python code, which is not run */
	const struct item_sizes *item_sizes; /* of arrays whose own can't be read; NULL: none is */
	bool named;         /* false: the name could not be read and is an address */
	vaddr traverse;     /* tp_traverse */
	vaddr cached_keys;  /* names of the attributes that instances have without a dict */
	bool python;        /* made by a class statement */
	uint8_t dict_place; /* enum dict_place */
	int64_t dict_offset;
	uint64_t real_items;                 /* of a struct sequence, hidden ones too; 0: none */
	uint32_t first_member, member_count; /* in the table's members; a base's come first */
	uint32_t namesake;                   /* the first type of the same name: its index */
	const struct decoder *own_decoder;   /* of exactly this type */
	const struct decoder *visitor;       /* of the nearest base whose decoder visits */
};

struct type_table {
	VECTOR(struct type) list;
	struct id_map by_address; /* address → index in list */
	VECTOR(struct member) members;
	vaddr general_lookup; /* of struct visitor */
	struct strings strings;
	struct item_sizes item_sizes;
};

/*
 * Finds the types in static data and in malloc's chunks, by following metatypes from PyType_Type.
 */
struct memheap_error *types_build(struct type_table *table, const struct python *python,
				  const struct modules *modules, const struct block_map *blocks);

void types_deinit(struct type_table *table);

/* The type at `at`: its index, or TYPE_NONE. */
static inline uint32_t type_find(const struct type_table *table, vaddr at)
{
	uint32_t id = id_map_find(&table->by_address, at);

	return id == ID_NONE ? TYPE_NONE : id;
}

/* The static type that is called so: its index, or TYPE_NONE. */
uint32_t type_find_static(const struct type_table *table, const char *name);

/* Adds the type object at `at`, whose verification passed; false when out of memory. */
bool type_add(struct type_table *table, const struct memory *memory, vaddr at);

/* Finds out where instances keep references, once decoders are chosen; false when out of memory. */
bool types_find_members(struct type_table *table, const struct memory *memory);

/* Reports all references of the object, with its type, as far as its structure tells. */
void object_visit(struct visitor *visitor, const struct type_table *table,
		  const struct object *object);

/* The nearest base that is in the table, or NULL. */
const struct type *type_base(const struct type_table *table, const struct type *type);

/* Finds types of the same name, once all names are known; false when out of memory. */
bool types_find_namesakes(struct type_table *table);

/* Chooses decoders, once all types are known. */
void types_choose_decoders(struct type_table *table, const struct memory *memory);
