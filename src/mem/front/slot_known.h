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
		       SAME_IN_RECORD(seconds, time) && sizeof(struct mem_inline_record) == sizeof(struct meta_record), "");
#define SAME_IN_POOL(theirs, ours) \
	(offsetof(struct pool, ours) == offsetof(struct pool, features) + offsetof(struct mem_inline_followed, theirs))
_Static_assert(SAME_IN_POOL(features, features) && SAME_IN_POOL(most, magazine_quick) && SAME_IN_POOL(reach, reach), "");
/* Of stamp 2: another layout is another stamp. */
_Static_assert(offsetof(struct mem_inline_shm, now) == 128 && MEMAPI_INLINE_STAMP == 2, "");
_Static_assert(offsetof(struct mem_inline_shm, op) == 128 + 24 && offsetof(struct mem_inline_shm, less) == 128 + 48, "");
_Static_assert(offsetof(struct mem_inline_shm, up) == 64 * 32 && offsetof(struct mem_inline_shm, mine) == 64 * 32 + 32, "");
_Static_assert(offsetof(struct mem_inline_shm, below) == 64 * 32 + 48 && sizeof(struct mem_inline_shm) == META_PAGE, "");

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
	own->seconds = (uint32_t)(now - p->created);	/* before the pool was made is just now for who reads it */
	MEM_INLINE_SET(own->first, p->first);
	MEM_INLINE_SET(own->now, now);
}

/** A call that did not go through the front end: the clock, and a handler may have closed it. */
static inline void known_renew(const struct pool *p, struct owner *o)
{
	if (o->known->now != (uint64_t)time(NULL))
		known_open(p, o);
}

#endif /* FRONT_SLOT_KNOWN_H */
