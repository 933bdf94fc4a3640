/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/front/front.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"

static bool dead(const struct pool *p, uint32_t number)
{
	return number < SLOTS_MAX && number < atomic_load_explicit(&p->live->slots_used, memory_order_acquire) &&
	       SLOT_STATE(atomic_load_explicit(&pool_slot(p, number)->state, memory_order_acquire)) == SLOT_DEAD;
}

uint64_t reap_reclaim(struct pool *p, struct owner *o)
{
	const struct front_call call = { .p = p, .o = o };
	uint64_t end = p->live->counters.records_used, freed = 0;

	if (p->id->on_death != ON_DEATH_RECLAIM)
		return 0;
	for (uint64_t i = 0; i < end && i < p->live->records_committed && i < p->id->records_max; i++) {
		const struct meta_record *r = &p->records[i];
		uint32_t number = (uint32_t)(*(const volatile uint64_t *)&r->owner >> 32) & 0xffff;

		/* without the lock: a guess, which the front end makes sure of */
		if (!(*(const volatile uint64_t *)&r->address & RECORD_FREE) && dead(p, number))
			freed += shm_front_reclaim(&call, i, number);
	}
	return freed;
}

bool reap_for_need(struct pool *p, struct owner *o)
{
	uint64_t freed;

	if (!slot_any_marked(p))
		return false;
	slot_reap(p, o);
	freed = reap_reclaim(p, o);
	if (freed)
		slot_reap(p, o);	/* slots that nothing names any more */
	return freed;
}
