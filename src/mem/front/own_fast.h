/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The short way to a manager that keeps its own memory, while nothing is tracked and the process has one thread.
 *
 * There is no heap of ours that a call could leave half changed: no lock is taken, and META is touched only to publish
 * three words. Invariant: p->lean says that no fragment has a record, none shall get one, and there is no limit. Every
 * doubt (no memory, a pointer that cannot be) goes the long way, which knows what to do.
 *
 * A call costs 5 to 8 ns more than the library's own, more than half of it the question for the usable size.
 */
#ifndef FRONT_OWN_FAST_H
#define FRONT_OWN_FAST_H

#include <sys/single_threaded.h>

#include "mem/base/compiler.h"
#include "mem/front/magazine.h"
#include "mem/pool.h"

/** After each change of p->features, and of the heap. */
static inline void own_follow(struct pool *p)
{
	p->lean = p->ops->flags & MEM_OWN_MEMORY && !(p->features & ~(uint64_t)FEATURES_ALWAYS) &&
		  !p->counters.records_used && p->data_size == PTRDIFF_MAX;
}

static inline bool own_alone(void) { return LIKELY(__libc_single_threaded) && LIKELY(!mem_pkg_self.inside); }
static inline bool own_ready(const struct pool *p) { return LIKELY(p->lean) && own_alone(); }

/* For signal handlers: the library's own functions are not for them. */
static inline void own_inside(uint32_t inside)
{
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uint32_t *)&mem_pkg_self.inside = inside;
	atomic_signal_fence(memory_order_seq_cst);
}

/*
 * As front.c publishes, but each word is loaded once, the turn too: a load waits for the store before it, and nothing
 * else here takes as long.
 */
static inline void own_count(struct pool *p, uint64_t used, uint64_t fragments, uint64_t stamp)
{
	volatile struct meta_live *to = p->live;
	uint64_t turn = to->turn;

	to->turn = turn + 1;
	to->counters.used = p->counters.used = used;
	to->counters.fragments = p->counters.fragments = fragments;
	to->counters.stamp = p->counters.stamp = stamp;
	to->turn = turn + 2;
}

/** A fragment, or NULL: ask the front end. The caller is own_alone(). */
static inline void *own_take(struct pool *p, size_t size)
{
	const struct mem_manager_ops *ops = p->ops;
	uint64_t used;
	void *ptr;

	if (UNLIKELY(size > PTRDIFF_MAX - 64))
		return NULL;
	own_inside(1);
	/* in here: a handler that came before may have begun to track, and follows nothing any more */
	ptr = LIKELY(p->lean) ? ops->alloc(&p->heap, 16, mem_round(ops, size)) : NULL;
	if (UNLIKELY(!ptr)) {
		own_inside(0);
		return NULL;
	}
	used = p->counters.used + ops->usable(&p->heap, ptr);
	if (UNLIKELY(used > p->counters.max_used))
		*(volatile uint64_t *)&p->live->counters.max_used = p->counters.max_used = used;
	own_count(p, used, p->counters.fragments + 1, p->counters.stamp + 1);
	own_inside(0);
	return ptr;
}

/** true: it is free. false: the front end tells what is wrong with it. */
static inline bool own_put(struct pool *p, void *ptr)
{
	const struct mem_manager_ops *ops = p->ops;
	uint64_t usable;

	if (UNLIKELY((uintptr_t)ptr % 16 || !p->counters.fragments))
		return false;
	usable = ops->usable(&p->heap, ptr);
	if (UNLIKELY(usable < 16 || usable > p->counters.used))
		return false;
	own_inside(1);
	own_count(p, p->counters.used - usable, p->counters.fragments - 1, p->counters.stamp);
	ops->free(&p->heap, ptr);
	own_inside(0);
	return true;
}

#endif /* FRONT_OWN_FAST_H */
