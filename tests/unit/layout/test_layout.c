/* SPDX-License-Identifier: MIT */
#include "../unit.h"
#include "layout/debug_offsets.h"
#include "layout/versions.h"

static const struct version_table *find_table(const char *name)
{
	for (size_t i = 0; version_tables[i]; i++) {
		if (!strcmp(version_tables[i]->name, name))
			return version_tables[i];
	}
	fail_msg("no table %s", name);
	return NULL;
}

static bool is_there(const struct field *field)
{
	return field->offset || field->size;
}

/* What decoders rely on: a structure's size covers all of its fields. */
static void tables_keep_fields_inside_structures(void **state)
{
	size_t checked = 0;

	(void)state;
	for (size_t i = 0; version_tables[i]; i++) {
		const struct field *fields = version_tables[i]->fields;

		for (size_t size = 0; size < FIELD_COUNT; size++) {
			for (size_t j = 0; j < FIELD_COUNT; j++) {
				if (field_names[size].member || !is_there(&fields[size]) ||
				    !field_names[j].member || !is_there(&fields[j]) ||
				    strcmp(field_names[j].structure, field_names[size].structure))
					continue;
				if (fields[j].offset + fields[j].size > fields[size].offset)
					fail_msg("%s: %s.%s", version_tables[i]->name,
						 field_names[j].structure, field_names[j].member);
				checked++;
			}
		}
	}
	assert_true(checked > 500);
}

static void tables_fit_by_minor_version(void **state)
{
	const struct version_table *table = find_table("3.12.1");

	(void)state;
	assert_true(version_table_fits(table, 0x030c0000));
	assert_true(version_table_fits(table, 0x030cffff));
	assert_false(version_table_fits(table, 0x030bffff));
	assert_false(version_table_fits(table, 0x030d0000));
}

static void constants_follow_the_version(void **state)
{
	uint64_t constants[CONSTANT_COUNT];

	(void)state;
	version_constants(0x03090fff, false, constants);
	assert_int_equal(constants[CONSTANT_ARENA_BYTES], 256 << 10);
	assert_int_equal(constants[CONSTANT_POOL_BYTES], 4096);
	version_constants(0x030a0000, false, constants);
	assert_int_equal(constants[CONSTANT_ARENA_BYTES], 1 << 20);
	assert_int_equal(constants[CONSTANT_POOL_BYTES], 16384);
	version_constants(0x02060000, false, constants);
	for (size_t i = 0; i < CONSTANT_COUNT; i++)
		assert_true(constants[i] == CONSTANT_ABSENT);
}

/* A target that tells what the table of 3.13.0 says. */
static void fill_offsets(uint8_t bytes[584], struct layout *layout)
{
	const struct version_table *table = find_table("3.13.0");
	struct image image = { 0 };
	struct gaps gaps = { 0 };

	memset(bytes, 0xFF, 584); /* nothing: no offset is that large */
	memcpy(bytes, "xdebugpy", 8);
	put_u64(bytes + 8, 0x030d00f0);
	put_u64(bytes + 16, 0);
	*layout = (struct layout){ .version = 0x030d00f0 };
	for (size_t i = 0; i < FIELD_COUNT; i++) {
		layout->fields[i] = table->fields[i];
		if (is_there(&table->fields[i]))
			layout->fields[i].source = FROM_TABLE;
	}
	add_segment(&image, 4096, 584, bytes);
	assert_true(image_build(&image, &gaps));
	assert_int_equal(debug_offsets_apply(layout, &image, 4096), 0);
	assert_int_equal(layout->fields[FIELD_LIST_ITEMS].source, FROM_TABLE);
	image_deinit(&image);
}

#define LIST_SIZE_AT  424
#define LIST_ITEMS_AT 432
#define VAR_SIZE_AT   416

/* Applies one offset; the number of contradictions is returned. */
static unsigned apply(struct layout *layout, size_t at, uint64_t value)
{
	uint8_t bytes[584];
	struct image image = { 0 };
	struct gaps gaps = { 0 };
	unsigned contradicted;

	fill_offsets(bytes, layout);
	put_u64(bytes + at, value);
	add_segment(&image, 4096, sizeof(bytes), bytes);
	assert_true(image_build(&image, &gaps));
	contradicted = debug_offsets_apply(layout, &image, 4096);
	image_deinit(&image);
	return contradicted;
}

static void takes_the_offsets_of_the_target(void **state)
{
	struct layout layout;

	(void)state;
	assert_int_equal(apply(&layout, LIST_ITEMS_AT, 24), 0);
	assert_int_equal(layout.fields[FIELD_LIST_ITEMS].source, FROM_TARGET);
	assert_int_equal(apply(&layout, LIST_ITEMS_AT, 32), 1);
	assert_int_equal(layout.fields[FIELD_LIST_ITEMS].offset, 32);
	assert_int_equal(apply(&layout, LIST_SIZE_AT, 4096), 1);
	assert_int_equal(layout.fields[SIZE_LIST].offset, 4096);
}

static void refuses_offsets_outside_of_structures(void **state)
{
	static const struct {
		size_t at;
		uint64_t value;
	} bad[] = {
		{ LIST_ITEMS_AT, 33 },    { LIST_ITEMS_AT, 1 << 20 }, { LIST_ITEMS_AT, UINT64_MAX },
		{ LIST_SIZE_AT, 39 },     { LIST_SIZE_AT, 0 },        { VAR_SIZE_AT, 8 },
		{ VAR_SIZE_AT, 1 << 20 },
	};
	struct layout layout;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(apply(&layout, bad[i].at, bad[i].value), 0);
		assert_int_equal(layout.fields[SIZE_LIST].offset, 40);
		assert_int_equal(layout.fields[FIELD_LIST_ITEMS].offset, 24);
		assert_int_equal(layout.fields[FIELD_VAR_SIZE].offset, 16);
	}
}

static void recognises_debug_offsets(void **state)
{
	struct layout layout;
	uint8_t bytes[584];
	struct image image = { 0 };
	struct gaps gaps = { 0 };
	uint32_t version;
	bool free_threaded;

	(void)state;
	fill_offsets(bytes, &layout);
	add_segment(&image, 4096, sizeof(bytes), bytes);
	assert_true(image_build(&image, &gaps));
	assert_true(debug_offsets_at(&image, 4096, &version, &free_threaded));
	assert_int_equal(version, 0x030d00f0);
	assert_false(free_threaded);
	assert_false(debug_offsets_at(&image, 4097, &version, &free_threaded)); /* cut off */
	bytes[0] = 'X';
	assert_false(debug_offsets_at(&image, 4096, &version, &free_threaded));
	image_deinit(&image);
}

/* 3.15 Include/internal/pycore_debug_offsets.h: the sizes of a release that has a table */
#define WORDS_3_15     888
#define RUNTIME_SIZE   24
#define INTERP_SIZE    48
#define THREAD_SIZE    176
#define VERSION_3_15_1 0x030f01f0

/* Loads the layout of a 3.15.1 whose state is as large as that of `name`. */
static void load_3_15(const char *name, struct layout *layout, struct notices *notices)
{
	const struct version_table *table = find_table(name);
	uint8_t bytes[WORDS_3_15];
	struct image image = { 0 };
	struct gaps gaps = { 0 };
	struct layout_target target = { .image = &image, .runtime = 4096, .debug_offsets = true };

	memset(bytes, 0xFF, sizeof(bytes)); /* nothing: no offset is that large */
	memcpy(bytes, "xdebugpy", 8);
	put_u64(bytes + 8, VERSION_3_15_1);
	put_u64(bytes + 16, table->free_threaded);
	put_u64(bytes + RUNTIME_SIZE, table->fields[SIZE_RUNTIME].offset);
	put_u64(bytes + INTERP_SIZE, table->fields[SIZE_INTERP].offset);
	put_u64(bytes + THREAD_SIZE, table->fields[SIZE_THREAD].offset);
	add_segment(&image, 4096, sizeof(bytes), bytes);
	assert_true(image_build(&image, &gaps));
	assert_true(debug_offsets_at(&image, 4096, &target.version, &target.free_threaded));
	assert_null(layout_load(layout, &target, MEMHEAP_LAYOUT_TABLE, notices));
	image_deinit(&image);
}

static void says_that_a_table_is_of_headers(void **state)
{
	struct notices notices = { 0 };
	struct layout layout;

	(void)state;
	load_3_15("3.15.2", &layout, &notices);
	assert_string_equal(layout.table, "3.15.2");
	assert_false(layout.borrowed || layout.from_headers);
	assert_int_equal(layout.fields[SIZE_GC_HEAD].offset, 16);
	assert_int_equal(notices.list.count, 0);
	load_3_15("3.15.2t", &layout, &notices);
	assert_string_equal(layout.table, "3.15.2t");
	assert_false(layout.borrowed);
	assert_true(layout.from_headers);
	assert_int_equal(layout.fields[SIZE_GC_HEAD].offset, 0); /* no object has one */
	assert_int_equal(layout.fields[SIZE_OBJECT].offset, 32);
	assert_int_equal(notices.list.count, 1);
	assert_int_equal(notices.list.items[0].kind, NOTICE_LAYOUT_FROM_HEADERS);
	notices_deinit(&notices);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_keep_fields_inside_structures),
		cmocka_unit_test(tables_fit_by_minor_version),
		cmocka_unit_test(constants_follow_the_version),
		cmocka_unit_test(takes_the_offsets_of_the_target),
		cmocka_unit_test(refuses_offsets_outside_of_structures),
		cmocka_unit_test(recognises_debug_offsets),
		cmocka_unit_test(says_that_a_table_is_of_headers),
	};

	return RUN_TESTS(tests);
}
