/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The input is a message on the control socket: it is answered by one line of JSON, or by nothing when it asks for
 * nothing. The methods are the real ones; their handlers write what parameters they got.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "rpc: %s\n", what);
		abort();
	}
}

static void echo(struct rpc_call *call)
{
	jw_open(call->out, '[');
	for (const struct rpc_param *const *p = call->method->params; *p; p++) {
		const char *text =
			(*p)->type == RPC_STRING || (*p)->type == RPC_ENUM ? rpc_text(call, (*p)->name) : NULL;

		if (text)
			jw_string(call->out, text);
		else
			jw_null(call->out);
	}
	jw_close(call->out, ']');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static rpc_handler *handlers[RPC_METHODS];
	struct rpc_program program = { .methods = rpc_methods, .methods_count = RPC_METHODS, .handlers = handlers };
	struct rpc_peer peer = { .pid = 1, .role = ROLE_ADMIN };
	struct rpc_session s = { .program = &program, .peer = &peer };
	const char *text;
	size_t len;

	for (unsigned i = 0; i < RPC_METHODS; i++)
		handlers[i] = echo;
	rpc_take(&s, (const char *)data, size);
	while (!rpc_run(&s, UINT64_MAX))
		;
	text = s.out.text;
	len = s.out.len;
	if (len) {
		struct json_fault fault;

		expect(text[len - 1] == '\n' && !memchr(text, '\n', len - 1), "a reply is one line");
		expect(json_check((struct json_span){ text, len - 1 }, 256, &fault), "a reply is JSON");
	}
	rpc_end(&s);
	return 0;
}
