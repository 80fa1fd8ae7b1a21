/* SPDX-License-Identifier: MIT */
/* Names of static types by what is known of them in their version: struct fingerprint. */
#pragma once

#include "types.h"

/* Fingerprints, and the types that they are to be found for. */
struct fingerprints {
	struct type_table *table;
	const struct python *python;
	const struct module **places; /* of each type: where it lies */
	uint64_t *keys; /* of each type in the table: its fingerprint's keys; 0: it has no dict */
	const struct module **homes; /* of each fingerprint: where its type lies */
	bool *taken;                 /* of each fingerprint: it is that of a type */
};

/* False when out of memory. */
bool fingerprints_init(struct fingerprints *prints, struct type_table *table,
		       const struct python *python, const struct modules *modules);

void fingerprints_deinit(struct fingerprints *prints);

/* Names the types that have the fingerprint of one name alone; returns how many. */
size_t fingerprints_name(struct fingerprints *prints);

/* Names types that have one fingerprint in common, when they are as many as it has names, by the
 * order in which CPython prepares them at start; returns how many. */
size_t fingerprints_name_by_order(struct fingerprints *prints);

/* Names type `index`, which a module has as `known_as` ("types.FunctionType"), and with it maybe
 * its metatype; returns how many. */
size_t fingerprints_name_known(struct fingerprints *prints, uint32_t index, const char *known_as);
