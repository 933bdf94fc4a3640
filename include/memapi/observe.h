/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A read-only view of every pool in a registry, live or left behind.
 *
 * The observed process does nothing, no lock of a pool is taken, and every byte that is read is hostile until checked.
 * A heap in motion is read in parts that were true, or again, or told as not known; it is never half believed.
 * A sharded pool is one pool: what is told of it is told of all its shards.
 * Functions return 0 or -errno; results through ret_… are untouched on failure. One observer serves one thread.
 */
#ifndef MEMAPI_OBSERVE_H
#define MEMAPI_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memapi/memapi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct obs;			/* a registry, or several: root's view of all users' */
struct obs_pool;		/* one pool in it; its address is stable until an obs_scan() drops it */

enum obs_domain { OBS_PKG = 1, OBS_SHM = 2 };
enum obs_state { OBS_LIVE, OBS_DRAINING, OBS_EXITED, OBS_CRASHED, OBS_DAMAGED };
enum obs_tracking { OBS_OFF, OBS_SITES, OBS_STACKS, OBS_SAMPLED };

#define OBS_UNKNOWN UINT64_MAX		/* of a counter: the manager cannot know it */

/** What stays of a pool. Strings are checked copies. */
struct obs_info {
	char id[96];			/* shm:NAME:INCARNATION, pkg:PID:INCARNATION; and @UID if root sees two alike */
	enum obs_domain domain;
	char name[64];			/* shm; "" for pkg */
	int64_t pid;			/* pkg: the owner; shm: its maker */
	char command[64], manager[32];
	uint32_t incarnation, uid;
	uint32_t shards;		/* 1: it is not sharded */
	uint64_t created;		/* CLOCK_REALTIME, s */
	bool hosted, keep, foreign;	/* foreign: of another pid namespace */
	unsigned on_death;		/* 0 keep, 1 reclaim, 2 quarantine */
};

/**
 * Counters, one consistent copy; of a sharded pool the sums over one of each shard, where nothing else is said.
 * Always real_used + cached + free = committed, where none is OBS_UNKNOWN.
 */
struct obs_stats {
	enum obs_state state;
	char reason[96];		/* of OBS_DAMAGED; of a sharded pool it names the shard */
	enum obs_tracking tracking;
	uint64_t size, committed, used, real_used, free, cached, fragments, free_fragments;
	uint64_t max_used;		/* shards: the sum of their marks, an upper bound: they need not have met */
	uint64_t largest_free;		/* shards: of any */
	uint64_t failures, untracked, untracked_bytes, stamp;
	uint64_t takeovers, rollbacks, faults;
	uint64_t recoveries,
		reaped; /* shm: locks taken from the dead and told by obs_recoveries(); owners found dead */
	unsigned users, dead;		/* slots of the living, and of those who left memory behind; shards: users of
					 * shard 0, where each has one, and the most dead that any has */
	unsigned slots;			/* shm: obs_owner() knows numbers below, of each shard */
	int64_t lock_pid;		/* shm: who holds the pool's lock now, 0: nobody; shards: the first held */
	uint64_t lock_turn;		/* the same turn seen twice: held all the time */
};

struct obs_site {
	char file[80], function[56], module[24];	/* "": not known */
	uint64_t line, address;
	uint64_t stack;			/* `function` names a stack, the innermost first: its number; 0: it is none */
};

struct obs_owner {
	int64_t pid;
	char command[64];
	bool alive;
};

enum obs_frag_state { OBS_USED, OBS_FREE, OBS_CACHED };

struct obs_fragment {
	uint64_t index;			/* of its record, unique in the pool; OBS_UNKNOWN: none */
	uint64_t address, size, requested;	/* requested: OBS_UNKNOWN where not known */
	enum obs_frag_state state;
	uint32_t site;			/* obs_site() */
	uint32_t slot;			/* of its owner, with the shard: slot | shard << 16 */
	uint64_t time, stamp;		/* CLOCK_REALTIME, s; OBS_UNKNOWN: not known */
	bool quarantined;		/* used, by one who was killed, and kept apart (on_death) */
	bool sampled;			/* one of many: sums over these are estimates */
	double weight;			/* sampled: how many allocations it stands for; else 1 */
	uint64_t alike;			/* sampled: bytes of each of these, which have no record; else size */
};

struct obs_failure {
	uint64_t time;
	int64_t pid;
	uint32_t site;
	uint64_t requested, free, largest_free;
	const char *verdict;		/* exhausted, fragmented, limit, dead_owners, deadlock */
};

struct obs_fault {
	uint64_t time, address;
	int64_t pid;
	const char *kind;		/* double free, wild free, overrun, deadlock */
	uint32_t site, alloc_site, free_site;	/* 0: not known */
};

/** Result of obs_check(). */
struct obs_check {
	bool known;			/* false: could not be checked, errors say why */
	bool ok;
	bool moving;			/* it never stood still: walked in parts that were true, the number of fragments
					 * comes out; walked and counted differ by what happened meanwhile */
	struct obs_totals { uint64_t used, free, fragments, free_fragments, largest_free; } walked, counted;
	unsigned errors;		/* told to the callback */
	uint64_t pause_ns;		/* longest hold of the pool's lock */
};

/**
 * obs_open - observe a registry
 * @dir: the directory, or NULL: MEMAPI_REGISTRY, else /dev/shm/mmd-UID; for root every /dev/shm/mmd-*
 *
 * A directory that is not there is an empty registry and is looked for again by each scan.
 * Example:
 *	struct obs *o;
 *	struct obs_stats stats;
 *	if (obs_open(NULL, &o))
 *		return -1;
 *	obs_scan(o, NULL, NULL);
 *	for (size_t n = 0; obs_at(o, n); n++)
 *		if (obs_stats(obs_at(o, n), &stats) == 0)
 *			printf("%s: %llu bytes used\n", obs_info(obs_at(o, n))->id, (unsigned long long)stats.used);
 *	obs_close(o);
 */
MEMAPI_EXPORT int obs_open(const char *dir, struct obs **ret_obs);
MEMAPI_EXPORT void obs_close(struct obs *o);

/**
 * obs_meanwhile - have `fn` called every few microseconds by obs_check(), in its thread
 *
 * For who wants to offer the CPU to those who are observed, or to show that it goes on. It must not observe. NULL: no
 * more.
 */
MEMAPI_EXPORT void obs_meanwhile(struct obs *o, void (*fn)(void));

typedef void obs_skip_fn(const char *file, const char *reason, void *arg);
/** Look for pools that came and went. `skip` is told each file that is not believed: another ABI, truncated, noise. */
MEMAPI_EXPORT int obs_scan(struct obs *o, obs_skip_fn *skip, void *arg);

/** Pools in a stable order: by domain, pid or name, incarnation. i from 0; NULL: no more. */
MEMAPI_EXPORT struct obs_pool *obs_at(struct obs *o, size_t i);
MEMAPI_EXPORT struct obs_pool *obs_find(struct obs *o, const char *id);
MEMAPI_EXPORT const struct obs_info *obs_info(const struct obs_pool *p);

MEMAPI_EXPORT int obs_stats(struct obs_pool *p, struct obs_stats *ret_stats);
/**
 * The same without largest_free, which is OBS_UNKNOWN: that alone is read out of the heap, up to 1 ms where many free
 * fragments lie apart, and for a private heap out of the process.
 */
MEMAPI_EXPORT int obs_counts(struct obs_pool *p, struct obs_stats *ret_stats);

/** Return false to stop. */
typedef bool obs_fragment_fn(const struct obs_fragment *f, void *arg);
/**
 * obs_records - used and cached fragments from the ledger, no lock
 * @cursor: in: where to go on, 0 the start; out: where it stopped, 0 the end
 * @max: records to look at at most, whether in use or not
 *
 * Of a sharded pool shard by shard, with one cursor. Of one that is damaged because a shard is missing, the others.
 */
MEMAPI_EXPORT int obs_records(struct obs_pool *p, uint64_t *cursor, uint64_t max, obs_fragment_fn *fn, void *arg);
/**
 * obs_walk - fragments from the heap itself, used and free, also where nothing was tracked
 *
 * Of a manager that keeps its own memory: those of the ledger, since nobody else knows where it has any.
 * As obs_records(); fragments with a record tell what it knows. -EAGAIN: the heap changed too fast, try later;
 * -ESRCH: a private heap whose process is gone; -EACCES: the kernel denies it; -EUCLEAN: damaged; -ENOTSUP: its
 * manager has no view in this build; -EINVAL: no cursor of this pool.
 */
MEMAPI_EXPORT int obs_walk(struct obs_pool *p, uint64_t *cursor, uint64_t max, obs_fragment_fn *fn, void *arg);

/** Site by number. 0, or one that cannot be read, gives empty strings and line 0. */
MEMAPI_EXPORT void obs_site(struct obs_pool *p, uint32_t site, struct obs_site *ret_site);
/** Owner by number, as a fragment has it. One that cannot be read, or is not in use, has pid 0. */
MEMAPI_EXPORT void obs_owner(struct obs_pool *p, uint32_t slot, struct obs_owner *ret_owner);

/** The newest first, 64 at most are kept, of each shard. */
typedef bool obs_failure_fn(const struct obs_failure *f, void *arg);
MEMAPI_EXPORT int obs_failures(struct obs_pool *p, obs_failure_fn *fn, void *arg);
typedef bool obs_fault_fn(const struct obs_fault *f, void *arg);
MEMAPI_EXPORT int obs_faults(struct obs_pool *p, obs_fault_fn *fn, void *arg);

/** A dead owner's lock was taken over, and its open call rolled back. */
struct obs_recovery {
	uint64_t time;			/* CLOCK_REALTIME, s */
	int64_t pid, dead;		/* who did it, and for whom */
	uint64_t stores;		/* rolled back; 0: the dead one was between two transactions */
	uint64_t ns;			/* from the certified death to the free lock */
};
typedef bool obs_recovery_fn(const struct obs_recovery *r, void *arg);
/** As obs_failures(). */
MEMAPI_EXPORT int obs_recoveries(struct obs_pool *p, obs_recovery_fn *fn, void *arg);

typedef void obs_error_fn(uint64_t address, const char *what, void *arg);
/**
 * obs_check - walk the heap, test its invariants, compare with the counters and the ledger
 *
 * Reports, never aborts. Of a sharded pool each shard by itself; errors name it.
 */
MEMAPI_EXPORT int obs_check(struct obs_pool *p, struct obs_check *ret_check, obs_error_fn *fn, void *arg);

/**
 * Ask the owner for another tracking mode; it follows at its next call. -ENOTSUP: off or sampled for shm, where every
 * fragment has its record. A manager that cannot do it stays with off.
 */
MEMAPI_EXPORT int obs_track(struct obs_pool *p, enum obs_tracking mode);

#ifdef __cplusplus
}
#endif
#endif /* MEMAPI_OBSERVE_H */
