/* SPDX-License-Identifier: BSD-2-Clause */
/* pool.list, pool.drop: shared pools that this daemon, or one before it, made for others. */
#include <errno.h>
#include <string.h>

#include "daemon/hosted.h"
#include "daemon/pick.h"
#include "daemon/release.h"
#include "mem/host.h"

static void pool_row(struct rpc_call *call, struct obs_pool *p)
{
	const struct obs_info *i = obs_info(p);
	struct json_writer *w = call->out;
	char held_back[128] = "";
	struct obs_stats s;
	bool known = !obs_counts(p, &s);

	hosted_held_back(daemon_of(call), i, held_back, sizeof held_back);
	jw_open(w, '{');
	jw_key(w, "pool"), jw_string(w, i->id);
	jw_key(w, "name"), jw_string(w, i->name);
	row_text(w, "manager", i->manager);
	jw_key(w, "incarnation"), jw_uint(w, i->incarnation);
	row_text(w, "state", known ? row_state(s.state) : "");
	row_count(w, "size", known ? s.size : OBS_UNKNOWN);
	row_count(w, "used", known ? s.used : OBS_UNKNOWN);
	row_count(w, "users", known ? s.users : OBS_UNKNOWN);
	row_bool(w, "keep", i->keep);
	jw_key(w, "on_death"), jw_string(w, row_on_death(i->on_death));
	row_text(w, "held_back", held_back);
	jw_close(w, '}');
}

void rpc_pool_list(struct rpc_call *call)
{
	struct obs_pool *p;
	int error = pick_scan(view_of(call), NULL, NULL);

	if (error) {
		pick_unread(call, error);
		return;
	}
	jw_open(call->out, '{');
	jw_key(call->out, "pools"), jw_open(call->out, '[');
	for (size_t i = 0; (p = obs_at(view_of(call)->obs, i)); i++)
		if (obs_info(p)->domain == OBS_SHM && obs_info(p)->hosted)
			pool_row(call, p);
	jw_close(call->out, ']');
	jw_close(call->out, '}');
}

static void write_ids(struct rpc_call *call, const char *name, bool still)
{
	struct obs_stats s;
	struct obs_pool *p;

	pick_scan(view_of(call), NULL, NULL);
	for (size_t i = 0; (p = obs_at(view_of(call)->obs, i)); i++)
		if (obs_info(p)->hosted && !strcmp(obs_info(p)->name, name) &&
		    (!still || (!obs_counts(p, &s) && s.state == OBS_DRAINING)))
			jw_string(call->out, obs_info(p)->id);
}

/* Pools in use drain: their users keep them, and they go with the last. Newcomers get a new one at once. */
void rpc_pool_drop(struct rpc_call *call)
{
	struct daemon *d = daemon_of(call);
	const char *name = rpc_text(call, "name");

	jw_open(call->out, '{');
	jw_key(call->out, "name"), jw_string(call->out, name);
	jw_key(call->out, "dropped"), jw_open(call->out, '[');
	write_ids(call, name, false);
	jw_close(call->out, ']');
	if (mem_host_drop(d->host, name, true)) {
		release_no_such(call);
		return;
	}
	hosted_configure(d);
	jw_key(call->out, "draining"), jw_open(call->out, '[');
	write_ids(call, name, true);
	jw_close(call->out, ']');
	jw_close(call->out, '}');
}
