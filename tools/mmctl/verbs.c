/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of verbs.h, filled from verbs.def. */
#include "verbs.h"

#include <string.h>

const struct operand operands[OPERANDS_END] = {
#define OPERAND(id, metavar, param, allowed, optional, help) [A_##id] = { metavar, param, allowed, optional, help },
#include "verbs.def"
};

const struct option_row option_rows[OPTIONS_END] = {
#define OPTION(id, letter, name, metavar, param, how, value, help) \
	[O_##id] = { letter, name, metavar, param, how, value, help },
#include "verbs.def"
};

const struct verb verbs[VERBS_END] = {
#define NONE 0
#define OPERANDS(...) { __VA_ARGS__ }
#define OPTIONS(...) { __VA_ARGS__ }
#define VERB(id, words, method, operands, options, summary, details, example) \
	[V_##id] = { words, method, operands, options, summary, details, example },
#include "verbs.def"
};

const struct exit_row exit_rows[] = {
#define EXITS(id, code, text) { #id, code, text },
#include "verbs.def"
};
const size_t exit_rows_count = sizeof exit_rows / sizeof exit_rows[0];

bool word_in(const char *words, const char *word, size_t len)
{
	for (const char *end; *words; words = end + (*end == ' ')) {
		end = strchrnul(words, ' ');
		if ((size_t)(end - words) == len && !memcmp(words, word, len))
			return true;
	}
	return false;
}
