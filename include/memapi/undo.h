/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The undo log of one slot: what the words of a pool held before the open transaction.
 *
 *	n | word, old | word, old | ...		n: entries in the low 16 bits, 0: no transaction is open;
 *						above them how many transactions have ended
 *
 * A killed process is not a power cut: its stores survive in program order. So the
 * compiler alone must be kept from reordering them, and no CPU fence is needed.
 */
#ifndef MEMAPI_UNDO_H
#define MEMAPI_UNDO_H

#include <stdatomic.h>
#include <stdint.h>

/* Nothing, but for a test that stops a call, or a repair, between two stores. */
#ifndef UNDO_KILL_POINT
#define UNDO_KILL_POINT() ((void)0)
#endif

enum { UNDO_MAX = 160 };		/* >= max_stores of every manager + the front end's own words */

struct undo_log {
	uint64_t n;
	struct undo_entry { uint64_t *word, old; } e[UNDO_MAX];
};

/** Entries of the open transaction. */
static inline unsigned undo_count(const struct undo_log *log) { return (unsigned)(log->n & 0xffff); }

/** Remember what `word` holds, before it is changed. */
static inline void undo_note(struct undo_log *log, uint64_t *word)
{
	uint64_t n = log->n;
	struct undo_entry *e = &log->e[n & 0xffff];

	e->word = word;
	e->old = *word;
	atomic_signal_fence(memory_order_release);	/* kill: an entry is whole before it counts */
	UNDO_KILL_POINT();
	*(volatile uint64_t *)&log->n = n + 1;
	atomic_signal_fence(memory_order_release);	/* kill: and counts before its word changes */
	UNDO_KILL_POINT();
}

/** End the transaction: what was stored stays. */
static inline void undo_commit(struct undo_log *log)
{
	atomic_signal_fence(memory_order_release);	/* kill: every store of it is made */
	UNDO_KILL_POINT();
	*(volatile uint64_t *)&log->n = (log->n | 0xffff) + 1;
	atomic_signal_fence(memory_order_release);	/* kill: what follows belongs to the next one */
	UNDO_KILL_POINT();
}

/**
 * undo_rollback - put back what the open transaction changed, newest first
 * @log: stays as it is, so that a killed repair is repeated; undo_commit() ends it
 * @shift: bytes from the heap to the copy that is rolled back; 0: the heap itself
 */
static inline void undo_rollback(const struct undo_log *log, uintptr_t shift)
{
	for (unsigned n = undo_count(log); n--; ) {
		*(volatile uint64_t *)((uintptr_t)log->e[n].word + shift) = log->e[n].old;
		UNDO_KILL_POINT();
	}
}

#endif /* MEMAPI_UNDO_H */
