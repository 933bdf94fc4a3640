/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkg: the manager's call while nothing is recorded: its lock, its counters, what others may see, and nothing else.
 *
 * What magazines do not serve comes here first: what is larger than they are, or they are empty or full. That the gate
 * of the thread's magazines is open says all that front.c would ask: the heap is ready and this process's, it is one,
 * its manager seals its fragments, no call is recorded, nothing is guarded. Whatever else there is goes on to front.c:
 * no memory, a fragment that is none, a call from a signal handler.
 *
 * A pair has a third of the instructions that front.c needs; where fragments lie all over a large heap, that is what
 * lets the CPU wait for the memory of several calls at once.
 */
#include "mem/front/inside.h"

static inline void enter_plain(struct pool *p)
{
	*(volatile uint32_t *)&mem_pkg_self.inside = 1;
	atomic_signal_fence(memory_order_seq_cst); /* as enter() */
	mutex_take(&p->mutex);
	turn(p);
}

/* As leave(), of what such a call changes. */
static inline void leave_plain(struct pool *p)
{
	struct meta_counters *to = &p->live->counters;
	const struct meta_counters *from = &p->counters;

	show(&to->used, from->used);
	show(&to->fragments, from->fragments);
	show(&to->tally.free_bytes, from->tally.free_bytes);
	show(&to->tally.free_fragments, from->tally.free_fragments);
	turn(p);
	mutex_leave(&p->mutex);
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uint32_t *)&mem_pkg_self.inside = 0;
}

void *pkg_plain_alloc(size_t size)
{
	struct magazines *m = mem_pkg_self.own;
	struct pool *p = &mem_pkg_pool;
	uint64_t need;
	void *ptr;

	if (UNLIKELY(!magazine_open(m)) || UNLIKELY(!GATE(m->gate.steps)) || UNLIKELY(mem_pkg_self.inside) ||
	    UNLIKELY(size > p->data_size - 64))
		return NULL;
	need = mem_round(p->ops, size);
	enter_plain(p);
	ptr = p->ops->alloc(&p->heap, 16, need);
	if (LIKELY(ptr)) {
		count_in(p, magazine_usable(m, ptr));
		if (UNLIKELY(!__libc_single_threaded))
			pkg_magazines_refill(&(const struct front_call){ .p = p }, need);
		show(&p->live->counters.stamp, p->counters.stamp);
		show(&p->live->counters.max_used, p->counters.max_used);
	}
	leave_plain(p);
	return ptr;
}

bool pkg_plain_free(void *ptr)
{
	struct magazines *m = mem_pkg_self.own;
	struct pool *p = &mem_pkg_pool;
	uint64_t step = magazine_step(m, ptr), i, usable;
	bool owned;

	if (UNLIKELY(step >= GATE(m->gate.steps)) || UNLIKELY(mem_pkg_self.inside))
		return false;
	i = magazine_size(m, ptr, step);
	if (UNLIKELY(i > GATE(m->gate.steps) - step) ||
	    (i < MAGAZINE_SIZES && UNLIKELY(*magazine_tag_of(ptr) == m->tag)))
		return false;
	if (i < MAGAZINE_SIZES && pkg_magazine_grow(m, i) && magazine_put(ptr))
		return true;
	usable = 16 * i + m->head;
	enter_plain(p);
	owned = p->ops->owns(&p->heap, ptr);
	if (LIKELY(owned)) {
		if (UNLIKELY(!__libc_single_threaded))
			pkg_magazines_unload(p, usable);
		p->counters.used -= usable;
		p->counters.fragments--;
		large_freed(p, ptr, usable);
		p->ops->free(&p->heap, ptr);
	}
	leave_plain(p);
	return owned;
}
