/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A heap, and the macros through which a manager touches it.
 *
 * A manager's one source is compiled three times:
 *
 *			pkg			shm			view (walk and check only)
 *	HEAP_SET	store			log, then store		-
 *	HEAP_COMMIT	nothing			end the transaction	-
 *	HEAP_SWALLOWED	move cursors		move cursors, logged	-
 *	HEAP_GET	load			load			bounds-checked read of a heap
 *									that nobody should trust
 *	HEAP_FAILED	false			false			a read was refused
 */
#ifndef MEMAPI_HEAP_H
#define MEMAPI_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memapi/undo.h"

enum { MEM_CURSORS = 8 };

/** Where walks stand that let the lock go. The library adds the owner slot and an expiry to each. */
struct mem_cursors {
	uint64_t live;			/* bit i: at[i] is in use */
	uint64_t at[MEM_CURSORS];	/* offsets that walk() returned */
};

/** What a manager keeps of its free fragments, with HEAP_SET: words of the transaction like the heap. */
struct mem_tally {
	uint64_t free_bytes;		/* sum of their usable sizes, as walk tells them */
	uint64_t free_fragments;
};

/** How an observer loads: from a file, a live process, a core. */
struct mem_reader {
	bool (*read)(struct mem_reader *r, uintptr_t address, void *to, size_t bytes);	/* false: not there */
	size_t root_bytes;
	bool failed;			/* a read was refused, and so is every later one */
};

/** One process's view of a heap: addresses differ between processes, so a heap links by offsets. */
struct mem_heap {
	unsigned char *base;		/* DATA, 4 KiB aligned; view: an address in the observed process */
	uint64_t len;			/* committed bytes, at least one page */
	uint64_t *roots;		/* the manager's own words, shared by all views; 0 before init */
	struct mem_tally *tally;	/* not in the view */
	struct mem_cursors *cursors;
	struct undo_log *log;		/* shm: of the calling slot */
	struct mem_reader *reader;	/* view */
};

#ifdef MEM_DOMAIN_VIEW

/** Load `word` of the observed heap. After the first refusal every load gives 0: nothing is half believed. */
static inline uint64_t heap_load(const struct mem_heap *h, const uint64_t *word)
{
	struct mem_reader *r = h->reader;
	uintptr_t at = (uintptr_t)word, in_data = at - (uintptr_t)h->base, in_roots = at - (uintptr_t)h->roots;
	uint64_t value;

	if (r->failed)
		return 0;
	if ((in_data < h->len && h->len - in_data >= sizeof value) ||
	    (in_roots < r->root_bytes && r->root_bytes - in_roots >= sizeof value))
		if (r->read(r, at, &value, sizeof value))
			return value;
	r->failed = true;
	return 0;
}

#define HEAP_GET(h, word) heap_load(h, &(word))
#define HEAP_FAILED(h) ((h)->reader->failed)
#define MEM_MUTATORS(...)
#define MEM_OPS(mgr) mgr##_view_ops

#else

#ifdef MEM_DOMAIN_SHM
#define MEM_OPS(mgr) mgr##_shm_ops
#define HEAP_STORE_(h, word, value) \
	(undo_note((h)->log, word), *(volatile uint64_t *)(word) = (value), UNDO_KILL_POINT())
#define HEAP_COMMIT(h) undo_commit((h)->log)
#else
#define MEM_OPS(mgr) mgr##_pkg_ops
#define HEAP_STORE_(h, word, value) ((void)(h), *(word) = (value))
#define HEAP_COMMIT(h) ((void)(h))
#endif

/* The only way to change a heap. `word`: an lvalue of type uint64_t, or the compiler refuses it. */
#define HEAP_SET(h, word, value) do {			\
	uint64_t *word_ = &(word), value_ = (value);	\
							\
	HEAP_STORE_(h, word_, value_);			\
} while (0)

#define HEAP_GET(h, word) ((void)(h), (word))
#define HEAP_FAILED(h) ((void)(h), false)
#define MEM_MUTATORS(...) __VA_ARGS__,

/* The fragment at offset `from` is now a part of the one at `into`: walks that stood on it go back there. */
#define HEAP_SWALLOWED(h, from, into) do {	\
	if ((h)->cursors->live)			\
		heap_swallowed(h, from, into);	\
} while (0)

__attribute__((noinline, cold, unused))
static void heap_swallowed(struct mem_heap *h, uint64_t from, uint64_t into)
{
	for (unsigned i = 0; i < MEM_CURSORS; i++)
		if ((h->cursors->live >> i & 1) && h->cursors->at[i] == from)
			HEAP_SET(h, h->cursors->at[i], into);
}

#endif /* MEM_DOMAIN_VIEW */
#endif /* MEMAPI_HEAP_H */
