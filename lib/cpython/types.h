/* SPDX-License-Identifier: MIT */
/* The type table: every type object of the process. */
#pragma once

#include "../base/id_map.h"
#include "blocks.h"
#include "decoder.h"

#define TYPE_NONE TAG_TYPE_MAX

#define ARRAY_KINDS_MAX 14

/* The sizes of the items of array.array, by the addresses of their descriptions. */
struct item_sizes {
	vaddr description[ARRAY_KINDS_MAX];
	uint8_t bytes[ARRAY_KINDS_MAX]; /* 0: unknown */
	size_t count;
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
	bool python_sizeof; /* __sizeof__ is overridden by Python code, which is not run */
	const struct item_sizes *item_sizes; /* of arrays whose own can't be read; NULL: none is */
	bool named; /* false: the name could not be read and is an address */
};

struct type_table {
	VECTOR(struct type) list;
	struct id_map by_address; /* address → index in list */
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

/* Whether what lies at `at` is a type object, by its structure and that of its metatypes. */
bool type_verify(const struct type_table *table, const struct memory *memory, vaddr at);

/* Adds the type object at `at`, whose verification passed; false when out of memory. */
bool type_add(struct type_table *table, const struct memory *memory, vaddr at);

/* Chooses decoders, once all types are known. */
void types_choose_decoders(struct type_table *table, const struct memory *memory);
