/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory behind the heap: its first, growth by steps; pkg: pages of large fragments that go back to the system. */
#include "mem/front/inside.h"

enum { GROW_LEAST = 256 << 10, GROW_MOST = 4 << 20 };

/* ---- growth ---- */

static int commit_data(struct pool *p, uint64_t from, uint64_t bytes)
{
#ifdef MEM_DOMAIN_SHM
	return region_file_commit(&p->data_file, p->heap.base + from, from, bytes);
#else
	return region_commit(p->heap.base + from, bytes);
#endif
}

static bool starts_cover(struct pool *p, uint64_t len)
{
#ifdef MEM_DOMAIN_SHM
	(void)p, (void)len;
	return true;
#else
	return pkg_starts_cover(p, len);
#endif
}

/* The region grows by a step that serves `need`; transactions of its own. */
COLD bool DOMAIN(front_grow)(struct pool *p, uint64_t need)
{
	struct mem_heap *h = &p->heap;
	uint64_t have = COUNTERS(p)->committed, room = p->id->size - have, step = have / 8;

	if (!p->ops->extend)
		return false;
	step = step < GROW_LEAST ? GROW_LEAST : step > GROW_MOST ? GROW_MOST : step;
	need = ROUND_UP(need + META_PAGE, META_PAGE); /* with heads and marks */
	step = step < need ? need : step;
	step = ROUND_UP(step < room ? step : room, META_PAGE);
	if (!step ||
	    (commit_data(p, have, step) && (step = need < room ? need : 0, !step || commit_data(p, have, step))) ||
	    !starts_cover(p, have + step))
		return false;
	h->len = have + step;
	HEAP_SET(h, COUNTERS(p)->committed, have + step);
	p->ops->extend(h, have);
	HEAP_COMMIT(h);
#ifndef MEM_DOMAIN_SHM
	if (p == p->home)
		pkg_magazines_grown(p);
#endif
	publish_all(p);
	return true;
}

int DOMAIN(front_init)(struct pool *p, struct owner *o, uint64_t committed)
{
	struct mem_heap *h = &p->heap;
	int rc;

	enter(p, o, 0);
	rc = committed ? commit_data(p, 0, committed) : 0;
	if (rc == 0) {
		HEAP_SET(h, COUNTERS(p)->committed, committed);
		h->len = committed;
		rc = p->ops->init(h);
	}
	publish_all(p);
	leave(p, o, 0);
	return rc;
}

#ifndef MEM_DOMAIN_SHM

/* ---- large fragments ---- */

/*
 * Only of memory that is this heap's own: what a manager got elsewhere may be of any kind.
 *
 * Pages of a large fragment go back to the system when it is freed. What is large grows with what goes back, up to
 * LARGE_MOST: who frees and allocates the same size again and again pays for its pages once.
 */
COLD void pkg_front_discard(struct pool *p, void *ptr, uint64_t usable)
{
	static _Atomic uint64_t large = LARGE_LEAST;	/* of all shards; relaxed: a guess at what will come again */
	int saved = errno;

	if (pool_holds(p, ptr) &&
	    (usable > atomic_load_explicit(&large, memory_order_relaxed) || usable >= LARGE_MOST)) {
		region_discard(ptr, usable);
		atomic_store_explicit(&large, usable < LARGE_MOST ? usable : LARGE_MOST, memory_order_relaxed);
	}
	errno = saved;
}

/* What was never touched stays untouched: most of a large array of zeros is read first, if at all. */
COLD void pkg_front_zeros(void *ptr, size_t size)
{
	char *from = (char *)ROUND_UP((uintptr_t)ptr, META_PAGE), *end = (char *)ptr + size;
	char *to = (char *)((uintptr_t)end & ~(uintptr_t)(META_PAGE - 1));
	int saved = errno;

	if (!region_discard(from, (uint64_t)(to - from)))
		memset(from, 0, (size_t)(to - from));
	memset(ptr, 0, (size_t)(from - (char *)ptr));
	memset(to, 0, (size_t)(end - to));
	errno = saved;
}

/* ---- the lock ---- */

enum { PAUSES_MOST = 64 };

/*
 * Who has the lock has it for some hundred ns, and sleeping costs both sides more. Rarer and rarer: who asks often
 * takes the line of the lock from who works beside it.
 */
static bool mutex_came_free(_Atomic uint32_t *mutex)
{
	for (unsigned pauses = 1; pauses <= PAUSES_MOST; pauses *= 2) {
		uint32_t free = 0;

		for (unsigned i = 0; i < pauses; i++)
			cpu_relax();
		if (atomic_load_explicit(mutex, memory_order_relaxed) == 0 && /* a guess: the exchange decides */
		    atomic_compare_exchange_strong_explicit(mutex, &free, 1, memory_order_acquire,
							    memory_order_relaxed))
			return true;
	}
	return false;
}

/* This thread waits for a mutex, which therefore is not its own. */
static _Thread_local volatile bool waits __attribute__((tls_model("initial-exec")));

/* errno stays: free() must not change it. */
COLD void pkg_mutex_wait(_Atomic uint32_t *mutex)
{
	int saved = errno;

	if (!magazines_lacking(mem_pkg_self.own))
		mem_pkg_self.own->waited = true;
	waits = true;
	if (!mutex_came_free(mutex))
		while (atomic_exchange_explicit(mutex, 2, memory_order_acquire))
			syscall(SYS_futex, mutex, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
	waits = false;
	errno = saved;
}

int pkg_front_read(struct pool *p)
{
	if (mem_pkg_self.inside)
		return -EDEADLK;
	*(volatile uint32_t *)&mem_pkg_self.inside = 1;
	atomic_signal_fence(memory_order_seq_cst);
	mutex_take(&p->mutex);
	return 0;
}

void pkg_front_read_end(struct pool *p)
{
	mutex_leave(&p->mutex);
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uint32_t *)&mem_pkg_self.inside = 0;
}

void pkg_front_hold(struct pool *p) { mutex_take(&p->mutex); }
void pkg_front_let_go(struct pool *p) { mutex_leave(&p->mutex); }
bool pkg_front_waits(void) { return waits; }

#endif
