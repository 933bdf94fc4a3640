/* SPDX-License-Identifier: BSD-2-Clause */
/* stats: counters as they are in META; no lock, no walk. One row a pool, and the sums over those that live. */
#include <errno.h>

#include "daemon/daemon.h"
#include "daemon/pick.h"
#include "daemon/watch.h"

/* OBS_UNKNOWN in one row makes the sum unknown: half a sum would be a wrong number. */
static void add(uint64_t *sum, uint64_t value)
{
	*sum = value == OBS_UNKNOWN || *sum == OBS_UNKNOWN ? OBS_UNKNOWN : *sum + value;
}

static void add_stats(struct obs_stats *total, const struct obs_stats *s)
{
	add(&total->used, s->used);
	add(&total->real_used, s->real_used);
	add(&total->max_used, s->max_used);
	add(&total->free, s->free);
	add(&total->cached, s->cached);
	add(&total->committed, s->committed);
	add(&total->fragments, s->fragments);
	add(&total->free_fragments, s->free_fragments);
	add(&total->failures, s->failures);
	add(&total->untracked, s->untracked);
}

static void counters(struct json_writer *w, const struct obs_stats *s)
{
	row_count(w, "size", s->size);
	row_count(w, "used", s->used);
	row_count(w, "real_used", s->real_used);
	row_count(w, "max_used", s->max_used);
	row_count(w, "free", s->free);
	row_count(w, "cached", s->cached);
	row_count(w, "committed", s->committed);
	row_count(w, "fragments", s->fragments);
	row_count(w, "free_fragments", s->free_fragments);
	row_count(w, "largest_free", s->largest_free);
	row_count(w, "failures", s->failures);
	row_count(w, "untracked", s->untracked);
}

static void row(struct json_writer *w, struct daemon *d, const struct obs_info *i, const struct obs_stats *s)
{
	jw_open(w, '{');
	row_pool(w, i);
	jw_key(w, "shards"), jw_uint(w, i->shards);
	jw_key(w, "state"), jw_string(w, row_state(s->state));
	counters(w, s);
	jw_key(w, "tracking"), jw_string(w, row_tracking(s->tracking));
	if (i->domain == OBS_SHM)
		watch_row(w, d, i, s);
	jw_key(w, "faults"), jw_uint(w, s->faults);
	jw_close(w, '}');
}

void rpc_stats(struct rpc_call *call)
{
	struct obs_stats total = { .size = OBS_UNKNOWN, .largest_free = OBS_UNKNOWN }, s;
	struct daemon *d = daemon_of(call);
	struct json_writer *w = call->out;
	struct pick pick;
	int error;

	if (!pick_pools(call, OBS_PKG | OBS_SHM, &pick))
		return;
	jw_open(w, '{');
	jw_key(w, "pools"), jw_open(w, '[');
	for (size_t i = 0; i < pick.count && !call->error.code; i++) {
		struct obs_pool *p = pick_at(view_of(call), &pick, i);

		error = p ? obs_stats(p, &s) : -ENOENT;
		if (!error) {
			row(w, d, obs_info(p), &s);
			if (s.state == OBS_LIVE || s.state == OBS_DRAINING)
				add_stats(&total, &s);
		} else if (pick.one && pick.count == 1) {
			pick_fail(call, pick.id[i], error);
		}
	}
	jw_close(w, ']');
	jw_key(w, "total"), jw_open(w, '{');
	counters(w, &total);
	jw_close(w, '}');
	jw_close(w, '}');
	pick_free(&pick);
}
