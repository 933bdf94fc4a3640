/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parameters against their rows: positional ones get their names, every value its type and range, none is left over.
 * A handler never sees a value that its row does not allow.
 *
 *	text of params ─> span of a member ─> its row ─> json-c, for this one scalar ─> type, range ─> call->params
 *
 * Only scalars of a few bytes ever reach json-c: a megabyte of nested arrays is refused by its first byte, and costs
 * the loop nothing but the scan that found it to be JSON.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/rpc.h"

enum { SCALAR_MAX = RPC_STRING_MAX * 6 + 2 };	/* bytes: every character as \u1234 */

/* "domain pid pool": what a method takes. */
static char *names(const struct rpc_method *method, char *buf, size_t bytes)
{
	size_t at = 0;

	*buf = 0;
	for (const struct rpc_param *const *p = method->params; *p && at < bytes; p++)
		at += (size_t)snprintf(buf + at, bytes - at, "%s%s", at ? " " : "", (*p)->name);
	return buf;
}

static void allow_names(struct rpc_call *call)
{
	char words[256];

	rpc_allowed_words(call, names(call->method, words, sizeof words));
}

/* What was found, as it was written; without a value: it is missing. */
static void note_got(struct rpc_call *call, struct json_span value)
{
	struct rpc_error *e = &call->error;
	size_t len = value.len < RPC_ECHO_MAX ? value.len : RPC_ECHO_MAX;

	if (!len)
		return;
	memcpy(e->got, value.at, len);
	e->got[len] = 0;
	e->got_is_json = len == value.len && *value.at != '[' && *value.at != '{';
}

static void bad(struct rpc_call *call, const struct rpc_param *param, const char *reason, struct json_span value)
{
	char text[256];
	size_t at = 0;

	rpc_fail(call, RPC_PARAMS, param->name, "%s", reason);
	note_got(call, value);
	if (param->type != RPC_ENUM) {
		rpc_allowed(call, rpc_param_allowed(param, text, sizeof text));
		return;
	}
	for (const char *const *word = param->allowed; *word && at < sizeof text; word++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? " " : "", *word);
	rpc_allowed_words(call, text);
}

static void unknown(struct rpc_call *call, struct json_span key, struct json_span value)
{
	char name[sizeof call->error.param];

	snprintf(name, sizeof name, "%.*s", (int)(key.len - 2), key.at + 1);
	rpc_fail(call, RPC_PARAMS, name, "%s takes no such parameter", call->method->name);
	note_got(call, value);
	allow_names(call);
}

/* ---- one value ---- */

/* The scalar in `value`, or NULL: a number of more than 64 bits. */
static struct json_object *parse(struct json_span value)
{
	char text[SCALAR_MAX + 2];
	struct json_tokener *tok = json_tokener_new();
	struct json_object *list, *scalar = NULL;

	if (!tok)
		return NULL;
	text[0] = '[';			/* so that json-c sees where a number ends */
	memcpy(text + 1, value.at, value.len);
	text[value.len + 1] = ']';
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	list = json_tokener_parse_ex(tok, text, (int)value.len + 2);
	if (json_tokener_get_error(tok) == json_tokener_success)
		scalar = json_object_get(json_object_array_get_idx(list, 0));
	json_object_put(list);
	json_tokener_free(tok);
	return scalar;
}

static bool is_word(const char *const *allowed, const char *word)
{
	for (; *allowed; allowed++)
		if (!strcmp(*allowed, word))
			return true;
	return false;
}

static bool fits_string(struct json_object *value)
{
	size_t len = (size_t)json_object_get_string_len(value);

	return len && len <= RPC_STRING_MAX && strlen(json_object_get_string(value)) == len;
}

static bool fits_uint(const struct rpc_param *param, struct json_object *value)
{
	uint64_t number = json_object_get_uint64(value);

	return json_object_get_int64(value) >= 0 && number >= param->min && number <= param->max;
}

/* NULL, or what is wrong. */
static const char *misfit(const struct rpc_param *param, struct json_object *value)
{
	enum json_type type = json_object_get_type(value);

	switch (param->type) {
	case RPC_STRING:
		return type != json_type_string ? "not a string" : fits_string(value) ? NULL : "empty, too long, or with a NUL";
	case RPC_ENUM:
		if (type != json_type_string)
			return "not a string";
		return fits_string(value) && is_word(param->allowed, json_object_get_string(value)) ? NULL : "no such value";
	case RPC_UINT:
		return type != json_type_int ? "not a whole number" : fits_uint(param, value) ? NULL : "out of range";
	case RPC_SECONDS:
		if (type != json_type_int && type != json_type_double)
			return "not a number";
		return json_object_get_double(value) >= 0 && json_object_get_double(value) < 1e15 ? NULL : "out of range";
	}
	return "not known";
}

static void take(struct rpc_call *call, const struct rpc_param *param, struct json_span text)
{
	static const char *const types[] = {
		[RPC_STRING] = "not a string", [RPC_ENUM] = "not a string", [RPC_UINT] = "not a whole number",
		[RPC_SECONDS] = "not a number",
	};
	struct json_object *value;
	const char *reason;

	if (strchr("[{tfn", *text.at)) {	/* no parameter is an array, an object, a truth or null */
		bad(call, param, types[param->type], text);
		return;
	}
	if (text.len > SCALAR_MAX) {
		bad(call, param, "too long", text);
		return;
	}
	value = parse(text);
	reason = value ? misfit(param, value) : "out of range";
	if (reason) {
		bad(call, param, reason, text);
		json_object_put(value);
		return;
	}
	json_object_object_add(call->params, param->name, value);
}

/* ---- all of them ---- */

static void take_object(struct rpc_call *call, struct json_span text)
{
	struct json_span key, value;

	for (size_t at = 0; !call->error.code && json_member(text, &at, &key, &value);) {
		const struct rpc_param *const *p = call->method->params;

		while (*p && !json_is(key, (*p)->name))
			p++;
		if (*p)
			take(call, *p, value);
		else
			unknown(call, key, value);
	}
}

/* [a, null, c]: by place; null leaves an optional one out. */
static void take_array(struct rpc_call *call, struct json_span text)
{
	const struct rpc_param *const *p = call->method->params;
	struct json_span value;

	for (size_t at = 0; !call->error.code && json_element(text, &at, &value); p++) {
		if (!*p) {
			rpc_fail(call, RPC_PARAMS, NULL, "more positional parameters than %s takes", call->method->name);
			allow_names(call);
			return;
		}
		if ((*p)->required || *value.at != 'n')
			take(call, *p, value);
	}
}

void rpc_params(struct rpc_call *call, struct json_span text)
{
	call->params = json_object_new_object();
	if (!call->params) {
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
		return;
	}
	if (text.len && *text.at == '[')
		take_array(call, text);
	else if (text.len)
		take_object(call, text);
	for (const struct rpc_param *const *p = call->method->params; *p && !call->error.code; p++)
		if ((*p)->required && !json_object_object_get_ex(call->params, (*p)->name, NULL))
			bad(call, *p, "missing", (struct json_span){ NULL, 0 });
}
