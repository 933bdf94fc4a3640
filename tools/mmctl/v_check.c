/* SPDX-License-Identifier: BSD-2-Clause */
/* What is wrong: check, failures. */
#include "mmctl.h"

#define BOTH(name) .member = "walked." name, .other = "counted." name, .may_lack = true

static const struct column check_columns[] = {
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF, .elastic = 12 },
	{ .head = "RESULT", .member = "ok", .kind = OK_OF },
	{ .head = "USED", BOTH("used"), .kind = BYTES_OF },
	{ .head = "FRAGMENTS", BOTH("fragments"), .kind = COUNT_OF },
	{ .head = "FREE", BOTH("free"), .kind = BYTES_OF },
	{ .head = "FREE FRAGMENTS", BOTH("free_fragments"), .kind = COUNT_OF, .spare = 2 },
	{ .head = "LARGEST FREE", BOTH("largest_free"), .kind = BYTES_OF, .spare = 1 },
	{ .head = "ERRORS", .member = "error_count", .kind = COUNT_OF, .may_lack = true },
	{ 0 },
};

static const struct column error_columns[] = {
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF },
	{ .head = "ADDRESS", .member = "address", .kind = TEXT_OF, .may_lack = true },
	{ .head = "WHAT", .member = "what", .kind = TEXT_OF, .elastic = 24 },
	{ 0 },
};

static const struct column failure_columns[] = {
	{ .head = "TIME", .member = "time", .kind = TIME_OF },
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF, .elastic = 12, .spare = 3 },
	{ .head = "PID", .member = "pid", .kind = COUNT_OF, .spare = 1 },
	{ .head = "REQUESTED", .member = "requested", .kind = BYTES_OF },
	{ .head = "FREE", .member = "free", .kind = BYTES_OF },
	{ .head = "LARGEST FREE", .member = "largest_free", .kind = BYTES_OF, .spare = 2 },
	{ .head = "VERDICT", .member = "verdict", .kind = TEXT_OF },
	{ .head = "SITE", .member = "site", .kind = SITE_OF, .elastic = 24 },
	{ 0 },
};

enum exit_code verb_failures(struct mmctl *m)
{
	if (m->cmd.limit)
		json_object_object_add(m->cmd.params, "limit", json_object_new_int64((int64_t)m->cmd.limit));
	return show(m, "failures", failure_columns, NULL, "no allocation has failed");
}

/* ---- check ---- */

struct tally { size_t pools, checked, damaged; };

/* The pools' `ok`: true, false, or null where nobody could look. */
static enum exit_code count_pools(const struct mmctl *m, struct json_object *pools, struct tally *t)
{
	for (size_t i = 0; i < json_object_array_length(pools); i++) {
		struct json_object *pool = json_object_array_get_idx(pools, i), *ok = NULL;

		if (!array_of(m, pool, "errors"))
			return RC_REFUSED;
		json_at(pool, "ok", &ok);
		t->pools++;
		t->checked += ok != NULL;
		t->damaged += ok && !json_object_get_boolean(ok);
	}
	return RC_OK;
}

/* The pool's errors become rows that name it. */
static void add_errors(struct mmctl *m, struct render *r, struct json_object *pool)
{
	struct json_object *name = NULL, *errors = array_of(m, pool, "errors");

	json_at(pool, "pool", &name);
	for (size_t i = 0; i < json_object_array_length(errors) && !r->refused; i++) {
		struct json_object *error = json_object_array_get_idx(errors, i);

		if (json_object_is_type(error, json_type_object))
			json_object_object_add(error, "pool", json_object_get(name));
		if (!r->rows)
			fputc('\n', m->style.out);
		render_row(r, error);
	}
}

/* All errors of all pools as one table. That each pool has an array of them, count_pools() has seen. */
static enum exit_code show_errors(struct mmctl *m, struct json_object *pools)
{
	struct render r;

	render_open(&r, &m->style, "errors", error_columns);
	for (size_t i = 0; i < json_object_array_length(pools); i++)
		add_errors(m, &r, json_object_array_get_idx(pools, i));
	if (!r.rows && !r.refused) {
		render_abandon(&r);
		return RC_OK;
	}
	return finish(m, &r, RC_OK, NULL);
}

enum exit_code verb_check(struct mmctl *m)
{
	struct json_object *result, *pools;
	struct tally tally = { 0 };
	enum exit_code code = ask_own(m, &result);

	if (code)
		return code;
	code = show_rows(m, result, "pools", check_columns, NULL);
	pools = code ? NULL : array_of(m, result, "pools");
	if (!code)
		code = count_pools(m, pools, &tally);
	if (!code && m->style.format == TABLE)
		code = show_errors(m, pools);
	json_object_put(result);
	if (code)
		return code;
	if (tally.damaged)
		return RC_FOUND;
	if (tally.pools > tally.checked)
		say("check: %zu of %zu pools could not be checked", tally.pools - tally.checked, tally.pools);
	return tally.pools && !tally.checked ? RC_REFUSED : RC_OK;
}
