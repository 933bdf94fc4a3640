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

enum { HOSTED_MAX = 64 };

struct host_wish {
	const char *name, *manager;
	uint64_t size;
	bool keep;
	unsigned on_death;
	bool track_stacks, debug, safety_abort;	/* as memory.track, memory.debug, memory.safety */
};

struct host_pool {
	char name[64], manager[32];
	uint32_t incarnation;
	bool draining, keep;
	const char *held_back;		/* why the pool is not on the manager that was wished for, or NULL */
};

struct host;

int host_open(struct host **ret_host);
/** Lets go of all pools: drops the unused without keep, leaves the others to their users. */
void host_close(struct host *h);

/**
 * host_want - see that a pool of this name takes new users on the wished manager
 *
 * Finds the newest incarnation in the registry: the same manager and size: taken over as it is. Another manager: when
 * unused, dropped and made anew; in use, it drains and the next incarnation is made; with keep, the change is
 * held back. `why` is filled when it fails. 0 or -errno.
 */
int host_want(struct host *h, const struct host_wish *wish, char *why, size_t bytes);
/** By name, all incarnations. -ENOENT; -EBUSY: it is used and not `force`d (then it drains and goes with its last user). */
int host_drop(struct host *h, const char *name, bool force);
/** Once a second or so: takes locks from the dead, frees slots, drops drained pools, tidies the registry. Returns how many owners died. */
unsigned host_reap(struct host *h);

/** i from 0; false: no more. */
bool host_at(const struct host *h, size_t i, struct host_pool *ret_pool);

#endif
