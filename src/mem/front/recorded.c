/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkg: malloc and free by call sites, short: what waits in the thread's magazines with its record, and nothing else.
 *
 * The gate says, as for calls that nobody records (plain.c), all that front.c would ask. It is shut while stacks are
 * wanted, which cost a thousand times as much, in front of managers without sealed words, and of shards. A place in
 * code that is new, an empty magazine, a wrong pointer or a broken guard goes the long way.
 */
#include "mem/front/recorded.h"

/* Apart, so that who needs none of it saves no register for it. */
#define APART __attribute__((noinline)) static

/* Room for `size` bytes and a tail, in steps of 8 bytes. None has it: 0, or more. */
static inline uint64_t step_for(size_t size) { return (size - 1) / TAIL_BYTES + 1; }
_Static_assert(TAIL_BYTES == 8, "a tail is a step");

/* As site_known(), in one compare; SITES_MAX or more: it is not known. */
static inline uint64_t site_number(const struct pool *p, const struct mem_site *site, const void *caller)
{
	uint64_t number;

	if (LIKELY(site && site->cache))
		number = __atomic_load_n(&site->cache[DOMAIN_INDEX], __ATOMIC_RELAXED) ^ p->generation;
	else
		number = site_known(p, site, caller);
	return number - 1 < SITES_MAX - 1 ? number : SITES_MAX;
}

static inline void *take(size_t size, const struct mem_site *site, const void *caller, uint64_t now, bool guards)
{
	struct magazines *m = mem_pkg_self.own;
	const struct pool *p = &mem_pkg_pool;
	uint64_t step = step_for(size), number;

	if (UNLIKELY(step >= GATE(m->gate.recorded)) || UNLIKELY(!magazine_follows(m)))
		return NULL;
	number = site_number(p, site, caller);
	return LIKELY(number < SITES_MAX) ?
		       recorded_take(m, p, m->in.size_of[step], size, (uint32_t)number, now, guards) :
		       NULL;
}

APART void *alloc_guarded(size_t size, const struct mem_site *site, const void *caller, pkg_alloc_fn *otherwise)
{
	uint64_t now = (uint64_t)time(NULL);
	void *ptr = take(size, site, caller, now, true);

	return LIKELY(ptr) ? ptr : otherwise(size, site, caller);
}

APART void *alloc_plain(size_t size, const struct mem_site *site, const void *caller, pkg_alloc_fn *otherwise)
{
	uint64_t now = (uint64_t)time(NULL);
	void *ptr = take(size, site, caller, now, false);

	return LIKELY(ptr) ? ptr : otherwise(size, site, caller);
}

void *pkg_recorded_alloc(size_t size, const struct mem_site *site, const void *caller, pkg_alloc_fn *otherwise)
{
	return UNLIKELY(mem_pkg_self.own->guarded) ? alloc_guarded(size, site, caller, otherwise)
						   : alloc_plain(size, site, caller, otherwise);
}

void *pkg_recorded_zeros(size_t size, const struct mem_site *site, const void *caller)
{
	uint64_t now = (uint64_t)time(NULL);
	void *ptr = take(size, site, caller, now, mem_pkg_self.own->guarded);

	return LIKELY(ptr) ? memset(ptr, 0, size) : NULL;
}

/* Into twice as many places, if there may be; or a record is new, or has guards that were wanted once. */
APART void free_rarely(void *ptr, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise)
{
	struct magazines *m = mem_pkg_self.own;
	const struct pool *p = &mem_pkg_pool;
	uint64_t step = magazine_step(m, ptr), i, index = UINT64_MAX;
	uint32_t number = site_known(p, site, caller);

	recorded_hear(m, p);
	if (step < GATE(m->gate.places) && magazine_follows(m) && number) {
		i = recorded_size(m, ptr, step);
		index = i < MAGAZINE_SIZES ? recorded_one(m, p, ptr, i, true) : UINT64_MAX;
	}
	if (index != UINT64_MAX && (recorded_push(m, p, index, ptr, i, number) ||
				    (pkg_magazine_grow(m, i) && recorded_push(m, p, index, ptr, i, number))))
		return;
	otherwise(ptr, site, caller);
}

static inline bool put(void *ptr, const struct mem_site *site, const void *caller, bool guards)
{
	struct magazines *m = mem_pkg_self.own;
	const struct pool *p = &mem_pkg_pool;
	uint64_t step = magazine_step(m, ptr), i, number, index;

	if (UNLIKELY(step >= GATE(m->gate.places)) || UNLIKELY(!magazine_follows(m)))
		return false;
	number = site_number(p, site, caller);
	i = recorded_size(m, ptr, step);
	if (UNLIKELY(number >= SITES_MAX) || UNLIKELY(i >= MAGAZINE_SIZES))
		return false;
	index = recorded_one(m, p, ptr, i, guards);
	return LIKELY(index != UINT64_MAX) && recorded_push(m, p, index, ptr, i, (uint32_t)number);
}

APART void free_guarded(void *ptr, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise)
{
	if (UNLIKELY(!put(ptr, site, caller, true)))
		free_rarely(ptr, site, caller, otherwise);
}

void pkg_recorded_free(void *ptr, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise)
{
	if (UNLIKELY(mem_pkg_self.own->guarded))
		free_guarded(ptr, site, caller, otherwise);
	else if (UNLIKELY(!put(ptr, site, caller, false)))
		free_rarely(ptr, site, caller, otherwise);
}
