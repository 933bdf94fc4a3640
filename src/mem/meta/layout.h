/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * META: what others may know of a pool. One file a pool in the registry, types only here.
 *
 *	0	identity	written before the file gets its name, never after
 *	4 KiB	live		lock, counters, cursors, named roots: one cache line a writer
 *	8 KiB	roots		the manager's own words; pkg, where these are private memory at identity.roots: threads
 *	256 KiB	failures, faults	two rings
 *	384 KiB	depot		shm: magazines that no slot has
 *	448 KiB	recoveries	a third
 *	512 KiB	sites		interned places in code, append only
 *	16 MiB	slots		one an owner: identity, life mutex, undo log, magazines
 *	64 MiB	records		one a fragment: their array is the ledger
 *
 * The file is sparse: only what the `…_committed` words and slot states cover has memory behind it, so that nothing
 * that is touched can raise SIGBUS. A pkg pool's META starts as its first 8 KiB and has no slots.
 * In shm META is mapped at identity.meta_at in every process, just below DATA with a guard between:
 *
 *	| META: META_RECORDS + records_max | guard | DATA: size |
 *	meta_at                                    base
 *
 * A sharded pool is several of these, each a heap with a lock, slots and records of its own: file names and identities
 * tell what belongs together (registry.h). Sites are all in shard 0: its numbers are meant in the others' records and
 * rings.
 *
 * Addresses and times of one boot: META never outlives it. Observers treat every byte as hostile.
 */
#ifndef META_LAYOUT_H
#define META_LAYOUT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memapi/heap.h"

#define META_MAGIC 0x3169706172656d6dull	/* "mmerapi1" as bytes */

enum { META_LAYOUT = 6 };		/* raise with every change here: others refuse what they do not know */

enum {
	META_PAGE = 4096,
	META_LIVE = 4096,
	META_ROOTS = 8192,
	META_ROOTS_MAX = 0x40000 - META_ROOTS,
	META_THREADS = META_ROOTS,	/* pkg */
	META_FAILURES = 0x40000,
	META_FAULTS = 0x50000,
	META_DEPOT = 0x60000,
	META_RECOVERIES = 0x70000,
	META_SITES = 0x80000,
	META_SLOTS = 0x1000000,
	META_RECORDS = 0x4000000,
	META_GUARD = 0x200000,		/* between META and DATA, no access */
	META_PKG_START = META_ROOTS,	/* bytes that a pkg META starts with */
};

enum { SITES_MAX = 32768, SITE_CHAINS = 512, SLOTS_MAX = 2048, RING_MAX = 64, NAMED_ROOTS = 32 };
enum { POOL_NAME_MAX = 48, SHARDS_MAX = 16 };

/* The identity page. Strings end with 0. */
struct meta_identity {
	uint64_t magic;
	uint32_t layout, pointer_bytes, page_bytes, identity_bytes;
	uint32_t domain;		/* MEM_PKG, MEM_SHM */
	uint32_t incarnation;		/* from 1 */
	uint64_t generation;		/* random: tells this META from every other, also in fragments' tails */
	uint64_t base, size;		/* DATA: address, bytes that it may grow to */
	uint64_t meta_at;		/* shm: address of META in every process */
	uint64_t roots, root_bytes;	/* address in the owner: shm meta_at + META_ROOTS */
	uint64_t records_max;
	uint64_t created;		/* CLOCK_REALTIME, s: records' times count from it */
	uint64_t group;			/* the same in all shards of a pool; 0: it has but this one */
	uint32_t shard, shards;		/* number of this one, how many there are; 0 of 1 where it has but one */
	int64_t pid;			/* pkg: the owner; shm: who made it. In its own pid namespace */
	uint64_t start_time;		/* field 22 of /proc/PID/stat, ticks */
	uint64_t pid_namespace;		/* inode of /proc/self/ns/pid */
	uint32_t uid, on_death;		/* enum pool_on_death */
	uint32_t hosted;		/* shm: made by a daemon for others */
	uint32_t keep;			/* hosted: not dropped when unused */
	char name[POOL_NAME_MAX + 16];	/* shm: the pool's name; pkg: "" */
	char manager[32];
	char command[64];		/* of pid */
};

enum pool_on_death { ON_DEATH_KEEP, ON_DEATH_RECLAIM, ON_DEATH_QUARANTINE };
enum pool_state { POOL_NEW, POOL_LIVE, POOL_DRAINING, POOL_EXITED, POOL_DAMAGED };

/* Bits of live.features; an operator writes live.wanted, the owner follows at its next call. */
enum { FEATURE_SITES = 1, FEATURE_STACKS = 2, FEATURE_GUARDS = 4, FEATURE_ABORT = 8, FEATURE_NO_MAGAZINES = 16,
       FEATURE_SAMPLED = 32 };			/* pkg, and neither SITES nor STACKS */
enum { FEATURES_TRACK = FEATURE_SITES | FEATURE_STACKS | FEATURE_SAMPLED };
enum { FEATURES_ALL = 63, FEATURES_ALWAYS = FEATURE_ABORT | FEATURE_NO_MAGAZINES }; /* whatever the manager can do */

/*
 * A lock word, of the pool or of an application:  turn 32 | slot's generation 19 | slot + 1 12 | waiters 1
 * The low 32 bits are 0 when it is free; the turn counts how often it was taken.
 */
#define LOCK_WAITERS 1ull
#define LOCK_SLOT(word) ((uint32_t)(word) >> 1 & 0xfff)		/* slot + 1, 0: free */
#define LOCK_GEN(word) ((uint32_t)(word) >> 13)
#define LOCK_TURN(word) ((word) >> 32)

/** Words of the transaction: logged in shm. What is derived (real_used, untracked …) is not stored. */
struct meta_counters {
	uint64_t committed;		/* bytes of DATA that have memory behind them */
	uint64_t used;			/* usable bytes of used fragments */
	uint64_t fragments;
	uint64_t max_used;		/* high-water mark of used + cached */
	uint64_t stamp;			/* allocations ever */
	struct mem_tally tally;		/* free bytes and fragments */
	uint64_t recorded;		/* fragments with a record */
	uint64_t recorded_bytes;	/* of `used` */
	uint64_t records_free;		/* index + 1 of the first free record below records_used, 0: none */
	uint64_t records_used;		/* records ever in use: the array's end */
	uint64_t sites_used;		/* site 0 is "not known" */
};

/*
 * pkg: what the magazines of one thread hold, the thread's own line. The first of all is the depot's. They are in the
 * live page, LIVE_THREADS of them, and from META_THREADS on. Stores alone: a thread reads nothing here but `taken` and
 * `start`.
 */
enum { MAGAZINE_SIZES = 65, MAGAZINE_STRIDE = 72 };
struct meta_thread {
	_Alignas(64) uint64_t taken;	/* taken - start: allocations from there that counters.stamp has not, signed */
	uint32_t head;			/* top[i] counts fragments of 16 i + head bytes */
	uint32_t recorded;		/* 1: all that is inside has records, 0: none of it */
	uint16_t top[MAGAZINE_SIZES];	/* MAGAZINE_STRIDE i + fragments inside */
	uint64_t shelf; /* what lies on its shelf, larger ones without records, as live.cached says it */
	/* where `taken` began to count: as a signed number it is 0 when a sample is due (sampled.h). While calls are
	 * recorded `taken` stays, and this counts alone, down */
	uint64_t start;
};
enum { LIVE_THREADS = 2, THREADS_MAX = 1024 };

struct meta_live {
	/* -- who writes: a holder of the lock, and who wants it -- */
	_Alignas(64) _Atomic uint64_t lock;
	_Atomic uint64_t repair; /* slot + 1 of who rolls back a dead owner; the lock names the dead one meanwhile */
	_Atomic uint64_t takeovers, rollbacks;	/* counters, read by humans */
	uint64_t turn;			/* pkg: odd while a call changes the heap */
	_Atomic uint64_t recoveries;	/* shm: ever; the next place in their ring */
	_Atomic uint64_t reaped;	/* shm: owners ever found dead */
	/* -- the holder, in transactions -- */
	_Alignas(64) struct meta_counters counters;
	uint64_t records_committed;	/* records that have memory behind them; grows outside of transactions */
	uint64_t sites_committed;
	/* -- anybody, atomically -- */
	_Alignas(64) _Atomic uint64_t failures;		/* ever; the next place in its ring */
	_Atomic uint64_t faults;
	_Atomic uint64_t rings_committed;		/* 1: the rings have memory behind them */
	_Atomic uint64_t slots_used;			/* slots ever claimed; their pages have memory behind them */
	uint64_t cached; /* shm: CACHED_BYTES, CACHED_COUNT in the depot, a word of the transaction */
	_Atomic uint64_t threads; /* pkg: lines from META_THREADS on that have memory behind them */
	/* -- operators; read by every call -- */
	_Alignas(64) _Atomic uint64_t wanted;
	_Atomic uint64_t features;
	_Atomic uint64_t state;				/* enum pool_state */
	_Atomic uint64_t trim;		/* shm: how often a request found no memory: what is in magazines goes back */
	char reason[96];				/* of POOL_DAMAGED */
	/* -- walks that let the lock go -- */
	_Alignas(64) struct mem_cursors cursors;
	uint64_t cursor_slot[MEM_CURSORS];		/* slot + 1 of its owner | number of its walk << 32 */
	uint64_t cursor_expires[MEM_CURSORS];		/* CLOCK_MONOTONIC, s */
	/* -- named roots: the holder of the lock -- */
	_Alignas(64) struct meta_named_root { char name[56]; uint64_t address; } named[NAMED_ROOTS];
	struct meta_thread thread[LIVE_THREADS];
};

/* A failed request. `seq` is written last: a reader takes an entry whose seq is place + 1 before and after. */
struct meta_failure {
	_Atomic uint64_t seq;
	uint64_t time;			/* CLOCK_REALTIME, s */
	int64_t pid;
	uint64_t site, requested, free, largest_free, size, used;
	uint64_t verdict;		/* enum mem_verdict */
	uint64_t address;		/* of the call, where there is no site */
	uint64_t pad[5];
};
enum mem_verdict { VERDICT_EXHAUSTED, VERDICT_FRAGMENTED, VERDICT_LIMIT, VERDICT_DEAD_OWNERS, VERDICT_DEADLOCK };

struct meta_fault {
	_Atomic uint64_t seq;
	uint64_t time;
	int64_t pid;
	uint64_t kind;			/* enum mem_fault_kind */
	uint64_t address, site, alloc_site, free_site;	/* sites: 0 not known */
	uint64_t pad[8];
};

/* A dead owner's lock was taken over. */
struct meta_recovery {
	_Atomic uint64_t seq;
	uint64_t time;			/* CLOCK_REALTIME, s */
	int64_t pid, dead;		/* who did it, and for whom */
	uint64_t stores;		/* rolled back; 0: the dead one was between two transactions */
	uint64_t ns;			/* from the certified death to the free lock */
	uint64_t pad[10];
};

/* A place in code. Interned under the lock; the bytes are written before the chain leads to them. */
struct meta_site {
	uint64_t hash, next;		/* next: site with the same chain, 0: end */
	uint64_t address; /* return address, where `file` is a program or library and line is 0; SITE_STACK */
	uint64_t line;
	char file[80], function[56], module[24];
};
#define SITE_STACK (1ull << 63)		/* of `address`: the rest is a number of the stack that `function` names */
struct meta_sites {
	uint64_t chain[SITE_CHAINS];
	struct meta_site site[SITES_MAX];
};

enum slot_state { SLOT_FREE, SLOT_CLAIMING, SLOT_LIVE, SLOT_LEFT, SLOT_DEAD };	/* LEFT in order, DEAD not */

/*
 * slot.state:  pid namespace 10 | pid 22 | generation 24 | enum slot_state 8
 * One word, so that a claim has its owner at once. Of the namespace's inode only the low bits: they are enough to tell
 * that a claim is not to be judged from here; the whole stands in the slot once it lives.
 */
#define SLOT_STATE(word) ((unsigned)(word) & 0xff)
#define SLOT_GEN(word) ((uint32_t)((word) >> 8) & 0xffffff)
#define SLOT_PID(word) ((int32_t)((word) >> 32) & 0x3fffff)
#define SLOT_SPACE(word) ((uint32_t)((word) >> 54))

struct meta_slot {
	_Alignas(64) _Atomic uint64_t state;
	int64_t tid;
	uint64_t start_time, pid_namespace;
	uint64_t uid, since, until;	/* CLOCK_REALTIME, s */
	uint64_t observer;		/* a daemon: its life mutex is not used */
	char command[56];
	_Alignas(64)
		pthread_mutex_t life; /* robust, held by the owner while it lives: OWNER_DIED is the kernel's word */
	_Alignas(64) struct undo_log log;
};
enum { SLOT_BYTES = 16384 };		/* of which the second page has its magazines, and the rest is not used now */

/*
 * Magazines of a slot (shm): for each size up to CACHED_MOST two chains of records, newest first. A record's `time`
 * names the next one.
 *
 *	of[c][x]	how many there are, 8 bits | how many more its owner may put there << 8 | index of the newest
 * record << 16; of the pair that one is in use whose x is 8 bytes of head or none, the other one waits
 *	op		what its owner is doing just now, without the lock. Of a take: the chain's word as it was
 *
 * Of class c are fragments of 16 c + 16 usable bytes (8 more where heads have 8). Only the owner changes them, and in
 * transactions, once it is dead, who repairs. A chain of the depot is such a word, too.
 */
enum { MAGAZINE_CLASSES = 64, MAGAZINE_PAIR = 2, MAGAZINE_DEPTH_FIRST = 8, MAGAZINE_MOST = 64, DEPOT_DEEP = 8 };
#define MAGAZINE_COUNT(word) ((word) & 0xff)
#define MAGAZINE_ROOM(word) ((word) >> 8 & 0xff)
#define MAGAZINE_HEAD(word) ((uint32_t)((word) >> 16))
#define MAGAZINE_WORD(count, room, head) ((uint64_t)(head) << 16 | (room) << 8 | (count))
#define MAGAZINE_ROOMS 0xff00ull
#define MAGAZINE_PUT(word, head) \
	(((uint64_t)(head) << 16) + ((word)&0xffff) + 1 - 0x100)	/* one more, room for one less */
enum magazine_op { OP_NONE, OP_ALLOC, OP_FREE = 0x8000, OP_BEGIN };	/* BEGIN: no record is on its way yet */
#define OP(kind, index) (((uint64_t)(index) << 16) + (kind))
#define OP_KIND(op) (((op) & OP_FREE) || !(op) ? (enum magazine_op)((op) & 0xffff) : OP_ALLOC)
#define OP_RECORD(op) ((uint32_t)((op) >> 16))
struct meta_magazines {
	_Alignas(64) uint64_t op;
	_Alignas(64) uint64_t of[MAGAZINE_CLASSES][MAGAZINE_PAIR];
};
struct meta_depot { uint64_t of[MAGAZINE_CLASSES][DEPOT_DEEP]; };
/*
 * In a slot: at the end of a page, where records and fragments, which begin with theirs, have no lines of the same
 * offset that are in use as often.
 */
#define SLOT_MAGAZINES (2 * META_PAGE - sizeof(struct meta_magazines))

/*
 * A record. free: address | 1 of the fragment that had it, `next` free record + 1 in `sizes`, the rest as it was.
 *	sizes	usable / 8, 34 bits | up to CACHED_MOST usable bytes: requested << 34;
 *		above: usable - requested, at most RECORD_SLACK_MOST, << 34
 *	owner	site | slot << 32 | flags << 48; pkg has no slots, but weight_code() of one that was sampled
 *	time	s since created | low 32 bits of the stamp << 32; free: s | site of the free << 32;
 *		in a magazine of shm: site of the free, 16 bits | the chain behind it << 16
 */
struct meta_record { uint64_t address, sizes, owner, time; };
enum { RECORD_FREE = 1 };		/* in address */
#define RECORD_USABLE(sizes) (((sizes) & 0x3ffffffffull) * 8)
#define RECORD_SLACK_MOST 0x3fffffffull
#define RECORD_CHAIN(time) ((time) >> 16)
#define RECORD_FREED_AT(time) ((uint32_t)(time) & 0xffff)
/*
 * Flags. OWNED: goes back when its slot is reaped, however its owner ended. QUARANTINED: its owner was killed, and
 * on_death says that it stays as it is, whoever frees it, until somebody decides.
 */
enum { RECORD_OWNED = 1, RECORD_CACHED = 2, RECORD_GUARDED = 4, RECORD_QUARANTINED = 8, RECORD_CLAIMED = 16 };

/**
 * The last 8 usable bytes of a fragment with a record: index | low 32 bits of identity.generation << 32. A fragment
 * of a private heap without one that lies in a magazine has such a word with the index TAIL_CACHED at CACHED_TAG.
 */
enum { TAIL_BYTES = 8 };
#define TAIL_CACHED UINT32_MAX
enum { CACHED_TAG = 8 };		/* beside the head, so that a free touches one cache line where it can */
enum { CACHED_MOST = 1024 };		/* largest fragment in a magazine, 16 MAGAZINE_CLASSES */
enum { SHELF_END = 16 << 10 };		/* of a private heap, what is smaller may wait on a thread's shelf */

/**
 * How many allocations a sampled one stands for, 1 or more, in 16 bits of its record: (exponent << 11 | fraction) + 1.
 * 0: it was not sampled, and stands for itself.
 */
static inline double weight_of(uint32_t code)
{
	return code ? (double)(1ull << ((code - 1) >> 11)) * (1 + ((code - 1) & 0x7ff) / 2048.0) : 1;
}

static inline uint32_t weight_code(double weight)
{
	uint32_t power = 0;

	for (; weight >= 2 && power < 30; power++)
		weight /= 2;
	return (power << 11) + (uint32_t)((weight < 2 ? weight - 1 : 1) * 2048 + 0.5) + 1;
}

#define RECORD_WEIGHT(owner) ((uint32_t)((owner) >> 32) & 0xffff)
#define RECORD_WEIGHT_MASK (0xffffull << 32)

static inline uint64_t record_sizes(uint64_t usable, uint64_t requested)
{
	uint64_t more = usable <= CACHED_MOST		      ? requested
			: usable - requested < RECORD_SLACK_MOST ? usable - requested
								 : RECORD_SLACK_MOST;

	return usable / 8 | more << 34;
}

/** Of a slack that is too large to be told: what it may have been at most. */
static inline uint64_t sizes_requested(uint64_t sizes)
{
	uint64_t usable = RECORD_USABLE(sizes);

	return usable <= CACHED_MOST ? sizes >> 34 : usable - (sizes >> 34);
}

static inline bool sizes_known(uint64_t sizes)
{
	return sizes_requested(sizes) <= RECORD_USABLE(sizes) &&
	       (RECORD_USABLE(sizes) <= CACHED_MOST || sizes >> 34 < RECORD_SLACK_MOST);
}

/* live.cached: bytes | fragments << 40 */
#define CACHED_BYTES(word) ((word) & 0xffffffffffull)
#define CACHED_COUNT(word) ((word) >> 40)
#define CACHED(count, bytes) ((uint64_t)(count) << 40 | (bytes))
#define CACHED_ONE(bytes) ((1ull << 40) + (bytes))

/** Of a pair that its owner is just changing places in both words are one chain, for a moment, or for ever if killed.
 */
static inline bool magazines_turning(const uint64_t pair[MAGAZINE_PAIR])
{
	return MAGAZINE_COUNT(pair[0]) && MAGAZINE_COUNT(pair[1]) && MAGAZINE_HEAD(pair[0]) == MAGAZINE_HEAD(pair[1]);
}

/** What is in the magazines of a slot, as live.cached says it. @head: 8 where heads have 8 bytes, else 0 */
static inline uint64_t magazines_cached(const struct meta_magazines *m, uint64_t head)
{
	uint64_t cached = 0;

	for (unsigned class = 0; class < MAGAZINE_CLASSES; class ++)
		for (unsigned x = 0; x < MAGAZINE_PAIR; x++) {
			uint64_t count = x && magazines_turning(m->of[class]) ? 0 : MAGAZINE_COUNT(m->of[class][x]);

			cached += CACHED(count, count * (16 * class + 16 + head));
		}
	return cached;
}

/** What is in the magazines of a thread, as live.cached says it. Its owner may go on meanwhile: relaxed, numbers. */
static inline uint64_t thread_cached(const struct meta_thread *t)
{
	uint64_t cached = __atomic_load_n(&t->shelf, __ATOMIC_RELAXED);
	uint64_t head = __atomic_load_n(&t->head, __ATOMIC_RELAXED) & 8;

	for (unsigned i = 0; i < MAGAZINE_SIZES; i++) {
		uint16_t count = (uint16_t)(__atomic_load_n(&t->top[i], __ATOMIC_RELAXED) - i * MAGAZINE_STRIDE);

		if (count <= MAGAZINE_MOST)	/* of hostile memory, too */
			cached += CACHED(count, (uint64_t)count * (16 * i + head));
	}
	return cached;
}

_Static_assert(sizeof(struct meta_identity) == 312, "META_LAYOUT");
_Static_assert(offsetof(struct meta_identity, name) == 152, "META_LAYOUT");
_Static_assert(offsetof(struct meta_live, counters) == 64, "META_LAYOUT");
_Static_assert(offsetof(struct meta_live, failures) == 192, "META_LAYOUT");
_Static_assert(offsetof(struct meta_live, wanted) == 256, "META_LAYOUT");
_Static_assert(offsetof(struct meta_live, cursors) == 384, "META_LAYOUT");
_Static_assert(offsetof(struct meta_live, named) == 640, "META_LAYOUT");
_Static_assert(offsetof(struct meta_live, thread) == 2688, "META_LAYOUT");
_Static_assert(sizeof(struct meta_live) <= META_PAGE, "META_LAYOUT");
_Static_assert(THREADS_MAX * sizeof(struct meta_thread) <= META_ROOTS_MAX, "META_LAYOUT");
_Static_assert(sizeof(struct meta_thread) == 192 && offsetof(struct meta_thread, top) == 16, "META_LAYOUT");
_Static_assert(offsetof(struct meta_thread, shelf) == 152 && offsetof(struct meta_thread, start) == 160, "META_LAYOUT");
_Static_assert(sizeof(struct meta_failure) == 128 && sizeof(struct meta_fault) == 128, "META_LAYOUT");
_Static_assert(sizeof(struct meta_recovery) == 128, "META_LAYOUT");
_Static_assert(sizeof(struct meta_site) == 192, "META_LAYOUT");
_Static_assert(META_SITES + sizeof(struct meta_sites) <= META_SLOTS, "META_LAYOUT");
_Static_assert(META_SLOTS + SLOTS_MAX * SLOT_BYTES <= META_RECORDS, "META_LAYOUT");
_Static_assert(offsetof(struct meta_slot, life) == 128 && offsetof(struct meta_slot, log) == 192, "META_LAYOUT");
_Static_assert(MAGAZINE_CLASSES * 16 == CACHED_MOST && sizeof(struct meta_magazines) <= META_PAGE, "META_LAYOUT");
_Static_assert(SLOT_MAGAZINES % 64 == 0, "META_LAYOUT");
_Static_assert(META_DEPOT + sizeof(struct meta_depot) <= META_SITES && sizeof(struct meta_depot) == META_PAGE, "META_LAYOUT");
_Static_assert(sizeof(struct meta_slot) <= META_PAGE && sizeof(struct meta_record) == 32, "META_LAYOUT");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock that is not free would be private to a process");

#endif /* META_LAYOUT_H */
