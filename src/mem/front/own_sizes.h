/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkg: how large the fragments of a page are, of a manager that keeps its own memory (MEM_OWN_MEMORY).
 *
 *	directory	a word for each GiB that an address can be in: NULL, or a leaf
 *	leaf size	a byte for each page: usable bytes / 16 of the fragments that begin there; 0: none does;
 *			MIXED: they differ, or are none that magazines hold
 *	leaf count	how many begin there
 *
 * To ask a library for a fragment's size at its free takes 30 to 40 instructions, out of line, and signal handlers have
 * to be kept out. Small sizes have pages of their own nearly everywhere, so that here it is one byte, in a table of
 * 1/4096 of the heap. Nothing of that is taken for granted: a page that has two sizes is MIXED until it is empty again,
 * and then the library is asked.
 *
 * Invariant: with the lock, or in a process with one thread, each fragment that the manager has given and not got back
 * is counted where it begins, and where the byte is a size it is the size of all of them. Who holds a fragment may read
 * its page's byte without the lock: it is that fragment's, or MIXED.
 */
#ifndef FRONT_OWN_SIZES_H
#define FRONT_OWN_SIZES_H

#include "mem/base/compiler.h"
#include "mem/pool.h"

enum { OWN_MIXED = 255, OWN_LEAF_PAGES = 1 << 18, OWN_LEAVES = 1 << 18 };	/* 2^48 bytes of 4 KiB pages */

struct own_leaf {
	uint8_t size[OWN_LEAF_PAGES];
	uint16_t count[OWN_LEAF_PAGES];
};

/** Of a pool whose manager is known. None: no address space, or nothing would look there; the library is asked. */
void pkg_own_sizes_open(struct pool *p);
void pkg_own_sizes_close(struct pool *p);

/* With the lock, or alone. The manager has given `ptr`; it gets it back. */
void pkg_own_began(struct pool *p, const void *ptr, uint64_t usable);
void pkg_own_ended(struct pool *p, const void *ptr);

static inline void own_began(struct pool *p, const void *ptr, uint64_t usable)
{
	if (UNLIKELY(p->own_sizes != NULL))
		pkg_own_began(p, ptr, usable);
}

static inline void own_ended(struct pool *p, const void *ptr)
{
	if (UNLIKELY(p->own_sizes != NULL))
		pkg_own_ended(p, ptr);
}

/** Its size i, if `ptr` is a fragment in use; 0, or more than there are magazines: ask. `ptr` may be anything. */
static inline uint64_t own_size(struct own_leaf *const *directory, const void *ptr)
{
	uint64_t step = (uintptr_t)ptr >> 4 | (uintptr_t)ptr << 60,
		 leaf = step >> 26; /* beyond all, if it is not aligned */
	const struct own_leaf *at;

	if (UNLIKELY(leaf >= OWN_LEAVES))
		return 0;
	at = __atomic_load_n(&directory[leaf], __ATOMIC_RELAXED); /* it is older than the fragment */
	return LIKELY(at != NULL) ? __atomic_load_n(&at->size[step >> 8 & (OWN_LEAF_PAGES - 1)], __ATOMIC_RELAXED) : 0;
}

#endif /* FRONT_OWN_SIZES_H */
