/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkg: the manager's call while nothing is recorded: its lock, its counters, what others may see, and nothing else.
 *
 * What magazines do not serve comes here first: what is larger than they are, which the thread's shelf may have
 * (shelf.h), or they are empty or full. That the gate of the thread's magazines is open says all that front.c would
 * ask: the heap is ready and this process's, it is one, its manager seals its fragments or starts.h knows them, no call
 * is recorded, nothing is guarded. Whatever else there is goes on to front.c: no memory, a fragment that is none, a
 * call from a signal handler.
 *
 * A pair has a third of the instructions that front.c needs; where fragments lie all over a large heap, that is what
 * lets the CPU wait for the memory of several calls at once.
 */
#include "mem/front/inside.h"
#include "mem/front/sampled.h"

/*
 * In and out as enter() and leave() do it, but each word is loaded once, the turn too: a load waits for the store
 * before it.
 */
static inline uint64_t enter_plain(struct pool *p)
{
	uint64_t turn;

	*(volatile uint32_t *)&mem_pkg_self.inside = 1;
	atomic_signal_fence(memory_order_seq_cst); /* as enter() */
	mutex_take(&p->mutex);
	turn = p->live->turn;
	show(&p->live->turn, turn + 1);
	atomic_signal_fence(memory_order_seq_cst); /* as turn() */
	return turn + 2;
}

static inline void leave_plain(struct pool *p, uint64_t turn)
{
	atomic_signal_fence(memory_order_seq_cst);
	show(&p->live->turn, turn);
	mutex_leave(&p->mutex);
	atomic_signal_fence(memory_order_seq_cst);
	*(volatile uint32_t *)&mem_pkg_self.inside = 0;
}

/* `used` bytes and `fragments` more, and what the manager has changed. */
static inline void count_plain(struct pool *p, uint64_t used, uint64_t fragments)
{
	struct meta_counters *to = &p->live->counters, *c = &p->counters;

	used += c->used;
	fragments += c->fragments;
	c->used = used;
	c->fragments = fragments;
	show(&to->used, used);
	show(&to->fragments, fragments);
	show(&to->tally.free_bytes, c->tally.free_bytes);
	show(&to->tally.free_fragments, c->tally.free_fragments);
}

static inline void count_alloc(struct pool *p, uint64_t usable)
{
	struct meta_counters *to = &p->live->counters, *c = &p->counters;

	count_plain(p, usable, 1);
	show(&to->stamp, ++c->stamp);
	if (UNLIKELY(c->used > c->max_used)) {
		c->max_used = c->used;
		show(&to->max_used, c->max_used);
	}
}

/* With other threads a look at the magazines belongs to it, which may change all counters. */
COLD static void look_after_alloc(struct pool *p, uint64_t need)
{
	pkg_magazines_refill(&(const struct front_call){ .p = p }, need);
	publish(p);
}

/* ---- what is larger than magazines hold: from the thread's shelf, or onto it, without the lock ---- */

/* The entry of a fragment of `size` bytes or more. Inside. */
static inline bool shelf_get(struct shelf *s, size_t size, uint64_t *ret_entry)
{
	uint64_t kind = shelf_kind_for(size);

	if (UNLIKELY(shelf_get_newest(s, (size + s->up) / 16, ret_entry)))
		return true;
	if (UNLIKELY(!shelf_find(s, &kind)))
		return false;
	*ret_entry = shelf_pop(s, kind);
	return true;
}

/* A fragment of `size` bytes or more; NULL: there is none, or the manager's answer is wanted. */
static inline void *shelf_take(struct magazines *m, size_t size)
{
	struct shelf *s = &m->shelf;
	struct meta_thread *told;
	void *ptr = NULL;
	uint64_t entry;

	if (UNLIKELY(!shelf_enter(s)))
		return NULL;
	if (LIKELY(shelf_get(s, size, &entry))) {
		told = magazine_told(m);
		ptr = shelf_address(entry);
		ASSUME(ptr);
		s->held -= (entry >> 48) * 16 + s->one;
		OWN_SET(told->shelf, s->held);
		signal_add64(&told->start, -1ull);
		*magazine_tag_of(ptr) = 0;
	}
	shelf_leave(s);
	return ptr;
}

/* true: it lies there now. It is a fragment in use of size i, and nobody recorded it. */
static inline bool shelf_put(struct magazines *m, void *ptr, uint64_t i)
{
	struct shelf *s = &m->shelf;
	uint64_t oldest, kind;
	bool put;

	if (UNLIKELY(!shelf_enter(s)))
		return false;
	oldest = shelf_oldest(s);
	kind = shelf_kind(s->fresh[oldest]);
	put = LIKELY(shelf_has_room(s, 16 * i, kind));
	if (LIKELY(put)) {
		*magazine_tag_of(ptr) = m->in.tag;
		shelf_come(s, oldest, kind, shelf_entry(ptr, i));
		s->held += 16 * i + s->one;
		OWN_SET(magazine_told(m)->shelf, s->held);
	}
	shelf_leave(s);
	return put;
}

/* ---- by the manager ---- */

/* What the manager is asked for. */
static inline uint64_t rounded(const struct magazines *m, size_t size)
{
	return size > 16 + m->head ? ((size - m->head + 15) & ~15ull) + m->head : 16 + m->head;
}

__attribute__((noinline)) static void *alloc_locked(size_t size, const struct mem_site *site, const void *caller,
						    pkg_alloc_fn *otherwise)
{
	struct magazines *m = mem_pkg_self.own;
	struct pool *p = &mem_pkg_pool;
	uint64_t need = rounded(m, size), usable, turn;
	void *ptr;

	if (UNLIKELY(!(GATE(m->in.steps) | GATE(m->gate.starts))) || UNLIKELY(!magazine_follows(m)) ||
	    UNLIKELY(mem_pkg_self.inside) || UNLIKELY(size > p->data_size - 64) ||
	    (UNLIKELY(m->sampled) && sample_due(m, size, need)))
		return otherwise(size, site, caller);
	turn = enter_plain(p);
	ptr = p->ops->alloc(&p->heap, 16, need);
	if (UNLIKELY(!ptr)) {
		leave_plain(p, turn);
		return otherwise(size, site, caller);
	}
	usable = m->starts ? p->ops->usable(&p->heap, ptr) : magazine_usable(m, ptr);
	magazine_gave(m, need, usable);
	starts_set(p, ptr, usable);
	count_alloc(p, usable);
	if (UNLIKELY(!__libc_single_threaded))
		look_after_alloc(p, need);
	leave_plain(p, turn);
	if (UNLIKELY(m->sampled))
		sample_pass(need);
	return ptr;
}

/* A fragment that the manager has in use, and nobody recorded: its usable bytes, else 0. */
static inline uint64_t plain_usable(const struct magazines *m, const struct pool *p, const void *ptr)
{
	uint64_t step = magazine_step(m, ptr), steps = GATE(m->in.steps), i, usable;

	if (LIKELY(step < steps)) {
		i = magazine_size(m, ptr, step);
		return LIKELY(i <= steps - step) ? 16 * i + m->head : 0;
	}
	if (UNLIKELY(step >= GATE(m->gate.starts)))
		return 0;
	i = magazine_size_started(m, step);
	if (i != STARTS_LARGE)
		return i < MAGAZINE_SIZES ? 16 * i : 0;
	RACY_READS_BEGIN();
	usable = p->ops->usable(&p->heap, ptr);
	RACY_READS_END();
	return usable;
}

/* What lies in a magazine or on a shelf is in use for the manager alone. */
static inline bool plain_waits(const struct magazines *m, const void *ptr, uint64_t usable)
{
	return usable < SHELF_END && UNLIKELY(*magazine_tag_of(ptr) == m->in.tag);
}

void pkg_plain_free(void *ptr, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise)
{
	struct magazines *m = mem_pkg_self.own;
	struct pool *p = &mem_pkg_pool;
	uint64_t usable = plain_usable(m, p, ptr), i = usable / 16, turn;
	bool shelved = i >= MAGAZINE_SIZES && usable < SHELF_END;

	if (UNLIKELY(!usable) || UNLIKELY(mem_pkg_self.inside) || plain_waits(m, ptr, usable)) {
		otherwise(ptr, site, caller);
		return;
	}
	if (i < MAGAZINE_SIZES && pkg_magazine_grow(m, i) && magazine_put(ptr))
		return;
	turn = enter_plain(p);
	if (UNLIKELY(!__libc_single_threaded)) {
		if (UNLIKELY(plain_usable(m, p, ptr) != usable)) {	/* another thread freed it while we waited */
			leave_plain(p, turn);
			otherwise(ptr, site, caller);
			return;
		}
		pkg_magazines_unload(p, usable);
		if (shelved)
			pkg_shelf_unload(p, m);
	} else if (shelved) {
		ptr = pkg_shelf_instead(p, m, ptr, usable);
		usable = p->ops->usable(&p->heap, ptr);
	}
	large_freed(p, ptr, usable);
	starts_clear(p, ptr);
	p->ops->free(&p->heap, ptr);
	trim_freed(p);
	count_plain(p, -usable, -1ull);
	leave_plain(p, turn);
}

/* ---- apart, so that who finds the shelf ready has no frame to make ---- */

void *pkg_plain_alloc(size_t size, const struct mem_site *site, const void *caller, pkg_alloc_fn *otherwise)
{
	struct magazines *m = mem_pkg_self.own;
	void *ptr = NULL;

	if (LIKELY(size - SHELF_LEAST < GATE(m->gate.shelf)) && LIKELY(magazine_follows(m))) {
		if (LIKELY(!m->sampled || !sample_due(m, size, rounded(m, size))))
			ptr = shelf_take(m, size);
		if (UNLIKELY(m->sampled) && ptr)
			sample_pass(rounded(m, size));
	} else {
		ptr = magazine_take_given(m, size);
	}
	return LIKELY(ptr) ? ptr : alloc_locked(size, site, caller, otherwise);
}

void pkg_shelf_free(void *ptr, uint64_t i, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise)
{
	struct magazines *m = mem_pkg_self.own;

	if (UNLIKELY(i - MAGAZINE_SIZES >= SHELF_END / 16 - MAGAZINE_SIZES) ||
	    UNLIKELY(*magazine_tag_of(ptr) == m->in.tag) || UNLIKELY(!shelf_put(m, ptr, i)))
		pkg_plain_free(ptr, site, caller, otherwise);
}

/* ---- realloc ---- */

/*
 * What has grown before will grow again: it gets room behind it, half as much below a page, else more, of which no page
 * is there before it is used. Of a heap that may not become large nothing is spent on that.
 */
static inline uint64_t with_room(const struct pool *p, uint64_t size)
{
	uint64_t more = size < META_PAGE     ? size / 2
			: size < GROWN_SMALL ? 3 * size
			: size < GROWN_MOST  ? size
					     : GROWN_MOST;

	return more <= p->id->size / GROWN_SHARE ? size + more : size;
}

static struct grown *grown_find(struct magazines *m, const void *ptr)
{
	for (unsigned i = 0; i < GROWN; i++)
		if (m->grown[i].ptr == ptr)
			return &m->grown[i];
	return NULL;
}

static void grown_note(struct magazines *m, struct grown *g, const void *ptr, uint64_t size)
{
	if (!g)
		g = &m->grown[m->grown_next++ % GROWN];
	*g = (struct grown){ ptr, size };
}

/* Of a manager whose pages have one size each: it can neither grow there nor give anything back. */
static inline bool one_of_many(const struct magazines *m, uint64_t usable)
{
	return m->starts && (usable < 16 * MAGAZINE_SIZES || usable % META_PAGE);
}

/*
 * `size` bytes are within what it has. One of many stays while more than half is wanted. Of others an eighth may lie
 * idle, or what was added for growth, as long as it grows.
 */
static bool stays(struct magazines *m, const void *ptr, uint64_t usable, uint64_t size)
{
	struct grown *g;

	if (one_of_many(m, usable))
		return size > usable / 2;
	if (usable - size <= usable / 8)
		return true;
	g = grown_find(m, ptr);
	if (!g)
		return false;
	if (size < g->size)
		g->ptr = NULL;
	g->size = size;
	return g->ptr;
}

/* By the manager, at the same place. false: not here, or all that is known is not so any more. */
static bool resize_locked(struct magazines *m, struct pool *p, void *ptr, uint64_t usable, uint64_t want, uint64_t need)
{
	uint64_t turn = enter_plain(p), now;
	bool done = false;

	if (LIKELY(__libc_single_threaded) || LIKELY(plain_usable(m, p, ptr) == usable))
		done = p->ops->resize(&p->heap, ptr, want) ||
		       (want != need && p->ops->resize(&p->heap, ptr, need));
	if (done) {
		now = m->starts ? p->ops->usable(&p->heap, ptr) : magazine_usable(m, ptr);
		starts_set(p, ptr, now);
		count_plain(p, now - usable, 0);
		if (UNLIKELY(p->counters.used > p->counters.max_used)) {
			p->counters.max_used = p->counters.used;
			show(&p->live->counters.max_used, p->counters.max_used);
		}
		trim_freed(p);
	}
	leave_plain(p, turn);
	return done;
}

static void *alloc_flagged(size_t size, const struct mem_site *site, const void *caller, unsigned flags)
{
	const struct front_call call = { .p = &mem_pkg_pool, .site = site, .caller = caller, .flags = flags };
	int saved = errno;
	void *ptr = pkg_front_alloc(&call, 16, size);

	if (flags & FRONT_QUIET)	/* it fails as if it had not been tried */
		errno = saved;
	return ptr;
}

static void *alloc_quiet(size_t size, const struct mem_site *site, const void *caller)
{
	return alloc_flagged(size, site, caller, FRONT_QUIET);
}

static inline void *alloc_again(size_t size, const struct mem_site *site, const void *caller, pkg_alloc_fn *otherwise)
{
	void *ptr = magazine_take(size);

	return LIKELY(ptr) ? ptr : pkg_plain_alloc(size, site, caller, otherwise);
}

/*
 * What `ptr` counts as so far. One that grew before is known by what was asked for then, and may have a fifth more; of
 * classes, any other came somewhere between this one and the one below.
 */
static inline uint64_t counted(const struct magazines *m, const struct grown *g, uint64_t usable)
{
	uint64_t least = usable - usable / 5 - 16, asked;

	if (!g)
		return usable - (m->starts ? usable / 12 : 0);
	asked = rounded(m, g->size);
	return asked < least ? least : asked < usable ? asked : usable;
}

/* While allocations are sampled: what moves has been looked at. */
static void *alloc_passed(struct magazines *m, size_t size, const struct mem_site *site, const void *caller,
			  unsigned flags)
{
	void *ptr = sample_far(m) ? magazine_take_given(m, size) : NULL;

	if (ptr)
		sample_uncount(m);
	return ptr ? ptr : alloc_flagged(size, site, caller, flags | FRONT_PASSED);
}

/*
 * While allocations are sampled, of what has no record. What it grows by counts, and not what a copy of it has in all;
 * it gets no room, which would count as grown, and be told as none.
 */
COLD static void *realloc_sampled(void *ptr, uint64_t usable, size_t size, const struct mem_site *site,
				  const void *caller, const struct pkg_otherwise *otherwise)
{
	struct magazines *m = mem_pkg_self.own;
	struct pool *p = &mem_pkg_pool;
	struct grown *g = grown_find(m, ptr);
	uint64_t need = rounded(m, size), was = counted(m, g, usable), grows = need > was ? need - was : 0;
	void *now = ptr;

	if (sample_growth_due(grows))
		return pkg_front_realloc(&(const struct front_call){ p, NULL, site, caller, FRONT_SAMPLED, NULL }, ptr,
					 size);
	sample_pass(grows);
	if (size <= usable && stays(m, ptr, usable, size)) {
		if (g)
			g->size = size;
		return ptr;
	}
	if (one_of_many(m, usable) || !resize_locked(m, p, ptr, usable, need, need))
		now = alloc_passed(m, size, site, caller, size > usable ? 0 : FRONT_QUIET);
	if (UNLIKELY(!now))
		return size > usable ? NULL : ptr;
	if (now != ptr) {
		memcpy(now, ptr, size < usable ? size : usable);
		magazine_free(ptr, site, caller, otherwise->free);
	}
	if (size > usable)
		grown_note(m, g, now, size);
	return now;
}

void *pkg_plain_realloc(void *ptr, size_t size, const struct mem_site *site, const void *caller,
			const struct pkg_otherwise *otherwise)
{
	struct magazines *m = mem_pkg_self.own;
	struct pool *p = &mem_pkg_pool;
	uint64_t usable = plain_usable(m, p, ptr), want = size;
	struct grown *g;
	void *now = NULL;

	if (UNLIKELY(!usable) || UNLIKELY(!size) || UNLIKELY(size > p->data_size - 64) ||
	    UNLIKELY(!magazine_follows(m)) || UNLIKELY(mem_pkg_self.inside) || plain_waits(m, ptr, usable))
		return otherwise->realloc(ptr, size, site, caller);
	if (UNLIKELY(m->sampled))
		return realloc_sampled(ptr, usable, size, site, caller, otherwise);
	if (size <= usable && LIKELY(stays(m, ptr, usable, size)))
		return ptr;
	g = grown_find(m, ptr);
	if (g && size > usable)
		want = with_room(p, size);
	if (!one_of_many(m, usable) &&
	    resize_locked(m, p, ptr, usable, rounded(m, want), rounded(m, size))) {
		if (size > usable)
			grown_note(m, g, ptr, size);
		return ptr;
	}
	if (want != size)
		now = alloc_again(want, site, caller, alloc_quiet);
	if (!now)
		now = alloc_again(size, site, caller, size > usable ? otherwise->alloc : alloc_quiet);
	if (UNLIKELY(!now))
		return size > usable ? NULL : ptr;
	memcpy(now, ptr, size < usable ? size : usable);
	magazine_free(ptr, site, caller, otherwise->free);
	if (size > usable)
		grown_note(m, g, now, size);
	return now;
}
