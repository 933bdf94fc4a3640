/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Was it one state that was read?
 *
 * shm: the lock word counts in its high half how often it was taken; a heap changes only under it. While it is held,
 * its holder's undo log says what the words of the open transaction held before:
 *
 *	lock, n, entries, n, lock	one moment
 *	  copy of some bytes
 *	lock, n, entries, n, lock	another one
 *
 * The same lock word and the same number of ended transactions in both: every store that the copy may have seen belongs
 * to one transaction, and its entry was in the log before the store, so that the second moment has it. Undone in the
 * copy, the state before that transaction remains. Entries made after the copy put back what the copy has anyway. This
 * holds as well when the holder is stopped, killed, or rolled back meanwhile, for a rollback stores the same values.
 * pkg: the turn is odd while a call changes the heap, and there is no log.
 */
#include <errno.h>
#include <string.h>

#include "mem/observe/peek.h"

static uint64_t lock_at(const struct obs_pool *p)
{
	return META_LIVE +
	       (p->key.domain == OBS_PKG ? offsetof(struct meta_live, turn) : offsetof(struct meta_live, lock));
}

static uint64_t log_at(uint32_t slot)
{
	return META_SLOTS + (uint64_t)slot * SLOT_BYTES + offsetof(struct meta_slot, log);
}

/** One attempt; 1: it changed under the reader. */
static int log_read(struct obs_pool *p, uint32_t slot, struct peek_moment *m)
{
	uint64_t n;
	int e = peek_meta(p, log_at(slot), &m->n, sizeof m->n);

	if (e)
		return e;
	m->count = (unsigned)(m->n & 0xffff);
	if (m->count > UNDO_MAX) {		/* no log of ours: nothing in it is believed */
		m->count = 0;
		return 0;
	}
	e = peek_meta(p, log_at(slot) + offsetof(struct undo_log, e), m->e, m->count * sizeof m->e[0]);
	if (!e)
		e = peek_meta(p, log_at(slot), &n, sizeof n);
	return e ? e : n >> 16 != m->n >> 16;
}

int peek_moment(struct obs_pool *p, struct peek_moment *ret_moment)
{
	struct peek_moment *m = ret_moment;
	uint64_t word;
	int e;

	for (unsigned try = 0; try < PEEK_TRIES; try++) {
		m->n = m->count = 0;
		e = peek_meta(p, lock_at(p), &m->lock, sizeof m->lock);
		if (e)
			return e;
		m->open = p->key.domain == OBS_PKG && (m->lock & 1);
		if (p->key.domain == OBS_PKG)
			return 0;
		m->lock &= ~LOCK_WAITERS;
		/* A slot that cannot be is no holder; obs_check() tells it. */
		if (!LOCK_SLOT(m->lock) || LOCK_SLOT(m->lock) > SLOTS_MAX)
			return 0;
		e = log_read(p, LOCK_SLOT(m->lock) - 1, m);
		if (e == -ENODATA) {		/* truncated slots: no log */
			m->n = m->count = 0;
			e = 0;
		}
		if (e < 0)
			return e;
		if (e || peek_meta(p, lock_at(p), &word, sizeof word))
			continue;
		if ((word & ~LOCK_WAITERS) == m->lock)
			return 0;
	}
	return -EAGAIN;
}

bool peek_same(const struct peek_moment *a, const struct peek_moment *b)
{
	return a->lock == b->lock && a->n == b->n && !a->open;
}

bool peek_same_call(const struct peek_moment *a, const struct peek_moment *b)
{
	return a->lock == b->lock && a->n >> 16 == b->n >> 16 && !a->open;
}

void peek_undo(const struct peek_moment *m, uint64_t at, void *copy, size_t bytes)
{
	for (unsigned i = m->count; i--; ) {
		uint64_t off = m->e[i].word - at;

		if (off < bytes && bytes - off >= sizeof(uint64_t) && m->e[i].word % sizeof(uint64_t) == 0)
			memcpy((char *)copy + off, &m->e[i].old, sizeof(uint64_t));
	}
}

int peek_whole(struct obs_pool *p, uint64_t offset, void *to, size_t bytes)
{
	struct peek_moment before, after;
	int e, b;

	for (unsigned try = 0; try < PEEK_TRIES; try++) {
		b = peek_moment(p, &before);
		e = peek_meta(p, offset, to, bytes);
		if (e)
			return e;
		if (b == -EAGAIN || peek_moment(p, &after) || !peek_same_call(&before, &after))
			continue;
		peek_undo(&after, p->id.meta_at + offset, to, bytes);
		return 0;
	}
	return 1;
}
