/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * track: asks the owners of live heaps for another tracking mode. mmd writes one word of META; the owner follows at its
 * next call. The answer tells what was asked for. Shared pools always have their ledger, so `off` and `sampled` are not
 * for them.
 */
#include <errno.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/pick.h"

static enum obs_tracking mode_of(const char *text)
{
	enum obs_tracking mode = OBS_OFF;

	while (mode < OBS_SAMPLED && strcmp(text, row_tracking(mode)) != 0)
		mode++;
	return mode;
}

static void refuse_shared(struct rpc_call *call, const char *id)
{
	rpc_fail(call, RPC_PARAMS, "mode", "%s is shared memory, which always has its ledger", id);
	rpc_allowed_words(call, "sites stacks");
}

static bool is_live(struct obs_pool *p)
{
	struct obs_stats stats;

	return !obs_counts(p, &stats) && (stats.state == OBS_LIVE || stats.state == OBS_DRAINING);
}

static void track_one(struct rpc_call *call, const struct pick *pick, size_t i, enum obs_tracking mode)
{
	struct obs_pool *p = pick_at(view_of(call), pick, i);
	struct json_writer *w = call->out;
	int error = p ? 0 : -ENOENT;

	if (p && (pick->one || is_live(p)))
		error = obs_track(p, mode);
	else if (p)
		return;				/* exited or crashed, and nobody named it */
	if (error == -ENOTSUP) {
		refuse_shared(call, pick->id[i]);
		return;
	}
	if (error && pick->one && pick->count == 1) {
		pick_fail(call, pick->id[i], error);
		return;
	}
	jw_open(w, '{');
	jw_key(w, "pool"), jw_string(w, pick->id[i]);
	jw_key(w, "tracking");
	error ? jw_null(w) : jw_string(w, row_tracking(mode));
	if (error)
		jw_key(w, "reason"), jw_string(w, pick_reason(error));
	jw_close(w, '}');
}

void rpc_track(struct rpc_call *call)
{
	enum obs_tracking mode = mode_of(rpc_text(call, "mode"));
	bool named = rpc_text(call, "domain") || rpc_text(call, "pool");
	struct pick pick;

	if (!pick_pools(call, named ? OBS_PKG | OBS_SHM : OBS_PKG, &pick))
		return;
	jw_open(call->out, '{');
	jw_key(call->out, "pools"), jw_open(call->out, '[');
	for (size_t i = 0; i < pick.count && !call->error.code; i++)
		track_one(call, &pick, i, mode);
	jw_close(call->out, ']');
	jw_close(call->out, '}');
	pick_free(&pick);
}
