/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/front/inside.h"
#ifdef MEM_DOMAIN_SHM
#include "mem/front/slot_magazine.h"
#else
#include "mem/front/own_fast.h"
#include "mem/front/recorded.h"
#include "mem/front/sampled.h"
#endif

/* ---- magazines ---- */

#ifndef MEM_DOMAIN_SHM

/* A fragment that waits with its record; NULL: none. */
static inline void *take_recorded(const struct front_call *call, size_t size, uint32_t site)
{
	struct magazines *m = mem_pkg_self.own;
	const struct pool *p = call->p;
	uint64_t i = magazine_given(m, size + TAIL_BYTES);

	return i && m->open && m->recorded && LIKELY(p == p->home)
		       ? recorded_take(m, p, i, size, site, (uint64_t)time(NULL), m->guarded)
		       : NULL;
}

/* As look_up(), without the lock: what is not GOOD is asked again with it. */
static inline bool good_one(struct pool *p, void *ptr, struct meta_record **ret_record, uint64_t *ret_usable)
{
	bool good;

	RACY_READS_BEGIN();
	good = look_up(p, ptr, ret_record, ret_usable) == GOOD && *ret_usable < 16 * MAGAZINE_SIZES &&
	       !overrun(*ret_record, ptr, *ret_usable);
	RACY_READS_END();
	return good;
}

/* true: `ptr` was a fragment in use with its record, and waits in a magazine now. */
static inline bool put_recorded(struct pool *p, void *ptr, uint32_t site)
{
	struct magazines *m = mem_pkg_self.own;
	struct meta_record *r = NULL;
	uint64_t usable = 0;

	return m->open && m->recorded && LIKELY(p == p->home) && good_one(p, ptr, &r, &usable) &&
	       recorded_push(m, p, (uint64_t)(r - p->records), ptr, usable / 16, site);
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
		leave(p, call->o, call->flags);
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

/* It is reported, and nothing else: free() must not change errno. */
COLD static void refuse_free(const struct front_call *call)
{
	int saved = errno;

	deadlock(call, 0);
	errno = saved;
}

/* ---- the calls ---- */

#ifdef MEM_DOMAIN_SHM

/* Without the lock; NULL: with it. */
static inline void *take_ready(const struct front_call *call, size_t align, size_t size, uint32_t site, bool record)
{
	const struct pool *p = call->p;
	void *ptr;

	(void)record;
	return LIKELY(align <= 16 && !(call->flags & (FRONT_HELD | FRONT_OWNED)) && !call->to) &&
			       size - 1 < p->magazine_most &&
			       slot_take(p, call->o, size, site, (uint64_t)time(NULL), &ptr)
		       ? ptr
		       : NULL;
}

/* What the manager says of it, without the lock; 0: not of a small fragment's place. Record and tail have to agree. */
static inline uint64_t told_usable(const struct pool *p, const void *ptr)
{
	uint64_t at = (uintptr_t)ptr - p->first, usable;

	RACY_READS_BEGIN();
	usable = p->magazine_most && at % 16 == 0 && at < p->heap.len - CACHED_MOST - 16 ?
			 p->ops->usable(&p->heap, ptr) :
			 0;
	RACY_READS_END();
	return usable;
}

static inline bool put_ready(const struct front_call *call, void *ptr, uint32_t site)
{
	uint64_t usable = LIKELY(!(call->flags & FRONT_HELD) && !call->to) ? told_usable(call->p, ptr) : 0;

	return usable && slot_put(call->p, call->o, ptr, usable - 16, site);
}

static inline bool give_back(const struct front_call *call) { return slot_give_back(call); }
static inline bool give_back_rather(const struct front_call *call) { (void)call; return false; }

/* With the lock, before anything is begun: from the other chain or the depot. */
static inline void *find_ready(const struct front_call *call, size_t align, size_t size, uint32_t site, bool record)
{
	return LIKELY(align <= 16) && slot_find(call, size) ? take_ready(call, align, size, site, record) : NULL;
}

/* The transaction before is done: what follows are others. */
static inline void make_ready(const struct front_call *call, size_t align, size_t size, uint64_t need, uint64_t usable)
{
	(void)usable;
	HEAP_COMMIT(&call->p->heap);
	if (LIKELY(align <= 16))
		slot_refill(call, size, need);
}

static inline bool make_room(const struct front_call *call, uint64_t usable) { return slot_unload(call, usable); }

#else

static inline void *take_ready(const struct front_call *call, size_t align, size_t size, uint32_t site, bool record)
{
	if (UNLIKELY(align > 16))
		return NULL;
	if (UNLIKELY(call->p->features & FEATURE_SAMPLED) && !record)
		return pkg_sample_take(size);
	return record ? take_recorded(call, size, site) : NULL;
}

static inline bool put_ready(const struct front_call *call, void *ptr, uint32_t site)
{
	return put_recorded(call->p, ptr, site);
}

static inline bool give_back(const struct front_call *call)
{
	return call->p == call->p->home && pkg_front_flush(call->p);
}

/*
 * Before the heap grows: what is ready goes first, or what a thread once needed would keep growing the heap. But every
 * other time only: who needs it again at once, as one does that replaces fragments of all sizes, would miss it in every
 * size, and the heap would have as little room as before.
 */
static bool give_back_rather(const struct front_call *call)
{
	static bool did; /* with the home shard's lock */

	if (call->p != call->p->home)
		return false;
	did = !did && give_back(call);
	return did;
}

/* With one thread there is no lock to be spared. */
static inline void make_ready(const struct front_call *call, size_t align, size_t size, uint64_t need, uint64_t usable)
{
	(void)size;
	if (keeps_own(call->p)) {
		if (align <= 16)
			magazine_learn(mem_pkg_self.own, need, usable);
		need = usable;		/* sizes are the manager's */
	} else {
		magazine_gave(mem_pkg_self.own, need, usable);
	}
	if (UNLIKELY(!__libc_single_threaded) && align <= 16)
		pkg_magazines_refill(call, need);
}

static inline bool make_room(const struct front_call *call, uint64_t usable)
{
	if (UNLIKELY(!__libc_single_threaded))
		pkg_magazines_unload(call->p, usable);
	return false;
}

/* With the lock: what kept it waiting may be that its thread had taken so many without being counted. */
static inline void *find_ready(const struct front_call *call, size_t align, size_t size, uint32_t site, bool record)
{
	return take_ready(call, align, size, site, record);
}

#endif

/* ---- samples ---- */

#ifndef MEM_DOMAIN_SHM

static inline uint32_t sample(const struct front_call *call, size_t size, uint64_t need, bool record)
{
	return UNLIKELY(call->p->features & FEATURE_SAMPLED) && !record ? pkg_sample(call, size, need) : 0;
}

COLD static uint32_t site_of_sample(const struct front_call *call)
{
	uint32_t site;

	mem_pkg_sampling.busy = true;
	site = pkg_front_site_of_stack(call);
	mem_pkg_sampling.busy = false;
	return site;
}

static inline void sample_note(struct pool *p, const void *ptr, uint64_t usable, uint32_t weight)
{
	struct meta_record *r = &p->records[(uint32_t)*tail_of(ptr, usable)];

	r->owner |= (uint64_t)weight << 32;
}

/* One without a record that is larger than that is from before. */
enum { SAMPLE_COPY_MOST = 32 << 20 };

/* What becomes of it if it moves: true: it shall, to get a record. */
static inline bool sample_moves(const struct front_call *call, const struct meta_record *r, uint64_t was, uint64_t need,
				struct front_old *old)
{
	const struct pool *p = call->p;

	if (LIKELY(!(p->features & FEATURE_SAMPLED)) || records(p))
		return false;
	old->weight = r ? RECORD_WEIGHT(r->owner) : 0;
	old->alone = !r;
	/* of classes: it came somewhere between this one and the one below */
	was -= p->starts.bits ? was / 12 : 0;
	old->grows = need > was ? need - was : 0;
	return old->alone && was <= SAMPLE_COPY_MOST &&
	       (call->flags & FRONT_SAMPLED || sample_growth_due(old->grows));
}

static inline void sample_grown(const struct pool *p, struct meta_record *r, uint64_t was, size_t size)
{
	uint64_t need = bytes_for(p, size, false);

	if (LIKELY(need <= was))
		return;
	if (r && UNLIKELY(RECORD_WEIGHT(r->owner)))
		r->owner = (r->owner & ~RECORD_WEIGHT_MASK) | (uint64_t)pkg_sample_weight(need) << 32;
	else if (UNLIKELY(p->features & FEATURE_SAMPLED) && !r && !sample_growth_due(need - was))
		sample_pass(need - was);
}

static inline uint64_t owner_of(const struct front_call *call, const struct meta_record *r)
{
	(void)call;
	return r->owner & RECORD_WEIGHT_MASK;
}

#else

static inline uint32_t sample(const struct front_call *call, size_t size, uint64_t need, bool record)
{
	(void)call, (void)size, (void)need, (void)record;
	return 0;
}
static inline uint32_t site_of_sample(const struct front_call *call) { return site_of(call); }
static inline void sample_note(struct pool *p, const void *ptr, uint64_t usable, uint32_t weight)
{
	(void)p, (void)ptr, (void)usable, (void)weight;
}
static inline bool sample_moves(const struct front_call *call, const struct meta_record *r, uint64_t was, uint64_t need,
				struct front_old *old)
{
	(void)call, (void)r, (void)was, (void)need, (void)old;
	return false;
}
static inline void sample_grown(const struct pool *p, struct meta_record *r, uint64_t was, size_t size)
{
	(void)p, (void)r, (void)was, (void)size;
}
static inline uint64_t owner_of(const struct front_call *call, const struct meta_record *r)
{
	(void)r;
	return slot_of(call->o) << 32;
}

#endif

COLD static void *obtain(const struct front_call *call, size_t align, uint64_t need)
{
	struct pool *p = call->p;
	void *ptr = NULL;

	if (give_back_rather(call))
		ptr = p->ops->alloc(&p->heap, align, need);
	/* twice: of the first growth a part may be lost to the manager */
	for (unsigned i = 0; i < 2 && !ptr && DOMAIN(front_grow)(p, need + (align > 16 ? align : 0)); i++)
		ptr = p->ops->alloc(&p->heap, align, need);
	if (!ptr && give_back(call))
		ptr = p->ops->alloc(&p->heap, align, need);
#ifndef MEM_DOMAIN_SHM
	if (!ptr)
		pkg_magazines_trim();
#endif
	return ptr;
}

/* Where the manager may have them from the system, and need not store them. */
static inline bool asks_zeros(const struct front_call *call, size_t align, uint64_t need)
{
	return call->flags & FRONT_ZERO && need >= ZERO_BY_PAGES && call->p->ops->zeros && align <= 16;
}

void *DOMAIN(front_alloc)(const struct front_call *call, size_t align, size_t size)
{
	struct pool *p = call->p;
	bool record = records(p), zeros; /* once: others may follow another wish meanwhile */
	uint64_t need = bytes_for(p, size, record), usable;
	uint32_t site, weight;
	void *ptr;

	if (would_deadlock(call))
		return deadlock(call, size);
	if (UNLIKELY(!need || align > p->data_size))
		return fail(call, size, VERDICT_LIMIT);
	weight = sample(call, size, need, record);
	if (UNLIKELY(weight)) {
		record = true;
		need = bytes_for(p, size, record);
	}
	site = UNLIKELY(weight) ? site_of_sample(call) : record ? site_of(call) : 0;
	ptr = take_ready(call, align, size, site, record);
	if (ptr)
		return call->flags & FRONT_ZERO ? memset(ptr, 0, size) : ptr;
	enter(p, call->o, call->flags);
	ptr = find_ready(call, align, size, site, record);
	if (ptr) {
		leave(p, call->o, call->flags);
		return call->flags & FRONT_ZERO ? memset(ptr, 0, size) : ptr;
	}
	if (UNLIKELY(record && !record_ready(p))) {
		if (!may_go_unrecorded()) {
			leave(p, call->o, call->flags);
			return fail(call, size, VERDICT_EXHAUSTED);
		}
		record = false;
	}
	zeros = asks_zeros(call, align, need);
	if (LIKELY(!above_limit(p, need)))
		ptr = UNLIKELY(zeros) ? p->ops->zeros(&p->heap, need) : p->ops->alloc(&p->heap, align, need);
	if (UNLIKELY(!ptr)) {
		zeros = false;
		ptr = obtain(call, align, need);
	}
	if (UNLIKELY(!ptr)) {
		leave(p, call->o, call->flags);
		return fail(call, size, VERDICT_EXHAUSTED);
	}
	usable = p->ops->usable(&p->heap, ptr);
	count_in(p, usable);
	own_note(p, ptr, usable);
	if (record)
		record_put(call, ptr, usable, size, site);
	else
		tail_forget(p, ptr, usable, 0), start_note(p, ptr, usable);
	deliver(call, ptr, usable);
	if (UNLIKELY(weight) && record)
		sample_note(p, ptr, usable, weight);
	if (record && UNLIKELY(p->features & FEATURE_GUARDS))
		guard_put(p, &p->records[(uint32_t)*tail_of(ptr, usable)], ptr, size, usable);
	make_ready(call, align, size, need, usable);
	leave(p, call->o, call->flags);
	if (call->flags & FRONT_ZERO && !zeros)
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
		refuse_free(call);
		return;
	}
#ifndef MEM_DOMAIN_SHM
	if (UNLIKELY((uintptr_t)ptr - (uintptr_t)p->abandoned.base < p->abandoned.len))
		return;
#endif
	site = records(p) ? site_of(call) : 0;
	if (put_ready(call, ptr, site))
		return;
	enter(p, call->o, call->flags);
	if (UNLIKELY(!names_still(call, ptr))) {
		leave(p, call->o, call->flags);
		return;
	}
	what = call->flags & FRONT_KNOWN ? look_up_known(p, ptr, &usable) : look_up(p, ptr, &r, &usable);
	if (UNLIKELY(what == BAD)) {
		leave(p, call->o, call->flags);
		front_fault(call, MEM_WILD_FREE, ptr, index);
		return;
	}
	if (make_room(call, usable) && put_ready(call, ptr, site)) {
		leave(p, call->o, call->flags);
		return;
	}
	deliver_other(call);
	if (UNLIKELY(r && r->owner >> 48 & RECORD_QUARANTINED)) {
		leave(p, call->o, call->flags);
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
	start_drop(p, ptr);
	own_drop(p, ptr);
	p->ops->free(h, ptr);
	trim_freed(p);
	leave(p, call->o, call->flags);
	if (UNLIKELY(damaged))
		front_fault(call, MEM_OVERRUN, ptr, index);
}

/* Bytes that are the program's: guards watch what lies behind the request. */
static uint64_t usable_of(const struct meta_record *r, uint64_t usable)
{
	return !r ? usable : r->owner >> 48 & RECORD_GUARDED ? record_requested(r) : usable - TAIL_BYTES;
}

size_t DOMAIN(front_usable)(const struct front_call *call, const void *ptr)
{
	struct pool *p = call->p;
	struct meta_record *r = NULL;
	uint64_t usable = 0;

	if (!ptr)
		return 0;
	if (would_deadlock(call)) {
		deadlock(call, 0);
		return 0;
	}
	enter(p, call->o, call->flags);
	if (look_up(p, ptr, &r, &usable) == BAD)
		usable = 0;
	else
		usable = usable_of(r, usable);
	leave(p, call->o, call->flags);
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
	sample_grown(p, r, was, size);
	if (!r) {
		if (!has_record(p, ptr))	/* a child inherits some whose record is its parent's */
			start_note(p, ptr, usable);
		return;
	}
	share(call, r);
	HEAP_SET(h, r->sizes, record_sizes(usable, size));
	HEAP_SET(h, *tail_of(ptr, usable), (uint64_t)(r - p->records) | p->generation);
#ifndef MEM_DOMAIN_SHM
	HEAP_SET(h, c->recorded_bytes, c->recorded_bytes + usable - was);
#endif
	if (r->owner >> 48 & RECORD_GUARDED)
		guard_put(p, r, ptr, size, usable);
}

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
 * copied: free tells. One that grows into a sample shall move, once, if it `may`.
 */
static struct front_old resize_here(const struct front_call *call, void *ptr, size_t size, bool may)
{
	struct pool *p = call->p;
	struct front_old old = { 0 };
	struct meta_record *r = NULL;
	uint64_t usable = 0, need;

	enter(p, call->o, call->flags);
	if (UNLIKELY(look_up(p, ptr, &r, &usable) == BAD)) {
		old.bad = true;
	} else {
		need = size <= p->data_size - 64 ? mem_round(p->ops, size + (r ? TAIL_BYTES : 0)) : 0;
		old.bytes = usable_of(r, usable);
		old.owned = r && r->owner >> 48 & RECORD_OWNED;
		old.sampled = need && sample_moves(call, r, usable, need, &old) && may;
		if (need && !old.sampled && !(r && (overrun(r, ptr, usable) || r->owner >> 48 & RECORD_QUARANTINED))) {
			own_drop(p, ptr);
			old.now = p->ops->resize(&p->heap, ptr, need) ? ptr : NULL;
			if (old.now)
				resized(call, r, ptr, usable, size);
			else
				old.now = moved(call, r, ptr, usable, need, size);
			own_note_again(p, old.now ? old.now : ptr);
		}
	}
	leave(p, call->o, call->flags);
	return old;
}

#ifdef MEM_DOMAIN_SHM
bool shm_front_refuses(const struct front_call *call)
{
	if (LIKELY(!would_deadlock(call)))
		return false;
	deadlock(call, 0);
	return true;
}

struct front_old shm_front_resize(const struct front_call *call, void *ptr, size_t size)
{
	return resize_here(call, ptr, size, false);
}

/* Who moves what is OWNED makes it its own. */
static void *another(const struct front_call *call, size_t size, struct front_old old)
{
	struct front_call here = *call;

	here.flags |= old.owned ? FRONT_OWNED : 0;
	return shm_front_alloc(&here, 16, size);
}
#else
static void *another(const struct front_call *call, size_t size, struct front_old old)
{
	struct front_call here = *call;

	/* what it was goes along: whether it moves says nothing of its chances */
	if (UNLIKELY(old.sampled || old.weight)) {
		here.flags |= FRONT_SAMPLED;
		mem_pkg_sampling.carried = old.weight;
	} else if (UNLIKELY(old.alone)) {
		here.flags |= FRONT_PASSED;
		sample_pass(old.grows);
	}
	return pkg_front_alloc(&here, 16, size);
}
#endif

COLD static void *another_quietly(const struct front_call *call, size_t size, struct front_old old)
{
	struct front_call here = *call;

	here.flags |= FRONT_QUIET;
	return another(&here, size, old);
}

void *DOMAIN(front_realloc)(const struct front_call *call, void *ptr, size_t size)
{
	struct front_old old;
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
	fresh = UNLIKELY(call->p->lean) && own_alone() ? own_again(call->p, ptr, size) : NULL;
	if (fresh)
		return fresh;
#endif
	old = resize_here(call, ptr, size, true);
	fresh = UNLIKELY(old.sampled) ? another_quietly(call, size, old) : NULL;
	if (UNLIKELY(old.sampled) && !fresh)	/* there is no room for two */
		old = resize_here(call, ptr, size, false);
	if (old.now)
		return old.now;
	if (UNLIKELY(old.bad)) {
		front_fault(call, MEM_WILD_FREE, ptr, (uint64_t)NO_RECORD);
		errno = EINVAL;
		return NULL;
	}
	if (!fresh)
		fresh = another(call, size, old);
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
	uint32_t site;

	if (would_deadlock(call))
		return;
	site = site_of(call);
	enter(p, call->o, call->flags);
	if (look_up(p, ptr, &r, &usable) == GOOD)
		HEAP_SET(h, r->owner, (r->owner & (uint64_t)(RECORD_OWNED | RECORD_GUARDED) << 48) |
				      owner_of(call, r) | site);
	leave(p, call->o, call->flags);
}
