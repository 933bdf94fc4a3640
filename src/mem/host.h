/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hosting: the shared pools that a daemon keeps for others, by name.
 *
 * A hosted pool lives while its daemon lives, with or without users, and beyond a kill -9 of it: its files stay. When
 * the daemon comes again with another manager, a pool in use goes on draining and newcomers get a new incarnation.
 * One thread; a host's slots are an observer's, certified by pid and start time.
 */
#ifndef MEM_HOST_H
#define MEM_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { HOSTED_MAX = 64 };

struct mem_host_wish {
	const char *name, *manager;
	uint64_t size;
	unsigned shards;		/* 0: as memory.shm.shards, or as the manager has it */
	bool keep;
	unsigned on_death;
	bool track_stacks, debug, safety_abort;	/* as memory.track, memory.debug, memory.safety */
};

struct mem_host_pool {
	char name[64], manager[32];
	uint32_t incarnation;
	bool draining, keep;
	const char *held_back;		/* why the pool is not on the manager that was wished for, or NULL */
};

struct mem_host;

int mem_host_open(struct mem_host **ret_host);
/** Lets go of all pools: drops the unused without keep, leaves the others to their users. */
void mem_host_close(struct mem_host *h);
/**
 * Before an exec of the daemon by itself: gives the slots back, since whoever comes has our pid and start time and they
 * would seem alive for ever; all pools stay as they are. The program's own heap is left as at its exit.
 */
void mem_host_leave(struct mem_host *h);

/**
 * mem_host_want - see that a pool of this name takes new users on the wished manager
 *
 * Finds the newest incarnation in the registry: the same manager and size: taken over as it is. Another manager: when
 * unused, dropped and made anew; in use, it drains and the next incarnation is made; with keep, the change is
 * held back. `why` is filled when it fails. 0 or -errno.
 */
int mem_host_want(struct mem_host *h, const struct mem_host_wish *wish, char *why, size_t bytes);
/** By name, all incarnations. -ENOENT; -EBUSY: it is used and not `force`d (then it drains and goes with its last
 * user). */
int mem_host_drop(struct mem_host *h, const char *name, bool force);
/** Calls `work(arg)` in a child that ends with it, within seconds. Returns the child's pid, or -1. */
typedef pid_t mem_host_child_fn(void (*work)(void *), void *arg);
struct mem_release;
/**
 * mem_release_begin - an operator's decision: what killed processes left in pool `name` goes, whatever on_death says
 * @pid: of the killed one; 0: of all
 *
 * Nothing is done before the first step. Returns 0, -ENOENT or -ENOMEM.
 */
int mem_release_begin(const struct mem_host *h, const char *name, int64_t pid, struct mem_release **ret_release);
/**
 * mem_release_step - goes on with it, as far as it comes without waiting
 * @in_child: as for mem_host_reap()
 *
 * Returns -EINPROGRESS: a child of it is at work; -EBUSY: the same, and it has not begun, since that child reaps: again
 * when a child has ended. Then -EAGAIN: no child could be made; -EUCLEAN: the pool is damaged; else 0, and in
 * *ret_freed the fragments that went, UINT64_MAX: a child did not come to its end.
 */
int mem_release_step(struct mem_host *h, struct mem_release *r, mem_host_child_fn *in_child, uint64_t *ret_freed);
/** Frees it, done or not; NULL does nothing. */
void mem_release_end(struct mem_release *r);
/**
 * mem_host_reap - once a second or so: takes locks from the dead, frees slots, drops drained pools, tidies the registry
 * @in_child: NULL: in this process, which then trusts everybody who may write to its pools
 *
 * META and heap may be noise, and the lock's holder may be stopped: a child may fall or hang over that, and the host
 * goes on, since it waits for no child. A pool whose reaper dies of a signal of its own is marked as damaged. Returns
 * how many owners it found dead.
 */
unsigned mem_host_reap(struct mem_host *h, mem_host_child_fn *in_child);
/** When a child has ended: sees what became of it. mem_host_reap() does so, too. */
void mem_host_bury(struct mem_host *h);

/** i from 0; false: no more. */
bool mem_host_at(const struct mem_host *h, size_t i, struct mem_host_pool *ret_pool);

#endif
