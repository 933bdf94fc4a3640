/* SPDX-License-Identifier: BSD-2-Clause */
/* pkg: magazines, their threads, and the manager. All but the last part is done with the lock. */
#include "mem/front/inside.h"

#include <sys/mman.h>

#include "mem/front/own_fast.h"
#include "mem/front/sampled.h"

/* Bytes of a first batch: two threads shall not write into one cache line again and again. */
enum { BATCH_FIRST = 256, RESERVE_SHARE = 8, BEYOND_SHARE = 8, BEYOND_SHARE_FIRST = 32 };
#define UNFOLLOWED UINT64_MAX		/* features that no heap has */

static struct meta_thread nobody;	/* a line that nobody reads */
static const uint64_t nothing;	/* wanted */
static struct magazines depot;	/* this and the next: as pkg_magazines_attach() leaves them */
struct magazines mem_pkg_none;
/*
 * The one that is looked at before anything is made. Whole pages, of which the loader stores to one, behind all other
 * data: what a program that only loads us copies of it is that page.
 */
struct magazines mem_pkg_unsettled __attribute__((section("unsettled"))) = {
	.in = { .told = (void *)&nobody, .wanted = &nothing }, .features = UNFOLLOWED
};
_Thread_local struct magazine_self mem_pkg_self
	__attribute__((tls_model("initial-exec"))) = { .own = &mem_pkg_unsettled };
extern __thread struct mem_inline_self memapi_pkg_self __attribute__((alias("mem_pkg_self")));
_Static_assert(!offsetof(struct magazine_self, own) && !offsetof(struct magazines, in), "as applications see them");

static bool line_taken[THREADS_MAX];
static uint64_t trims;			/* requests that found no memory */
static uint64_t beyond;			/* bytes lent and left, of all threads */

static void tell(struct magazines *m, struct meta_thread *line) { m->in.told = (void *)line; }

/** Those of this thread, unless they are closed; NULL: none. */
static struct magazines *open_own(void)
{
	struct magazines *m = mem_pkg_self.own;

	return !magazines_lacking(m) && m->open ? m : NULL;
}

/** Those of this thread, unless it was interrupted in there; NULL: none. */
static struct magazines *mine(void)
{
	struct magazines *m = mem_pkg_self.own;

	return !magazines_lacking(m) && magazine_quiet(m) ? m : NULL;
}

/* ---- the gate ---- */

/* Relaxed: of the calling thread, or one who does not care whether it is seen just now. */
static void set_word(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

static void close_gate(struct magazines *m)
{
	if (m == &depot)		/* nobody goes by it: a page that is never there */
		return;
	set_word(&m->in.key, 0);
	set_word(&m->in.from, 0);
	set_word(&m->in.steps, 0);
	set_word(&m->gate.limit, 0);
	set_word(&m->gate.starts, 0);
	set_word(&m->gate.shelf, 0);
	set_word(&m->gate.recorded, 0);
	set_word(&m->gate.places, 0);
	set_word(&m->gate.own_sizes, 0);
}

/* Of the heap: places where a fragment may begin. A payload has a head before it, or there are starts from the base on;
 * neither: 0. */
static uint64_t places_of(const struct pool *p)
{
	uint64_t len;

	RACY_READS_BEGIN();
	len = *(const volatile uint64_t *)&p->heap.len;
	RACY_READS_END();
	return mem_pkg_shards > 1 || !len	 ? 0
	       : p->ops->flags & MEM_SEALED ? len / 16 - 1
	       : p->starts.bits		 ? len / 16
					 : 0;
}

static void open_recorded(struct magazines *m, uint64_t places)
{
	set_word(&m->gate.places, places);
	set_word(&m->gate.recorded, places ? MAGAZINE_STEPS : 0);
}

/* Of takes: what is followed, unless a sample is due. */
static void set_key(struct magazines *m)
{
	set_word(&m->in.key, m->features == UNFOLLOWED || magazine_due(m) ? 0 : m->features | MEM_INLINE_OPEN);
}

static void open_gate(const struct pool *p, struct magazines *m)
{
	bool sealed = p->ops->flags & MEM_SEALED;
	uint64_t places = places_of(p);

	close_gate(m);
	if (!m->owned || !m->open)
		return;
	set_word(&m->in.from, (uintptr_t)p->heap.base + (sealed ? 16 : 0));
	if (m->recorded) {
		if (sealed && !m->stacks)
			open_recorded(m, places);
		return;
	}
	set_key(m);
	set_word(sealed ? &m->in.steps : &m->gate.starts, places);
	set_word(&m->gate.limit, MAGAZINE_STEPS);
	set_word(&m->gate.shelf, sealed && places ? SHELF_LARGEST - SHELF_LEAST + 1 : 0);
	set_word(&m->gate.own_sizes, (uintptr_t)p->own_sizes);
}

/* Less where there is more: fragments on the shelf are more, too, and so nearer to what is wanted. */
static uint32_t shelf_reach(const struct pool *p)
{
	return p->ops->flags & MEM_SPARES	      ? SHELF_REACH_SPARES
	       : p->counters.committed <= SHELF_LOOSE ? SHELF_REACH_LOOSE
						      : SHELF_REACH;
}

static uint64_t shelf_first(const struct pool *p)
{
	uint64_t share = p->id->size / SHELF_SHARE_FIRST;
	uint64_t most = shelf_reach(p) == SHELF_REACH ? SHELF_FIRST_LARGE : SHELF_FIRST;

	return share < most ? share : most;
}

/* Of one that is empty, or of the kind that it was. */
static void shelf_open(const struct pool *p, struct magazines *m)
{
	bool open = m->owned && m->open && !m->recorded && p->ops->flags & MEM_SEALED;

	__atomic_store_n(&m->shelf.reach, shelf_reach(p), __ATOMIC_RELAXED); /* its owner's, or soon */
	__atomic_store_n(&m->shelf.most, open ? shelf_first(p) + m->shelf.lent : 0, __ATOMIC_RELAXED);
}

void pkg_magazines_sampled(struct magazines *m)
{
	if (m->owned && m->open && !m->recorded)
		set_key(m);
}

void pkg_magazines_grown(const struct pool *p)
{
	for (struct magazines *m = depot.next; m; m = m->next) {
		shelf_open(p, m);
		if (GATE(m->in.steps))	/* sooner or later */
			set_word(&m->in.steps, places_of(p));
		else if (GATE(m->gate.starts))
			set_word(&m->gate.starts, places_of(p));
		else if (GATE(m->gate.places))
			set_word(&m->gate.places, places_of(p));
	}
}

void pkg_magazines_hold(void)
{
	for (struct magazines *m = depot.next; m; m = m->next)
		close_gate(m);
}

void pkg_magazines_let_go(const struct pool *p)
{
	for (struct magazines *m = depot.next; m; m = m->next)
		open_gate(p, m);
}

/** What is inside is of the kind that these features want. */
static bool followed(const struct magazines *m, uint64_t features)
{
	return !((m->features ^ features) & ~(uint64_t)(FEATURE_ABORT | FEATURE_SAMPLED));
}

/* ---- to the manager ---- */

static void give_one(struct pool *p, void *ptr, struct meta_record *r)
{
	uint64_t usable = p->ops->usable(&p->heap, ptr);

	if (r) {
		r->owner &= ~((uint64_t)RECORD_CACHED << 48);
		record_drop(p, r, usable, (uint32_t)(r->time >> 32));
	}
	*magazine_tag_of(ptr) = 0;
	p->counters.used -= usable;
	p->counters.fragments--;
	starts_clear(p, ptr);
	own_ended(p, ptr);
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
	uint32_t bottom = magazine_bottom(i), have = magazine_count_of(m, i), rest = have - count;

	for (uint32_t k = bottom + 1; k <= bottom + count; k++) {
		give_one(p, (void *)(uintptr_t)m->in.at[k], ledger && m->recorded ? &p->records[m->record[k]] : NULL);
		if (ledger)
			tell_counters(p);
	}
	for (uint32_t k = bottom + 1; k <= bottom + rest; k++) {
		__atomic_store_n(&m->in.at[k], m->in.at[k + count], __ATOMIC_RELAXED);
		m->record[k] = m->record[k + count];
	}
	if (ledger)
		magazine_set_top(m, i, bottom + rest);
	else
		m->in.top[i] = (m->in.top[i] & ~(uint32_t)MAGAZINE_PLACE) | (bottom + rest);
}

/* One that was taken off the shelf. Its owner, or who empties it for one that is gone, is inside. */
static void shelf_give(struct pool *p, struct magazines *m, uint64_t entry, bool ledger)
{
	void *ptr = shelf_address(entry);

	magazine_shelf_holds(m, m->shelf.held - CACHED_ONE(p->ops->usable(&p->heap, ptr)));
	give_one(p, ptr, NULL);
	if (ledger)
		tell_counters(p);
}

/* Where the next one is that goes back, of one kind after the other; SHELF_KINDS: there is none. */
static unsigned shelf_next(struct shelf *s)
{
	for (unsigned words = 0; words <= SHELF_KINDS / 64; words++) {
		unsigned word = s->next % SHELF_KINDS / 64;
		uint64_t bits = s->bits[word] >> s->next % 64;

		if (bits) {
			s->next += bits_lowest(bits);
			return s->next++ % SHELF_KINDS;
		}
		s->next = (word + 1) * 64;
	}
	return SHELF_KINDS;
}

static bool shelf_empty(struct pool *p, struct magazines *m, bool ledger)
{
	struct shelf *s = &m->shelf;
	unsigned kind;

	if (!s->held || !shelf_enter(s))
		return false;
	for (unsigned k = 0; k < SHELF_FRESH; k++)
		if (s->fresh[k]) {
			shelf_give(p, m, s->fresh[k], ledger);
			s->fresh[k] = 0;
		}
	while ((kind = shelf_next(s)) < SHELF_KINDS)
		shelf_give(p, m, shelf_pop(s, kind), ledger);
	shelf_leave(s);
	return true;
}

static bool empty(struct pool *p, struct magazines *m, bool ledger)
{
	bool any = false;
	uint32_t kind, top;

	for (unsigned i = 0; i < MAGAZINE_SIZES; i++) {
		kind = magazine_kind(m, i);
		if (magazine_enter_kind(m, i, kind, &top) && top > magazine_bottom(i)) {
			give(p, m, i, top - magazine_bottom(i), ledger);
			top = magazine_top(m, i);
			any = true;
		}
		magazine_leave_kind(m, i, kind, top);
	}
	return shelf_empty(p, m, ledger) | any;
}

/* ---- from one to another ---- */

/* The newest ones, where both hold fragments of the same kind, and there is room. */
static void move(struct magazines *from, struct magazines *to, unsigned i, uint32_t count)
{
	uint32_t f = magazine_top(from, i), t = magazine_top(to, i);

	for (uint32_t k = 0; k < count; k++) {
		to->record[t + 1 + k] = from->record[f - k];
		magazine_push(to, i, t + 1 + k, (void *)(uintptr_t)from->in.at[f - k]);
	}
	magazine_set_top(from, i, f - count);
}

static uint32_t room_in(const struct magazines *m, unsigned i) { return m->in.end[i] - magazine_top(m, i); }
static uint32_t most_of(const struct magazines *m, unsigned i) { return m->in.end[i] - magazine_bottom(i); }

static bool same_kind(struct magazines *m) { return depot.open && depot.recorded == m->recorded; }

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Twice as many places, if the thread may have so much. The owner is inside. */
static bool grow(struct magazines *m, unsigned i)
{
	uint32_t most = most_of(m, i);
	uint64_t bytes = most * (16ull * i + m->head);

	if (2 * most > MAGAZINE_MOST || m->may_grow < bytes)
		return false;
	m->may_grow -= bytes;
	m->in.end[i] += most;
	return true;
}

bool pkg_magazine_grow(struct magazines *m, uint64_t i)
{
	uint32_t kind = magazine_kind(m, i), top;
	bool done = false;

	if (magazine_enter_kind(m, i, kind, &top) && top >= m->in.end[i])
		done = grow(m, (unsigned)i);
	magazine_leave_kind(m, i, kind, top);
	return done;
}

/* ---- beyond the first 520 KiB ---- */

static bool may_go_beyond(const struct pool *p, uint64_t bytes)
{
	uint64_t first = keeps_own(p) ? MAGAZINES_BEYOND : p->id->size / BEYOND_SHARE_FIRST;
	uint64_t share = (keeps_own(p) ? p->counters.used : p->counters.committed) / BEYOND_SHARE;

	first = first < MAGAZINES_BEYOND ? first : MAGAZINES_BEYOND;
	return beyond + bytes <= (first > share ? first : share);
}

static bool lend(const struct pool *p, struct magazines *m)
{
	if (m->lent + MAGAZINES_LEND > MAGAZINES_LENT_MOST || !may_go_beyond(p, MAGAZINES_LEND))
		return false;
	m->lent += MAGAZINES_LEND;
	m->may_grow += MAGAZINES_LEND;
	beyond += MAGAZINES_LEND;
	return true;
}

/* Less than its share of what is committed: a step more. */
static bool shelf_lend(const struct pool *p, struct shelf *s)
{
	if (s->most + SHELF_LEND > p->counters.committed / SHELF_SHARE || !may_go_beyond(p, SHELF_LEND))
		return false;
	__atomic_store_n(&s->most, s->most + SHELF_LEND, __ATOMIC_RELAXED);
	s->lent += SHELF_LEND;
	beyond += SHELF_LEND;
	return true;
}

/* One that leaves so that others find room; 0: there is room, or now there is. Inside. */
static uint64_t shelf_leaves(const struct pool *p, struct shelf *s)
{
	uint64_t kind = shelf_kind(s->fresh[shelf_oldest(s)]);

	if (shelf_has_room(s, SHELF_END, kind) || (s->count[kind] < SHELF_DEEP && shelf_lend(p, s)))
		return 0;
	kind = s->count[kind] < SHELF_DEEP ? shelf_next(s) : kind;
	return kind < SHELF_KINDS ? shelf_pop(s, kind) : 0;
}

void pkg_shelf_unload(struct pool *p, struct magazines *m)
{
	uint64_t entry;

	if (!m->shelf.most || !shelf_enter(&m->shelf))
		return;
	entry = shelf_leaves(p, &m->shelf);
	if (entry)
		shelf_give(p, m, entry, true);
	shelf_leave(&m->shelf);
}

/* The one that leaves makes room for a fragment that comes, or lies where it lay. Inside. */
static bool shelf_change(struct magazines *m, uint64_t leaves, const void *ptr, uint64_t usable)
{
	struct shelf *s = &m->shelf;
	uint64_t held = s->held - (leaves >> 48) * 16 - s->one, oldest = shelf_oldest(s);
	uint64_t kind = shelf_kind(s->fresh[oldest]);

	s->held = held;
	if (!shelf_has_room(s, usable, kind)) {
		s->held = held + (leaves >> 48) * 16 + s->one;
		shelf_push(s, shelf_kind(leaves), leaves);
		return false;
	}
	*magazine_tag_of(ptr) = m->in.tag;
	shelf_come(s, oldest, kind, shelf_entry(ptr, usable / 16));
	magazine_shelf_holds(m, held + usable / 16 * 16 + s->one);
	return true;
}

void *pkg_shelf_instead(struct pool *p, struct magazines *m, void *ptr, uint64_t usable)
{
	struct shelf *s = &m->shelf;
	uint64_t leaves;

	s->other_next = !s->other_next;
	if (s->other_next || !s->most || !shelf_enter(s))
		return ptr;
	leaves = shelf_leaves(p, s);
	if (leaves && shelf_change(m, leaves, ptr, usable)) {
		ptr = shelf_address(leaves);
		*magazine_tag_of(ptr) = 0;
	}
	shelf_leave(s);
	return ptr;
}

static void take_over(struct magazines *m)
{
	beyond -= m->left;
	m->left = 0;
}

/* ---- with the lock, when a thread comes by ---- */

/* Who hears that others lack memory gives up what is inside. */
static bool look_after(struct pool *p, struct magazines *m, uint64_t bytes)
{
	unsigned i = (unsigned)(bytes / 16);

	if (m->trim != trims) {
		m->trim = trims;
		empty(p, m, true);
		return false;
	}
	return i < MAGAZINE_SIZES;
}

/* Who waits for the lock shall need it more rarely. */
static void grow_waited(const struct pool *p, struct magazines *m, unsigned i)
{
	if (m->waited && !grow(m, i) && 2 * most_of(m, i) <= MAGAZINE_MOST && lend(p, m))
		grow(m, i);
	if (m->waited && m->enough)
		m->enough = !lend(p, m);
	m->waited = false;
}

/* Adding up costs more than the rest of a look. */
static bool has_enough(struct magazines *m)
{
	if (m->looks++ % 16 == 0)
		m->enough = CACHED_BYTES(thread_cached(magazine_told(m))) > MAGAZINES_ENOUGH + m->lent;
	return m->enough;
}

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
	own_began(p, ptr, usable);
	tell_counters(p);
	if (m->recorded) {
		record_put(call, ptr, usable, usable - TAIL_BYTES, 0);
		m->record[magazine_top(m, i) + 1] = (uint32_t)*tail_of(ptr, usable);
		r = &p->records[m->record[magazine_top(m, i) + 1]];
		r->owner |= (uint64_t)RECORD_CACHED << 48;
		r->time &= UINT32_MAX;
	} else {
		*magazine_tag_of(ptr) = m->in.tag;
		starts_set(p, ptr, usable);
	}
	magazine_push(m, i, magazine_top(m, i) + 1, ptr);
	signal_add64(&magazine_told(m)->start, 1);	/* count_in() has numbered it; it is when it is taken */
	return true;
}

static void bring(const struct front_call *call, struct magazines *m, unsigned i, uint64_t usable)
{
	uint32_t n = m->batch[i], stored = magazine_count_of(&depot, i);

	m->batch[i] = (uint8_t)(n ? least(2 * n, (most_of(m, i) + 1) / 2) : 1);
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
	struct magazines *m = open_own();
	unsigned i = (unsigned)(usable / 16);
	uint32_t kind, top;

	if (!m || call->p != call->p->home || m->recorded != records(call->p) || !look_after(call->p, m, usable))
		return;
	kind = magazine_kind(m, i);
	if (magazine_enter_kind(m, i, kind, &top)) {
		grow_waited(call->p, m, i);
		if (top == magazine_bottom(i) && !has_enough(m))
			bring(call, m, i, usable);
		top = magazine_top(m, i);
	}
	magazine_leave_kind(m, i, kind, top);
}

/* Half of them to the depot, as far as there is room, or to the manager. */
static void send(struct pool *p, struct magazines *m, unsigned i)
{
	uint32_t half = has_enough(m) ? magazine_count_of(m, i) : magazine_count_of(m, i) / 2;
	uint32_t room = same_kind(m) ? least(half, room_in(&depot, i)) : 0;

	if (room)
		move(m, &depot, i, room);
	if (room < half)
		give(p, m, i, half - room, true);
}

void pkg_magazines_unload(struct pool *p, uint64_t usable)
{
	struct magazines *m = open_own();
	unsigned i = (unsigned)(usable / 16);
	uint32_t kind, top;

	if (!m || p != p->home || !look_after(p, m, usable))
		return;
	kind = magazine_kind(m, i);
	if (magazine_enter_kind(m, i, kind, &top)) {
		grow_waited(p, m, i);
		if (!room_in(m, i))
			send(p, m, i);
		top = magazine_top(m, i);
	}
	magazine_leave_kind(m, i, kind, top);
}

/* ---- what the short way did not serve ---- */

/*
 * KNOWN: a fragment in use that has no record. The words that are read are those of a fragment that is the caller's,
 * and bounds; what others change in them meanwhile is not what is asked for, or leads to ASK, which is asked with the
 * lock.
 */
static enum magazine_answer known(const struct pool *p, const void *ptr, uint64_t *ret_usable)
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

enum magazine_answer pkg_magazine_put(struct pool *p, void *ptr)
{
	struct magazines *m = mem_pkg_self.own;
	uint64_t usable = 0, i;
	enum magazine_answer answer;
	uint32_t top;
	bool put;

	if (!m->open || m->recorded)
		return MAGAZINE_ASK;
	if (keeps_own(p))
		return own_cache(p, ptr, &usable) || own_cache_more(ptr, usable) ? MAGAZINE_PUT : MAGAZINE_ASK;
	answer = known(p, ptr, &usable);
	i = usable / 16;
	if (answer == MAGAZINE_ASK || i >= MAGAZINE_SIZES || UNLIKELY(*magazine_tag_of(ptr) == m->in.tag))
		return answer;
	put = magazine_enter(m, i, &top) && (top < m->in.end[i] || grow(m, (unsigned)i));
	if (put) {
		*magazine_tag_of(ptr) = m->in.tag;
		magazine_push(m, i, ++top, ptr);
	}
	magazine_leave(m, i, top);
	return put ? MAGAZINE_PUT : MAGAZINE_KNOWN;
}

/* ---- lines in META ---- */

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

static void leave_line(const struct pool *p, struct magazines *m)
{
	for (unsigned number = 1; number < THREADS_MAX; number++)
		if (line_taken[number] && line(p, number) == magazine_told(m))
			line_taken[number] = false;
	tell(m, &nobody);
}

static void shelf_clear(struct shelf *s)
{
	s->held = 0;
	memset(s->fresh, 0, sizeof s->fresh);
	memset(s->bits, 0, sizeof s->bits);
	memset(s->count, 0, sizeof s->count);
}

/* Of a small heap, the magazines of a thread, all full, are a small part; what a library may have ends nowhere, as a
 * rule. */
static uint64_t first_share(const struct pool *p) { return p->data_size / MAGAZINES_SHARE; }

/* A power of two: it doubles up to 64. */
static uint32_t first_depth(const struct pool *p, unsigned i)
{
	uint64_t bytes = first_share(p) / MAGAZINE_SIZES;
	uint32_t places = MAGAZINE_DEPTH_FIRST;

	while (places > 1 && places * 16ull * i > bytes)
		places /= 2;
	return places;
}

/* Nothing is in them, and their line says so. */
static void clear(const struct pool *p, struct magazines *m)
{
	for (unsigned i = 0; i < MAGAZINE_SIZES; i++) {
		m->in.end[i] = magazine_bottom(i) + (!i ? 0 : m == &depot ? MAGAZINE_MOST : first_depth(p, i));
		magazine_set_top(m, i, magazine_bottom(i));
	}
	shelf_clear(&m->shelf);
	OWN_SET(magazine_told(m)->shelf, 0);
	m->in.told->taken = magazine_told(m)->start = TAKEN_FIRST;
}

/* ---- whose thread has ended ---- */

/* Nobody's, and empty. */
static bool retire(struct pool *p, struct magazines *m)
{
	bool any = empty(p, m, true);

	take_over(m);
	beyond -= m->lent + m->shelf.lent;
	m->lent = m->shelf.lent = 0;
	clear(p, m);
	leave_line(p, m);
	return any;
}

/* What is left to threads that have not begun yet. */
static bool retire_left(struct pool *p)
{
	bool any = false;

	for (struct magazines *m = depot.next; m; m = m->next)
		if (m->left)
			any |= retire(p, m);
	return any;
}

/* They stay as they are, with their line, if they are of the kind that the next thread has. */
static bool leave_to_next(const struct pool *p, struct magazines *m)
{
	uint64_t bytes = CACHED_BYTES(thread_cached(magazine_told(m)));

	if (!m->open || !magazine_quiet(m) || m->trim != trims || !followed(m, p->features) ||
	    !may_go_beyond(p, bytes))
		return false;
	m->left = bytes;
	beyond += bytes;
	return bytes;
}

/* ---- who asks ---- */

COLD bool pkg_magazine_holds(const void *ptr, uint64_t usable)
{
	for (const struct magazines *m = &depot; m; m = m->next) {
		if (usable / 16 >= MAGAZINE_SIZES) {
			if (shelf_holds(&m->shelf, ptr, usable))
				return true;
			continue;
		}
		/* Its owner may go on meanwhile. Pairs with the release in magazine_set_top(). */
		uint32_t top = __atomic_load_n(&m->in.top[usable / 16], __ATOMIC_ACQUIRE) & MAGAZINE_PLACE;

		for (uint32_t k = magazine_bottom(usable / 16) + 1; k <= top; k++)
			if (__atomic_load_n(&m->in.at[k], __ATOMIC_RELAXED) == (uintptr_t)ptr)
				return true;
	}
	return false;
}

COLD bool pkg_front_flush(struct pool *p)
{
	struct magazines *m = mine();
	bool any = empty(p, &depot, true);

	any |= retire_left(p);
	if (m)
		any |= empty(p, m, true);
	return any;
}

COLD void pkg_magazines_trim(void)
{
	struct magazines *m = mine();

	trims++;
	if (m)
		m->trim = trims;	/* they are empty already */
}

/* Nobody is inside. */
static void set_kind(struct magazines *m, uint32_t kind)
{
	for (unsigned i = 0; i < MAGAZINE_STEPS; i++)
		OWN_SET(m->in.top[i], (m->in.top[i] & ~(uint32_t)MAGAZINE_KIND) | kind);
}

/* They are empty, or of this kind. Of a manager that keeps its own memory nothing else tells what has a record, while
 * there are any. */
static void adopt(const struct pool *p, struct magazines *m)
{
	uint64_t features = p->features;
	bool open = magazines_possible(p->ops) && !(features & FEATURE_NO_MAGAZINES) && (!keeps_own(p) || p->lean);

	m->recorded = features & (FEATURE_SITES | FEATURE_STACKS);
	m->guarded = features & FEATURE_GUARDS;
	m->stacks = features & FEATURE_STACKS;
	m->records_end = p->counters.records_used;
	pkg_sample_follow(p, m, open && features & FEATURE_SAMPLED);
	m->head = p->ops->flags & MEM_HEAD8;
	m->shelf.one = CACHED_ONE(m->head);
	m->shelf.up = 15 - m->head;
	for (unsigned i = 0; i < MAGAZINE_STEPS; i++)
		m->in.size_of[i] = (uint8_t)(mem_round(p->ops, 8ull * (i + 1)) / 16), m->learned[i] = false;
	m->in.back = -(m->head ? 8ull : 16ull);
	m->starts = p->starts.bits;
	m->sizes = p->starts.sizes;
	m->in.tag = magazine_tag(p);
	m->in.wanted = (const uint64_t *)(uintptr_t)&p->live->wanted;
	*(volatile bool *)&m->open = open;
	set_kind(m, !open ? MAGAZINE_CLOSED : m->recorded ? MAGAZINE_RECORDED : MAGAZINE_PLAIN);
	__atomic_store_n(&m->in.told->head, (uint32_t)m->head, __ATOMIC_RELAXED); /* numbers for people, as its tops */
	__atomic_store_n(&m->in.told->recorded, m->recorded, __ATOMIC_RELAXED);
	__atomic_store_n(&m->features, features, __ATOMIC_RELAXED); /* read by its owner, or an old one by anybody */
	shelf_open(p, m);
	open_gate(p, m);
}

/* The depot is open to nobody without the lock; threads that have none compare features alone. */
static void adopt_shared(const struct pool *p)
{
	adopt(p, &depot);
	/* relaxed: who reads the old ones comes here, too */
	__atomic_store_n(&mem_pkg_none.features, p->features, __ATOMIC_RELAXED);
}

/*
 * Who follows other features than p's now, and who is interrupted in there, shall look again, even if what it follows
 * is wanted once more by then.
 */
static void call_others(const struct pool *p)
{
	for (struct magazines *m = depot.next; m; m = m->next)
		if (m->owned && GATE(m->features) != p->features) {
			__atomic_store_n(&m->features, UNFOLLOWED, __ATOMIC_RELAXED); /* at its next call, or soon */
			set_word(&m->in.key, 0);
		}
}

/* The calling thread's magazines, and what all have in common. */
static void follow_home(struct pool *p, uint64_t features)
{
	struct magazines *m = mine();

	if (m) {			/* to handlers */
		close_gate(m);
		*(volatile bool *)&m->open = false;
	}
	if (!followed(&depot, features)) {
		empty(p, &depot, true);
		retire_left(p);
	}
	if (m && !followed(m, features))
		empty(p, m, true);
	p->features = features;
	own_follow(p);
	adopt_shared(p);
	if (m)
		adopt(p, m);
	call_others(p);
}

COLD void pkg_magazines_follow(struct pool *p, uint64_t may)
{
	uint64_t wanted;

	enter(p, NULL, 0);
	/* with the lock: whoever comes later has seen no older wish. Relaxed: it is a number */
	wanted = atomic_load_explicit(&p->live->wanted, memory_order_relaxed);
	if (p == p->home)
		follow_home(p, wanted & may);
	else
		p->features = wanted & may;
	atomic_store_explicit(&p->live->features, p->features, memory_order_relaxed);
	/* what cannot be followed is taken back, so that the question is not asked again; not a wish that came
	 * meanwhile */
	atomic_compare_exchange_strong_explicit(&p->live->wanted, &wanted, p->features, memory_order_relaxed,
						memory_order_relaxed);
	leave(p, NULL, 0);
}

/* ---- threads ---- */

/* Of those that are nobody's, rather one that a thread has left filled. */
static struct magazines *any_free(void)
{
	struct magazines *m, *found = NULL;

	for (m = depot.next; m && !(found && found->left); m = m->next)
		if (!m->owned && (!found || m->left))
			found = m;
	if (found)
		return found;
	m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m == MAP_FAILED)
		return NULL;
	/* without it (before 4.14) only fork() is noticed, where the gate is closed anyway */
	(void)madvise(m, META_PAGE, MADV_WIPEONFORK);
	tell(m, &nobody);
	m->in.wanted = &nothing;
	m->next = depot.next;
	depot.next = m;
	return m;
}

static void begin_anew(const struct pool *p, struct magazines *m)
{
	uint64_t share = first_share(p);

	clear(p, m);
	for (unsigned i = 0; i < MAGAZINE_SIZES; i++)
		m->batch[i] = (uint8_t)(BATCH_FIRST / (16 * i + 16));
	m->may_grow = share < MAGAZINES_GROW ? share : MAGAZINES_GROW;
	m->lent = m->shelf.lent = 0;
}

COLD struct magazines *pkg_magazines_claim(struct pool *p)
{
	struct meta_thread *to;
	struct magazines *m;

	enter(p, NULL, 0);
	m = any_free();
	to = !m ? NULL : m->left ? magazine_told(m) : free_line(p);
	if (to) {
		tell(m, to);
		m->owned = true;
		m->trim = trims;
		if (m->left)
			take_over(m);
		else
			begin_anew(p, m);
		adopt(p, m);
	}
	leave(p, NULL, 0);
	return to ? m : NULL;
}

COLD void pkg_magazines_release(struct pool *p, struct magazines *m)
{
	enter(p, NULL, 0);
	close_gate(m);
	p->counters.stamp += magazine_taken(m);
	magazine_told(m)->start = m->in.told->taken;
	if (!leave_to_next(p, m))
		retire(p, m);
	m->owned = false;
	leave(p, NULL, 0);
}

/* ---- without the lock: nobody else is there, or it does not matter ---- */

void pkg_magazines_attach(struct pool *p)
{
	struct magazines *m = mine();

	for (unsigned number = 0; number < THREADS_MAX; number++)
		line_taken[number] = false;
	tell(&mem_pkg_none, &nobody);
	mem_pkg_none.in.wanted = &nothing;
	tell(&depot, line(p, 0));
	clear(p, &depot);
	adopt_shared(p);
	if (!m)
		return;
	tell(m, line(p, 1));
	line_taken[1] = true;
	begin_anew(p, m);
	adopt(p, m);
}

static void forget(struct magazines *m)
{
	for (unsigned i = 0; i < MAGAZINE_SIZES; i++)
		m->in.top[i] = (m->in.top[i] & ~(uint32_t)MAGAZINE_PLACE) | magazine_bottom(i);
	shelf_clear(&m->shelf);
}

bool pkg_magazines_inherit(struct pool *p, bool lost)
{
	struct magazines *own = mem_pkg_self.own;
	bool outside = !mem_pkg_self.inside && magazine_quiet(own);

	beyond = 0;
	pkg_sample_forget();
	for (struct magazines *m = &depot; m; m = m->next) {
		tell(m, &nobody);
		m->in.wanted = &nothing;
		m->lent = m->shelf.lent = m->left = 0;
		close_gate(m);
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
		sum += thread_cached(line(p, i));
	return sum;
}
