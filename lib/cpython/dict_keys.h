/* SPDX-License-Identifier: MIT */
/* The keys tables of dicts: PyDictKeysObject, 3.6 and later; before, the one table of a dict. */
#pragma once

#include "memory.h"

struct dict_keys {
	vaddr at;
	uint64_t refcount; /* dicts and types that share the table */
	uint64_t slots;    /* dk_size, a power of two */
	uint64_t usable;   /* entries that there is room for */
	uint64_t used;     /* entries in use or deleted */
	uint64_t free;     /* entries that can still be added */
	uint64_t size;     /* bytes of the table, as __sizeof__ counts them */
	vaddr entries;
	vaddr lookup;  /* up to 3.10: dk_lookup */
	bool str_keys; /* entries are {key, value} without a hash */
	bool split;    /* the values are not in the entries */
};

/* Reads and checks the header of the table at `at`; false when it is none or missing. */
bool dict_keys_read(const struct memory *memory, vaddr at, struct dict_keys *ret);

/* Whether keys may be anything but str. `general_lookup`: as in struct visitor. */
bool dict_keys_general(const struct memory *memory, const struct dict_keys *keys,
		       vaddr general_lookup);

/* The same for the table of the dict at `dict`. That of 2.7 counts as one whose entries all may be
 * used. */
bool dict_keys_of(const struct memory *memory, vaddr dict, struct dict_keys *ret);

/* 3.13 and later: the bytes of the values at `at`, which tell for how many there is room; 0 when
 * they are missing. */
uint64_t values_bytes(const struct memory *memory, vaddr at);

/* The key of entry `index` (0 when deleted), and where its value is unless the table is split. */
bool dict_keys_entry(const struct memory *memory, const struct dict_keys *keys, uint64_t index,
		     vaddr *key, vaddr *value);
