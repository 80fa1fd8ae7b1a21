/* SPDX-License-Identifier: MIT */
/* What is retained as a tree that is opened level by level, by threads and by modules. */
#pragma once

#include "holders.h"

extern const struct memheap_table_shape retained_tree_shape, retained_threads_shape,
	retained_modules_shape;

/* The tree of dominators from all roots on, or from the object at the query's address: as deep as
 * the query says, and what retains enough. */
struct memheap_error *add_retained_tree(struct memheap_report *report,
					const struct holders *holders);

/* Each thread, its frames, and what only they hold. */
void add_retained_threads(struct memheap_report *report, const struct holders *holders);

/* Each module with its variables. */
void add_retained_modules(struct memheap_report *report, const struct holders *holders);
