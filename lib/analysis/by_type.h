/* SPDX-License-Identifier: MIT */
/* Objects by the names of their types, of which several may have the same, and examples of each. */
#pragma once

#include "report.h"

struct type_sum {
	const char *name;
	uint64_t objects, shallow;
	uint64_t other[2]; /* what else is counted */
};

struct by_type {
	const struct memheap_snapshot *s;
	const char *pattern; /* of the names that are wanted; NULL: all */
	size_t count;
	struct type_sum *sums; /* by index of a type: those of the first type of a name are used */
	uint32_t *first;       /* by index of a type: the first one of its name */
	uint32_t *order;       /* once they are ordered: the sums, the largest first */
	uint32_t *place;       /* by index of a type: its sum's place among them */
};

/* False when out of memory. */
bool by_type_init(struct by_type *types, const struct memheap_report *report);

void by_type_deinit(struct by_type *types);

/* The sum that an object counts for. */
struct type_sum *by_type_sum(const struct by_type *types, object_id id);

/* Adds the object to it. */
struct type_sum *by_type_count(const struct by_type *types, object_id id);

/* Orders the sums by bytes, then by objects. */
void by_type_order(struct by_type *types);

/* Whether a row is to be made of the sum. */
bool by_type_wants(const struct by_type *types, const struct type_sum *sum);

/* Whether an object is wanted, and makes its row. */
typedef bool wanted_fn(const void *closure, object_id id);
typedef void object_row_fn(void *closure, object_id id);

/* Makes rows of wanted objects in the order of their types: 5 of each type and 100 at most, or as
 * many as `limit` says. False when out of memory. */
bool by_type_examples(const struct by_type *types, uint64_t limit, wanted_fn *wanted,
		      object_row_fn *row, void *closure);
