/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shelf of the private heap: each thread's ready fragments that are larger than what its magazines hold, up to 16 KiB.
 *
 *	bits	..1..1.			kinds that have something; a kind has the sizes of 32 bytes
 *	at	[ p q r . . . ]		the fragments of one kind: take the last, put behind it
 *	fresh	[ s t . . . . ]		the last ones that came, not sorted yet
 *
 * One size each, as magazines have, would be a thousand stacks: to find something in most of them the shelf would
 * hold more than a program uses. So a request takes the first fragment there is that is large enough, if it is larger
 * by a few kinds at most (`reach`): 1/64 of its size and a kind, 1/16 in a small heap, or a quarter where the manager
 * itself hands out so much more (MEM_SPARES). With 100 fragments on the shelf nearly every request finds one.
 *
 * What comes is sorted when so many others have come after it. Its size is known when its head has come from memory,
 * and a search that waited for that would make the CPU wait, too, pair after pair: so it goes on meanwhile. Only the
 * newest one is looked at: who frees and allocates the same size again and again gets the same fragment.
 *
 * All else is as with magazines (magazine.h): only the owner puts and takes, without the lock; for the manager all
 * that is here is in use, it has no record and says so at CACHED_TAG; the thread's line in META says how much it is. A
 * signal handler that finds its thread `busy` in here goes to the manager. While calls are recorded it is closed.
 *
 * A thread's may hold 512 KiB, or 192 KiB and as much as lies within a 96th of the heap where that is large, if what
 * all threads have beyond their first allows it; of a heap that may not grow large a 32nd. Where there is no room,
 * what comes goes to the manager, and something else with it, of one kind after the other: so what nobody asks for any
 * more leaves in time. While the process has one thread there is no lock to be spared: every second time something else
 * goes in its place, so that no call frees two.
 *
 * 86 instructions a call, take or put, with all that is before it.
 */
#ifndef FRONT_SHELF_H
#define FRONT_SHELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/base/bits.h"
#include "mem/base/compiler.h"
#include "mem/meta/layout.h"

enum { SHELF_FIRST = 512 << 10, SHELF_FIRST_LARGE = 192 << 10, SHELF_LEND = 128 << 10 };
enum { SHELF_SHARE_FIRST = 32, SHELF_SHARE = 96 };
enum { SHELF_STEP = 32, SHELF_KINDS = SHELF_END / SHELF_STEP, SHELF_DEEP = 24, SHELF_FRESH = 8 };
/* Requests from LEAST to LARGEST may be served. */
enum { SHELF_LEAST = 16 * MAGAZINE_SIZES, SHELF_LARGEST = SHELF_END - SHELF_STEP };
/* What a request may take: of as many kinds more than its own as that >> reach. LOOSE: up to so much memory. */
enum { SHELF_REACH_SPARES = 2, SHELF_REACH_LOOSE = 4, SHELF_REACH = 6, SHELF_LOOSE = 8 << 20 };

struct shelf {
	uint32_t busy;			/* its thread is inside */
	uint32_t reach;			/* SHELF_REACH… */
	uint64_t held;			/* as CACHED_BYTES and CACHED_COUNT */
	uint64_t one;			/* of these, what a fragment of no 16 bytes is: CACHED_ONE(MEM_HEAD8) */
	uint64_t up;			/* and what a request is more before it is cut to 16 bytes */
	uint64_t most;			/* bytes; 0: it is closed, and empty */
	uint64_t lent;			/* of these, beyond the first */
	uint32_t next;			/* kind that gives the next one back */
	uint32_t came;			/* fresh[came % SHELF_FRESH] is the oldest of these */
	uint64_t fresh[SHELF_FRESH];	/* shelf_entry(), or 0 */
	uint64_t bits[SHELF_KINDS / 64];
	uint8_t count[SHELF_KINDS];
	bool other_next;		/* what finds no room takes another one's place */
	/* of shelf_entry(); an odd number of cache lines a kind: the first ones lie in all sets of a cache */
	_Alignas(64) uint64_t at[SHELF_KINDS][SHELF_DEEP];
};

/** A fragment: its address, and above that its size in 16 bytes. */
static inline uint64_t shelf_entry(const void *ptr, uint64_t size_16) { return (uintptr_t)ptr | size_16 << 48; }

static inline void *shelf_address(uint64_t entry) { return (void *)(uintptr_t)(entry << 16 >> 16); }

/** Kind of an entry, of whatever manager: heads make no difference to it. 0: it is none. */
static inline uint64_t shelf_kind(uint64_t entry) { return (entry >> 48) / (SHELF_STEP / 16); }

/** The first kind whose fragments all have `size` bytes, of at most SHELF_LARGEST. */
static inline uint64_t shelf_kind_for(uint64_t size) { return (size + SHELF_STEP - 1) / SHELF_STEP; }

/** The first kind from *kind on that has something, within reach. */
static inline bool shelf_find(const struct shelf *s, uint64_t *kind)
{
	uint64_t from = *kind, word = from / 64, bits = s->bits[word] >> from % 64, beyond;

	if (LIKELY(bits))
		beyond = (uint64_t)bits_lowest(bits);
	else if (word + 1 < SHELF_KINDS / 64 && s->bits[word + 1])
		beyond = (word + 1) * 64 + bits_lowest(s->bits[word + 1]) - from;
	else
		return false;
	*kind = from + beyond;
	/* relaxed: who makes the heap grow sets it */
	return beyond <= from >> __atomic_load_n(&s->reach, __ATOMIC_RELAXED);
}

/** Its thread goes in. false: it is inside already, this is a signal handler. */
static inline bool shelf_enter(struct shelf *s)
{
	if (UNLIKELY(*(volatile uint32_t *)&s->busy))
		return false;
	*(volatile uint32_t *)&s->busy = 1;	/* a handler that comes in between leaves it as it was */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return true;
}

static inline void shelf_leave(struct shelf *s)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	*(volatile uint32_t *)&s->busy = 0;
}

/** The entry of one of this kind, which has some. Inside. */
static inline uint64_t shelf_pop(struct shelf *s, uint64_t kind)
{
	uint64_t left = s->count[kind] - 1ull;

	s->count[kind] = (uint8_t)left;
	s->bits[kind / 64] &= ~((uint64_t)!left << kind % 64);
	ASSUME(s->at[kind][left]);
	return s->at[kind][left];
}

/** Inside, and there is room. */
static inline void shelf_push(struct shelf *s, uint64_t kind, uint64_t entry)
{
	uint64_t count = s->count[kind];

	__atomic_store_n(&s->at[kind][count], entry, __ATOMIC_RELAXED);
	/* Pairs with the acquire in shelf_holds(). */
	__atomic_store_n(&s->count[kind], (uint8_t)(count + 1), __ATOMIC_RELEASE);
	s->bits[kind / 64] |= 1ull << kind % 64;
}

/** Which of the fresh ones is the oldest: it is sorted when another comes. Inside. */
static inline uint64_t shelf_oldest(const struct shelf *s) { return s->came % SHELF_FRESH; }

/** Room for one more, and for the fresh one that is sorted for it, of such a kind. Inside. */
static inline bool shelf_has_room(const struct shelf *s, uint64_t bytes, uint64_t kind)
{
	/* relaxed: who makes the heap grow sets it */
	return CACHED_BYTES(s->held) + bytes <= __atomic_load_n(&s->most, __ATOMIC_RELAXED) &&
	       s->count[kind] < SHELF_DEEP;
}

/**
 * What comes, where there is room; `kind` is that of fresh[oldest], or 0. In this order: who looks for one that leaves
 * finds it behind it. Inside.
 */
static inline void shelf_come(struct shelf *s, uint64_t oldest, uint64_t kind, uint64_t entry)
{
	if (LIKELY(kind))
		shelf_push(s, kind, s->fresh[oldest]);
	__atomic_store_n(&s->fresh[oldest], entry, __ATOMIC_RELEASE);
	s->came++;
}

/** The newest one, if it is just as large as an entry of this size, which is not 0. Inside. */
static inline bool shelf_get_newest(struct shelf *s, uint64_t size_16, uint64_t *ret_entry)
{
	uint32_t last = s->came - 1;
	uint64_t *place = &s->fresh[last % SHELF_FRESH];

	*ret_entry = *place;
	if (LIKELY(*ret_entry >> 48 != size_16))
		return false;
	*place = 0;
	s->came = last;
	return true;
}

/** Whether `ptr`, a fragment of this size, lies here. Its owner may go on meanwhile. */
static inline bool shelf_holds(const struct shelf *s, const void *ptr, uint64_t usable)
{
	uint64_t entry = shelf_entry(ptr, usable / 16), kind = shelf_kind(entry), count;

	for (unsigned k = 0; k < SHELF_FRESH; k++)	/* pairs with the release in shelf_come() */
		if (__atomic_load_n(&s->fresh[k], __ATOMIC_ACQUIRE) == entry)
			return true;
	count = __atomic_load_n(&s->count[kind], __ATOMIC_ACQUIRE);
	for (uint64_t k = 0; k < count; k++)
		if (__atomic_load_n(&s->at[kind][k], __ATOMIC_RELAXED) == entry)
			return true;
	return false;
}

#endif /* FRONT_SHELF_H */
