/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/front/front.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"

static uint64_t state_of(const struct pool *p, uint32_t number)
{
	if (number >= SLOTS_MAX || number >= atomic_load_explicit(&p->live->slots_used, memory_order_acquire))
		return SLOT_FREE;
	return atomic_load_explicit(&pool_slot(p, number)->state, memory_order_acquire);
}

static bool any_gone(const struct pool *p)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);
	bool any = false;

	for (uint32_t i = 0; i < used && i < SLOTS_MAX; i++)
		any |= SLOT_STATE(state_of(p, i)) == SLOT_LEFT || SLOT_STATE(state_of(p, i)) == SLOT_DEAD;
	return any;
}

enum fate { STAYS, GOES, QUARANTINE };

/* Without the lock: a guess, which the front end makes sure of. */
static enum fate policy(const struct pool *p, uint64_t flags, uint64_t state)
{
	if (flags & RECORD_CACHED || (SLOT_STATE(state) != SLOT_DEAD && SLOT_STATE(state) != SLOT_LEFT))
		return STAYS;
	if (flags & RECORD_OWNED)
		return GOES;
	if (SLOT_STATE(state) == SLOT_LEFT || flags & RECORD_QUARANTINED) /* who left in order meant it to stay */
		return STAYS;
	return p->id->on_death == ON_DEATH_RECLAIM    ? GOES :
	       p->id->on_death == ON_DEATH_QUARANTINE ? QUARANTINE :
							STAYS;
}

/* pid: 0 all. Who left in order is not dead. */
static enum fate decision(uint64_t flags, uint64_t state, int64_t pid)
{
	return !(flags & RECORD_CACHED) && SLOT_STATE(state) == SLOT_DEAD && (!pid || SLOT_PID(state) == pid) ? GOES :
														  STAYS;
}

/* Each record whose owner is gone: by the pool's policy, or all by an operator's decision. */
static uint64_t decide(struct pool *p, struct owner *o, bool decided, int64_t pid)
{
	const struct front_call call = { .p = p, .o = o };
	uint64_t end = p->live->counters.records_used, freed = 0;

	for (uint64_t i = 0; i < end && i < p->live->records_committed && i < p->id->records_max; i++) {
		const struct meta_record *r = &p->records[i];
		uint64_t owner = *(const volatile uint64_t *)&r->owner, state;
		uint32_t number = (uint32_t)(owner >> 32) & 0xffff;
		enum fate fate;

		if (*(const volatile uint64_t *)&r->address & RECORD_FREE)
			continue;
		state = state_of(p, number);
		fate = decided ? decision(owner >> 48, state, pid) : policy(p, owner >> 48, state);
		if (fate != STAYS)
			freed += shm_front_reclaim(&call, i, number, state, fate == QUARANTINE) && fate == GOES;
	}
	return freed;
}

static bool left_something(const struct pool *p, uint32_t number)
{
	unsigned state = SLOT_STATE(state_of(p, number));

	return (state == SLOT_LEFT || state == SLOT_DEAD) && !slot_settled(p, number);
}

/* What is in their magazines, or was on its way. */
static void settle(struct pool *p, struct owner *o)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);

	for (uint32_t i = 0; i < used && i < SLOTS_MAX; i++)
		if (left_something(p, i))
			shm_front_settle(p, o, i);
}

static uint64_t reap(struct pool *p, struct owner *o, bool decided, int64_t pid)
{
	uint64_t freed;

	slot_bury(p, o);
	if (any_gone(p))
		settle(p, o);
	slot_reap(p, o);	/* gives slots free that nothing names */
	if (!any_gone(p))
		return 0;
	settle(p, o);		/* slot_reap() buries, too */
	freed = decide(p, o, false, 0);
	if (decided)
		freed += decide(p, o, true, pid);
	if (freed)
		slot_reap(p, o);
	return freed;
}

uint64_t reap_pool(struct pool *p, struct owner *o) { return reap(p, o, false, 0); }
uint64_t reap_release(struct pool *p, struct owner *o, int64_t pid) { return reap(p, o, true, pid); }

bool reap_for_need(struct pool *p, struct owner *o)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);
	bool due = slot_any_marked(p);

	for (uint32_t i = 0; !due && i < used && i < SLOTS_MAX; i++)
		due = left_something(p, i);
	return due && (reap_pool(p, o), true);
}
