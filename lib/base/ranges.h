/* SPDX-License-Identifier: MIT */
/* Ranges of addresses. */
#pragma once

#include "vaddr.h"
#include "vector.h"

struct range {
	vaddr start, end;
};

/* A VECTOR of ranges. */
struct ranges {
	struct range *items;
	size_t count, capacity;
};

/* False when out of memory. */
bool ranges_add(struct ranges *ranges, vaddr start, vaddr end);

/* Sorts ranges by start, and joins those that overlap. */
void ranges_join(struct ranges *ranges);

/* The first of joined ranges that ends behind `at`, or NULL. */
const struct range *ranges_after(const struct ranges *ranges, vaddr at);

/* Whether one of joined ranges holds `at`. */
bool ranges_hold(const struct ranges *ranges, vaddr at);

void ranges_deinit(struct ranges *ranges);

/* Compares two addresses for qsort(). */
int vaddr_compare(const void *a, const void *b);
