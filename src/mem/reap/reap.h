/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the dead left in the registry: retention of private heaps, and shared pools that nobody has.
 *
 * Run by mmd, by a creation that failed for want of room, and by one start in 64. Idempotent; several may run at once.
 */
#ifndef REAP_REAP_H
#define REAP_REAP_H

#include "mem/pool.h"

/**
 * reap_registry - unlink what retention does not keep
 * @dir: the registry
 *
 * Kept: the living, other pid namespaces, what cannot be judged, and of the crashed and exited the newest 32 files or
 * 16 MiB. Returns how many files went.
 */
int reap_registry(int dir);

/**
 * reap_reclaim - memory.shm.on_death = reclaim: free what the dead of a shared pool left behind
 *
 * A transaction a fragment. Who left in order is not dead, and what it shared stays. Returns how many went.
 */
uint64_t reap_reclaim(struct pool *p, struct owner *o);

/**
 * reap_slots - bury the dead of a shared pool
 *
 * Their locks are taken over, their open calls rolled back or finished, what is in their magazines goes to the manager,
 * and the slots that no fragment names any more are free again. Killed in between, it is repeated by the next one.
 * @o: a slot of the caller's in this pool. Without the pool's lock, which is taken for some 64 fragments at a time.
 * Returns how many slots were settled or freed.
 */
unsigned reap_slots(struct pool *p, struct owner *o);

#endif
