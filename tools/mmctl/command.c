/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line. Options of a verb are the rows of verbs.def that it names and the GLOBAL ones; they may stand
 * before, between and after its operands. What the daemon knows better (names of managers, pools, sites) is left to it.
 */
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LONG = 0x100 };			/* getopt's value of option i is LONG + i */

static enum exit_code __attribute__((format(printf, 2, 3))) usage(struct command *cmd, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(cmd->error, sizeof cmd->error, format, ap);
	va_end(ap);
	return RC_USAGE;
}

/* ---- values ---- */

/* A number and the rest of the text. Only digits may begin it, so no sign, no space, no hex, no "inf". */
static bool number_of(const char *text, double *ret, const char **ret_rest)
{
	char *end;

	if (!(*text >= '0' && *text <= '9') || (text[0] == '0' && (text[1] | 0x20) == 'x'))
		return false;
	*ret = strtod(text, &end);
	*ret_rest = end;
	return isfinite(*ret);
}

static bool whole_of(const char *text, uint64_t *ret, const char **ret_rest)
{
	char *end;

	if (!(*text >= '0' && *text <= '9'))
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	*ret_rest = end;
	return !errno && *ret <= INT64_MAX;
}

bool command_bytes(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	const char *rest, *unit;
	uint64_t value, factor = 1;

	if (!whole_of(text, &value, &rest))
		return false;
	if (*rest && (unit = memchr(units, *rest & ~0x20, 4))) {
		factor = UINT64_C(1) << 10 * (unit - units + 1);
		rest++;
		rest += strncmp(rest, "iB", 2) ? 0 : 2;
	}
	rest += *rest == 'B';
	if (*rest || value > INT64_MAX / factor)
		return false;
	*ret = value * factor;
	return true;
}

bool command_age(const char *text, double *ret)
{
	static const char units[] = "smhd";
	static const double seconds[] = { 1, 60, 3600, 86400 };
	const char *rest, *unit;
	double value;

	if (!number_of(text, &value, &rest))
		return false;
	if (*rest && (unit = strchr(units, *rest))) {
		value *= seconds[unit - units];
		rest++;
	}
	if (*rest || value > 1e12)
		return false;
	*ret = value;
	return true;
}

/* ---- parameters ---- */

static enum exit_code set_param(struct command *cmd, const char *what, const char *param, struct json_object *value)
{
	struct json_object *before = NULL;
	bool same = json_object_object_get_ex(cmd->params, param, &before) && json_object_equal(before, value);

	if (before && !same) {
		json_object_put(value);
		return usage(cmd, "%s: the %s is %s already", what, param, json_object_get_string(before));
	}
	json_object_object_add(cmd->params, param, value);
	return RC_OK;
}

static struct json_object *age_of(const char *text)
{
	double age;

	if (!command_age(text, &age))
		return NULL;
	return age == floor(age) ? json_object_new_int64((int64_t)age) : json_object_new_double(age);
}

/* An option's text as the parameter's value, or NULL with *ret_allowed. */
static struct json_object *value_of(const struct option_row *row, const char *text, const char **ret_allowed)
{
	const char *rest;
	uint64_t n;

	switch (row->how) {
	case FIXED:
		return json_object_new_string(row->value);
	case NUMBER:
		*ret_allowed = "a whole number";
		return whole_of(text, &n, &rest) && !*rest ? json_object_new_int64((int64_t)n) : NULL;
	case BYTES:
		*ret_allowed = "bytes, as 64, 4K or 2M";
		return command_bytes(text, &n) ? json_object_new_int64((int64_t)n) : NULL;
	case AGE:
		*ret_allowed = "a time, as 90, 15m, 2h or 7d";
		return age_of(text);
	case WORD:
		*ret_allowed = row->value ? row->value : "not empty";
		if (!*text || (row->value && !word_in(row->value, text, strlen(text))))
			return NULL;
		return json_object_new_string(text);
	default:
		return NULL;
	}
}

static enum exit_code set_output(struct command *cmd, const char *text)
{
	static const char *const names[] = { [TABLE] = "table", [JSON] = "json", [CSV] = "csv", [NDJSON] = "ndjson" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (!strcmp(names[i], text)) {
			cmd->format = (enum format)i;
			return RC_OK;
		}
	return usage(cmd, "--output: `%s` is none of table, json, csv, ndjson", text);
}

static enum exit_code set_number(struct command *cmd, enum option_id id, const char *text)
{
	const char *rest;

	if (id == O_LIMIT) {
		if (!whole_of(text, &cmd->limit, &rest) || *rest || !cmd->limit)
			return usage(cmd, "--limit: `%s` is no whole number from 1 on", text);
	} else if (!number_of(text, &cmd->timeout, &rest) || *rest || cmd->timeout < 0.001 || cmd->timeout > 1e6) {
		return usage(cmd, "--timeout: `%s` is no number of seconds, 0.001 to 1000000", text);
	}
	return RC_OK;
}

static enum exit_code set_option(struct command *cmd, enum option_id id, const char *text)
{
	const struct option_row *row = &option_rows[id];
	const char *allowed = "";
	struct json_object *value;
	char what[40];

	if (!text)
		text = "";			/* takes no argument */
	cmd->given[id] = text;
	if (id == O_OUTPUT)
		return set_output(cmd, text);
	if (id == O_LIMIT || id == O_TIMEOUT)
		return set_number(cmd, id, text);
	if (id == O_SOCKET && !*text)
		return usage(cmd, "--socket: a path is missing");
	if (row->how == GLOBAL || row->how == MARK)
		return RC_OK;
	snprintf(what, sizeof what, "--%s", row->name);
	value = value_of(row, text, &allowed);
	if (!value)
		return usage(cmd, "%s: `%s` is not what is allowed: %s", what, text, allowed);
	return set_param(cmd, what, row->param, value);
}

static enum exit_code set_operand(struct command *cmd, const struct operand *op, const char *text)
{
	if (!*text || (op->allowed && !word_in(op->allowed, text, strlen(text))))
		return usage(cmd, "`%s` is not %s", text, op->metavar);
	return op->param ? set_param(cmd, text, op->param, json_object_new_string(text)) : RC_OK;
}

/* ---- getopt ---- */

struct getopt_table {
	char letters[2 * OPTIONS_END + 3];
	struct option longs[OPTIONS_END + 1];
};

static void add_option(struct getopt_table *t, enum option_id id, size_t at)
{
	const struct option_row *row = &option_rows[id];
	size_t len = strlen(t->letters);

	t->longs[at].name = row->name;
	t->longs[at].has_arg = row->metavar ? required_argument : no_argument;
	t->longs[at].val = LONG + (int)id;
	if (row->letter)
		snprintf(t->letters + len, sizeof t->letters - len, "%c%s", row->letter, row->metavar ? ":" : "");
}

/* The GLOBAL options and those of the verb, if there is one yet. '+': stop at the first word, which is the verb, or the
 * program. */
static void build_table(struct getopt_table *t, const struct verb *verb)
{
	size_t at = 0;

	*t = (struct getopt_table){ 0 };
	snprintf(t->letters, sizeof t->letters, "%s", verb && !verb_runs(verb) ? ":" : "+:");
	for (int id = O_NONE + 1; id < OPTIONS_END; id++)
		if (option_rows[id].how == GLOBAL)
			add_option(t, (enum option_id)id, at++);
	for (size_t i = 0; verb && i < OPTIONS_MAX && verb->options[i]; i++)
		add_option(t, verb->options[i], at++);
}

static enum option_id option_of(int c)
{
	for (int id = O_NONE + 1; c < LONG && id < OPTIONS_END; id++)
		if (option_rows[id].letter == c)
			return (enum option_id)id;
	return c < LONG ? O_NONE : (enum option_id)(c - LONG);
}

/* `optind` is past the word that getopt did not like; an unknown letter may stand inside a word. */
static enum exit_code bad_option(struct command *cmd, int c, char **argv)
{
	const char *word = argv[optind - 1];

	if (c == ':' && optopt >= LONG)
		return usage(cmd, "--%s: an argument is missing", option_rows[option_of(optopt)].name);
	if (c == ':')
		return usage(cmd, "-%c: an argument is missing", optopt);
	if (optopt >= LONG)
		return usage(cmd, "--%s takes no argument", option_rows[option_of(optopt)].name);
	if (optopt)
		return usage(cmd, "unknown option -%c", optopt);
	return usage(cmd, "unknown or ambiguous option %s", word);
}

static enum exit_code parse_options(struct command *cmd, int argc, char **argv, const struct verb *verb)
{
	struct getopt_table table;
	enum exit_code code;

	build_table(&table, verb);
	opterr = 0;
	optind = 0;
	for (int c; (c = getopt_long(argc, argv, table.letters, table.longs, NULL)) != -1;) {
		if (c == '?' || c == ':')
			return bad_option(cmd, c, argv);
		code = set_option(cmd, option_of(c), optarg);
		if (code)
			return code;
	}
	return RC_OK;
}

/* ---- the verb ---- */

enum verb_id command_verb(char *const *words, int count, int *ret_words)
{
	char two[64];

	for (int id = 0; id < VERBS_END && count > 0; id++) {
		*ret_words = strchr(verbs[id].words, ' ') ? 2 : 1;
		if (*ret_words > count)
			continue;
		if (*ret_words == 1)
			snprintf(two, sizeof two, "%s", words[0]);
		else
			snprintf(two, sizeof two, "%s %s", words[0], words[1]);
		if (!strcmp(two, verbs[id].words))
			return (enum verb_id)id;
	}
	*ret_words = 0;
	return VERBS_END;
}

/* Number of letters to insert, delete or replace: small words only. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[32], diagonal, left;
	size_t len = strlen(b);

	if (len >= 32)
		return UINT_MAX;
	for (unsigned j = 0; j <= len; j++)
		row[j] = j;
	for (unsigned i = 1; *a; a++, i++) {
		diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= len; j++) {
			left = row[j - 1] < row[j] ? row[j - 1] + 1 : row[j] + 1;
			diagonal += *a != b[j - 1];
			diagonal = diagonal < left ? diagonal : left;
			left = row[j];
			row[j] = diagonal;
			diagonal = left;
		}
	}
	return row[len];
}

/* "manager" alone, "manager frob", "stat": say what was meant. */
static enum exit_code no_verb(struct command *cmd, char *const *words, int count)
{
	size_t len = strlen(words[0]);
	const char *near = NULL;
	char list[128] = "";
	unsigned best = 3, far;

	for (int id = 0; id < VERBS_END; id++) {
		const char *name = verbs[id].words;
		size_t at = strlen(list);

		if (!strncmp(name, words[0], len) && name[len] == ' ')
			snprintf(list + at, sizeof list - at, "%s%s", at ? ", " : "", name + len + 1);
	}
	if (*list)
		return usage(cmd, "%s%s%.24s: after it comes one of: %s", words[0], count > 1 ? " " : "",
			     count > 1 ? words[1] : "", list);
	for (int id = 0; id < VERBS_END; id++) {
		far = len >= 3 && !strncmp(verbs[id].words, words[0], len) ? 1 : distance(words[0], verbs[id].words);
		if (far < best) {
			best = far;
			near = verbs[id].words;
		}
	}
	if (near)
		return usage(cmd, "no verb `%.64s`; did you mean `%s`?", words[0], near);
	return usage(cmd, "no verb `%.64s`", words[0]);
}

static enum exit_code parse_operands(struct command *cmd, const struct verb *verb, char **words, int count)
{
	enum exit_code code;
	int i = 0;

	for (; i < OPERANDS_MAX && verb->operands[i]; i++) {
		const struct operand *op = &operands[verb->operands[i]];

		if (i >= count && !op->optional)
			return usage(cmd, "%s: %s is missing", verb->words, op->metavar);
		if (i >= count)
			return RC_OK;
		cmd->operand[i] = words[i];
		code = set_operand(cmd, op, words[i]);
		if (code)
			return code;
	}
	return i < count ? usage(cmd, "%s: one word too many: `%s`", verb->words, words[i]) : RC_OK;
}

/* `help VERB…`: its topic may have two words. */
static int help_words(const struct verb *verb, int count) { return verb == &verbs[V_help] && count == 2 ? 1 : count; }

enum exit_code command_parse(int argc, char **argv, struct command *ret_cmd)
{
	struct command *cmd = ret_cmd;
	enum exit_code code;
	int words;

	*cmd = (struct command){ .verb = VERBS_END, .params = json_object_new_object() };
	code = parse_options(cmd, argc, argv, NULL);
	if (code || cmd->given[O_HELP] || cmd->given[O_VERSION])
		return code;
	if (optind == argc)
		return usage(cmd, "a verb is missing");
	argv += optind;
	argc -= optind;
	cmd->verb = command_verb(argv, argc, &words);
	if (cmd->verb == VERBS_END)
		return no_verb(cmd, argv, argc);
	argv += words - 1;		/* getopt takes its argv[0] for the program */
	argc -= words - 1;
	code = parse_options(cmd, argc, argv, &verbs[cmd->verb]);
	if (code || cmd->given[O_HELP] || cmd->given[O_VERSION])
		return code;
	words = help_words(&verbs[cmd->verb], argc - optind);
	if (verb_runs(&verbs[cmd->verb]) && words) {
		cmd->program = argv + optind;
		words = 1;
	}
	if (words < argc - optind && !cmd->program)
		cmd->operand[1] = argv[optind + 1];
	return parse_operands(cmd, &verbs[cmd->verb], argv + optind, words);
}

void command_free(struct command *cmd)
{
	json_object_put(cmd->params);
	cmd->params = NULL;
}
