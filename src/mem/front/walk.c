/* SPDX-License-Identifier: BSD-2-Clause */
/* Walks that let the lock go between slices. */
#include "mem/front/inside.h"

static void cursor_take(struct pool *p, unsigned i)
{
#ifdef MEM_DOMAIN_SHM
	p->live->cursor_expires[i] = clock_mono_seconds() + WALK_EXPIRES;
#else
	(void)p, (void)i;
#endif
}

/* One whose walker was killed expires: it is its own only as long as it comes back in time. */
static bool cursor_free(const struct pool *p, unsigned i)
{
	if (!(p->heap.cursors->live >> i & 1))
		return true;
#ifdef MEM_DOMAIN_SHM
	return p->live->cursor_expires[i] < clock_mono_seconds();
#else
	return false;
#endif
}

static bool begin_walk(struct pool *p, struct owner *o, struct front_walk *w)
{
	for (unsigned i = 0; i < MEM_CURSORS; i++) {
		if (!cursor_free(p, i))
			continue;
		*(volatile uint64_t *)&p->heap.cursors->at[i] = 0;
		*(volatile uint64_t *)&p->heap.cursors->live |= 1ull << i;
#ifdef MEM_DOMAIN_SHM
		p->live->cursor_slot[i] = slot_of(o) + 1;
#else
		(void)o;
#endif
		w->cursor = i + 1;
		return true;
	}
	w->error = -EBUSY;
	return false;
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
	if (w->cursor || begin_walk(p, o, w)) {
		cursor = &p->heap.cursors->at[w->cursor - 1];
		cursor_take(p, w->cursor - 1);
		at = p->ops->walk(&p->heap, *cursor, FRONT_SLICE, fn, arg);
		*cursor = at == MEM_WALK_FAULT ? 0 : at;
		if (at == MEM_WALK_FAULT)
			w->error = -EUCLEAN;
		if (at == 0 || at == MEM_WALK_FAULT)
			*(volatile uint64_t *)&p->heap.cursors->live &= ~(1ull << (w->cursor - 1));
	}
	leave(p, o, held);
	return at && at != MEM_WALK_FAULT;
}
