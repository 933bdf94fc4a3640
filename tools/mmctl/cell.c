/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One value of a row: checked against its column, then written for a table or for CSV.
 *
 * A table's null is `-`, CSV's is an empty field. Numbers keep the digits that the daemon sent, unless a person reads.
 */
#include "render.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COMMAND_MAX = 20 };

bool json_at(struct json_object *object, const char *path, struct json_object **ret)
{
	char name[64];
	const char *dot;

	while ((dot = strchr(path, '.')) && (size_t)(dot - path) < sizeof name) {
		memcpy(name, path, (size_t)(dot - path));
		name[dot - path] = 0;
		if (!json_object_is_type(object, json_type_object) || !json_object_object_get_ex(object, name, &object))
			return false;
		path = dot + 1;
	}
	return json_object_is_type(object, json_type_object) && json_object_object_get_ex(object, path, ret);
}

/* The member, or NULL when it is null or absent. */
static struct json_object *member(struct json_object *row, const char *path)
{
	struct json_object *value = NULL;

	return json_at(row, path, &value) ? value : NULL;
}

/* ---- what a value must be ---- */

static bool whole(struct json_object *v)
{
	return json_object_is_type(v, json_type_int) && json_object_get_int64(v) >= 0;
}

static bool number(struct json_object *v)
{
	return json_object_is_type(v, json_type_int) || json_object_is_type(v, json_type_double);
}

static bool text_or_null(struct json_object *v) { return !v || json_object_is_type(v, json_type_string); }

static bool site(struct json_object *v)
{
	struct json_object *line = member(v, "line");

	return json_object_is_type(v, json_type_object) && text_or_null(member(v, "file")) &&
	       text_or_null(member(v, "function")) && text_or_null(member(v, "module")) &&
	       text_or_null(member(v, "address")) && text_or_null(member(v, "stack")) && (!line || whole(line));
}

static bool owner(struct json_object *v)
{
	struct json_object *pid = member(v, "pid"), *alive = member(v, "alive");

	return json_object_is_type(v, json_type_object) && text_or_null(member(v, "command")) && (!pid || whole(pid)) &&
	       (!alive || json_object_is_type(alive, json_type_boolean));
}

static bool string(struct json_object *v) { return json_object_is_type(v, json_type_string); }

static bool array(struct json_object *v, bool (*is)(struct json_object *))
{
	if (!json_object_is_type(v, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(v); i++)
		if (!is(json_object_array_get_idx(v, i)))
			return false;
	return true;
}

static bool words(struct json_object *v) { return array(v, string); }
static bool series(struct json_object *v) { return array(v, whole); }

static bool truth(struct json_object *v) { return json_object_is_type(v, json_type_boolean); }
static bool mark(struct json_object *v) { return truth(v) || string(v) || words(v); }
static bool any(struct json_object *v) { (void)v; return true; }

static const struct { bool (*is)(struct json_object *); const char *name; } wanted[] = {
	[TEXT_OF] = { string, "a string" },
	[COMMAND_OF] = { string, "a string" },
	[STATE_OF] = { string, "a string" },
	[OK_OF] = { truth, "true or false" },
	[COUNT_OF] = { whole, "a whole number" },
	[BYTES_OF] = { whole, "a whole number" },
	[NUMBER_OF] = { number, "a number" },
	[SECONDS_OF] = { number, "a number" },
	[RATE_OF] = { number, "a number" },
	[TIME_OF] = { number, "a number" },
	[TRUTH_OF] = { truth, "true or false" },
	[MARK_OF] = { mark, "a mark" },
	[ANY_OF] = { any, "a value" },
	[WORDS_OF] = { words, "an array of strings" },
	[SERIES_OF] = { series, "an array of whole numbers" },
	[SITE_OF] = { site, "a site {file, function, line, module}" },
	[OWNER_OF] = { owner, "an owner {pid, command, alive}" },
};

static bool check_one(const struct column *c, const char *path, struct json_object *row, char *error, size_t bytes)
{
	struct json_object *value = NULL;

	if (!json_at(row, path, &value)) {
		if (c->may_lack)
			return true;
		snprintf(error, bytes, "`%s` is missing", path);
		return false;
	}
	if (!value || wanted[c->kind].is(value))
		return true;
	snprintf(error, bytes, "`%s` is of type %s, not %s", path, json_type_to_name(json_object_get_type(value)),
		 wanted[c->kind].name);
	return false;
}

bool cell_check(const struct column *c, struct json_object *row, char *error, size_t bytes)
{
	struct column other = *c;

	if (c->kind == SITE_OF)
		other.kind = TEXT_OF;
	return check_one(c, c->member, row, error, bytes) &&
	       (!c->other || check_one(&other, c->other, row, error, bytes));
}

/* ---- a table's cell ---- */

bool cell_right(const struct column *c)
{
	return c->kind == COUNT_OF || c->kind == BYTES_OF || c->kind == NUMBER_OF || c->kind == SECONDS_OF ||
	       c->kind == RATE_OF;
}

static size_t plain(struct text *to, const char *s)
{
	size_t len = strlen(s);

	text_add(to, s, len);
	return len;
}

static size_t safe(struct text *to, struct json_object *s)
{
	int len = json_object_get_string_len(s);

	return len ? text_safe(to, json_object_get_string(s), (size_t)len) : plain(to, "\"\"");
}

static size_t raw(struct text *to, struct json_object *v)
{
	const char *s = json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);

	return text_safe(to, s, strlen(s));
}

/* "/usr/sbin/named -u bind -f …": "named -u bind -f …", and no more of it than COMMAND_MAX columns. */
static size_t table_command(struct text *to, struct json_object *v)
{
	const char *s = json_object_get_string(v), *dir = memrchr(s, '/', strcspn(s, " "));
	size_t from = to->len, width, at;

	if (dir && dir[1] && dir[1] != ' ')
		s = dir + 1;
	width = text_safe(to, s, strlen(s));
	if (!to->failed && width > COMMAND_MAX) {
		at = text_fit(to->at + from, to->len - from, COMMAND_MAX - 1);
		to->len = from + at;
		width = COMMAND_MAX - 1 + plain(to, TEXT_CUT) - (strlen(TEXT_CUT) - 1);
	}
	return width ? width : plain(to, "\"\"");
}

static size_t table_bytes(struct text *to, struct json_object *v, bool human)
{
	char buf[32];

	return human ? plain(to, text_bytes((double)json_object_get_uint64(v), buf)) : raw(to, v);
}

static size_t table_rate(struct text *to, struct json_object *v, bool human)
{
	double rate = json_object_get_double(v);
	char buf[32];

	if (!human)
		return raw(to, v);
	return plain(to, rate < 0 ? "-" : "") + plain(to, text_bytes(rate < 0 ? -rate : rate, buf)) + plain(to, "/s");
}

static size_t table_time(struct text *to, struct json_object *v, bool human)
{
	double seconds = json_object_get_double(v);
	char buf[32];
	struct tm tm;

	if (!human || !(seconds >= 0 && seconds < 253402300800.0) || !localtime_r(&(time_t){ (time_t)seconds }, &tm))
		return raw(to, v);
	strftime(buf, sizeof buf, "%F %T", &tm);
	return plain(to, buf);
}

static size_t table_words(struct text *to, struct json_object *v)
{
	size_t width = 0, count = json_object_array_length(v);

	if (!count)
		return plain(to, "-");
	for (size_t i = 0; i < count; i++)
		width += (i ? plain(to, ", ") : 0) + safe(to, json_object_array_get_idx(v, i));
	return width;
}

static size_t table_series(struct text *to, struct json_object *v, bool human)
{
	size_t width = 0;

	for (size_t i = 0; i < json_object_array_length(v); i++)
		width += (i ? plain(to, " ") : 0) + table_bytes(to, json_object_array_get_idx(v, i), human);
	return width ? width : plain(to, "-");
}

/* file:line function; where the file is not known what is known: function, module, address */
static size_t table_site(struct text *to, struct json_object *v)
{
	static const char *const names[] = { "function", "module", "address" };
	struct json_object *file = member(v, "file"), *line = member(v, "line"), *address = member(v, "address"), *part;
	size_t width = 0;

	if (file) {
		width += safe(to, file);
		if (line)
			width += plain(to, ":") + raw(to, line);
		else if (address)
			width += plain(to, "+") + safe(to, address);
	}
	for (size_t i = 0; i < (file ? 1 : 3); i++)
		if ((part = member(v, names[i])))
			width += plain(to, width ? " " : "") + safe(to, part);
	return width ? width : plain(to, "-");
}

static size_t table_owner(struct text *to, struct json_object *v)
{
	struct json_object *pid = member(v, "pid"), *command = member(v, "command"), *alive = member(v, "alive");
	size_t width = pid ? raw(to, pid) : plain(to, "?");

	if (command)
		width += plain(to, " ") + table_command(to, command);
	if (alive && !json_object_get_boolean(alive))
		width += plain(to, " (dead)");
	return width;
}

static size_t table_one(const struct column *c, struct json_object *v, bool human, struct text *to)
{
	char buf[32];

	if (!v)
		return plain(to, c->kind == OK_OF ? "unknown" : "-");
	switch (c->kind) {
	case COMMAND_OF:
		return table_command(to, v);
	case TEXT_OF:
	case STATE_OF:
		return safe(to, v);
	case OK_OF:
		return plain(to, json_object_get_boolean(v) ? "ok" : "damaged");
	case COUNT_OF:
	case NUMBER_OF:
		return raw(to, v);
	case BYTES_OF:
		return table_bytes(to, v, human);
	case SECONDS_OF:
		return human ? plain(to, text_seconds(json_object_get_double(v), buf)) : raw(to, v);
	case RATE_OF:
		return table_rate(to, v, human);
	case TIME_OF:
		return table_time(to, v, human);
	case MARK_OF:
		if (json_object_is_type(v, json_type_array))
			return table_words(to, v);
		return truth(v) ? plain(to, json_object_get_boolean(v) ? "*" : "") : safe(to, v);
	case ANY_OF:
		return json_object_is_type(v, json_type_string) ? safe(to, v) : raw(to, v);
	case TRUTH_OF:
		return plain(to, json_object_get_boolean(v) ? "yes" : "no");
	case WORDS_OF:
		return table_words(to, v);
	case SERIES_OF:
		return table_series(to, v, human);
	case SITE_OF:
		return table_site(to, v);
	case OWNER_OF:
		return table_owner(to, v);
	}
	return 0;
}

/* What a person should not overlook. */
static bool alarming(const struct column *c, struct json_object *v)
{
	if (c->kind == OK_OF)
		return v && !json_object_get_boolean(v);
	return c->kind == STATE_OF && v && (!strcmp(json_object_get_string(v), "crashed") ||
					    !strcmp(json_object_get_string(v), "damaged"));
}

static bool estimated(const struct column *c, struct json_object *row, struct json_object *value)
{
	return c->estimates && value && json_object_get_boolean(member(row, "estimated"));
}

void cell_table(const struct column *c, struct json_object *row, bool human, struct text *to, struct cell *ret)
{
	struct json_object *value = member(row, c->member), *other = c->other ? member(row, c->other) : NULL;

	ret->at = to->len;
	ret->red = alarming(c, value);
	if (c->kind == SITE_OF && !value && other)
		ret->width = safe(to, other);
	else
		ret->width = (estimated(c, row, value) ? plain(to, "~") : 0) + table_one(c, value, human, to);
	if (c->other && c->kind != SITE_OF && !json_object_equal(value, other)) {
		ret->width += plain(to, "/") + table_one(c, other, human, to);
		ret->red = true;
	}
	ret->len = to->len - ret->at;
}

/* ---- CSV (RFC 4180) ---- */

/* On a terminal the string is made safe first; in a file it stays exact. */
static void csv_string(struct text *to, const char *s, size_t len, bool terminal)
{
	struct text shown = { 0 };

	if (terminal) {
		text_safe(&shown, s, len);
		s = shown.at ? shown.at : "";
		len = shown.len;
	}
	if (memchr(s, '"', len) || memchr(s, ',', len) || memchr(s, '\n', len) || memchr(s, '\r', len)) {
		text_add(to, "\"", 1);
		for (size_t i = 0; i < len; i++)
			text_add(to, s[i] == '"' ? "\"\"" : s + i, s[i] == '"' ? 2 : 1);
		text_add(to, "\"", 1);
	} else {
		text_add(to, s, len);
	}
	text_free(&shown);
}

static void csv_value(struct text *to, struct json_object *v, bool terminal)
{
	const char *s;

	if (!v)
		return;
	if (json_object_is_type(v, json_type_string))
		csv_string(to, json_object_get_string(v), (size_t)json_object_get_string_len(v), terminal);
	else if ((s = json_object_to_json_string(v)))
		csv_string(to, s, strlen(s), terminal);
}

static void csv_words(struct text *to, struct json_object *v, bool terminal)
{
	struct text all = { 0 };

	for (size_t i = 0; v && i < json_object_array_length(v); i++) {
		const char *word = json_object_get_string(json_object_array_get_idx(v, i));

		text_add(&all, " ", i > 0);
		text_add(&all, word, strlen(word));
	}
	csv_string(to, all.at ? all.at : "", all.len, terminal);
	text_free(&all);
}

static const char *const site_fields[] = { "file", "line", "function", "module", NULL };
static const char *const owner_fields[] = { "pid", "command", "alive", NULL };

static const char *const *fields_of(const struct column *c)
{
	return c->kind == SITE_OF ? site_fields : c->kind == OWNER_OF ? owner_fields : NULL;
}

void cell_csv(const struct column *c, struct json_object *row, bool terminal, struct text *to)
{
	const char *const *fields = fields_of(c);
	struct json_object *value = member(row, c->member);

	if (c->kind != ANY_OF && json_object_is_type(value, json_type_array)) {
		csv_words(to, value, terminal);
	} else if (!fields) {
		csv_value(to, value, terminal);
	} else {
		for (size_t i = 0; fields[i]; i++) {
			text_add(to, ",", i > 0);
			csv_value(to, member(value, fields[i]), terminal);
		}
	}
	if (c->other && !fields) {
		text_add(to, ",", 1);
		csv_value(to, member(row, c->other), terminal);
	}
}

/* A nested member's name has an underscore for the dot. */
static void csv_name(struct text *to, const char *path)
{
	for (; *path; path++)
		text_add(to, *path == '.' ? "_" : path, 1);
}

void cell_csv_head(const struct column *c, struct text *to)
{
	const char *const *fields = fields_of(c);

	if (!fields) {
		csv_name(to, c->member);
	} else {
		for (size_t i = 0; fields[i]; i++)
			text_format(to, "%s%s%s", i ? "," : "", c->kind == OWNER_OF ? "owner_" : "", fields[i]);
	}
	if (c->other && !fields) {
		text_add(to, ",", 1);
		csv_name(to, c->other);
	}
}
