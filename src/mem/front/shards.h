/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool of several shards: complete heaps, each with a lock, counters and records of its own.
 *
 *	shard 0 [ META | DATA ]   shard 1 [ META | DATA ]   …		sites are interned in shard 0 alone
 *
 * A thread prefers one shard and goes on to the others before a request fails; what is given back goes to the shard
 * that it lies in. A call changes one shard in a transaction, so that all that holds for a killed call of one heap
 * holds here. Called where a pool has more than one shard; the calls are those of front.h.
 */
#ifndef FRONT_SHARDS_H
#define FRONT_SHARDS_H

#include "mem/front/front.h"

/** Shards of a pool, as one thread uses them. */
struct shards {
	struct pool *pool;
	unsigned count, prefers;
	/** Sets call->p and call->o to shard k. false: this thread cannot use it now (it has no slot there). */
	bool (*use)(struct front_call *call, unsigned k);
};

#define SHARDS_DECLARE(domain)											\
	void *domain##_shards_alloc(const struct shards *s, const struct front_call *call, size_t align, size_t size); \
	/* false: no slot to be had where it lies, it was not freed */					\
	bool domain##_shards_free(const struct shards *s, const struct front_call *call, void *ptr);		\
	void *domain##_shards_realloc(const struct shards *s, const struct front_call *call, void *ptr, size_t size); \
	size_t domain##_shards_usable(const struct shards *s, const struct front_call *call, const void *ptr);

SHARDS_DECLARE(pkg)
SHARDS_DECLARE(shm)

/** Number of the shard that `ptr` lies in; of an address that lies in none, 0: there it is reported. */
static inline unsigned shards_find(const struct pool *pool, unsigned count, const void *ptr)
{
	unsigned k = count;

	while (k-- && !pool_holds(&pool[k], ptr) &&
	       (uintptr_t)ptr - (uintptr_t)pool[k].abandoned.base >= pool[k].abandoned.len)
		;
	return k < count ? k : 0;
}

#endif /* FRONT_SHARDS_H */
