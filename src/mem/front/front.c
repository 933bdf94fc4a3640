/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/front/inside.h"

/* ---- magazines ---- */

#ifndef MEM_DOMAIN_SHM

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

#ifdef MEM_DOMAIN_SHM
bool (*shm_front_need)(struct pool *p, struct owner *o);
#endif

/* The dead have left something that serves others now. Not for a holder of all locks: it would wait for itself. */
static inline bool reaped(const struct front_call *call)
{
#ifdef MEM_DOMAIN_SHM
	return !(call->flags & FRONT_HELD) && shm_front_need && shm_front_need(call->p, call->o);
#else
	(void)call;
	return false;
#endif
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
			return reaped(call) ? DOMAIN(front_alloc)(call, align, size) :
					      fail(call, size, VERDICT_EXHAUSTED);
		}
		record = false;
	}
	ptr = LIKELY(!above_limit(p, need)) ? p->ops->alloc(&p->heap, align, need) : NULL;
	if (UNLIKELY(!ptr) && give_back(p))
		ptr = p->ops->alloc(&p->heap, align, need);
	if (UNLIKELY(!ptr) && DOMAIN(front_grow)(p, need + (align > 16 ? align : 0)))
		ptr = p->ops->alloc(&p->heap, align, need);
	if (UNLIKELY(!ptr)) {
		leave(p, call->flags);
		return reaped(call) ? DOMAIN(front_alloc)(call, align, size) : fail(call, size, VERDICT_EXHAUSTED);
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
	if (r->owner >> 48 & RECORD_GUARDED)
		guard_fill(ptr, size, usable);
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
