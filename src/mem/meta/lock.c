/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/meta/lock.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mem/meta/process.h"
#include "mem/meta/slot.h"
#include "mem/meta/store.h"

enum { PAUSES_MOST = 1024, SLEEP_NS = 1000000 };

static void futex_wake(_Atomic uint64_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0); /* little endian: the low half comes first */
}

COLD void lock_wake(_Atomic uint64_t *word) { futex_wake(word, 1); }

bool lock_sleep(_Atomic uint64_t *word, uint64_t seen)
{
	struct timespec nap = { .tv_nsec = SLEEP_NS };

	if (!(seen & LOCK_WAITERS)) {
		if (!atomic_compare_exchange_strong_explicit(word, &seen, seen | LOCK_WAITERS, memory_order_relaxed,
							     memory_order_relaxed))
			return false;
	}
	syscall(SYS_futex, word, FUTEX_WAIT, (uint32_t)(seen | LOCK_WAITERS), &nap, NULL, 0);
	return true;
}

static bool owner_gone(const struct pool *p, uint64_t word)
{
	return LOCK_SLOT(word) && slot_gone_since(p, LOCK_SLOT(word) - 1, LOCK_GEN(word));
}

static bool within(uintptr_t at, const void *from, uint64_t bytes)
{
	return at % 8 == 0 && at - (uintptr_t)from < bytes;
}

static bool in_magazines(const struct pool *p, uintptr_t at)
{
	uint64_t number = (at - (uintptr_t)pool_slot(p, 0)) / SLOT_BYTES;

	return number < SLOTS_MAX && within(at, slot_magazines(p, (uint32_t)number), sizeof(struct meta_magazines));
}

/* Fragments of all shards, and their records: a pointer that changes with a call may lie in another than the fragment.
 */
static bool in_a_heap(const struct pool *p, uintptr_t at)
{
	const struct pool *home = p->home ? p->home : p;

	for (unsigned k = 0; k < SHARDS_MAX && home[k].id && k < home->id->shards; k++)
		if (within(at, home[k].heap.base, home[k].id->size) ||
		    within(at, home[k].records, home[k].id->records_max * sizeof *p->records))
			return true;
	return false;
}

bool lock_log_sound(const struct pool *p, const struct undo_log *log)
{
	if (undo_count(log) > UNDO_MAX)
		return false;
	for (unsigned i = 0; i < undo_count(log); i++) {
		uintptr_t at = (uintptr_t)log->e[i].word;

		if (!within(at, p->live, sizeof *p->live) && !within(at, p->heap.roots, p->id->root_bytes) &&
		    !within(at, p->sites, sizeof *p->sites) && !within(at, pool_depot(p), sizeof(struct meta_depot)) &&
		    !in_magazines(p, at) && !in_a_heap(p, at))
			return false;
	}
	return true;
}

static void damaged(struct pool *p, const char *why)
{
	snprintf(p->live->reason, sizeof p->live->reason, "%s", why);
	atomic_store_explicit(&p->live->state, POOL_DAMAGED, memory_order_release);
}

/* kill: repeated until here; now nobody waits for the dead any more. */
static void free_lock(struct pool *p, uint64_t word)
{
	/* release: pairs with lock_try_word() */
	atomic_store_explicit(&p->live->lock, word & ~0xffffffffull, memory_order_release);
	atomic_fetch_add_explicit(&p->live->takeovers, 1, memory_order_relaxed);
	futex_wake(&p->live->lock, INT_MAX);
}

/* The lock names a dead owner, and only we may change that. Returns how many stores were undone. */
static unsigned roll_back(struct pool *p, uint64_t word)
{
	struct meta_slot *dead = pool_slot(p, LOCK_SLOT(word) - 1);
	struct undo_log *log = &dead->log;
	unsigned stores = 0;

	if ((SLOT_GEN(atomic_load_explicit(&dead->state, memory_order_acquire)) & 0x7ffff) != LOCK_GEN(word)) {
		damaged(p, "the lock named a slot that was given on"); /* its log is another's by now */
	} else {
		if (!lock_log_sound(p, log)) {
			damaged(p, "the undo log of a dead owner leads out of the pool");
		} else if ((stores = undo_count(log))) {
			undo_rollback(log, 0);
			atomic_fetch_add_explicit(&p->live->rollbacks, 1, memory_order_relaxed); /* read by humans */
		}
		undo_commit(log);
	}
	free_lock(p, word);
	return stores;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* One at a time; the word is a slot and its generation, as in a lock. */
static bool begin_repair(struct pool *p, struct owner *o)
{
	uint64_t was = atomic_load_explicit(&p->live->repair, memory_order_acquire);

	if (was && !owner_gone(p, was))
		return false;
	return atomic_compare_exchange_strong_explicit(&p->live->repair, &was, o->tag, memory_order_acq_rel,
						       memory_order_relaxed);
}

static bool still_named(const struct pool *p, uint64_t word)
{
	return !((atomic_load_explicit(&p->live->lock, memory_order_acquire) ^ word) & ~LOCK_WAITERS);
}

static void take_over(struct pool *p, struct owner *o)
{
	uint64_t word, from = now_ns();
	struct meta_recovery done = { 0 };

	if (!begin_repair(p, o))
		return;
	/* asked again: another repairer may have been here. And looked at again after the answer: who let go and died
	 * then is gone, too, and the lock may be a living one's. */
	word = atomic_load_explicit(&p->live->lock, memory_order_acquire);
	if (owner_gone(p, word) && !slot_in_use(p, LOCK_SLOT(word) - 1)) {
		damaged(p, "the lock named a slot that the pool does not have"); /* nor META its page */
		free_lock(p, word);
	} else if (owner_gone(p, word) && still_named(p, word)) {
		done.dead = SLOT_PID(
			atomic_load_explicit(&pool_slot(p, LOCK_SLOT(word) - 1)->state, memory_order_relaxed));
		done.stores = roll_back(p, word);
		done.ns = now_ns() - from;
		/* relaxed: for this thread's next call, or another's; in shard 0, which they all look at */
		atomic_fetch_or_explicit(&(p->home ? p->home : p)->features, POOL_REAP_DUE, memory_order_relaxed);
		atomic_store_explicit(&p->reach, 0, memory_order_relaxed);
	}
	atomic_store_explicit(&p->live->repair, 0, memory_order_release);
	if (done.dead) { /* others are at work again by now */
		done.time = clock_seconds();
		done.pid = process_self()->pid;
		note_recovery(p, &done);
	}
}

static void wait_for(struct pool *p, struct owner *o)
{
	o->waited = true;
	/* rarer and rarer: who asks often takes the lines of the pool from the one who works in it, at every hand-over
	 */
	for (unsigned pauses = 1; pauses <= PAUSES_MOST; pauses *= 2) {
		for (unsigned i = 0; i < pauses; i++)
			cpu_relax();
		if (lock_try_word(&p->live->lock, o->tag))
			return;
	}
	for (;;) {
		uint64_t seen = atomic_load_explicit(&p->live->lock, memory_order_relaxed);

		/* who has waited leaves the mark for those who still do */
		if ((uint32_t)seen == 0) {
			if (lock_try_word(&p->live->lock, o->tag | LOCK_WAITERS))
				return;
			continue;
		}
		if (!lock_sleep(&p->live->lock, seen))
			continue;
		seen = atomic_load_explicit(&p->live->lock, memory_order_relaxed);
		if ((uint32_t)seen && owner_gone(p, seen))
			take_over(p, o);
	}
}

/* errno stays: free() must not change it. */
COLD void lock_wait(struct pool *p, struct owner *o)
{
	int saved = errno;

	wait_for(p, o);
	errno = saved;
}

bool lock_owner_gone(const struct pool *p)
{
	return owner_gone(p, atomic_load_explicit(&p->live->lock, memory_order_acquire));
}

void lock_settle(struct pool *p, struct owner *o)
{
	while (lock_owner_gone(p))
		take_over(p, o);
}

bool lock_forget_dead(struct pool *p, struct owner *o, uint32_t number)
{
	uint64_t word = atomic_load_explicit(&p->live->lock, memory_order_acquire), repair;

	if (!o->slot && LOCK_SLOT(word) == number + 1)
		return false;	/* who has no slot cannot say that it repairs */
	while (LOCK_SLOT(word) == number + 1 && owner_gone(p, word)) {
		take_over(p, o);
		word = atomic_load_explicit(&p->live->lock, memory_order_acquire);
	}
	repair = atomic_load_explicit(&p->live->repair, memory_order_acquire);
	if (LOCK_SLOT(repair) == number + 1 && owner_gone(p, repair))
		atomic_compare_exchange_strong_explicit(&p->live->repair, &repair, 0, memory_order_acq_rel,
							memory_order_relaxed);
	return true;
}
