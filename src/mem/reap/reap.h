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
/** Of a shared pool's META, read and not mapped: the kernel says of each slot's owner that it is gone. */
bool reap_slots_gone(int fd);

/**
 * reap_pool - what the owners of one heap left behind
 *
 * Takes their locks, rolls back, finishes what was on its way, empties their magazines, frees what was OWNED, whether
 * they left in order or were killed, and follows on_death for what the killed SHARED: keep, reclaim, or put apart. A
 * transaction a fragment, so that it may be killed, and run by several at once. `o`: the caller's slot, which holds no
 * lock. Cost: a look at each slot and, when one of them is gone, at each record, without the lock. Returns how many
 * fragments went.
 */
uint64_t reap_pool(struct pool *p, struct owner *o);
/** The same, and then all that the killed left goes, whatever on_death says: an operator's decision. @pid: 0 all. */
uint64_t reap_release(struct pool *p, struct owner *o, int64_t pid);

/**
 * reap_for_need - what a request does before it fails for want of memory
 *
 * Without a system call it looks for owners that the kernel has marked as dead and nobody has reaped yet; only if there
 * is one are they reaped, and what may go goes. true: something did. So a pool that is simply full costs a look at its
 * slots, and each death pays for one look at the ledger.
 */
bool reap_for_need(struct pool *p, struct owner *o);

#endif
