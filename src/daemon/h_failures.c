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
#include "daemon/visit.h"

enum { KEPT = 64 };			/* of a pool, the last ones */

struct failure {
	struct obs_failure f;
	struct obs_site site;
	size_t pool;			/* in pick */
};

struct failures {
	struct visit v;
	uint64_t limit, dead_bytes;
	struct failure *row;
	size_t count, first;		/* first: of this pool */
	bool began;
};

static bool on_failure(const struct obs_failure *f, void *arg)
{
	struct failures *s = arg;
	struct failure *row = &s->row[s->count];

	row->f = *f;
	row->pool = s->v.i;
	row->site = *places_site(&s->v.view->places, f->site);
	s->count++;
	return s->count - s->first < KEPT;
}

static bool on_record(const struct obs_fragment *f, void *arg)
{
	struct failures *s = arg;

	if (f->state == OBS_USED && places_owner(&s->v.view->places, f->slot)->pid > 0 &&
	    !places_owner(&s->v.view->places, f->slot)->alive)
		s->dead_bytes += f->size;
	return visit_goes_on(&s->v);
}

/* Room for the pool's failures, then they. False: nothing more is to be looked at there. */
static bool collect(struct failures *s, struct obs_pool *p)
{
	struct failure *row = ctl_resize(s->row, (s->count + KEPT) * sizeof *row);
	struct obs_stats stats;
	int error;

	if (!row) {
		rpc_fail(s->v.call, RPC_INTERNAL, NULL, "out of memory");
		return false;
	}
	s->row = row;
	s->first = s->count;
	s->dead_bytes = 0;
	error = obs_failures(p, on_failure, s);
	visit_error(&s->v, error);
	return !error && s->count > s->first && !obs_counts(p, &stats) && stats.dead && obs_info(p)->domain == OBS_SHM;
}

static void judge(struct failures *s)
{
	for (size_t i = s->first; i < s->count; i++) {
		struct obs_failure *f = &s->row[i].f;

		if (!strcmp(f->verdict, "exhausted") && s->dead_bytes && f->free + s->dead_bytes >= f->requested)
			f->verdict = "dead_owners";
	}
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

/* Of all pools hardly more is held than twice what the answer may have. */
static void keep_newest(struct failures *s)
{
	if (s->count)
		qsort(s->row, s->count, sizeof *s->row, newer);
	if (s->count > s->limit)
		s->count = s->limit;
}

static void look(struct visit *v)
{
	struct failures *s = (struct failures *)(void *)v;
	struct obs_pool *p = visit_pool(v);
	bool more = p != NULL;

	if (p && !s->began) {
		s->began = true;
		more = collect(s, p);
	}
	if (more && !obs_records(p, &v->at, VISIT_LOOK, on_record, s) && v->at)
		return;
	if (more)
		judge(s);
	if (s->count >= 2 * s->limit)
		keep_newest(s);
	s->began = false;
	visit_next(v);
}

static bool finish(struct visit *v)
{
	struct failures *s = (struct failures *)(void *)v;
	struct json_writer *w = v->call->out;

	keep_newest(s);
	jw_open(w, '{');
	jw_key(w, "failures"), jw_open(w, '[');
	for (size_t i = 0; i < s->count; i++) {
		const struct failure *row = &s->row[i];

		jw_open(w, '{');
		jw_key(w, "time"), jw_uint(w, row->f.time);
		jw_key(w, "pool"), jw_string(w, s->v.pick.id[row->pool]);
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
	return true;
}

static void drop(void *state)
{
	struct failures *s = state;

	pick_free(&s->v.pick);
	ctl_free(s->row);
	ctl_free(s);
}

void rpc_failures(struct rpc_call *call)
{
	static bool is_long;
	struct failures *s = ctl_zalloc(sizeof *s);

	if (!s) {
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
		return;
	}
	s->v.look = look;
	s->v.finish = finish;
	s->limit = rpc_uint(call, "limit", RPC_ROWS);
	visit_begin(call, &s->v, drop, &is_long);
}
