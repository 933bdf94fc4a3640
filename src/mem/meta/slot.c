/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/meta/slot.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"

enum { HIDDEN_LOOKS = 100, REAP_AT_ONCE = 256 };

static uint32_t own_space(void) { return (uint32_t)process_self()->pid_namespace & 0x3ff; }

static uint64_t own_word(unsigned state, uint32_t generation)
{
	return state | (uint64_t)(generation & 0xffffff) << 8 | (uint64_t)(uint32_t)process_self()->pid << 32 |
	       (uint64_t)own_space() << 54;
}

static uint64_t with_state(uint64_t word, unsigned state) { return (word & ~0xffull) | state; }

/* ---- robust lists ---- */

static _Thread_local struct robust_list_head *robust_head __attribute__((tls_model("initial-exec")));
static _Thread_local size_t robust_len __attribute__((tls_model("initial-exec")));

void slot_remember_robust_list(void) { syscall(SYS_get_robust_list, 0, &robust_head, &robust_len); }

void slot_mend_robust_list(void)
{
	struct robust_list_head *head = NULL;
	size_t len;

	if (syscall(SYS_get_robust_list, 0, &head, &len) == 0 && !head && robust_head) {
		robust_head->list.next = &robust_head->list; /* what the parent held is the parent's */
		syscall(SYS_set_robust_list, robust_head, robust_len);
	}
}

/* ---- life and death ---- */

static void life_begin(struct meta_slot *s)
{
	pthread_mutexattr_t attr;

	memset(&s->life, 0, sizeof s->life);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&s->life, &attr);
	pthread_mutexattr_destroy(&attr);
	pthread_mutex_lock(&s->life);
}

/* The futex word of a mutex is its first; read only: locking it would follow pointers that others may write. */
static uint32_t life_word(const struct meta_slot *s) { return *(const volatile uint32_t *)(const void *)&s->life; }

static bool certified_dead(const struct meta_slot *s, uint64_t state)
{
	if (SLOT_STATE(state) == SLOT_CLAIMING)	/* what it says of itself is not written yet */
		return SLOT_SPACE(state) == own_space() &&
		       process_fate(SLOT_PID(state), 0, process_self()->pid_namespace) == PROCESS_DEAD;
	return (!s->observer && life_word(s) & FUTEX_OWNER_DIED) ||
	       process_fate(SLOT_PID(state), s->start_time, s->pid_namespace) == PROCESS_DEAD;
}

bool slot_certified(const struct meta_slot *copy, uint64_t state) { return certified_dead(copy, state); }

static bool gone(const struct pool *p, uint32_t number, uint64_t *ret_state)
{
	const struct meta_slot *s = pool_slot(p, number);
	uint64_t state =
		atomic_load_explicit(&s->state, memory_order_acquire); /* pairs with claim: identity is there */

	*ret_state = state;
	switch (SLOT_STATE(state)) {
	case SLOT_LIVE:
	case SLOT_CLAIMING:
		return certified_dead(s, state) &&
		       atomic_load_explicit(&s->state, memory_order_acquire) == state; /* it was this owner's death */
	default:
		return true;
	}
}

bool slot_in_use(const struct pool *p, uint32_t number)
{
	return number < SLOTS_MAX && number < atomic_load_explicit(&p->live->slots_used, memory_order_acquire);
}

bool slot_gone(const struct pool *p, uint32_t number)
{
	uint64_t state;

	return !slot_in_use(p, number) || gone(p, number, &state);
}

bool slot_gone_since(const struct pool *p, uint32_t number, uint32_t generation)
{
	uint64_t state;

	return !slot_in_use(p, number) || gone(p, number, &state) || (SLOT_GEN(state) & 0x7ffff) != generation;
}

bool slot_any_marked(const struct pool *p)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);

	for (uint32_t i = 0; i < used && i < SLOTS_MAX; i++) {
		const struct meta_slot *s = pool_slot(p, i);

		if (SLOT_STATE(atomic_load_explicit(&s->state, memory_order_acquire)) == SLOT_LIVE && !s->observer &&
		    life_word(s) & FUTEX_OWNER_DIED)
			return true;
	}
	return false;
}

bool slot_is_ours(const struct pool *p, uint32_t number)
{
	/* state's upper half: namespace and pid, there from the claim on */
	return atomic_load_explicit(&pool_slot(p, number)->state, memory_order_acquire) >> 32 ==
	       own_word(SLOT_LIVE, 0) >> 32;
}

/* ---- claim and leave ---- */

/* One more slot with memory behind it; several may try at once. */
static int more_slots(struct pool *p, uint64_t used)
{
	uint64_t at = META_SLOTS + used * SLOT_BYTES;
	int rc;

	if (used >= SLOTS_MAX)
		return -EAGAIN;
	rc = region_file_commit(&p->meta_file, p->meta + at, at, 2 * META_PAGE);	/* with its magazines */
	if (rc ==
	    0) /* release: whoever sees the number may touch the page. Pairs with slot_in_use() and slot_claim(). */
		atomic_compare_exchange_strong_explicit(&p->live->slots_used, &used, used + 1, memory_order_release,
							memory_order_relaxed);
	return rc;
}

static void become(struct pool *p, uint32_t number, uint64_t claimed, bool observer, struct owner *ret_owner)
{
	const struct process_self *self = process_self();
	struct meta_slot *s = pool_slot(p, number);
	uint32_t generation = SLOT_GEN(claimed);

	s->tid = (int64_t)syscall(SYS_gettid);
	s->start_time = self->start_time;
	s->pid_namespace = self->pid_namespace;
	s->uid = self->uid;
	s->since = clock_seconds();
	s->until = 0;
	s->observer = observer;
	memcpy(s->command, self->command, sizeof s->command - 1);
	s->command[sizeof s->command - 1] = 0;
	if (!observer)
		life_begin(s);
	atomic_store_explicit(&s->state, with_state(claimed, SLOT_LIVE), memory_order_release);
	*ret_owner = (struct owner){ .slot = s,
				     .number = number,
				     .magazines = slot_magazines(p, number),
				     .open = OWNER_CLOSED,
				     .mine = (uint64_t)number << 32,
				     .depth = MAGAZINE_DEPTH_FIRST,
				     .tag = (uint64_t)(generation & 0x7ffff) << 13 | (uint64_t)(number + 1) << 1 };
}

static bool claim_one(struct pool *p, uint32_t number, uint64_t *ret_claimed)
{
	struct meta_slot *s = pool_slot(p, number);
	uint64_t state = atomic_load_explicit(&s->state, memory_order_acquire);

	*ret_claimed = own_word(SLOT_CLAIMING, SLOT_GEN(state) + 1);
	return SLOT_STATE(state) == SLOT_FREE &&
	       atomic_compare_exchange_strong_explicit(&s->state, &state, *ret_claimed, memory_order_acq_rel,
						       memory_order_relaxed);
}

int slot_claim(struct pool *p, bool observer, struct owner *ret_owner)
{
	uint64_t claimed;
	int rc = 0;

	slot_mend_robust_list();
	for (uint32_t i = 0; rc == 0 && i < SLOTS_MAX; i++) {
		uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);

		if (i >= used)
			rc = more_slots(p, used);
		if (rc == 0 && claim_one(p, i, &claimed)) {
			become(p, i, claimed, observer, ret_owner);
			slot_remember_robust_list();
			return 0;
		}
	}
	return rc ? rc : -EAGAIN;
}

void slot_leave(struct pool *p, struct owner *o)
{
	struct meta_slot *s = o->slot;
	uint64_t state;

	(void)p;
	if (!s)
		return;
	state = atomic_load_explicit(&s->state, memory_order_relaxed); /* ours */
	s->until = clock_seconds();
	/* First: once it says LEFT the slot may be another's, and our robust list must not lead there.
	 * kill: in between, pid and start time certify the death. */
	if (!s->observer)
		pthread_mutex_unlock(&s->life);
	atomic_store_explicit(&s->state, with_state(state, SLOT_LEFT), memory_order_release);
	*o = (struct owner){ .open = OWNER_CLOSED };
}

/* ---- reap ---- */

static bool mark_gone(struct pool *p, struct owner *o, uint32_t number)
{
	struct meta_slot *s = pool_slot(p, number);
	uint64_t state, to;

	if (s == o->slot || !gone(p, number, &state))
		return false;
	if (SLOT_STATE(state) == SLOT_FREE)
		return false;
	if (!lock_forget_dead(p, o, number)) /* its lock and its repair first: then nothing names it */
		return false;
	if (SLOT_STATE(state) == SLOT_LIVE || SLOT_STATE(state) == SLOT_CLAIMING) {
		s->until = clock_seconds();
		to = with_state(state, SLOT_STATE(state) == SLOT_LIVE ? SLOT_DEAD : SLOT_FREE);
		if (atomic_compare_exchange_strong_explicit(&s->state, &state, to, memory_order_acq_rel,
							    memory_order_relaxed) &&
		    SLOT_STATE(to) == SLOT_DEAD && !s->observer)
			atomic_fetch_add_explicit(&p->live->reaped, 1, memory_order_relaxed); /* read by humans */
	}
	return true;
}

static void name_slot(uint64_t named[SLOTS_MAX / 64], uint64_t owner)
{
	uint32_t slot = (uint32_t)(owner >> 32) & 0xffff;

	if (slot < SLOTS_MAX)
		named[slot / 64] |= 1ull << slot % 64;
}

/* Owners of records. The gone make no new ones, so that a look without the lock can only see too many. */
static void find_named(const struct pool *p, uint64_t named[SLOTS_MAX / 64])
{
	uint64_t end = p->live->counters.records_used;

	for (uint64_t i = 0; i < end && i < p->live->records_committed && i < p->id->records_max; i++) {
		const struct meta_record *r = &p->records[i];
		uint64_t owner = *(const volatile uint64_t *)&r->owner;

		/* in a magazine it is of no owner: where it lies is what counts */
		if (!(*(const volatile uint64_t *)&r->address & RECORD_FREE) &&
		    !(owner >> 48 & RECORD_CACHED))
			name_slot(named, owner);
	}
}

/* Who died with the lock hides names until somebody rolls back: what its log would bring back is named, too. */
static bool find_hidden(const struct pool *p, uint64_t word, uint64_t named[SLOTS_MAX / 64])
{
	const struct undo_log *log;
	unsigned n;

	if (!slot_in_use(p, LOCK_SLOT(word) - 1))
		return false;
	log = &pool_slot(p, LOCK_SLOT(word) - 1)->log;
	if (!lock_log_sound(p, log))
		return false;
	n = undo_count(log);
	for (unsigned i = 0; i < n && i < UNDO_MAX; i++) {
		const uint64_t *at = log->e[i].word;
		uint64_t offset = (uintptr_t)at - (uintptr_t)p->records, number = offset / sizeof *p->records;

		if (number >= p->id->records_max)
			continue;
		name_slot(named, *(const volatile uint64_t *)&p->records[number].owner);
		if (at == &p->records[number].owner)
			name_slot(named, log->e[i].old);
	}
	return true;
}

unsigned slot_bury(struct pool *p, struct owner *o)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);
	unsigned gone_now = 0;

	if (used > SLOTS_MAX)
		used = SLOTS_MAX;
	for (uint32_t i = 0; i < used; i++)
		gone_now += mark_gone(p, o, i);
	return gone_now;
}

bool slot_settled(const struct pool *p, uint32_t number)
{
	const struct meta_magazines *m = slot_magazines(p, number);

	for (unsigned class = 0; class < MAGAZINE_CLASSES; class ++)
		if (MAGAZINE_COUNT(m->of[class][0]) || MAGAZINE_COUNT(m->of[class][1]))
			return false;
	return m->op == OP_NONE;
}

uint64_t slot_cached(const struct pool *p)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);
	uint64_t cached = *(const volatile uint64_t *)&p->live->cached;

	for (uint32_t i = 0; i < used && i < SLOTS_MAX; i++)
		cached += magazines_cached(slot_magazines(p, i), p->ops->flags & MEM_HEAD8);
	return cached;
}

/*
 * A transaction that was open while we looked may have hidden a name, and when it is rolled back a record has that
 * owner again. true: each of them ended, and none was rolled back; or its holder is dead, and `named` has what it hid.
 */
static bool nothing_hidden(const struct pool *p, uint64_t rollbacks, uint64_t named[SLOTS_MAX / 64])
{
	uint64_t seen = atomic_load_explicit(&p->live->lock, memory_order_acquire), word = seen;

	for (unsigned i = 0; (uint32_t)word && LOCK_TURN(word) == LOCK_TURN(seen); i++) {
		if (lock_owner_gone(p)) {
			if (!find_hidden(p, word, named))
				return false;
			/* acquire: nobody else has repaired meanwhile, so that it was this log */
			if (((atomic_load_explicit(&p->live->lock, memory_order_acquire) ^ word) & ~LOCK_WAITERS))
				return false;
			break;
		}
		if (i == HIDDEN_LOOKS)
			return false;
		sched_yield();
		/* acquire: a rollback is counted before the lock is let go */
		word = atomic_load_explicit(&p->live->lock, memory_order_acquire);
	}
	return atomic_load_explicit(&p->live->rollbacks, memory_order_relaxed) == rollbacks;
}

/* The lock of who left: a wild store's, or an earlier version's. Whoever has a slot takes it over, in mark_gone(). */
static bool holds_the_lock(const struct pool *p, uint32_t number)
{
	return LOCK_SLOT(atomic_load_explicit(&p->live->lock, memory_order_acquire)) == number + 1;
}

/*
 * Those from `first` to `end`. Their states are from before the look at the records: a slot that was given on since,
 * and whose next owner is gone, too, is another's, and what that one owns was not looked for.
 */
static unsigned reap_some(struct pool *p, uint32_t first, uint32_t end)
{
	uint64_t states[REAP_AT_ONCE], named[SLOTS_MAX / 64] = { 0 };
	uint64_t rollbacks = atomic_load_explicit(&p->live->rollbacks, memory_order_acquire);
	unsigned gone_now = 0, freed = 0;

	for (uint32_t i = first; i < end; i++) {
		states[i - first] = atomic_load_explicit(&pool_slot(p, i)->state, memory_order_acquire);
		gone_now += SLOT_STATE(states[i - first]) == SLOT_LEFT || SLOT_STATE(states[i - first]) == SLOT_DEAD;
	}
	if (!gone_now)
		return 0;
	find_named(p, named);
	if (!nothing_hidden(p, rollbacks, named))
		return 0;
	for (uint32_t i = first; i < end; i++) {
		uint64_t state = states[i - first];

		if ((SLOT_STATE(state) != SLOT_LEFT && SLOT_STATE(state) != SLOT_DEAD) || named[i / 64] >> i % 64 & 1 ||
		    !slot_settled(p, i) || holds_the_lock(p, i))
			continue;
		freed += atomic_compare_exchange_strong_explicit(&pool_slot(p, i)->state, &state,
								 with_state(state, SLOT_FREE), memory_order_acq_rel,
								 memory_order_relaxed);
	}
	return freed;
}

unsigned slot_reap(struct pool *p, struct owner *o)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);
	uint32_t end = used < SLOTS_MAX ? (uint32_t)used : SLOTS_MAX;
	unsigned freed = 0;

	if (!slot_bury(p, o))
		return 0;
	for (uint32_t i = 0; i < end; i += REAP_AT_ONCE)
		freed += reap_some(p, i, end - i < REAP_AT_ONCE ? end : i + REAP_AT_ONCE);
	return freed;
}
