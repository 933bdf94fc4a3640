/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Failed requests, faults and recoveries: rings of the last RING_MAX entries each.
 *
 * The entry of the k-th event lies at place k % RING_MAX and has seq k + 1, written last. A ring is read twice: what
 * has the right seq and is the same in both copies was whole. Each shard has its own two; they are told as one, by
 * the entries' times, each ring from its newest entry on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/observe/peek.h"

_Static_assert(sizeof(struct meta_failure) == sizeof(struct meta_fault), "rings are read alike");

struct ring { struct meta_failure e[RING_MAX]; };	/* of either kind */

/** `ret_total`: events ever. */
static int ring_read(struct obs_pool *p, uint64_t counter, uint64_t at, struct ring *ret_ring, uint64_t *ret_total)
{
	struct ring again;
	uint64_t committed;
	int e = peek_meta(p, META_LIVE + counter, ret_total, sizeof *ret_total);

	if (!e)
		e = peek_meta(p, META_LIVE + offsetof(struct meta_live, rings_committed), &committed, sizeof committed);
	if (e)
		return e == -ENODATA ? -EUCLEAN : e;
	e = *ret_total && committed ? peek_meta(p, at, ret_ring, sizeof *ret_ring) : -ENODATA;
	if (!e)
		e = peek_meta(p, at, &again, sizeof again);
	if (e == -ENODATA) {			/* none yet */
		*ret_total = 0;
		return 0;
	}
	for (unsigned i = 0; !e && i < RING_MAX; i++)
		if (memcmp(&ret_ring->e[i], &again.e[i], sizeof again.e[i]))
			ret_ring->e[i].seq = 0;
	return e;
}

/** Entry of the k-th event, or NULL. */
static const struct meta_failure *ring_entry(const struct ring *r, uint64_t k)
{
	const struct meta_failure *e = &r->e[k % RING_MAX];

	return e->seq == k + 1 ? e : NULL;
}

/** A ring, and how far it was told. */
struct reel { struct ring ring; uint64_t total, next; };

/** The next entry of a ring, which are told from the newest on; NULL: no more. */
static const struct meta_failure *reel_at(struct reel *r)
{
	for (; r->next && r->total - r->next < RING_MAX; r->next--) {
		const struct meta_failure *e = ring_entry(&r->ring, r->next - 1);

		if (e)
			return e;
	}
	return NULL;
}

static const struct meta_failure *newest(struct reel *r, unsigned count)
{
	const struct meta_failure *best = NULL;
	unsigned of = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct meta_failure *e = reel_at(&r[i]);

		if (e && (!best || e->time > best->time)) {
			best = e;
			of = i;
		}
	}
	if (best)
		r[of].next--;
	return best;
}

typedef bool entry_fn(const struct meta_failure *e, void *arg);	/* false: enough */

static int reels_tell(struct obs_pool *p, uint64_t counter, uint64_t at, struct reel *r, entry_fn *tell, void *arg)
{
	const struct meta_failure *entry;
	unsigned count = 0;
	int e = 0;

	for (unsigned k = 0; !e && k < p->id.shards; k++) {
		if (!p->shard[k])
			continue;
		e = ring_read(p->shard[k], counter, at, &r[count].ring, &r[count].total);
		r[count].next = r[count].total;
		count++;
	}
	while (!e && (entry = newest(r, count)) && tell(entry, arg))
		;
	return e;
}

static int rings_tell(struct obs_pool *p, uint64_t counter, uint64_t at, entry_fn *tell, void *arg)
{
	struct reel one, *all;
	int e;

	if (p->id.shards == 1)
		return reels_tell(p, counter, at, &one, tell, arg);
	all = malloc(p->id.shards * sizeof *all);
	e = all ? reels_tell(p, counter, at, all, tell, arg) : -ENOMEM;
	free(all);
	return e;
}

static uint32_t site_of(uint64_t site) { return site < SITES_MAX ? (uint32_t)site : 0; }
static int64_t pid_of(int64_t pid) { return pid > 0 && pid <= INT32_MAX ? pid : 0; }

/* ---- what callers get ---- */

struct failures { obs_failure_fn *fn; void *arg; };

static bool failure_tell(const struct meta_failure *f, void *arg)
{
	static const char *const verdicts[] = { "exhausted", "fragmented", "limit", "dead_owners", "deadlock" };
	const struct failures *to = arg;

	if (f->verdict >= sizeof verdicts / sizeof verdicts[0])
		return true;
	return to->fn(&(struct obs_failure){ .time = f->time,
					     .pid = pid_of(f->pid),
					     .site = site_of(f->site),
					     .requested = f->requested,
					     .free = f->free,
					     .largest_free = f->largest_free,
					     .verdict = verdicts[f->verdict] },
		      to->arg);
}

int obs_failures(struct obs_pool *p, obs_failure_fn *fn, void *arg)
{
	return rings_tell(p, offsetof(struct meta_live, failures), META_FAILURES, failure_tell,
			  &(struct failures){ fn, arg });
}

struct faults { obs_fault_fn *fn; void *arg; };

static bool fault_tell(const struct meta_failure *entry, void *arg)
{
	static const char *const kinds[] = { "double free", "wild free", "overrun", "deadlock" };
	const struct faults *to = arg;
	struct meta_fault f;

	memcpy(&f, entry, sizeof f);
	if (f.kind >= sizeof kinds / sizeof kinds[0])
		return true;
	return to->fn(&(struct obs_fault){ .time = f.time,
					   .address = f.address,
					   .pid = pid_of(f.pid),
					   .kind = kinds[f.kind],
					   .site = site_of(f.site),
					   .alloc_site = site_of(f.alloc_site),
					   .free_site = site_of(f.free_site) },
		      to->arg);
}

int obs_faults(struct obs_pool *p, obs_fault_fn *fn, void *arg)
{
	return rings_tell(p, offsetof(struct meta_live, faults), META_FAULTS, fault_tell, &(struct faults){ fn, arg });
}

struct recoveries { obs_recovery_fn *fn; void *arg; };

static bool recovery_tell(const struct meta_failure *entry, void *arg)
{
	const struct recoveries *to = arg;
	struct meta_recovery r;

	memcpy(&r, entry, sizeof r);
	return to->fn(&(struct obs_recovery){ .time = r.time,
					      .pid = pid_of(r.pid),
					      .dead = pid_of(r.dead),
					      .stores = r.stores,
					      .ns = r.ns },
		      to->arg);
}

int obs_recoveries(struct obs_pool *p, obs_recovery_fn *fn, void *arg)
{
	if (p->key.domain != OBS_SHM)
		return 0;
	return rings_tell(p, offsetof(struct meta_live, recoveries), META_RECOVERIES, recovery_tell,
			  &(struct recoveries){ fn, arg });
}
