/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dl: best fit with a designated victim, after Doug Lea, "A Memory Allocator" (2000) and the notes that he published
 * with version 2.8 of his malloc.
 *
 * A row of fragments without gaps from 16 to TOP, each with a head of 8 bytes before its payload. That a fragment is
 * free is told to the one behind it, too, and the last 8 bytes of a free one, its foot, tell where it begins: so what
 * is used costs its head alone. Three kinds are free: those found by size, the designated victim and the top:
 *
 *	| - head | payload ... head | next prev ... foot head | payload ... head | ...    head | payload ... | ...    |
 *	0         16                  free, found by size       used               DV  DV_END   used           TOP  END
 *
 *	head: seal << 48 | size with head | USED | PREV_FREE | MARK	free: the size alone
 *
 * A fragment is named by the offset of its payload. The seal is made of that: few bytes of a user pass for a head.
 *
 * Found by size: a list for each size below a page (free_lists.h), above that tries (size_trie.h): the smallest that is
 * large enough is found in a few looks. The victim is what was left over when a small request was last cut from a
 * larger fragment; the small requests to come that find none of their very size are cut from it, one behind the other,
 * so that what is asked for together lies together. It has neither head nor foot, DV and DV_END say it all, nor has the
 * top, which was never handed out or has come back whole: to cut from either is to move a bound.
 *
 * A request takes the first of its list; or, a small one, a piece of the victim; or the smallest fragment that is large
 * enough, or the victim if that is smaller still; or a piece of the top. What comes back is joined with free neighbours
 * at once, and to the victim or the top, if one of them is a neighbour.
 *
 * Invariants (dl_check): sizes are multiples of 16, at least DL_LEAST, and add up to TOP, which leaves DL_LEAST bytes
 * below END; what is used is sealed; PREV_FREE is set exactly where the fragment before is free, and the foot of that,
 * unless it is the victim, is its size; no two free fragments are neighbours, and the one before the top is used; the
 * victim is a fragment of the row, or DV and DV_END are 0; all others that are free are in the list or the trie of
 * their size. And for owns: a head that was given up is not USED.
 *
 * alloc, free, resize: some 50 looks at most, a failing one too. An aligned request can fail where only a fragment of
 * less than `align` bytes more than it needs would do.
 */
#include "mem/base/compiler.h"
#include "mem/mgr/row.h"
#include "mem/mgr/size_trie.h"

enum { DL_HEAD = 8, DL_FIRST = 16, DL_LEAST = 32 };
enum { DL_USED = MEM_USED, DL_PREV_FREE = MEM_PREV_FREE, DL_MARK = MEM_MARKED };
enum { DL_SMALL = 256 };		/* below, with head, a request prefers the victim to a better fit */

#define DL_SIZE 0x0000fffffffffff0u

struct dl_roots {
	uint64_t top, end;		/* offsets, of payloads but for end */
	uint64_t dv, dv_end;
	struct free_lists lists;
};

static struct dl_roots *dl_roots(const struct mem_heap *h) { return (void *)h->roots; }

#define TOP(h) (dl_roots(h)->top)
#define END(h) (dl_roots(h)->end)
#define DV(h) (dl_roots(h)->dv)
#define DV_END(h) (dl_roots(h)->dv_end)
#define LISTS(h) (&dl_roots(h)->lists)

static uint64_t *head_at(const struct mem_heap *h, uint64_t p) { return (void *)(h->base + p - DL_HEAD); }

/** Foot of the free fragment before `p`. */
static uint64_t *foot_before(const struct mem_heap *h, uint64_t p) { return (void *)(h->base + p - 2 * DL_HEAD); }

/** Head of a used fragment of no size. */
static uint64_t seal(uint64_t p) { return mem_seal(p) | DL_USED; }

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

#define HEAD(h, p) (*head_at(h, p))
#define FOOT_BEFORE(h, p) (*foot_before(h, p))

static uint64_t off_of(const struct mem_heap *h, const void *p) { return (uintptr_t)p - (uintptr_t)h->base; }

static uint64_t size_at(const struct mem_heap *h, uint64_t p) { return HEAD(h, p) & DL_SIZE; }

/** lists_size_fn */
static uint64_t listed_size(const struct mem_heap *h, uint64_t p) { return HEAD(h, p); }

static void unlist(struct mem_heap *h, uint64_t p, uint64_t size)
{
	trie_or_list_remove(h, LISTS(h), p, size, listed_size);
}

/** `size` bytes at `p`, after a used fragment, become one that is found by size; the one behind knows, or is told. */
static inline void list(struct mem_heap *h, uint64_t p, uint64_t size)
{
	HEAP_SET(h, HEAD(h, p), size);
	HEAP_SET(h, FOOT_BEFORE(h, p + size), size);
	trie_or_list_insert(h, LISTS(h), p, size, listed_size);
}

static void tell_next(struct mem_heap *h, uint64_t next) { HEAP_SET(h, HEAD(h, next), HEAD(h, next) | DL_PREV_FREE); }

static void set_dv(struct mem_heap *h, uint64_t dv, uint64_t dv_end)
{
	HEAP_SET(h, DV(h), dv);
	HEAP_SET(h, DV_END(h), dv_end);
}

/* ---- alloc ---- */

/** The `size` free bytes at `p`, whose kind has let them go, become used, all of them. */
static inline void *take_whole(struct mem_heap *h, uint64_t p, uint64_t size)
{
	HEAP_SET(h, HEAD(h, p), size | seal(p));
	HEAP_SET(h, HEAD(h, p + size), HEAD(h, p + size) & ~(uint64_t)DL_PREV_FREE);
	row_tally(h, DL_HEAD - size, -1);
	return h->base + p;
}

/** The first `need` bytes of a larger free fragment at `p` become used. */
static inline void *take_first(struct mem_heap *h, uint64_t p, uint64_t need)
{
	HEAP_SET(h, HEAD(h, p), need | seal(p));
	row_tally(h, -need, 0);
	return h->base + p;
}

static inline void *from_dv(struct mem_heap *h, uint64_t need)
{
	uint64_t p = DV(h), have = DV_END(h) - p;

	if (have - need < DL_LEAST) {
		set_dv(h, 0, 0);
		return take_whole(h, p, have);
	}
	HEAP_SET(h, DV(h), p + need);
	return take_first(h, p, need);
}

static inline void *from_top(struct mem_heap *h, uint64_t need)
{
	uint64_t p = TOP(h);

	if (END(h) - p < need + DL_LEAST)
		return NULL;
	HEAP_SET(h, TOP(h), p + need);
	return take_first(h, p, need);
}

/** From the start of the listed fragment `p`. The rest of a small request becomes the victim. */
static void *from_listed(struct mem_heap *h, uint64_t p, uint64_t need)
{
	uint64_t have = listed_size(h, p), rest = have - need, old = DV(h);

	unlist(h, p, have);
	if (rest < DL_LEAST)
		return take_whole(h, p, have);
	if (need < DL_SMALL) {
		if (old)
			list(h, old, DV_END(h) - old);
		set_dv(h, p + need, p + have);
	} else {
		list(h, p + need, rest);
	}
	return take_first(h, p, need);
}

/** The smallest listed fragment of `need` bytes or more, or 0. */
static uint64_t best_fit(struct mem_heap *h, uint64_t need)
{
	unsigned own = bins_of(need), bin = lists_find(h, LISTS(h), own);
	uint64_t p;

	if (bin < TRIE_FIRST)
		return LISTS(h)->head[bin];
	if (bin == BINS_COUNT)
		return 0;
	p = trie_best(h, LISTS(h), bin, need, listed_size);
	if (p || bin != own)
		return p;
	bin = lists_find(h, LISTS(h), own + 1);
	return bin == BINS_COUNT ? 0 : trie_best(h, LISTS(h), bin, need, listed_size);
}

/** No list has just that size. */
__attribute__((noinline)) static void *alloc_search(struct mem_heap *h, uint64_t need)
{
	uint64_t victim = DV_END(h) - DV(h), p;

	if (need < DL_SMALL && need <= victim)
		return from_dv(h, need);
	p = best_fit(h, need);
	if (p && (victim < need || listed_size(h, p) < victim))
		return from_listed(h, p, need);
	return victim >= need ? from_dv(h, need) : from_top(h, need);
}

/** A used fragment at `p` of `size` bytes begins `pad` bytes further on; what is before becomes free. */
static void *cut_before(struct mem_heap *h, uint64_t p, uint64_t size, uint64_t pad)
{
	HEAP_SET(h, HEAD(h, p + pad), (size - pad) | seal(p + pad) | DL_PREV_FREE);
	list(h, p, pad);
	row_tally(h, pad - DL_HEAD, 1);
	return h->base + p + pad;
}

static bool dl_resize(struct mem_heap *h, void *p, size_t size);

/** One that is large enough wherever it begins, cut at both ends. */
__attribute__((noinline)) static void *alloc_aligned(struct mem_heap *h, uint64_t align, uint64_t need)
{
	uint64_t p, pad;
	void *taken;

	if (align > h->len)
		return NULL;
	taken = alloc_search(h, need + align + DL_LEAST - DL_FIRST);
	if (!taken)
		return NULL;
	p = off_of(h, taken);
	pad = row_pad(taken, align, DL_LEAST);
	if (pad)
		taken = cut_before(h, p, size_at(h, p), pad);
	dl_resize(h, taken, need - DL_HEAD);
	return taken;
}

static void *dl_alloc(struct mem_heap *h, size_t align, size_t size)
{
	uint64_t need = size + DL_HEAD, *first, p;

	if (UNLIKELY(align > DL_FIRST))
		return alloc_aligned(h, align, need);
	if (need >= BINS_EXACT || !(p = *(first = &LISTS(h)->head[need / BINS_STEP])))
		return alloc_search(h, need);
	HEAP_SET(h, *first, lists_links(h, p)->next);
	return take_whole(h, p, need);
}

/* ---- free ---- */

/** Beside the `size` bytes at `p` is a free fragment, or one at each side. */
__attribute__((noinline)) static void free_joined(struct mem_heap *h, uint64_t p, uint64_t size)
{
	uint64_t first = p, end = p + size, dv = DV(h), bytes = size - DL_HEAD;
	bool before = HEAD(h, p) & DL_PREV_FREE, into_dv = before && p == DV_END(h);

	if (before) {
		first = into_dv ? dv : p - FOOT_BEFORE(h, p);
		HEAP_SWALLOWED(h, p, first);
		if (!into_dv)
			unlist(h, first, p - first);
		bytes += DL_HEAD;
	}
	if (before || end == TOP(h) || end == dv)
		HEAP_SET(h, HEAD(h, p), size);		/* given up */
	if (end == TOP(h)) {
		HEAP_SWALLOWED(h, end, first);
		if (into_dv)
			set_dv(h, 0, 0);
		HEAP_SET(h, TOP(h), first);
		row_tally(h, bytes + DL_HEAD, before ? -1 : 0);
		return;
	}
	if (end == dv || !(HEAD(h, end) & DL_USED)) {
		HEAP_SWALLOWED(h, end, first);
		row_tally(h, bytes + DL_HEAD, before ? -1 : 0);
		if (end == dv) {
			into_dv = true;
			end = DV_END(h);
		} else {
			size = listed_size(h, end);
			unlist(h, end, size);
			end += size;
		}
	} else {
		row_tally(h, bytes, 0);
		tell_next(h, end);
	}
	if (into_dv)
		set_dv(h, first, end);
	else
		list(h, first, end - first);
}

static void dl_free(struct mem_heap *h, void *ptr)
{
	uint64_t p = off_of(h, ptr), word = HEAD(h, p), size = word & DL_SIZE, next = p + size;

	if ((word & DL_PREV_FREE) || next == TOP(h) || next == DV(h) || !(HEAD(h, next) & DL_USED)) {
		free_joined(h, p, size);
		return;
	}
	tell_next(h, next);
	row_tally(h, size - DL_HEAD, 1);
	list(h, p, size);
}

/* ---- resize ---- */

/** The end of `p`, before the top, moves to `end`. */
static bool resize_at_top(struct mem_heap *h, uint64_t p, uint64_t end)
{
	uint64_t top = TOP(h);

	if (END(h) < end + DL_LEAST)
		return false;
	HEAP_SWALLOWED(h, top, end < top ? end : p);
	HEAP_SET(h, HEAD(h, p), (end - p) | (HEAD(h, p) & ~DL_SIZE));
	HEAP_SET(h, TOP(h), end);
	row_tally(h, top - end, 0);
	return true;
}

/** The end of `p`, before the free fragment at `next`, moves to `end`, or takes all where the rest were too small. */
static bool resize_at_free(struct mem_heap *h, uint64_t p, uint64_t next, uint64_t end)
{
	bool at_dv = next == DV(h);
	uint64_t behind = at_dv ? DV_END(h) : next + listed_size(h, next);

	if (behind < end)
		return false;
	if (behind - end < DL_LEAST)
		end = behind;
	HEAP_SWALLOWED(h, next, end < next ? end : p);
	if (!at_dv)
		unlist(h, next, behind - next);
	HEAP_SET(h, HEAD(h, p), (end - p) | (HEAD(h, p) & ~DL_SIZE));
	if (end == behind) {
		HEAP_SET(h, HEAD(h, end), HEAD(h, end) & ~(uint64_t)DL_PREV_FREE);
		if (at_dv)
			set_dv(h, 0, 0);
		row_tally(h, DL_HEAD + next - end, -1);
		return true;
	}
	if (at_dv)
		HEAP_SET(h, DV(h), end);
	else
		list(h, end, behind - end);
	row_tally(h, next - end, 0);
	return true;
}

static bool dl_resize(struct mem_heap *h, void *ptr, size_t size)
{
	uint64_t p = off_of(h, ptr), had = size_at(h, p), next = p + had, want = size + DL_HEAD;

	if (want == had)
		return true;
	if (next == TOP(h))
		return resize_at_top(h, p, p + want);
	if (next == DV(h) || !(HEAD(h, next) & DL_USED))
		return resize_at_free(h, p, next, p + want);
	if (want > had)
		return false;
	if (had - want < DL_LEAST)
		return true;
	HEAP_SET(h, HEAD(h, p), want | (HEAD(h, p) & ~DL_SIZE));
	tell_next(h, next);
	list(h, p + want, had - want);
	row_tally(h, had - want - DL_HEAD, 1);
	return true;
}

/* ---- the rest ---- */

static void dl_extend(struct mem_heap *h, uint64_t old_len)
{
	HEAP_SET(h, END(h), h->len);
	row_tally(h, h->len - old_len, 0);
}

static int dl_init(struct mem_heap *h)
{
	HEAP_SET(h, TOP(h), DL_FIRST);
	HEAP_SET(h, END(h), h->len);
	row_tally(h, h->len - DL_FIRST - DL_HEAD, 1);
	return 0;
}

static uint64_t dl_idle(struct mem_heap *h, uint64_t at, mem_idle_fn *fn)
{
	uint64_t p = at ? at : DL_FIRST, next;

	for (unsigned looks = ROW_IDLE_LOOKS; p != TOP(h); p = next) {
		if (!looks--)
			return p;
		next = p == DV(h) ? DV_END(h) : p + size_at(h, p);
		if (p == DV(h))
			row_idle(h, p, next - DL_HEAD, fn);
		else if (!(HEAD(h, p) & DL_USED))
			row_idle(h, p + sizeof(struct trie_node), next - 2 * DL_HEAD, fn);
	}
	row_idle(h, p, END(h), fn);
	return 0;
}

static size_t dl_usable(const struct mem_heap *h, const void *p) { return size_at(h, off_of(h, p)) - DL_HEAD; }
static bool dl_marked(const struct mem_heap *h, const void *p) { return HEAD(h, off_of(h, p)) & DL_MARK; }
static void dl_mark(struct mem_heap *h, void *ptr, bool on)
{
	uint64_t p = off_of(h, ptr);

	HEAP_SET(h, HEAD(h, p), (HEAD(h, p) & ~(uint64_t)DL_MARK) | (on ? DL_MARK : 0));
}

static bool dl_owns(const struct mem_heap *h, const void *ptr)
{
	uint64_t p = off_of(h, ptr), top = TOP(h), word, size;

	if (p < DL_FIRST || p >= top || top > h->len || (p >= DV(h) && p < DV_END(h)))
		return false;
	word = HEAD(h, p) & ~(uint64_t)(DL_PREV_FREE | DL_MARK);
	size = word & DL_SIZE;
	return word == (size | seal(p)) && size >= DL_LEAST && size <= top - p;
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

struct dl_bounds { uint64_t top, end, dv, dv_end; };

/** Where the row, the heap and the victim are. False: not within what is there. */
static bool get_bounds(const struct mem_heap *h, struct dl_bounds *b)
{
	bool victim;

	b->top = HEAP_GET(h, TOP(h));
	b->end = HEAP_GET(h, END(h));
	b->dv = HEAP_GET(h, DV(h));
	b->dv_end = HEAP_GET(h, DV_END(h));
	victim = b->dv >= DL_FIRST && b->dv_end > b->dv && b->dv_end < b->top && b->dv_end - b->dv >= DL_LEAST;
	return b->end <= h->len && b->end >= DL_FIRST + DL_LEAST && b->top >= DL_FIRST &&
	       b->top <= b->end - DL_LEAST && (victim || (!b->dv && !b->dv_end)) &&
	       (b->top | b->end | b->dv | b->dv_end) % DL_FIRST == 0;
}

/** Head of the fragment at `p`, in the row; the victim's as it would be. 0: it is damaged. */
static uint64_t get_word(const struct mem_heap *h, const struct dl_bounds *b, uint64_t p)
{
	uint64_t word = p == b->dv ? b->dv_end - p : HEAP_GET(h, *head_at(h, p)), size = word & DL_SIZE;
	uint64_t bits = word & DL_USED ? seal(p) | (word & (DL_PREV_FREE | DL_MARK)) : 0;

	return word == (size | bits) && size >= DL_LEAST && size <= b->top - p ? word : 0;
}

static uint64_t dl_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	uint64_t p = at ? at : DL_FIRST, word, size;
	struct dl_bounds b;

	if (!get_bounds(h, &b) || p % DL_FIRST || p < DL_FIRST || p > b.top)
		return MEM_WALK_FAULT;
	for (bool more = true; more && p < b.end && max--; p += size) {
		word = p == b.top ? b.end - p : get_word(h, &b, p);
		size = word & DL_SIZE;
		if (!word)
			return MEM_WALK_FAULT;
		more = fn(&(struct mem_frag){ h->base + p, size - DL_HEAD, word & DL_USED, word & DL_MARK }, arg);
	}
	return HEAP_FAILED(h) ? MEM_WALK_FAULT : p < b.end ? p : 0;
}

/** lists_size_fn */
static uint64_t free_size(const struct mem_heap *h, uint64_t p)
{
	struct dl_bounds b;
	uint64_t word;

	if (!get_bounds(h, &b) || p % DL_FIRST || p < DL_FIRST || p >= b.top || p == b.dv)
		return 0;
	word = get_word(h, &b, p);
	return word & DL_USED ? 0 : word;
}

/** What is wrong with the fragment at `p`, or NULL. `before`: the head of the one before; `foot`: and that has one. */
static const char *check_one(const struct mem_heap *h, uint64_t p, uint64_t word, uint64_t before, bool foot)
{
	bool after_free = !(before & DL_USED);

	if (!word)
		return "the head of a fragment was overwritten";
	if (foot && HEAP_GET(h, *foot_before(h, p)) != before)
		return "the foot of a free fragment is not its size";
	if (!(word & DL_USED))
		return after_free ? "free neighbours were not joined" : NULL;
	return after_free != !!(word & DL_PREV_FREE) ? "a fragment is wrong about the one before" : NULL;
}

/** The row, up to the first fault, which is at *ret_at. Counts the fragments that are found by size. */
static const char *check_row(const struct mem_heap *h, const struct dl_bounds *b, uint64_t *ret_at, uint64_t *ret_free)
{
	uint64_t p = DL_FIRST, word, before = DL_USED, size;
	bool foot = false, victim = !b->dv;
	const char *what = NULL;

	for (*ret_free = 0; p < b->top && !HEAP_FAILED(h); p += size, before = word) {
		*ret_at = p;
		word = get_word(h, b, p);
		size = word & DL_SIZE;
		what = check_one(h, p, word, before, foot);
		if (what)
			return what;
		victim |= p == b->dv;
		foot = !(word & DL_USED) && p != b->dv;
		*ret_free += foot;
	}
	*ret_at = b->top;
	if (!(before & DL_USED))
		return "the last fragment is free and not part of the top";
	*ret_at = b->dv;
	return victim ? NULL : "the victim is not a fragment";
}

static unsigned dl_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)
{
	const char *what = "top, end or victim is out of the heap";
	uint64_t at = 0, free = 0;
	struct dl_bounds b;

	if (get_bounds(h, &b))
		what = check_row(h, &b, &at, &free);
	if (HEAP_FAILED(h))
		what = "could not be read";
	if (!what) {
		unsigned faults = trie_check_all(h, LISTS(h), free, free_size, fn, arg);

		if (!HEAP_FAILED(h))
			return faults;
		what = "could not be read";
		at = 0;
	}
	fn(&(struct mem_fault){ h->base + at, what }, arg);	/* the first: what follows it cannot be judged */
	return 1;
}

static uint64_t dl_largest(const struct mem_heap *h)
{
	uint64_t size;
	struct dl_bounds b;

	if (!get_bounds(h, &b))
		return 0;
	size = trie_largest_of_all(h, LISTS(h), free_size);
	size = size > b.end - b.top ? size : b.end - b.top;
	return (size > b.dv_end - b.dv ? size : b.dv_end - b.dv) - DL_HEAD;
}

/* The most stores: a search that finds, and lists the victim, then a cut on both sides; a free between two. */
enum {
	DL_LIST = 2 + TRIE_INSERT,
	DL_FOUND = 2 * LISTS_FIND + TRIE_REMOVE + DL_LIST + 3 + ROW_TALLY,
	DL_RESIZE = MEM_CURSORS + TRIE_REMOVE + 3 + DL_LIST + ROW_TALLY,
	DL_ALIGNED = DL_FOUND + 1 + DL_LIST + ROW_TALLY + DL_RESIZE,
	DL_JOINED = 2 * MEM_CURSORS + 2 * TRIE_REMOVE + 4 + DL_LIST + ROW_TALLY,
};

const struct mem_manager_ops MEM_OPS(dl) = {
	MEM_OPS_HEAD, .name = "dl",
	.summary = "best fit with 8 bytes a fragment: the choice for least memory where sizes are of every kind",
	.domains = MEM_PKG | MEM_SHM, .flags = MEM_HEAD8 | MEM_SEALED, .root_bytes = sizeof(struct dl_roots),
	.max_stores = DL_ALIGNED > DL_JOINED ? DL_ALIGNED : DL_JOINED,
	MEM_MUTATORS(.init = dl_init, .alloc = dl_alloc, .free = dl_free, .resize = dl_resize, .usable = dl_usable,
		     .extend = dl_extend, .idle = dl_idle, .mark = dl_mark, .marked = dl_marked, .owns = dl_owns,
		     .size_word = { DL_SIZE, DL_HEAD, DL_HEAD })
	.walk = dl_walk, .check = dl_check, .largest = dl_largest,
};
