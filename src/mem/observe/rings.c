/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Failed requests and faults: two rings of the last RING_MAX entries.
 *
 * The entry of the k-th event lies at place k % RING_MAX and has seq k + 1, written last. A ring is read twice: what
 * has the right seq and is the same in both copies was whole.
 */
#include <errno.h>
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

static uint32_t site_of(uint64_t site) { return site < SITES_MAX ? (uint32_t)site : 0; }
static int64_t pid_of(int64_t pid) { return pid > 0 && pid <= INT32_MAX ? pid : 0; }

int obs_failures(struct obs_pool *p, obs_failure_fn *fn, void *arg)
{
	static const char *const verdicts[] = { "exhausted", "fragmented", "limit", "dead_owners", "deadlock" };
	uint64_t total, k;
	struct ring r;
	int e = ring_read(p, offsetof(struct meta_live, failures), META_FAILURES, &r, &total);

	if (e)
		return e;
	for (k = total; k-- && total - k <= RING_MAX; ) {
		const struct meta_failure *f = ring_entry(&r, k);

		if (!f || f->verdict >= sizeof verdicts / sizeof verdicts[0])
			continue;
		if (!fn(&(struct obs_failure){ .time = f->time,
					       .pid = pid_of(f->pid),
					       .site = site_of(f->site),
					       .requested = f->requested,
					       .free = f->free,
					       .largest_free = f->largest_free,
					       .verdict = verdicts[f->verdict] },
			arg))
			break;
	}
	return 0;
}

int obs_faults(struct obs_pool *p, obs_fault_fn *fn, void *arg)
{
	static const char *const kinds[] = { "double free", "wild free", "overrun", "deadlock" };
	uint64_t total, k;
	struct meta_fault f;
	struct ring r;
	int e = ring_read(p, offsetof(struct meta_live, faults), META_FAULTS, &r, &total);

	if (e)
		return e;
	for (k = total; k-- && total - k <= RING_MAX; ) {
		const struct meta_failure *entry = ring_entry(&r, k);

		if (!entry)
			continue;
		memcpy(&f, entry, sizeof f);
		if (f.kind >= sizeof kinds / sizeof kinds[0])
			continue;
		if (!fn(&(struct obs_fault){ .time = f.time,
					     .address = f.address,
					     .pid = pid_of(f.pid),
					     .kind = kinds[f.kind],
					     .site = site_of(f.site),
					     .alloc_site = site_of(f.alloc_site),
					     .free_site = site_of(f.free_site) },
			arg))
			break;
	}
	return 0;
}
