/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *	timer ─> a round in a thread (round.h) ─> it is over: each site's ring gets its sum
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
#include "daemon/round.h"

struct sampler {
	struct daemon *d;
	struct event *timer;
	struct round *round;
	unsigned samples, interval;
	/* ROUND_TABLE rows, and the sums of each: a ring of samples + 1 */
	struct round_row *row;
	uint64_t *ring;
	unsigned count, turn, filled;	/* filled: sums that a ring holds */
	bool full;			/* in the last round a site found no room */
};

static uint64_t *ring_of(const struct sampler *s, size_t at) { return s->ring + at * (s->samples + 1); }

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
	for (size_t at = (hole + 1) % ROUND_TABLE; s->row[at].used; at = (at + 1) % ROUND_TABLE) {
		struct round_row moved = s->row[at];
		size_t to;

		s->row[at].used = false;
		to = round_place(s->row, moved.pool, moved.site);
		s->row[to] = moved;
		if (to != at)
			memcpy(ring_of(s, to), ring_of(s, at), (s->samples + 1) * sizeof *s->ring);
	}
}

static void take_sum(struct sampler *s, const struct round_row *sum)
{
	size_t at = round_place(s->row, sum->pool, sum->site);

	if (!s->row[at].used && s->count < ROUND_SITES) {
		s->row[at] = *sum;
		memset(ring_of(s, at), 0, (s->samples + 1) * sizeof *s->ring);
		s->count++;
	}
	s->full |= !s->row[at].used;
	if (s->row[at].used)
		ring_of(s, at)[s->turn] = sum->sum;
}

static void end_round(void *arg)
{
	struct sampler *s = arg;

	if (!s->row || !s->ring)
		return;
	s->turn = (s->turn + 1) % (s->samples + 1);
	s->filled += s->filled <= s->samples;
	s->full = s->round->full;
	for (size_t i = 0; i < ROUND_TABLE; i++)
		if (s->row[i].used)
			ring_of(s, i)[s->turn] = 0;
	for (size_t i = 0; i < ROUND_TABLE; i++)
		if (s->round->row[i].used)
			take_sum(s, &s->round->row[i]);
	for (size_t i = 0; i < ROUND_TABLE; i++)
		while (s->row[i].used && all_zero(ring_of(s, i), s->samples + 1))
			forget(s, i);
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
	struct growth g = { .samples = s->samples, .interval = s->interval, .full = s->full };
	size_t count = 0;

	for (size_t at = 0; s->row && at < ROUND_TABLE; at++)
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
		key.pool = round_pool(pool);
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

/* ---- life ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct sampler *s = arg;

	(void)fd, (void)what;
	round_start(s->round);
}

static void forget_all(struct sampler *s)
{
	ctl_free(s->row);
	ctl_free(s->ring);
	s->row = NULL;
	s->ring = NULL;
	s->count = s->turn = s->filled = 0;
	s->full = false;
}

static int begin(struct sampler *s)
{
	struct timeval interval = { .tv_sec = s->d->conf.sample_interval };

	s->samples = s->d->conf.samples;
	s->interval = s->d->conf.sample_interval;
	s->row = ctl_zalloc(ROUND_TABLE * sizeof *s->row);
	s->ring = ctl_zalloc(ROUND_TABLE * (s->samples + 1) * sizeof *s->ring);
	if (!s->row || !s->ring || event_add(s->timer, &interval))
		return -ENOMEM;
	return 0;
}

int sampler_new(struct daemon *d, struct sampler **ret_sampler)
{
	struct sampler *s = ctl_zalloc(sizeof *s);
	int error;

	if (!s)
		return -ENOMEM;
	s->d = d;
	s->timer = event_new(d->base, -1, EV_PERSIST, on_timer, s);
	error = s->timer ? round_new(d->base, end_round, s, &s->round) : -ENOMEM;
	if (!error)
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
	round_free(s->round);
	forget_all(s);
	if (s->timer)
		event_free(s->timer);
	ctl_free(s);
}
