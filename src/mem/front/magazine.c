/* SPDX-License-Identifier: BSD-2-Clause */
/* pkg: magazines, their threads, and the manager. All but the last part is done with the lock. */
#include "mem/front/inside.h"

#include <sys/mman.h>

/* Bytes of a first batch: two threads shall not write into one cache line again and again. */
enum { BATCH_FIRST = 256, RESERVE_SHARE = 8 };

static struct meta_thread nobody;	/* a line that nobody reads */
static struct magazines first, depot = { .told = &nobody, .next = &first };
struct magazines mem_pkg_none = { .told = &nobody }, mem_pkg_unsettled = { .told = &nobody, .features = UINT64_MAX };
_Thread_local struct magazine_self mem_pkg_self = { .own = &mem_pkg_unsettled };

static bool line_taken[THREADS_MAX];
static uint64_t trims;			/* requests that found no memory */

/** Those of this thread, unless it was interrupted in there; NULL: none. */
static struct magazines *mine(void)
{
	struct magazines *m = mem_pkg_self.own;

	return !magazines_lacking(m) && magazine_quiet(m) ? m : NULL;
}

static uint64_t *told(const struct magazines *m) { return m->recorded ? &m->told->recorded : &m->told->cached; }

/* ---- to the manager ---- */

static void give_one(struct pool *p, void *ptr, struct meta_record *r)
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

/* A call that is stopped in here shall be one fragment off for observers, as any other is, not a batch. */
static void tell_counters(struct pool *p)
{
	show(&p->live->counters.used, p->counters.used);
	show(&p->live->counters.fragments, p->counters.fragments);
}

/* The oldest ones. Without `ledger` records and lines are left as they are, since META is still the parent's. */
static void give(struct pool *p, struct magazines *m, unsigned i, uint32_t count, bool ledger)
{
	struct magazine *of = &m->of[i];
	uint32_t rest = of->count - count;

	for (uint32_t k = 0; k < count; k++) {
		give_one(p, of->at[k], ledger && m->recorded ? &p->records[m->record[i][k]] : NULL);
		if (ledger)
			tell_counters(p);
	}
	for (uint32_t k = 0; k < rest; k++) {
		__atomic_store_n(&of->at[k], of->at[k + count], __ATOMIC_RELAXED);
		m->record[i][k] = m->record[i][k + count];
	}
	__atomic_store_n(&of->count, rest, __ATOMIC_RELEASE); /* pairs with the acquire in pkg_magazine_holds() */
	if (ledger)
		magazine_tell(told(m), -(count * CACHED_ONE(16ull * i + m->head)));
}

static bool empty(struct pool *p, struct magazines *m, bool ledger)
{
	bool any = false;

	for (unsigned i = 0; i < MAGAZINE_SIZES; i++)
		if (m->of[i].count) {
			give(p, m, i, m->of[i].count, ledger);
			any = true;
		}
	return any;
}

/* ---- from one to another ---- */

/* The newest ones, where both hold fragments of the same kind, and there is room. */
static void move(struct magazines *from, struct magazines *to, unsigned i, uint32_t count)
{
	struct magazine *f = &from->of[i], *t = &to->of[i];

	for (uint32_t k = 0; k < count; k++) {
		to->record[i][t->count] = from->record[i][f->count - 1];
		magazine_push(t, t->count, magazine_pop(f, f->count));
	}
	magazine_tell(told(from), -(count * CACHED_ONE(16ull * i + from->head)));
	magazine_tell(told(to), count * CACHED_ONE(16ull * i + from->head));
}

static bool same_kind(struct magazines *m) { return depot.sizes && depot.recorded == m->recorded; }

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Who waits for the lock shall need it more rarely; who hears that others lack memory gives up what is inside. */
static bool look_after(struct pool *p, struct magazines *m, uint64_t bytes)
{
	struct magazine *of = &m->of[bytes <= CACHED_MOST ? bytes / 16 : 0];

	if (m->trim != trims) {
		m->trim = trims;
		empty(p, m, true);
		return false;
	}
	if (bytes > CACHED_MOST)
		return false;
	if (m->waited && of->most < MAGAZINE_MOST && m->may_grow >= of->most * bytes) {
		m->may_grow -= of->most * bytes;
		of->most *= 2;
	}
	m->waited = false;
	return true;
}

static bool has_enough(const struct magazines *m) { return CACHED_BYTES(*told(m)) > MAGAZINES_ENOUGH; }

/* Rather others' requests than our reserve, where little is left. */
static bool plenty(const struct pool *p)
{
	const struct meta_counters *c = &p->counters;

	return c->tally.free_bytes + p->id->size - c->committed >= p->id->size / RESERVE_SHARE;
}

/* One more from the manager, which does not count as handed out. false: there is none of just this size. */
static bool bring_one(const struct front_call *call, struct magazines *m, unsigned i, uint64_t usable)
{
	struct pool *p = call->p;
	struct meta_record *r;
	void *ptr;

	if (m->recorded && !record_ready(p))
		return false;
	ptr = p->ops->alloc(&p->heap, 16, usable);
	if (!ptr)
		return false;
	if (p->ops->usable(&p->heap, ptr) != usable) {
		p->ops->free(&p->heap, ptr);
		return false;
	}
	count_in(p, usable);
	tell_counters(p);
	if (m->recorded) {
		record_put(call, ptr, usable, usable - TAIL_BYTES, 0);
		m->record[i][m->of[i].count] = (uint32_t)*tail_of(ptr, usable);
		r = &p->records[m->record[i][m->of[i].count]];
		r->owner |= (uint64_t)RECORD_CACHED << 48;
		r->time &= UINT32_MAX;
	} else {
		*magazine_tail(ptr, usable) = magazine_tag(p);
	}
	magazine_push(&m->of[i], m->of[i].count, ptr);
	magazine_tell(told(m), CACHED_ONE(usable));
	magazine_tell(&m->told->taken, -1ull); /* count_in() has numbered it; it is when it is taken */
	return true;
}

static void bring(const struct front_call *call, struct magazines *m, unsigned i, uint64_t usable)
{
	uint32_t n = m->batch[i], stored = depot.of[i].count;

	m->batch[i] = (uint8_t)(n ? least(2 * n, (m->of[i].most + 1) / 2) : 1);
	if (stored && same_kind(m)) {
		move(&depot, m, i, least(m->batch[i], stored));
		return;
	}
	while (n && plenty(call->p) && bring_one(call, m, i, usable))
		n--;
	if (n)
		m->batch[i] = 0;
}

void pkg_magazines_refill(const struct front_call *call, uint64_t usable)
{
	struct magazines *m = mine();
	unsigned i = (unsigned)(usable / 16);

	if (!m || !m->sizes || call->p != call->p->home || m->recorded != records(call->p))
		return;
	magazine_close(m, m->recorded);
	if (look_after(call->p, m, usable) && !m->of[i].count && !has_enough(m))
		bring(call, m, i, usable);
	magazine_reopen(m, m->recorded, m->sizes);
}

void pkg_magazines_unload(struct pool *p, uint64_t usable)
{
	struct magazines *m = mine();
	unsigned i = (unsigned)(usable / 16);
	uint32_t half, room;

	if (!m || !m->sizes || usable > CACHED_MOST || m->of[i].count < m->of[i].most || p != p->home)
		return;
	magazine_close(m, m->recorded);
	if (look_after(p, m, usable)) {
		half = has_enough(m) ? m->of[i].count : m->of[i].count / 2;
		room = same_kind(m) ? least(half, depot.of[i].most - depot.of[i].count) : 0;
		if (room)
			move(m, &depot, i, room);
		if (room < half)
			give(p, m, i, half - room, true);
	}
	magazine_reopen(m, m->recorded, m->sizes);
}

/* ---- who asks ---- */

COLD bool pkg_magazine_holds(const void *ptr, uint64_t usable)
{
	for (const struct magazines *m = &depot; m; m = m->next) {
		const struct magazine *of = &m->of[usable / 16];
		/* Its owner may go on meanwhile. Pairs with the release in magazine_push(). */
		uint32_t count = __atomic_load_n(&of->count, __ATOMIC_ACQUIRE);

		for (uint32_t k = 0; k < count; k++)
			if (__atomic_load_n(&of->at[k], __ATOMIC_RELAXED) == ptr)
				return true;
	}
	return false;
}

COLD bool pkg_front_flush(struct pool *p)
{
	struct magazines *m = mine();
	bool any = empty(p, &depot, true);

	if (m) {
		magazine_close(m, m->recorded);
		any |= empty(p, m, true);
		magazine_reopen(m, m->recorded, m->sizes);
	}
	return any;
}

COLD void pkg_front_trim(void)
{
	struct magazines *m = mine();

	trims++;
	if (m)
		m->trim = trims;	/* they are empty already */
}

/* They are empty. Guards close them: what lies behind a fragment is watched then. */
static void adopt(const struct pool *p, struct magazines *m)
{
	uint64_t features = p->features;
	bool open = p->ops->owns && p->ops->marked && !(features & (FEATURE_GUARDS | FEATURE_NO_MAGAZINES));

	m->recorded = features & (FEATURE_SITES | FEATURE_STACKS);
	m->head = p->ops->flags & MEM_HEAD8;
	m->sizes = open ? MAGAZINE_SIZES : 0;
	magazine_close(m, !m->recorded);
	magazine_reopen(m, m->recorded, m->sizes);
	atomic_store_explicit(&m->features, features, memory_order_relaxed);
}

/* The depot is open to nobody without the lock; threads that have none compare features alone. */
static void adopt_shared(const struct pool *p)
{
	adopt(p, &depot);
	for (unsigned i = 0; i < MAGAZINE_SIZES; i++)
		depot.of[i].most = MAGAZINE_MOST;
	/* relaxed: who reads the old ones comes here, too */
	atomic_store_explicit(&mem_pkg_none.features, p->features, memory_order_relaxed);
}

COLD void pkg_magazines_follow(struct pool *p, uint64_t features)
{
	struct magazines *m = mine();
	const uint64_t same = FEATURE_ABORT; /* what is inside does not depend on it */

	enter(p, NULL, 0);
	if (m)
		magazine_close(m, m->recorded);
	if ((p->features ^ features) & ~same)
		empty(p, &depot, true);
	if (m && (m->features ^ features) & ~same)
		empty(p, m, true);
	p->features = features;
	adopt_shared(p);
	if (m)
		adopt(p, m);
	leave(p, NULL, 0);
}

/* ---- threads ---- */

static struct meta_thread *line(const struct pool *p, unsigned number)
{
	struct meta_thread *more = (void *)(p->meta + META_THREADS);

	return number < LIVE_THREADS ? &p->live->thread[number] : &more[number - LIVE_THREADS];
}

/* NULL: there is no more memory for them. */
static struct meta_thread *free_line(struct pool *p)
{
	unsigned number = 1;		/* 0 is the depot's */

	while (number < THREADS_MAX && line_taken[number])
		number++;
	if (number == THREADS_MAX || (number >= LIVE_THREADS + p->live->threads && threads_grow(p)))
		return NULL;
	line_taken[number] = true;
	return line(p, number);
}

static void clear(struct meta_thread *t)
{
	__atomic_store_n(&t->cached, 0, __ATOMIC_RELAXED); /* numbers for people */
	__atomic_store_n(&t->recorded, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&t->taken, 0, __ATOMIC_RELAXED);
}

static void leave_line(const struct pool *p, struct magazines *m)
{
	for (unsigned number = 1; number < THREADS_MAX; number++)
		if (line_taken[number] && line(p, number) == m->told)
			line_taken[number] = false;
	m->told = &nobody;
}

static struct magazines *any_free(void)
{
	struct magazines *m = &first;

	while (m && m->owned)
		m = m->next;
	if (m)
		return m;
	m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		return NULL;
	m->told = &nobody;
	m->next = first.next;
	first.next = m;
	return m;
}

COLD struct magazines *pkg_magazines_claim(struct pool *p)
{
	struct meta_thread *to;
	struct magazines *m;

	enter(p, NULL, 0);
	m = any_free();
	to = m ? free_line(p) : NULL;
	if (to) {
		clear(to);
		m->told = to;
		m->owned = true;
		m->trim = trims;
		for (unsigned i = 0; i < MAGAZINE_SIZES; i++) {
			m->of[i].most = MAGAZINE_DEPTH_FIRST;
			m->batch[i] = (uint8_t)(BATCH_FIRST / (16 * i + 16));
		}
		m->may_grow = MAGAZINES_GROW;
		adopt(p, m);
	}
	leave(p, NULL, 0);
	return to ? m : NULL;
}

COLD void pkg_magazines_release(struct pool *p, struct magazines *m)
{
	enter(p, NULL, 0);
	empty(p, m, true);
	p->counters.stamp += m->told->taken;
	clear(m->told);
	leave_line(p, m);
	m->owned = false;
	leave(p, NULL, 0);
}

/* ---- without the lock: nobody else is there, or it does not matter ---- */

void pkg_magazines_attach(struct pool *p)
{
	struct magazines *m = mine();

	for (unsigned number = 0; number < THREADS_MAX; number++)
		line_taken[number] = false;
	depot.told = line(p, 0);
	adopt_shared(p);
	if (!m)
		return;
	m->told = line(p, 1);
	line_taken[1] = true;
	adopt(p, m);
}

static void forget(struct magazines *m)
{
	for (unsigned i = 0; i < MAGAZINE_SIZES; i++)
		m->of[i].count = 0;
}

bool pkg_magazines_inherit(struct pool *p, bool lost)
{
	struct magazines *own = mem_pkg_self.own;
	bool outside = !mem_pkg_self.inside && magazine_quiet(own);

	for (struct magazines *m = &depot; m; m = m->next) {
		m->told = &nobody;
		if (!magazine_quiet(m)) /* its thread comes back to it, if it is this one: nobody uses it again */
			continue;
		if (lost)
			forget(m);
		else
			empty(p, m, false);
		m->owned = m == own;
	}
	if (!magazine_quiet(own))
		mem_pkg_self.own = &mem_pkg_unsettled;
	mem_pkg_self.inside = 0;
	return outside;
}

uint64_t pkg_magazines_cached(const struct pool *p)
{
	/* acquire: the lines are there. Pairs with the release in threads_grow(). */
	uint64_t lines = atomic_load_explicit(&p->live->threads, memory_order_acquire), sum = 0;

	for (unsigned i = 0; i < LIVE_THREADS + lines && i < THREADS_MAX; i++)
		sum += __atomic_load_n(&line(p, i)->cached, __ATOMIC_RELAXED) +
		       __atomic_load_n(&line(p, i)->recorded, __ATOMIC_RELAXED);
	return sum;
}
