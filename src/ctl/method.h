/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of methods, their parameters and the error codes: plain data from methods.def, params.def and errors.def.
 *
 * Whoever needs help texts, completion, a schema or a manual page reads these rows; nobody repeats them.
 */
#ifndef CTL_METHOD_H
#define CTL_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RPC_SCHEMA = 1 };		/* of names and meanings on the socket, told by status */

/** What a peer may do. Each role may do all that those below it may. */
enum rpc_role { ROLE_NONE, ROLE_READ, ROLE_OPERATE, ROLE_ADMIN };

/** "none read operate admin" */
const char *rpc_role_name(enum rpc_role role);

enum rpc_type {
	RPC_STRING,			/* not empty, at most 255 bytes */
	RPC_ENUM,			/* one of `allowed` */
	RPC_UINT,			/* a whole number, min to max */
	RPC_SECONDS,			/* a number that is not negative, fractions allowed */
};

struct rpc_param {
	const char *name, *metavar;	/* metavar: in help texts */
	enum rpc_type type;
	bool required;
	const char *help;
	const char *const *allowed;	/* RPC_ENUM: NULL-terminated */
	uint64_t min, max;		/* RPC_UINT */
};

struct rpc_method {
	const char *name;
	enum rpc_role role;
	const struct rpc_param *const *params;	/* in the order of positional parameters; NULL-terminated */
	const char *result, *summary, *example;	/* example: JSON text of the parameters */
};

/* RPC_METHOD_status, …: index of each row. */
enum {
#define METHOD(id, ...) RPC_METHOD_##id,
#include "ctl/methods.def"
#undef METHOD
	RPC_METHODS
};

extern const struct rpc_method rpc_methods[RPC_METHODS];

/** RPC_PARSE, RPC_REQUEST, …: the codes themselves. */
enum rpc_code {
	RPC_OK,
#define RPC_ERROR(id, code, message) RPC_##id = (code),
#include "ctl/errors.def"
#undef RPC_ERROR
};

/** Message of a code; "Unknown error" for one that is not in the table. */
const char *rpc_code_message(int code);

/** "one of a, b, c", "whole number, 1 to 10000", …: what a parameter may be, for error texts. Returns `buf`. */
char *rpc_param_allowed(const struct rpc_param *param, char *buf, size_t bytes);

#endif /* CTL_METHOD_H */
