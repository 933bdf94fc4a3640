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
 * with the lock. The two of a pair change places without it: the one that is empty becomes what the other one is, then
 * the other one is empty; in between both words are one chain, which no others ever are (magazines_turning).
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

/*
 * Bytes in the magazines of one slot, a 16th of the pool at most, and in one chain. Between two looks at a size what is
 * there may grow by one chain; so that all of them are bounded by 64 chains more. With 1,000 fragments of 16-1024 B
 * that are replaced, 256 KiB sent each 15th call to the manager.
 */
enum { SLOT_CACHED_MOST = 512 << 10, SLOT_SHARE = 16, CHAIN_MOST = 16 << 10 };

/* Usable bytes less 16 stand for the size: `over`. Of class c: 16 c, and 8 more where heads have 8 bytes. */
static inline uint64_t over_for(const struct pool *p, size_t size)
{
	return ((size + p->fit_up) & ~15ull) - p->fit_down;
}

/** Class that serves `size` bytes and a tail, or one that there is none of. */
static inline uint64_t class_for(const struct pool *p, size_t size) { return over_for(p, size) / 16; }

static inline uint64_t class_usable(const struct pool *p, uint64_t class) { return class * 16 + 16 + p->magazine_head; }

/** The chain in use, and the other one of its pair. */
static inline uint64_t *chain_of(struct meta_magazines *m, uint64_t over)
{
	return (uint64_t *)(void *)((char *)m->of + over);
}

static inline uint64_t *chain_beside(struct meta_magazines *m, uint64_t over) { return chain_of(m, over ^ 8); }

/* Upper half of a record's owner: flags and slot. */
static inline uint32_t slot_half(uint32_t flags, uint32_t slot) { return flags << 16 | slot; }

/**
 * A fragment for `size` bytes, at most p->magazine_most. Of the slot's own thread. false: ask the manager.
 * @now: time(), the cheapest clock there is, and cheaper still when it is asked before anything else
 */
static inline bool slot_take(const struct pool *p, struct owner *o, size_t size, uint32_t site, uint64_t now,
			     void **ret_ptr)
{
	struct meta_magazines *m = o->magazines;
	struct meta_record *r;
	uint64_t over, word, index, *of;
	char *ptr;

	if (UNLIKELY(m->op))
		return false;
	SLOT_STORE(m->op, OP_BEGIN);		/* before the chain is looked at: it is ours from here on */
	over = over_for(p, size);
	of = chain_of(m, over);
	word = *of;
	index = word >> 16;
	r = &p->records[index];
	if (UNLIKELY(!MAGAZINE_COUNT(word))) {
		SLOT_STORE(m->op, OP_NONE);
		return false;
	}
	SLOT_STORE(m->op, word);		/* OP_ALLOC */
	SLOT_STORE(*of, RECORD_CHAIN(r->time));
	ptr = (char *)(uintptr_t)r->address;
	UPPER(r->sizes) = (uint32_t)size << 2;	/* as record_sizes(); `usable` is there, and so small that it fits */
	r->owner = site | o->mine;
	LOWER(r->time) = (uint32_t)(now - p->created);	/* before the pool was made is just now for who reads it */
	UPPER(r->time) = ++o->stamp;
	*tail_of(ptr, over + 16) = index | p->generation;
	SLOT_STORE(m->op, OP_NONE);
	*ret_ptr = ptr;
	return true;
}

/* At whatever address; of the neighbours' managers, too, whose bits in it nobody believes here. */
static inline uint64_t load_word(const void *at)
{
	uint64_t word;

	RACY_READS_BEGIN();
	memcpy(&word, at, sizeof word);
	RACY_READS_END();
	return word;
}

/** `over` of a fragment of a manager with a size_word, as the word says it. */
static inline uint64_t over_of(const struct pool *p, const void *ptr)
{
	return (load_word((const char *)ptr + p->size_at) & p->size_mask) - p->size_less;
}

/** Whether what stands before and behind a small fragment may be looked at. */
static inline bool within_reach(const struct pool *p, const void *ptr)
{
	return LIKELY((uintptr_t)ptr - p->first < atomic_load_explicit(&p->reach, memory_order_relaxed));
}

/**
 * The record of a fragment that may go into a magazine, or records_max; the manager's call finds out what that is.
 * @over: what its head says, which is not believed: record and tail have to agree
 */
static inline uint64_t record_of(const struct pool *p, const void *ptr, uint64_t over)
{
	const struct meta_record *r;
	uint64_t index;

	if (UNLIKELY(over > CACHED_MOST - 16))
		return p->records_max;
	index = load_word((const char *)ptr + over + 16 - TAIL_BYTES) ^ p->generation;
	if (UNLIKELY(index >= p->records_max))
		return p->records_max;
	r = &p->records[index];
	return LIKELY(r->address == (uintptr_t)ptr) && LIKELY((uint32_t)r->sizes == (uint32_t)(over + 16) / 8) ?
		       index : p->records_max;
}

/** As slot_put_own(), whoever owns it. */
bool slot_put(const struct pool *p, struct owner *o, const void *ptr, uint64_t over, uint32_t site);

static inline void slot_push(struct meta_magazines *m, struct meta_record *r, uint64_t index, uint64_t *of,
			     uint64_t word, uint32_t site)
{
	atomic_signal_fence(memory_order_release);	/* killed before it is CACHED, it keeps its time */
	r->time = word << 16 | site;
	SLOT_STORE(*of, MAGAZINE_PUT(word, index));
	SLOT_STORE(m->op, OP_NONE);
}

/**
 * true: `ptr` was a fragment in use, and waits in a magazine now. Of the slot's own thread. What has a flag is for the
 * manager's call. Nobody else claims what is our own, so that its record is changed by a plain store.
 * @over: as record_of(), of what is within_reach()
 */
static inline bool slot_put_own(const struct pool *p, struct owner *o, const void *ptr, uint64_t over, uint32_t site)
{
	struct meta_magazines *m = o->magazines;
	struct meta_record *r;
	uint64_t word, *of, index;
	uint32_t owner;

	if (UNLIKELY(m->op))
		return false;
	index = record_of(p, ptr, over);
	if (UNLIKELY(index >= p->records_max))
		return false;
	r = &p->records[index];
	owner = UPPER(r->owner);
	if (UNLIKELY(owner != slot_half(0, o->number)))
		return false;
	SLOT_STORE(m->op, OP(OP_FREE, index));	/* before the chain is looked at */
	of = chain_of(m, over);
	word = *of;
	if (UNLIKELY(!(word & MAGAZINE_ROOMS))) {
		SLOT_STORE(m->op, OP_NONE);
		return false;
	}
	UPPER(r->owner) = slot_half(RECORD_CACHED, owner);
	slot_push(m, r, index, of, word, site);
	return true;
}

/**
 * After a take that found nothing, or a put that found no room: the other chain of the pair is in its place now.
 * Without the lock, by the slot's own thread. false: with the lock there may be more.
 */
bool slot_turn(const struct pool *p, struct owner *o, uint64_t over);

/* ---- slot_magazine.c: with the lock, the transaction before is committed ---- */

/** Of a request that the chain could not serve: the other one, or one of the depot, is in its place now. */
bool slot_find(const struct front_call *call, size_t size);
/** After a request that no magazine could serve: the next ones shall find something. */
void slot_refill(const struct front_call *call, size_t size, uint64_t need);
/** Before a free that found no room: a full chain goes to the depot, or its fragments to the manager. true:
 * there is room. */
bool slot_unload(const struct front_call *call, uint64_t usable);
/** What is in this slot's magazines and in the depot goes to the manager. false: nothing was. */
bool slot_give_back(const struct front_call *call);

#endif /* FRONT_SLOT_MAGAZINE_H */
