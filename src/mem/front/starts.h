/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkg: where fragments begin, in front of managers that have no word of theirs beside them (MEM_PAGED).
 *
 *	bits	one for 16 bytes of the heap: a fragment in use, without a record, begins here
 *	sizes	one byte for a page of it: usable bytes / 16 of those that begin in there, or STARTS_LARGE
 *
 * What a free asks owns(), marked() and usable() for is one bit and one byte here, in two loads that do not wait for
 * each other; the manager's own tags are a map of pages, then a slot, then a division by the size. The front end
 * makes all the calls that change an answer, so that it keeps them by itself: nothing is asked of a manager but that
 * a page has one size. It is private memory, 1/124 of the heap where small fragments are, and follows fork with it.
 *
 * Invariant: with the lock, a bit is set exactly where the manager says owns() and not marked(), and then its page's
 * byte is right. Who holds a fragment may look at its own without the lock: of the others in the word nothing is asked.
 */
#ifndef FRONT_STARTS_H
#define FRONT_STARTS_H

#include "mem/base/compiler.h"
#include "mem/pool.h"

enum { STARTS_PAGE = 4096, STARTS_LARGE = 255 };
_Static_assert((int)MAGAZINE_SIZES <= (int)STARTS_LARGE, "each magazine has a number");

/** A table for the heap that p has now, if the manager wants one and there is address space. None: it is asked. */
void pkg_starts_open(struct pool *p);
/** Of a heap that goes. */
void pkg_starts_close(struct pool *p);
/** Whether there is a table for so many bytes of the heap, or none at all. false: no memory. Keeps errno. */
bool pkg_starts_cover(struct pool *p, uint64_t len);

/* With the lock. */

/** `ptr` is in use, and has no record. */
static inline void starts_set(struct pool *p, const void *ptr, uint64_t usable)
{
	uint64_t at = (uintptr_t)ptr - (uintptr_t)p->heap.base;

	if (LIKELY(!p->starts.bits))
		return;
	p->starts.sizes[at / STARTS_PAGE] = (uint8_t)(usable / 16 < MAGAZINE_SIZES ? usable / 16 : STARTS_LARGE);
	p->starts.bits[at / 1024] |= 1ull << at / 16 % 64;
}

/** `ptr` is free, or will be by the end of the call. */
static inline void starts_clear(struct pool *p, const void *ptr)
{
	uint64_t at = (uintptr_t)ptr - (uintptr_t)p->heap.base;

	if (UNLIKELY(p->starts.bits != NULL))
		p->starts.bits[at / 1024] &= ~(1ull << at / 16 % 64);
}

#endif /* FRONT_STARTS_H */
