/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/watch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/memory.h"
#include "daemon/log.h"
#include "daemon/pick.h"

enum { WATCH_S = 1, TOLD_AT_ONCE = 16 };
#define SLICE_NS 2000000ull
#define STALLED_NS 10000000000ull		/* a hold that an operator should know of */

struct watched {
	struct watched *next;
	char id[96];
	bool here, stalled;
	uint64_t recoveries, reaped;		/* told so far */
	uint64_t turn, since;			/* rpc_now() of the first look at this turn; 0: it was free */
};

struct watch {
	struct event *timer;
	struct watched *all;
	bool began;
	size_t at;			/* where a look that took too long goes on */
};

static struct watched *find(struct watch *w, const char *id)
{
	struct watched *x = w->all;

	while (x && strcmp(x->id, id) != 0)
		x = x->next;
	return x;
}

static struct watched *find_or_add(struct watch *w, const char *id)
{
	struct watched *x = find(w, id);

	if (x || !(x = ctl_zalloc(sizeof *x)))
		return x;
	snprintf(x->id, sizeof x->id, "%s", id);
	x->next = w->all;
	w->all = x;
	return x;
}

static void note_hold(struct watched *x, const struct obs_stats *s)
{
	if (!s->lock_pid) {
		x->since = 0;
		x->stalled = false;
	} else if (!x->since || x->turn != s->lock_turn) {
		x->turn = s->lock_turn;
		x->since = rpc_now();
		x->stalled = false;
	}
}

double watch_held(struct daemon *d, const char *pool, const struct obs_stats *s)
{
	struct watched *x = d->watch ? find_or_add(d->watch, pool) : NULL;

	if (!x)
		return 0;
	note_hold(x, s);
	return x->since ? (double)(rpc_now() - x->since) / 1e9 : 0;
}

/* ---- the log ---- */

struct news { struct obs_recovery of[TOLD_AT_ONCE]; uint64_t count, wanted; };

static bool collect(const struct obs_recovery *r, void *arg)
{
	struct news *n = arg;

	n->of[n->count++] = *r;
	return n->count < n->wanted;
}

static void tell_recoveries(struct obs_pool *p, uint64_t more)
{
	struct news n = { .wanted = more < TOLD_AT_ONCE ? more : TOLD_AT_ONCE };
	const char *id = obs_info(p)->id;

	if (!more || obs_recoveries(p, collect, &n))
		return;
	if (more > n.count)
		log_line(LOG_NOTICE, "%s: %llu recoveries, of which the last %llu:", id, (unsigned long long)more,
			 (unsigned long long)n.count);
	while (n.count--) {
		const struct obs_recovery *r = &n.of[n.count];

		log_line(LOG_NOTICE, "%s: lock of dead owner %lld taken over by %lld, %llu stores rolled back, in %llu us",
			 id, (long long)r->dead, (long long)r->pid, (unsigned long long)r->stores,
			 (unsigned long long)(r->ns + 999) / 1000);
	}
}

static void tell_stall(struct watched *x, const struct obs_stats *s)
{
	if (!x->since || x->stalled || rpc_now() - x->since < STALLED_NS)
		return;
	x->stalled = true;
	log_line(LOG_WARNING, "%s: its lock has been held by %lld for %llu s: stopped? it is waited for", x->id,
		 (long long)s->lock_pid, (unsigned long long)((rpc_now() - x->since) / 1000000000u));
}

/* What was before our time is not told, and counters that fell are another pool's, or noise. */
static void look(struct watch *w, struct obs_pool *p)
{
	struct watched *x = find(w, obs_info(p)->id);
	bool known = x;
	struct obs_stats s;

	if (!x)
		x = find_or_add(w, obs_info(p)->id);
	if (!x || obs_counts(p, &s))
		return;
	x->here = true;
	if (s.state == OBS_DAMAGED || s.recoveries == OBS_UNKNOWN)
		return;
	note_hold(x, &s);
	tell_stall(x, &s);
	if (s.recoveries > x->recoveries && (known || w->began))
		tell_recoveries(p, s.recoveries - x->recoveries);
	if (s.reaped > x->reaped && (known || w->began))
		log_line(LOG_NOTICE, "%s: %llu dead owner%s found", x->id, (unsigned long long)(s.reaped - x->reaped),
			 s.reaped - x->reaped == 1 ? "" : "s");
	x->recoveries = s.recoveries;
	x->reaped = s.reaped;
}

static void drop_gone(struct watch *w)
{
	for (struct watched **at = &w->all, *x; (x = *at); ) {
		if (x->here) {
			x->here = false;
			at = &x->next;
			continue;
		}
		*at = x->next;
		ctl_free(x);
	}
}

/* Each slot of each pool is judged, by what the kernel says of its owner: in slices, since the loop has more to do. */
static void on_watch(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval now = { 0, 0 }, interval = { .tv_sec = WATCH_S };
	struct daemon *d = arg;
	struct watch *w = d->watch;
	uint64_t end = rpc_now() + SLICE_NS;
	struct obs_pool *p;

	(void)fd, (void)what;
	if (!w->at)
		pick_scan(&d->view, NULL, NULL);
	while ((p = obs_at(d->view.obs, w->at++))) {
		if (obs_info(p)->domain == OBS_SHM)
			look(w, p);
		if (rpc_now() >= end) {
			event_add(w->timer, &now);
			return;
		}
	}
	w->at = 0;
	drop_gone(w);
	w->began = true;
	event_add(w->timer, &interval);
}

/* ---- rows ---- */

void watch_row(struct json_writer *w, struct daemon *d, const struct obs_info *i, const struct obs_stats *s)
{
	jw_key(w, "users"), jw_uint(w, s->users);
	jw_key(w, "dead"), jw_uint(w, s->dead);
	row_count(w, "reaped", s->reaped);
	row_count(w, "takeovers", s->takeovers);
	row_count(w, "rollbacks", s->rollbacks);
	jw_key(w, "lock");
	if (!s->lock_pid) {
		watch_held(d, i->id, s);
		jw_null(w);
		return;
	}
	jw_open(w, '{');
	jw_key(w, "pid"), jw_int(w, s->lock_pid);
	jw_key(w, "turn"), jw_uint(w, s->lock_turn);
	jw_key(w, "held"), jw_real(w, watch_held(d, i->id, s));
	jw_close(w, '}');
}

/* ---- life ---- */

int watch_open(struct daemon *d)
{
	d->watch = ctl_zalloc(sizeof *d->watch);
	if (!d->watch)
		return -ENOMEM;
	d->watch->timer = event_new(d->base, -1, 0, on_watch, d);
	if (!d->watch->timer)
		return -ENOMEM;
	on_watch(-1, 0, d);		/* what is there already is no news */
	return 0;
}

void watch_close(struct daemon *d)
{
	struct watched *x;

	if (!d->watch)
		return;
	if (d->watch->timer)
		event_free(d->watch->timer);
	while ((x = d->watch->all)) {
		d->watch->all = x->next;
		ctl_free(x);
	}
	ctl_free(d->watch);
	d->watch = NULL;
}
