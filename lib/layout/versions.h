/* SPDX-License-Identifier: MIT */
/* The generated tables, and the rules that only a version decides. */
#pragma once

#include "layout.h"

struct version_table {
	const char *name;    /* "3.13.5_debian" */
	uint32_t hexversion; /* PY_VERSION_HEX */
	bool free_threaded;
	bool from_headers; /* of a build that nobody has run to check the table */
	struct field fields[FIELD_COUNT];
};

/* NULL-terminated, oldest first. */
extern const struct version_table *const version_tables[];

/* Whether `version` has the same major and minor number as the table. */
bool version_table_fits(const struct version_table *table, uint32_t version);

/* Sets the names of the static types of layout->version, if they are known. */
void version_static_types(struct layout *layout);

/* The constants of `version`. */
void version_constants(uint32_t version, bool free_threaded, uint64_t constants[CONSTANT_COUNT]);

/* The layout that the table alone makes. */
void version_layout(const struct version_table *table, uint16_t machine, struct layout *ret);
