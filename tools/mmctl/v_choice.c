/* SPDX-License-Identifier: BSD-2-Clause */
/* What can be chosen and switched: manager list|get|set|reset, pool list|drop|release, track. */
#include "mmctl.h"

#include <string.h>

static const struct column manager_columns[] = {
	{ .head = "NAME", .member = "name", .kind = TEXT_OF },
	{ .head = "DEFAULT", .member = "default", .kind = MARK_OF },
	{ .head = "DOMAINS", .member = "domains", .kind = WORDS_OF },
	{ .head = "SOURCE", .member = "source", .kind = TEXT_OF, .spare = 1 },
	{ .head = "CAPABILITIES", .member = "capabilities", .kind = WORDS_OF, .spare = 2 },
	{ .head = "ADVICE", .member = "advice", .kind = TEXT_OF, .elastic = 44, .wraps = true },
	{ 0 },
};

static const struct column choice_columns[] = {
	{ .head = "DOMAIN", .member = "domain", .kind = TEXT_OF },
	{ .head = "NOW", .member = "now", .kind = TEXT_OF },
	{ .head = "AFTER RESTART", .member = "next", .kind = TEXT_OF },
	{ .head = "FROM", .member = "from", .kind = TEXT_OF },
	{ .head = "HELD BACK", .member = "held_back", .kind = TEXT_OF, .may_lack = true, .hidden = true },
	{ 0 },
};

static const struct column pool_columns[] = {
	{ .head = "NAME", .member = "name", .kind = TEXT_OF, .elastic = 10, .spare = 1 },
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF, .elastic = 12 },
	{ .head = "STATE", .member = "state", .kind = STATE_OF },
	{ .head = "MANAGER", .member = "manager", .kind = TEXT_OF },
	{ .head = "SIZE", .member = "size", .kind = BYTES_OF },
	{ .head = "USED", .member = "used", .kind = BYTES_OF },
	{ .head = "USERS", .member = "users", .kind = COUNT_OF },
	{ .head = "KEEP", .member = "keep", .kind = TRUTH_OF, .spare = 4 },
	{ .head = "ON DEATH", .member = "on_death", .kind = TEXT_OF, .spare = 2 },
	{ .head = "HELD BACK", .member = "held_back", .kind = ANY_OF, .may_lack = true, .elastic = 10, .spare = 3 },
	{ 0 },
};

static const struct column track_columns[] = {
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF },
	{ .head = "TRACKING", .member = "tracking", .kind = TEXT_OF },
	{ 0 },
};

/* Modules that cannot be used are said beside the table. */
enum exit_code verb_manager_list(struct mmctl *m)
{
	struct json_object *result, *skipped = NULL;
	enum exit_code code = ask_own(m, &result);

	if (code)
		return code;
	code = show_rows(m, result, "managers", manager_columns, NULL);
	json_at(result, "skipped", &skipped);
	if (!code)
		say_reasons(skipped, "file");
	json_object_put(result);
	return code;
}

enum exit_code verb_pool_list(struct mmctl *m) { return show(m, "pools", pool_columns, NULL, "mmd hosts no shared pool"); }

/* `on` is what most people want of it. */
enum exit_code verb_track(struct mmctl *m)
{
	struct json_object *result;
	enum exit_code code;

	if (!strcmp(m->cmd.operand[0], "on"))
		json_object_object_add(m->cmd.params, "mode", json_object_new_string("sites"));
	code = ask_own(m, &result);
	if (code)
		return code;
	code = show_rows(m, result, "pools", track_columns, NULL);
	if (!code)
		say_errors(array_of(m, result, "pools"));	/* of heaps that could not be switched */
	json_object_put(result);
	return code;
}

static const struct column dropped_columns[] = { { .head = "DROPPED", .member = "pool", .kind = TEXT_OF }, { 0 } };

/* The result names ids; a row is made of each. */
static enum exit_code show_dropped(struct mmctl *m, struct json_object *result)
{
	struct json_object *ids = array_of(m, result, "dropped"), *row;
	struct render r;

	if (!ids)
		return RC_REFUSED;
	render_open(&r, &m->style, "dropped", dropped_columns);
	for (size_t i = 0; i < json_object_array_length(ids) && !r.refused; i++) {
		row = json_object_new_object();
		json_object_object_add(row, "pool", json_object_get(json_object_array_get_idx(ids, i)));
		render_row(&r, row);
		json_object_put(row);
	}
	return finish(m, &r, RC_OK, NULL);
}

enum exit_code verb_pool_drop(struct mmctl *m)
{
	struct json_object *result;
	enum exit_code code = ask_own(m, &result);

	if (code)
		return code;
	code = show_dropped(m, result);
	json_object_put(result);
	return code;
}

static const struct column released_columns[] = {
	{ .head = "POOL", .member = "name", .kind = TEXT_OF },
	{ .head = "RELEASED", .member = "released", .kind = COUNT_OF, .may_lack = true },
	{ 0 },
};

enum exit_code verb_pool_release(struct mmctl *m)
{
	struct json_object *result;
	struct render r;
	enum exit_code code = ask_own(m, &result);

	if (code)
		return code;
	render_open(&r, &m->style, "released", released_columns);
	render_row(&r, result);
	json_object_put(result);
	return finish(m, &r, RC_OK, NULL);
}

/* ---- the choice ---- */

static bool add_domain(struct render *r, struct json_object *result, const char *prefix, const char *domain)
{
	struct json_object *row = NULL, *copy;
	char path[32];
	bool good;

	snprintf(path, sizeof path, "%s%s", prefix, domain);
	if (!json_at(result, path, &row) || !json_object_is_type(row, json_type_object)) {
		snprintf(r->error, sizeof r->error, "`%s` is no object", path);
		r->refused = true;
		return false;
	}
	copy = json_object_new_object();
	json_object_object_add(copy, "domain", json_object_new_string(domain));
	json_object_object_foreach(row, name, value)
		json_object_object_add(copy, name, json_object_get(value));
	good = render_row(r, copy);
	json_object_put(copy);
	return good;
}

enum exit_code show_choice(struct mmctl *m, struct json_object *result, const char *prefix, const char *only)
{
	static const char *const domains[] = { "pkg", "shm" };
	struct render r;

	render_open(&r, &m->style, "managers", choice_columns);
	for (size_t i = 0; i < 2; i++)
		if ((!only || !strcmp(only, domains[i])) && !add_domain(&r, result, prefix, domains[i]))
			break;
	return finish(m, &r, RC_OK, NULL);
}

/* What keeps the choice from counting is said beside the table. */
static void say_held_back(struct json_object *result)
{
	struct json_object *why = NULL;
	struct text t = { 0 };
	const char *s;

	if (!json_at(result, "held_back", &why) || !why)
		return;
	s = json_object_is_type(why, json_type_string) ? json_object_get_string(why)
						       : json_object_to_json_string_ext(why, JSON_C_TO_STRING_PLAIN);
	text_safe(&t, s, strlen(s));
	say("held back: %s", t.at ? t.at : "");
	text_free(&t);
}

static enum exit_code choice(struct mmctl *m, const char *only)
{
	struct json_object *result;
	enum exit_code code = ask_own(m, &result);

	if (code)
		return code;
	if (m->style.format == JSON)
		render_json(&m->style, result);
	else
		code = show_choice(m, result, "", only);
	if (!code && m->style.format == TABLE)
		say_held_back(result);
	json_object_put(result);
	return code;
}

enum exit_code verb_manager_set(struct mmctl *m) { return choice(m, NULL); }
enum exit_code verb_manager_reset(struct mmctl *m) { return choice(m, NULL); }

/* The method tells both domains; one is picked here. */
enum exit_code verb_manager_get(struct mmctl *m)
{
	struct json_object *domain = NULL;
	enum exit_code code;

	json_at(m->cmd.params, "domain", &domain);
	json_object_get(domain);
	json_object_object_del(m->cmd.params, "domain");
	code = choice(m, domain ? json_object_get_string(domain) : NULL);
	json_object_put(domain);
	return code;
}
