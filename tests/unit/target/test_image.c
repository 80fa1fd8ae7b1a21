/* SPDX-License-Identifier: MIT */
#include "../unit.h"

static const uint8_t bytes[64] = "0123456789abcdef0123456789abcde";

static void looks_up_at_borders(void **state)
{
	struct image image = { 0 };
	struct gaps gaps = { 0 };
	uint64_t room;

	(void)state;
	add_segment(&image, 200, 50, NULL);
	add_segment(&image, 100, 16, bytes);
	add_segment(&image, 116, 16, bytes + 16); /* follows in the file too: one run */
	add_segment(&image, 132, 16, bytes + 16); /* does not */
	assert_true(image_build(&image, &gaps));
	assert_int_equal(image.segments.count, 4);
	assert_int_equal(image.runs.count, 2);
	assert_null(image_at(&image, 99, 1));
	assert_ptr_equal(image_at(&image, 100, 32), bytes);
	assert_null(image_at(&image, 100, 33));
	assert_ptr_equal(image_at(&image, 132, 16), bytes + 16);
	assert_null(image_at(&image, 148, 1));
	assert_null(image_at(&image, 200, 1));
	assert_null(image_at(&image, 140, UINT64_MAX));
	assert_ptr_equal(image_room(&image, 131, &room), bytes + 31);
	assert_int_equal(room, 1);
	assert_null(image_segment(&image, 199));
	assert_int_equal(image_segment(&image, 249)->start, 200);
	assert_null(image_segment(&image, 250));
	assert_int_equal(image_segment_after(&image, 148)->start, 200);
	assert_null(image_segment_after(&image, 250));
	assert_int_equal(gaps.kinds[GAP_SEGMENT_OVERLAP].count, 0);
	image_deinit(&image);
}

static void knows_what_was_mapped(void **state)
{
	struct image image = { 0 };
	struct gaps gaps = { 0 };

	(void)state;
	add_segment(&image, 100, 16, bytes);
	add_segment(&image, 116, 16, NULL);
	assert_true(image_build(&image, &gaps));
	assert_true(image_maps(&image, 100, 32));
	assert_true(image_maps(&image, 110, 20));
	assert_false(image_maps(&image, 100, 33));
	assert_false(image_maps(&image, 99, 2));
	assert_false(image_maps(&image, 101, UINT64_MAX));
	image_deinit(&image);
}

static void cuts_overlaps(void **state)
{
	struct image image = { 0 };
	struct gaps gaps = { 0 };
	uint64_t word;

	(void)state;
	add_segment(&image, 100, 32, bytes);
	add_segment(&image, 104, 8, bytes);  /* inside */
	add_segment(&image, 116, 32, bytes); /* reaches over the end */
	assert_true(image_build(&image, &gaps));
	assert_int_equal(image.segments.count, 2);
	assert_int_equal(image.segments.items[1].start, 132);
	assert_int_equal(image.segments.items[1].end, 148);
	assert_true(image_u64(&image, 132, &word));
	assert_memory_equal(&word, bytes + 16, 8);
	assert_int_equal(gaps.kinds[GAP_SEGMENT_OVERLAP].count, 2);
	assert_int_equal(gaps.kinds[GAP_SEGMENT_OVERLAP].bytes, 24);
	image_deinit(&image);
}

static void reads_strings_that_end(void **state)
{
	struct image image = { 0 };
	struct gaps gaps = { 0 };
	size_t length;

	(void)state;
	add_segment(&image, 100, 32, bytes);
	add_segment(&image, 200, 31, bytes);
	assert_true(image_build(&image, &gaps));
	assert_string_equal(image_string(&image, 110, 100, &length), "abcdef0123456789abcde");
	assert_int_equal(length, 21);
	assert_null(image_string(&image, 110, 21, &length));
	assert_non_null(image_string(&image, 110, 22, &length));
	assert_null(image_string(&image, 200, 100, &length)); /* its end is not in the image */
	image_deinit(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looks_up_at_borders),
		cmocka_unit_test(knows_what_was_mapped),
		cmocka_unit_test(cuts_overlaps),
		cmocka_unit_test(reads_strings_that_end),
	};

	return RUN_TESTS(tests);
}
