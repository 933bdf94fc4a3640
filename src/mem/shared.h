/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared pools: made, attached, let go. For applications (shm.c) and for a daemon that hosts them (host.c).
 */
#ifndef MEM_SHARED_H
#define MEM_SHARED_H

#include "mem/pool.h"

struct shared_spec {
	const char *name;		/* of the pool */
	uint64_t size;			/* that it may grow to; rounded up to 2 MiB a shard, 64 GiB at most */
	unsigned shards;		/* 1 to SHARDS_MAX, each with its share of the size */
	const struct mem_manager *manager;
	unsigned on_death;
	uint64_t features;
	bool hosted, keep;
	bool observer;			/* the caller's slot is a daemon's */
};

/** What each of `shards` gets of a wish for `size`: its share, rounded up; 0: of memory.shm.size. */
uint64_t shared_size(uint64_t size, unsigned shards);

/**
 * Make the next incarnation: spec->shards pools in p[], with a slot of the caller in each in ret_owner[]. All or none.
 * -ENOSPC, -ENOMEM, -EINVAL (name, size) …
 */
int shared_create(const struct shared_spec *spec, struct pool *p, struct owner *ret_owner);
/**
 * Map incarnation `incarnation` of `name`, 0: the newest one that takes new users, into p[SHARDS_MAX].
 * -ENOENT; -EADDRINUSE: its addresses are taken here; -EUCLEAN: not believed, or a shard is missing; -ENOTSUP: its
 * manager is not in this build.
 */
int shared_attach(const char *name, uint32_t incarnation, struct pool *p, unsigned *ret_shards);
/** Has a pool of this name users, or a host? By a look at its file: also where it cannot be mapped or its manager is
 * not known. */
bool shared_live(int dir, const char *name);
/** Unmap all shards; the slots were left before. */
void shared_detach(struct pool *p, unsigned shards);
/** Unlink the files of all shards; those who have them mapped keep them. */
int shared_unlink(const char *name, uint32_t incarnation, unsigned shards);
/** Living slots of one shard but for `except` (NULL: none). Of shard 0: the pool's users. */
unsigned shared_users(const struct pool *p, const struct owner *except);
/** Slots: living ones of threads of this process and of others, and those whose owners did not leave in order. */
struct shared_crowd { unsigned own, others, dead; };
struct shared_crowd shared_crowd(const struct pool *p);
/**
 * shared_heirs - does a process that has the pool by fork live, though it may have no slot yet?
 *
 * Children share the open file p->heirs, and the lock on it, until the last of them ends. (Not that of meta_file: its
 * mappings would hold it, ours too.) This process lets go of its own: for its end only.
 */
bool shared_heirs(struct pool *p);

#endif
