/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of methods.def, params.def and errors.def as data. */
#include "ctl/method.h"

#include <stdio.h>
#include <string.h>

#include "ctl/limits.h"

static const char *const domains[] = { "pkg", "shm", NULL };
static const char *const states[] = { "used", "free", "cached", "quarantined", NULL };
static const char *const groups[] = { "site", "module", "size", "owner", NULL };
static const char *const evidences[] = { "owner_dead", "at_exit", "growing", NULL };
static const char *const suspicions[] = { "any", "owner_dead", "at_exit", "growing", NULL };
static const char *const modes[] = { "off", "sites", "stacks", "sampled", NULL };

#define PARAM(type, name, metavar, required, help, allowed, min, max) \
	&(const struct rpc_param){ name, metavar, type, required, help, allowed, min, max }
#define PARAMS(...) (const struct rpc_param *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL }
#include "ctl/params.def"

const struct rpc_method rpc_methods[RPC_METHODS] = {
#define METHOD(id, name, role, params, result, summary, example) \
	{ name, ROLE_##role, params, result, summary, example },
#include "ctl/methods.def"
#undef METHOD
};

static const struct { int code; const char *message; } errors[] = {
#define RPC_ERROR(id, code, message) { code, message },
#include "ctl/errors.def"
#undef RPC_ERROR
};

const char *rpc_role_name(enum rpc_role role)
{
	static const char *const names[] = { "none", "read", "operate", "admin" };

	return names[role];
}

const char *rpc_code_message(int code)
{
	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (errors[i].code == code)
			return errors[i].message;
	return "Unknown error";
}

static char *one_of(const char *const *allowed, char *buf, size_t bytes)
{
	size_t at = 0;

	for (; *allowed && at < bytes; allowed++)
		at += (size_t)snprintf(buf + at, bytes - at, "%s%s", at ? ", " : "one of ", *allowed);
	return buf;
}

char *rpc_param_allowed(const struct rpc_param *param, char *buf, size_t bytes)
{
	switch (param->type) {
	case RPC_ENUM:
		return one_of(param->allowed, buf, bytes);
	case RPC_UINT:
		snprintf(buf, bytes, "whole number, %ju to %ju", (uintmax_t)param->min, (uintmax_t)param->max);
		break;
	case RPC_SECONDS:
		snprintf(buf, bytes, "seconds, 0 or more");
		break;
	case RPC_STRING:
		snprintf(buf, bytes, "string of 1 to %d bytes", RPC_STRING_MAX);
		break;
	}
	return buf;
}
