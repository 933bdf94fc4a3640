/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sites, records and rings of META: what the front end stores there.
 *
 * site.c is compiled once a domain, as the front end: in shm HEAP_SET logs, in pkg it stores. Who calls holds the
 * pool's lock, unless a function says otherwise.
 */
#ifndef META_STORE_H
#define META_STORE_H

#include "mem/base/compiler.h"
#include "mem/pool.h"

#ifdef MEM_DOMAIN_SHM
#define DOMAIN(name) shm_##name
enum { DOMAIN_INDEX = 1 };
#else
#define DOMAIN(name) pkg_##name
enum { DOMAIN_INDEX = 0 };
#endif

/** Step of the sites' memory; as records_grow(). */
int sites_grow(struct pool *p);

/**
 * Put memory behind one more step of records. Not inside a transaction. -ENOSPC: META or the disk is full.
 * A pkg pool maps its ledger here when it is needed first.
 */
int records_grow(struct pool *p);

/** pkg: one more page of threads' lines. With the lock; as records_grow(). */
int threads_grow(struct pool *p);

/*
 * Return address -> site, for callers without a static site: one word an entry, address << 16 | number, so that threads
 * need no lock for it. It speaks of the process's own pool of the domain, and is emptied when that gets a new META. An
 * address may stand in any of the KNOWN_WAYS words of its line; asking the loader for one again costs up to 1 ms.
 */
enum { KNOWN_SITES = 32768, KNOWN_WAYS = 4 };
extern _Atomic uint64_t DOMAIN(known_sites)[KNOWN_SITES];
void DOMAIN(known_sites_forget)(void);

/**
 * Describe a place in code. Without the lock: it asks the loader, whose own lock may be held by one who waits for us.
 * @named: false: do not ask, the address has to do
 */
void site_describe(const struct mem_site *site, const void *caller, bool named, struct meta_site *ret_site);
/** The calls that led to an allocation, innermost first, for memory.track = stacks. */
enum { STACK_DEPTH = 16 };
struct call_stack {
	void *frame[STACK_DEPTH];
	unsigned depth;
	const void *key;		/* of the whole, for site_known() and site_remember() */
};
/**
 * From `caller`, the return address into the application, outwards. About 3 us. Without the lock. false: the unwinder,
 * on its way through a stack, asks for memory of its own.
 */
bool stack_take(struct call_stack *ret_stack, const void *caller);
/** Its innermost calls as "a < b < c", beside the place of `site` if there is one. */
void stack_describe(const struct call_stack *stack, const struct mem_site *site, struct meta_site *ret_site);
/** Its number, interned if it is new: a transaction of its own, not inside of another. 0: the table is full. */
uint32_t DOMAIN(site_intern)(struct pool *p, struct meta_site *site);

static inline _Atomic uint64_t *known_line(const void *caller)
{
	return &DOMAIN(known_sites)[(uintptr_t)caller % (KNOWN_SITES / KNOWN_WAYS) * KNOWN_WAYS];
}

/** The number, if this process knows it already; 0: not. No lock needed. */
static inline uint32_t site_known(const struct pool *p, const struct mem_site *site, const void *caller)
{
	uint64_t known;

	if (site) {
		known = site->cache ? __atomic_load_n(&site->cache[DOMAIN_INDEX], __ATOMIC_RELAXED) : 0;
		return (known & ~0xffffffffull) == p->generation ? (uint32_t)known : 0;
	}
	for (unsigned i = 0; i < KNOWN_WAYS; i++) {
		/* one word: whole or not there */
		known = atomic_load_explicit(known_line(caller) + i, memory_order_relaxed) ^ (uintptr_t)caller << 16;
		if (LIKELY(known < SITES_MAX))
			return (uint32_t)known;
	}
	return 0;
}

static inline void site_remember(const struct pool *p, const struct mem_site *site, const void *caller, uint32_t number)
{
	if (site && site->cache)
		__atomic_store_n(&site->cache[DOMAIN_INDEX], p->generation | number, __ATOMIC_RELAXED);
	else if (!site) {
		unsigned i = 0;

		/* a full line gives up one that the number picks, as good as by chance */
		while (i < KNOWN_WAYS && atomic_load_explicit(known_line(caller) + i, memory_order_relaxed))
			i++;
		atomic_store_explicit(known_line(caller) + (i < KNOWN_WAYS ? i : number % KNOWN_WAYS),
				      (uintptr_t)caller << 16 | number, memory_order_relaxed);
	}
}

_Static_assert(SITES_MAX <= 1 << 16, "known_sites[]");

/* Lock-free: a place in the ring is taken first, `seq` is written last. No lock needed. */
void note_failure(struct pool *p, const struct meta_failure *f);
void note_fault(struct pool *p, const struct meta_fault *f);
void note_recovery(struct pool *p, const struct meta_recovery *r);

#endif
