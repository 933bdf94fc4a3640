/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One process's view of a pool: private memory that ties together META, DATA, the manager's operations and files.
 *
 * Shared state is in META alone. What is here is either the same for the pool's life (addresses, ops), or belongs to
 * this process (descriptors, caches), or is set by each holder of the pool's lock (heap.log, heap.len).
 */
#ifndef MEM_POOL_H
#define MEM_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/meta/layout.h"
#include "mem/region/region.h"
#include "memapi/manager.h"
#include "memapi/memapi.h"
#include "memapi/memcore.h"

/** Who calls: one thread of this process, with its slot in a shared pool. In pkg all zeros. */
struct owner {
	/* first, as inline_shm.h has them, in one word */
	_Alignas(8) uint32_t clock;	/* seconds since the pool was made, when known_open() looked last */
	uint32_t stamp;			/* of the last record that it wrote */
	struct meta_slot *slot;
	uint32_t number;		/* of the slot */
	uint32_t holds;			/* shm_lock() was called */
	uint32_t inside;		/* a call is on its way that has the lock, or waits for it */
	uint64_t tag;			/* slot + 1 and generation, as a lock word holds them */
	struct owner *home;		/* the same thread in shard 0, where it is another one; or NULL */
	/* its magazines, see front/slot_magazine.h: where they lie, and what this thread knows of their use */
	struct meta_magazines *magazines;
	struct mem_inline_shm *known;	/* see front/slot_known.h; or NULL */
	uint64_t epoch;			/* of the process that claimed the slot */
	uint64_t open;			/* the same while calls need not look further, else OWNER_CLOSED */
	uint64_t mine;			/* number << 32, as in records' owners */
	uint32_t depth;			/* fragments that one chain may have */
	uint64_t cached;		/* bytes in them, as of the last look at each size */
	uint64_t trim;			/* of live.trim, as it was followed */
	bool waited;			/* for the lock, since the magazines were looked after */
	bool used;			/* there may be something in them */
	uint8_t regrets;		/* chains that were given away and wanted again, since depth changed */
	uint64_t gave;			/* a bit for each size of which a chain was given away */
	uint8_t seen[MAGAZINE_CLASSES];	/* fragments in both chains, at the last look */
	uint8_t batch[MAGAZINE_CLASSES];	/* fragments that the next refill brings */
};

/** No epoch. Of a thread that has no slot, holds the lock, or is inside of a call. */
#define OWNER_CLOSED UINT64_MAX

/** pkg, see front/starts.h; bits NULL: there are none. */
struct starts {
	uint64_t *bits;
	uint8_t *sizes;
	uint64_t len;			/* bytes of the heap that they are for */
};

struct pool {
	const struct mem_manager *manager;
	const struct mem_manager_ops *ops;	/* of this domain's build */
	struct mem_heap heap;
	struct meta_identity *id;	/* shm: `believed`, once it is made or attached */
	struct meta_live *live;
	unsigned char *meta;
	uint64_t meta_bytes;		/* mapped */
	struct meta_sites *sites;
	struct meta_record *records;
	uint64_t generation;		/* of META, low 32 bits, << 32: upper half of tails and site caches */
	_Atomic uint64_t features; /* what this process follows of live.wanted; any thread may find that it changed */
	/* shm: as magazine_most, without a look at anything but the magazine; or 0. Here, as inline_shm.h has it */
	uint64_t magazine_quick;
	_Atomic uint64_t epoch;		/* pkg: of the process that META belongs to; the rest is ready when it is set */
	struct region_file meta_file, data_file;
	struct pool *home;		/* shard 0, which has the sites; itself where it is the only one */
	struct region_file heirs;	/* shm: META once more, with a lock that forked children share; see shared.h */
	bool seen;			/* META is a file in the registry */
	/* shm, see slot_magazine.h */
	uint64_t magazine_most;		/* largest request that a magazine may serve; 0: they are closed */
	uint64_t magazine_head;		/* 8 where heads have 8 bytes, else 0 */
	uint64_t fit_up, fit_down; /* usable bytes - 16 of what serves `size`: (size + fit_up) / 16 * 16 - fit_down */
	uint64_t size_mask, size_less;	/* of size_word: usable bytes - 16 are the word's size - size_less */
	int64_t size_at;
	uint64_t first;
	_Atomic uint64_t reach; /* address - first < reach: a small fragment there lies in the heap, with its head */
	uint64_t created, records_max;	/* as in id; created: pkg, too */
	char path[256];			/* of META; "" when not seen */
	struct meta_identity
		believed; /* shm: as it was when it was checked: who may write to META may write this, too */
	/* pkg only */
	uint64_t data_size;
	struct mem_cursors pkg_cursors;
	uint64_t cursor_owner[MEM_CURSORS], cursor_expires[MEM_CURSORS];	/* as META has them for shm */
	struct meta_counters counters;	/* the truth; META has a copy, since a child shares META but not the heap */
	_Atomic uint32_t mutex;		/* 0 free, 1 held, 2 held and waited for */
	struct starts starts;
	struct own_leaf **own_sizes;	/* front/own_sizes.h, or NULL */
	bool lean;			/* own_fast.h */
	bool at_fork;			/* the mutex is held by our own atfork handler */
	struct {
		uint64_t low, span;	/* free memory was in [low, low + span) */
		uint64_t least, given, top, again;
		unsigned cursor;	/* + 1 of its place in heap.cursors, while a pass goes on */
		bool locked;		/* the last pass could give nothing back: mlock(2) */
	} trim;				/* front/trim.c */
	struct range { unsigned char *base; uint64_t len; } abandoned;	/* heap of a parent that was caught in a call */
};

/** In pool.features, of this process alone: it has found a dead owner, and its next call reaps. Never in live.wanted.
 */
#define POOL_REAP_DUE (1ull << 63)

static inline struct meta_slot *pool_slot(const struct pool *p, uint32_t number)
{
	return (struct meta_slot *)(void *)(p->meta + META_SLOTS + (uint64_t)number * SLOT_BYTES);
}

static inline struct meta_magazines *slot_magazines(const struct pool *p, uint32_t number)
{
	return (struct meta_magazines *)(void *)(p->meta + META_SLOTS + (uint64_t)number * SLOT_BYTES + SLOT_MAGAZINES);
}

static inline struct meta_depot *pool_depot(const struct pool *p)
{
	return (struct meta_depot *)(void *)(p->meta + META_DEPOT);
}

static inline bool pool_holds(const struct pool *p, const void *at)
{
	return (uintptr_t)at - (uintptr_t)p->heap.base < p->id->size;
}

/** shm: the heap has grown to heap.len, or what may be done without a look at it has changed. */
static inline void pool_reaches(struct pool *p)
{
	bool quick = p->magazine_quick && p->size_mask && !(p->features & POOL_REAP_DUE);

	if (p->first != (uintptr_t)p->heap.base + 16)	/* other threads look at it without the lock */
		p->first = (uintptr_t)p->heap.base + 16;
	atomic_store_explicit(&p->reach, quick && p->heap.len > CACHED_MOST + 16 ? p->heap.len - CACHED_MOST - 16 : 0,
			      memory_order_relaxed); /* the mapping is there before */
}

/**
 * shm: what this process follows of live.wanted, and what that means for magazines. One thread at a time. The features
 * come last: who is forked off in between follows once more. POOL_REAP_DUE stays as it is.
 */
static inline void pool_follow(struct pool *p, uint64_t features)
{
	const struct mem_size_word *word = &p->ops->size_word;
	bool closed = features & (FEATURE_GUARDS | FEATURE_NO_MAGAZINES);
	uint64_t was = atomic_load_explicit(&p->features, memory_order_relaxed);

	p->created = p->id->created;
	p->records_max = p->id->records_max;
	p->magazine_head = p->ops->flags & MEM_HEAD8;
	p->magazine_most = closed ? 0 : CACHED_MOST - TAIL_BYTES - p->magazine_head;
	p->magazine_quick = p->id->shards == 1 && !(features & FEATURE_STACKS) ? p->magazine_most : 0;
	p->fit_up = TAIL_BYTES - 1 + p->magazine_head;
	p->fit_down = p->magazine_head;
	p->size_mask = word->mask;
	p->size_less = word->less + 16;
	p->size_at = -(int64_t)word->at;
	/* relaxed: what it speaks of is in META, and read with each call */
	while (!atomic_compare_exchange_weak_explicit(&p->features, &was, features | (was & POOL_REAP_DUE),
						      memory_order_relaxed, memory_order_relaxed))
		;
	pool_reaches(p);
}

/** Its manager has memory of its own: no region, no tally; heap.len is 0, so that no address is in range. */
static inline bool pool_keeps_own(const struct pool *p) { return p->ops->flags & MEM_OWN_MEMORY; }

/** The pools of this process; made by pkg.c and shm.c. Each may be several shards, the first is home. */
extern struct pool mem_pkg_pools[SHARDS_MAX] __attribute__((visibility("hidden")));
extern struct pool mem_shm_pools[SHARDS_MAX] __attribute__((visibility("hidden")));
extern unsigned mem_pkg_shards, mem_shm_shards;
#define mem_pkg_pool mem_pkg_pools[0]
#define mem_shm_pool mem_shm_pools[0]

/** The same, ready to be used by this thread of this process, or NULL. shm: *ret_owner is its slot in shard 0. */
struct pool *mem_pkg_ready(void);
struct pool *mem_shm_ready(struct owner **ret_owner);
/** Shard k of the shared pool, and the thread's slot there. false: not ready, or no slot to be had. */
bool mem_shm_use(struct pool **ret_pool, struct owner **ret_owner, unsigned k);

#endif
