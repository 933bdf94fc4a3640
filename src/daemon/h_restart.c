/* SPDX-License-Identifier: BSD-2-Clause */
/* restart: answers first; when the answer has left, or after a second, main.c executes mmd anew in this process. */
#include <unistd.h>

#include "daemon/daemon.h"

void rpc_restart(struct rpc_call *call)
{
	struct daemon *d = daemon_of(call);
	struct conf_error error;
	struct conf next;
	struct roles roles;

	/* A daemon that would not come back does not go. */
	if (daemon_next_conf(d, &next, &error) || roles_load(&next, &roles, error.text, sizeof error.text)) {
		rpc_fail(call, RPC_HELD_BACK, NULL, "the configuration is wrong: %.200s", error.text);
		return;
	}
	daemon_restart(d);
	jw_open(call->out, '{');
	row_bool(call->out, "restarting", true);
	jw_key(call->out, "pid"), jw_int(call->out, getpid());
	jw_close(call->out, '}');
}
