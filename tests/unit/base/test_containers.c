/* SPDX-License-Identifier: MIT */
#include "../unit.h"
#include "base/error.h"
#include "base/gaps.h"
#include "base/id_map.h"
#include "base/parallel.h"

static void id_map_finds_what_was_put(void **state)
{
	struct id_map map = { 0 };

	(void)state;
	assert_int_equal(id_map_find(&map, 1), ID_NONE);
	assert_false(id_map_put(&map, 0, 1)); /* 0 marks an empty slot */
	for (uint32_t i = 1; i < 100000; i++)
		assert_true(id_map_put(&map, (uint64_t)i << 20, i));
	assert_true(id_map_put(&map, UINT64_MAX, 7));
	assert_true(id_map_put(&map, 1 << 20, 8));
	assert_int_equal(map.count, 100000);
	assert_int_equal(id_map_find(&map, 1 << 20), 8);
	assert_int_equal(id_map_find(&map, UINT64_MAX), 7);
	for (uint32_t i = 2; i < 100000; i++)
		assert_int_equal(id_map_find(&map, (uint64_t)i << 20), i);
	assert_int_equal(id_map_find(&map, 100000ULL << 20), ID_NONE);
	id_map_deinit(&map);
}

static void vectors_grow(void **state)
{
	VECTOR(uint32_t) vector = { 0 };
	size_t capacity = SIZE_MAX / 2;
	void *items = NULL;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t *item = vector_push(&vector);

		if (!item)
			fail_msg("no memory for item %u", i);
		else
			*item = i;
	}
	assert_int_equal(vector.count, 1000);
	assert_int_equal(vector.items[999], 999);
	free(vector.items);
	assert_false(vector_grow(&items, &capacity, capacity, 8)); /* would overflow */
	assert_null(items);
}

static void ranges_do_not_overflow(void **state)
{
	(void)state;
	assert_true(range_holds(16, 32, 16, 16));
	assert_true(range_holds(16, 32, 32, 0));
	assert_false(range_holds(16, 32, 33, 0));
	assert_false(range_holds(16, 32, 15, 1));
	assert_false(range_holds(16, 32, 17, 16));
	assert_false(range_holds(16, 32, 17, UINT64_MAX));
	assert_int_equal(round_up(4096, 4096), 4096);
	assert_int_equal(round_up(4097, 4096), 8192);
	assert_int_equal(round_down(4095, 4096), 0);
}

static void gaps_keep_the_first(void **state)
{
	struct gaps gaps = { 0 }, other = { 0 };
	const struct gap *gap = &gaps.kinds[GAP_POOL_DAMAGED];

	(void)state;
	gap_add(&gaps, GAP_POOL_DAMAGED, 100, 1);
	gap_add(&gaps, GAP_POOL_DAMAGED, 200, 2);
	gap_add(&other, GAP_POOL_DAMAGED, 50, 4);
	gaps_merge(&gaps, &other);
	gaps_merge(&gaps, &(struct gaps){ 0 });
	assert_int_equal(gap->count, 3);
	assert_int_equal(gap->bytes, 7);
	assert_int_equal(gap->first, 50);
}

static void count_items(void *context, unsigned worker, size_t begin, size_t end)
{
	uint8_t *seen = context;

	(void)worker;
	for (size_t i = begin; i < end; i++)
		__atomic_fetch_add(&seen[i], 1, __ATOMIC_RELAXED);
}

static void parallel_loops_do_each_item_once(void **state)
{
	static const size_t counts[] = { 0, 1, 63, 64, 65, 1000 };

	(void)state;
	for (unsigned workers = 1; workers <= 5; workers++) {
		const struct parallel parallel = { .workers = workers };

		for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
			uint8_t seen[1001] = { 0 };

			parallel_for(&parallel, "counting", counts[i], 64, count_items, seen);
			for (size_t j = 0; j < ARRAY_SIZE(seen); j++)
				assert_int_equal(seen[j], j < counts[i]);
		}
	}
}

static void errors_carry_a_hint(void **state)
{
	struct memheap_error *error = error_create(MEMHEAP_PARTIAL, "no %s", "bytes");

	(void)state;
	assert_string_equal(error->message, "no bytes");
	assert_null(error->hint);
	error = error_hint(error_hint(error, "first"), "second %d", 2);
	assert_string_equal(error->hint, "second 2");
	memheap_error_destroy(error);
	memheap_error_destroy(NULL);
	memheap_error_destroy(&error_no_memory);
	assert_ptr_equal(error_hint(&error_no_memory, "none"), &error_no_memory);
	assert_null(error_no_memory.hint);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(id_map_finds_what_was_put),
		cmocka_unit_test(vectors_grow),
		cmocka_unit_test(ranges_do_not_overflow),
		cmocka_unit_test(gaps_keep_the_first),
		cmocka_unit_test(parallel_loops_do_each_item_once),
		cmocka_unit_test(errors_carry_a_hint),
	};

	return RUN_TESTS(tests);
}
