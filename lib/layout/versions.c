/* SPDX-License-Identifier: MIT */
#include "versions.h"

extern const struct version_table version_2_7_18, version_3_6_15, version_3_7_16, version_3_8_18,
	version_3_9_18, version_3_10_13, version_3_11_7, version_3_12_1, version_3_13_0,
	version_3_13_5_debian, version_3_13_18_debian, version_3_14_4, version_3_14_10,
	version_3_15_2, version_3_13_5t, version_3_14_4t, version_3_14_10t, version_3_15_2t;

const struct version_table *const version_tables[] = {
	&version_2_7_18,
	&version_3_6_15,
	&version_3_7_16,
	&version_3_8_18,
	&version_3_9_18,
	&version_3_10_13,
	&version_3_11_7,
	&version_3_12_1,
	&version_3_13_0,
	&version_3_13_5_debian,
	&version_3_13_18_debian,
	&version_3_14_4,
	&version_3_14_10,
	&version_3_15_2,
	&version_3_13_5t,
	&version_3_14_4t,
	&version_3_14_10t,
	&version_3_15_2t,
	NULL,
};

/* PY_VERSION_HEX of the first release of a minor version. */
#define V(major, minor) ((uint32_t)(major) << 24 | (uint32_t)(minor) << 16)
#define MICRO(micro)    ((uint32_t)(micro) << 8)
#define MINOR(version)  ((version)&0xFFFF0000U)

#define RULES_MAX 5

/* The value of a constant in versions [since, before); a later rule overrides an earlier one. */
struct rule {
	uint32_t since, before;
	uint64_t value;
	bool free_threaded; /* in free-threaded builds only */
};

#define FREE_THREADED true

static const struct rule rules[CONSTANT_COUNT][RULES_MAX] = {
#define CONSTANT(name, ...) [CONSTANT_##name] = { __VA_ARGS__ },
#include "constants.def"
#undef CONSTANT
};

bool version_table_fits(const struct version_table *table, uint32_t version)
{
	return MINOR(table->hexversion) == MINOR(version);
}

void version_constants(uint32_t version, bool free_threaded, uint64_t constants[CONSTANT_COUNT])
{
	for (size_t i = 0; i < CONSTANT_COUNT; i++) {
		constants[i] = CONSTANT_ABSENT;
		for (size_t j = 0; j < RULES_MAX; j++) {
			const struct rule *rule = &rules[i][j];

			if (version >= rule->since && version < rule->before &&
			    (free_threaded || !rule->free_threaded))
				constants[i] = rule->value;
		}
	}
}

#define STATIC_TYPE(index, name) [index] = name,
static const char *const types_3_13[] = {
#include "versions/types_3_13.def"
};
static const char *const types_3_14[] = {
#include "versions/types_3_14.def"
};
static const char *const types_3_15[] = {
#include "versions/types_3_15.def"
};
#undef STATIC_TYPE

static const struct {
	uint32_t version;
	const char *const *names;
	size_t count;
} static_types[] = {
	{ V(3, 13), types_3_13, ARRAY_SIZE(types_3_13) },
	{ V(3, 14), types_3_14, ARRAY_SIZE(types_3_14) },
	{ V(3, 15), types_3_15, ARRAY_SIZE(types_3_15) },
};

#define FINGERPRINT(name, extension, metatype, base, basic_size, item_size, keys, at_start, \
		    known_as)                                                               \
	{ name, extension, metatype, base, basic_size, item_size, keys, at_start, false, known_as },
#define PACKAGE_FINGERPRINT(name, extension, metatype, base, basic_size, item_size, keys, \
			    known_as)                                                     \
	{ name, extension, metatype, base, basic_size, item_size, keys, false, true, known_as },
static const struct fingerprint prints_3_8[] = {
#include "versions/prints_3_8.def"
#include "versions/prints_numpy.def"
};
static const struct fingerprint prints_3_9[] = {
#include "versions/prints_3_9.def"
#include "versions/prints_numpy.def"
};
static const struct fingerprint prints_3_10[] = {
#include "versions/prints_3_10.def"
#include "versions/prints_numpy.def"
};
static const struct fingerprint prints_3_11[] = {
#include "versions/prints_3_11.def"
#include "versions/prints_numpy.def"
#include "versions/prints_numpy_2.def"
};
static const struct fingerprint prints_3_12[] = {
#include "versions/prints_3_12.def"
#include "versions/prints_numpy.def"
#include "versions/prints_numpy_2.def"
};
/* of versions whose own types are named otherwise */
static const struct fingerprint prints_of_packages[] = {
#include "versions/prints_numpy.def"
#include "versions/prints_numpy_2.def"
};
#undef PACKAGE_FINGERPRINT
#undef FINGERPRINT

static const struct {
	uint32_t version;
	const struct fingerprint *list;
	size_t count;
} fingerprints[] = {
	{ V(3, 8), prints_3_8, ARRAY_SIZE(prints_3_8) },
	{ V(3, 9), prints_3_9, ARRAY_SIZE(prints_3_9) },
	{ V(3, 10), prints_3_10, ARRAY_SIZE(prints_3_10) },
	{ V(3, 11), prints_3_11, ARRAY_SIZE(prints_3_11) },
	{ V(3, 12), prints_3_12, ARRAY_SIZE(prints_3_12) },
};

void version_static_types(struct layout *layout)
{
	for (size_t i = 0; i < ARRAY_SIZE(static_types); i++) {
		if (MINOR(layout->version) != static_types[i].version)
			continue;
		layout->static_types = static_types[i].names;
		layout->static_type_count = static_types[i].count;
	}
	layout->fingerprints = prints_of_packages;
	layout->fingerprint_count = ARRAY_SIZE(prints_of_packages);
	for (size_t i = 0; i < ARRAY_SIZE(fingerprints); i++) {
		if (MINOR(layout->version) != fingerprints[i].version)
			continue;
		layout->fingerprints = fingerprints[i].list;
		layout->fingerprint_count = fingerprints[i].count;
	}
}
