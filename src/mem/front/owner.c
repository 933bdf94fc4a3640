/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * shm: whose a fragment is, and what becomes of it when its owner is gone.
 *
 *	SHARED		stays when its owner ends; after a kill the pool's on_death decides
 *	OWNED		goes back when its owner's slot is reaped
 *	QUARANTINED	SHARED of one who was killed: stays as it is, whoever frees it
 *	CLAIMED		somebody who buries its owner is about to decide: nobody puts it into a magazine any more
 *
 * All of it is flags in the record, changed in a transaction under the lock of the fragment's heap. Cost: O(1).
 */
#include "mem/front/inside.h"

/*
 * Asked with the lock. A slot whose owner is gone is not given on while a record names it, and only who has the lock
 * makes a record name another: so what was true before the lock may be wrong, and what is true now stays true. `state`:
 * of the slot when its policy was asked. Another state, or generation, is another owner, to be asked about anew.
 *
 * The fragment that the dead one's op record names is finish()'s: freed here, its record could be another's by then.
 */
static bool gone_owner(const struct pool *p, const struct meta_record *r, uint32_t number, uint64_t state)
{
	return (r->owner >> 32 & 0xffff) == number && number < SLOTS_MAX &&
	       atomic_load_explicit(&pool_slot(p, number)->state, memory_order_acquire) == state &&
	       (SLOT_STATE(state) == SLOT_DEAD || SLOT_STATE(state) == SLOT_LEFT) &&
	       slot_magazines(p, number)->op == OP_NONE;
}

/*
 * The living may free what the dead left, and put it into a magazine without the lock. Whose change of the owner's word
 * comes first has it. kill: CLAIMED alone changes nothing, the next one who buries begins anew.
 */
static bool claim(struct meta_record *r, uint32_t number)
{
	uint64_t was = *(const volatile uint64_t *)&r->owner;

	return (was >> 32 & 0xffff) == number && !(was >> 48 & RECORD_CACHED) &&
	       __atomic_compare_exchange_n(&r->owner, &was, was | (uint64_t)RECORD_CLAIMED << 48, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

bool shm_front_reclaim(const struct front_call *call, uint64_t record, uint32_t number, uint64_t state,
		       bool quarantine)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	struct meta_counters *c = COUNTERS(p);
	struct meta_record *r = &p->records[record], *named = NULL;
	uint64_t usable = 0;
	bool its;

	enter(p, call->o, call->flags);
	its = record < c->records_used && !(r->address & RECORD_FREE) && gone_owner(p, r, number, state) &&
	      look_up(p, (void *)r->address, &named, &usable) == GOOD && named == r && claim(r, number);
	if (its && quarantine) {
		HEAP_SET(h, r->owner, r->owner | (uint64_t)RECORD_QUARANTINED << 48);
	} else if (its) {
		fragment_drop(p, r, 0);
	}
	leave(p, call->o, call->flags);
	return its;
}

bool shm_front_own(const struct front_call *call, void *ptr, bool owned)
{
	struct pool *p = call->p;
	struct meta_record *r = NULL;
	uint64_t usable;
	bool its;

	enter(p, call->o, call->flags);
	its = look_up(p, ptr, &r, &usable) == GOOD;
	if (its)
		HEAP_SET(&p->heap, r->owner,
			 (r->owner & ((uint64_t)RECORD_GUARDED << 48 | UINT32_MAX)) | slot_of(call->o) << 32 |
				 (uint64_t)(owned ? RECORD_OWNED : 0) << 48);
	leave(p, call->o, call->flags);
	return its;
}

void shm_front_deliver(const struct front_call *call, void *ptr)
{
	struct front_to *to = call->to;
	struct mem_heap *h = &call->p->heap;

	enter(call->p, call->o, call->flags);
	set_shared(h, to->made);
	HEAP_SET(h, *to->dst, (uintptr_t)ptr);
	leave(call->p, call->o, call->flags);
}
