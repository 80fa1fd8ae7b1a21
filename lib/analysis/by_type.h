/* SPDX-License-Identifier: MIT */
/* Objects by the names of their types, of which several may have the same, and examples of each. */
#pragma once

#include "report.h"

struct type_sum {
	const char *name;
	uint64_t objects, shallow;
	uint64_t other[2]; /* what else is counted or kept */
};

struct by_type {
	const struct memheap_snapshot *s;
	const char *pattern; /* of the names that are wanted; NULL: all */
	size_t count;
	struct type_sum *sums; /* by index of a type: those of the first type of a name are used */
	uint32_t *order;       /* once they are ordered: the sums, the largest first */
	uint32_t *place;       /* by index of a type: its sum's place among them */
};

/* False when out of memory. */
bool by_type_init(struct by_type *types, const struct memheap_report *report);

void by_type_deinit(struct by_type *types);

/* Adds an object of which that is known, and returns the sum. */
struct type_sum *by_type_add(const struct by_type *types, const struct object_info *info);

/* The sum that an object of the graph counts for. */
struct type_sum *by_type_sum(const struct by_type *types, object_id id);

/* Adds the object to it. */
struct type_sum *by_type_count(const struct by_type *types, object_id id);

/* The columns that tables of sums begin with. */
enum { BY_TYPE_TYPE, BY_TYPE_OBJECTS, BY_TYPE_SHALLOW, BY_TYPE_COLUMNS };

#define BY_TYPE_COLUMNS_OF(objects)                                           \
	[BY_TYPE_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "The type's name" }, \
	[BY_TYPE_OBJECTS] = { "objects", "OBJECTS", MEMHEAP_COUNT, objects }, \
	[BY_TYPE_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,      \
			      "What sys.getsizeof() would say of them" }

/* Sets those columns of a row, and more of them. */
typedef void type_row_fn(void *closure, struct memheap_cell *row, const struct type_sum *sum);

/* Orders the sums, makes a row of each type that is wanted and has objects, and returns the sum of
 * all types. `more` may be NULL. */
struct type_sum by_type_rows(struct by_type *types, struct memheap_report *report,
			     const struct memheap_table_shape *shape, type_row_fn *more,
			     void *closure);

/* The columns that tables of examples begin with. */
enum { EXAMPLE_TYPE, EXAMPLE_ADDRESS, EXAMPLE_SHALLOW, EXAMPLE_REFCOUNT, EXAMPLE_COLUMNS };

#define EXAMPLE_COLUMNS_OF_OBJECT                                                                 \
	[EXAMPLE_TYPE] = { "type", "TYPE", MEMHEAP_TEXT, "The object's type" },                   \
	[EXAMPLE_ADDRESS] = { "address", "ADDRESS", MEMHEAP_ADDRESS, "Where the object begins" }, \
	[EXAMPLE_SHALLOW] = { "shallow_bytes", "SHALLOW", MEMHEAP_BYTES,                          \
			      "What sys.getsizeof() would say of it" },                           \
	[EXAMPLE_REFCOUNT] = { "refcount", "REFCOUNT", MEMHEAP_COUNT,                             \
			       "References that are counted: PyObject.ob_refcnt, or all counts "  \
			       "of free-threaded builds; in refcounts those of frames too, that " \
			       "3.14 leaves out" }

/* A new row, of which these columns are set. */
struct memheap_cell *example_row(struct memheap_report *report,
				 const struct memheap_table_shape *shape, object_id id);

/* Whether an object is wanted, and makes its row. */
typedef bool wanted_fn(const void *closure, object_id id);
typedef void object_row_fn(void *closure, object_id id);

/* Makes rows of wanted objects in the order of their types, once that is known: 5 of each type and
 * 100 at most, or as many as the query's limit says. False when out of memory. */
bool by_type_examples(const struct by_type *types, const struct memheap_query *query,
		      wanted_fn *wanted, object_row_fn *row, void *closure);
