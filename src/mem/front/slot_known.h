/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What memapi/inline_shm.h needs of a slot, in its thread's private memory: its gate.
 *
 * NULL in owner.known: a manager whose fragments lie otherwise, a pool of several shards, or no memory.
 */
#ifndef FRONT_SLOT_KNOWN_H
#define FRONT_SLOT_KNOWN_H

#include <time.h>

#include "mem/base/compiler.h"
#include "mem/pool.h"

_Static_assert((int)MEM_INLINE_SHM_MOST == CACHED_MOST && (int)MEM_INLINE_ROOMS == (int)MAGAZINE_ROOMS, "");
_Static_assert(MAGAZINE_COUNT((uint64_t)MEM_INLINE_COUNT) == MEM_INLINE_COUNT &&
		       MAGAZINE_PUT((uint64_t)MEM_INLINE_ROOM, 0) == 1, "");
_Static_assert((int)MEM_INLINE_OP_FREE == OP_FREE && (int)MEM_INLINE_OP_BEGIN == OP_BEGIN, "");
_Static_assert((int)MEM_INLINE_CACHED == RECORD_CACHED && TAIL_BYTES == 8, "");
_Static_assert((int)MEM_INLINE_WANTED == META_RECORDS - META_LIVE - offsetof(struct meta_live, wanted), "");
_Static_assert((int)MEM_INLINE_CHAINS == offsetof(struct meta_magazines, of) - offsetof(struct meta_magazines, op), "");
#define SAME_IN_RECORD(theirs, ours) \
	(offsetof(struct mem_inline_record, theirs) == offsetof(struct meta_record, ours))
_Static_assert(SAME_IN_RECORD(address, address) && SAME_IN_RECORD(eighths, sizes) && SAME_IN_RECORD(site, owner) &&
		       offsetof(struct mem_inline_record, flags) == offsetof(struct meta_record, owner) + 6 &&
		       SAME_IN_RECORD(time, time) && sizeof(struct mem_inline_record) == sizeof(struct meta_record), "");
_Static_assert(offsetof(struct pool, magazine_quick) ==
		       offsetof(struct pool, features) + offsetof(struct mem_inline_followed, most), "");
/* Of stamp 2: another layout is another stamp. */
_Static_assert(offsetof(struct mem_inline_shm, now) == 128 && MEMAPI_INLINE_STAMP == 2, "");
_Static_assert(offsetof(struct mem_inline_shm, from) == 144 && offsetof(struct mem_inline_shm, op) == 160, "");
_Static_assert(offsetof(struct mem_inline_shm, head) == 176 && offsetof(struct mem_inline_shm, records_max) == 184, "");
_Static_assert(offsetof(struct mem_inline_shm, generation) == 64 * 32 && sizeof(struct mem_inline_shm) == META_PAGE, "");
_Static_assert(offsetof(struct mem_inline_shm, mine) == 64 * 32 + 8, "");
_Static_assert(offsetof(struct mem_inline_shm_self, clock) == 8 && SITES_MAX < MEM_INLINE_UNTOLD, "");
_Static_assert(offsetof(struct owner, clock) == 0 && offsetof(struct owner, stamp) == 4, "their word");

/* ---- the gate ---- */

static inline void known_close(struct owner *o)
{
	if (!o->known)
		return;
	MEM_INLINE_SET(o->known->now, 0);
	MEM_INLINE_SET(o->known->span, 0);
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
	o->clock = (uint32_t)(now - p->created);	/* before the pool was made is just now for who reads it */
	own->from = p->first;
	/* relaxed: the mapping is there before; what has grown since is seen after the call that brings some of it */
	MEM_INLINE_SET(own->span, atomic_load_explicit(&p->reach, memory_order_relaxed));
	MEM_INLINE_SET(own->now, now);
}

/** A call that did not go through the front end: the clock, and a handler may have closed it. */
static inline void known_renew(const struct pool *p, struct owner *o)
{
	if (o->known->now != (uint64_t)time(NULL) || !o->known->span)
		known_open(p, o);
}

#endif /* FRONT_SLOT_KNOWN_H */
