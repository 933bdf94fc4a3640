/* SPDX-License-Identifier: BSD-2-Clause */
/* What one peer may ask for, in one place. Those that a daemon may change are members of struct server_limits. */
#ifndef CTL_LIMITS_H
#define CTL_LIMITS_H

enum {
	RPC_REQUEST_MAX = 1 << 20,	/* bytes of a line */
	RPC_DEPTH_MAX = 32,		/* levels of nested arrays and objects */
	RPC_STRING_MAX = 255,		/* bytes of a parameter */
	RPC_ROWS = 1000,		/* rows of a page, unless told */
	RPC_ROWS_MAX = 10000,
	RPC_BATCH_MAX = 10000,		/* calls of a batch */
	RPC_REPLY_MAX = 8 << 20,	/* bytes of a batch's replies; calls after that get code RPC_LIMIT */
	RPC_ECHO_MAX = 200,		/* bytes of `got` in an error */
};

#endif /* CTL_LIMITS_H */
