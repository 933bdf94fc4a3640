/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool's lock: one futex word that names its owner's slot, so that it can be taken over from the dead.
 *
 * One instruction in, one store out, so that no store of ours lies between having it and saying so. A waiter sleeps for
 * a millisecond at a time and then asks whether the owner is certified dead; if it is, somebody rolls its open
 * transaction back and frees the word. Who repairs says so in live.repair: a repairer that dies too is replaced,
 * and the repair starts again, which is harmless because the log is emptied last.
 */
#ifndef META_LOCK_H
#define META_LOCK_H

#include "mem/base/compiler.h"
#include "mem/pool.h"

void lock_wait(struct pool *p, struct owner *o);
void lock_wake(_Atomic uint64_t *word);

static inline bool lock_try_word(_Atomic uint64_t *word, uint64_t tag)
{
	uint64_t was = atomic_load_explicit(word, memory_order_relaxed); /* the exchange below is what counts */

	return (uint32_t)was == 0 &&
	       /* acquire: sees all that the owner before did; pairs with the release in lock_leave_word() */
	       atomic_compare_exchange_strong_explicit(word, &was, ((was >> 32) + 1) << 32 | tag, memory_order_acquire,
						       memory_order_relaxed);
}

/*
 * A plain store, a third of the cost of a call that nobody waits for. A waiter that marks the word between our load and
 * our store finds that it has changed when it asks the kernel to sleep; if it is faster than our store is seen, it
 * loses the rest of its millisecond, not more: nobody sleeps longer than that.
 */
static inline void lock_leave_word(_Atomic uint64_t *word)
{
	uint64_t held =
		atomic_load_explicit(word, memory_order_relaxed); /* ours: but for the mark it does not change */

	/* release: pairs with the acquire in lock_try_word() */
	atomic_store_explicit(word, held & ~0xffffffffull, memory_order_release);
	if (UNLIKELY(held & LOCK_WAITERS))
		lock_wake(word);
}

static inline void lock_take(struct pool *p, struct owner *o)
{
	if (UNLIKELY(!lock_try_word(&p->live->lock, o->tag)))
		lock_wait(p, o);
}

static inline void lock_leave(struct pool *p) { lock_leave_word(&p->live->lock); }

/**
 * Wait until `word` changes from `seen`, or for a millisecond. Marks it as waited for.
 * Returns false when it changed before.
 */
bool lock_sleep(_Atomic uint64_t *word, uint64_t seen);

/**
 * Slot `number` is certified dead: roll back and free the pool's lock if it held it, and its repair.
 * false: it holds the lock, and `o` has no slot to repair from.
 */
bool lock_forget_dead(struct pool *p, struct owner *o, uint32_t number);

/** The pool's lock names one who is certified dead. */
bool lock_owner_gone(const struct pool *p);
/** Until it does not: what that one had begun is rolled back. `o` is the caller's slot. */
void lock_settle(struct pool *p, struct owner *o);

/** Open entries of a log all lead into what transactions may change: hostile or damaged logs are not followed. */
bool lock_log_sound(const struct pool *p, const struct undo_log *log);

#endif
