/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkg: pages that only hold free memory go back to the system.
 *
 * The pages of one large fragment do at once (memory.c); this is for many small ones that became neighbours. When free
 * memory has grown by half of what is used, trim.least at least, and is a good part of the heap, a pass begins: each
 * later free has the manager name idle pages among its next 64 fragments, and runs of TRIM_RUN or more are discarded.
 * So a free costs a bounded amount, a pass is paid for by the frees that made it due, and what stays is bounded by what
 * is used.
 *
 * Who frees much and wants it again pays for new pages a few times: each time that half of what was given back is taken
 * again before the next pass, trim.least doubles, up to TRIM_MOST. What is locked in memory stays: the pass asks the
 * system once, and the next ones are as rare as they may be.
 */
#include <errno.h>
#include <stddef.h>

#include "mem/front/inside.h"
#include "mem/region/region.h"

enum { TRIM_RUN = 64 << 10, TRIM_LEAST = 4 << 20, TRIM_MOST = 128 << 20 };

static void give_back(struct mem_heap *h, uint64_t at, uint64_t len)
{
	struct pool *p = (struct pool *)((char *)h - offsetof(struct pool, heap));

	if (len < TRIM_RUN || p->trim.locked)
		return;
	p->trim.locked = !region_discard(h->base + at, len);
}

/* The place where the pass goes on is a cursor, which the manager moves back when it joins fragments. */
static bool begin_pass(struct pool *p)
{
	struct mem_cursors *c = p->heap.cursors;

	for (unsigned i = 0; i < MEM_CURSORS; i++)
		if (!(c->live >> i & 1)) {
			c->at[i] = 0;
			c->live |= 1ull << i;
			p->trim.cursor = i + 1;
			p->trim.locked = false;
			return true;
		}
	return false;				/* walks have them all: another time */
}

static void go_on(struct pool *p)
{
	struct mem_cursors *c = p->heap.cursors;
	unsigned i = p->trim.cursor - 1;

	c->at[i] = p->ops->idle(&p->heap, c->at[i], give_back);
	if (c->at[i])
		return;
	c->live &= ~(1ull << i);
	p->trim.cursor = 0;
}

/* Free memory is below the window, which follows it down: so much less than where it was when the window began. */
static void taken_again(struct pool *p, uint64_t free)
{
	if (p->trim.top > free && p->trim.again < p->trim.top - free)
		p->trim.again = p->trim.top - free;
	p->trim.low = free > p->trim.span / 2 ? free - p->trim.span / 2 : 0;
}

/* Free memory is above the window: is that worth a pass? The next window begins where it is now. */
static bool worth(struct pool *p, uint64_t free)
{
	const struct meta_counters *c = &p->counters;

	if (!p->trim.least)
		p->trim.least = TRIM_LEAST;
	if (p->trim.locked)
		p->trim.least = TRIM_MOST;
	else if (p->trim.given && p->trim.again >= p->trim.given / 2 && p->trim.least < TRIM_MOST)
		p->trim.least *= 2;
	p->trim.again = 0;
	p->trim.span = c->used / 2 > p->trim.least ? c->used / 2 : p->trim.least;
	p->trim.given = free - p->trim.low;
	p->trim.low = p->trim.top = free;
	return p->ops->idle && p->trim.given >= p->trim.least / 2 && free >= c->used / 4;
}

COLD void pkg_front_trim(struct pool *p)
{
	uint64_t free = p->counters.tally.free_bytes;
	int saved = errno;

	if (p->trim.cursor)
		go_on(p);
	else if (free < p->trim.low)
		taken_again(p, free);
	else if (worth(p, free) && begin_pass(p))
		go_on(p);
	errno = saved;
}
