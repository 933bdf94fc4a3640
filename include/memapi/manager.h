/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Manager ABI 1: what an allocation algorithm offers, and all that it may know.
 *
 * A manager gets a heap and nothing else: no lock, no log, no site, no process. Around each
 * call the front end holds the heap's lock, checks the arguments, counts, records, and commits;
 * a call of a killed process is rolled back. A manager keeps h->tally of its free fragments. It
 * never moves user bytes (they are not logged): the front end allocates, copies and frees.
 */
#ifndef MEMAPI_MANAGER_H
#define MEMAPI_MANAGER_H

#include "memapi/heap.h"

enum { MEM_MANAGER_ABI = 1 };
enum { MEM_PKG = 1, MEM_SHM = 2 };	/* domains */
/*
 * Flags: serves no alignment above 16; is for debugging, so that records and guards are on unless switched off; has
 * heads of 8 bytes, so that its sizes are asked and told as 16 n + 8 (which makes a fragment a multiple of 16); keeps
 * memory of its own (own.h): it gets no region, h->base is NULL and h->len 0, and its fragments lie anywhere. That is
 * for pkg alone, its usable sizes are multiples of 8, and it has neither walk of free fragments nor tally.
 *
 * MEM_SEALED: what owns, marked and usable know of a used fragment is in one word, which the front end reads by itself
 * (a call of each costs more than all the rest of a short malloc and free): 8 bytes before the payload with MEM_HEAD8,
 * 16 without, stands
 *	mem_seal(offset of the payload) | size with the head | MEM_USED | MEM_MARKED | MEM_PREV_FREE
 * The last two bits may be set, the third is anything. What begins no used fragment has no such word before it, unless
 * user bytes imitate one; a fragment's own word changes in those bits alone while it is in use and is not resized.
 *
 * MEM_SPARES: it hands out up to a quarter more than was asked for rather than to cut, and so may the front end.
 *
 * MEM_PAGED, for managers with nothing of theirs beside a fragment: used fragments that begin in the same 4096 bytes,
 * counted from h->base, have one usable size, and the heap begins with none. The front end of a private heap then keeps
 * a table of its own, and knows without a question what a place is.
 *
 * MEM_CACHEABLE, with MEM_OWN_MEMORY: what is freed may wait in a magazine of the front end, which for the manager is
 * in use meanwhile, and be handed out again, by another thread, too, for up to as many bytes as usable() says. So
 * usable() is quick beside alloc and free, any thread may ask it, and free() would not have told more of a wrong
 * pointer. Where up to 1 KiB is asked for at alignment 16, usable() of what alloc() gives is a function of the size. A
 * library that does not know the flag serves such a manager without magazines.
 */
enum { MEM_ALIGN16 = 1, MEM_DEBUGS = 2, MEM_HEAD8 = 8, MEM_OWN_MEMORY = 16, MEM_SEALED = 32, MEM_PAGED = 64,
       MEM_CACHEABLE = 128, MEM_SPARES = 256 };
enum { MEM_LOOKS = 256 };

enum { MEM_USED = 1, MEM_MARKED = 2, MEM_PREV_FREE = 4 };	/* MEM_SEALED */
#define MEM_SEAL 0x715f000000000000u
/** MEM_SEALED: above the size of the used fragment whose payload is at this offset, a multiple of 16. */
static inline uint64_t mem_seal(uint64_t payload) { return (payload - 16) << 44 ^ MEM_SEAL; }

#define MEM_WALK_FAULT UINT64_MAX	/* walk: the heap is damaged or could not be read */

struct mem_frag {
	const void *addr;		/* what the application holds */
	size_t size;			/* usable bytes */
	bool used, marked;
};

struct mem_fault {
	const void *at;
	const char *what;		/* a string literal; the caller prints it when the lock is gone */
};

/** Return false to stop the walk. Runs under the lock: no I/O, no allocation, no call of the manager. */
typedef bool mem_walk_fn(const struct mem_frag *frag, void *arg);
/** The bytes [at, at + len) are whole pages that hold nothing; they may be given back and read as 0 then. */
typedef void mem_idle_fn(struct mem_heap *h, uint64_t at, uint64_t len);
typedef void mem_fault_fn(const struct mem_fault *fault, void *arg);

/** usable(p) is the word `at` bytes before p, of which `mask` is the size, minus `less`. */
struct mem_size_word { uint64_t mask; uint32_t at, less; };

/**
 * All members are set unless their contract says "optional" (NULL). `p` is always a used
 * fragment of this heap; `size` a multiple of 16, not 0, at most h->len, or with MEM_HEAD8 16 n + 8, at least 24;
 * `align` a power of two, at least 16: payloads are multiples of 16. Usable sizes are of the same kind as `size`.
 * The view object has the first eight members, walk, check and largest, nothing else.
 */
struct mem_manager_ops {
	uint32_t size, abi;		/* sizeof(struct mem_manager_ops), MEM_MANAGER_ABI: as it was compiled */
	const char *name;
	const char *summary;		/* one line, shown by `mmctl manager list` and in the manual */
	uint32_t domains, flags;	/* MEM_PKG | MEM_SHM, MEM_ALIGN16 */
	uint32_t root_bytes;		/* of h->roots */
	uint32_t max_stores;		/* most HEAP_SETs of one transaction; a HEAP_SWALLOWED counts as MEM_CURSORS */

	/** Gets a heap of zeros, makes it an empty one. 0, or -errno: the pool is not made. */
	int (*init)(struct mem_heap *h);
	/** A fragment of `size` bytes or more at a multiple of `align`, contents undefined. NULL: no fit, nothing
	 * changed. */
	void *(*alloc)(struct mem_heap *h, size_t align, size_t size);
	/** Takes `p` back, never fails. May HEAP_COMMIT once `p` is free: the front end's own words are in the log by
	 * then. */
	void (*free)(struct mem_heap *h, void *p);
	/** `p` holds `size` bytes now, at the same place; it may shrink or grow. false: not here, nothing changed. */
	bool (*resize)(struct mem_heap *h, void *p, size_t size);
	/** Optional, pkg only, after resize said no: moves `p` with its bytes and without our copying (mremap, the C
	 * library). NULL: no, and `p` is as it was. */
	void *(*realloc)(struct mem_heap *h, void *p, size_t size);
	/** Bytes that the holder of `p` may use, at least what was asked for. Stores nothing. It may, as marked, be
	 * asked of any multiple of 16 behind 16 readable bytes; says anything then, but follows nothing. */
	size_t (*usable)(const struct mem_heap *h, const void *p);
	/** Optional; NULL: the heap keeps its first size. h->len has grown from `old_len` by whole pages of zeros. */
	void (*extend)(struct mem_heap *h, uint64_t old_len);
	/** Optional; NULL: nothing to trim. From `at` (0, or what it returned) looks at 64 fragments at most,
	 *  calls `fn` for each run of idle pages; returns where to go on, 0: done. Stores nothing itself. */
	uint64_t (*idle)(struct mem_heap *h, uint64_t at, mem_idle_fn *fn);
	/** Optional, both or none; NULL: no tracking here. One bit of `p` for the front end, off after alloc. */
	void (*mark)(struct mem_heap *h, void *p, bool on);
	bool (*marked)(const struct mem_heap *h, const void *p);
	/** Optional; NULL: nobody can tell. Whether `p`, a multiple of 16 inside the heap, looks like a used fragment.
	 * Only user bytes that imitate one may deceive it. Stores nothing, faults nowhere. */
	bool (*owns)(const struct mem_heap *h, const void *p);
	/** Hands out at most `max` fragments, used and free, in address order from `start` (0, or what it returned;
	 * in a view: anything). Returns where to go on, 0: the end, or MEM_WALK_FAULT. Where to go on is an offset
	 * behind the start of all that was handed out, at most at the start of what follows: observers tell the two
	 * apart by it. Stores nothing; ends on any heap, however damaged. */
	uint64_t (*walk)(const struct mem_heap *h, uint64_t start, unsigned max, mem_walk_fn *fn, void *arg);
	/** Tests every invariant of the file's head comment, tells each breach to `fn`, returns their number.
	 *  As walk. */
	unsigned (*check)(const struct mem_heap *h, mem_fault_fn *fn, void *arg);
	/** Optional. Usable size of the largest free fragment, 0: none; looks at MEM_LOOKS fragments at most, and so
	 * may tell less when more than that share the topmost bin. Stores nothing. As walk. */
	uint64_t (*largest)(const struct mem_heap *h);
	/** Optional; mask 0: usable() alone knows. Where usable() looks, for callers that count instructions. */
	struct mem_size_word size_word;
	/** Optional, pkg only: as alloc at a multiple of 16, and its bytes are zeros, which who has them from the
	 * system need not store. */
	void *(*zeros)(struct mem_heap *h, size_t size);
};

/** As usable() of those managers that have the size in front of a fragment. */
static inline uint64_t mem_size_word(const struct mem_size_word *w, const void *p)
{
	return (*(const uint64_t *)(const void *)((const char *)p - w->at) & w->mask) - w->less;
}

/** Whether fragments can have records: by a bit of the manager, or because their tails and records name each other. */
static inline bool mem_can_track(const struct mem_manager_ops *ops) { return ops->mark || ops->flags & MEM_OWN_MEMORY; }

/** What a manager is asked for when `size` bytes are wanted. */
static inline uint64_t mem_round(const struct mem_manager_ops *ops, uint64_t size)
{
	uint64_t head = ops->flags & MEM_HEAD8;

	return size <= 16 + head ? 16 + head : ((size - head + 15) & ~15ull) + head;
}

#define MEM_OPS_HEAD .size = sizeof(struct mem_manager_ops), .abi = MEM_MANAGER_ABI

#endif /* MEMAPI_MANAGER_H */
