/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The short way to a manager that keeps its own memory, while nothing is tracked.
 *
 * Where it is MEM_CACHEABLE threads' magazines are before it: what is freed waits there for the next request. How large
 * it is its page tells (own_sizes.h), or the manager is asked. What they do not serve goes on to the manager while the
 * process has one thread, and else the long way. There is no heap of ours that a call could leave half changed: no lock
 * is taken, and META is touched only to publish three words.
 *
 * Invariant: p->lean says that no fragment has a record, none shall get one, and there is no limit. Every doubt (no
 * memory, a pointer that cannot be) goes the long way, which knows what to do.
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
	uint64_t used, need, usable;
	void *ptr;

	if (UNLIKELY(size > PTRDIFF_MAX - 64))
		return NULL;
	need = mem_round(ops, size);
	own_inside(1);
	/* in here: a handler that came before may have begun to track, and follows nothing any more */
	ptr = LIKELY(p->lean) ? ops->alloc(&p->heap, 16, need) : NULL;
	if (UNLIKELY(!ptr)) {
		own_inside(0);
		return NULL;
	}
	usable = magazine_learned(mem_pkg_self.own, need);
	if (UNLIKELY(!usable)) {
		usable = ops->usable(&p->heap, ptr);
		magazine_learn(mem_pkg_self.own, need, usable);
	}
	own_began(p, ptr, usable);
	used = p->counters.used + usable;
	if (UNLIKELY(used > p->counters.max_used))
		*(volatile uint64_t *)&p->live->counters.max_used = p->counters.max_used = used;
	own_count(p, used, p->counters.fragments + 1, p->counters.stamp + 1);
	own_inside(0);
	return ptr;
}

/* Whether anything is in use at all: else `ptr` is nothing that the manager may be asked about. Others count, too. */
static inline bool own_may_ask(const struct pool *p, const void *ptr)
{
	uint64_t fragments;

	RACY_READS_BEGIN();
	fragments = *(const volatile uint64_t *)&p->counters.fragments;
	RACY_READS_END();
	return LIKELY(!((uintptr_t)ptr % 16)) && LIKELY(fragments);
}

/**
 * true: it is in a magazine. Else *ret_usable is its size, or 0: it was not asked for. What the open gate and the
 * followed features say is all that need be known: the heap is ready and this process's, nothing is recorded.
 */
static inline bool own_cache(struct pool *p, void *ptr, uint64_t *ret_usable)
{
	struct magazines *m = mem_pkg_self.own;
	uint64_t usable;

	*ret_usable = 0;
	if (UNLIKELY(!GATE(m->gate.limit)) || UNLIKELY(!magazine_follows(m)) || UNLIKELY(mem_pkg_self.inside) ||
	    UNLIKELY(!own_may_ask(p, ptr)))
		return false;
	own_inside(1);			/* it may remember what it looks up */
	usable = p->ops->usable(&p->heap, ptr);
	own_inside(0);
	*ret_usable = usable;
	return magazine_put_own(m, ptr, usable);
}

/** true: it is free. false: the front end does it, or tells what is wrong with it. The caller is own_alone(). */
static inline bool own_put(struct pool *p, void *ptr, uint64_t usable)
{
	const struct magazines *m = mem_pkg_self.own;

	own_inside(1);
	/* as in own_take() */
	if (UNLIKELY(!p->lean) || UNLIKELY(!own_may_ask(p, ptr))) {
		own_inside(0);
		return false;
	}
	if (!usable)
		usable = p->ops->usable(&p->heap, ptr);
	if (UNLIKELY(usable < 16 || usable > p->counters.used) || UNLIKELY(magazine_put_before(m, ptr, usable))) {
		own_inside(0);
		return false;
	}
	own_count(p, p->counters.used - usable, p->counters.fragments - 1, p->counters.stamp);
	own_ended(p, ptr);
	p->ops->free(&p->heap, ptr);
	own_inside(0);
	return true;
}

static inline void own_grown(struct pool *p, uint64_t bytes)
{
	uint64_t used = p->counters.used + bytes;

	if (UNLIKELY(used > p->counters.max_used))
		*(volatile uint64_t *)&p->live->counters.max_used = p->counters.max_used = used;
	own_count(p, used, p->counters.fragments, p->counters.stamp);
}

/*
 * The same fragment with `size` bytes, here or where the manager moves it; NULL: ask the front end. The caller is
 * own_alone().
 */
static inline void *own_again(struct pool *p, void *ptr, size_t size)
{
	const struct mem_manager_ops *ops = p->ops;
	uint64_t need = size && size <= PTRDIFF_MAX - 64 ? mem_round(ops, size) : 0, was, now;
	void *at = NULL;

	own_inside(1);
	/* as in own_take() */
	was = need && LIKELY(p->lean) && own_may_ask(p, ptr) ? ops->usable(&p->heap, ptr) : 0;
	if (UNLIKELY(was < 16 || was > p->counters.used) || UNLIKELY(magazine_put_before(mem_pkg_self.own, ptr, was))) {
		own_inside(0);
		return NULL;
	}
	if (LIKELY(need <= was && need >= was / 2)) {	/* half empty: it may move */
		own_inside(0);
		return ptr;
	}
	own_ended(p, ptr);
	at = ops->resize(&p->heap, ptr, need) ? ptr : ops->realloc ? ops->realloc(&p->heap, ptr, need) : NULL;
	now = at ? ops->usable(&p->heap, at) : was;
	own_began(p, at ? at : ptr, now);
	own_grown(p, now - was);
	own_inside(0);
	return at;
}

/** Twice as many places for its size, if there may be, and into one of them. */
static inline bool own_cache_more(void *ptr, uint64_t usable)
{
	struct magazines *m = mem_pkg_self.own;
	uint64_t i = magazine_of(m, usable);

	return usable && GATE(m->gate.limit) && i < MAGAZINE_SIZES && !magazine_put_before(m, ptr, usable) &&
	       pkg_magazine_grow(m, i) && magazine_put_own(m, ptr, usable);
}

#endif /* FRONT_OWN_FAST_H */
