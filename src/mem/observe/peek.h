/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the observer share.
 *
 *	registry.c	directories, which files are pools		believe.c	is this file a pool?
 *	bytes.c		META and DATA by pread, private heaps by process_vm_readv
 *	moment.c	lock or turn, and the open transaction: was it one state that was read?
 *	pages.c		a reader of heaps for the managers' view objects
 *	life.c		which owners live, what state a pool is in
 *	shards.c	several files that are one pool
 *	magazines.c	what is in the magazines of shared pools
 *	stats.c records.c sites.c rings.c walk.c check.c track.c	the functions of observe.h
 *
 * A struct obs_pool is one file. Callers of observe.h have those of shard 0; what is declared here is about one shard.
 *
 * Invariant: nothing that comes from a file or a process is used as index, length, loop limit or string before it was
 * compared with a bound of this side. No file of somebody else is mapped: a truncated one gives short reads, not
 * SIGBUS.
 */
#ifndef OBSERVE_PEEK_H
#define OBSERVE_PEEK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>

#include "mem/meta/layout.h"
#include "memapi/manager.h"
#include "memapi/memcore.h"
#include "memapi/observe.h"

enum {
	PEEK_TRIES = 50,		/* of a copy that changed meanwhile */
	PEEK_CHUNK = 4096,		/* records read at a time */
	PEEK_FILE = 80,			/* longest file name of a pool, with its 0 */
	PEEK_BATCH = 256,		/* fragments that are verified together */
	PEEK_WAYPOINTS = 16,
};

/** What a file's name says. The order of pools. */
struct peek_key {
	enum obs_domain domain;
	int64_t pid;			/* pkg */
	char name[POOL_NAME_MAX + 16];	/* shm */
	uint32_t incarnation;
	uint32_t shard;			/* of no weight in that order: pools are told by their shard 0 */
};

struct peek_dir {
	char path[256], label[64];	/* label: goes before file names when there are several directories */
	int fd;				/* -1: not there, or not believed */
	dev_t dev;
	ino_t ino;
	uid_t owner;
	struct timespec changed;	/* mtime at the last scan */
	bool settled;			/* ... and old enough then that a later change has another one */
	bool listed;			/* /dev/shm still names it */
	bool has_shards;		/* the scan that runs saw files of shards in it */
};

struct obs_pool {
	struct obs *o;
	struct peek_dir *dir;
	char file[PEEK_FILE];
	struct peek_key key;
	dev_t dev;
	ino_t ino;
	uid_t owner;			/* of the file: the kernel's word, the identity's is not believed */
	int fd, data_fd;		/* -1: closed now */
	uint64_t used_at;		/* o->clock: the longest unused is closed first */
	bool seen;			/* by the scan that runs */
	struct meta_identity id;	/* checked */
	struct obs_info info;
	struct obs_pool *shard[SHARDS_MAX];	/* of shard 0: [0] itself, the others; NULL: that one is not there */
	char lacks[96];			/* ... which one, and why; "": all are there */
	/* of walks, see walk.c */
	uint64_t walked_to, walked_lock, walked_n;	/* the last batch ended there, and the heap was that old */
	uint64_t waypoint[PEEK_WAYPOINTS];	/* where batches ended */
	unsigned waypoints, since_waypoint;	/* ever noted; fragments told since the last */
};

struct peek_pages;
struct peek_skip { struct peek_dir *dir; char file[160], reason[96]; };

struct obs {
	struct peek_dir **dir;
	size_t dirs;
	bool all;			/* root: every /dev/shm/mmd-* */
	struct obs_pool **pool;		/* in the order of obs_at() */
	size_t pools;
	size_t shards;			/* beyond the first, of all */
	struct peek_skip *skip;
	size_t skips, skips_more;
	uint64_t pid_namespace;
	unsigned open, open_max;	/* descriptors */
	uint64_t clock;
	struct peek_pages *pages;	/* made when first needed */
	struct meta_record *chunk[2];
	struct meta_magazines *magazines;	/* of the pool that was looked at last */
	void (*meanwhile)(void);	/* of a check */
	uint64_t magazines_max;
};

/* ---- text.c ---- */

/** A checked copy: ends with 0, is UTF-8, has no control characters; what is neither becomes '?'. */
void peek_text(char *to, size_t room, const char *from, size_t bytes);
/** A number without sign, spaces and leading zeros, up to the first other character; NULL: there is none. */
const char *peek_number(const char *s, uint64_t max, uint64_t *ret_n);

/* ---- believe.c ---- */

enum peek_file { PEEK_POOL, PEEK_SHARD, PEEK_DATA, PEEK_HIDDEN, PEEK_STRANGE };
enum peek_file peek_name(const char *file, struct peek_key *ret_key);
/** One shard in *ret_pool, or -errno with the reason in `reason`. */
int peek_believe(struct obs *o, struct peek_dir *dir, const char *file, const struct peek_key *key, char reason[96],
		 struct obs_pool **ret_pool);
/** Its id, as everybody knows it; with_user: somebody else's pool of the same id is seen too. */
void peek_id(struct obs_pool *p, bool with_user);
/** Still the file that was believed. */
bool peek_still(struct obs_pool *p);

/* ---- bytes.c ---- */

/** Descriptor of META or DATA, opened if need be; or -errno. */
int peek_fd(struct obs_pool *p);
int peek_data_fd(struct obs_pool *p);
void peek_close(struct obs_pool *p);
/** Closes what was not used for longest, so that one more may be opened. */
void peek_make_room(struct obs *o);
/** Open `file` of p's directory, the one that was believed. */
int peek_open(struct peek_dir *dir, const char *file, int flags, struct stat *ret_stat);
/** All `bytes` of META at `offset`: 0, -ENODATA: the file ends before, or another -errno. */
int peek_meta(struct obs_pool *p, uint64_t offset, void *to, size_t bytes);
/** At an address of the pool (META, DATA; pkg: of its process): bytes that are there, at most `bytes`; or -errno. */
ssize_t peek_bytes(struct obs_pool *p, uint64_t at, void *to, size_t bytes);
/** Bytes of the META file; 0: not known. */
uint64_t peek_size(struct obs_pool *p);
/** The live page. */
int peek_live(struct obs_pool *p, struct meta_live *ret_live);

/* ---- registry.c ---- */

/** `file` is still the name of p. */
bool peek_named(const struct peek_dir *dir, const char *file, const struct obs_pool *p);
/** To be told by the scan that runs. */
void peek_skip(struct obs *o, struct peek_dir *dir, const char *file, const char *reason);

/* ---- shards.c ---- */

/** Look for the other shards of a sharded pool, and for what is wrong with those that were known. */
void peek_shards(struct obs_pool *p);
void peek_pool_free(struct obs_pool *p);

/* Which shard a cursor, the index of a record and the number of a slot belong to. */
enum { SHARD_AT = 60, SHARD_SLOT_AT = 16 };
#define SHARD_OF(number) ((unsigned)((number) >> SHARD_AT))
#define SHARD_REST(number) ((number) & ((1ull << SHARD_AT) - 1))
#define SHARD_IN(number, shard) ((number) | (uint64_t)(shard) << SHARD_AT)

/** Lists one shard from *at on, which becomes 0 at its end. *max: of what is to be looked at, 0: fn wants no more. */
typedef int peek_list_fn(struct obs_pool *p, uint64_t *at, uint64_t *max, obs_fragment_fn *fn, void *arg);
/** All shards, one after the other. */
int peek_list(struct obs_pool *p, peek_list_fn *list, uint64_t *cursor, uint64_t max, obs_fragment_fn *fn, void *arg);
peek_list_fn peek_walk;			/* walk.c */

/* ---- moment.c ---- */

/** The state of the lock, and the open transaction that its holder's log describes. */
struct peek_moment {
	uint64_t lock;			/* shm: the lock word without waiters; pkg: the turn */
	uint64_t n;			/* of the holder's log */
	bool open;			/* pkg: a call is changing the heap */
	unsigned count;			/* entries */
	struct peek_undo { uint64_t word, old; } e[UNDO_MAX];
};
int peek_moment(struct obs_pool *p, struct peek_moment *ret_moment);
/** Nothing of the heap was changed between the two. */
bool peek_same(const struct peek_moment *a, const struct peek_moment *b);
/** The same transaction, or none: a copy made between the two is whole once b's entries are undone in it. */
bool peek_same_call(const struct peek_moment *a, const struct peek_moment *b);
/** Undo the open transaction in a copy of the bytes at `at`. */
void peek_undo(const struct peek_moment *m, uint64_t at, void *copy, size_t bytes);
/** `bytes` (a page or so) of META as one state: 0; 1: it changed too often, the copy may be of two; or -errno. */
int peek_whole(struct obs_pool *p, uint64_t offset, void *to, size_t bytes);

/* ---- pages.c ---- */

/** Pages of a heap as they were read, for managers' views; one for each struct obs. */
struct peek_heap {
	struct mem_heap heap;
	const struct mem_manager_ops *ops;
	struct peek_moment moment;
	struct meta_counters counters;	/* of that moment */
};
/** Open a view of the heap as it is now: drops what was read before. 0, -EUCLEAN: impossible counters, or -errno. */
int peek_heap(struct obs_pool *p, struct peek_heap *ret_heap);
/** Why a read of the heap failed: -errno; 0: it did not. */
int peek_heap_error(const struct peek_heap *h);
/** The heap did not change since peek_heap(). */
bool peek_heap_same(struct obs_pool *p, const struct peek_heap *h);
/** Remember the words that are loaded from now on … */
void peek_heap_note(struct peek_heap *h);
/** … and load them again: true when every one is as it was. */
bool peek_heap_again(struct obs_pool *p, struct peek_heap *h);
/** A word of the heap's DATA outside of the managers' code: false when it cannot be read. */
bool peek_heap_word(const struct peek_heap *h, uint64_t at, uint64_t *ret_word);
void peek_pages_free(struct peek_pages *pages);

/* ---- life.c ---- */

/** A process that started then; foreign namespaces are not for this. */
bool peek_process_lives(int64_t pid, uint64_t start_time);
/** Is there a heap, and may it be read on p's behalf: 0, -ESRCH: gone, -EACCES, or another -errno. */
int peek_heap_there(struct obs_pool *p);
/** First part of a slot, up to its log. false: not there. */
bool peek_slot(struct obs_pool *p, uint32_t i, struct meta_slot *ret_slot);
bool peek_slot_lives(struct obs_pool *p, const struct meta_slot *slot);
/** maker_died: though its pid may live on, by exec. */
struct peek_crowd { unsigned living, dead; bool maker_died; };
void peek_crowd(struct obs_pool *p, uint64_t slots_used, struct peek_crowd *ret_crowd);
enum obs_state peek_state(struct obs_pool *p, const struct meta_live *live, const struct peek_crowd *crowd);

/* ---- magazines.c ---- */

/** What is in magazines, as CACHED_BYTES and CACHED_COUNT. pkg: of it what has records; allocations that counters.stamp
 * does not have yet. */
struct peek_cached { uint64_t all, recorded, taken; };
/**
 * The part of the live page that changes with calls, and what is in magazines, of one moment: 0; 1: it changed too
 * often, they may be of two; or -errno. @live: a copy, of which slots_used and threads count
 */
int peek_counted(struct obs_pool *p, struct meta_live *live, struct peek_cached *ret_cached);

/* ---- records.c, stats.c ---- */

/** Records that may be read: the smallest of what counters, identity and file say. */
uint64_t peek_records_end(struct obs_pool *p, const struct meta_live *live);
int peek_record(struct obs_pool *p, uint64_t index, struct meta_record *ret_record);
/** A page of the ledger that is kept: neighbours in a heap or in a list often are in the ledger, too. */
struct peek_near {
	uint64_t page;			/* of records, + 1; 0: none */
	struct meta_record record[META_PAGE / sizeof(struct meta_record)];
};
/** A record as it was at the moment, unless the heap moved on, which the caller finds. 0 or -errno. */
int peek_record_near(struct obs_pool *p, const struct peek_moment *m, struct peek_near *near, uint64_t index,
		     struct meta_record *ret_record);
/** What records' short numbers are completed from. */
struct peek_present { uint64_t stamp, time; };
struct peek_present peek_present(uint64_t stamp);
/** Whether the record is in use and possible; then what it says. */
bool peek_record_tells(const struct obs_pool *p, uint64_t index, const struct meta_record *r,
		       const struct peek_present *present, struct obs_fragment *ret_fragment);
/** `count` records, at most PEEK_CHUNK, each of one state. They stay until the next call. */
int peek_records(struct obs_pool *p, uint64_t from, size_t count, const struct meta_record **ret_records);
/** Of a copy of the counters: NULL, or what is impossible about it. */
const char *peek_impossible(const struct obs_pool *p, const struct meta_counters *c);

#endif /* OBSERVE_PEEK_H */
