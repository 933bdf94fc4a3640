/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The short way to a manager that keeps its own memory, while nothing is tracked and the process has one thread.
 *
 * There is no heap of ours that a call could leave half changed: no lock is taken, and META is touched only to publish
 * three words. Invariant: p->lean says that no fragment has a record, none shall get one, and there is no limit. Every
 * doubt (no memory, a pointer that cannot be) goes the long way, which knows what to do.
 *
 * A call costs 4 ns more than the library's own, half of it the question for the usable size.
 */
#ifndef FRONT_OWN_FAST_H
#define FRONT_OWN_FAST_H

#include <sys/single_threaded.h>

#include "mem/base/compiler.h"
#include "mem/pool.h"

/** After each change of p->features, and of the heap. */
static inline void own_follow(struct pool *p)
{
	p->lean = p->ops->flags & MEM_OWN_MEMORY && !(p->features & ~(uint64_t)FEATURE_ABORT) &&
		  !p->counters.records_used && p->data_size == PTRDIFF_MAX;
}

static inline bool own_ready(const struct pool *p) { return UNLIKELY(p->lean) && __libc_single_threaded; }

/* As front.c publishes, but with one load of the turn: its stores wait for each other otherwise. */
static inline void own_publish(struct pool *p)
{
	volatile uint64_t *turn = &p->live->turn;
	volatile struct meta_counters *to = &p->live->counters;
	uint64_t now = *turn;

	*turn = now + 1;
	to->used = p->counters.used;
	to->fragments = p->counters.fragments;
	to->stamp = p->counters.stamp;
	*turn = now + 2;
}

/* Not inline: their registers would be saved by calls that find a fragment in a magazine, too. */
#define OWN_CALL __attribute__((noinline)) static

/** A fragment, or NULL: ask the front end. */
OWN_CALL void *own_take(struct pool *p, size_t size)
{
	struct meta_counters *c = &p->counters;
	uint64_t usable;
	void *ptr;

	if (UNLIKELY(size > PTRDIFF_MAX - 64))
		return NULL;
	ptr = p->ops->alloc(&p->heap, 16, mem_round(p->ops, size));
	if (UNLIKELY(!ptr))
		return NULL;
	usable = p->ops->usable(&p->heap, ptr);
	c->used += usable;
	c->fragments++;
	c->stamp++;
	if (UNLIKELY(c->used > c->max_used))
		*(volatile uint64_t *)&p->live->counters.max_used = c->max_used = c->used;
	own_publish(p);
	return ptr;
}

/** true: it is free. false: the front end tells what is wrong with it. */
OWN_CALL bool own_put(struct pool *p, void *ptr)
{
	struct meta_counters *c = &p->counters;
	uint64_t usable;

	if (UNLIKELY((uintptr_t)ptr % 16 || !c->fragments))
		return false;
	usable = p->ops->usable(&p->heap, ptr);
	if (UNLIKELY(usable < 16 || usable > c->used))
		return false;
	c->used -= usable;
	c->fragments--;
	own_publish(p);
	p->ops->free(&p->heap, ptr);
	return true;
}

#endif /* FRONT_OWN_FAST_H */
