/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Magazines of the shared pool: each slot has small stacks of ready fragments, which it takes from and puts to without
 * the pool's lock (Bonwick, "Magazines and Vmem", 2001; here two chains a size, and a depot of full ones in the pool).
 *
 *	slot 3  of[c][0]  3 | r7 -> r2 -> r9		chains of records, newest first, the count in the same word
 *		of[c][1]  0
 *		op        ALLOC | r7
 *	depot   of[c][k]  8 | r4 -> …			full ones that nobody has
 *
 * For the manager a fragment in a chain is in use. Its record keeps its place and says RECORD_CACHED.
 *
 * kill: a chain's word changes by one store, which moves a fragment in or out. What else a call changes lies between
 * two stores to `op`, which names the record, so that whoever repairs a dead slot knows the one fragment that may be on
 * its way: if it is not the newest of its chain it is in no chain, and is freed. So a killed malloc() has not happened,
 * and a killed free() has from the moment that its record says RECORD_CACHED. Chains change hands only in transactions,
 * with the lock.
 *
 * `op` is not OP_NONE: a signal handler has interrupted its own thread in here. Its calls go to the lock.
 */
#ifndef FRONT_SLOT_MAGAZINE_H
#define FRONT_SLOT_MAGAZINE_H

#include "mem/front/inside.h"

/* A store that a killed process leaves in this order with the others: the compiler keeps it, and does not tear it. */
#define SLOT_STORE(word, value) do {				\
	atomic_signal_fence(memory_order_release);		\
	*(volatile uint64_t *)&(word) = (value);		\
	atomic_signal_fence(memory_order_release);		\
	UNDO_KILL_POINT();					\
} while (0)

#define OP(kind, index) ((uint64_t)(index) << 32 | (kind))
#define OP_KIND(op) ((unsigned)(op) & 0xff)
#define OP_RECORD(op) ((uint32_t)((op) >> 32))

enum { SLOT_CACHED_MOST = 256 << 10 };	/* bytes in the magazines of one slot */

/** Class that serves `size` bytes and a tail, or one that there is none of. */
static inline uint64_t class_for(const struct pool *p, size_t size)
{
	return (size + TAIL_BYTES - 1 - p->magazine_head) / 16;
}

static inline uint64_t class_usable(const struct pool *p, uint64_t class) { return class * 16 + 16 + p->magazine_head; }

/** A fragment for `size` bytes, at most p->magazine_most, or NULL: ask the manager. Of the slot's own thread. */
static inline void *slot_take(struct pool *p, struct owner *o, size_t size, uint32_t site)
{
	struct meta_magazines *m = o->magazines;
	struct meta_record *r;
	uint64_t class, word, usable, *of;
	uint32_t index;
	void *ptr;

	if (UNLIKELY(m->op))
		return NULL;
	SLOT_STORE(m->op, OP_BEGIN);		/* before the chain is looked at: it is ours from here on */
	class = class_for(p, size);
	of = &m->of[class][o->now[class]];
	word = *of;
	index = MAGAZINE_HEAD(word);
	r = &p->records[index];
	if (UNLIKELY(!MAGAZINE_COUNT(word)) || UNLIKELY(!(r->owner >> 48 & RECORD_CACHED))) {
		SLOT_STORE(m->op, OP_NONE);
		return NULL;
	}
	usable = class_usable(p, class);
	ptr = (void *)(uintptr_t)r->address;
	SLOT_STORE(m->op, OP(OP_ALLOC, index));
	SLOT_STORE(*of, MAGAZINE_WORD(MAGAZINE_COUNT(word) - 1, (uint32_t)r->time));
	r->sizes = usable / 8 | (usable - size) << 34;
	r->owner = site | slot_of(o) << 32;
	r->time = seconds_since(p->created) | ++o->stamp << 32;
	*tail_of(ptr, usable) = index | p->generation;
	o->cached -= usable;
	SLOT_STORE(m->op, OP_NONE);
	return ptr;
}

/** The record of a fragment in use that may go into a magazine; NULL: the manager's call finds out what it is. */
static inline struct meta_record *may_put(const struct pool *p, const void *ptr, uint64_t *ret_usable)
{
	uint64_t at = (uintptr_t)ptr - (uintptr_t)p->heap.base, usable, tail;
	struct meta_record *r;
	bool may;

	/* whoever has the lock stores both: the length only grows, and a head says if the one before it is free */
	RACY_READS_BEGIN();
	may = LIKELY(at < p->heap.len) && LIKELY(at % 16 == 0) && LIKELY(at >= 16);
	usable = LIKELY(may) ? p->ops->usable(&p->heap, ptr) : 0;
	RACY_READS_END();
	if (UNLIKELY(!may))
		return NULL;
	if (UNLIKELY(usable - 16 > CACHED_MOST - 16) || UNLIKELY(usable % 16 != p->magazine_head))
		return NULL;
	tail = *tail_of(ptr, usable);
	if (UNLIKELY((tail & ~0xffffffffull) != p->generation) || UNLIKELY((uint32_t)tail >= p->id->records_max))
		return NULL;
	r = &p->records[(uint32_t)tail];
	if (UNLIKELY(r->address != (uintptr_t)ptr) || UNLIKELY(RECORD_USABLE(r->sizes) != usable))
		return NULL;
	*ret_usable = usable;
	return r;
}

/*
 * What another one owned may be claimed just now by who buries him, with the lock (shm_front_reclaim). For what is our
 * own nobody does: an exchange would be half of the cost of the pair. What has a flag is for the manager's call.
 */
static inline bool own_it(struct meta_record *r, uint64_t slot)
{
	uint64_t was = *(const volatile uint64_t *)&r->owner;
	uint64_t cached = (uint32_t)was | slot << 32 | (uint64_t)RECORD_CACHED << 48;

	if (LIKELY(was >> 32 == slot)) {
		r->owner = cached;
		return true;
	}
	return !(was >> 48) && __atomic_compare_exchange_n(&r->owner, &was, cached, false, __ATOMIC_ACQ_REL,
							   __ATOMIC_RELAXED);
}

/** true: `ptr` was a fragment in use, and waits in a magazine now. Of the slot's own thread. */
static inline bool slot_put(struct pool *p, struct owner *o, const void *ptr, uint32_t site)
{
	struct meta_magazines *m = o->magazines;
	struct meta_record *r;
	uint64_t class, word, usable, *of;
	uint32_t index;

	if (UNLIKELY(m->op))
		return false;
	SLOT_STORE(m->op, OP_BEGIN);
	r = may_put(p, ptr, &usable);
	if (UNLIKELY(!r))
		goto no;
	class = usable / 16 - 1;
	of = &m->of[class][o->now[class]];
	word = *of;
	if (UNLIKELY(MAGAZINE_COUNT(word) >= o->depth) || UNLIKELY(o->cached > SLOT_CACHED_MOST))
		goto no;
	index = (uint32_t)(r - p->records);
	SLOT_STORE(m->op, OP(OP_FREE, index));
	if (UNLIKELY(!own_it(r, slot_of(o))))
		goto no;
	r->time = MAGAZINE_HEAD(word) | (uint64_t)site << 32;
	SLOT_STORE(*of, MAGAZINE_WORD(MAGAZINE_COUNT(word) + 1, index));
	o->cached += usable;
	SLOT_STORE(m->op, OP_NONE);
	return true;
no:
	SLOT_STORE(m->op, OP_NONE);
	return false;
}

/* ---- slot_magazine.c: with the lock, the transaction before is committed ---- */

/** After a request that no magazine could serve: the next ones shall find something. */
void slot_refill(const struct front_call *call, size_t size, uint64_t need);
/** Before a free that found no room: a full chain goes to the depot, or its fragments to the manager. */
void slot_unload(const struct front_call *call, uint64_t usable);
/** What is in this slot's magazines and in the depot goes to the manager. false: nothing was. */
bool slot_give_back(const struct front_call *call);

#endif /* FRONT_SLOT_MAGAZINE_H */
