/* SPDX-License-Identifier: MIT */
/* Growing arrays: struct { T *items; size_t count, capacity; }. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define VECTOR(type)                    \
	struct {                        \
		type *items;            \
		size_t count, capacity; \
	}

/* Makes room for one more item of `size` bytes; false when out of memory. */
bool vector_grow(void **items, size_t *capacity, size_t count, size_t size);

/* A pointer to a new, unset last item, or NULL when out of memory. */
#define vector_push(vector)                                                           \
	(vector_grow((void **)&(vector)->items, &(vector)->capacity, (vector)->count, \
		     sizeof(*(vector)->items))                                        \
		 ? &(vector)->items[(vector)->count++]                                \
		 : NULL)
