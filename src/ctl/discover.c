/* SPDX-License-Identifier: BSD-2-Clause */
/* The method table as JSON: what rpc.discover answers. */
#include <string.h>

#include "ctl/rpc.h"
#include "memapi/memapi.h"

#define STRING_(x) #x
#define STRING(x) STRING_(x)

static void schema(struct json_writer *w, const struct rpc_param *p)
{
	static const char *const types[] = {
		[RPC_STRING] = "string", [RPC_ENUM] = "string", [RPC_UINT] = "integer", [RPC_SECONDS] = "number"
	};

	jw_open(w, '{');
	jw_key(w, "type"), jw_string(w, types[p->type]);
	switch (p->type) {
	case RPC_STRING:
		jw_key(w, "minLength"), jw_uint(w, 1);
		jw_key(w, "maxLength"), jw_uint(w, RPC_STRING_MAX);
		break;
	case RPC_ENUM:
		jw_key(w, "enum"), jw_open(w, '[');
		for (const char *const *word = p->allowed; *word; word++)
			jw_string(w, *word);
		jw_close(w, ']');
		break;
	case RPC_UINT:
		jw_key(w, "minimum"), jw_uint(w, p->min);
		jw_key(w, "maximum"), jw_uint(w, p->max);
		break;
	case RPC_SECONDS:
		jw_key(w, "minimum"), jw_uint(w, 0);
		break;
	}
	jw_close(w, '}');
}

static void method(struct json_writer *w, const struct rpc_method *m)
{
	jw_open(w, '{');
	jw_key(w, "name"), jw_string(w, m->name);
	jw_key(w, "role"), jw_string(w, rpc_role_name(m->role));
	jw_key(w, "summary"), jw_string(w, m->summary);
	jw_key(w, "params"), jw_open(w, '[');
	for (const struct rpc_param *const *p = m->params; *p; p++) {
		jw_open(w, '{');
		jw_key(w, "name"), jw_string(w, (*p)->name);
		jw_key(w, "required"), jw_bool(w, (*p)->required);
		jw_key(w, "description"), jw_string(w, (*p)->help);
		jw_key(w, "schema"), schema(w, *p);
		jw_close(w, '}');
	}
	jw_close(w, ']');
	jw_key(w, "result"), jw_string(w, m->result);
	jw_key(w, "example"), jw_raw(w, m->example, strlen(m->example));
	jw_close(w, '}');
}

void rpc_describe(struct json_writer *w)
{
	jw_open(w, '{');
	jw_key(w, "schema"), jw_uint(w, RPC_SCHEMA);
	jw_key(w, "version"), jw_string(w, STRING(MEMAPI_VERSION_MAJOR) "." STRING(MEMAPI_VERSION_MINOR));
	jw_key(w, "methods"), jw_open(w, '[');
	for (int i = 0; i < RPC_METHODS; i++)
		method(w, &rpc_methods[i]);
	jw_close(w, ']');
	jw_key(w, "errors"), jw_open(w, '[');
#define RPC_ERROR(id, number, text) \
	jw_open(w, '{'), jw_key(w, "code"), jw_int(w, number), jw_key(w, "message"), jw_string(w, text), jw_close(w, '}');
#include "ctl/errors.def"
#undef RPC_ERROR
	jw_close(w, ']');
	jw_close(w, '}');
}
