/* SPDX-License-Identifier: BSD-2-Clause */
/* struct mem_lock: the pool's kind of lock for applications. What it guards is theirs to mend: nothing is rolled back.
 */
#include <errno.h>

#include "mem/front/shards.h"
#include "mem/meta/lock.h"
#include "mem/meta/slot.h"

enum { LOCK_SPINS = 100 };

static _Atomic uint64_t *word_of(struct mem_lock *lock) { return (_Atomic uint64_t *)(void *)&lock->word; }

/* The shard that it lies in: its owners are named by their slots there. */
static struct pool *pool_of(const struct mem_lock *lock, struct owner **ret_owner)
{
	struct pool *p = mem_shm_ready(ret_owner);

	if (p && mem_shm_shards > 1 &&
	    !mem_shm_use(&p, ret_owner, shards_find(mem_shm_pools, mem_shm_shards, lock)))
		return NULL;
	return p && pool_holds(p, lock) ? p : NULL;
}

static bool mine(uint64_t word, const struct owner *o) { return ((uint32_t)word & ~LOCK_WAITERS) == (uint32_t)o->tag; }

/*
 * Before its lock is another's: what the dead one had begun in the pool is rolled back, in each shard. A pointer that
 * the lock guards may be part of it (shm_malloc_to), and must not change under the next owner's eyes.
 */
static void settle(void)
{
	struct pool *p;
	struct owner *o;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		if (lock_owner_gone(&mem_shm_pools[k]) && mem_shm_use(&p, &o, k))
			lock_settle(p, o);
}

/* Its owner is certified dead: only one of those who see that gets it. Acquire: what the dead one did is seen. */
static bool inherit(struct pool *p, _Atomic uint64_t *word, uint64_t seen, uint64_t tag)
{
	if (!slot_gone_since(p, LOCK_SLOT(seen) - 1, LOCK_GEN(seen)))
		return false;
	settle();
	return atomic_compare_exchange_strong_explicit(word, &seen, ((seen >> 32) + 1) << 32 | tag | LOCK_WAITERS,
						       memory_order_acquire, memory_order_relaxed);
}

static int acquire(struct mem_lock *lock, bool wait)
{
	struct owner *o;
	struct pool *p = pool_of(lock, &o);
	_Atomic uint64_t *word = word_of(lock);
	uint64_t tag, seen;

	if (!p)
		return -EINVAL;
	tag = o->tag;
	for (unsigned i = 0;; i++) {
		if (lock_try_word(word, tag))
			return 0;
		seen = atomic_load_explicit(word, memory_order_relaxed);
		if ((uint32_t)seen == 0 || (i < LOCK_SPINS && wait))
			continue;
		if (mine(seen, o))
			return -EDEADLK;
		if (LOCK_SLOT(seen) && inherit(p, word, seen, tag))
			return EOWNERDEAD;
		if (!wait)
			return -EBUSY;
		if (lock_sleep(word, seen))
			tag = o->tag | LOCK_WAITERS; /* who has waited leaves the mark for those who still do */
	}
}

int mem_lock_acquire(struct mem_lock *lock) { return acquire(lock, true); }
int mem_lock_try(struct mem_lock *lock) { return acquire(lock, false); }

int mem_lock_release(struct mem_lock *lock)
{
	struct owner *o;
	struct pool *p = pool_of(lock, &o);

	if (!p || !mine(atomic_load_explicit(word_of(lock), memory_order_relaxed), o))
		return -EPERM;
	lock_leave_word(word_of(lock));
	return 0;
}
