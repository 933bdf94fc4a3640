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
 * reap_for_need - what a request does before it fails for want of memory
 *
 * Without a system call it looks for owners that the kernel has marked as dead and nobody has reaped yet; only if there
 * is one are they reaped, and what may go goes. true: something did. So a pool that is simply full costs a look at its
 * slots, and each death pays for one look at the ledger.
 */
bool reap_for_need(struct pool *p, struct owner *o);

#endif
