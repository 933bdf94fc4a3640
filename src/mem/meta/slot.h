/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slots: who owns memory in a shared pool. One thread of one process each.
 *
 *	FREE -> CLAIMING -> LIVE -> LEFT (in order) or DEAD -> FREE, when no fragment names it any more
 *
 * A slot is certified dead by the kernel's word alone, never by a timeout: its life mutex says OWNER_DIED, or its
 * pid is gone, or belongs to another start time.
 */
#ifndef META_SLOT_H
#define META_SLOT_H

#include "mem/pool.h"

/**
 * Claim a slot for the calling thread. @observer: a daemon: pid and start time certify it, since its robust list
 * must never lead through memory that others may write.
 * -EAGAIN: all slots are taken; -ENOSPC: no memory for one more.
 */
int slot_claim(struct pool *p, bool observer, struct owner *ret_owner);
/** Leave in order: the slot holds no lock; its fragments stay. */
void slot_leave(struct pool *p, struct owner *o);
/** Of a copy of a LIVE or CLAIMING slot, which may say anything. */
bool slot_certified(const struct meta_slot *copy, uint64_t state);
/** There is a slot of this number: META has its page. */
bool slot_in_use(const struct pool *p, uint32_t number);
/** Tell that the kernel certifies the death of the owner, or that it left. */
bool slot_gone(const struct pool *p, uint32_t number);
/** The same for the generation that a lock word names: a slot that was given on is not its owner. */
bool slot_gone_since(const struct pool *p, uint32_t number, uint32_t generation);
/** Of a living slot: its owner is a thread of this process. */
bool slot_is_ours(const struct pool *p, uint32_t number);
/** Mark the gone as LEFT or DEAD, and take their locks. Returns how many there are. */
unsigned slot_bury(struct pool *p, struct owner *o);
/** Nothing is in the magazines of a slot, and nothing on its way. No lock needed. */
bool slot_settled(const struct pool *p, uint32_t number);
/** What is in the magazines of all slots and in the depot: CACHED_BYTES, CACHED_COUNT. In motion: of no one moment. */
uint64_t slot_cached(const struct pool *p);
/** Has the kernel marked one as dead that nobody has buried yet? A look at memory, no system call. */
bool slot_any_marked(const struct pool *p);
/** Bury the gone, and free the slots of those that are settled and that no record names. Returns how many were freed.
 */
unsigned slot_reap(struct pool *p, struct owner *o);
/** A raw clone() leaves the child without a robust list; give it back what its thread had. Async-signal-safe. */
void slot_mend_robust_list(void);
void slot_remember_robust_list(void);

#endif
