/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * failures: requests that got NULL, the newest first, each with the reason.
 *
 * The allocator knows whether its pool was exhausted or fragmented. Whether memory of dead owners would have been
 * enough is seen only from outside: pools with dead owners have their ledger summed, in slices, and the verdict becomes
 * dead_owners.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/memory.h"
#include "daemon/daemon.h"
#include "daemon/pick.h"

enum { LOOK = 4096, LOOK_LATE = 256, KEPT = 64 };

struct failure {
	struct obs_failure f;
	struct obs_site site;
	size_t pool;			/* in pick */
};

struct failures {
	struct daemon *d;
	struct rpc_call *call;
	struct pick pick;
	size_t i;
	uint64_t at, limit, dead_bytes;
	unsigned seen;
	struct failure *row;
	size_t count, first;		/* first: of this pool */
	bool began;
};

static bool on_failure(const struct obs_failure *f, void *arg)
{
	struct failures *s = arg;
	struct failure *row = &s->row[s->count];

	row->f = *f;
	row->pool = s->i;
	row->site = *places_site(&s->d->places, f->site);
	s->count++;
	return s->count - s->first < KEPT;
}

static bool on_record(const struct obs_fragment *f, void *arg)
{
	struct failures *s = arg;

	if (f->state == OBS_USED && places_owner(&s->d->places, f->slot)->pid > 0 &&
	    !places_owner(&s->d->places, f->slot)->alive)
		s->dead_bytes += f->size;
	return ++s->seen % LOOK_LATE || !rpc_late(s->call);
}

/* Room for the pool's failures, then they. False: nothing more is to be looked at there. */
static bool collect(struct failures *s, struct obs_pool *p)
{
	struct failure *row = ctl_resize(s->row, (s->count + KEPT) * sizeof *row);
	struct obs_stats stats;
	int error;

	if (!row) {
		rpc_fail(s->call, RPC_INTERNAL, NULL, "out of memory");
		return false;
	}
	s->row = row;
	s->first = s->count;
	s->dead_bytes = 0;
	error = obs_failures(p, on_failure, s);
	if (error && s->pick.one && s->pick.count == 1)
		pick_fail(s->call, s->pick.id[s->i], error);
	return !error && s->count > s->first && !obs_stats(p, &stats) && stats.dead && obs_info(p)->domain == OBS_SHM;
}

static void judge(struct failures *s)
{
	for (size_t i = s->first; i < s->count; i++) {
		struct obs_failure *f = &s->row[i].f;

		if (!strcmp(f->verdict, "exhausted") && s->dead_bytes && f->free + s->dead_bytes >= f->requested)
			f->verdict = "dead_owners";
	}
}

static void look(struct failures *s)
{
	struct obs_pool *p = pick_at(s->d, &s->pick, s->i);
	bool more = p != NULL;

	if (p && s->d->places.pool != p)
		places_of(&s->d->places, p);
	if (p && !s->began) {
		s->began = true;
		s->at = 0;
		more = collect(s, p);
	}
	if (more && !obs_records(p, &s->at, LOOK, on_record, s) && s->at)
		return;
	if (more)
		judge(s);
	s->began = false;
	s->i++;
}

static int newer(const void *a, const void *b)
{
	const struct failure *x = a, *y = b;

	return x->f.time < y->f.time   ? 1
	       : x->f.time > y->f.time ? -1
	       : x->pool > y->pool     ? 1
	       : x->pool < y->pool     ? -1
				       : 0;
}

static void write_rows(struct failures *s)
{
	struct json_writer *w = s->call->out;

	if (s->count)
		qsort(s->row, s->count, sizeof *s->row, newer);
	jw_open(w, '{');
	jw_key(w, "failures"), jw_open(w, '[');
	for (size_t i = 0; i < s->count && i < s->limit; i++) {
		const struct failure *row = &s->row[i];

		jw_open(w, '{');
		jw_key(w, "time"), jw_uint(w, row->f.time);
		jw_key(w, "pool"), jw_string(w, s->pick.id[row->pool]);
		jw_key(w, "pid"), jw_int(w, row->f.pid);
		row_site(w, &row->site);
		row_count(w, "requested", row->f.requested);
		row_count(w, "free", row->f.free);
		row_count(w, "largest_free", row->f.largest_free);
		jw_key(w, "verdict"), jw_string(w, row->f.verdict);
		jw_close(w, '}');
	}
	jw_close(w, ']');
	jw_close(w, '}');
}

static void step(struct rpc_call *call)
{
	struct failures *s = call->state;

	s->call = call;
	places_of(&s->d->places, NULL);
	while (s->i < s->pick.count && !call->error.code) {
		look(s);
		if (rpc_late(call))
			return;
	}
	if (!call->error.code)
		write_rows(s);
	rpc_done(call);
}

static void drop(void *state)
{
	struct failures *s = state;

	pick_free(&s->pick);
	ctl_free(s->row);
	ctl_free(s);
}

void rpc_failures(struct rpc_call *call)
{
	struct failures *s = ctl_zalloc(sizeof *s);

	if (!s) {
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
		return;
	}
	s->d = daemon_of(call);
	s->limit = rpc_uint(call, "limit", RPC_ROWS);
	if (!pick_pools(call, OBS_PKG | OBS_SHM, &s->pick)) {
		drop(s);
		return;
	}
	rpc_later(call, step, s, drop);
	step(call);
}
