/* SPDX-License-Identifier: BSD-2-Clause */
/* What verbs have in common: ask, complain about odd answers, print rows, follow pages. */
#include "mmctl.h"

#include <string.h>

enum { PAGE = 1000, ERRORS_MAX = 1000 };

enum exit_code ask(struct mmctl *m, const char *method, struct json_object *params, struct json_object **ret_result)
{
	enum exit_code code = link_call(&m->link, method, params, ret_result);

	if (code)
		say("%s", m->link.error);
	return code;
}

enum exit_code ask_own(struct mmctl *m, struct json_object **ret_result)
{
	struct json_object *result = NULL;
	enum exit_code code = ask(m, verbs[m->cmd.verb].method, m->cmd.params, &result);

	if (!code && !json_object_is_type(result, json_type_object)) {
		code = odd(m, "the result is no object");
		json_object_put(result);
	}
	if (!code)
		*ret_result = result;
	return code;
}

enum exit_code odd(const struct mmctl *m, const char *what)
{
	struct text t = { 0 };

	text_safe(&t, what, strlen(what));
	say("%s: unexpected answer from %s: %s", verbs[m->cmd.verb].words, m->link.path, t.at ? t.at : "");
	text_free(&t);
	return RC_REFUSED;
}

struct json_object *array_of(const struct mmctl *m, struct json_object *object, const char *name)
{
	struct json_object *array = NULL;
	char what[80];

	if (json_at(object, name, &array) && json_object_is_type(array, json_type_array))
		return array;
	snprintf(what, sizeof what, "`%s` is no array", name);
	odd(m, what);
	return NULL;
}

static void say_left_out(const struct render *r)
{
	char heads[200];

	render_left_out(r, heads, sizeof heads);
	if (*heads)
		say("the terminal is too narrow for %s", heads);
}

enum exit_code finish(struct mmctl *m, struct render *r, enum exit_code code, struct json_object *tail)
{
	if (!code && r->refused)
		code = odd(m, r->error);
	if (code)
		render_abandon(r);
	else
		render_close(r, tail);
	say_left_out(r);
	return code;
}

/* Rows of an array into an open table; in json the result is printed as it came, so there they are only checked. */
static bool add_rows(struct render *r, struct json_object *rows)
{
	bool ok = true;

	for (size_t i = 0; ok && i < json_object_array_length(rows); i++)
		ok = r->st->format == JSON ? render_check(r, json_object_array_get_idx(rows, i))
					   : render_row(r, json_object_array_get_idx(rows, i));
	return ok;
}

enum exit_code show_rows(struct mmctl *m, struct json_object *result, const char *member, const struct column *columns,
			 const char *total)
{
	struct json_object *rows = array_of(m, result, member), *sum = NULL;
	struct render r;

	if (!rows)
		return RC_REFUSED;
	render_open(&r, &m->style, member, columns);
	if (add_rows(&r, rows) && total && r.rows) {
		if (!json_at(result, "total", &sum) || !json_object_is_type(sum, json_type_object))
			return finish(m, &r, odd(m, "`total` is no object"), NULL);
		render_total(&r, total, sum);
	}
	if (m->style.format != JSON)
		return finish(m, &r, RC_OK, NULL);
	if (r.refused)
		return finish(m, &r, RC_OK, NULL);
	render_abandon(&r);
	render_json(&m->style, result);
	return RC_OK;
}

enum exit_code show(struct mmctl *m, const char *member, const struct column *columns, const char *total,
		    const char *none)
{
	struct json_object *result, *rows = NULL, *groups = NULL, *estimated = NULL;
	enum exit_code code = ask_own(m, &result);

	if (code)
		return code;
	code = show_rows(m, result, member, columns, total);
	json_at(result, member, &rows);
	if (!code && json_at(result, "total.estimated", &estimated) &&
	    json_object_get_boolean(estimated))
		say_estimated(m);
	if (!code && none && m->style.format == TABLE && !json_object_array_length(rows))
		say("%s", none);
	if (!code && !m->cmd.limit && json_at(result, "groups", &groups) &&
	    json_object_get_uint64(groups) > json_object_array_length(rows))
		say("%zu of %ju groups are shown", json_object_array_length(rows), (uintmax_t)json_object_get_uint64(groups));
	json_object_put(result);
	return code;
}

void say_estimated(const struct mmctl *m)
{
	if (m->style.format == TABLE)
		say("~: estimated from allocations that were sampled");
}

void say_errors(struct json_object *list) { say_reasons(list, "pool"); }

void say_reasons(struct json_object *list, const char *member)
{
	for (size_t i = 0; json_object_is_type(list, json_type_array) && i < json_object_array_length(list); i++) {
		struct json_object *row = json_object_array_get_idx(list, i), *pool = NULL, *reason = NULL;
		struct text t = { 0 };

		if (!json_at(row, member, &pool) || !json_object_is_type(pool, json_type_string) ||
		    !json_at(row, "reason", &reason) || !json_object_is_type(reason, json_type_string))
			continue;
		text_safe(&t, json_object_get_string(pool), (size_t)json_object_get_string_len(pool));
		text_add(&t, ": ", 2);
		text_safe(&t, json_object_get_string(reason), (size_t)json_object_get_string_len(reason));
		say("%s", t.at ? t.at : "");
		text_free(&t);
	}
}

/* ---- pages ---- */

static bool holds(struct json_object *array, struct json_object *value)
{
	for (size_t i = 0; i < json_object_array_length(array); i++)
		if (json_object_equal(json_object_array_get_idx(array, i), value))
			return true;
	return false;
}

/* Each page may tell the same error again. */
static void keep_errors(struct json_object *before, struct json_object *more)
{
	for (size_t i = 0; i < json_object_array_length(more); i++) {
		struct json_object *error = json_object_array_get_idx(more, i);

		if (json_object_array_length(before) < ERRORS_MAX && !holds(before, error))
			json_object_array_add(before, json_object_get(error));
	}
}

/* What came beside the rows: of the last page, but pause_us the longest of all, and errors those of all. */
static void keep_tail(struct json_object *tail, struct json_object *result, const char *member)
{
	struct json_object *before;

	json_object_object_foreach(result, name, value) {
		before = NULL;
		json_object_object_get_ex(tail, name, &before);
		if (!strcmp(name, member))
			continue;
		if (!strcmp(name, "pause_us") && json_object_get_int64(before) > json_object_get_int64(value))
			continue;
		if (json_object_is_type(before, json_type_array) && json_object_is_type(value, json_type_array))
			keep_errors(before, value);
		else
			json_object_object_add(tail, name, json_object_get(value));
	}
}

static bool page_rows(struct render *r, struct json_object *rows, uint64_t *left, page_fn *fn, void *arg)
{
	for (size_t i = 0; i < json_object_array_length(rows) && *left; i++) {
		struct json_object *row = json_object_array_get_idx(rows, i);

		if (fn && json_object_is_type(row, json_type_object) && !fn(row, arg))
			continue;
		if (!render_row(r, row))
			return false;
		--*left;
	}
	return true;
}

/* The next page's cursor into params. RC_FOUND stands for: there is one. */
static enum exit_code turn(struct mmctl *m, struct json_object *params, struct json_object *result)
{
	struct json_object *next = NULL, *before = NULL;

	json_object_object_get_ex(result, "next", &next);
	if (!next)
		return RC_OK;
	if (!json_object_is_type(next, json_type_string))
		return odd(m, "`next` is no string");
	if (json_object_object_get_ex(params, "cursor", &before) && json_object_equal(before, next))
		return odd(m, "`next` does not move on");
	json_object_object_add(params, "cursor", json_object_get(next));
	return RC_FOUND;
}

static enum exit_code one_page(struct mmctl *m, struct render *r, struct json_object *result, uint64_t *left,
			       page_fn *fn, void *arg, struct json_object *tail)
{
	struct json_object *rows;

	if (!json_object_is_type(result, json_type_object))
		return odd(m, "the result is no object");
	rows = array_of(m, result, r->member);
	if (!rows)
		return RC_REFUSED;
	if (!page_rows(r, rows, left, fn, arg))
		return odd(m, r->error);
	if (tail)
		keep_tail(tail, result, r->member);
	return RC_OK;
}

enum exit_code pages(struct mmctl *m, struct render *r, const char *method, struct json_object *params, uint64_t *left,
		     page_fn *fn, void *arg, struct json_object *tail)
{
	struct json_object *result;
	enum exit_code code = RC_FOUND;

	while (code == RC_FOUND && *left) {
		uint64_t limit = !fn && *left < PAGE ? *left : PAGE;

		json_object_object_add(params, "limit", json_object_new_int64((int64_t)limit));
		result = NULL;
		code = ask(m, method, params, &result);
		if (code)
			return code;
		code = one_page(m, r, result, left, fn, arg, tail);
		if (!code)
			code = turn(m, params, result);
		json_object_put(result);
	}
	return code == RC_FOUND ? RC_OK : code;
}
