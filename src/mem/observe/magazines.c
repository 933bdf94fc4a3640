/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters of a shared pool and what is in its magazines, as of one moment.
 *
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
static uint64_t on_its_way(struct obs_pool *p, const struct meta_magazines *m, uint64_t head)
{
	uint64_t index = OP_RECORD(m->op), class;
	struct meta_record r;
	bool cached, in_chain;

	if ((OP_KIND(m->op) != OP_ALLOC && OP_KIND(m->op) != OP_FREE) || peek_record(p, index, &r) < 0 || !r.address ||
	    r.address & RECORD_FREE || RECORD_USABLE(r.sizes) < 16 || RECORD_USABLE(r.sizes) > CACHED_MOST)
		return 0;
	class = RECORD_USABLE(r.sizes) / 16 - 1;
	cached = r.owner >> 48 & RECORD_CACHED;
	in_chain = false;
	for (unsigned x = 0; x < MAGAZINE_PAIR; x++)
		in_chain |= MAGAZINE_COUNT(m->of[class][x]) && MAGAZINE_HEAD(m->of[class][x]) == index;
	return cached == in_chain ? 0
	       : cached		  ? CACHED_ONE(16 * class + 16 + head)
				  : -CACHED_ONE(16 * class + 16 + head);
}

static uint64_t magazines_at(uint64_t slot) { return META_SLOTS + slot * SLOT_BYTES + META_PAGE; }

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
		cached += magazines_cached(&p->o->magazines[i], head) + on_its_way(p, &p->o->magazines[i], head);
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

int peek_counted(struct obs_pool *p, struct meta_live *live, uint64_t *ret_cached)
{
	const uint64_t from = offsetof(struct meta_live, counters), to = offsetof(struct meta_live, wanted);
	uint64_t slots = p->key.domain == OBS_PKG ? 0 : live->slots_used < SLOTS_MAX ? live->slots_used : SLOTS_MAX;
	int e = room_for(p->o, slots);

	*ret_cached = live->cached;
	if (p->key.domain == OBS_PKG) {
		e = peek_whole(p, META_LIVE + from, (char *)live + from, to - from);
		*ret_cached = live->cached;
		return e;
	}
	for (unsigned try = 0; e >= 0 && try < PEEK_TRIES; try++) {
		e = copy(p, slots, from, to, live);
		if (e < 0)
			break;
		*ret_cached = sum(p, live, slots);
		if (e == 0)
			return 0;
	}
	return e;
}
