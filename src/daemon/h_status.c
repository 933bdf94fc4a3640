/* SPDX-License-Identifier: BSD-2-Clause */
/* status, ping, rpc.discover: what this daemon is, and what it sees. */
#include <string.h>
#include <unistd.h>

#include "ctl/memory.h"
#include "daemon/choice.h"
#include "daemon/commit.h"
#include "daemon/costs.h"
#include "daemon/hosted.h"
#include "daemon/pick.h"
#include "daemon/watch.h"

static void build(struct json_writer *w)
{
	jw_key(w, "build"), jw_open(w, '{');
#ifdef DBG_SR_MEMORY
	row_bool(w, "dbg", true);
#else
	row_bool(w, "dbg", false);
#endif
#ifdef __clang__
	jw_key(w, "compiler"), jw_string(w, __VERSION__);
#else
	jw_key(w, "compiler"), jw_string(w, "GCC " __VERSION__);
#endif
	row_text(w, "commit", MMD_COMMIT);
	jw_close(w, '}');
}

static void daemon_row(struct json_writer *w, const struct daemon *d)
{
	jw_key(w, "daemon"), jw_open(w, '{');
	jw_key(w, "pid"), jw_int(w, getpid());
	jw_key(w, "uptime"), jw_uint(w, (rpc_now() - d->started) / 1000000000u);
	jw_key(w, "socket"), jw_string(w, d->place.path);
	row_text(w, "config", d->conf.file);
	jw_key(w, "connections"), jw_uint(w, server_connections(d->server));
	jw_close(w, '}');
}

static void pool_row(struct json_writer *w, struct daemon *d, struct obs_pool *p)
{
	const struct obs_info *i = obs_info(p);
	struct obs_stats s;
	char held_back[128] = "";

	jw_open(w, '{');
	row_pool(w, i);
	jw_key(w, "shards"), jw_uint(w, i->shards);
	jw_key(w, "incarnation"), jw_uint(w, i->incarnation);
	if (obs_counts(p, &s)) {
		jw_key(w, "state"), jw_null(w);
	} else {
		jw_key(w, "state"), jw_string(w, row_state(s.state));
		if (s.state == OBS_DAMAGED)
			row_text(w, "reason", s.reason);
		if (i->domain == OBS_SHM)
			watch_row(w, d, i, &s);
	}
	hosted_held_back(d, i, held_back, sizeof held_back);
	row_text(w, "held_back", held_back);
	row_bool(w, "hosted", i->hosted);
	row_count(w, "created", i->created);
	jw_key(w, "uid"), jw_uint(w, i->uid);
	jw_close(w, '}');
}

void rpc_status(struct rpc_call *call)
{
	struct daemon *d = daemon_of(call);
	struct json_writer *w = call->out, skipped = { 0 };
	char held_back[1200];
	struct obs_pool *p;
	int unread;

	unread = pick_scan(&d->view, row_skip, &skipped);
	jw_open(w, '{');
	jw_key(w, "schema"), jw_uint(w, RPC_SCHEMA);
	jw_key(w, "version"), jw_string(w, MMD_VERSION);
	build(w);
	daemon_row(w, d);
	jw_key(w, "managers"), jw_open(w, '{');
	choice_write(d, w, held_back, sizeof held_back);
	jw_close(w, '}');
	row_text(w, "held_back", held_back);
	jw_key(w, "pools"), jw_open(w, '[');
	for (size_t i = 0; (p = obs_at(d->view.obs, i)); i++)
		pool_row(w, d, p);
	jw_close(w, ']');
	costs_write(d->costs, w);
	row_skipped(w, &skipped);
	row_text(w, "unread", unread ? strerror(-unread) : "");
	jw_close(w, '}');
}

void rpc_ping(struct rpc_call *call) { jw_string(call->out, "pong"); }
void rpc_rpc_discover(struct rpc_call *call) { rpc_describe(call->out); }
