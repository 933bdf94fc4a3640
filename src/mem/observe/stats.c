/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One consistent copy of a pool's counters.
 *
 *	committed = real_used + cached + free		whatever is neither free nor in a magazine counts as used by the
 *							manager: so the sum holds also where the copy is of a heap in
 * motion
 *
 * Of a sharded pool: the sums over its shards, each of one state, though not of the same one.
 *
 * Cost: some ten system calls a shard, and one or two for each slot that was ever used.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "mem/observe/peek.h"

#define LARGEST_NS 300000ull

const char *peek_impossible(const struct obs_pool *p, const struct meta_counters *c)
{
	bool own = !p->id.size;		/* the manager has memory of its own: nothing is committed */

	if (c->committed > p->id.size || c->committed % META_PAGE)
		return "counters are impossible: more is committed than the pool may have";
	if ((!own && c->used > c->committed) || c->recorded_bytes > c->used)
		return "counters are impossible: more is used than committed";
	if (c->tally.free_bytes > (own ? 0 : c->committed - c->used))
		return "counters are impossible: more is free than committed";
	if (c->recorded > c->fragments || c->records_used > p->id.records_max || c->sites_used > SITES_MAX)
		return "counters are impossible: more is recorded than there is";
	return NULL;
}

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void counted(const struct obs_pool *p, const struct meta_counters *c, const struct peek_cached *cached,
		    struct obs_stats *s)
{
	bool own = !p->id.size;		/* memory of the manager's own, of which nothing is committed */

	s->size = p->id.size;
	s->stamp = c->stamp + cached->taken;
	s->committed = c->committed;
	s->cached = least(CACHED_BYTES(cached->all), own ? c->used : least(c->used, c->committed));
	s->used = c->used - s->cached;
	s->max_used = c->max_used;
	s->fragments = c->fragments - least(CACHED_COUNT(cached->all), c->fragments);
	if (p->key.domain == OBS_PKG) {		/* in shm every fragment has its record, and nobody counts them */
		uint64_t recorded = c->recorded - least(CACHED_COUNT(cached->recorded), c->recorded);
		uint64_t bytes = c->recorded_bytes - least(CACHED_BYTES(cached->recorded), c->recorded_bytes);

		s->untracked = s->fragments - least(recorded, s->fragments);
		s->untracked_bytes = s->used - least(bytes, s->used);
	}
	if (own) {			/* what it has free nobody knows */
		s->size = s->committed = s->free = s->free_fragments = s->real_used = OBS_UNKNOWN;
		return;
	}
	s->free = least(c->tally.free_bytes, c->committed - s->cached);
	s->free_fragments = c->tally.free_fragments;
	s->real_used = s->committed - s->cached - s->free;
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/**
 * By the manager's own knowledge; what a heap in motion says is bounded by what is free. It is asked again until it
 * stood still, for a while: hundreds of free fragments in as many pages are up to 1 ms.
 */
static uint64_t largest_free(struct obs_pool *p, const struct obs_stats *s)
{
	uint64_t best = OBS_UNKNOWN, value, until = clock_ns() + LARGEST_NS;
	struct peek_heap h;

	if (!p->id.size)
		return OBS_UNKNOWN;
	if (s->free_fragments <= 1)
		return s->free_fragments ? s->free : 0;
	for (unsigned try = 0; try < 8; try++) {
		int e = peek_heap(p, &h);

		if (e == -EAGAIN || e == -EUCLEAN)
			continue;
		if (e || !h.ops->largest)
			break;
		value = h.ops->largest(&h.heap);
		if (h.heap.reader->failed) {
			if (peek_heap_error(&h) == -ESRCH || peek_heap_error(&h) == -EACCES)
				break;
			continue;
		}
		if (value > s->free)
			continue;
		best = value;
		if (peek_heap_same(p, &h) || clock_ns() > until)
			break;
	}
	return best;
}

static enum obs_tracking tracking(const struct obs_pool *p, uint64_t features)
{
	if (features & FEATURE_STACKS)
		return OBS_STACKS;
	if ((features & FEATURE_SITES) || p->key.domain == OBS_SHM)
		return OBS_SITES;
	return features & FEATURE_SAMPLED ? OBS_SAMPLED : OBS_OFF;
}

static void locked_by(struct obs_pool *p, const struct meta_live *live, struct obs_stats *s)
{
	uint64_t word = live->lock;
	struct meta_slot slot;

	if (p->key.domain == OBS_PKG)
		return;
	s->lock_turn = LOCK_TURN(word) | (uint64_t)p->id.shard << 32;
	if (LOCK_SLOT(word) && peek_slot(p, LOCK_SLOT(word) - 1, &slot) &&
	    LOCK_GEN(word) == (SLOT_GEN(slot.state) & 0x7ffff))	/* else that slot has another owner by now */
		s->lock_pid = SLOT_PID(slot.state) > 0 ? SLOT_PID(slot.state) : 0;
}

static void damaged(struct obs_stats *s, const char *reason, size_t bytes)
{
	s->state = OBS_DAMAGED;
	peek_text(s->reason, sizeof s->reason, reason, bytes);
}

/** META that ends too early: nothing is known but that. */
static void unreadable(struct obs_stats *s, int e)
{
	static const char truncated[] = "META is truncated", gone[] = "META cannot be read";

	*s = (struct obs_stats){ .size = OBS_UNKNOWN,
				 .committed = OBS_UNKNOWN,
				 .used = OBS_UNKNOWN,
				 .real_used = OBS_UNKNOWN,
				 .max_used = OBS_UNKNOWN,
				 .free = OBS_UNKNOWN,
				 .cached = OBS_UNKNOWN,
				 .fragments = OBS_UNKNOWN,
				 .free_fragments = OBS_UNKNOWN,
				 .largest_free = OBS_UNKNOWN,
				 .failures = OBS_UNKNOWN,
				 .untracked = OBS_UNKNOWN,
				 .untracked_bytes = OBS_UNKNOWN };
	damaged(s, e == -ENODATA ? truncated : gone, sizeof gone);
}

/** Of one shard. Who lives and what state the pool is in because of it, shard 0 knows. */
static void shard_stats(struct obs_pool *p, bool largest, struct obs_stats *ret_stats)
{
	struct obs_stats s = { 0 };
	struct meta_live live;
	struct peek_crowd crowd;
	struct peek_cached cached = { 0, 0, 0 };
	const char *what;
	int e = peek_live(p, &live), torn;

	if (e) {
		unreadable(&s, e);
		*ret_stats = s;
		return;
	}
	torn = peek_counted(p, &live, &cached);
	peek_crowd(p, live.slots_used, &crowd);
	if (!p->id.shard)
		s.state = peek_state(p, &live, &crowd);
	else if (live.state == POOL_DAMAGED)
		s.state = OBS_DAMAGED;
	if (s.state == OBS_DAMAGED)
		damaged(&s, live.reason, sizeof live.reason);
	counted(p, &live.counters, &cached, &s);
	what = peek_impossible(p, &live.counters);
	if (what && !torn && s.state != OBS_DAMAGED)
		damaged(&s, what, strlen(what));
	s.tracking = tracking(p, live.features);
	s.failures = live.failures;
	s.faults = live.faults;
	s.takeovers = live.takeovers;
	s.rollbacks = live.rollbacks;
	s.recoveries = p->key.domain == OBS_SHM ? live.recoveries : 0;
	s.reaped = p->key.domain == OBS_SHM ? live.reaped : 0;
	s.users = p->key.domain == OBS_SHM ? crowd.living : s.state == OBS_LIVE;
	s.dead = crowd.dead;
	s.slots = (unsigned)least(live.slots_used, p->key.domain == OBS_SHM ? SLOTS_MAX : 1);
	locked_by(p, &live, &s);
	s.largest_free = what || !largest ? OBS_UNKNOWN : largest_free(p, &s);
	*ret_stats = s;
}

/* ---- several shards ---- */

/** What is not known of one shard is not known of all; what no sum has room for neither. */
static void add(uint64_t *sum, uint64_t value)
{
	*sum = value > OBS_UNKNOWN - *sum ? OBS_UNKNOWN : *sum + value;
}

static void damaged_shard(struct obs_stats *s, unsigned k, const char *reason)
{
	char text[160];

	snprintf(text, sizeof text, "shard %u: %s", k, reason);
	damaged(s, text, sizeof text);
}

static void add_shard(struct obs_stats *sum, const struct obs_stats *s, unsigned k)
{
	add(&sum->size, s->size);
	add(&sum->committed, s->committed);
	add(&sum->used, s->used);
	add(&sum->max_used, s->max_used);
	add(&sum->free, s->free);
	add(&sum->cached, s->cached);
	add(&sum->fragments, s->fragments);
	add(&sum->free_fragments, s->free_fragments);
	add(&sum->failures, s->failures);
	add(&sum->untracked, s->untracked);
	add(&sum->untracked_bytes, s->untracked_bytes);
	add(&sum->stamp, s->stamp);
	add(&sum->takeovers, s->takeovers);
	add(&sum->rollbacks, s->rollbacks);
	add(&sum->recoveries, s->recoveries);
	sum->reaped = s->reaped > sum->reaped ? s->reaped : sum->reaped; /* one has a slot in each */
	add(&sum->faults, s->faults);
	sum->real_used = sum->committed == OBS_UNKNOWN ? OBS_UNKNOWN : sum->committed - sum->cached - sum->free;
	sum->largest_free = s->largest_free > sum->largest_free ? s->largest_free : sum->largest_free;
	sum->dead = s->dead > sum->dead ? s->dead : sum->dead;
	sum->slots = s->slots > sum->slots ? s->slots : sum->slots;
	if (!sum->lock_pid && s->lock_pid) {
		sum->lock_pid = s->lock_pid;
		sum->lock_turn = s->lock_turn;
	}
	if (s->state == OBS_DAMAGED && sum->state != OBS_DAMAGED)
		damaged_shard(sum, k, s->reason);
}

static void sum_up(struct obs_pool *p, bool largest, struct obs_stats *sum)
{
	struct obs_stats s = *sum;

	if (sum->state == OBS_DAMAGED)
		damaged_shard(sum, 0, s.reason);
	else if (*p->lacks)
		damaged(sum, p->lacks, sizeof p->lacks);
	for (unsigned k = 1; k < p->id.shards; k++) {
		if (p->shard[k])
			shard_stats(p->shard[k], largest, &s);
		else
			unreadable(&s, -ENOENT);	/* the others' sum would be a wrong number */
		add_shard(sum, &s, k);
	}
}

static int stats(struct obs_pool *p, bool largest, struct obs_stats *ret_stats)
{
	struct obs_stats s;

	shard_stats(p, largest, &s);
	if (p->id.shards > 1)
		sum_up(p, largest, &s);
	*ret_stats = s;
	return 0;
}

int obs_stats(struct obs_pool *p, struct obs_stats *ret_stats) { return stats(p, true, ret_stats); }
int obs_counts(struct obs_pool *p, struct obs_stats *ret_stats) { return stats(p, false, ret_stats); }
