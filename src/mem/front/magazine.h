/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Magazines of the private heap: each thread has small stacks of ready fragments, one for each size up to 1 KiB.
 *
 *	thread A  of[1] 16 B   [ p q r . . . . . ]	take: the last one in; put: on top
 *	          of[2] 32 B   [ . . . . . . . . ]	(24, 40, … B where heads have 8 bytes)
 *	thread B  …
 *	depot     of[1] 16 B   [ s t u v . . . . ]	with the heap's lock: what one thread has too much of, for
 *others
 *
 * For the manager a fragment in a magazine is in use. While nothing is recorded its last 8 bytes hold the heap's
 * generation and an index that no record has; while calls are recorded all that is inside has its record, which keeps
 * its place and says RECORD_CACHED (the fragment's own bytes are not believed: who uses it after the free may have
 * changed them). So a second free is found, and observers tell it apart. Each thread has a line in META that says how
 * much it holds (struct meta_thread); observers sum them.
 *
 * Threads: take and put touch what is the thread's own, by plain stores. What is in there may be looked at by others,
 * with the lock (magazine_holds). A miss, with several threads, brings a batch that doubles each time; a full one sends
 * half of itself away. A magazine has 8 places, twice as many when its thread had to wait for the lock, up to 64, and
 *as long as all of them have room for 520 KiB; above 256 KiB nothing is brought. A request that finds no memory empties
 * those of its thread and the depot; other threads follow when they next come by with the lock. While the process has
 * one thread nothing is brought, and nothing grows.
 *
 * Signals: `open` is 0 while its thread is inside, so that a handler which interrupted it goes to the lock; who holds
 * that itself is refused (would_deadlock). Fork: in the child the magazines of threads that are not there go back to
 * the heap, but one whose thread was inside just then: what it holds stays in use, and is untracked.
 *
 * Open only while nobody wants guards and the manager knows its own fragments (owns). After Bonwick, "Magazines and
 * Vmem", 2001. 64 B pair, fm: 5 ns; through the manager, with its lock and counters, 19 ns.
 */
#ifndef FRONT_MAGAZINE_H
#define FRONT_MAGAZINE_H

#include <sys/single_threaded.h>

#include "mem/base/compiler.h"
#include "mem/pool.h"

enum { MAGAZINE_SIZES = CACHED_MOST / 16 + 1, MAGAZINES_GROW = 256 << 10, MAGAZINES_ENOUGH = 256 << 10 };

/* 9 cache lines, an odd number: the heads of all sizes share no set of the cache. */
struct magazine { uint32_t count, most; void *at[71]; };

/** Of one thread, or the depot. Only the owner changes it, the depot's is who has the lock. */
struct magazines {
	/* sizes in use: MAGAZINE_SIZES, or 0. [0] while nothing is recorded, [1] while calls are; never both */
	uint64_t open[2];
	uint64_t head;			/* of[i] holds 16 i + head usable bytes: 0, or 8 with MEM_HEAD8 */
	struct meta_thread *told;	/* its line in META, or one that nobody reads */
	_Atomic uint64_t features;	/* of the heap, as the owner has followed them */
	uint64_t sizes;			/* what is open when the owner is not inside */
	uint64_t trim;			/* of the process, as it was followed */
	uint64_t may_grow;		/* bytes */
	struct magazines *next;		/* of all that there ever were */
	bool recorded;			/* what is inside has records */
	bool waited;			/* for the lock, since magazines were looked after */
	bool owned;
	uint8_t batch[MAGAZINE_SIZES];	/* fragments that the last miss brought */
	_Alignas(64) struct magazine of[MAGAZINE_SIZES];
	uint32_t record[MAGAZINE_SIZES][MAGAZINE_MOST + 16];	/* of of[i].at[k], while calls are recorded */
};

/** Of each thread: initial-exec, since a library that is loaded late gets little else, and asking must not allocate. */
struct magazine_self {
	struct magazines *own;		/* its own, mem_pkg_none, mem_pkg_unsettled */
	uint32_t inside;		/* it has the lock, or waits for it */
};
extern _Thread_local struct magazine_self mem_pkg_self
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/**
 * Closed ones. `none` is of threads that go without, and follows features, so that one compare does for all. A thread
 * that has not called yet is `unsettled`, whose features no heap has.
 */
extern struct magazines mem_pkg_none __attribute__((visibility("hidden")));
extern struct magazines mem_pkg_unsettled __attribute__((visibility("hidden")));
static inline bool magazines_lacking(const struct magazines *m)
{
	return m == &mem_pkg_none || m == &mem_pkg_unsettled;
}

/* ---- the owner goes in and out ---- */

/** Not inside: what is read is whole. Of the owner, its signal handlers, and a child's only thread. */
static inline bool magazine_quiet(const struct magazines *m)
{
	return *(const volatile uint64_t *)&m->open[0] + *(const volatile uint64_t *)&m->open[1] == m->sizes;
}

static inline void magazine_close(struct magazines *m, unsigned which)
{
	*(volatile uint64_t *)&m->open[which] = 0;
	atomic_signal_fence(memory_order_seq_cst); /* a handler finds it closed before anything changes */
}

static inline void magazine_reopen(struct magazines *m, unsigned which, uint64_t open)
{
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uint64_t *)&m->open[which] = open;
}

/* ---- what others look at ---- */

/* A line of the owner's: relaxed, numbers for people. */
static inline void magazine_tell(uint64_t *word, uint64_t change)
{
	__atomic_store_n(word, *word + change, __ATOMIC_RELAXED);
}

static inline void magazine_push(struct magazine *of, uint32_t count, void *ptr)
{
	__atomic_store_n(&of->at[count], ptr, __ATOMIC_RELAXED);
	/* The fragment is there. Pairs with the acquire in pkg_magazine_holds(). */
	__atomic_store_n(&of->count, count + 1, __ATOMIC_RELEASE);
}

/* relaxed: who takes it off is its owner from here on, and hands it on by its own means */
static inline void *magazine_pop(struct magazine *of, uint32_t count)
{
	__atomic_store_n(&of->count, count - 1, __ATOMIC_RELAXED);
	return of->at[count - 1];
}

static inline uint64_t *magazine_tail(const void *ptr, uint64_t usable)
{
	return (uint64_t *)(void *)((uintptr_t)ptr + usable - TAIL_BYTES);
}

static inline uint64_t magazine_tag(const struct pool *p) { return p->generation | TAIL_CACHED; }

/* ---- the calls ---- */

/** A fragment of `size` bytes or more, or NULL: ask the manager. */
static inline void *magazine_take(struct pool *p, size_t size)
{
	struct magazines *m = mem_pkg_self.own;
	uint64_t head = m->head, open = m->open[0];
	uint64_t i = size / 16 + (size % 16 > head), usable;	/* of any size: a sum would wrap */
	struct meta_thread *told = m->told;
	struct magazine *of;
	uint32_t count;
	void *ptr;

	(void)p;
	i += !i;
	if (UNLIKELY(i >= open))
		return NULL;
	magazine_close(m, 0);
	of = &m->of[i];
	count = of->count;
	if (UNLIKELY(!count)) {
		magazine_reopen(m, 0, open);
		return NULL;
	}
	usable = i * 16 + head;
	ptr = magazine_pop(of, count);
	*magazine_tail(ptr, usable) = 0;
	magazine_tell(&told->cached, -CACHED_ONE(usable));
	magazine_tell(&told->taken, 1);
	magazine_reopen(m, 0, open);
	return ptr;
}

enum magazine_answer { MAGAZINE_PUT, MAGAZINE_KNOWN, MAGAZINE_ASK };

/*
 * KNOWN: a fragment in use that has no record. The words that are read are those of a fragment that is the caller's,
 * and bounds; what others change in them meanwhile is not what is asked for, or leads to ASK, which is asked with the
 * lock.
 */
static inline enum magazine_answer magazine_known(const struct pool *p, const void *ptr, uint64_t *ret_usable)
{
	uint64_t at = (uintptr_t)ptr - (uintptr_t)p->heap.base;
	enum magazine_answer answer = MAGAZINE_ASK;

	RACY_READS_BEGIN();
	if (LIKELY(at < p->heap.len) && LIKELY(!(at % 16)) && LIKELY(at) && LIKELY(p->ops->owns(&p->heap, ptr)) &&
	    LIKELY(!p->ops->marked(&p->heap, ptr))) {
		*ret_usable = p->ops->usable(&p->heap, ptr);
		answer = MAGAZINE_KNOWN;
	}
	RACY_READS_END();
	return answer;
}

/**
 * PUT: `ptr` is a fragment in use that nobody recorded, and is in a magazine now. Else it is for the manager: KNOWN
 * says that it has told so much already, and there was no room, ASK that nothing is known.
 */
static inline enum magazine_answer magazine_put(struct pool *p, void *ptr)
{
	struct magazines *m = mem_pkg_self.own;
	enum magazine_answer answer;
	uint64_t open = m->open[0], usable = 0, tag;
	struct magazine *of;
	uint32_t count;

	if (UNLIKELY(!open))
		return MAGAZINE_ASK;
	answer = magazine_known(p, ptr, &usable);
	if (UNLIKELY(answer == MAGAZINE_ASK) || UNLIKELY(usable > CACHED_MOST))
		return answer;
	magazine_close(m, 0);
	of = &m->of[usable / 16];
	count = of->count;
	tag = magazine_tag(p);
	if (UNLIKELY(count >= of->most) || UNLIKELY(*magazine_tail(ptr, usable) == tag)) {
		magazine_reopen(m, 0, open);
		return MAGAZINE_KNOWN;
	}
	*magazine_tail(ptr, usable) = tag;
	magazine_push(of, count, ptr);
	magazine_tell(&m->told->cached, CACHED_ONE(usable));
	magazine_reopen(m, 0, open);
	return MAGAZINE_PUT;
}

/** Number of the magazine for `size` bytes, at most open - 1; 0: none, which has no fragments. */
static inline uint64_t magazine_for(const struct magazines *m, size_t size, uint64_t open)
{
	uint64_t i = (size + 15 - m->head) / 16;

	i += !i;
	return LIKELY(i < open) ? i : 0;
}

/* ---- with the lock ---- */

bool pkg_magazine_holds(const void *ptr, uint64_t usable);

/** Whether the unmarked fragment `ptr` in use lies in a magazine. Its bytes may look so by themselves. */
static inline bool magazine_holds(const struct pool *p, const void *ptr, uint64_t usable)
{
	return p == p->home && usable <= CACHED_MOST && UNLIKELY(*magazine_tail(ptr, usable) == magazine_tag(p)) &&
	       pkg_magazine_holds(ptr, usable);
}

/** Allocations from the thread's magazines get their numbers in the heap's counter. */
static inline void magazine_count(struct pool *p)
{
	struct magazines *m = mem_pkg_self.own;
	uint64_t taken = m->told->taken;

	if ((int64_t)taken > 0 && p == p->home && magazine_quiet(m)) {
		p->counters.stamp += taken;
		__atomic_store_n(&m->told->taken, 0, __ATOMIC_RELAXED);
	}
}

/* magazine.c. These take the lock. */

/** Magazines for the calling thread, to be made its own; NULL: no memory, or there are THREADS_MAX. */
struct magazines *pkg_magazines_claim(struct pool *p);
/** They are empty, and another's from here on. The thread has put mem_pkg_none in their place. */
void pkg_magazines_release(struct pool *p, struct magazines *m);
/** p->features become these, and the calling thread's magazines follow: what was in them went back. */
void pkg_magazines_follow(struct pool *p, uint64_t features);

/* These do not. */

/** The heap, or a child, has a META: lines of it. */
void pkg_magazines_attach(struct pool *p);
/**
 * In a child, whose META is still the parent's: what others' magazines hold goes back to the manager, or is lost with
 * the heap. false: this thread was inside of a call when it forked, from a signal handler.
 */
bool pkg_magazines_inherit(struct pool *p, bool lost);
/** All lines, as live.cached. */
uint64_t pkg_magazines_cached(const struct pool *p);

#endif /* FRONT_MAGAZINE_H */
