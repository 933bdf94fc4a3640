/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a slot's thread knows of its magazines, in private memory: the places and the gate of memapi/inline_shm.h.
 *
 *	of[c][x]  3 | r7	top   ->  3 | r7	fragment of r7
 *				          2 | r2	fragment of r2
 *				          1 | r9	NULL: not known, it came with others
 *
 * Chains are what they are in META; here is a copy of what the thread itself has put there. Whoever changes a word
 * there lets this follow before `op` says that it is done: all of them are in slot_magazine.h and .c, and of the owner.
 * Invariant: the top of a half is the word in META, so many places above the half's first as the word counts. Below a
 * place with a fragment is the word that the chain is without it.
 *
 * NULL in owner.known: a manager whose fragments lie otherwise, a pool of several shards, or no memory.
 */
#ifndef FRONT_SLOT_KNOWN_H
#define FRONT_SLOT_KNOWN_H

#include <time.h>

#include "mem/base/compiler.h"
#include "mem/pool.h"

_Static_assert((int)MEM_INLINE_DEEP == MAGAZINE_MOST && 16 * (MEM_INLINE_KINDS - 1) == CACHED_MOST, "");
_Static_assert(MEM_INLINE_SHM_MOST == CACHED_MOST - TAIL_BYTES && MEM_INLINE_ROOMS == MAGAZINE_ROOMS, "");
_Static_assert((int)MEM_INLINE_OP_FREE == OP_FREE && (int)MEM_INLINE_OP_BEGIN == OP_BEGIN, "");
_Static_assert(MEM_INLINE_CACHED == RECORD_CACHED << 16 && TAIL_BYTES == 8, "");
_Static_assert((int)MEM_INLINE_WANTED == META_RECORDS - META_LIVE - offsetof(struct meta_live, wanted), "");
_Static_assert((int)MEM_INLINE_CHAINS == offsetof(struct meta_magazines, of) - offsetof(struct meta_magazines, op), "");
#define SAME_IN_RECORD(theirs, ours) \
	(offsetof(struct mem_inline_record, theirs) == offsetof(struct meta_record, ours))
_Static_assert(SAME_IN_RECORD(address, address) && SAME_IN_RECORD(eighths, sizes) && SAME_IN_RECORD(site, owner) &&
		       SAME_IN_RECORD(time, time) && sizeof(struct mem_inline_record) == sizeof(struct meta_record), "");
/* Of stamp 1: another layout is another stamp. */
_Static_assert(MEMAPI_INLINE_STAMP == 1 && offsetof(struct mem_inline_shm, now) == 64, "");
_Static_assert(offsetof(struct mem_inline_shm, first) == 72 && offsetof(struct mem_inline_shm, reach) == META_PAGE, "");
_Static_assert(offsetof(struct mem_inline_shm, op) == 4112 && offsetof(struct mem_inline_shm, head) == 4128, "");
_Static_assert(offsetof(struct mem_inline_shm, mine) == 4152 && offsetof(struct mem_inline_shm, kind) == 4168, "");
_Static_assert(offsetof(struct mem_inline_shm, at) == 5240 && sizeof(struct mem_inline_place) == 16, "");

/* ---- the gate ---- */

static inline void known_close(struct owner *o)
{
	if (!o->known)
		return;
	MEM_INLINE_SET(o->known->now, 0);
	MEM_INLINE_SET(o->known->first, 0);
}

/**
 * Outside of calls; `now` comes last. Not of a signal handler that has interrupted a call in there, which goes on with
 * what it had read.
 */
static inline void known_open(const struct pool *p, struct owner *o)
{
	struct mem_inline_shm *own = o->known;
	uint64_t now;

	if (!own)
		return;
	if (UNLIKELY(!p->magazine_quick) || UNLIKELY(o->holds) || UNLIKELY(o->magazines->op)) {
		known_close(o);
		return;
	}
	now = (uint64_t)time(NULL);
	LOWER(own->mark) = (uint32_t)(now - p->created);
	MEM_INLINE_SET(own->first, p->first);
	MEM_INLINE_SET(own->now, now);
}

/* ---- what the chains are ---- */

static inline struct mem_inline_kind *known_kind(struct mem_inline_shm *own, uint64_t over)
{
	return mem_inline_kind(own, over + 16 - own->head);
}

/** The word of a chain, which may count more than there may be where somebody's wild store was. */
static inline uint64_t known_word(uint64_t *chain)
{
	uint64_t word = *(volatile uint64_t *)chain, count = MAGAZINE_COUNT(word);

	if (LIKELY(count + MAGAZINE_ROOM(word) <= MEM_INLINE_DEEP))
		return word;
	word = MAGAZINE_WORD(count, 0, MAGAZINE_HEAD(word));
	MEM_INLINE_SET(*chain, word);
	return word;
}

/** One half follows its chain. @other: the place of the other half */
static inline void known_follow_chain(struct mem_inline_shm *own, uint64_t kind, struct mem_inline_place *volatile *top,
				      const struct mem_inline_place *other, uint64_t *chain)
{
	uint64_t word = known_word(chain), count = MAGAZINE_COUNT(word);
	struct mem_inline_place *half = own->at[kind][0];
	const struct mem_inline_place *taken = *top != &own->none ? *top : other;

	if (*top != &own->none && !(((*top)->word ^ word) & ~MAGAZINE_ROOMS)) {
		(*top)->word = word;	/* there may be more room, or less */
		return;
	}
	if (*top == &own->none && !(word & 0xffff))
		return;
	if ((taken != &own->none && taken - half >= MEM_INLINE_DEEP + 2) == (taken == *top))
		half = own->at[kind][1];
	half += count < MEM_INLINE_DEEP ? count : MEM_INLINE_DEEP;
	half->word = word;
	half->fragment = 0;		/* what it has is not known, and what is below not either */
	*top = half;
}

/** Both chains of a size have changed, or may have. @turned: and places */
static inline void known_follow_pair(struct owner *o, uint64_t over, bool turned)
{
	struct mem_inline_shm *own = o->known;
	struct mem_inline_place *was;
	struct mem_inline_kind *of;
	uint64_t *now, kind;

	if (!own)
		return;
	kind = (over + 16 - own->head) / 16;
	now = (uint64_t *)(void *)((char *)o->magazines->of + over);
	of = &own->kind[kind];
	if (turned) {
		was = of->top;
		of->top = of->beside;
		of->beside = was;
	}
	known_follow_chain(own, kind, &of->top, of->beside, now);
	known_follow_chain(own, kind, &of->beside, of->top, (uint64_t *)((uintptr_t)now ^ 8));
}

/** All of them, of a slot that is new, or was emptied. */
static inline void known_forget(struct mem_inline_shm *own)
{
	for (unsigned k = 0; k <= MEM_INLINE_KINDS; k++)
		own->kind[k] = (struct mem_inline_kind){ &own->none, &own->none };
}

/** Its newest one was taken by way of its record. */
static inline void known_took(struct owner *o, uint64_t over)
{
	struct mem_inline_kind *of;

	if (!o->known)
		return;
	of = known_kind(o->known, over);
	if (of->top->fragment)
		of->top--;
	known_follow_pair(o, over, false);
}

/** One was put there by way of its record. @before: the word before */
static inline void known_put(struct owner *o, uint64_t over, uint64_t before, uint64_t word, uint64_t fragment)
{
	struct mem_inline_kind *of;

	if (!o->known)
		return;
	of = known_kind(o->known, over);
	if (of->top != &o->known->none && of->top->word == before && MAGAZINE_COUNT(before) < MEM_INLINE_DEEP)
		*++of->top = (struct mem_inline_place){ word, fragment };
	known_follow_pair(o, over, false);
}

/** Of the next record. */
static inline uint32_t known_stamp(struct owner *o) { return o->known ? ++UPPER(o->known->mark) : ++o->stamp; }

static inline void known_stamp_from(struct owner *o, uint64_t stamp)
{
	o->stamp = (uint32_t)stamp;
	if (o->known)
		UPPER(o->known->mark) = (uint32_t)stamp;
}

#endif /* FRONT_SLOT_KNOWN_H */
