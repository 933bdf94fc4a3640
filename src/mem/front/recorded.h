/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkg: fragments that wait in a thread's magazines with their records, while calls are recorded.
 *
 *	in.at[k]	ptr	its tail names the record, as while it is in use
 *	record[k]	7
 *	records[7]	ptr, CACHED: the thread's own. What it said of the last holder is stored anew when it is taken
 *
 * What a free has to know is what its sealed word, its tail and its record say of each other, in three loads and no
 * question to the manager. Guards are written when it is taken and looked at when it is put.
 *
 * Observers find CACHED until all the rest of a record is right, and from before anything else of it changes. No lock:
 * as magazines (magazine.h), which say, too, who may come in.
 */
#ifndef FRONT_RECORDED_H
#define FRONT_RECORDED_H

#include "mem/front/inside.h"

/* The record's time has the number of its allocation; numbers lag behind by that many at most. */
enum { TAKEN_MOST = 1024 };

/** Of the fragments of size i. */
static inline uint64_t recorded_usable(const struct magazines *m, uint64_t i) { return 16 * i + m->head; }

/* Of sizes: what record_sizes() puts above the usable bytes, in the upper half alone; and what that stands for. */
static inline uint64_t recorded_more(uint64_t usable, uint64_t requested)
{
	return LIKELY(usable <= CACHED_MOST) ? requested : usable - requested;
}
_Static_assert(16 * MAGAZINE_SIZES + 8 < RECORD_SLACK_MOST, "all of it can be told");

/* Allocations ever, whatever others make of it meanwhile. */
static inline uint64_t stamp_now(const struct pool *p)
{
	uint64_t stamp;

	RACY_READS_BEGIN();
	stamp = *(const volatile uint64_t *)&p->counters.stamp;
	RACY_READS_END();
	return stamp;
}

/**
 * One of size i, which has room for `size` bytes and a tail, or NULL: the manager's answer is wanted.
 * @now: time(), the cheapest clock there is, and cheaper still when it is asked before anything else
 * @guards: guards are known to be wanted, or not
 */
static inline void *recorded_take(struct magazines *m, const struct pool *p, uint64_t i, size_t size, uint32_t site,
				  uint64_t now, bool guards)
{
	uint64_t usable = recorded_usable(m, i), owner = site, index, start;
	struct meta_thread *told;
	struct meta_record *r;
	uint32_t top;
	void *ptr;

	/* told: inside, so that no handler takes it away any more */
	if (UNLIKELY(!magazine_enter_kind(m, i, MAGAZINE_RECORDED, &top)) || UNLIKELY(!m->in.at[top]) ||
	    UNLIKELY((int64_t)(start = (told = magazine_told(m))->start) < -TAKEN_MOST)) {
		magazine_leave_kind(m, i, MAGAZINE_RECORDED, top);
		return NULL;
	}
	ptr = (void *)(uintptr_t)m->in.at[top];
	index = m->record[top];
	r = &p->records[index];
	OWN_SET(told->top[i], (uint16_t)(top - 1));
	signal_add64(&told->start, -1ull);	/* `taken` stays */
	*tail_of(ptr, usable) = index | p->generation;
	UPPER(r->sizes) = (uint32_t)recorded_more(usable, size) << 2; /* `usable` is there */
	LOWER(r->time) = (uint32_t)(now - p->created);	/* before the heap was made is just now for who reads it */
	UPPER(r->time) = (uint32_t)(stamp_now(p) - start);
	if (guards) {
		guard_fill_fresh(ptr, size, usable);
		owner |= (uint64_t)RECORD_GUARDED << 48;
	}
	__atomic_store_n(&r->owner, owner, __ATOMIC_RELEASE); /* who finds it in use finds the rest of it */
	magazine_leave_kind(m, i, MAGAZINE_RECORDED, top - 1);
	return ptr;
}

/** true: it waits now. It is in use, of size i, with this record, which is whole. */
static inline bool recorded_push(struct magazines *m, const struct pool *p, uint64_t index, const void *ptr, uint64_t i,
				 uint32_t site)
{
	struct meta_record *r = &p->records[index];
	uint32_t top;
	bool room = LIKELY(magazine_enter_kind(m, i, MAGAZINE_RECORDED, &top)) && LIKELY(top < m->in.end[i]);

	if (LIKELY(room)) {
		UPPER(r->owner) = (uint32_t)RECORD_CACHED << 16;
		__atomic_store_n(&UPPER(r->time), site, __ATOMIC_RELEASE);	/* CACHED is there before */
		top++;
		m->record[top] = (uint32_t)index;
		OWN_SET(m->in.at[top], (uint64_t)(uintptr_t)ptr);
		OWN_SET(m->in.told->top[i], (uint16_t)top);
	}
	magazine_leave_kind(m, i, MAGAZINE_RECORDED, top);
	return room;
}

/* ---- the short way, of sealed fragments ---- */

/** Its size i, of the marked fragment in use there, as mem_inline_size() tells that of one without a record. */
static inline uint64_t recorded_size(const struct magazines *m, const void *ptr, uint64_t step)
{
	uint64_t word;

	RACY_READS_BEGIN();
	word = *(const uint64_t *)((uintptr_t)ptr + m->in.back);
	RACY_READS_END();
	word = ((word & ~(uint64_t)MEM_PREV_FREE) ^ step << 48) - (MEM_SEAL | MEM_USED | MEM_MARKED) - 16;
	return word >> 4 | word << 60;
}

/**
 * The record of what looks like a fragment of size i: the two name each other, it is in use, and its guards are whole.
 * UINT64_MAX: there is none, or it has guards and nobody looks; the long way finds out why.
 */
static inline uint64_t recorded_one(const struct magazines *m, const struct pool *p, const void *ptr, uint64_t i,
				    bool guards)
{
	uint64_t usable = recorded_usable(m, i), index;
	struct meta_record *r;
	uint32_t flags;

	RACY_READS_BEGIN();
	index = *tail_of(ptr, usable) ^ p->generation;
	if (UNLIKELY(index >= m->records_end)) {
		index = UINT64_MAX;
	} else {
		r = &p->records[index];
		flags = UPPER(r->owner);
		if (guards && flags == (uint32_t)RECORD_GUARDED << 16 &&
		    guard_intact(ptr, recorded_more(usable, UPPER(r->sizes) >> 2), usable))
			flags = 0;
		if (UNLIKELY(r->address != (uintptr_t)ptr) || UNLIKELY(flags))
			index = UINT64_MAX;
	}
	RACY_READS_END();
	return index;
}

/** There may be more records than the thread has heard of. */
static inline void recorded_hear(struct magazines *m, const struct pool *p)
{
	RACY_READS_BEGIN();
	m->records_end = *(const volatile uint64_t *)&p->counters.records_used;
	RACY_READS_END();
}

#endif /* FRONT_RECORDED_H */
