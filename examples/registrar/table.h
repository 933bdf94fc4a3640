/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registrar's table: records of addresses in shared memory, hashed into buckets with a lock each.
 *
 *	root "registrar" -> struct table | bucket 0: lock head fresh dying | bucket 1 | ...
 *	                                              |
 *	                                              record -> record -> NULL
 *
 * A process may be killed between any two instructions. Invariants, at each of them:
 *	- a list is whole: a record is linked, replaced and unlinked by one store, and never changed while it is linked;
 *	- `fresh` names a record that is made and may not be linked yet, `dying` one that is unlinked, or about to be:
 *	  whoever takes over the bucket's lock finishes or undoes what its owner began (bucket_repair);
 *	- a fragment comes and goes together with its word (shm_malloc_to, shm_free_from): none is ever lost.
 * Cost: a lookup walks its bucket; an update is one allocation and one free.
 */
#ifndef REGISTRAR_TABLE_H
#define REGISTRAR_TABLE_H

#include "bindings.h"
#include "memapi/memapi.h"

struct bucket {
	_Alignas(64) struct mem_lock lock;
	_Atomic(struct record *) head;
	_Atomic(struct record *) fresh, dying;
	uint64_t repairs;	/* how often its lock's owner died */
};

struct table {
	uint64_t magic;
	uint64_t secret;	/* of hashes and tags */
	uint64_t buckets;	/* a power of two */
	struct bucket bucket[];
};

/**
 * table_open - the pool's table, made when there is none; of several that make one at once the first one's
 *
 * Returns 0; -EPROTO: the root is not a table of this program; -ENOMEM; or what shm_root_set() says.
 */
int table_open(size_t buckets, struct table **ret_table);

/** Locks the bucket of `hash`, and repairs what a dead owner left. NULL: the lock cannot be had. */
struct bucket *table_lock(struct table *t, uint64_t hash);
struct bucket *table_lock_at(struct table *t, size_t i);
/** Unlock. */
void table_unlock(struct bucket *b);

/* All of these under the bucket's lock. */

/** The word that leads to the record of `key`, or to the list's end. */
_Atomic(struct record *) *bucket_find(struct bucket *b, uint64_t hash, struct text key);
/** A record for bucket_link(): nothing in it is set. NULL: no memory. */
struct record *bucket_make(struct bucket *b, size_t bytes);
/** `made`, from bucket_make() and written, takes the place of *link, which is freed; at the list's end it is added. */
void bucket_link(struct bucket *b, _Atomic(struct record *) *link, struct record *made);
/** Take *link out and free it. */
void bucket_remove(struct bucket *b, _Atomic(struct record *) *link);

/** What a sweep found. */
struct sweep { size_t records, contacts, removed, repairs; };
/** Free every record that nobody needs at `now`; one bucket is locked at a time. */
void table_sweep(struct table *t, int64_t now, struct sweep *ret_sweep);

#endif /* REGISTRAR_TABLE_H */
