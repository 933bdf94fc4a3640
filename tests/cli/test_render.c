/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <locale.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "render.h"

static const struct column columns[] = {
	{ .head = "NAME", .member = "name", .kind = TEXT_OF, .elastic = true },
	{ .head = "N", .member = "n", .kind = COUNT_OF },
	{ .head = "HIDDEN", .member = "hidden", .kind = TEXT_OF, .may_lack = true, .hidden = true },
	{ .head = "SITE", .member = "site", .kind = SITE_OF, .may_lack = true, .elastic = true },
	{ 0 },
};

static char *out;
static size_t out_len;
static struct style style;
static struct render r;

static void start(enum format format, unsigned width)
{
	setlocale(LC_CTYPE, "C.UTF-8");
	style = (struct style){ .format = format, .terminal = width > 0, .width = width };
	style.out = open_memstream(&out, &out_len);
	render_open(&r, &style, "rows", columns);
}

static bool row(const char *json)
{
	struct json_object *o = json_tokener_parse(json);
	bool good = render_row(&r, o);

	json_object_put(o);
	return good;
}

static const char *end(void)
{
	render_close(&r, NULL);
	fclose(style.out);
	return out;
}

Test(render, numbers_stand_right_and_the_last_column_is_not_padded)
{
	start(TABLE, 0);
	cr_assert(row("{\"name\":\"a\",\"n\":1}"));
	cr_assert(row("{\"name\":null,\"n\":1000,\"site\":{\"file\":\"x.c\",\"line\":7}}"));
	cr_assert_str_eq(end(), "NAME     N  SITE\na        1  -\n-     1000  x.c:7\n");
}

Test(render, a_narrow_terminal_takes_from_the_widest)
{
	start(TABLE, 30);
	cr_assert(row("{\"name\":\"abcdefghijklmnopqrstuvwxyz\",\"n\":1,"
		      "\"site\":{\"file\":\"some/where/x.c\",\"line\":7}}"));
	cr_assert_str_eq(end(), "NAME          N  SITE\nabcdefghijk\xe2\x80\xa6  1  \xe2\x80\xa6/where/x.c:7\n");
}

Test(render, a_wrapping_column_loses_nothing)
{
	static const struct column wraps[] = {
		{ .head = "NAME", .member = "name", .kind = TEXT_OF },
		{ .head = "LEFT OUT", .member = "name", .kind = TEXT_OF, .spare = 1 },
		{ .head = "ADVICE", .member = "advice", .kind = TEXT_OF, .elastic = 10, .wraps = true },
		{ 0 },
	};

	start(TABLE, 16);
	render_open(&r, &style, "rows", wraps);
	cr_assert(row("{\"name\":\"a\",\"advice\":\"for all who wait\"}"));
	cr_assert(row("{\"name\":\"b\",\"advice\":\"fits\"}"));
	cr_assert(row("{\"name\":\"c\",\"advice\":\"onewordonly1 \u00e4\u00e4 \u00e4\u00e4\u00e4\u00e4 end\"}"));
	cr_assert_str_eq(end(), "NAME  ADVICE\n"
				"a     for all\n"
				"      who wait\n"
				"b     fits\n"
				"c     onewordonl\n"
				"      y1 \xc3\xa4\xc3\xa4 \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\n"
				"      end\n");
}

Test(render, widths_grow_from_block_to_block_but_the_head_stands_once)
{
	size_t heads = 0, lines = 0;

	start(TABLE, 0);
	for (int i = 0; i < 3 * TABLE_BLOCK; i++)
		cr_assert(row(i < TABLE_BLOCK ? "{\"name\":\"a\",\"n\":1}" : "{\"name\":\"a longer name\",\"n\":1}"));
	end();
	for (const char *p = out; (p = strstr(p, "NAME")); p++)
		heads++;
	for (const char *p = out; (p = strchr(p, '\n')); p++)
		lines++;
	cr_assert_eq(heads, 1);
	cr_assert_eq(lines, 1 + 3 * TABLE_BLOCK);
	cr_assert(strstr(out, "\na     1  -\n") && strstr(out, "\na longer name  1  -\n"));
}

Test(render, memory_is_that_of_one_block)
{
	struct json_object *o = json_tokener_parse("{\"name\":\"some name of some length\",\"n\":1}");
	size_t after_two = 0, after_all;

	style = (struct style){ .format = TABLE, .out = fopen("/dev/null", "w") };
	render_open(&r, &style, "rows", columns);
	for (int i = 0; i < 100 * TABLE_BLOCK; i++) {
		cr_assert(render_row(&r, o));
		if (i == 2 * TABLE_BLOCK)
			after_two = mallinfo2().uordblks;
	}
	after_all = mallinfo2().uordblks;
	cr_assert_leq(after_all, after_two + 4096, "%zu bytes, then %zu", after_two, after_all);
	render_close(&r, NULL);
	fclose(style.out);
	json_object_put(o);
}

Test(render, a_refused_row_is_named_and_nothing_of_it_is_written)
{
	start(TABLE, 0);
	cr_assert(row("{\"name\":\"a\",\"n\":1}"));
	cr_assert_not(row("{\"name\":\"b\",\"n\":\"x\"}"));
	cr_assert_str_eq(r.error, "rows[1]: `n` is of type string, not a whole number");
	cr_assert_not(row("{\"name\":\"c\",\"n\":1}"), "there is no going on");
	cr_assert_str_eq(end(), "NAME  N  SITE\na     1  -\n");
}

Test(render, json_that_was_not_ended_is_not_whole)
{
	start(JSON, 0);
	cr_assert(row("{\"name\":\"a\",\"n\":1}"));
	render_abandon(&r);
	fclose(style.out);
	cr_assert_str_eq(out, "{\"rows\":[\n{\"name\":\"a\",\"n\":1}");
}

Test(render, big_numbers_keep_their_digits)
{
	start(CSV, 0);
	cr_assert(row("{\"name\":\"a\",\"n\":18446744073709551615}"));
	cr_assert_str_eq(end(), "name,n,hidden,file,line,function,module\na,18446744073709551615,,,,,\n");
}

Test(render, csv_quotes_what_needs_it)
{
	start(CSV, 0);
	cr_assert(row("{\"name\":\"a,b \\\"c\\\"\\nd\",\"n\":1,\"hidden\":\"h\"}"));
	cr_assert_str_eq(end(), "name,n,hidden,file,line,function,module\n\"a,b \"\"c\"\"\nd\",1,h,,,,\n");
}

static const char *const values[] = {
	"null", "true", "-1", "0", "1.5", "1e999", "\"\"", "\"x\"", "[]", "[7]", "[-7]", "[\"x\"]", "[null]", "{}",
	"{\"file\":{}}", "{\"line\":\"x\"}", "{\"pid\":[],\"alive\":1}", "99999999999999999999",
};

/* One column of each kind. */
static const struct column all[] = {
	{ .head = "T", .member = "t", .kind = TEXT_OF, .elastic = true },
	{ .head = "S", .member = "s", .kind = STATE_OF },
	{ .head = "O", .member = "o", .kind = OK_OF },
	{ .head = "C", .member = "c", .kind = COUNT_OF, .other = "w.x", .may_lack = true },
	{ .head = "B", .member = "b", .kind = BYTES_OF },
	{ .head = "N", .member = "n", .kind = NUMBER_OF },
	{ .head = "A", .member = "a", .kind = SECONDS_OF },
	{ .head = "R", .member = "r", .kind = RATE_OF },
	{ .head = "M", .member = "m", .kind = TIME_OF },
	{ .head = "F", .member = "f", .kind = TRUTH_OF },
	{ .head = "W", .member = "w", .kind = WORDS_OF },
	{ .head = "K", .member = "k", .kind = MARK_OF },
	{ .head = "Y", .member = "y", .kind = ANY_OF, .elastic = true },
	{ .head = "I", .member = "i", .kind = SITE_OF, .elastic = true, .other = "t" },
	{ .head = "P", .member = "p", .kind = OWNER_OF, .elastic = true },
	{ .head = "E", .member = "e", .kind = SERIES_OF, .elastic = true },
	{ 0 },
};

static bool shows(struct json_object *o, int form)
{
	bool shown;

	style = (struct style){ .format = (enum format)(form % 4), .terminal = form > 3, .color = form > 3 };
	style.width = form > 3 ? 40 : 0;
	style.out = fopen("/dev/null", "w");
	render_open(&r, &style, "rows", all);
	shown = render_row(&r, o);
	if (shown)
		render_total(&r, "total", o);
	render_close(&r, NULL);
	fclose(style.out);
	return shown;
}

/* Every member replaced by every kind of value, in every form: refused or shown, nothing else. */
Test(render, any_value_anywhere_is_shown_or_refused)
{
	unsigned shown = 0;

	for (const struct column *c = all; c->head; c++)
		for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
			struct json_object *o = json_object_new_object();

			for (const struct column *other = all; other->head; other++)
				json_object_object_add(o, other->member, NULL);
			json_object_object_add(o, c->member, json_tokener_parse(values[v]));
			for (int form = 0; form < 8; form++)
				shown += shows(o, form);
			json_object_put(o);
		}
	cr_assert_geq(shown, 8 * 16, "null will do everywhere");
}
