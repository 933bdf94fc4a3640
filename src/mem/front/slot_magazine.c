/* SPDX-License-Identifier: BSD-2-Clause */
/* shm: magazines and the manager. Everything here is done with the lock, in transactions. */
#include "mem/front/slot_magazine.h"

enum { DEPOT_SHARE = 16, RESERVE_SHARE = 8 };
enum { REGRETS = 8 };			/* chains of a size that was given away, and wanted again: depth doubles */
#define DEPOT_MOST (4ull << 20)
/*
 * How many a size's first refill brings: neighbours, so that two cache lines of the next slot's fragment, and of its
 * record, are not ours; a pair took 4 times as long in two processes that had one of 64 bytes each. BATCH_NONE: the
 * manager had none of just this size, the next request does not ask.
 */
enum { BATCH_FIRST = 3, BATCH_NONE = 128 };

/* ---- a fragment, a chain ---- */

/* false: the chain leads to what cannot be in it, or would not end. */
static bool sound(const struct pool *p, uint64_t chain)
{
	const struct meta_record *r = &p->records[MAGAZINE_HEAD(chain)];

	return MAGAZINE_HEAD(chain) < COUNTERS(p)->records_used && !(r->address & RECORD_FREE) &&
	       r->owner >> 48 & RECORD_CACHED &&
	       MAGAZINE_COUNT(RECORD_CHAIN(r->time)) == MAGAZINE_COUNT(chain) - 1;
}

/*
 * The newest one goes to the manager, in a transaction; its bytes. A damaged chain is given up: its fragments stay out,
 * and `check` tells. What is left of the chain may be counted in the same transaction.
 */
static uint64_t drop_newest(struct pool *p, uint64_t *chain)
{
	struct mem_heap *h = &p->heap;
	struct meta_record *r = &p->records[MAGAZINE_HEAD(*chain)];
	uint64_t bytes;

	if (UNLIKELY(!sound(p, *chain))) {
		HEAP_SET(h, *chain, 0);
		return 0;
	}
	bytes = RECORD_USABLE(r->sizes);
	HEAP_SET(h, *chain, RECORD_CHAIN(r->time));
	fragment_drop(p, r, RECORD_FREED_AT(r->time));
	return bytes;
}

/* Returns the bytes that the manager got. */
static uint64_t empty(struct pool *p, uint64_t *chain)
{
	uint64_t bytes = 0;

	while (MAGAZINE_COUNT(*chain)) {
		bytes += drop_newest(p, chain);
		HEAP_COMMIT(&p->heap);
	}
	return bytes;
}

static uint64_t bytes_in(const struct pool *p, uint64_t class, uint64_t word)
{
	return MAGAZINE_COUNT(word) * class_usable(p, class);
}

static uint64_t cached_in(const struct pool *p, uint64_t class, uint64_t word)
{
	return CACHED(MAGAZINE_COUNT(word), bytes_in(p, class, word));
}

/* What the depot has is told exactly at each commit: first, since a manager's free may commit in between. */
static void empty_place(struct pool *p, uint64_t class, uint64_t *chain)
{
	struct mem_heap *h = &p->heap;
	uint64_t rest;

	while (MAGAZINE_COUNT(*chain)) {
		rest = sound(p, *chain) ? RECORD_CHAIN(p->records[MAGAZINE_HEAD(*chain)].time) : 0;
		HEAP_SET(h, p->live->cached, p->live->cached - cached_in(p, class, *chain) + cached_in(p, class, rest));
		drop_newest(p, chain);
		HEAP_COMMIT(h);
	}
}

static bool empty_depot(struct pool *p)
{
	struct mem_heap *h = &p->heap;
	struct meta_depot *d = pool_depot(p);

	if (!p->live->cached)
		return false;
	for (unsigned class = 0; class < MAGAZINE_CLASSES; class ++)
		for (unsigned k = 0; k < DEPOT_DEEP; k++)
			empty_place(p, class, &d->of[class][k]);
	if (UNLIKELY(p->live->cached)) { /* somebody's wild store */
		HEAP_SET(h, p->live->cached, 0);
		HEAP_COMMIT(h);
	}
	return true;
}

static bool empty_own(struct pool *p, struct owner *o)
{
	uint64_t bytes = 0;

	for (unsigned class = 0; class < MAGAZINE_CLASSES; class ++) {
		bytes += empty(p, &o->magazines->of[class][0]);
		bytes += empty(p, &o->magazines->of[class][1]);
		o->batch[class] = o->seen[class] = 0;
	}
	o->cached = 0;
	o->used = false;
	return bytes != 0;
}

/* ---- a slot's pairs ---- */

/* What is in a size's pair is counted when it is looked at: takes and puts do not count. Of the owner. */
static void look(const struct pool *p, struct owner *o, uint64_t class)
{
	const uint64_t *pair = o->magazines->of[class];
	uint64_t count = MAGAZINE_COUNT(pair[0]) + MAGAZINE_COUNT(pair[1]);

	o->cached += (count - o->seen[class]) * class_usable(p, class);
	o->seen[class] = (uint8_t)count;
}

/* Bytes that a slot may have. */
static uint64_t slot_most(const struct pool *p)
{
	return p->id->size / SLOT_SHARE < SLOT_CACHED_MOST ? p->id->size / SLOT_SHARE : SLOT_CACHED_MOST;
}

static uint64_t depth_of(const struct pool *p, const struct owner *o, uint64_t class)
{
	uint64_t most = CHAIN_MOST / class_usable(p, class);

	return most < o->depth ? most : o->depth;
}

/* `chain` with as much room as it should have now. */
static uint64_t with_room(uint64_t chain, uint64_t depth)
{
	uint64_t count = MAGAZINE_COUNT(chain);

	return MAGAZINE_WORD(count, count < depth ? depth - count : 0, MAGAZINE_HEAD(chain));
}

/* The chain in use becomes `now`, and the one beside it `beside`. */
static void set_pair(struct pool *p, struct owner *o, uint64_t class, uint64_t now, uint64_t beside)
{
	uint64_t over = class_usable(p, class) - 16;

	HEAP_SET(&p->heap, *chain_of(o->magazines, over), with_room(now, depth_of(p, o, class)));
	HEAP_SET(&p->heap, *chain_beside(o->magazines, over), beside);
}

/*
 * One of them is empty: into its place goes the other one, then that is empty. What is asked of us, and what the lock
 * tells, waits until there is nothing to turn.
 */
bool slot_turn(const struct pool *p, struct owner *o, uint64_t over)
{
	struct meta_magazines *m = o->magazines;
	uint64_t class = over / 16, *now, *beside, was, other;

	if (m->op || o->waited || o->trim != atomic_load_explicit(&p->live->trim, memory_order_relaxed) ||
	    class >= MAGAZINE_CLASSES)
		return false;
	SLOT_STORE(m->op, OP_BEGIN);	/* a signal handler's calls keep out */
	now = chain_of(m, over);
	beside = chain_beside(m, over);
	was = *now;
	other = *beside;
	look(p, o, class);
	if (!MAGAZINE_COUNT(was) && MAGAZINE_COUNT(other)) {
		SLOT_STORE(*now, with_room(other, depth_of(p, o, class)));
		SLOT_STORE(*beside, 0);
		SLOT_STORE(m->op, OP_NONE);
		return true;
	}
	if (MAGAZINE_COUNT(was) >= depth_of(p, o, class) && !MAGAZINE_COUNT(other) && o->cached <= slot_most(p)) {
		SLOT_STORE(*beside, was);
		SLOT_STORE(*now, with_room(0, depth_of(p, o, class)));
		SLOT_STORE(m->op, OP_NONE);
		return true;
	}
	SLOT_STORE(m->op, OP_NONE);
	return false;
}

/* ---- the depot ---- */

static bool from_depot(struct pool *p, struct owner *o, uint64_t class)
{
	struct mem_heap *h = &p->heap;
	uint64_t *place = pool_depot(p)->of[class];

	if (!p->live->cached)
		return false;
	for (unsigned k = 0; k < DEPOT_DEEP; k++) {
		if (!MAGAZINE_COUNT(place[k]))
			continue;
		HEAP_SET(h, p->live->cached, p->live->cached - cached_in(p, class, place[k]));
		set_pair(p, o, class, place[k], 0);
		HEAP_SET(h, place[k], 0);
		HEAP_COMMIT(h);
		return true;
	}
	return false;
}

static bool to_depot(struct pool *p, uint64_t class, uint64_t *chain)
{
	struct mem_heap *h = &p->heap;
	uint64_t *place = pool_depot(p)->of[class], bytes = bytes_in(p, class, *chain);
	uint64_t most = p->id->size / DEPOT_SHARE < DEPOT_MOST ? p->id->size / DEPOT_SHARE : DEPOT_MOST;

	for (unsigned k = 0; k < DEPOT_DEEP && CACHED_BYTES(p->live->cached) + bytes <= most; k++) {
		if (MAGAZINE_COUNT(place[k]))
			continue;
		HEAP_SET(h, p->live->cached, p->live->cached + cached_in(p, class, *chain));
		HEAP_SET(h, place[k], *chain);
		HEAP_SET(h, *chain, 0);
		HEAP_COMMIT(h);
		return true;
	}
	return false;
}

/* ---- what calls ask for ---- */

static void deepen(struct owner *o)
{
	if (o->depth < MAGAZINE_MOST)
		o->depth *= 2;
	o->regrets = 0;
}

/*
 * Who waits for the lock shall need it more rarely. Others without memory, or closed magazines: what is inside goes
 * back, and false.
 */
static bool follow(struct pool *p, struct owner *o)
{
	uint64_t trim = atomic_load_explicit(&p->live->trim, memory_order_relaxed);

	if (o->waited)
		deepen(o);
	o->waited = false;
	if (LIKELY(o->trim == trim) && LIKELY(p->magazine_most))
		return o->used = true;
	if (o->trim == trim && !o->used)
		return false;
	o->trim = trim;
	empty_own(p, o);
	return false;
}

/* Rather others' requests than our reserve, where little is left. */
static bool plenty(const struct pool *p)
{
	const struct meta_counters *c = COUNTERS(p);

	return c->tally.free_bytes + p->id->size - c->committed >= p->id->size / RESERVE_SHARE &&
	       (c->records_free || c->records_used < p->live->records_committed);
}

/* A fragment of the manager's gets a record, as what waits. In the transaction that made it. */
static struct meta_record *record_cached(const struct front_call *call, void *ptr, uint64_t usable)
{
	struct meta_record *r;

	count_in(call->p, usable);
	record_put(call, ptr, usable, usable - TAIL_BYTES, 0);
	r = &call->p->records[(uint32_t)*tail_of(ptr, usable)];
	r->owner |= (uint64_t)RECORD_CACHED << 48;	/* not logged: a record that is free again has none of these */
	return r;
}

/*
 * Of another size than was wanted: back to the manager, whose free is a transaction of its own, since a log has room
 * for the stores of one call. kill: in between `op` names it.
 */
static void return_one(const struct front_call *call, void *ptr, uint64_t usable)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	struct meta_record *r = record_cached(call, ptr, usable);

	HEAP_SET(h, call->o->magazines->op, OP(OP_ALLOC, r - p->records));
	HEAP_COMMIT(h);
	HEAP_SET(h, call->o->magazines->op, OP_BEGIN);	/* first: a manager's free may commit */
	fragment_drop(p, r, 0);
	HEAP_COMMIT(h);
}

/* One more from the manager, which does not count as handed out. false: there is none of just this size. */
static bool refill_one(const struct front_call *call, uint64_t need, uint64_t usable, uint64_t *chain, uint64_t depth)
{
	struct pool *p = call->p;
	struct mem_heap *h = &p->heap;
	void *ptr = p->ops->alloc(h, 16, need);
	struct meta_record *r;

	if (!ptr)
		return false;
	if (p->ops->usable(h, ptr) != usable) {
		return_one(call, ptr, p->ops->usable(h, ptr));
		return false;
	}
	r = record_cached(call, ptr, usable);
	r->time = with_room(*chain, depth) << 16;
	HEAP_SET(h, *chain,
		 with_room(MAGAZINE_WORD(MAGAZINE_COUNT(*chain) + 1, 0, (uint64_t)(r - p->records)), depth));
	HEAP_COMMIT(h);
	return true;
}

static void refill_from_manager(const struct front_call *call, uint64_t class, uint64_t need)
{
	struct pool *p = call->p;
	struct owner *o = call->o;
	uint64_t usable = class_usable(p, class), depth = depth_of(p, o, class), bytes = o->cached;
	uint64_t *chain = chain_of(o->magazines, usable - 16);
	uint64_t n = o->batch[class] ? o->batch[class] % BATCH_NONE : BATCH_FIRST;

	o->batch[class] = (uint8_t)(n ? (2 * n < depth ? 2 * n : depth) : 1);
	for (; n-- && bytes < slot_most(p) && plenty(p); bytes += usable)
		if (!refill_one(call, need, usable, chain, depth)) {
			o->batch[class] = BATCH_NONE;
			break;
		}
}

/* What waits beside, or in the depot, takes the place of the empty chain. */
static bool find(struct pool *p, struct owner *o, uint64_t class)
{
	uint64_t over = class_usable(p, class) - 16;
	uint64_t now = *chain_of(o->magazines, over), beside = *chain_beside(o->magazines, over);
	bool found;

	if (MAGAZINE_COUNT(now))
		return true;
	if (MAGAZINE_COUNT(beside)) {
		set_pair(p, o, class, beside, now);
		HEAP_COMMIT(&p->heap);
		return true;
	}
	if (o->gave >> class & 1 && ++o->regrets == REGRETS)
		deepen(o);
	o->gave &= ~(1ull << class);
	look(p, o, class);
	found = from_depot(p, o, class);
	look(p, o, class);
	return found;
}

bool slot_find(const struct front_call *call, size_t size)
{
	struct pool *p = call->p;
	struct owner *o = call->o;
	bool found;

	if (call->flags & FRONT_HELD || o->magazines->op)
		return false;
	SLOT_STORE(o->magazines->op, OP_BEGIN); /* a signal handler's calls keep out */
	pool_reaches(p);
	o->stamp = (uint32_t)COUNTERS(p)->stamp;
	found = follow(p, o) && size - 1 < p->magazine_most && find(p, o, class_for(p, size));
	SLOT_STORE(o->magazines->op, OP_NONE);
	return found;
}

void slot_refill(const struct front_call *call, size_t size, uint64_t need)
{
	struct pool *p = call->p;
	struct owner *o = call->o;
	uint64_t class = class_for(p, size);

	if (call->flags & FRONT_HELD || o->magazines->op || size - 1 >= p->magazine_most)
		return;
	SLOT_STORE(o->magazines->op, OP_BEGIN);
	if (!MAGAZINE_COUNT(*chain_of(o->magazines, class_usable(p, class) - 16))) {
		refill_from_manager(call, class, need);
		look(p, o, class);
	}
	SLOT_STORE(o->magazines->op, OP_NONE);
}

static bool unload(struct pool *p, struct owner *o, uint64_t class)
{
	uint64_t over = class_usable(p, class) - 16, *chain = chain_of(o->magazines, over);
	uint64_t *beside = chain_beside(o->magazines, over);

	look(p, o, class);
	if (o->cached > slot_most(p)) {
		empty(p, chain);
		empty(p, beside);
	} else if (MAGAZINE_COUNT(*chain) >= depth_of(p, o, class)) {
		if (MAGAZINE_COUNT(*beside)) {
			o->gave |= 1ull << class;
			if (!to_depot(p, class, beside))
				empty(p, beside);
		}
		set_pair(p, o, class, *beside, *chain);
	} else { /* not used yet, or depths have changed */
		HEAP_SET(&p->heap, *chain, with_room(*chain, depth_of(p, o, class)));
	}
	HEAP_COMMIT(&p->heap);
	look(p, o, class);
	return MAGAZINE_ROOM(*chain);
}

bool slot_unload(const struct front_call *call, uint64_t usable)
{
	struct pool *p = call->p;
	struct owner *o = call->o;
	bool room;

	if (call->flags & FRONT_HELD || o->magazines->op)
		return false;
	SLOT_STORE(o->magazines->op, OP_BEGIN);
	pool_reaches(p);
	room = follow(p, o) && usable <= CACHED_MOST && usable / 16 && usable == class_usable(p, usable / 16 - 1) &&
	       unload(p, o, usable / 16 - 1);
	SLOT_STORE(o->magazines->op, OP_NONE);
	return room;
}

bool slot_give_back(const struct front_call *call)
{
	struct pool *p = call->p;
	struct owner *o = call->o;
	bool any;

	if (o->magazines->op)
		return false;
	SLOT_STORE(o->magazines->op, OP_BEGIN);
	o->trim = atomic_fetch_add_explicit(&p->live->trim, 1, memory_order_relaxed) + 1;
	any = empty_own(p, o);
	any |= empty_depot(p);
	SLOT_STORE(o->magazines->op, OP_NONE);
	return any;
}

void shm_front_trim(const struct front_call *call)
{
	enter(call->p, call->o, 0);
	slot_give_back(call);
	leave(call->p, call->o, 0);
}

/* ---- a free of what is another slot's ---- */

/*
 * It may be claimed just now by who buries its owner, with the lock (shm_front_reclaim): whose exchange of the owner's
 * word comes first has it.
 */
static bool put_other(const struct pool *p, struct owner *o, uint64_t index, uint64_t over, uint32_t site)
{
	struct meta_magazines *m = o->magazines;
	struct meta_record *r = &p->records[index];
	uint64_t was = *(const volatile uint64_t *)&r->owner, word, *of = chain_of(m, over);

	if (was >> 48)
		return false;
	SLOT_STORE(m->op, OP(OP_FREE, index));
	word = *of;
	if (LIKELY(word & MAGAZINE_ROOMS) &&
	    LIKELY(__atomic_compare_exchange_n(&r->owner, &was,
					       (uint32_t)was | (uint64_t)slot_half(RECORD_CACHED, o->number) << 32,
					       false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))) {
		slot_push(m, r, index, of, word, site);
		return true;
	}
	SLOT_STORE(m->op, OP_NONE);
	return false;
}

bool slot_put(const struct pool *p, struct owner *o, const void *ptr, uint64_t over, uint32_t site)
{
	uint64_t index;

	if (o->magazines->op)
		return false;
	index = record_of(p, ptr, over);
	if (index >= p->records_max)
		return false;
	return UPPER(p->records[index].owner) == slot_half(0, o->number) ? slot_put_own(p, o, ptr, over, site)
									 : put_other(p, o, index, over, site);
}

/* ---- after the owner ---- */

/* Of a free that had not yet made the record its own, somebody else may have it by now. */
static bool under_way(uint64_t op, const struct meta_record *r, uint32_t number)
{
	return OP_KIND(op) == OP_ALLOC ||
	       (OP_KIND(op) == OP_FREE && r->owner >> 32 == (number | (uint64_t)RECORD_CACHED << 16));
}

static bool newest_of(uint64_t chain, uint32_t index) { return MAGAZINE_COUNT(chain) && MAGAZINE_HEAD(chain) == index; }

/* The one fragment that may be on its way: in no chain, it is freed. */
static void finish(struct pool *p, struct meta_magazines *m, uint32_t number)
{
	static const uint64_t none[MAGAZINE_PAIR];	/* of a size that no magazine has: return_one() */
	struct mem_heap *h = &p->heap;
	uint32_t index = OP_RECORD(m->op);
	struct meta_record *r = &p->records[index];
	uint64_t op = m->op, class, chain;
	const uint64_t *pair;

	/* first: a manager's free may commit, and from then on the record may be a living one's */
	HEAP_SET(h, m->op, OP_NONE);
	if (index < COUNTERS(p)->records_used && under_way(op, r, number) && !(r->address & RECORD_FREE)) {
		class = RECORD_USABLE(r->sizes) / 16 - 1;
		pair = class < MAGAZINE_CLASSES ? m->of[class] : none;
		chain = RECORD_CHAIN(r->time);		/* if that is what it still has, or has already */
		if (!newest_of(pair[0], index) && !newest_of(pair[1], index))
			fragment_drop(p, r,
				      pair != none && (chain == pair[0] || chain == pair[1]) ? RECORD_FREED_AT(r->time)
											     : 0);
	}
	HEAP_COMMIT(h);
}

/* Killed while the pair changed places, both are one chain, which is emptied once. */
static void empty_of(struct pool *p, uint64_t pair[MAGAZINE_PAIR], uint64_t *chain)
{
	if (magazines_turning(pair)) {
		HEAP_SET(&p->heap, pair[1], 0);
		HEAP_COMMIT(&p->heap);
	}
	empty(p, chain);
}

void shm_front_settle(struct pool *p, struct owner *o, uint32_t number)
{
	struct meta_slot *s = pool_slot(p, number);
	struct meta_magazines *m = slot_magazines(p, number);
	uint64_t state = atomic_load_explicit(&s->state, memory_order_acquire);
	/* given on since the caller looked: a living one's magazines, which it uses without the lock */
	bool still = s == o->slot || SLOT_STATE(state) == SLOT_LEFT || SLOT_STATE(state) == SLOT_DEAD;

	for (unsigned class = 0; still && class <= MAGAZINE_CLASSES; class ++) {
		enter(p, o, 0);
		for (unsigned x = 0; x < MAGAZINE_PAIR; x++) {
			uint64_t *word = class ? &m->of[class - 1][x] : &m->op;
			bool full = class ? MAGAZINE_COUNT(*word) : *word;

			/* what is in there is the dead one's as long as its slot has not been given on, which nobody
			 * does before all is empty */
			still = atomic_load_explicit(&s->state, memory_order_acquire) == state;
			if (!still || !full)
				continue;
			if (class)
				empty_of(p, m->of[class - 1], word);
			else
				finish(p, m, number);
		}
		leave(p, o, 0);
	}
	if (o->number == number) {
		o->cached = 0;
		memset(o->seen, 0, sizeof o->seen);
	}
}
