/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *	timer ─> pools of this round ─> slice ─> slice ─> … ─> the round is over: each site's ring gets its sum
 *
 * Sites are found by hash of (pool, number). A site that was not met in a round gets 0, and after a whole ring of zeros
 * its row is dropped. Invariant: every ring has the same position, `turn`.
 */
#include "daemon/sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/memory.h"
#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/pick.h"

enum { LOOK = 4096, LOOK_LATE = 256, SLICE_NS = 1000000, TABLE = SAMPLE_SITES * 2 };

struct row {
	uint64_t pool;			/* hash of its id */
	uint32_t site;
	bool used;
	uint64_t now;			/* the sum of the round that runs */
};

struct sampler {
	struct daemon *d;
	struct event *timer, *work;
	unsigned samples, interval;
	/* TABLE rows, and a ring of samples + 1 sums for each */
	struct row *row;
	uint64_t *ring;
	unsigned count, turn, filled;	/* filled: sums that a ring holds */
	bool full, was_full;		/* a site found no room: in the round that runs, in the last one */
	/* the round that runs */
	struct pick pick;
	size_t i;
	uint64_t at, pool, deadline;
	unsigned seen;
};

static uint64_t hash_text(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	return hash;
}

/* Index of the row, or of the empty one where it belongs. */
static size_t place(const struct sampler *s, uint64_t pool, uint32_t site)
{
	size_t at = (size_t)(((pool ^ site) * 0x9e3779b97f4a7c15) >> 32) % TABLE;

	while (s->row[at].used && (s->row[at].pool != pool || s->row[at].site != site))
		at = (at + 1) % TABLE;
	return at;
}

static uint64_t *ring_of(const struct sampler *s, size_t at) { return s->ring + at * (s->samples + 1); }

static bool on_record(const struct obs_fragment *f, void *arg)
{
	struct sampler *s = arg;
	size_t at;

	if (f->state == OBS_USED && f->site) {
		at = place(s, s->pool, f->site);
		if (!s->row[at].used && s->count < SAMPLE_SITES) {
			s->row[at] = (struct row){ .pool = s->pool, .site = f->site, .used = true };
			memset(ring_of(s, at), 0, (s->samples + 1) * sizeof *s->ring);
			s->count++;
		}
		s->full |= !s->row[at].used;
		s->row[at].now += s->row[at].used ? f->size : 0;
	}
	return ++s->seen % LOOK_LATE || rpc_now() < s->deadline;
}

/* ---- the end of a round ---- */

static bool all_zero(const uint64_t *ring, unsigned count)
{
	while (count--)
		if (ring[count])
			return false;
	return true;
}

/* Rows that follow may have been pushed on by the one that goes: they are put in again. */
static void forget(struct sampler *s, size_t hole)
{
	s->row[hole].used = false;
	s->count--;
	for (size_t at = (hole + 1) % TABLE; s->row[at].used; at = (at + 1) % TABLE) {
		struct row moved = s->row[at];
		size_t to;

		s->row[at].used = false;
		to = place(s, moved.pool, moved.site);
		s->row[to] = moved;
		if (to != at)
			memcpy(ring_of(s, to), ring_of(s, at), (s->samples + 1) * sizeof *s->ring);
	}
}

static void end_round(struct sampler *s)
{
	s->turn = (s->turn + 1) % (s->samples + 1);
	s->filled += s->filled <= s->samples;
	s->was_full = s->full;
	s->full = false;
	for (size_t i = 0; i < TABLE; i++)
		if (s->row[i].used) {
			ring_of(s, i)[s->turn] = s->row[i].now;
			s->row[i].now = 0;
		}
	for (size_t i = 0; i < TABLE; i++)
		while (s->row[i].used && all_zero(ring_of(s, i), s->samples + 1))
			forget(s, i);
	pick_free(&s->pick);
}

/* ---- what grows ---- */

static uint64_t figure(const struct sampler *s, size_t at, unsigned i)
{
	return ring_of(s, at)[(s->turn + 1 + i) % (s->samples + 1)];
}

static bool grows(const struct sampler *s, size_t at)
{
	if (!s->row[at].used || s->filled <= s->samples)
		return false;
	for (unsigned i = 0; i < s->samples; i++)
		if (figure(s, at, i) >= figure(s, at, i + 1))
			return false;
	return true;
}

static int by_place(const void *a, const void *b)
{
	const struct growing *x = a, *y = b;

	return x->pool != y->pool ? (x->pool > y->pool) - (x->pool < y->pool)
				  : (x->site > y->site) - (x->site < y->site);
}

/* Two passes: few sites grow, as a rule none, and rings are long. */
bool sampler_growth(const struct sampler *s, struct growth *ret_growth)
{
	struct growth g = { .samples = s->samples, .interval = s->interval, .full = s->was_full };
	size_t count = 0;

	for (size_t at = 0; s->row && at < TABLE; at++)
		count += grows(s, at);
	if (count) {
		g.site = ctl_resize(NULL, count * sizeof *g.site);
		g.figures = ctl_resize(NULL, count * (s->samples + 1) * sizeof *g.figures);
		if (!g.site || !g.figures) {
			growth_free(&g);
			return false;
		}
	}
	for (size_t at = 0; g.count < count; at++) {
		if (!grows(s, at))
			continue;
		for (unsigned i = 0; i <= s->samples; i++)
			g.figures[g.count * (s->samples + 1) + i] = figure(s, at, i);
		g.site[g.count] = (struct growing){ s->row[at].pool, s->row[at].site, (uint32_t)g.count };
		g.count++;
	}
	if (count)
		qsort(g.site, count, sizeof *g.site, by_place);
	*ret_growth = g;
	return true;
}

const uint64_t *growth_of(const struct growth *g, const char *pool, uint32_t site)
{
	struct growing key = { .site = site }, *found = NULL;

	if (g->count) {
		key.pool = hash_text(pool);
		found = bsearch(&key, g->site, g->count, sizeof key, by_place);
	}
	return found ? g->figures + found->row * (g->samples + 1) : NULL;
}

void growth_free(struct growth *g)
{
	ctl_free(g->site);
	ctl_free(g->figures);
	g->site = NULL;
	g->figures = NULL;
	g->count = 0;
}

/* ---- slices ---- */

static bool is_sampled(struct obs_pool *p)
{
	struct obs_stats stats;

	if (obs_stats(p, &stats) || (stats.state != OBS_LIVE && stats.state != OBS_DRAINING))
		return false;
	return obs_info(p)->domain == OBS_SHM || stats.tracking != OBS_OFF;
}

static void on_work(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval now = { 0, 0 };
	struct sampler *s = arg;

	(void)fd, (void)what;
	s->deadline = rpc_now() + SLICE_NS;
	while (s->i < s->pick.count) {
		struct obs_pool *p = pick_at(&s->d->view, &s->pick, s->i);

		s->pool = hash_text(s->pick.id[s->i]);
		if (!p || (!s->at && !is_sampled(p)) || obs_records(p, &s->at, LOOK, on_record, s))
			s->at = 0;
		s->i += !s->at;
		if (rpc_now() >= s->deadline && s->i < s->pick.count) {
			event_add(s->work, &now);
			return;
		}
	}
	end_round(s);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval now = { 0, 0 };
	struct sampler *s = arg;

	(void)fd, (void)what;
	if (s->pick.id)
		return;			/* the last round still runs: this sample is left out */
	s->i = 0;
	s->at = 0;
	if (!pick_all(&s->d->view, &s->pick))
		return;
	event_add(s->work, &now);
}

/* ---- life ---- */

static void forget_all(struct sampler *s)
{
	event_del(s->work);
	pick_free(&s->pick);
	ctl_free(s->row);
	ctl_free(s->ring);
	s->row = NULL;
	s->ring = NULL;
	s->count = s->turn = s->filled = 0;
	s->full = s->was_full = false;
}

static int begin(struct sampler *s)
{
	struct timeval interval = { .tv_sec = s->d->conf.sample_interval };

	s->samples = s->d->conf.samples;
	s->interval = s->d->conf.sample_interval;
	s->row = ctl_zalloc(TABLE * sizeof *s->row);
	s->ring = ctl_zalloc(TABLE * (s->samples + 1) * sizeof *s->ring);
	if (!s->row || !s->ring || event_add(s->timer, &interval))
		return -ENOMEM;
	return 0;
}

int sampler_new(struct daemon *d, struct sampler **ret_sampler)
{
	struct sampler *s = ctl_zalloc(sizeof *s);
	int error = -ENOMEM;

	if (!s)
		return error;
	s->d = d;
	s->timer = event_new(d->base, -1, EV_PERSIST, on_timer, s);
	s->work = event_new(d->base, -1, 0, on_work, s);
	if (s->timer && s->work)
		error = begin(s);
	if (error) {
		sampler_free(s);
		return error;
	}
	*ret_sampler = s;
	return 0;
}

void sampler_configure(struct sampler *s)
{
	if (s->samples == s->d->conf.samples && s->interval == s->d->conf.sample_interval)
		return;
	event_del(s->timer);
	forget_all(s);
	if (begin(s))
		log_line(LOG_ERR, "no memory for samples: evidence `growing` is off until the next restart");
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	if (s->work)
		forget_all(s);
	if (s->timer)
		event_free(s->timer);
	if (s->work)
		event_free(s->work);
	ctl_free(s);
}
