/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether the private heap is ready, as inline code: for the calls of pkg.c, and for those of the preload library,
 * which pass on who called them.
 */
#ifndef MEM_PKG_H
#define MEM_PKG_H

#include "mem/base/compiler.h"
#include "mem/front/magazine.h"
#include "mem/front/shards.h"
#include "mem/meta/process.h"
#include "mem/pool.h"

/** Makes the heap, or its META in a child. false: it cannot be made, or this thread is just doing that. Keeps errno. */
bool mem_pkg_get_ready(void);
/** An operator has asked for other features: they are taken on, as far as the manager allows. */
void mem_pkg_follow(struct pool *p);
/** The same by a thread, which gets magazines if it has not yet called. Keeps errno. */
void mem_pkg_catch_up(struct pool *p);

/* The epoch first: before the loader has relocated the library it is 0, and epoch_word points nowhere. */
static inline bool pkg_ready(struct pool *p)
{
	if (UNLIKELY(!p->epoch || p->epoch != *epoch_word) && !mem_pkg_get_ready())
		return false;
	if (UNLIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) !=
		     GATE(mem_pkg_self.own->features)))
		mem_pkg_catch_up(p);
	return true;
}

/** The heap's shards, as this thread uses them. */
struct shards mem_pkg_as_shards(void);

/* The front end's calls, in whichever shard. call->p is mem_pkg_pool. */

static inline void *pkg_allocate(const struct front_call *call, size_t align, size_t size)
{
	struct shards s;

	if (LIKELY(mem_pkg_shards == 1))
		return pkg_front_alloc(call, align, size);
	s = mem_pkg_as_shards();
	return pkg_shards_alloc(&s, call, align, size);
}

static inline void pkg_release(const struct front_call *call, void *ptr)
{
	struct shards s;

	if (LIKELY(mem_pkg_shards == 1)) {
		pkg_front_free(call, ptr);
		return;
	}
	s = mem_pkg_as_shards();
	pkg_shards_free(&s, call, ptr);
}

static inline void *pkg_reallocate(const struct front_call *call, void *ptr, size_t size)
{
	struct shards s;

	if (LIKELY(mem_pkg_shards == 1))
		return pkg_front_realloc(call, ptr, size);
	s = mem_pkg_as_shards();
	return pkg_shards_realloc(&s, call, ptr, size);
}

static inline size_t pkg_usable_in(const struct front_call *call, const void *ptr)
{
	struct shards s;

	if (LIKELY(mem_pkg_shards == 1))
		return pkg_front_usable(call, ptr);
	s = mem_pkg_as_shards();
	return pkg_shards_usable(&s, call, ptr);
}

#endif /* MEM_PKG_H */
