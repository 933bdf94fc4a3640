/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Magazines of the shared pool: each slot has small stacks of ready fragments, which it takes from and puts to without
 * the pool's lock (Bonwick, "Magazines and Vmem", 2001; here two chains a size, and a depot of full ones in the pool).
 *
 *	slot 3  of[c][0]  3 | r7 -> r2 -> r9		chains of records, newest first, the count in the same word
 *		of[c][1]  0				the other one
 *		op        ALLOC | r7
 *	depot   of[c][k]  8 | r4 -> …			full ones that nobody has
 *
 * For the manager a fragment in a chain is in use. Its record keeps its place, says RECORD_CACHED, and has in `time`
 * the chain's word as it was before: 2 | r2 in r7.
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

enum { SLOT_CACHED_MOST = 256 << 10 };	/* bytes in the magazines of one slot */

/** Class that serves `size` bytes and a tail, or one that there is none of. */
static inline uint64_t class_for(const struct pool *p, size_t size)
{
	return (size + TAIL_BYTES - 1 - p->magazine_head) / 16;
}

static inline uint64_t class_usable(const struct pool *p, uint64_t class) { return class * 16 + 16 + p->magazine_head; }

/* Upper half of a record's owner: flags and slot. */
static inline uint32_t slot_half(uint32_t flags, uint32_t slot) { return flags << 16 | slot; }

/* By time(), the cheapest clock there is. Who reads it takes what is before the pool was made for just now. */
static inline uint32_t seconds_now(const struct pool *p) { return (uint32_t)time(NULL) - (uint32_t)p->created; }

/**
 * A fragment for `size` bytes, at most p->magazine_most, or NULL: ask the manager. Of the slot's own thread.
 * @now: seconds_now(), which costs a third less when it is asked before anything else
 */
static inline void *slot_take(const struct pool *p, struct owner *o, size_t size, uint32_t site, uint32_t now)
{
	struct meta_magazines *m = o->magazines;
	struct meta_record *r;
	uint64_t class, word, *of;
	uint32_t index;
	char *ptr;

	if (UNLIKELY(m->op))
		return NULL;
	SLOT_STORE(m->op, OP_BEGIN);		/* before the chain is looked at: it is ours from here on */
	class = class_for(p, size);
	of = &m->of[class][0];
	word = *of;
	index = MAGAZINE_HEAD(word);
	r = &p->records[index];
	if (UNLIKELY(!MAGAZINE_COUNT(word)) || UNLIKELY(!(r->owner >> 48 & RECORD_CACHED))) {
		SLOT_STORE(m->op, OP_NONE);
		return NULL;
	}
	SLOT_STORE(m->op, word);		/* OP_ALLOC */
	SLOT_STORE(*of, RECORD_CHAIN(r->time));
	ptr = (char *)(uintptr_t)r->address;
	UPPER(r->sizes) = (uint32_t)size << 2;	/* as record_sizes(); `usable` is there, and so small that it fits */
	r->owner = site | (uint64_t)o->number << 32;
	r->time = now | ++o->stamp << 32;
	*tail_of(ptr, class_usable(p, class)) = index | p->generation;
	o->cached -= class_usable(p, class);
	SLOT_STORE(m->op, OP_NONE);
	return ptr;
}

/**
 * The record of a fragment in use that may go into a magazine; NULL: the manager's call finds out what it is.
 * @usable: what its head says, which is not believed: record and tail have to agree
 */
static inline struct meta_record *may_put(const struct pool *p, const void *ptr, uint64_t usable)
{
	struct meta_record *r;
	uint64_t index;

	if (UNLIKELY(usable - 16 > CACHED_MOST - 16))
		return NULL;
	index = *tail_of(ptr, usable) ^ p->generation;
	if (UNLIKELY(index >= p->records_max))
		return NULL;
	r = &p->records[index];
	return LIKELY(r->address == (uintptr_t)ptr) && LIKELY((uint32_t)r->sizes == (uint32_t)(usable / 8)) ? r : NULL;
}

/** Whether what stands before and behind a small fragment may be looked at. */
static inline bool may_be_small(const struct pool *p, const void *ptr)
{
	uint64_t at = (uintptr_t)ptr - p->first;

	return LIKELY((at >> 4 | at << 60) < p->reach);
}

/*
 * What another one owned may be claimed just now by who buries him, with the lock (shm_front_reclaim). For what is our
 * own nobody does: an exchange would be half of the cost of the pair. What has a flag is for the manager's call.
 */
static inline bool own_it(struct meta_record *r, uint32_t slot)
{
	uint64_t was;

	if (LIKELY(UPPER(r->owner) == slot_half(0, slot))) {
		UPPER(r->owner) = slot_half(RECORD_CACHED, slot);
		return true;
	}
	was = *(const volatile uint64_t *)&r->owner;
	return !(was >> 48) && __atomic_compare_exchange_n(&r->owner, &was,
							   (uint32_t)was | (uint64_t)slot_half(RECORD_CACHED, slot) << 32,
							   false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/** true: `ptr` was a fragment in use, and waits in a magazine now. Of the slot's own thread. @usable: as may_put() */
static inline bool slot_put(const struct pool *p, struct owner *o, const void *ptr, uint64_t usable, uint32_t site)
{
	struct meta_magazines *m = o->magazines;
	struct meta_record *r;
	uint64_t word, *of, index;

	if (UNLIKELY(m->op))
		return false;
	SLOT_STORE(m->op, OP_BEGIN);
	r = may_put(p, ptr, usable);
	if (UNLIKELY(!r))
		goto no;
	of = &m->of[usable / 16 - 1][0];
	word = *of;
	if (UNLIKELY(MAGAZINE_COUNT(word) >= o->depth) || UNLIKELY(o->cached > SLOT_CACHED_MOST))
		goto no;
	index = (uint64_t)(r - p->records);
	SLOT_STORE(m->op, OP(OP_FREE, index));
	if (UNLIKELY(!own_it(r, o->number)))
		goto no;
	r->time = word << 16 | site;
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
