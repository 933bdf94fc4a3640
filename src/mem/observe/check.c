/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is a heap what its counters and its ledger say?
 *
 *	walk		sizes and numbers of fragments against the counters
 *	manager		the invariants of its algorithm
 *	ledger		one record a marked fragment: numbers, bytes, and a sum of {index, address, size} of each
 *			side; only when the sums differ each fragment's record is looked up, to say which
 *
 * Where the manager has memory of its own there is no walk: the ledger against its counters, and for each record that
 * the fragment's last bytes name it.
 *
 * A pass counts only if the heap did not change meanwhile; errors only if a second pass of the same heap finds errors
 * again. Nothing is written, no lock is taken. A heap that never stands still for a whole pass is walked in batches,
 * each of them true (walk.c), and the number of fragments must come out but for the calls that were made meanwhile.
 *
 * Of a sharded pool each shard is checked by itself, one after the other.
 *
 * Cost: two walks of the heap and one of the ledger, 0.15 s a million fragments, more where free ones are scattered.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mem/observe/peek.h"

enum { ERRORS_MAX = 64, PASSES = 20, PASS_SLICE = 4096, STEPS = 256, WALKS = 3, WALK_TRIES = 200, CALLS_OPEN = 16 };
#define PASSES_NS 2000000000ull		/* no new pass after that */
#define PASS_NS 10000000000ull		/* longest pass: a hostile ledger may claim any length */
enum { LINKS_MAX = 1 << 22 };		/* 16 MiB */
#define LINK_USED UINT32_MAX
#define MOVED 1				/* of a pass: the heap changed */

struct pass {
	struct obs_pool *pool;
	uint64_t deadline;
	unsigned steps;			/* since obs->meanwhile was called */
	struct peek_heap h;
	struct obs_totals walked, counted;
	uint64_t marked, marked_sum;	/* fragments that have a record */
	uint64_t records, records_bytes, records_sum;
	bool ledger_wrong;
	bool detail;			/* look up each fragment's record */
	unsigned errors;
	struct { uint64_t address; const char *what; } error[ERRORS_MAX];
	struct peek_near near;
	uint64_t links;			/* records whose place in the list of free ones is in `link` */
	uint32_t *link;
};

static void wrong(struct pass *c, uint64_t address, const char *what)
{
	if (c->errors < ERRORS_MAX) {
		c->error[c->errors].address = address;
		c->error[c->errors].what = what;
	}
	c->errors++;
}

/* After each small step. */
static void meanwhile(struct pass *c)
{
	if (++c->steps < STEPS || !c->pool->o->meanwhile)
		return;
	c->steps = 0;
	c->pool->o->meanwhile();
}

/** Of one record; sums of it are equal when the sets are, and hardly ever else. */
static uint64_t sum_of(uint64_t index, uint64_t address, uint64_t size)
{
	uint64_t x =
		(index + 1) * 0x9e3779b97f4a7c15ull ^ address * 0xd1342543de82ef95ull ^ size * 0xaf251af3b0f025b5ull;

	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ull;
	return x ^ x >> 29;
}

static void record_look_up(struct pass *c, uint64_t index, const struct mem_frag *f)
{
	struct meta_record r;

	if (peek_record_near(c->pool, &c->h.moment, &c->near, index, &r)) {
		wrong(c, (uintptr_t)f->addr, "its record is beyond the ledger");
		return;
	}
	if (r.address != (uintptr_t)f->addr)
		wrong(c, (uintptr_t)f->addr, "its record belongs to another fragment");
	else if (RECORD_USABLE(r.sizes) != f->size)
		wrong(c, (uintptr_t)f->addr, "its record has another size");
}

/** A private heap may have been inherited: tails of the parent's generation name records that are the parent's. */
static bool tail_ok(struct pass *c, const struct mem_frag *f, uint64_t *ret_tail)
{
	uint64_t at = (uintptr_t)f->addr;

	return f->size >= TAIL_BYTES && peek_heap_word(&c->h, at + f->size - TAIL_BYTES, ret_tail) &&
	       *ret_tail >> 32 == (uint32_t)c->pool->id.generation && (uint32_t)*ret_tail < c->pool->id.records_max;
}

static void marked(struct pass *c, const struct mem_frag *f)
{
	uint64_t at = (uintptr_t)f->addr, tail;

	if (!tail_ok(c, f, &tail)) {
		if (c->pool->key.domain == OBS_SHM || c->detail)
			wrong(c, at, "its last bytes are overwritten: no record is named there");
		return;
	}
	c->marked++;
	c->marked_sum += sum_of((uint32_t)tail, at, f->size / 8);
	if (c->detail)
		record_look_up(c, (uint32_t)tail, f);
}

static void count_in(struct obs_totals *t, uint64_t size, bool used)
{
	if (used) {
		t->used += size;
		t->fragments++;
		return;
	}
	t->free += size;
	t->free_fragments++;
	t->largest_free = size > t->largest_free ? size : t->largest_free;
}

static bool see(const struct mem_frag *f, void *arg)
{
	struct pass *c = arg;

	meanwhile(c);
	count_in(&c->walked, f->size, f->used);
	if (f->used && (f->marked || c->pool->key.domain == OBS_SHM))
		marked(c, f);
	return true;
}

static void fault(const struct mem_fault *f, void *arg) { wrong(arg, (uintptr_t)f->at, f->what); }

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/** 0; MOVED: it is no use to go on; or -ETIME. */
static int go_on(struct pass *c)
{
	return now_ns() > c->deadline ? -ETIME : peek_heap_same(c->pool, &c->h) ? 0 : MOVED;
}

static int walk_all(struct pass *c)
{
	uint64_t at = 0;
	int e;

	do {
		e = go_on(c);
		if (e)
			return e;
		at = c->h.ops->walk(&c->h.heap, at, PASS_SLICE, see, c);
		if (at == MEM_WALK_FAULT)
			wrong(c, 0, "the walk does not come through");
		if (c->walked.fragments + c->walked.free_fragments > c->h.heap.len / 16) {
			wrong(c, 0, "more fragments than the pool has room for");
			break;
		}
	} while (at && at != MEM_WALK_FAULT);
	return 0;
}

/* The manager has memory of its own. */
static bool keeps_own(const struct obs_pool *p) { return !p->id.size; }

/** The fragment that a record tells of names it in its last bytes, or somebody wrote beyond his own. */
static int own_tail(struct pass *c, uint64_t index, const struct obs_fragment *f)
{
	uint64_t tail;
	ssize_t n =
		f->size < TAIL_BYTES ? 0 : peek_bytes(c->pool, f->address + f->size - TAIL_BYTES, &tail, sizeof tail);

	if (n < 0 && n != -EFAULT)
		return (int)n;
	if (n != (ssize_t)sizeof tail)
		wrong(c, f->address, "a record of something that is not there");
	else if (tail != ((uint64_t)(uint32_t)c->pool->id.generation << 32 | (uint32_t)index))
		wrong(c, f->address, "its last bytes are overwritten: no record is named there");
	return 0;
}

static void link_note(struct pass *c, uint64_t index, const struct meta_record *r)
{
	if (index < c->links && (r->address & RECORD_FREE))
		c->link[index] = r->sizes < LINK_USED ? (uint32_t)r->sizes : UINT32_MAX - 1;
}

static int records_all(struct pass *c)
{
	struct peek_present present;
	struct obs_fragment f;
	const struct meta_record *r;
	struct meta_live live;
	uint64_t end, n;
	int e = peek_live(c->pool, &live);

	if (e)
		return e;
	live.counters = c->h.counters;
	present = peek_present(live.counters.stamp);
	end = peek_records_end(c->pool, &live);
	if (end < c->h.counters.records_used)
		wrong(c, 0, "the ledger ends before its last record");
	for (uint64_t at = 0; at < end; at += n) {
		n = end - at < PEEK_CHUNK ? end - at : PEEK_CHUNK;
		e = go_on(c);
		if (!e)
			e = peek_records(c->pool, at, n, &r);
		if (e)
			return e;
		for (uint64_t i = 0; i < n; i++) {
			meanwhile(c);
			if (!r[i].address || (r[i].address & RECORD_FREE)) {
				link_note(c, at + i, &r[i]);
				continue;
			}
			if (!peek_record_tells(c->pool, at + i, &r[i], &present, &f)) {
				wrong(c, r[i].address, "a record of something that is not in the pool");
				continue;
			}
			if (keeps_own(c->pool) && (e = own_tail(c, at + i, &f)))
				return e;
			c->records++;
			c->records_bytes += f.size;
			c->records_sum += sum_of(at + i, f.address, f.size / 8);
		}
	}
	return 0;
}

/** The next one, + 1, of a free record; 0: the last. LINK_USED: it is none. 0 or -errno. */
static int link_of(struct pass *c, uint64_t index, uint64_t *ret_next)
{
	struct meta_record r;
	int e;

	if (index < c->links) {
		*ret_next = c->link[index];
		return 0;
	}
	e = peek_record_near(c->pool, &c->h.moment, &c->near, index, &r);
	*ret_next = e || !(r.address & RECORD_FREE) ? LINK_USED : r.sizes;
	return e;
}

/** Free records are linked by index + 1 in `sizes`; each is in the list once. */
static int free_list(struct pass *c)
{
	const struct meta_counters *k = &c->h.counters;
	uint64_t next = k->records_free, free = 0, from;
	int e;

	for (; next && next <= k->records_used && free <= k->records_used; free++) {
		if (free % PEEK_CHUNK == 0 && (e = go_on(c)))
			return e;
		meanwhile(c);
		from = next - 1;
		e = link_of(c, from, &next);
		if (e)
			return e;
		if (next == LINK_USED) {
			wrong(c, 0, "a record in use is in the list of free ones");
			return 0;
		}
	}
	if (next)
		wrong(c, 0, "the list of free records does not end");
	else if (free + c->records != k->records_used)
		wrong(c, 0, "records are neither in use nor in the list of free ones");
	return 0;
}

/**
 * Who lies where in the list of free records says nothing about where it lies in the ledger: links are noted while the
 * ledger is read in its order, as many as there is room for, and followed afterwards.
 */
static int ledger(struct pass *c)
{
	uint64_t want = c->h.counters.records_used;
	int e;

	c->links = want < LINKS_MAX ? want : LINKS_MAX;
	c->link = malloc(c->links * sizeof *c->link + 1);
	if (!c->link)
		c->links = 0;
	for (uint64_t i = 0; i < c->links; i++)
		c->link[i] = LINK_USED;
	e = records_all(c);
	if (!e)
		e = free_list(c);
	free(c->link);
	c->link = NULL;
	return e;
}

static void compare_heap(struct pass *c)
{
	const struct meta_counters *k = &c->h.counters;

	c->counted = (struct obs_totals){ .used = k->used, .free = k->tally.free_bytes, .fragments = k->fragments,
					  .free_fragments = k->tally.free_fragments, .largest_free = OBS_UNKNOWN };
	if (c->h.ops->largest)
		c->counted.largest_free = c->h.ops->largest(&c->h.heap);
	if (c->walked.used != k->used)
		wrong(c, 0, "used bytes differ between walk and counters");
	if (c->walked.fragments != k->fragments)
		wrong(c, 0, "used fragments differ between walk and counters");
	if (c->walked.free != k->tally.free_bytes)
		wrong(c, 0, "free bytes differ between walk and counters");
	if (c->walked.free_fragments != k->tally.free_fragments)
		wrong(c, 0, "free fragments differ between walk and counters");
	if (c->counted.largest_free != OBS_UNKNOWN && c->counted.largest_free > c->walked.largest_free)
		wrong(c, 0, "the manager has a larger free fragment than the walk");
}

static void compare_ledger(struct pass *c)
{
	const struct meta_counters *k = &c->h.counters;

	bool all = c->pool->key.domain == OBS_SHM; /* each fragment has one, and the counters are those of the heap */

	if (c->records != (all ? k->fragments : k->recorded))
		wrong(c, 0, "records in use differ from their counter");
	if (c->records_bytes != (all ? k->used : k->recorded_bytes))
		wrong(c, 0, "bytes of records differ from their counter");
	if (c->marked != c->records)
		wrong(c, 0, "fragments with a record and records in use differ in number");
	else if (c->marked_sum != c->records_sum)
		wrong(c, 0, "fragments and records do not belong together");
	c->ledger_wrong = c->marked != c->records || c->marked_sum != c->records_sum;
}

/* ---- memory of the manager's own ---- */

/** The counters and their moment, as peek_heap() gives them of a heap that can be walked. */
static int own_heap(struct pass *c)
{
	const uint64_t at = META_LIVE + offsetof(struct meta_live, counters);
	int e;

	c->h = (struct peek_heap){ 0 };
	e = peek_moment(c->pool, &c->h.moment);
	if (e)
		return e;
	if (c->h.moment.open)
		return -EAGAIN;
	return peek_meta(c->pool, at, &c->h.counters, sizeof c->h.counters);
}

/** What cannot be walked is counted by its records; the rest has none, and the counters tell how much. */
static void compare_own(struct pass *c)
{
	const struct meta_counters *k = &c->h.counters;

	c->walked = (struct obs_totals){ .used = c->records_bytes, .fragments = c->records, .free = OBS_UNKNOWN,
					 .free_fragments = OBS_UNKNOWN, .largest_free = OBS_UNKNOWN };
	c->counted = (struct obs_totals){ .used = k->used, .fragments = k->fragments, .free = OBS_UNKNOWN,
					  .free_fragments = OBS_UNKNOWN, .largest_free = OBS_UNKNOWN };
	if (c->records != k->recorded)
		wrong(c, 0, "records in use differ from their counter");
	if (c->records_bytes != k->recorded_bytes)
		wrong(c, 0, "bytes of records differ from their counter");
}

static int own_pass(struct pass *c)
{
	int e = own_heap(c);

	if (e == -EAGAIN)
		return MOVED;
	if (e)
		return e;
	if (peek_impossible(c->pool, &c->h.counters)) {
		wrong(c, 0, peek_impossible(c->pool, &c->h.counters));
	} else {
		e = ledger(c);
		compare_own(c);
	}
	return e ? e : peek_heap_same(c->pool, &c->h) ? 0 : MOVED;
}

/** 0, MOVED, or -errno. */
static int pass(struct pass *c)
{
	uint32_t holder;
	int e;

	if (keeps_own(c->pool))
		return own_pass(c);
	e = peek_heap(c->pool, &c->h);

	if (e == -EAGAIN)
		return MOVED;
	if (e && e != -EUCLEAN)
		return e;
	if (e) {
		wrong(c, 0, peek_impossible(c->pool, &c->h.counters) ? peek_impossible(c->pool, &c->h.counters) :
			    "counters are impossible: nothing is committed");
		e = 0;
	} else {
		e = walk_all(c);
		if (!e) {
			c->h.ops->check(&c->h.heap, fault, c);
			compare_heap(c);
			e = ledger(c);
		}
		compare_ledger(c);
	}
	holder = c->pool->key.domain == OBS_SHM ? LOCK_SLOT(c->h.moment.lock) : 0;
	if (holder > SLOTS_MAX)
		wrong(c, 0, "the lock word names no slot");
	if (!e)
		e = peek_heap_error(&c->h);
	if (e && e != -EFAULT)		/* a page that is not there is damage; this is another thing */
		return e;
	return peek_heap_same(c->pool, &c->h) ? 0 : MOVED;
}

/** A pass of a heap that stood still; with errors, a second one of the same state that found errors too. */
static int check(struct pass *c)
{
	struct obs_pool *p = c->pool;
	uint64_t end = now_ns() + PASSES_NS, lock;
	bool ledger_wrong;
	int e = MOVED;

	for (unsigned i = 0; e == MOVED && i < PASSES && (i == 0 || now_ns() < end); i++) {
		*c = (struct pass){ .pool = p, .deadline = now_ns() + PASS_NS };
		e = pass(c);
		if (e || !c->errors)
			continue;
		lock = c->h.moment.lock;
		ledger_wrong = c->ledger_wrong;
		*c = (struct pass){ .pool = p, .deadline = now_ns() + PASS_NS, .detail = ledger_wrong };
		e = pass(c);
		if (!e && c->h.moment.lock != lock)
			e = MOVED;
	}
	return e;
}

/* ---- a heap that does not stand still ---- */

static bool see_told(const struct obs_fragment *f, void *arg)
{
	struct pass *c = arg;

	meanwhile(c);
	count_in(&c->walked, f->size, f->state != OBS_FREE);
	return true;
}

/** 0, MOVED, or -errno. */
static int walk_moving(struct pass *c)
{
	uint64_t at = 0, max;
	unsigned tries = 0;
	int e;

	c->walked = (struct obs_totals){ 0 };
	do {
		max = PASS_SLICE;
		e = peek_walk(c->pool, &at, &max, see_told, c);
		if (now_ns() > c->deadline)
			return -ETIME;
		if (e == -EAGAIN && ++tries < WALK_TRIES)
			continue;
		if (e)
			return e == -EAGAIN ? MOVED : e;
	} while (at || e);
	return 0;
}

/** More or fewer fragments than the calls between the two counts can explain, and those that were open then. */
static bool adrift(const struct pass *c, const struct meta_counters *before, const struct meta_counters *after)
{
	uint64_t allocs = after->stamp - before->stamp, frees = allocs - (after->fragments - before->fragments);
	int64_t apart = (int64_t)(c->walked.fragments - after->fragments);

	return (uint64_t)(apart < 0 ? -apart : apart) > allocs + frees + CALLS_OPEN;
}

/** A walk between two looks at the counters. 0, MOVED, or -errno. */
static int walk_between(struct pass *c, struct meta_counters *ret_before, struct meta_counters *ret_after)
{
	const uint64_t at = META_LIVE + offsetof(struct meta_live, counters);
	int e = peek_whole(c->pool, at, ret_before, sizeof *ret_before);

	if (e >= 0)			/* a copy of two states is a call or two off: CALLS_OPEN */
		e = walk_moving(c);
	if (e)
		return e;
	e = peek_whole(c->pool, at, ret_after, sizeof *ret_after);
	return e < 0 ? e : 0;
}

static int check_moving(struct obs_pool *p, struct pass *c)
{
	struct meta_counters before, after;
	bool wild = true;
	int e = 0;

	*c = (struct pass){ .pool = p, .deadline = now_ns() + PASS_NS };
	for (unsigned i = 0; wild && !e && i < WALKS; i++) {
		e = walk_between(c, &before, &after);
		wild = !e && adrift(c, &before, &after);
	}
	if (e == -EUCLEAN) {
		wrong(c, 0, "the walk does not come through");
		return 0;
	}
	if (e)
		return e;
	if (wild)
		wrong(c, 0, "used fragments differ between walk and counters");
	c->counted = (struct obs_totals){ .used = after.used,
					  .free = after.tally.free_bytes,
					  .fragments = after.fragments,
					  .free_fragments = after.tally.free_fragments,
					  .largest_free = OBS_UNKNOWN };
	return 0;
}

static const char *why_not(int e)
{
	switch (e) {
	case MOVED:
		return "could not be checked: the heap changed too fast, or its process is stopped inside a call";
	case -ESRCH:
		return "could not be checked: its process is gone, and the heap with it";
	case -EACCES:
		return "could not be checked: the memory of its process may not be read from here";
	case -ENOTSUP:
		return "could not be checked: its manager has no view in this build";
	case -ETIME:
		return "could not be checked: it is too large, or says so";
	case -ENOENT:
		return "could not be checked: its DATA is gone from the registry";
	default:
		return "could not be checked: it cannot be read";
	}
}

/* ---- what callers get ---- */

struct told { obs_error_fn *fn; void *arg; const struct obs_pool *pool; };

/** Where there are several shards an error says which one it is of. */
static void tell(const struct told *t, unsigned k, uint64_t address, const char *what)
{
	char text[160];

	if (t->fn && t->pool->id.shards > 1) {
		snprintf(text, sizeof text, "shard %u: %s", k, what);
		what = text;
	}
	if (t->fn)
		t->fn(address, what, t->arg);
}

static int check_shard(struct obs_pool *p, struct obs_check *ret_check, const struct told *t)
{
	struct pass c = { .pool = p };
	int e = peek_heap_there(p);
	bool moving = false;

	if (!e)
		e = check(&c);
	if (e == MOVED && !keeps_own(p)) {
		moving = true;
		e = check_moving(p, &c);
	}
	if (e == -ENOMEM)
		return e;
	if (e) {
		c = (struct pass){ .pool = p };
		wrong(&c, 0, why_not(e));
	}
	for (unsigned i = 0; i < c.errors && i < ERRORS_MAX; i++)
		tell(t, p->id.shard, c.error[i].address, c.error[i].what);
	if (c.errors > ERRORS_MAX)
		tell(t, p->id.shard, 0, "and more");
	*ret_check = (struct obs_check){ .known = !e,
					 .ok = !e && !c.errors,
					 .moving = !e && moving,
					 .walked = c.walked,
					 .counted = c.counted,
					 .errors = c.errors > ERRORS_MAX ? ERRORS_MAX + 1 : c.errors };
	return 0;
}

static void add_totals(struct obs_totals *sum, const struct obs_totals *t)
{
	sum->used += t->used;
	sum->free += t->free;
	sum->fragments += t->fragments;
	sum->free_fragments += t->free_fragments;
	sum->largest_free = t->largest_free > sum->largest_free ? t->largest_free : sum->largest_free;
}

/** Damage that was found is known, whatever else could not be looked at. */
static void add_check(struct obs_check *sum, const struct obs_check *c)
{
	bool damaged = (sum->known && !sum->ok) || (c->known && !c->ok);

	sum->known = damaged || (sum->known && c->known);
	sum->ok = sum->ok && c->ok;
	sum->moving |= c->moving;
	sum->errors += c->errors;
	sum->pause_ns = c->pause_ns > sum->pause_ns ? c->pause_ns : sum->pause_ns;
	add_totals(&sum->walked, &c->walked);
	add_totals(&sum->counted, &c->counted);
}

int obs_check(struct obs_pool *p, struct obs_check *ret_check, obs_error_fn *fn, void *arg)
{
	struct told t = { fn, arg, p };
	struct obs_check sum, c;
	int e = check_shard(p, &sum, &t);

	for (unsigned k = 1; !e && k < p->id.shards; k++) {
		if (p->shard[k]) {
			e = check_shard(p->shard[k], &c, &t);
		} else {
			c = (struct obs_check){ .known = true, .errors = 1 };
			tell(&t, k, 0, "it is not there, or not believed");
		}
		if (!e)
			add_check(&sum, &c);
	}
	if (!e)
		*ret_check = sum;
	return e;
}
