/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The inside of the front end: what its files share. Compiled once a domain, as they are.
 *
 *	front.c		the calls		walk.c		walks that let the lock go
 *	places.c	sites of calls		memory.c	growth, and pages that go back
 *	magazine.c	pkg: magazines that go back	own.c	pkg: memory of the manager's own
 *	plain.c		pkg: the manager, while nothing is recorded
 *	recorded.c	pkg: fragments that wait with their records
 *	sampled.c	pkg: one allocation of many gets a record
 *	shelf.h		pkg: larger fragments that wait for their thread
 *	starts.c	pkg: where fragments begin, for managers that do not say so beside them
 *	own_sizes.c	pkg: how large they are in which page, for managers that keep their own memory
 */
#ifndef FRONT_INSIDE_H
#define FRONT_INSIDE_H

#include <errno.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <linux/futex.h>
#include <time.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/front/magazine.h"
#include "mem/front/slot_known.h"
#include "mem/front/starts.h"
#include "mem/front/own_sizes.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"
#include "mem/meta/store.h"

enum { GUARD_BYTE = 0xfd };
#define GUARD_WORD 0xfdfdfdfdfdfdfdfdu	/* the same in each byte */

#ifdef MEM_DOMAIN_SHM
#define COUNTERS(p) (&(p)->live->counters)
#else
#define COUNTERS(p) (&(p)->counters)
#endif

#ifndef MEM_DOMAIN_SHM
void pkg_mutex_wait(_Atomic uint32_t *mutex);
void pkg_front_discard(struct pool *p, void *ptr, uint64_t usable);
void pkg_magazines_refill(const struct front_call *call, uint64_t usable);
void pkg_magazines_unload(struct pool *p, uint64_t usable);
void pkg_front_zeros(void *ptr, size_t size);
void pkg_front_trim(struct pool *p);
#endif
/* A place that the caches do not know: described without the lock, interned with it. */
uint32_t DOMAIN(front_site_slow)(const struct front_call *call);
uint32_t DOMAIN(front_site_of_stack)(const struct front_call *call);
/* The region grows by a step that serves `need`; transactions of its own. With the lock. */
bool DOMAIN(front_grow)(struct pool *p, uint64_t need);

/* ---- in and out ---- */

#ifdef MEM_DOMAIN_SHM

static inline void enter(struct pool *p, struct owner *o, unsigned flags)
{
	o->inside++;
	if (UNLIKELY(o->home))
		o->home->inside++;
	o->open = OWNER_CLOSED;
	known_close(o);
	atomic_signal_fence(memory_order_seq_cst); /* a signal handler sees it before the lock has us as its owner */
	if (!(flags & FRONT_HELD))
		lock_take(p, o);
	p->heap.log = &o->slot->log;
	p->heap.len = COUNTERS(p)->committed;
}

static inline void leave(struct pool *p, struct owner *o, unsigned flags)
{
	HEAP_COMMIT(&p->heap);
	if (!(flags & FRONT_HELD))
		lock_leave(p);
	atomic_signal_fence(memory_order_seq_cst);
	if (UNLIKELY(o->home))
		o->home->inside--;
	o->inside--;
	o->open = o->holds ? OWNER_CLOSED : o->epoch;
	known_open(p, o);
}

static inline void publish_all(struct pool *p) { (void)p; } /* META is where they are */

/* In shm every fragment has a record, and a slot its number. */
static inline bool records(const struct pool *p) { (void)p; return true; }

static inline bool keeps_own(const struct pool *p) { (void)p; return false; }

#else

static inline bool keeps_own(const struct pool *p) { return pool_keeps_own(p); }

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
		pkg_mutex_wait(mutex);
}

static inline void mutex_leave(_Atomic uint32_t *mutex)
{
	if (__libc_single_threaded)
		atomic_store_explicit(mutex, 0, memory_order_relaxed); /* one thread */
	else if (atomic_exchange_explicit(mutex, 0, memory_order_release) == 2)
		syscall(SYS_futex, mutex, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

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
	*(volatile uint32_t *)&mem_pkg_self.inside = 1;
	atomic_signal_fence(memory_order_seq_cst); /* a signal handler sees it before we have the lock */
	mutex_take(&p->mutex);
	turn(p);
	magazine_count(p);
}

static inline void leave(struct pool *p, struct owner *o, unsigned flags)
{
	(void)o, (void)flags;
	publish(p);
	turn(p);
	mutex_leave(&p->mutex);
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uint32_t *)&mem_pkg_self.inside = 0;
}

static inline bool records(const struct pool *p) { return p->features & (FEATURE_SITES | FEATURE_STACKS); }

#endif

static inline uint64_t slot_of(const struct owner *o) { return o ? o->number : 0; }

/* ---- sites ---- */

/*
 * The caller holds the lock, or a signal handler has interrupted a call that does, or waits for it: in whichever shard,
 * since who takes all locks may have another shard's and wait for that one.
 */
static inline bool would_deadlock(const struct front_call *call)
{
	const struct owner *o = call->o, *home = at_home(call);

	if (DOMAIN_INDEX == 0)
		return UNLIKELY(mem_pkg_self.inside);
	return o && UNLIKELY(o->holds | home->inside) && (home->inside || !(call->flags & FRONT_HELD));
}

static inline uint32_t site_of(const struct front_call *call)
{
	if (UNLIKELY(call->p->features & FEATURE_STACKS))
		return DOMAIN(front_site_of_stack)(call);

	uint32_t known = site_known(call->p->home, call->site, call->caller);

	return LIKELY(known) ? known : DOMAIN(front_site_slow)(call);
}

/* ---- large fragments ---- */

enum { LARGE_LEAST = 256 << 10, LARGE_MOST = 32 << 20, ZERO_BY_PAGES = 1 << 20 };

#ifdef MEM_DOMAIN_SHM

static inline void large_freed(struct pool *p, void *ptr, uint64_t usable) { (void)p, (void)ptr, (void)usable; }
static inline void make_zeros(struct pool *p, void *ptr, size_t size) { (void)p, memset(ptr, 0, size); }
static inline void trim_freed(struct pool *p) { (void)p; }

#else

static inline void large_freed(struct pool *p, void *ptr, uint64_t usable)
{
	if (UNLIKELY(usable > LARGE_LEAST))
		pkg_front_discard(p, ptr, usable);
}

/** After a free, with the lock. One compare: below `low` the difference wraps. */
static inline void trim_freed(struct pool *p)
{
	if (UNLIKELY(p->counters.tally.free_bytes - p->trim.low >= p->trim.span) || UNLIKELY(p->trim.cursor))
		pkg_front_trim(p);
}

static inline void make_zeros(struct pool *p, void *ptr, size_t size)
{
	if (UNLIKELY(size >= ZERO_BY_PAGES) && pool_holds(p, ptr))
		pkg_front_zeros(ptr, size);
	else
		memset(ptr, 0, size);
}

#endif

/* ---- records and tails ---- */

static inline uint64_t *tail_of(const void *ptr, uint64_t usable)
{
	return (uint64_t *)(void *)((uintptr_t)ptr + usable - TAIL_BYTES);
}

static inline void guard_fill(void *ptr, uint64_t requested, uint64_t usable)
{
	memset((char *)ptr + requested, GUARD_BYTE, usable - TAIL_BYTES - requested);
}

/* The same where nobody has stored anything yet: in words, as a rule. */
static inline void guard_fill_fresh(void *ptr, uint64_t requested, uint64_t usable)
{
	uint64_t *tail = tail_of(ptr, usable);

	if (UNLIKELY(usable - requested > TAIL_BYTES + 16) || UNLIKELY(usable < TAIL_BYTES + 16)) {
		guard_fill(ptr, requested, usable);
		return;
	}
	tail[-1] = GUARD_WORD;
	tail[-2] = GUARD_WORD;
}

static inline bool guard_intact(const void *ptr, uint64_t requested, uint64_t usable)
{
	const uint64_t *tail = tail_of(ptr, usable);
	uint64_t n = usable - TAIL_BYTES - requested;

	/* the last n bytes of two words: the upper ones */
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && LIKELY(n < 16) && LIKELY(usable >= TAIL_BYTES + 16))
		return !(((unsigned __int128)(tail[-1] ^ GUARD_WORD) << 64 | (tail[-2] ^ GUARD_WORD)) >>
			 (120 - 8 * n) >> 8);
	for (uint64_t i = requested; i < usable - TAIL_BYTES; i++)
		if (((const unsigned char *)ptr)[i] != GUARD_BYTE)
			return false;
	return true;
}

static inline uint64_t record_requested(const struct meta_record *r) { return sizes_requested(r->sizes); }

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

/* ---- pointers that change with the call ---- */

#ifdef MEM_DOMAIN_SHM

static inline uint64_t marks_of(const struct front_call *call)
{
	return UNLIKELY(call->flags & FRONT_OWNED) ? RECORD_OWNED : 0;
}

static inline void set_shared(struct mem_heap *h, struct meta_record *r)
{
	HEAP_SET(h, r->owner, r->owner & ~((uint64_t)RECORD_OWNED << 48));
}

/* Last in the transaction: who looks at *dst without a lock sees what is all but done. */
static inline void deliver(const struct front_call *call, void *ptr, uint64_t usable)
{
	struct front_to *to = call->to;

	if (LIKELY(!to))
		return;
	to->made = &call->p->records[(uint32_t)*tail_of(ptr, usable)];
	if (to->dst)
		HEAP_SET(&call->p->heap, *to->dst, (uintptr_t)ptr);
}

/* Of a call that changes a fragment where it is: what *dst names is SHARED. */
static inline void share(const struct front_call *call, struct meta_record *r)
{
	if (UNLIKELY(call->to) && r->owner >> 48 & RECORD_OWNED)
		set_shared(&call->p->heap, r);
}

/* false: what *dst named when the call began, it does not name any more. With the lock. */
static inline bool names_still(const struct front_call *call, const void *ptr)
{
	return LIKELY(!call->to) || *(const volatile uint64_t *)call->to->dst == (uintptr_t)ptr;
}

/* Before the manager's stores: dst may lie in the fragment that goes. */
static inline void deliver_other(const struct front_call *call)
{
	struct front_to *to = call->to;

	if (LIKELY(!to))
		return;
	HEAP_SET(&call->p->heap, *to->dst, to->value);
	if (to->made)
		set_shared(&call->p->heap, to->made);
	to->done = true;
}

#else

static inline uint64_t marks_of(const struct front_call *call) { (void)call; return 0; }
static inline void deliver(const struct front_call *call, void *ptr, uint64_t usable)
{
	(void)call, (void)ptr, (void)usable;
}
static inline bool names_still(const struct front_call *call, const void *ptr) { (void)call, (void)ptr; return true; }
static inline void deliver_other(const struct front_call *call) { (void)call; }
static inline void share(const struct front_call *call, struct meta_record *r) { (void)call, (void)r; }

#endif

/* ---- a record's life ---- */

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
	r->owner = site | slot_of(call->o) << 32 | marks_of(call) << 48;
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
}

/*
 * Last in a call: guards are bytes that no log has. Where they are written there may be links of a free fragment, or
 * what the holder of a shrunk one had there, and both are needed when the call is rolled back. So that in shm the call
 * is made before, without guards: killed in between, the fragment has none.
 */
static inline void guard_put(struct pool *p, struct meta_record *r, void *ptr, uint64_t requested, uint64_t usable)
{
#ifdef MEM_DOMAIN_SHM
	HEAP_SET(&p->heap, r->owner, r->owner & ~((uint64_t)RECORD_GUARDED << 48));
	HEAP_COMMIT(&p->heap);
#else
	(void)p;
#endif
	guard_fill(ptr, requested, usable);
	atomic_signal_fence(memory_order_release); /* kill: it is guarded when the guards are there */
	*(volatile uint64_t *)&r->owner = r->owner | (uint64_t)RECORD_GUARDED << 48;
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
static inline uint64_t bytes_for(const struct pool *p, uint64_t size, bool record)
{
	if (UNLIKELY(size > p->data_size - 64))
		return 0;
	return mem_round(p->ops, size + (record ? TAIL_BYTES : 0));
}

/* The fragment of a record that is believed goes to the manager. In a transaction. */
static inline void fragment_drop(struct pool *p, struct meta_record *r, uint32_t site)
{
	struct mem_heap *h = &p->heap;
	struct meta_counters *c = COUNTERS(p);
	uint64_t usable = RECORD_USABLE(r->sizes);
	void *ptr = (void *)(uintptr_t)r->address;

	HEAP_SET(h, c->used, c->used - usable);
	HEAP_SET(h, c->fragments, c->fragments - 1);
	record_drop(p, r, usable, site);
	p->ops->free(h, ptr);
}

/* ---- what a pointer is ---- */

enum verdict { GOOD, NOT_RECORDED, BAD };

#ifndef MEM_DOMAIN_SHM
enum verdict pkg_look_up_own(struct pool *p, const void *ptr, struct meta_record **ret_record, uint64_t *ret_usable);
#endif

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
/* What has no record must not look as if it had: the bytes may be those of a fragment that had one. */
static inline void tail_forget(struct pool *p, void *ptr, uint64_t usable, uint64_t holds)
{
	if (UNLIKELY(p->counters.records_used) && keeps_own(p) && holds + TAIL_BYTES <= usable)
		*tail_of(ptr, usable) = 0;
}

/* Of a fragment without a record that is new, or has another size; before the manager has any back. */
static inline void start_note(struct pool *p, const void *ptr, uint64_t usable) { starts_set(p, ptr, usable); }
static inline void start_drop(struct pool *p, const void *ptr) { starts_clear(p, ptr); }
static inline void own_note(struct pool *p, const void *ptr, uint64_t usable) { own_began(p, ptr, usable); }
static inline void own_drop(struct pool *p, const void *ptr) { own_ended(p, ptr); }
static inline void own_note_again(struct pool *p, const void *ptr)
{
	if (UNLIKELY(p->own_sizes != NULL))
		pkg_own_began(p, ptr, p->ops->usable(&p->heap, ptr));
}

/* memory.pkg.size, which a region would end at. */
static inline bool above_limit(const struct pool *p, uint64_t more)
{
	return keeps_own(p) && p->counters.used + more > p->data_size;
}
#else
static inline enum verdict pkg_look_up_own(struct pool *p, const void *ptr, struct meta_record **ret_record,
					   uint64_t *ret_usable)
{
	(void)p, (void)ptr, (void)ret_record, (void)ret_usable;
	return BAD;
}
static inline void tail_forget(struct pool *p, void *ptr, uint64_t usable, uint64_t holds)
{
	(void)p, (void)ptr, (void)usable, (void)holds;
}
static inline void start_note(struct pool *p, const void *ptr, uint64_t usable) { (void)p, (void)ptr, (void)usable; }
static inline void start_drop(struct pool *p, const void *ptr) { (void)p, (void)ptr; }
static inline void own_note(struct pool *p, const void *ptr, uint64_t usable) { (void)p, (void)ptr, (void)usable; }
static inline void own_drop(struct pool *p, const void *ptr) { (void)p, (void)ptr; }
static inline void own_note_again(struct pool *p, const void *ptr) { (void)p, (void)ptr; }
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
		return keeps_own(p) ? pkg_look_up_own(p, ptr, ret_record, ret_usable) : BAD;
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

#endif /* FRONT_INSIDE_H */
