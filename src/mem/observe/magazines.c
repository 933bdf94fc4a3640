/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters of a pool and what is in its magazines, as of one moment.
 *
 * pkg: each thread says in a line of META what it holds. With the lock fragments go in and out in the same turn that
 * changes the counters; without it a thread changes its own words.
 *
 * shm:
 * Chains change hands in transactions, which are undone in the copy as everywhere. Between them their owners take and
 * put without the lock; each does it by one store, so that a copied word is right as it is. Of a fragment that is on
 * its way just then, whose slot's `op` names it, the record's flag and the chain may say different things: the flag is
 * what walks tell, so that is what counts here.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/observe/peek.h"

/** CACHED_ONE of the fragment's size when it is told as cached but in no chain, the negative of it the other way round.
 */
static uint64_t on_its_way(struct obs_pool *p, const struct meta_magazines *m)
{
	uint64_t index = OP_RECORD(m->op), class;
	struct meta_record r;
	bool cached, in_chain;

	if ((OP_KIND(m->op) != OP_ALLOC && OP_KIND(m->op) != OP_FREE) || peek_record(p, index, &r) < 0 || !r.address ||
	    r.address & RECORD_FREE || RECORD_USABLE(r.sizes) < 16)
		return 0;
	class = RECORD_USABLE(r.sizes) / 16 - 1;
	cached = r.owner >> 48 & RECORD_CACHED;
	in_chain = false;
	for (unsigned x = 0; x < MAGAZINE_PAIR && class < MAGAZINE_CLASSES; x++) /* else it is in none */
		in_chain |= MAGAZINE_COUNT(m->of[class][x]) && MAGAZINE_HEAD(m->of[class][x]) == index;
	return cached == in_chain ? 0
	       : cached		  ? CACHED_ONE(RECORD_USABLE(r.sizes))
				  : -CACHED_ONE(RECORD_USABLE(r.sizes));
}

static uint64_t magazines_at(uint64_t slot) { return META_SLOTS + slot * SLOT_BYTES + SLOT_MAGAZINES; }

static int room_for(struct obs *o, uint64_t slots)
{
	struct meta_magazines *more;

	if (slots <= o->magazines_max)
		return 0;
	more = realloc(o->magazines, slots * sizeof *more);
	if (!more)
		return -ENOMEM;
	o->magazines = more;
	o->magazines_max = slots;
	return 0;
}

/** Heads of the pool's manager; of one that is not in this build they are not known, and taken for the larger ones. */
static uint64_t head_of(const struct obs_pool *p)
{
	const struct mem_manager *m = mem_manager_find(p->id.manager);

	return m && m->shm ? m->shm->flags & MEM_HEAD8 : 0;
}

static uint64_t sum(struct obs_pool *p, const struct meta_live *live, uint64_t slots)
{
	uint64_t cached = live->cached, head = head_of(p);

	for (uint64_t i = 0; i < slots; i++)
		cached += magazines_cached(&p->o->magazines[i], head) + on_its_way(p, &p->o->magazines[i]);
	return cached;
}

/** One attempt, with the open transaction undone. 1: it changed meanwhile. */
static int copy(struct obs_pool *p, uint64_t slots, uint64_t from, uint64_t to, struct meta_live *live)
{
	struct meta_magazines *m = p->o->magazines;
	struct peek_moment before, after;
	int b = peek_moment(p, &before), e = peek_meta(p, META_LIVE + from, (char *)live + from, to - from);

	for (uint64_t i = 0; !e && i < slots; i++)
		e = peek_meta(p, magazines_at(i), &m[i], sizeof m[i]);
	if (e)
		return e;
	if (b || peek_moment(p, &after) || !peek_same_call(&before, &after))
		return 1;
	peek_undo(&after, p->id.meta_at + META_LIVE + from, (char *)live + from, to - from);
	for (uint64_t i = 0; i < slots; i++)
		peek_undo(&after, p->id.meta_at + magazines_at(i), &m[i], sizeof m[i]);
	return 0;
}

static void add_lines(const struct meta_thread *line, uint64_t count, struct peek_cached *sum)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t cached = thread_cached(&line[i]);

		sum->all += cached;
		sum->recorded += line[i].recorded ? cached : 0;
		sum->taken += line[i].taken - line[i].start;
	}
}

static int threads_counted(struct obs_pool *p, struct meta_live *live, struct peek_cached *ret_cached)
{
	struct meta_thread line[META_PAGE / sizeof(struct meta_thread)];
	uint64_t lines = live->threads < THREADS_MAX - LIVE_THREADS ? live->threads : THREADS_MAX - LIVE_THREADS, n;
	struct peek_moment before, after;

	for (unsigned try = 0; try < PEEK_TRIES; try++) {
		int b = peek_moment(p, &before), e = peek_live(p, live);

		*ret_cached = (struct peek_cached){ 0, 0, 0 };
		add_lines(live->thread, LIVE_THREADS, ret_cached);
		for (uint64_t at = 0; !e && at < lines; at += n) {
			n = lines - at < sizeof line / sizeof *line ? lines - at : sizeof line / sizeof *line;
			e = peek_meta(p, META_THREADS + at * sizeof *line, line, n * sizeof *line);
			if (!e)
				add_lines(line, n, ret_cached);
		}
		if (e)
			return e;
		if (!b && !peek_moment(p, &after) && peek_same_call(&before, &after))
			return 0;
	}
	return 1;
}

int peek_counted(struct obs_pool *p, struct meta_live *live, struct peek_cached *ret_cached)
{
	const uint64_t from = offsetof(struct meta_live, counters), to = offsetof(struct meta_live, wanted);
	uint64_t slots = live->slots_used < SLOTS_MAX ? live->slots_used : SLOTS_MAX;
	int e;

	if (p->key.domain == OBS_PKG)
		return threads_counted(p, live, ret_cached);
	e = room_for(p->o, slots);
	*ret_cached = (struct peek_cached){ live->cached, 0, 0 };
	for (unsigned try = 0; e >= 0 && try < PEEK_TRIES; try++) {
		e = copy(p, slots, from, to, live);
		if (e < 0)
			break;
		ret_cached->all = sum(p, live, slots);
		if (e == 0)
			return 0;
	}
	return e;
}
