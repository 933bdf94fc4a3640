/* SPDX-License-Identifier: BSD-2-Clause */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static struct command cmd;

#define PARSE(...) parse((const char *[]){ "mmctl", __VA_ARGS__, NULL })

/* getopt reorders argv and what is given points into it, so the words live until the next call. */
static enum exit_code parse(const char *const *words)
{
	static char *argv[16];
	int argc = 0;

	for (int i = 0; i < 16; i++) {
		free(argv[i]);
		argv[i] = NULL;
	}
	for (; words[argc]; argc++)
		argv[argc] = strdup(words[argc]);
	char *order[16];			/* argv keeps the addresses to free */
	memcpy(order, argv, sizeof order);
	return command_parse(argc, order, &cmd);
}

Test(command, sizes_have_units)
{
	static const struct { const char *text; uint64_t want; } rows[] = {
		{ "0", 0 }, { "64", 64 }, { "64B", 64 }, { "4K", 4096 }, { "4k", 4096 }, { "4KiB", 4096 },
		{ "4KB", 4096 }, { "2M", 2097152 }, { "1G", 1073741824 }, { "1T", 1099511627776 },
		{ "9223372036854775807", INT64_MAX },
	};
	static const char *const wrong[] = { "", "-1", "+1", " 1", "1 ", "K", "4X", "4KK", "4iB", "1.5K", "0x10",
					     "9223372036854775808", "8388608T", "99999999999999999999" };
	uint64_t got;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		cr_assert(command_bytes(rows[i].text, &got) && got == rows[i].want, "%s", rows[i].text);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		cr_assert_not(command_bytes(wrong[i], &got), "%s", wrong[i]);
}

Test(command, ages_have_units)
{
	static const struct { const char *text; double want; } rows[] = {
		{ "0", 0 }, { "90", 90 }, { "90s", 90 }, { "1.5", 1.5 }, { "15m", 900 }, { "2h", 7200 },
		{ "7d", 604800 },
	};
	static const char *const wrong[] = { "", "-1", "soon", "inf", "nan", "5x", "5mm", "0x10", "1e300", " 1" };
	double got;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		cr_assert(command_age(rows[i].text, &got) && got == rows[i].want, "%s", rows[i].text);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		cr_assert_not(command_age(wrong[i], &got), "%s", wrong[i]);
}

Test(command, options_stand_anywhere)
{
	cr_assert_eq(PARSE("-s", "/a", "dump", "--used", "shm", "-o", "csv", "-n5"), RC_OK);
	cr_assert_eq(cmd.verb, V_dump);
	cr_assert_str_eq(cmd.given[O_SOCKET], "/a");
	cr_assert_eq(cmd.format, CSV);
	cr_assert_eq(cmd.limit, 5);
	cr_assert_str_eq(json_object_to_json_string_ext(cmd.params, 0), "{\"state\":\"used\",\"domain\":\"shm\"}");
	command_free(&cmd);
}

Test(command, a_verb_may_have_two_words)
{
	cr_assert_eq(PARSE("manager", "set", "--domain", "pkg", "tlsf"), RC_OK);
	cr_assert_eq(cmd.verb, V_manager_set);
	cr_assert_str_eq(json_object_to_json_string_ext(cmd.params, 0), "{\"domain\":\"pkg\",\"name\":\"tlsf\"}");
	command_free(&cmd);
}

Test(command, what_is_said_twice_must_agree)
{
	cr_assert_eq(PARSE("manager", "set", "tlsf", "pkg", "--domain", "pkg"), RC_OK);
	command_free(&cmd);
	cr_assert_eq(PARSE("manager", "set", "tlsf", "pkg", "--domain", "shm"), RC_USAGE);
	command_free(&cmd);
}

Test(command, after_two_dashes_all_is_an_operand)
{
	cr_assert_eq(PARSE("manager", "set", "--", "--help"), RC_OK);
	cr_assert_null(cmd.given[O_HELP]);
	cr_assert_str_eq(json_object_to_json_string_ext(cmd.params, 0), "{\"name\":\"--help\"}");
	command_free(&cmd);
}

/* What the tables promise to those who read them: parser, help, completion, manual. */
Test(command, every_verb_has_an_example_that_parses)
{
	for (size_t i = 0; i < VERBS_END; i++) {
		char text[128], *argv[16];
		int argc = 0;

		cr_assert(*verbs[i].summary && *verbs[i].example, "%s", verbs[i].words);
		snprintf(text, sizeof text, "%s", verbs[i].example);
		for (char *word = strtok(text, " '"); word && argc < 15; word = strtok(NULL, " '"))
			argv[argc++] = word;
		argv[argc] = NULL;
		cr_assert_str_eq(argv[0], "mmctl");
		cr_assert_eq(command_parse(argc, argv, &cmd), RC_OK, "%s: %s", verbs[i].example, cmd.error);
		cr_assert_eq(cmd.verb, i, "%s is another verb's", verbs[i].example);
		command_free(&cmd);
	}
}

Test(command, long_words_are_no_danger)
{
	static char word[100000];

	memset(word, 'x', sizeof word - 1);
	cr_assert_eq(PARSE(word), RC_USAGE);
	command_free(&cmd);
	cr_assert_eq(PARSE("manager", word), RC_USAGE);
	command_free(&cmd);
	cr_assert_eq(PARSE("dump", word), RC_USAGE);
	command_free(&cmd);
	memset(word, '9', sizeof word - 1);
	cr_assert_eq(PARSE("dump", "pkg", "--min-size", word), RC_USAGE);
	command_free(&cmd);
}
