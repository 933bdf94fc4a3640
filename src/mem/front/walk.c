/* SPDX-License-Identifier: BSD-2-Clause */
/* Walks that let the lock go between slices. */
#include "mem/front/inside.h"

#ifdef MEM_DOMAIN_SHM
static uint64_t *owners(struct pool *p) { return p->live->cursor_slot; }
static uint64_t *expiries(struct pool *p) { return p->live->cursor_expires; }
static bool for_ever(const struct pool *p, unsigned i) { (void)p, (void)i; return false; }
#else
static uint64_t *owners(struct pool *p) { return p->cursor_owner; }
static uint64_t *expiries(struct pool *p) { return p->cursor_expires; }
static bool for_ever(const struct pool *p, unsigned i) { return p->trim.cursor == i + 1; }
#endif

static void cursor_keep(struct pool *p, unsigned i) { expiries(p)[i] = clock_mono_seconds() + WALK_EXPIRES; }

/*
 * One that nobody has, rather than one that has expired, whose walker was killed, left by longjmp(), or is late: it is
 * its own only as long as it comes back in time.
 */
static bool pick(struct pool *p, unsigned *ret_i)
{
	uint64_t live = p->heap.cursors->live, now = clock_mono_seconds();

	for (unsigned i = 0; i < MEM_CURSORS; i++)
		if (!(live >> i & 1)) {
			*ret_i = i;
			return true;
		}
	for (unsigned i = 0; i < MEM_CURSORS; i++)
		if (expiries(p)[i] < now && !for_ever(p, i)) {
			*ret_i = i;
			return true;
		}
	return false;
}

/* The owner's word first, with a number that no walk before had: who comes back late finds out. */
static bool begin_walk(struct pool *p, struct owner *o, struct front_walk *w)
{
	unsigned i;

	if (!pick(p, &i)) {
		w->error = -EBUSY;
		return false;
	}
	w->owner = ((owners(p)[i] >> 32) + 1) << 32 | (slot_of(o) + 1);
	*(volatile uint64_t *)&owners(p)[i] = w->owner;
	*(volatile uint64_t *)&p->heap.cursors->at[i] = 0;
	*(volatile uint64_t *)&p->heap.cursors->live |= 1ull << i;
	w->cursor = i + 1;
	return true;
}

static bool still_ours(struct pool *p, struct front_walk *w)
{
	unsigned i = w->cursor - 1;

	if (p->heap.cursors->live >> i & 1 && owners(p)[i] == w->owner)
		return true;
	w->error = -EBUSY;
	return false;
}

static void end(struct pool *p, const struct front_walk *w)
{
	*(volatile uint64_t *)&p->heap.cursors->live &= ~(1ull << (w->cursor - 1));
}

void DOMAIN(front_walk_end)(struct pool *p, struct owner *o, struct front_walk *w)
{
	unsigned held = o && o->holds ? FRONT_HELD : 0;

	enter(p, o, held);
	if (still_ours(p, w))
		end(p, w);
	w->error = 0;			/* who has had enough misses nothing */
	leave(p, o, held);
}

bool DOMAIN(front_walk)(struct pool *p, struct owner *o, struct front_walk *w, mem_walk_fn *fn, void *arg)
{
	unsigned held = o && o->holds ? FRONT_HELD : 0;
	uint64_t at = MEM_WALK_FAULT;
	volatile uint64_t *cursor;

	/* from a signal handler */
	if (would_deadlock(&(const struct front_call){ .p = p, .o = o, .flags = held })) {
		w->error = -EDEADLK;
		return false;
	}
	enter(p, o, held);
	if (w->cursor ? still_ours(p, w) : begin_walk(p, o, w)) {
		cursor = &p->heap.cursors->at[w->cursor - 1];
		cursor_keep(p, w->cursor - 1);
		at = p->ops->walk(&p->heap, *cursor, FRONT_SLICE, fn, arg);
		*cursor = at == MEM_WALK_FAULT ? 0 : at;
		if (at == MEM_WALK_FAULT)
			w->error = -EUCLEAN;
		if (at == 0 || at == MEM_WALK_FAULT)
			end(p, w);
	}
	leave(p, o, held);
	return at && at != MEM_WALK_FAULT;
}
