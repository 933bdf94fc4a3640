/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/front/front.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/magazine.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"
#include "mem/meta/store.h"

enum { GROW_LEAST = 256 << 10, GROW_MOST = 4 << 20, GUARD_BYTE = 0xfd };

#ifdef MEM_DOMAIN_SHM
#define COUNTERS(p) (&(p)->live->counters)
#else
#define COUNTERS(p) (&(p)->counters)
#endif

/* ---- in and out ---- */

#ifdef MEM_DOMAIN_SHM

static inline void enter(struct pool *p, struct owner *o, unsigned flags)
{
	if (!(flags & FRONT_HELD))
		lock_take(p, o);
	p->heap.log = &o->slot->log;
	p->heap.len = COUNTERS(p)->committed;
}

static inline void leave(struct pool *p, unsigned flags)
{
	HEAP_COMMIT(&p->heap);
	if (!(flags & FRONT_HELD))
		lock_leave(p);
}

static inline void publish_all(struct pool *p) { (void)p; }	/* META is where they are */

/* In shm every fragment has a record, and a slot its number. */
static inline bool records(const struct pool *p) { (void)p; return true; }

static inline bool keeps_own(const struct pool *p) { (void)p; return false; }

#else

/* The manager has memory of its own: no region, no tally; heap.len is 0, so that no address is in range. */
static inline bool keeps_own(const struct pool *p) { return p->ops->flags & MEM_OWN_MEMORY; }

/* errno stays: free() must not change it. */
COLD static void mutex_wait(_Atomic uint32_t *mutex)
{
	int saved = errno;

	while (atomic_exchange_explicit(mutex, 2, memory_order_acquire))
		syscall(SYS_futex, mutex, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
	errno = saved;
}

/*
 * The lock is taken by a plain store while the process has one thread: no other can see it, and a child that is
 * made behind our back inside of a call still does.
 */
static inline void mutex_take(_Atomic uint32_t *mutex)
{
	uint32_t free = 0;

	if (__libc_single_threaded)
		atomic_store_explicit(mutex, 1, memory_order_relaxed); /* one thread */
	else if (!atomic_compare_exchange_strong_explicit(mutex, &free, 1, memory_order_acquire, memory_order_relaxed))
		mutex_wait(mutex);
}

static inline void mutex_leave(_Atomic uint32_t *mutex)
{
	if (__libc_single_threaded)
		atomic_store_explicit(mutex, 0, memory_order_relaxed); /* one thread */
	else if (atomic_exchange_explicit(mutex, 0, memory_order_release) == 2)
		syscall(SYS_futex, mutex, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void pkg_front_hold(struct pool *p) { mutex_take(&p->mutex); }
void pkg_front_let_go(struct pool *p) { mutex_leave(&p->mutex); }

/* Odd while the heap changes: an observer takes what it read between two equal, even turns. */
static inline void turn(struct pool *p)
{
	atomic_signal_fence(memory_order_seq_cst); /* x86 keeps stores in order; elsewhere observers may retry more */
	*(volatile uint64_t *)&p->live->turn = p->live->turn + 1;
	atomic_signal_fence(memory_order_seq_cst);
}

/* Word by word: the compiler would copy pairs of words that were just stored one by one, and the CPU would wait for
 * them. */
static inline void show(uint64_t *to, uint64_t value) { *(volatile uint64_t *)to = value; }

/* What calls change, to META. */
static inline void publish(struct pool *p)
{
	struct meta_counters *to = &p->live->counters;
	const struct meta_counters *from = &p->counters;

	show(&to->used, from->used);
	show(&to->fragments, from->fragments);
	show(&to->max_used, from->max_used);
	show(&to->stamp, from->stamp);
	if (!keeps_own(p)) {
		show(&to->tally.free_bytes, from->tally.free_bytes);
		show(&to->tally.free_fragments, from->tally.free_fragments);
		if (LIKELY(p == p->home))
			magazine_count(p, &mem_pkg_magazines, 0);
	}
	if (UNLIKELY(from->records_used)) {
		show(&to->recorded, from->recorded);
		show(&to->recorded_bytes, from->recorded_bytes);
		show(&to->records_free, from->records_free);
		show(&to->records_used, from->records_used);
	}
}

/* What growth and new sites change, too. */
static inline void publish_all(struct pool *p) { p->live->counters = p->counters; }

static inline void enter(struct pool *p, struct owner *o, unsigned flags)
{
	(void)o, (void)flags;
	mutex_take(&p->mutex);
	turn(p);
	if (UNLIKELY(mem_pkg_magazines.cached) && UNLIKELY(!magazine_ready()) && p == p->home)
		pkg_front_flush(p, true);
}

static inline void leave(struct pool *p, unsigned flags)
{
	(void)flags;
	publish(p);
	turn(p);
	mutex_leave(&p->mutex);
}

static inline bool records(const struct pool *p) { return p->features & (FEATURE_SITES | FEATURE_STACKS); }

#endif

static inline uint64_t slot_of(const struct owner *o) { return o ? o->number : 0; }

/* ---- sites ---- */

static inline bool would_deadlock(const struct front_call *call)
{
	return call->o && UNLIKELY(call->o->holds) && !(call->flags & FRONT_HELD);
}

/* Sites are interned in shard 0. A holder of all locks holds that one, too. */
static inline struct owner *at_home(const struct front_call *call)
{
	return call->o && call->o->home ? call->o->home : call->o;
}

COLD static uint32_t site_slow(const struct front_call *call)
{
	struct pool *p = call->p->home;
	struct owner *o = at_home(call);
	struct meta_site site;
	uint32_t number;

	site_describe(call->site, call->caller, !(call->flags & FRONT_HELD), &site);
	enter(p, o, call->flags);
	number = DOMAIN(site_intern)(p, &site);
	publish_all(p);
	leave(p, call->flags);
	site_remember(p, call->site, call->caller, number);
	return number;
}

COLD static uint32_t site_of_stack(const struct front_call *call)
{
	struct pool *p = call->p->home;
	struct call_stack stack;
	struct meta_site site;
	uint32_t number;

	if (!stack_take(&stack, call->caller))
		return 0;
	number = site_known(p, NULL, stack.key);
	/* of a full table nothing is learned by naming up to 16 functions at each call */
	if (number || COUNTERS(p)->sites_used >= SITES_MAX)
		return number;
	stack_describe(&stack, call->site, &site);
	enter(p, at_home(call), call->flags);
	number = DOMAIN(site_intern)(p, &site);
	publish_all(p);
	leave(p, call->flags);
	site_remember(p, NULL, stack.key, number);
	return number;
}

static inline uint32_t site_of(const struct front_call *call)
{
	if (UNLIKELY(call->p->features & FEATURE_STACKS))
		return site_of_stack(call);

	uint32_t known = site_known(call->p->home, call->site, call->caller);

	return LIKELY(known) ? known : site_slow(call);
}

uint32_t DOMAIN(front_site)(const struct front_call *call)
{
	return would_deadlock(call) ? site_known(call->p->home, call->site, call->caller) : site_of(call);
}

/* ---- growth ---- */

static int commit_data(struct pool *p, uint64_t from, uint64_t bytes)
{
#ifdef MEM_DOMAIN_SHM
	return region_file_commit(&p->data_file, p->heap.base + from, from, bytes);
#else
	return region_commit(p->heap.base + from, bytes);
#endif
}

/* The region grows by a step that serves `need`; transactions of its own. */
COLD static bool grow(struct pool *p, uint64_t need)
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
	    (commit_data(p, have, step) && (step = need < room ? need : 0, !step || commit_data(p, have, step))))
		return false;
	h->len = have + step;
	HEAP_SET(h, COUNTERS(p)->committed, have + step);
	p->ops->extend(h, have);
	HEAP_COMMIT(h);
	publish_all(p);
	return true;
}

/* ---- large fragments ---- */

enum { LARGE_LEAST = 256 << 10, LARGE_MOST = 32 << 20, ZERO_BY_PAGES = 1 << 20 };

#ifdef MEM_DOMAIN_SHM

static inline void large_freed(struct pool *p, void *ptr, uint64_t usable) { (void)p, (void)ptr, (void)usable; }
static inline void make_zeros(struct pool *p, void *ptr, size_t size) { (void)p, memset(ptr, 0, size); }

#else

/*
 * Only of memory that is this heap's own: what a manager got elsewhere may be of any kind.
 *
 * Pages of a large fragment go back to the system when it is freed. What is large grows with what goes back, up to
 * LARGE_MOST: who frees and allocates the same size again and again pays for its pages once.
 */
COLD static void discard(struct pool *p, void *ptr, uint64_t usable)
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

static inline void large_freed(struct pool *p, void *ptr, uint64_t usable)
{
	if (UNLIKELY(usable > LARGE_LEAST))
		discard(p, ptr, usable);
}

/* What was never touched stays untouched: most of a large array of zeros is read first, if at all. */
COLD static void zeros_by_pages(void *ptr, size_t size)
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

static inline void make_zeros(struct pool *p, void *ptr, size_t size)
{
	if (UNLIKELY(size >= ZERO_BY_PAGES) && pool_holds(p, ptr))
		zeros_by_pages(ptr, size);
	else
		memset(ptr, 0, size);
}

#endif

/* ---- records and tails ---- */

static inline uint64_t *tail_of(const void *ptr, uint64_t usable)
{
	return (uint64_t *)(void *)((uintptr_t)ptr + usable - TAIL_BYTES);
}

static void guard_fill(void *ptr, uint64_t requested, uint64_t usable)
{
	memset((char *)ptr + requested, GUARD_BYTE, usable - TAIL_BYTES - requested);
}

/*
 * Guards lie where a free fragment, or a neighbour that was joined, has its links, and are not logged: they are written
 * when nothing is rolled back any more, and count when they are whole. Ends the transaction.
 */
COLD static void guard_put(struct pool *p, struct meta_record *r, void *ptr, uint64_t requested, uint64_t usable)
{
	HEAP_COMMIT(&p->heap);
	guard_fill(ptr, requested, usable);
	atomic_signal_fence(memory_order_release); /* kill: who dies before this has a fragment without guards */
	*(volatile uint64_t *)&r->owner = r->owner | (uint64_t)RECORD_GUARDED << 48;
}

static bool guard_intact(const void *ptr, uint64_t requested, uint64_t usable)
{
	for (uint64_t i = requested; i < usable - TAIL_BYTES; i++)
		if (((const unsigned char *)ptr)[i] != GUARD_BYTE)
			return false;
	return true;
}

static inline uint64_t record_sizes(uint64_t usable, uint64_t requested)
{
	return RECORD_SIZES(usable, usable - requested);
}

static inline uint64_t record_requested(const struct meta_record *r)
{
	return RECORD_USABLE(r->sizes) - RECORD_SLACK(r->sizes);
}

/* A private heap serves its program before it tells of it: the fragment counts as untracked. */
static inline bool may_go_unrecorded(void) { return DOMAIN_INDEX == 0; }

static inline bool record_ready(struct pool *p)
{
	struct meta_counters *c = COUNTERS(p);

	return LIKELY(c->records_free || c->records_used < p->live->records_committed) ||
	       records_grow(p) == 0;
}

/* By time(), the cheapest clock there is: 0.7 ns, where the coarse monotonic one takes 4. */
static inline uint64_t seconds_since(uint64_t created)
{
	uint64_t now = (uint64_t)time(NULL);

	return now > created ? (now - created) & UINT32_MAX : 0;
}

/* Of a free record only address and sizes are alive, so that alone they are logged. */
static inline void record_put(const struct front_call *call, void *ptr, uint64_t usable, uint64_t requested,
			      uint32_t site)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	struct meta_counters *c = COUNTERS(p);
	uint64_t index = c->records_free;
	struct meta_record *r;

	if (index--) {
		r = &p->records[index];
		HEAP_SET(h, c->records_free, r->sizes);
	} else {
		index = c->records_used;
		r = &p->records[index];
		HEAP_SET(h, c->records_used, index + 1);
	}
	r->owner = site | slot_of(call->o) << 32;
	r->time = seconds_since(p->id->created) | c->stamp << 32;
	HEAP_SET(h, r->sizes, record_sizes(usable, requested));
	HEAP_SET(h, r->address, (uintptr_t)ptr);
	HEAP_SET(h, *tail_of(ptr, usable), index | p->generation);
#ifndef MEM_DOMAIN_SHM
	HEAP_SET(h, c->recorded, c->recorded + 1);
	HEAP_SET(h, c->recorded_bytes, c->recorded_bytes + usable);
	if (p->ops->mark)
		p->ops->mark(h, ptr, true);
#endif
	if (UNLIKELY(p->features & FEATURE_GUARDS))
		guard_put(p, r, ptr, requested, usable);
}

static inline void record_drop(struct pool *p, struct meta_record *r, uint64_t usable, uint32_t site)
{
	struct mem_heap *h = &p->heap;
	struct meta_counters *c = COUNTERS(p);

	HEAP_SET(h, r->address, r->address | RECORD_FREE);
	HEAP_SET(h, r->time, (r->time & UINT32_MAX) | (uint64_t)site << 32);
	HEAP_SET(h, r->sizes, c->records_free);
	HEAP_SET(h, c->records_free, (uint64_t)(r - p->records) + 1);
	(void)usable;
#ifndef MEM_DOMAIN_SHM
	HEAP_SET(h, c->recorded, c->recorded - 1);
	HEAP_SET(h, c->recorded_bytes, c->recorded_bytes - usable);
#endif
}

/* ---- what a pointer is ---- */

enum verdict { GOOD, NOT_RECORDED, BAD };

static inline bool has_record(const struct pool *p, const void *ptr)
{
#ifdef MEM_DOMAIN_SHM
	(void)p, (void)ptr;
	return true;
#else
	return p->ops->marked && p->ops->marked(&p->heap, ptr);
#endif
}

static inline bool in_magazine(const struct pool *p, const void *ptr, uint64_t usable)
{
#ifdef MEM_DOMAIN_SHM
	(void)p, (void)ptr, (void)usable;
	return false;
#else
	return magazine_holds(p, ptr, usable);
#endif
}

#ifndef MEM_DOMAIN_SHM
/*
 * In memory of the manager's own, where only the manager can tell what `ptr` is: its tail and a record name each other.
 * One that has no record, while every fragment has one, is none; and so is one whose record is free.
 */
static enum verdict look_up_own(struct pool *p, const void *ptr, struct meta_record **ret_record, uint64_t *ret_usable)
{
	const struct meta_counters *c = &p->counters;
	uint64_t usable, tail, index;

	if (UNLIKELY((uintptr_t)ptr % 16 || !c->fragments))
		return BAD;
	usable = p->ops->usable(&p->heap, ptr);
	*ret_usable = usable;
	if (UNLIKELY(usable < 16 || usable > c->used))
		return BAD;
	if (LIKELY(!c->records_used))
		return NOT_RECORDED;
	tail = *tail_of(ptr, usable);
	index = tail & UINT32_MAX;
	if ((tail & ~0xffffffffull) == p->generation && index < c->records_used) {
		*ret_record = &p->records[index];
		if (LIKELY((*ret_record)->address == (uintptr_t)ptr))
			return GOOD;
		if ((*ret_record)->address == ((uintptr_t)ptr | RECORD_FREE)) {
			*ret_record = NULL;
			return BAD;
		}
		*ret_record = NULL;
	}
	return c->recorded == c->fragments ? BAD : NOT_RECORDED;
}

/* What has no record must not look as if it had: the bytes may be those of a fragment that had one. */
static inline void tail_forget(struct pool *p, void *ptr, uint64_t usable, uint64_t holds)
{
	if (UNLIKELY(p->counters.records_used) && keeps_own(p) && holds + TAIL_BYTES <= usable)
		*tail_of(ptr, usable) = 0;
}

/* memory.pkg.size, which a region would end at. */
static inline bool above_limit(const struct pool *p, uint64_t more)
{
	return keeps_own(p) && p->counters.used + more > p->data_size;
}
#else
static enum verdict look_up_own(struct pool *p, const void *ptr, struct meta_record **ret_record, uint64_t *ret_usable)
{
	(void)p, (void)ptr, (void)ret_record, (void)ret_usable;
	return BAD;
}
static inline void tail_forget(struct pool *p, void *ptr, uint64_t usable, uint64_t holds)
{
	(void)p, (void)ptr, (void)usable, (void)holds;
}
static inline bool above_limit(const struct pool *p, uint64_t more) { (void)p, (void)more; return false; }
#endif
/* Of a fragment that is owned and has no record: 50 instructions less a pair. */
static inline enum verdict look_up_known(const struct pool *p, const void *ptr, uint64_t *ret_usable)
{
	*ret_usable = p->ops->usable(&p->heap, ptr);
	return in_magazine(p, ptr, *ret_usable) ? BAD : NOT_RECORDED;
}

/* Believes nothing of `ptr`: range, alignment, then that its tail and its record name each other. */
static inline enum verdict look_up(struct pool *p, const void *ptr, struct meta_record **ret_record,
				   uint64_t *ret_usable)
{
	uint64_t at = (uintptr_t)ptr - (uintptr_t)p->heap.base, usable, tail, index;

	if (UNLIKELY(at >= p->heap.len || at % 16 || at < 16))
		return keeps_own(p) ? look_up_own(p, ptr, ret_record, ret_usable) : BAD;
	if (!has_record(p, ptr)) {
		if (p->ops->owns && !p->ops->owns(&p->heap, ptr))
			return BAD;
		return look_up_known(p, ptr, ret_usable);
	}
	usable = p->ops->usable(&p->heap, ptr);
	if (UNLIKELY(usable < 16 || usable % 8 || usable > p->heap.len - at))
		return BAD;
	tail = *tail_of(ptr, usable);
	*ret_usable = usable;
	if (UNLIKELY((tail & ~0xffffffffull) != p->generation)) {
#ifdef MEM_DOMAIN_SHM
		return BAD;
#else
		/* inherited: the tail names a record of the parent's META */
		return p->ops->owns && p->ops->owns(&p->heap, ptr) ? NOT_RECORDED : BAD;
#endif
	}
	index = tail & UINT32_MAX;
	if (UNLIKELY(index >= COUNTERS(p)->records_used || p->records[index].address != (uintptr_t)ptr ||
		     p->records[index].owner >> 48 & RECORD_CACHED))
		return BAD;
	*ret_record = &p->records[index];
	return GOOD;
}

static inline bool overrun(const struct meta_record *r, const void *ptr, uint64_t usable)
{
	return UNLIKELY(r->owner >> 48 & RECORD_GUARDED) && !guard_intact(ptr, record_requested(r), usable);
}

/* ---- magazines ---- */

#ifndef MEM_DOMAIN_SHM

static void flush_one(struct pool *p, void *ptr, struct meta_record *r)
{
	uint64_t usable = p->ops->usable(&p->heap, ptr);

	if (r) {
		r->owner &= ~((uint64_t)RECORD_CACHED << 48);
		record_drop(p, r, usable, (uint32_t)(r->time >> 32));
	}
	*magazine_tail(ptr, usable) = 0;
	p->counters.used -= usable;
	p->counters.fragments--;
	p->ops->free(&p->heap, ptr);
}

COLD bool pkg_front_flush(struct pool *p, bool ledger)
{
	struct magazines *m = &mem_pkg_magazines;
	bool any = m->cached;

	for (unsigned i = 0; any && i < MAGAZINE_SIZES; i++)
		for (uint64_t k = m->of[i].count; k--; )
			flush_one(p, m->of[i].at[k], ledger && m->open_recorded ? &p->records[m->record[i][k]] : NULL);
	magazine_forget();
	return any;
}

COLD void pkg_front_empty(struct pool *p)
{
	enter(p, NULL, 0);
	pkg_front_flush(p, true);
	leave(p, 0);
}

/* A fragment that waits with its record; NULL: none. */
static inline void *take_recorded(const struct front_call *call, size_t size, uint32_t site)
{
	struct magazines *m = &mem_pkg_magazines;
	struct pool *p = call->p;
	uint64_t i = magazine_for(m, size + TAIL_BYTES, m->open_recorded), k = m->of[i].count, usable;
	struct meta_record *r;
	void *ptr;

	if (!k || UNLIKELY(p != p->home))
		return NULL;
	ptr = m->of[i].at[--k];
	r = &p->records[m->record[i][k]];
	usable = i * 16 + m->head;
	turn(p);
	m->of[i].count = k;
	r->sizes = record_sizes(usable, size);
	r->owner = site;
	r->time = seconds_since(p->id->created) | p->counters.stamp << 32;
	*magazine_tail(ptr, usable) = m->record[i][k] | p->generation;
	magazine_count(p, m, -CACHED_ONE(usable));
	p->counters.stamp++;
	show(&p->live->counters.stamp, p->counters.stamp);
	turn(p);
	return ptr;
}

/* true: `ptr` is a fragment in use with its record, and waits in a magazine now. */
static inline bool put_recorded(struct pool *p, void *ptr, uint32_t site)
{
	struct magazines *m = &mem_pkg_magazines;
	struct meta_record *r = NULL;
	uint64_t usable = 0;
	struct magazine *of;

	if (!m->open_recorded || UNLIKELY(!__libc_single_threaded) || UNLIKELY(p != p->home) ||
	    look_up(p, ptr, &r, &usable) != GOOD || usable > CACHED_MOST || r->owner >> 48 & RECORD_GUARDED)
		return false;
	of = &m->of[usable / 16];
	if (of->count == MAGAZINE_DEPTH)
		return false;
	turn(p);
	r->owner |= (uint64_t)RECORD_CACHED << 48;
	r->time = (r->time & UINT32_MAX) | (uint64_t)site << 32;
	m->record[usable / 16][of->count] = (uint32_t)(r - p->records);
	of->at[of->count++] = ptr;
	magazine_count(p, m, CACHED_ONE(usable));
	turn(p);
	return true;
}

#endif

/* ---- failures ---- */

COLD static void *fail(const struct front_call *call, size_t size, uint64_t verdict)
{
	struct pool *p = call->p;
	uint32_t site;
	struct meta_failure f;

	if (call->flags & FRONT_QUIET && verdict != VERDICT_DEADLOCK) {
		errno = ENOMEM;
		return NULL;
	}
	site = verdict == VERDICT_DEADLOCK ? site_known(p->home, call->site, call->caller) : site_of(call);
	f = (struct meta_failure){ .time = clock_seconds(),
				   .pid = process_self()->pid,
				   .site = site,
				   .requested = size,
				   .verdict = verdict,
				   .address = (uintptr_t)call->caller };

	if (verdict != VERDICT_DEADLOCK) {
		enter(p, call->o, call->flags);
		f.free = keeps_own(p) ? UINT64_MAX
				      : COUNTERS(p)->tally.free_bytes + (p->id->size - COUNTERS(p)->committed);
		f.used = COUNTERS(p)->used;
		f.largest_free = keeps_own(p) ? UINT64_MAX : p->ops->largest ? p->ops->largest(&p->heap) : 0;
		leave(p, call->flags);
		f.size = p->data_size;
		f.verdict = size > f.size			     ? VERDICT_LIMIT
			    : f.free >= size && f.free != UINT64_MAX ? VERDICT_FRAGMENTED
								     : VERDICT_EXHAUSTED;
	}
	note_failure(p, &f);
	errno = verdict == VERDICT_DEADLOCK ? EDEADLK : ENOMEM;
	return NULL;
}

COLD static void *deadlock(const struct front_call *call, size_t size)
{
	front_fault(call, MEM_DEADLOCK, NULL, (uint64_t)NO_RECORD);
	return fail(call, size, VERDICT_DEADLOCK);
}

/* ---- the calls ---- */

static inline void count_in(struct pool *p, uint64_t usable)
{
	struct mem_heap *h = &p->heap;
	struct meta_counters *c = COUNTERS(p);

	HEAP_SET(h, c->used, c->used + usable);
	HEAP_SET(h, c->fragments, c->fragments + 1);
	if (UNLIKELY(c->used > c->max_used))
		HEAP_SET(h, c->max_used, c->used);
	*(volatile uint64_t *)&c->stamp =
		c->stamp + 1; /* numbers allocations; one that never happened may leave a gap */
}

/* Bytes that the manager is asked for, with the tail's. 0: no heap is that large. */
static inline uint64_t bytes_for(const struct pool *p, uint64_t size)
{
	if (UNLIKELY(size > p->data_size - 64))
		return 0;
	return mem_round(p->ops, size + (records(p) ? TAIL_BYTES : 0));
}

/* What is ready for others goes back to the manager. false: there is nothing. */
static inline bool give_back(struct pool *p)
{
#ifdef MEM_DOMAIN_SHM
	(void)p;
	return false;
#else
	return p == p->home && pkg_front_flush(p, true);
#endif
}

void *DOMAIN(front_alloc)(const struct front_call *call, size_t align, size_t size)
{
	struct pool *p = call->p;
	uint64_t need = bytes_for(p, size), usable;
	bool record = records(p);
	uint32_t site;
	void *ptr;

	if (would_deadlock(call))
		return deadlock(call, size);
	if (UNLIKELY(!need || align > p->data_size))
		return fail(call, size, VERDICT_LIMIT);
	site = record ? site_of(call) : 0;
#ifndef MEM_DOMAIN_SHM
	if (record && align <= 16 && (ptr = take_recorded(call, size, site)))
		return call->flags & FRONT_ZERO ? memset(ptr, 0, size) : ptr;
#endif
	enter(p, call->o, call->flags);
	if (UNLIKELY(record && !record_ready(p))) {
		if (!may_go_unrecorded()) {
			leave(p, call->flags);
			return fail(call, size, VERDICT_EXHAUSTED);
		}
		record = false;
	}
	ptr = LIKELY(!above_limit(p, need)) ? p->ops->alloc(&p->heap, align, need) : NULL;
	if (UNLIKELY(!ptr) && give_back(p))
		ptr = p->ops->alloc(&p->heap, align, need);
	if (UNLIKELY(!ptr) && grow(p, need + (align > 16 ? align : 0)))
		ptr = p->ops->alloc(&p->heap, align, need);
	if (UNLIKELY(!ptr)) {
		leave(p, call->flags);
		return fail(call, size, VERDICT_EXHAUSTED);
	}
	usable = p->ops->usable(&p->heap, ptr);
	count_in(p, usable);
	if (record)
		record_put(call, ptr, usable, size, site);
	else
		tail_forget(p, ptr, usable, 0);
	leave(p, call->flags);
	if (call->flags & FRONT_ZERO)
		make_zeros(p, ptr, size);
	return ptr;
}

void DOMAIN(front_free)(const struct front_call *call, void *ptr)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	struct meta_counters *c = COUNTERS(p);
	struct meta_record *r = NULL;
	uint64_t usable = 0, index = (uint64_t)NO_RECORD;
	enum verdict what;
	bool damaged = false;
	uint32_t site;

	if (!ptr)
		return;
	if (would_deadlock(call)) {
		deadlock(call, 0);
		return;
	}
#ifndef MEM_DOMAIN_SHM
	if (UNLIKELY((uintptr_t)ptr - (uintptr_t)p->abandoned.base < p->abandoned.len))
		return;
#endif
	site = records(p) ? site_of(call) : 0;
#ifndef MEM_DOMAIN_SHM
	if (put_recorded(p, ptr, site))
		return;
#endif
	enter(p, call->o, call->flags);
	what = call->flags & FRONT_KNOWN ? look_up_known(p, ptr, &usable) : look_up(p, ptr, &r, &usable);
	if (UNLIKELY(what == BAD)) {
		leave(p, call->flags);
		front_fault(call, MEM_WILD_FREE, ptr, index);
		return;
	}
	HEAP_SET(h, c->used, c->used - usable);
	HEAP_SET(h, c->fragments, c->fragments - 1);
	if (r) {
		damaged = overrun(r, ptr, usable);
		index = (uint64_t)(r - p->records);
		record_drop(p, r, usable, site);
	}
	large_freed(p, ptr, usable);
	p->ops->free(h, ptr);
	leave(p, call->flags);
	if (UNLIKELY(damaged))
		front_fault(call, MEM_OVERRUN, ptr, index);
}

#ifdef MEM_DOMAIN_SHM
bool shm_front_reclaim(const struct front_call *call, uint64_t record, uint32_t number)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	struct meta_counters *c = COUNTERS(p);
	struct meta_record *r = &p->records[record], *named = NULL;
	uint64_t usable = 0;
	bool owned;

	enter(p, call->o, call->flags);
	/* asked again with the lock: its owner is dead, but others may free what it left, and use the record again */
	owned = record < c->records_used && !(r->address & RECORD_FREE) && (r->owner >> 32 & 0xffff) == number &&
		look_up(p, (void *)r->address, &named, &usable) == GOOD && named == r;
	if (owned) {
		void *ptr = (void *)r->address;

		HEAP_SET(h, c->used, c->used - usable);
		HEAP_SET(h, c->fragments, c->fragments - 1);
		record_drop(p, r, usable, 0);
		p->ops->free(h, ptr);
	}
	leave(p, call->flags);
	return owned;
}
#endif

size_t DOMAIN(front_usable)(const struct front_call *call, const void *ptr)
{
	struct pool *p = call->p;
	struct meta_record *r = NULL;
	uint64_t usable = 0;

	if (!ptr)
		return 0;
	enter(p, call->o, call->flags);
	if (look_up(p, ptr, &r, &usable) == BAD)
		usable = 0;
	else if (r) /* guards watch what lies behind the request */
		usable = r->owner >> 48 & RECORD_GUARDED ? record_requested(r) : usable - TAIL_BYTES;
	leave(p, call->flags);
	return usable;
}

/* Same place, new size. The tail moves; what the manager took or gave is counted. */
static void resized(const struct front_call *call, struct meta_record *r, void *ptr, uint64_t was, uint64_t size)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	struct meta_counters *c = COUNTERS(p);
	uint64_t usable = p->ops->usable(h, ptr);

	HEAP_SET(h, c->used, c->used + usable - was);
	if (UNLIKELY(c->used > c->max_used))
		HEAP_SET(h, c->max_used, c->used);
	if (!r)
		return;
	HEAP_SET(h, r->sizes, record_sizes(usable, size));
	HEAP_SET(h, *tail_of(ptr, usable), (uint64_t)(r - p->records) | p->generation);
#ifndef MEM_DOMAIN_SHM
	HEAP_SET(h, c->recorded_bytes, c->recorded_bytes + usable - was);
#endif
	if (UNLIKELY(r->owner >> 48 & RECORD_GUARDED)) {
		HEAP_SET(h, r->owner, r->owner & ~((uint64_t)RECORD_GUARDED << 48));
		guard_put(p, r, ptr, size, usable);
	}
}

struct old_fragment { uint64_t bytes; void *now; bool bad; };

/* The manager moves it with its bytes: the record goes along. NULL: it does not, or it shall get a record. */
static void *moved(const struct front_call *call, struct meta_record *r, void *ptr, uint64_t was, uint64_t need,
		   size_t size)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	void *now;

	if (!p->ops->realloc || (!r && records(p)) || (need > was && above_limit(p, need - was)))
		return NULL;
	now = p->ops->realloc(h, ptr, need);
	if (!now)
		return NULL;
	if (r)
		HEAP_SET(h, r->address, (uintptr_t)now);
	else
		tail_forget(p, now, p->ops->usable(h, now), was < size ? was : size);
	resized(call, r, now, was, size);
	return now;
}

/* Makes `size` bytes of `ptr` here, or where the manager moves it; if not, what there is to copy. An overrun one is
 * copied: free tells.
 */
static struct old_fragment resize_here(const struct front_call *call, void *ptr, size_t size)
{
	struct pool *p = call->p;
	struct old_fragment old = { 0 };
	struct meta_record *r = NULL;
	uint64_t usable = 0, need;

	enter(p, call->o, call->flags);
	if (UNLIKELY(look_up(p, ptr, &r, &usable) == BAD)) {
		old.bad = true;
	} else {
		need = size <= p->data_size - 64 ? mem_round(p->ops, size + (r ? TAIL_BYTES : 0)) : 0;
		old.bytes = r ? record_requested(r) : usable;
		if (need && !(r && overrun(r, ptr, usable))) {
			old.now = p->ops->resize(&p->heap, ptr, need) ? ptr : NULL;
			if (old.now)
				resized(call, r, ptr, usable, size);
			else
				old.now = moved(call, r, ptr, usable, need, size);
		}
	}
	leave(p, call->flags);
	return old;
}

void *DOMAIN(front_realloc)(const struct front_call *call, void *ptr, size_t size)
{
	struct old_fragment old;
	void *fresh;

	if (!ptr)
		return DOMAIN(front_alloc)(call, 16, size);
	if (!size) {
		DOMAIN(front_free)(call, ptr);
		return NULL;
	}
	if (would_deadlock(call))
		return deadlock(call, size);
#ifndef MEM_DOMAIN_SHM
	if (UNLIKELY((uintptr_t)ptr - (uintptr_t)call->p->abandoned.base < call->p->abandoned.len)) {
		/* its heap is not to be trusted, its end is: copy what may be copied */
		fresh = pkg_front_alloc(call, 16, size);
		old.bytes = call->p->abandoned.len - (uint64_t)((unsigned char *)ptr - call->p->abandoned.base);
		return fresh ? memcpy(fresh, ptr, size < old.bytes ? size : old.bytes) : NULL;
	}
#endif
	old = resize_here(call, ptr, size);
	if (old.now)
		return old.now;
	if (UNLIKELY(old.bad)) {
		front_fault(call, MEM_WILD_FREE, ptr, (uint64_t)NO_RECORD);
		errno = EINVAL;
		return NULL;
	}
	fresh = DOMAIN(front_alloc)(call, 16, size);
	if (fresh)
		memcpy(fresh, ptr, size < old.bytes ? size : old.bytes);
	if (fresh || call->flags & FRONT_XF)
		DOMAIN(front_free)(call, ptr);
	return fresh;
}

void DOMAIN(front_set_site)(const struct front_call *call, void *ptr)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	struct meta_record *r = NULL;
	uint64_t usable;
	uint32_t site = site_of(call);

	enter(p, call->o, call->flags);
	if (look_up(p, ptr, &r, &usable) == GOOD)
		HEAP_SET(h, r->owner, (r->owner & ~0xffffffffffffull) | slot_of(call->o) << 32 | site);
	leave(p, call->flags);
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
	leave(p, 0);
	return rc;
}

/* ---- walks ---- */

static void cursor_take(struct pool *p, unsigned i)
{
#ifdef MEM_DOMAIN_SHM
	p->live->cursor_expires[i] = clock_mono_seconds() + WALK_EXPIRES;
#else
	(void)p, (void)i;
#endif
}

/* One whose walker was killed expires: it is its own only as long as it comes back in time. */
static bool cursor_free(const struct pool *p, unsigned i)
{
	if (!(p->heap.cursors->live >> i & 1))
		return true;
#ifdef MEM_DOMAIN_SHM
	return p->live->cursor_expires[i] < clock_mono_seconds();
#else
	return false;
#endif
}

static bool begin_walk(struct pool *p, struct owner *o, struct front_walk *w)
{
	for (unsigned i = 0; i < MEM_CURSORS; i++) {
		if (!cursor_free(p, i))
			continue;
		*(volatile uint64_t *)&p->heap.cursors->at[i] = 0;
		*(volatile uint64_t *)&p->heap.cursors->live |= 1ull << i;
#ifdef MEM_DOMAIN_SHM
		p->live->cursor_slot[i] = slot_of(o) + 1;
#else
		(void)o;
#endif
		w->cursor = i + 1;
		return true;
	}
	w->error = -EBUSY;
	return false;
}

bool DOMAIN(front_walk)(struct pool *p, struct owner *o, struct front_walk *w, mem_walk_fn *fn, void *arg)
{
	unsigned held = o && o->holds ? FRONT_HELD : 0;
	uint64_t at = MEM_WALK_FAULT;
	volatile uint64_t *cursor;

	enter(p, o, held);
	if (w->cursor || begin_walk(p, o, w)) {
		cursor = &p->heap.cursors->at[w->cursor - 1];
		cursor_take(p, w->cursor - 1);
		at = p->ops->walk(&p->heap, *cursor, FRONT_SLICE, fn, arg);
		*cursor = at == MEM_WALK_FAULT ? 0 : at;
		if (at == MEM_WALK_FAULT)
			w->error = -EUCLEAN;
		if (at == 0 || at == MEM_WALK_FAULT)
			*(volatile uint64_t *)&p->heap.cursors->live &= ~(1ull << (w->cursor - 1));
	}
	leave(p, held);
	return at && at != MEM_WALK_FAULT;
}
