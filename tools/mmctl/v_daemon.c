/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon itself: ping, restart, call. */
#include "mmctl.h"

#include <string.h>
#include <time.h>

#include "conf/conf.h"

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

enum exit_code verb_ping(struct mmctl *m)
{
	struct json_object *pong = NULL;
	enum exit_code code = link_open(&m->link);
	double start = now(), ms;

	if (code) {
		say("%s", m->link.error);
		return code;
	}
	code = ask(m, "ping", NULL, &pong);
	ms = (now() - start) * 1000;
	if (!code && (!json_object_is_type(pong, json_type_string) || strcmp(json_object_get_string(pong), "pong")))
		code = odd(m, "it is not \"pong\"");
	if (!code && m->style.format == TABLE)
		fprintf(m->style.out, "pong from %s in %.2f ms\n", m->link.path, ms);
	else if (!code && m->style.format == CSV)
		fprintf(m->style.out, "socket,ms\n%s,%.3f\n", m->link.path, ms);
	else if (!code)
		render_json(&m->style, pong);
	json_object_put(pong);
	return code;
}

/* ---- call ---- */

static struct json_object *parse_params(const char *text)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *value;
	size_t len = strlen(text);
	bool whole;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	value = json_tokener_parse_ex(tok, text, (int)len);
	whole = json_tokener_get_error(tok) == json_tokener_success && json_tokener_get_parse_end(tok) == len;
	json_tokener_free(tok);
	if (whole && (json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array)))
		return value;
	json_object_put(value);
	return NULL;
}

enum exit_code verb_call(struct mmctl *m)
{
	struct json_object *params = NULL, *result = NULL;
	enum exit_code code;

	if (m->style.format == CSV) {
		say("call: any result is JSON; there is no csv of it");
		return RC_USAGE;
	}
	if (m->cmd.operand[1] && !(params = parse_params(m->cmd.operand[1]))) {
		say("call: the parameters are no JSON object or array: %s", m->cmd.operand[1]);
		return RC_USAGE;
	}
	code = ask(m, m->cmd.operand[0], params, &result);
	if (!code)
		render_json(&m->style, result);
	json_object_put(params);
	json_object_put(result);
	return code;
}

/* ---- restart ---- */

struct life { int64_t pid; double uptime; char manager[2][CONF_NAME]; };

static bool read_life(struct json_object *status, struct life *ret)
{
	static const char *const paths[] = { "managers.pkg.now", "managers.shm.now" };
	struct json_object *pid = NULL, *uptime = NULL, *name;

	json_at(status, "daemon.pid", &pid);
	json_at(status, "daemon.uptime", &uptime);
	if (!json_object_is_type(pid, json_type_int) ||
	    !(json_object_is_type(uptime, json_type_int) || json_object_is_type(uptime, json_type_double)))
		return false;
	*ret = (struct life){ .pid = json_object_get_int64(pid), .uptime = json_object_get_double(uptime) };
	for (size_t i = 0; i < 2; i++) {
		struct text t = { 0 };

		name = NULL;
		json_at(status, paths[i], &name);
		if (!json_object_is_type(name, json_type_string))
			return false;
		text_safe(&t, json_object_get_string(name), (size_t)json_object_get_string_len(name));
		snprintf(ret->manager[i], sizeof ret->manager[i], "%s", t.at ? t.at : "");
		text_free(&t);
	}
	return true;
}

static enum exit_code life_of(struct mmctl *m, struct life *ret, bool quiet)
{
	struct json_object *status = NULL;
	enum exit_code code = link_call(&m->link, "status", NULL, &status);

	if (code && !quiet)
		say("%s", m->link.error);
	if (!code && !read_life(status, ret))
		code = odd(m, "no daemon.pid, daemon.uptime, managers.*.now in status");
	json_object_put(status);
	return code;
}

/* The old one has closed its connections; ask until one answers that is younger than our request. */
static enum exit_code wait_for_new(struct mmctl *m, double asked, struct life *ret)
{
	double deadline = asked + m->link.timeout;
	enum exit_code code = RC_TIMEOUT;

	if (!link_wait_end(&m->link))
		return RC_TIMEOUT;
	link_close(&m->link);
	for (struct timespec pause = { 0, 20000000 }; now() < deadline; nanosleep(&pause, NULL)) {
		code = life_of(m, ret, true);
		if (!code && ret->uptime <= now() - asked + 2)
			return RC_OK;
		if (code == RC_DENIED)
			return code;
		link_close(&m->link);
	}
	return RC_TIMEOUT;
}

static struct json_object *life_json(const struct life *l)
{
	struct json_object *o = json_object_new_object();
	char uptime[64];

	snprintf(uptime, sizeof uptime, "%.10g", l->uptime);
	json_object_object_add(o, "pid", json_object_new_int64(l->pid));
	json_object_object_add(o, "uptime", json_object_new_double_s(l->uptime, uptime));
	json_object_object_add(o, "pkg", json_object_new_string(l->manager[0]));
	json_object_object_add(o, "shm", json_object_new_string(l->manager[1]));
	return o;
}

static const struct column life_columns[] = {
	{ .head = "MMD", .member = "mmd", .kind = TEXT_OF },
	{ .head = "PID", .member = "pid", .kind = COUNT_OF },
	{ .head = "UP", .member = "uptime", .kind = SECONDS_OF },
	{ .head = "PKG", .member = "pkg", .kind = TEXT_OF },
	{ .head = "SHM", .member = "shm", .kind = TEXT_OF },
	{ 0 },
};

static enum exit_code show_lives(struct mmctl *m, const struct life *before, const struct life *after)
{
	struct json_object *rows[2] = { life_json(before), life_json(after) };
	struct render r;

	render_open(&r, &m->style, "restart", life_columns);
	for (size_t i = 0; i < 2; i++) {
		json_object_object_add(rows[i], "mmd", json_object_new_string(i ? "new" : "old"));
		render_row(&r, rows[i]);
		json_object_put(rows[i]);
	}
	return finish(m, &r, RC_OK, NULL);
}

enum exit_code verb_restart(struct mmctl *m)
{
	struct json_object *result = NULL;
	struct life before = { 0 }, after = { 0 };
	enum exit_code code = life_of(m, &before, false);
	double asked = now();

	if (!code)
		code = ask(m, "restart", NULL, &result);
	json_object_put(result);
	if (code)
		return code;
	code = wait_for_new(m, asked, &after);
	if (code == RC_TIMEOUT)
		say("restart: mmd said yes, but does not answer on %s after %g s; its log says why", m->link.path,
		    m->link.timeout);
	else if (code)
		say("%s", m->link.error);
	return code ? code : show_lives(m, &before, &after);
}
