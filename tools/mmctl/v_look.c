/* SPDX-License-Identifier: BSD-2-Clause */
/* The whole at a glance: status, stats. */
#include "mmctl.h"

#include <string.h>

static const struct column status_pools[] = {
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF, .elastic = 12 },
	{ .head = "DOMAIN", .member = "domain", .kind = TEXT_OF, .hidden = true },
	{ .head = "NAME", .member = "name", .kind = TEXT_OF, .hidden = true },
	{ .head = "STATE", .member = "state", .kind = STATE_OF },
	{ .head = "MANAGER", .member = "manager", .kind = TEXT_OF },
	{ .head = "PID", .member = "pid", .kind = COUNT_OF, .spare = 2 },
	{ .head = "COMMAND", .member = "command", .kind = COMMAND_OF, .elastic = 10 },
	{ .head = "INCARNATION", .member = "incarnation", .kind = COUNT_OF, .hidden = true },
	{ .head = "HELD BACK", .member = "held_back", .kind = ANY_OF, .may_lack = true, .elastic = 10, .spare = 1 },
	{ .head = "SHARDS", .member = "shards", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ .head = "USERS", .member = "users", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ .head = "DEAD", .member = "dead", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ .head = "REAPED", .member = "reaped", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ .head = "TAKEOVERS", .member = "takeovers", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ .head = "ROLLBACKS", .member = "rollbacks", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ .head = "LOCK PID", .member = "lock.pid", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ .head = "HELD", .member = "lock.held", .kind = SECONDS_OF, .may_lack = true, .hidden = true },
	{ 0 },
};

/* Of shared pools where somebody died, or holds the lock. */
static const struct column status_owners[] = {
	{ .head = "OWNERS OF", .member = "pool", .kind = TEXT_OF, .elastic = 12 },
	{ .head = "USERS", .member = "users", .kind = COUNT_OF },
	{ .head = "DEAD", .member = "dead", .kind = COUNT_OF },
	{ .head = "REAPED", .member = "reaped", .kind = COUNT_OF },
	{ .head = "TAKEOVERS", .member = "takeovers", .kind = COUNT_OF },
	{ .head = "ROLLBACKS", .member = "rollbacks", .kind = COUNT_OF },
	{ .head = "LOCK PID", .member = "lock.pid", .kind = COUNT_OF, .may_lack = true },
	{ .head = "HELD", .member = "lock.held", .kind = SECONDS_OF, .may_lack = true },
	{ 0 },
};

static const struct column status_skipped[] = {
	{ .head = "SKIPPED FILE", .member = "file", .kind = TEXT_OF },
	{ .head = "REASON", .member = "reason", .kind = TEXT_OF, .elastic = 24 },
	{ 0 },
};

static const struct column stats_pools[] = {
	{ .head = "POOL", .member = "pool", .kind = TEXT_OF, .elastic = 12 },
	{ .head = "DOMAIN", .member = "domain", .kind = TEXT_OF, .hidden = true },
	{ .head = "NAME", .member = "name", .kind = TEXT_OF, .hidden = true },
	{ .head = "PID", .member = "pid", .kind = COUNT_OF, .hidden = true },
	{ .head = "COMMAND", .member = "command", .kind = COMMAND_OF, .elastic = 10 },
	{ .head = "MANAGER", .member = "manager", .kind = TEXT_OF, .spare = 7 },
	{ .head = "STATE", .member = "state", .kind = STATE_OF, .may_lack = true, .spare = 6 },
	{ .head = "SIZE", .member = "size", .kind = BYTES_OF, .hidden = true },
	{ .head = "USED", .member = "used", .kind = BYTES_OF },
	{ .head = "REAL USED", .member = "real_used", .kind = BYTES_OF },
	{ .head = "MAX USED", .member = "max_used", .kind = BYTES_OF, .spare = 5 },
	{ .head = "FREE", .member = "free", .kind = BYTES_OF },
	{ .head = "CACHED", .member = "cached", .kind = BYTES_OF, .spare = 1 },
	{ .head = "FRAGMENTS", .member = "fragments", .kind = COUNT_OF },
	{ .head = "FREE FRAGMENTS", .member = "free_fragments", .kind = COUNT_OF, .hidden = true },
	{ .head = "LARGEST FREE", .member = "largest_free", .kind = BYTES_OF, .spare = 4 },
	{ .head = "FAILURES", .member = "failures", .kind = COUNT_OF, .spare = 3 },
	{ .head = "UNTRACKED", .member = "untracked", .kind = COUNT_OF, .hidden = true },
	{ .head = "TRACKING", .member = "tracking", .kind = TEXT_OF, .spare = 2 },
	{ .head = "SHARDS", .member = "shards", .kind = COUNT_OF, .may_lack = true, .hidden = true },
	{ 0 },
};

enum exit_code verb_stats(struct mmctl *m) { return show(m, "pools", stats_pools, "total", "there is no such pool"); }

/* A string member made safe; `-` when it is null or absent, or no string. */
static void add_member(struct text *t, struct json_object *object, const char *path)
{
	struct json_object *value = NULL;

	if (json_at(object, path, &value) && json_object_is_type(value, json_type_string))
		text_safe(t, json_object_get_string(value), (size_t)json_object_get_string_len(value));
	else
		text_add(t, "-", 1);
}

static void add_build(struct text *t, struct json_object *status)
{
	struct json_object *dbg = NULL;

	text_add(t, "build    ", 9);
	add_member(t, status, "build.compiler");
	text_add(t, ", commit ", 9);
	add_member(t, status, "build.commit");
	if (json_at(status, "build.dbg", &dbg) && json_object_get_boolean(dbg))
		text_format(t, ", DBG_SR_MEMORY");
	text_add(t, "\n", 1);
}

/* Of a pair of allocation and free, by the way of watching; nothing while they are not measured. */
static void add_costs(struct text *t, struct json_object *status)
{
	struct json_object *costs = NULL, *mode = NULL, *ns = NULL, *ratio = NULL;

	if (!json_at(status, "costs", &costs) || !json_object_is_type(costs, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(costs); i++) {
		struct json_object *row = json_object_array_get_idx(costs, i);

		if (!json_at(row, "mode", &mode) || !json_at(row, "ns", &ns) || !json_at(row, "ratio", &ratio))
			continue;
		text_format(t, i ? ", " : "costs    ");
		text_safe(t, json_object_get_string(mode), (size_t)json_object_get_string_len(mode));
		text_format(t, " %.0f ns", json_object_get_double(ns));
		if (i)
			text_format(t, " (%.2f)", json_object_get_double(ratio));
	}
	if (json_object_array_length(costs))
		text_format(t, "\n");
}

/* Who answers. What it does not tell is shown as `-`, for this is no table that anybody computes with. */
static void put_daemon(struct mmctl *m, struct json_object *status)
{
	struct json_object *pid = NULL, *uptime = NULL;
	struct text t = { 0 };
	char buf[32];

	json_at(status, "daemon.pid", &pid);
	json_at(status, "daemon.uptime", &uptime);
	text_add(&t, "daemon   mmd ", 13);
	add_member(&t, status, "version");
	text_format(&t, ", pid %jd, up %s\nsocket   ", (intmax_t)json_object_get_int64(pid),
		    text_seconds(json_object_get_double(uptime), buf));
	add_member(&t, status, "daemon.socket");
	text_add(&t, "\nconfig   ", 10);
	add_member(&t, status, "daemon.config");
	text_add(&t, "\n", 1);
	add_build(&t, status);
	add_costs(&t, status);
	fwrite(t.at ? t.at : "", 1, t.len, m->style.out);
	text_free(&t);
}

static bool counts(struct json_object *row, const char *name)
{
	struct json_object *value = NULL;

	return json_at(row, name, &value) && json_object_get_int64(value) > 0;
}

/* A table of its own, and none where there is nothing to tell. */
static enum exit_code show_owners(struct mmctl *m, struct json_object *status)
{
	struct json_object *pools = NULL, *object = json_object_new_object(), *told = json_object_new_array();
	enum exit_code code = RC_OK;

	json_object_object_add(object, "pools", told);
	if (json_at(status, "pools", &pools) && json_object_is_type(pools, json_type_array))
		for (size_t i = 0; i < json_object_array_length(pools); i++) {
			struct json_object *row = json_object_array_get_idx(pools, i);

			if (counts(row, "dead") || counts(row, "reaped") || counts(row, "takeovers") || counts(row, "lock.pid"))
				json_object_array_add(told, json_object_get(row));
		}
	if (json_object_array_length(told)) {
		fputc('\n', m->style.out);
		code = show_rows(m, object, "pools", status_owners, NULL);
	}
	json_object_put(object);
	return code;
}

static enum exit_code show_status(struct mmctl *m, struct json_object *status)
{
	struct json_object *skipped = array_of(m, status, "skipped");
	enum exit_code code;

	if (!skipped)
		return RC_REFUSED;
	if (m->style.format != TABLE)
		return show_rows(m, status, "pools", status_pools, NULL);
	put_daemon(m, status);
	fputc('\n', m->style.out);
	code = show_choice(m, status, "managers.", NULL);
	if (code)
		return code;
	fputc('\n', m->style.out);
	code = show_rows(m, status, "pools", status_pools, NULL);
	if (!code)
		code = show_owners(m, status);
	if (code || !json_object_array_length(skipped))
		return code;
	fputc('\n', m->style.out);
	return show_rows(m, status, "skipped", status_skipped, NULL);
}

/* Then pools may be missing, which nobody sees in a table. */
static void say_unread(struct json_object *status)
{
	struct json_object *unread = NULL;
	struct text t = { 0 };

	if (!json_at(status, "unread", &unread) || !json_object_is_type(unread, json_type_string))
		return;
	text_safe(&t, json_object_get_string(unread), (size_t)json_object_get_string_len(unread));
	say("mmd cannot read the registry: %s; pools may be missing", t.at ? t.at : "");
	text_free(&t);
}

enum exit_code verb_status(struct mmctl *m)
{
	struct json_object *status;
	enum exit_code code = ask_own(m, &status);

	if (code)
		return code;
	code = show_status(m, status);
	say_unread(status);
	json_object_put(status);
	return code;
}
