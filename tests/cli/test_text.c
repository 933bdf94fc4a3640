/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <locale.h>
#include <math.h>
#include <string.h>

#include "text.h"

static void shown(const char *bytes, size_t len, const char *want, size_t width)
{
	struct text t = { 0 };
	size_t got;

	setlocale(LC_CTYPE, "C.UTF-8");
	got = text_safe(&t, bytes, len);
	cr_assert_str_eq(t.at ? t.at : "", want);
	cr_assert_eq(got, width, "%s: %zu columns, not %zu", want, got, width);
	text_free(&t);
}

#define SHOWN(bytes, want, width) shown(bytes, sizeof bytes - 1, want, width)

Test(text, what_a_terminal_would_obey_is_spelled_out)
{
	SHOWN("plain", "plain", 5);
	SHOWN("a\033[2Jb", "a\\x1b[2Jb", 9);
	SHOWN("\n\t\r\0\x7f", "\\n\\t\\x0d\\x00\\x7f", 16);
	SHOWN("\xc2\x9b", "\\x9b", 4);				/* CSI of C1 */
	SHOWN("\xe2\x80\xae\xe2\x81\xa6", "\\u{202e}\\u{2066}", 16);	/* directions */
	SHOWN("\xef\xbb\xbf", "\\u{feff}", 8);
}

Test(text, what_is_no_utf8_is_spelled_out_byte_by_byte)
{
	SHOWN("\xff", "\\xff", 4);
	SHOWN("\xc0\x80", "\\xc0\\x80", 8);			/* overlong */
	SHOWN("\xed\xa0\x80", "\\xed\\xa0\\x80", 12);		/* surrogate */
	SHOWN("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80", 16);	/* beyond U+10FFFF */
	SHOWN("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80", 16);
	SHOWN("\xe2\x82", "\\xe2\\x82", 8);			/* cut */
	SHOWN("a\xe2", "a\\xe2", 5);
}

Test(text, widths_are_columns_not_bytes)
{
	SHOWN("\xc3\xa4", "\xc3\xa4", 1);
	SHOWN("\xe6\xbc\xa2\xe5\xad\x97", "\xe6\xbc\xa2\xe5\xad\x97", 4);
	cr_assert_eq(text_fit("abc", 3, 2), 2);
	cr_assert_eq(text_fit("\xe6\xbc\xa2\xe5\xad\x97", 6, 3), 3);	/* the second would need a fourth column */
	cr_assert_eq(text_fit("", 0, 3), 0);
}

Test(text, bytes_take_six_columns_at_most)
{
	static const struct { double bytes; const char *want; } rows[] = {
		{ 0, "0" }, { 1, "1" }, { 1023, "1023" }, { 1024, "1.0K" }, { 1536, "1.5K" }, { 1048575, "1.0M" },
		{ 1023.94 * 1024, "1023.9K" }, { 1048576, "1.0M" }, { 1099511627776.0, "1.0T" },
		{ 18446744073709551615.0, "16.0E" },
	};
	char buf[32];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		cr_assert_str_eq(text_bytes(rows[i].bytes, buf), rows[i].want);
}

Test(text, seconds_become_what_people_say)
{
	static const struct { double seconds; const char *want; } rows[] = {
		{ 0, "0s" }, { 0.25, "0.2s" }, { 9.94, "9.9s" }, { 9.99, "10s" }, { 12.5, "13s" }, { 59.6, "1m00s" },
		{ 60, "1m00s" }, { 3599, "59m59s" }, { 3600, "1h00m" }, { 86399, "23h59m" }, { 86400, "1d00h" },
		{ 1e9, "11574d01h" }, { 1e30, "1e+30s" }, { HUGE_VAL, "infs" },
	};
	char buf[32];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		cr_assert_str_eq(text_seconds(rows[i].seconds, buf), rows[i].want);
}
