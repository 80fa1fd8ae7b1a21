/* SPDX-License-Identifier: MIT */
#include "../unit.h"
#include "base/strings.h"

static void expect(const char *text, size_t size, const char *kept)
{
	struct strings strings = { 0 };

	assert_string_equal(strings_add(&strings, text, size), kept);
	strings_deinit(&strings);
}

static void keeps_utf8(void **state)
{
	(void)state;
	expect("", 0, "");
	expect("abc", 2, "ab");
	expect("\xC3\xA9", 2, "\xC3\xA9");
	expect("\xE2\x82\xAC", 3, "\xE2\x82\xAC");
	expect("\xF0\x9F\x98\x80", 4, "\xF0\x9F\x98\x80");
	expect("\xF4\x8F\xBF\xBF", 4, "\xF4\x8F\xBF\xBF");
}

static void escapes_the_rest(void **state)
{
	(void)state;
	expect("a\nb", 3, "a\\x0ab");
	expect("\x7F", 1, "\\x7f");
	expect("a\0b", 3, "a\\x00b");
	expect("\xC0\x80", 2, "\\xc0\\x80");                   /* overlong */
	expect("\xE0\x9F\xBF", 3, "\\xe0\\x9f\\xbf");          /* overlong */
	expect("\xED\xA0\x80", 3, "\\xed\\xa0\\x80");          /* a surrogate */
	expect("\xF4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* behind U+10FFFF */
	expect("\xE2\x82", 2, "\\xe2\\x82");                   /* cut off */
	expect("\x80z", 2, "\\x80z");
}

static void keeps_long_and_many(void **state)
{
	enum { LONG = 200000 };
	struct strings strings = { 0 };
	char *text = malloc(LONG);
	const char *first, *kept;

	(void)state;
	memset(text, '\1', LONG);
	first = strings_add(&strings, "first", 5);
	kept = strings_add(&strings, text, LONG);
	assert_int_equal(strlen(kept), 4 * LONG);
	for (int i = 0; i < 20000; i++)
		assert_non_null(strings_format(&strings, "%d", i));
	assert_string_equal(first, "first");
	strings_deinit(&strings);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_utf8),
		cmocka_unit_test(escapes_the_rest),
		cmocka_unit_test(keeps_long_and_many),
	};

	return RUN_TESTS(tests);
}
