/* SPDX-License-Identifier: MIT */
/* The values of a few built-in types, read from the target: str, int, dict. */
#pragma once

#include "../base/strings.h"
#include "memory.h"

/* The characters of the str at `at` as UTF-8 (surrogates as \udcXX), at most `limit` of them; NULL
 * when it is no str, or missing. */
const char *str_value(const struct memory *memory, vaddr at, size_t limit, struct strings *strings);

/* Whether the object at `at` is a compact ASCII str with these characters. */
bool str_equals(const struct memory *memory, vaddr at, const char *text);

/* The value of the int at `at` when it has at most two digits (60 bits). */
bool long_value(const struct memory *memory, vaddr at, int64_t *ret);

/* FNV-1a of the characters of the compact ASCII str at `at`; 0 when it is none, or long. */
uint64_t str_hash(const struct memory *memory, vaddr at);

/* Copies the characters of the compact ASCII str at `at` to `ret`; false when it is none, or they
 * are `size` or more. */
bool str_copy(const struct memory *memory, vaddr at, char *ret, size_t size);

/* Called for each key and value of a dict, both addresses of objects; false ends the visit. */
typedef bool dict_entry_fn(void *closure, vaddr key, vaddr value);

/* Visits the entries of the dict at `at`, which shares its keys with no other. */
void dict_each(const struct memory *memory, vaddr at, dict_entry_fn *fn, void *closure);

/* The value of key `name` in the dict at `at`; false when there is none. Linear. */
bool dict_lookup(const struct memory *memory, vaddr at, const char *name, vaddr *ret);
