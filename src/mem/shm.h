/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared pool, as the files of its calls see it: shm.c makes it and gives threads their slots, shm_calls.c serves,
 * shm_to.c publishes, shm_root.c names.
 */
#ifndef MEM_SHM_H
#define MEM_SHM_H

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/meta/process.h"

/** The calling thread: its slot in shard 0, and the process that claimed it. */
struct shm_thread {
	/* as applications see them: mem_shm_nobody, or what owner.known is; and the owner's first word */
	struct mem_inline_shm *known;
	struct owner owner;
	uint64_t epoch;
};
extern struct mem_inline_shm mem_shm_nobody __attribute__((visibility("hidden")));
extern _Thread_local struct shm_thread mem_shm_self __attribute__((tls_model("initial-exec"), visibility("hidden")));
/** Its slot in shard k; shard 0's is mem_shm_self.owner. */
struct owner *mem_shm_owner_in(unsigned k);

/** Makes or attaches the pool, or claims a slot for this thread. 0 or -errno. Keeps errno. */
int mem_shm_get_ready(void);
/** An operator has asked for other features, or the dead are to be reaped. */
void mem_shm_follow(struct pool *p);
/** Sets p and o to shard k, in which the thread has a slot from now on. false: there is none to be had. */
bool mem_shm_use_shard(struct front_call *call, unsigned k);

static inline bool shm_ready(struct pool *p)
{
	if (UNLIKELY(mem_shm_self.epoch != *epoch_word || !mem_shm_self.epoch) && mem_shm_get_ready())
		return false;
	if (UNLIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) != p->features))
		mem_shm_follow(p);
	return true;
}

/* It holds the lock, or a signal handler has interrupted a call of its: to wait for it would be to wait for itself. */
static inline bool shm_busy(const struct owner *o) { return o->holds | o->inside; }

/** From the shard that the thread prefers on; when all are full, what the dead hold is reaped and it is tried again. */
void *mem_shm_allocate(const struct front_call *call, size_t align, size_t size);
/** Sets p, o and FRONT_HELD to the shard that `ptr` lies in, to shard 0 where it lies in none. false: no slot there. */
bool mem_shm_find(struct front_call *call, const void *ptr);

#endif
