/* SPDX-License-Identifier: BSD-2-Clause */
/* The calls on the shared pool: to a magazine by the short way, else through the front end, in whichever shard. */
#define MEM_DOMAIN_SHM 1		/* the short way is the domain's */
#define MEM_INLINE_COLD

#include <errno.h>

#include "mem/base/compiler.h"
#include "mem/front/shards.h"
#include "mem/front/slot_magazine.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"
#include "mem/meta/store.h"
#include "mem/reap/reap.h"
#include "mem/shm.h"

static struct shards shards(void)
{
	return (struct shards){ mem_shm_pools, mem_shm_shards, mem_shm_self.owner.number % mem_shm_shards,
				mem_shm_use_shard };
}

#define CALL(extra)                                                                                                  \
	(&(const struct front_call){ &mem_shm_pool, &mem_shm_self.owner, site, __builtin_return_address(0), (extra), \
				     NULL })

static void *not_ready(void)
{
	errno = ENOMEM;
	return NULL;
}

/*
 * A thread without a slot, for which there is no memory, cannot free: nobody could roll it back. This was the second
 * try, after those slots of the dead that nothing names any more (claim_in), and each call tries anew: what else the
 * dead hold needs a slot to be given back. The fragment stays its owner's, and the pool tells of a failure with nothing
 * requested.
 */
COLD static void not_freed(struct pool *p)
{
	int saved = errno;

	if (p->id)
		note_failure(p, &(const struct meta_failure){ .time = clock_seconds(),
							      .pid = process_self()->pid,
							      .size = p->data_size,
							      .verdict = VERDICT_EXHAUSTED });
	errno = saved;
}

static void *allocate_once(const struct front_call *call, size_t align, size_t size)
{
	struct shards s;

	if (LIKELY(mem_shm_shards == 1))
		return shm_front_alloc(call, align, size);
	s = shards();
	return shm_shards_alloc(&s, call, align, size);
}

/* A look at memory where nobody has died. Who holds the lock does not wait for himself. */
COLD static void reap_for_memory(void)
{
	struct front_call call;

	for (unsigned k = mem_shm_shards; k-- && !mem_shm_self.owner.holds; )
		if (mem_shm_use_shard(&call, k))
			reap_for_need(call.p, call.o);
}

/* The first try was quiet: a failure is told once, after what the dead hold was given back. */
COLD static void *allocate_again(const struct front_call *call, size_t align, size_t size)
{
	struct front_call here = *call;

	if (errno != ENOMEM)
		return NULL;
	reap_for_memory();
	here.flags &= ~(unsigned)FRONT_QUIET;
	return allocate_once(&here, align, size);
}

static inline void *allocate(const struct front_call *call, size_t align, size_t size)
{
	void *ptr = allocate_once(call, align, size);

	return LIKELY(ptr) ? ptr : allocate_again(call, align, size);
}

void *mem_shm_allocate(const struct front_call *call, size_t align, size_t size)
{
	struct front_call here = *call;

	here.p = &mem_shm_pool;
	here.o = &mem_shm_self.owner;
	here.flags |= FRONT_QUIET;
	return allocate(&here, align, size);
}

bool mem_shm_find(struct front_call *call, const void *ptr)
{
	if (!shm_ready(&mem_shm_pool) ||
	    !mem_shm_use_shard(call, mem_shm_shards > 1 ? shards_find(mem_shm_pools, mem_shm_shards, ptr) : 0))
		return false;
	call->flags = (call->flags & ~(unsigned)FRONT_HELD) | (call->o->holds ? FRONT_HELD : 0);
	return true;
}

static inline void release(const struct front_call *call, void *p)
{
	struct shards s;

	if (LIKELY(mem_shm_shards == 1)) {
		shm_front_free(call, p);
		return;
	}
	s = shards();
	if (UNLIKELY(!shm_shards_free(&s, call, p)))
		not_freed(&mem_shm_pool);
}

static inline void *reallocate_once(const struct front_call *call, void *p, size_t size)
{
	struct shards s;

	if (LIKELY(mem_shm_shards == 1))
		return shm_front_realloc(call, p, size);
	s = shards();
	return shm_shards_realloc(&s, call, p, size);
}

static void *reallocate(const struct front_call *call, void *p, size_t size)
{
	struct front_call quiet = *call;
	void *fresh;

	quiet.flags = FRONT_QUIET;
	fresh = reallocate_once(&quiet, p, size);
	if (LIKELY(fresh || (p && !size)) || errno != ENOMEM)
		return fresh;
	reap_for_memory();
	return reallocate_once(call, p, size);
}

/*
 * The short way: nothing has changed since the last call, its place in code is known, and a magazine can serve it.
 * A third of the instructions of a call that goes through the front end.
 */

/* Not of a thread without a slot, of a child that has not called yet, or inside of a call. */
static inline bool quick(void) { return LIKELY(mem_shm_self.owner.open == *epoch_word); }

/* Of calls without a static site. An entry is written once; who finds it taken by another asks site_known(). */
enum { QUICK_SITES = 4096 };
static struct { _Atomic uintptr_t caller[QUICK_SITES]; uint32_t number[QUICK_SITES]; } quick_sites;

static inline bool quick_site(const void *caller, uint32_t *ret_number)
{
	uintptr_t i = (uintptr_t)caller % QUICK_SITES;

	if (UNLIKELY(atomic_load_explicit(&quick_sites.caller[i], memory_order_acquire) != (uintptr_t)caller))
		return false;
	*ret_number = quick_sites.number[i];
	return true;
}

static void learn_site(const void *caller, uint32_t number)
{
	uintptr_t i = (uintptr_t)caller % QUICK_SITES, nobody = 0;

	if (!number || !atomic_compare_exchange_strong_explicit(&quick_sites.caller[i], &nobody, 1,
								memory_order_relaxed, memory_order_relaxed))
		return;
	quick_sites.number[i] = number;
	atomic_store_explicit(&quick_sites.caller[i], (uintptr_t)caller, memory_order_release);
}

__attribute__((noinline)) static void *malloc_long(size_t size, const struct mem_site *site, const void *caller)
{
	const struct front_call call = { &mem_shm_pool, &mem_shm_self.owner, site, caller, FRONT_QUIET, NULL };

	return LIKELY(shm_ready(&mem_shm_pool)) ? allocate(&call, 16, size) : not_ready();
}

__attribute__((noinline)) static void free_long(void *ptr, const struct mem_site *site, const void *caller)
{
	const struct front_call call = { &mem_shm_pool, &mem_shm_self.owner, site, caller, 0, NULL };

	if (!ptr)
		return;
	if (LIKELY(shm_ready(&mem_shm_pool)))
		release(&call, ptr);
	else
		not_freed(&mem_shm_pool);
}

static inline bool takes(size_t size)
{
	const struct pool *p = &mem_shm_pool;

	return quick() && LIKELY(size - 1 < p->magazine_quick) &&
	       LIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) == p->features);
}

/* A static site, or a place that is met for the first time. */
__attribute__((noinline)) static void *malloc_at(size_t size, const struct mem_site *site, const void *caller)
{
	struct pool *p = &mem_shm_pool;
	uint64_t now = (uint64_t)time(NULL);
	uint32_t number;
	void *ptr;

	if (takes(size)) {
		number = site_known(p, site, caller);
		if (!site)
			learn_site(caller, number);
		if (LIKELY(number) &&
		    (LIKELY(slot_take(p, &mem_shm_self.owner, size, number, now, &ptr)) ||
		     (slot_turn(p, &mem_shm_self.owner, over_for(p, size)) &&
		      slot_take(p, &mem_shm_self.owner, size, number, now, &ptr))))
			return ptr;
	}
	return malloc_long(size, site, caller);
}

void *mem_shm_malloc(size_t size, const struct mem_site *site)
{
	struct pool *p = &mem_shm_pool;
	uint32_t number;
	uint64_t now;
	void *ptr;

	if (UNLIKELY(site))
		return malloc_at(size, site, __builtin_return_address(0));
	now = (uint64_t)time(NULL);	/* first: what follows needs no register saved */
	if (takes(size) && quick_site(__builtin_return_address(0), &number) &&
	    LIKELY(slot_take(p, &mem_shm_self.owner, size, number, now, &ptr)))
		return ptr;
	return malloc_at(size, NULL, __builtin_return_address(0));
}

/* ---- places that inline_shm.h is compiled into ---- */

/*
 * They call for what is not served there. The first call finds out the place's number: of this stamp, and where the
 * pool is one that inline_shm.h knows, it is told, and the clock is looked at; else it is noted for us, which is
 * quicker than quick_site().
 */
static void place_learn(uint32_t *place, const void *caller)
{
	struct owner *o = &mem_shm_self.owner;
	uint32_t word = __atomic_load_n(place, __ATOMIC_RELAXED), number;
	bool told = mem_inline_numbered(word);

	if (!quick())
		return;
	if (o->known)
		known_renew(&mem_shm_pool, o);
	number = told ? 0 : site_known(&mem_shm_pool, NULL, caller);
	if (number) /* others write the same */
		__atomic_store_n(place, word == MEM_INLINE_UNTOLD && o->known ? number : MEM_INLINE_NOTED | number,
				 __ATOMIC_RELAXED);
}

__attribute__((noinline)) static void *malloc_here(size_t size, uint32_t *place, const void *caller)
{
	place_learn(place, caller);
	return malloc_at(size, NULL, caller);
}

void *mem_shm_malloc_here(size_t size, uint32_t *place)
{
	uint64_t now = (uint64_t)time(NULL);
	uint32_t noted = __atomic_load_n(place, __ATOMIC_RELAXED);
	void *ptr;

	if (UNLIKELY(noted < MEM_INLINE_NOTED))
		return malloc_here(size, place, __builtin_return_address(0));
	if (takes(size) &&
	    LIKELY(slot_take(&mem_shm_pool, &mem_shm_self.owner, size, noted & ~MEM_INLINE_NOTED, now, &ptr)))
		return ptr;
	return malloc_at(size, NULL, __builtin_return_address(0));
}

void *mem_shm_mallocxz(size_t size, const struct mem_site *site)
{
	return LIKELY(shm_ready(&mem_shm_pool)) ? allocate(CALL(FRONT_ZERO | FRONT_QUIET), 16, size) : not_ready();
}

void *mem_shm_malloc_unsafe(size_t size, const struct mem_site *site)
{
	return LIKELY(shm_ready(&mem_shm_pool))
		       ? allocate(CALL(FRONT_QUIET | (mem_shm_self.owner.holds ? FRONT_HELD : 0)), 16, size)
		       : not_ready();
}

void *mem_shm_memalign(size_t align, size_t size, const struct mem_site *site)
{
	if (!align || align & (align - 1)) {
		errno = EINVAL;
		return NULL;
	}
	return LIKELY(shm_ready(&mem_shm_pool)) ? allocate(CALL(FRONT_QUIET), align < 16 ? 16 : align, size)
						: not_ready();
}

void *mem_shm_realloc(void *p, size_t size, const struct mem_site *site)
{
	return LIKELY(shm_ready(&mem_shm_pool)) ? reallocate(CALL(0), p, size) : not_ready();
}

void *mem_shm_reallocxf(void *p, size_t size, const struct mem_site *site)
{
	return LIKELY(shm_ready(&mem_shm_pool)) ? reallocate(CALL(FRONT_XF), p, size) : not_ready();
}

__attribute__((noinline)) static void free_at(void *ptr, const struct mem_site *site, const void *caller)
{
	struct pool *p = &mem_shm_pool;
	uint32_t number;

	if (quick() && within_reach(p, ptr)) {
		number = site_known(p, site, caller);
		if (!site)
			learn_site(caller, number);
		if (LIKELY(number) && (LIKELY(slot_put(p, &mem_shm_self.owner, ptr, over_of(p, ptr), number)) ||
				       (slot_turn(p, &mem_shm_self.owner, over_of(p, ptr)) &&
					slot_put(p, &mem_shm_self.owner, ptr, over_of(p, ptr), number))))
			return;
	}
	free_long(ptr, site, caller);
}

/* What an operator wants is followed by the next call that allocates, or goes the long way. */
void mem_shm_free(void *ptr, const struct mem_site *site)
{
	struct pool *p = &mem_shm_pool;
	uint32_t number;

	if (LIKELY(!site) && quick() && within_reach(p, ptr) && quick_site(__builtin_return_address(0), &number) &&
	    LIKELY(slot_put_own(p, &mem_shm_self.owner, ptr, over_of(p, ptr), number)))
		return;
	free_at(ptr, site, __builtin_return_address(0));
}

__attribute__((noinline)) static void free_here(void *ptr, uint32_t *place, const void *caller)
{
	place_learn(place, caller);
	free_at(ptr, NULL, caller);
}

void mem_shm_free_here(void *ptr, uint32_t *place)
{
	struct pool *p = &mem_shm_pool;
	uint32_t noted = __atomic_load_n(place, __ATOMIC_RELAXED);

	if (UNLIKELY(noted < MEM_INLINE_NOTED)) {
		free_here(ptr, place, __builtin_return_address(0));
		return;
	}
	if (quick() && within_reach(p, ptr) &&
	    LIKELY(slot_put_own(p, &mem_shm_self.owner, ptr, over_of(p, ptr), noted & ~MEM_INLINE_NOTED)))
		return;
	free_at(ptr, NULL, __builtin_return_address(0));
}

void mem_shm_free_unsafe(void *p, const struct mem_site *site)
{
	if (!p)
		return;
	if (LIKELY(shm_ready(&mem_shm_pool)))
		release(CALL(mem_shm_self.owner.holds ? FRONT_HELD : 0), p);
	else
		not_freed(&mem_shm_pool);
}

void *mem_shm_resize(void *p, size_t size, const struct mem_site *site)
{
	void *fresh;

	if (UNLIKELY(!shm_ready(&mem_shm_pool)))
		return not_ready();
	if (mem_shm_self.owner.holds)
		return allocate_once(CALL(0), 16, size); /* refused there, with a record */
	shm_lock();
	release(CALL(FRONT_HELD), p);
	fresh = allocate_once(CALL(FRONT_HELD | FRONT_QUIET), 16, size);
	shm_unlock();
	return LIKELY(fresh) ? fresh : allocate_again(CALL(0), 16, size);
}

size_t shm_usable(const void *p)
{
	const struct mem_site *site = NULL;
	struct shards s;

	if (!p || !shm_ready(&mem_shm_pool))
		return 0;
	if (LIKELY(mem_shm_shards == 1))
		return shm_front_usable(CALL(mem_shm_self.owner.holds ? FRONT_HELD : 0), p);
	s = shards();
	return shm_shards_usable(&s, CALL(mem_shm_self.owner.holds ? FRONT_HELD : 0), p);
}

/* A signal handler that comes between the lock and what says whose it is finds its thread inside of a call. */
static void lock_busy(struct owner *o, bool busy)
{
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uint32_t *)&o->inside = busy ? o->inside + 1 : o->inside - 1;
	if (o->home)
		*(volatile uint32_t *)&o->home->inside = busy ? o->home->inside + 1 : o->home->inside - 1;
	atomic_signal_fence(memory_order_seq_cst);
}

/*
 * All locks, in the order of the shards; of a shard that we cannot get a slot in, not: there we allocate nothing. In a
 * signal handler that has interrupted a call none: it would wait for itself, and what it calls next is refused, too.
 */
void shm_lock(void)
{
	struct front_call call = { .caller = __builtin_return_address(0), .p = &mem_shm_pool };

	if (!shm_ready(&mem_shm_pool))
		return;
	call.o = &mem_shm_self.owner;
	if (!call.o->holds && shm_front_refuses(&call))
		return;
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		if (!mem_shm_use_shard(&call, k) || (!call.o->holds && call.o->inside))
			continue;
		if (!call.o->holds) {
			lock_busy(call.o, true);
			call.o->open = OWNER_CLOSED;
			known_close(call.o);
			lock_take(call.p, call.o);
			call.o->holds = 1;
			lock_busy(call.o, false);
		} else {
			call.o->holds++;
		}
	}
}

void shm_unlock(void)
{
	if (!shm_ready(&mem_shm_pool))
		return;
	for (unsigned k = mem_shm_shards; k--; ) {
		struct owner *o = mem_shm_owner_in(k);

		if (o->holds == 1) {
			lock_busy(o, true);
			o->holds = 0;
			lock_leave(&mem_shm_pools[k]);
			lock_busy(o, false);
			o->open = o->epoch;
			known_open(&mem_shm_pools[k], o);
		} else if (o->holds) {
			o->holds--;
		}
	}
}

void shm_trim(void)
{
	struct front_call call = { .flags = 0 };

	if (!shm_ready(&mem_shm_pool))
		return;
	for (unsigned k = 0; k < mem_shm_shards; k++)
		if (mem_shm_use_shard(&call, k) && !shm_busy(call.o))
			shm_front_trim(&call);
}

/* ---- the dead ---- */

size_t shm_reap(void)
{
	struct front_call call;
	size_t freed = 0;

	for (unsigned k = mem_shm_shards; k--; ) /* who is new has a slot in shard 0 first */
		if (shm_ready(&mem_shm_pool) && mem_shm_use_shard(&call, k) && !shm_busy(call.o))
			freed += reap_pool(call.p, call.o);
	return freed;
}

size_t shm_release_dead(long pid)
{
	struct front_call call;
	size_t freed = 0;

	for (unsigned k = mem_shm_shards; k--; )
		if (shm_ready(&mem_shm_pool) && mem_shm_use_shard(&call, k) && !shm_busy(call.o))
			freed += reap_release(call.p, call.o, pid);
	return freed;
}
