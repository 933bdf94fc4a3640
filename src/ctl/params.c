/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parameters against their rows: positional ones get their names, every value its type and range, none is left over.
 * A handler never sees a value that its row does not allow.
 */
#include "ctl/rpc.h"

#include <stdio.h>
#include <string.h>

/* "domain pid pool": what a method takes. */
static char *names(const struct rpc_method *method, char *buf, size_t bytes)
{
	size_t at = 0;

	*buf = 0;
	for (const struct rpc_param *const *p = method->params; *p && at < bytes; p++)
		at += (size_t)snprintf(buf + at, bytes - at, "%s%s", at ? " " : "", (*p)->name);
	return buf;
}

static void unknown(struct rpc_call *call, const char *name)
{
	char words[256];

	rpc_fail(call, RPC_PARAMS, name, "%s takes no such parameter", call->method->name);
	rpc_allowed_words(call, names(call->method, words, sizeof words));
}

static void bad(struct rpc_call *call, const struct rpc_param *param, const char *reason)
{
	char text[256];
	size_t at = 0;

	rpc_fail(call, RPC_PARAMS, param->name, "%s", reason);
	if (param->type != RPC_ENUM) {
		rpc_allowed(call, rpc_param_allowed(param, text, sizeof text));
		return;
	}
	for (const char *const *word = param->allowed; *word && at < sizeof text; word++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", at ? " " : "", *word);
	rpc_allowed_words(call, text);
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

	return (json_object_get_int64(value) >= 0) && number >= param->min && number <= param->max;
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

static const struct rpc_param *find(const struct rpc_method *method, const char *name)
{
	for (const struct rpc_param *const *p = method->params; *p; p++)
		if (!strcmp((*p)->name, name))
			return *p;
	return NULL;
}

static void check_each(struct rpc_call *call)
{
	json_object_object_foreach(call->params, name, value) {
		const struct rpc_param *param = find(call->method, name);
		const char *reason = param ? misfit(param, value) : NULL;

		if (!param)
			unknown(call, name);
		else if (reason)
			bad(call, param, reason);
		if (call->error.code)
			return;
	}
	for (const struct rpc_param *const *p = call->method->params; *p; p++)
		if ((*p)->required && !json_object_object_get_ex(call->params, (*p)->name, NULL)) {
			bad(call, *p, "missing");
			return;
		}
}

/* [a, null, c]: by place; null leaves an optional one out. */
static void by_name(struct rpc_call *call)
{
	struct json_object *list = call->params, *value;
	const struct rpc_param *const *param = call->method->params;
	size_t count = json_object_array_length(list);
	char words[256];

	call->params = json_object_new_object();
	for (size_t i = 0; i < count; i++, param++) {
		if (!*param) {
			rpc_fail(call, RPC_PARAMS, NULL, "%zu positional parameters are too many", count);
			rpc_allowed_words(call, names(call->method, words, sizeof words));
			break;
		}
		value = json_object_array_get_idx(list, i);
		if (value || (*param)->required)
			json_object_object_add(call->params, (*param)->name, json_object_get(value));
	}
	json_object_put(list);
}

void rpc_params(struct rpc_call *call, struct json_span text)
{
	struct json_tokener *tok;

	if (!text.len) {
		call->params = json_object_new_object();
	} else {
		tok = json_tokener_new_ex(RPC_DEPTH_MAX + 1);
		if (!tok) {
			rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
			return;
		}
		json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		call->params = json_tokener_parse_ex(tok, text.at, (int)text.len);
		if (json_tokener_get_error(tok) != json_tokener_success)	/* the text is JSON: only numbers are left */
			rpc_fail(call, RPC_PARAMS, NULL, "a number that is too big: %s",
				 json_tokener_error_desc(json_tokener_get_error(tok)));
		json_tokener_free(tok);
	}
	if (!call->error.code && json_object_is_type(call->params, json_type_array))
		by_name(call);
	if (!call->error.code)
		check_each(call);
}
