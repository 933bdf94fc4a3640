/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front end: what every call of an application passes through, whatever the manager.
 *
 *	lock -> manager -> counters, record, tail -> commit -> unlock
 *
 * One source, compiled for pkg (plain stores; the lock is left out while the process has one thread) and for shm
 * (logged stores, the pool's recoverable lock). A call of a killed process happened whole or not at all.
 */
#ifndef FRONT_FRONT_H
#define FRONT_FRONT_H

#include "mem/pool.h"

enum front_flags {
	FRONT_ZERO = 1,	  /* alloc: zeros */
	FRONT_HELD = 2,	  /* shm: the caller holds the pool's lock by shm_lock() */
	FRONT_XF = 4,	  /* realloc: free when it fails */
	FRONT_QUIET = 8,  /* a request that fails leaves no record: it is tried elsewhere */
	FRONT_KNOWN = 16, /* pkg, free: the manager has just said that it owns the pointer, and that it is not marked */
	FRONT_OWNED = 32, /* shm, alloc: goes back when the caller's slot is reaped */
	FRONT_MISSED = 64, /* pkg, alloc: the short way did not serve it */
	FRONT_SAMPLED = 128, /* pkg, alloc: while allocations are sampled it is one of these */
	FRONT_PASSED = 256, /* pkg, alloc: it is none of these */
};

/* Most words of its own that the front end logs in a transaction: counters, record, tail, mark, and what front_to says.
 */
enum { FRONT_STORES = 16 };

/**
 * shm: a pointer variable of the application's that changes in the transaction of the call. It lies in DATA of one of
 * the pool's shards, perhaps another one than the fragment: the log may lead there (lock_log_sound).
 *
 *	alloc	*dst becomes the new fragment, unless dst is NULL; `made` is its record
 *	free	only if *dst still names the fragment: *dst becomes `value`, `made` is not OWNED any more, unless it is
 *		NULL, and `done` says that it happened. `made` may be another shard's: while it is OWNED nobody but its
 *		owner knows of it.
 */
struct front_to {
	uint64_t *dst;
	uint64_t value;
	struct meta_record *made;
	bool done;
};

/** Who calls, from where. */
struct front_call {
	struct pool *p;
	struct owner *o;
	const struct mem_site *site;
	const void *caller;		/* return address, where there is no site */
	unsigned flags;
	struct front_to *to;		/* shm; or NULL */
};

/** Shard 0's: sites are interned there. A holder of all locks holds that one, too. */
static inline struct owner *at_home(const struct front_call *call)
{
	return call->o && call->o->home ? call->o->home : call->o;
}

/** What a fragment was that did not get its new size where it is: `bytes` to be copied. */
struct front_old {
	uint64_t bytes;
	void *now;
	bool bad, owned;
	/* pkg, while allocations are sampled: it could have, but shall get a record; it has none; what it has */
	bool sampled, alone;
	uint32_t weight;
	uint64_t grows;			/* bytes */
};

/** A walk that lets the lock go between slices of FRONT_SLICE fragments. Zeros begin one. */
struct front_walk {
	unsigned cursor;		/* + 1 of its place in h->cursors */
	uint64_t owner;			/* what is beside the cursor as long as it is this walk's */
	int error; /* 0; -EUCLEAN: damaged; -EDEADLK: in a signal handler; -EBUSY: MEM_CURSORS others are walking, or
		    * one of them took the place of this one, which did not come back for WALK_EXPIRES seconds */
};
enum { FRONT_SLICE = 64, WALK_EXPIRES = 60 };

#define FRONT_DECLARE(domain)										\
	void *domain##_front_alloc(const struct front_call *call, size_t align, size_t size);		\
	void domain##_front_free(const struct front_call *call, void *ptr);				\
	void *domain##_front_realloc(const struct front_call *call, void *ptr, size_t size);		\
	size_t domain##_front_usable(const struct front_call *call, const void *ptr);			\
	void domain##_front_set_site(const struct front_call *call, void *ptr);				\
	uint32_t domain##_front_site(const struct front_call *call);	/* number of the call's site */	\
	/* The heap of zeros becomes an empty one: the pool's first transaction. 0 or -errno. */	\
	int domain##_front_init(struct pool *p, struct owner *o, uint64_t committed);			\
	/* One slice of a walk, with the lock. false: it was the last one; w->error says why. */	\
	bool domain##_front_walk(struct pool *p, struct owner *o, struct front_walk *w, mem_walk_fn *fn,	\
				 void *arg);							\
	/* A walk that shall not go on. */								\
	void domain##_front_walk_end(struct pool *p, struct owner *o, struct front_walk *w);

FRONT_DECLARE(pkg)
FRONT_DECLARE(shm)

/**
 * What becomes of the fragment of a record if slot `number`, whose owner is gone, still owns it: free, or put apart.
 * @state: of the slot, when that was decided: LEFT or DEAD
 * false: it does not, its slot's op record is not settled, or the fragment is damaged.
 */
bool shm_front_reclaim(const struct front_call *call, uint64_t record, uint32_t number, uint64_t state,
		       bool quarantine);
/** The call would wait for itself: told as MEM_DEADLOCK, errno is EDEADLK. */
bool shm_front_refuses(const struct front_call *call);
/** The fragment becomes the caller's, OWNED or not, in a transaction. false: no fragment in use begins there. */
bool shm_front_own(const struct front_call *call, void *ptr, bool owned);
/** The transaction that ends the making of an OWNED fragment: call->to->dst names it, and it is SHARED. */
void shm_front_deliver(const struct front_call *call, void *ptr);
/** First half of a realloc: `size` bytes in place. ret->now NULL: they are to be had elsewhere, or ptr is bad. */
struct front_old shm_front_resize(const struct front_call *call, void *ptr, size_t size);

/** What is ready for this slot, and what is in the depot, goes to the manager; the others are asked to follow. */
void shm_front_trim(const struct front_call *call);
/** Magazines and op record of slot `number`, which is gone or our own and ends: what is there goes to the manager. */
void shm_front_settle(struct pool *p, struct owner *o, uint32_t number);

/**
 * The pkg lock for who only reads the ledger. 0, or -EDEADLK in a signal handler that interrupted a call; handlers that
 * interrupt the reader are refused in their turn.
 */
int pkg_front_read(struct pool *p);
void pkg_front_read_end(struct pool *p);
/** The pkg lock as fork needs it, and as it looks to a child that was made behind its back. */
void pkg_front_hold(struct pool *p);
void pkg_front_let_go(struct pool *p);
/** A call of this thread waits for it, interrupted by who asks. */
bool pkg_front_waits(void);
/** What is in this thread's magazines and in the depot goes back to the manager; false: nothing was. With the lock. */
bool pkg_front_flush(struct pool *p);
/** Other threads shall do so, too, when they come by. With the lock. */
void pkg_magazines_trim(void);

/* report.c: cold, no lock held */

/** A fault, found by a call; recorded, told to the program, and the policy followed. */
void front_fault(const struct front_call *call, enum mem_fault_kind kind, const void *ptr, uint64_t record);
extern void (*front_fault_handler)(const struct mem_fault_report *report);

enum { NO_RECORD = -1 };

#endif
