/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tlsf: two-level segregated fit, after Masmano, Ripoll, Crespo, Real, "TLSF: a new dynamic memory allocator for
 * real-time systems" (ECRTS 2004) and their "A constant-time dynamic storage allocator" (2008).
 *
 * A row of fragments without gaps, each with one header; a used header of size 0 ends it:
 *
 *	| size|USED prev | payload ... | size prev | next prev ... | 0|USED prev |
 *	0                               free: links in the payload  END          len
 *
 * Free fragments are in lists by size, two levels: row 0 has sizes below 512 in steps of 16, each further row a power
 * of two, in 32 steps; a bitmap of the rows that are not empty, and one for each row of its lists:
 *
 *	rows  ..1.1     lists[row]  ...1..1.     head[row][list] -> next -> next -> 0
 *
 * A request takes the first of its own list if that is large enough, else the first of the next list that is not
 * empty: every fragment there is. What is too much is cut off, what comes back is joined with free neighbours at once.
 *
 * Invariants (tlsf_check): sizes are multiples of 16, at least TLSF_LEAST, and add up to END; `prev` is the size of the
 * fragment before; no two free fragments are neighbours; a free one is not marked and is in the list of its size; a bit
 * is set exactly where a list is not empty. And for owns: a header that was given up is not USED.
 *
 * alloc, free, resize O(1) in the worst case, without a loop. A request fails though a fragment of its own list would
 * do when that is not the first one: at most 1/32 of its size is lost to that.
 */
#include "memapi/manager.h"
#include "mem/base/bits.h"

enum { TLSF_HEAD = 16, TLSF_LEAST = 32, TLSF_USED = 1, TLSF_MARK = 2, TLSF_BITS = 15, TLSF_LISTS = 32 };
enum { TLSF_SMALL = 512, TLSF_SMALL_LOG = 9, TLSF_ROWS = 40, TLSF_PAGE = 4096, TLSF_IDLE_LOOKS = 64 };

struct tlsf_frag { uint64_t size, prev; };	/* size with header, and the bits; prev = 0 for the first */
struct tlsf_links { uint64_t next, prev; };	/* of payloads; prev = 0 for the first of a list */

struct tlsf_roots {
	uint64_t end;				/* offset of the end mark */
	uint64_t rows, lists[TLSF_ROWS];	/* bitmaps */
	uint64_t head[TLSF_ROWS][TLSF_LISTS];	/* offsets of payloads, 0: empty */
};

struct tlsf_place { unsigned row, list; };

static struct tlsf_roots *roots(const struct mem_heap *h) { return (void *)h->roots; }
static struct tlsf_frag *frag_at(const struct mem_heap *h, uint64_t off) { return (void *)(h->base + off); }
static struct tlsf_links *links_at(const struct mem_heap *h, uint64_t p) { return (void *)(h->base + p); }

/** The list of fragments of `size` bytes, their header included. */
static struct tlsf_place place_of(uint64_t size)
{
	unsigned high;

	if (size < TLSF_SMALL)
		return (struct tlsf_place){ 0, (unsigned)(size / TLSF_HEAD) };
	high = bits_highest(size);
	return (struct tlsf_place){ high - TLSF_SMALL_LOG + 1, (unsigned)(size >> (high - 5)) & (TLSF_LISTS - 1) };
}

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

static uint64_t size_of(const struct tlsf_frag *f) { return f->size & ~(uint64_t)TLSF_BITS; }
static bool is_used(const struct tlsf_frag *f) { return f->size & TLSF_USED; }
static struct tlsf_frag *frag_of(const void *p) { return (struct tlsf_frag *)(uintptr_t)p - 1; }
static struct tlsf_frag *next_of(struct tlsf_frag *f) { return (void *)((char *)f + size_of(f)); }
static struct tlsf_frag *prev_of(struct tlsf_frag *f) { return (void *)((char *)f - f->prev); }
static uint64_t off_of(const struct mem_heap *h, const void *at) { return (uintptr_t)at - (uintptr_t)h->base; }

/** So many bytes and fragments more are free; negative: fewer. */
static void tally(struct mem_heap *h, uint64_t bytes, int fragments)
{
	HEAP_SET(h, h->tally->free_bytes, h->tally->free_bytes + bytes);
	if (fragments)
		HEAP_SET(h, h->tally->free_fragments, h->tally->free_fragments + (uint64_t)(int64_t)fragments);
}

/* ---- lists ---- */

static void list_push(struct mem_heap *h, struct tlsf_frag *f, uint64_t size)
{
	struct tlsf_place at = place_of(size);
	struct tlsf_roots *r = roots(h);
	uint64_t p = off_of(h, f + 1), first = r->head[at.row][at.list];

	HEAP_SET(h, links_at(h, p)->next, first);
	HEAP_SET(h, links_at(h, p)->prev, 0);
	HEAP_SET(h, r->head[at.row][at.list], p);
	if (first) {
		HEAP_SET(h, links_at(h, first)->prev, p);
		return;
	}
	HEAP_SET(h, r->lists[at.row], r->lists[at.row] | 1ull << at.list);
	if (!(r->rows >> at.row & 1))
		HEAP_SET(h, r->rows, r->rows | 1ull << at.row);
}

static void list_remove(struct mem_heap *h, struct tlsf_frag *f)
{
	struct tlsf_place at = place_of(size_of(f));
	struct tlsf_roots *r = roots(h);
	struct tlsf_links *links = (void *)(f + 1);

	if (links->next)
		HEAP_SET(h, links_at(h, links->next)->prev, links->prev);
	if (links->prev) {
		HEAP_SET(h, links_at(h, links->prev)->next, links->next);
		return;
	}
	HEAP_SET(h, r->head[at.row][at.list], links->next);
	if (links->next)
		return;
	HEAP_SET(h, r->lists[at.row], r->lists[at.row] & ~(1ull << at.list));
	if (!r->lists[at.row])
		HEAP_SET(h, r->rows, r->rows & ~(1ull << at.row));
}

/** First fragment of the first list from `at` on that is not empty, or NULL. */
static struct tlsf_frag *list_first(const struct mem_heap *h, struct tlsf_place at)
{
	const struct tlsf_roots *r = roots(h);
	uint64_t lists = r->lists[at.row] >> at.list << at.list, rows;

	if (!lists) {
		rows = r->rows >> at.row >> 1 << 1 << at.row;
		if (!rows)
			return NULL;
		at.row = bits_lowest(rows);
		lists = r->lists[at.row];
	}
	return frag_at(h, r->head[at.row][bits_lowest(lists)] - TLSF_HEAD);
}

/** A listed fragment of `need` bytes or more, or NULL. */
static struct tlsf_frag *list_find(const struct mem_heap *h, uint64_t need)
{
	struct tlsf_place at = place_of(need);
	uint64_t p = roots(h)->head[at.row][at.list];

	if (p && size_of(frag_at(h, p - TLSF_HEAD)) >= need)
		return frag_at(h, p - TLSF_HEAD);
	if (++at.list == TLSF_LISTS)
		at = (struct tlsf_place){ at.row + 1, 0 };
	return at.row < TLSF_ROWS ? list_first(h, at) : NULL;
}

/* ---- fragments ---- */

/** The `size` bytes at `f`, before `next`, become a free fragment in its list; its own prev is set by whoever cuts. */
static void make_free(struct mem_heap *h, struct tlsf_frag *f, uint64_t size, struct tlsf_frag *next)
{
	HEAP_SET(h, f->size, size);
	HEAP_SET(h, next->prev, size);
	list_push(h, f, size);
}

/** `f`, unlisted and `have` bytes long, becomes used with `need` of them; the rest is free if it makes a fragment. */
static void *take(struct mem_heap *h, struct tlsf_frag *f, uint64_t have, uint64_t need)
{
	struct tlsf_frag *next = (void *)((char *)f + have), *rest = (void *)((char *)f + need);

	if (have - need < TLSF_LEAST) {
		tally(h, -(have - TLSF_HEAD), -1);
		HEAP_SET(h, f->size, have | TLSF_USED);
		HEAP_SET(h, next->prev, have);
		return f + 1;
	}
	tally(h, -need, 0);
	HEAP_SET(h, f->size, need | TLSF_USED);
	HEAP_SET(h, rest->prev, need);
	make_free(h, rest, have - need, next);
	return f + 1;
}

/** Bytes to skip for an aligned payload: none, or as many as make a fragment. */
static uint64_t pad_of(const struct tlsf_frag *f, uint64_t align)
{
	uint64_t pad = -(uintptr_t)(f + 1) & (align - 1);

	return pad && pad < TLSF_LEAST ? pad + align : pad;
}

static void *tlsf_alloc(struct mem_heap *h, size_t align, size_t size)
{
	uint64_t need = size + TLSF_HEAD, have, pad;
	struct tlsf_frag *f;

	if (align > h->len)
		return NULL;
	f = list_find(h, align > TLSF_HEAD ? need + align + TLSF_LEAST : need);
	if (!f)
		return NULL;
	have = size_of(f);
	pad = align > TLSF_HEAD ? pad_of(f, align) : 0;
	list_remove(h, f);
	if (pad) {
		struct tlsf_frag *behind = (void *)((char *)f + pad);

		make_free(h, f, pad, behind);
		tally(h, -(uint64_t)TLSF_HEAD, 1);
		f = behind;
		have -= pad;
	}
	return take(h, f, have, need);
}

static void tlsf_free(struct mem_heap *h, void *p)
{
	struct tlsf_frag *f = frag_of(p), *next = next_of(f), *first = f;
	uint64_t size = size_of(f), bytes = size - TLSF_HEAD;
	int fragments = 1;

	if (!is_used(next)) {
		HEAP_SWALLOWED(h, off_of(h, next), off_of(h, f));
		list_remove(h, next);
		size += size_of(next);
		bytes += TLSF_HEAD, fragments--;
		next = next_of(next);
	}
	if (f->prev && !is_used(prev_of(f))) {
		first = prev_of(f);
		HEAP_SWALLOWED(h, off_of(h, f), off_of(h, first));
		HEAP_SET(h, f->size, size_of(f));	/* given up: not USED */
		list_remove(h, first);
		size += size_of(first);
		bytes += TLSF_HEAD, fragments--;
	}
	tally(h, bytes, fragments);
	make_free(h, first, size, next);
}

static bool tlsf_resize(struct mem_heap *h, void *p, size_t size)
{
	struct tlsf_frag *f = frag_of(p), *next = next_of(f);
	uint64_t need = size + TLSF_HEAD, had = size_of(f), have = had, mark = f->size & TLSF_MARK;

	if (is_used(next) && (need > had || had - need < TLSF_LEAST))
		return need <= had;
	if (!is_used(next)) {
		have += size_of(next);
		if (need > have)
			return false;
		HEAP_SWALLOWED(h, off_of(h, next), off_of(h, f));
		list_remove(h, next);
		tally(h, had, 0);		/* as if f were free with it; take() counts what it takes */
	} else {
		tally(h, had - TLSF_HEAD, 1);
	}
	take(h, f, have, need);
	if (mark)
		HEAP_SET(h, f->size, f->size | mark);
	return true;
}

/** The old end mark becomes the header of a fragment up to the new one; free joins it with the last. */
static void tlsf_extend(struct mem_heap *h, uint64_t old_len)
{
	uint64_t off = old_len - TLSF_HEAD, end = h->len - TLSF_HEAD;

	HEAP_SET(h, frag_at(h, off)->size, (end - off) | TLSF_USED);
	HEAP_SET(h, frag_at(h, end)->size, TLSF_USED);
	HEAP_SET(h, frag_at(h, end)->prev, end - off);
	HEAP_SET(h, roots(h)->end, end);
	tlsf_free(h, frag_at(h, off) + 1);
}

/* An empty heap is one that has grown from nothing but an end mark. */
static int tlsf_init(struct mem_heap *h)
{
	tlsf_extend(h, TLSF_HEAD);
	return 0;
}

static uint64_t tlsf_idle(struct mem_heap *h, uint64_t at, mem_idle_fn *fn)
{
	struct tlsf_frag *f = frag_at(h, at);

	for (unsigned looks = TLSF_IDLE_LOOKS; size_of(f) && looks--; f = next_of(f)) {
		uint64_t off = off_of(h, f), page = bits_up(off + TLSF_HEAD + sizeof(struct tlsf_links), TLSF_PAGE);
		uint64_t end = bits_down(off + size_of(f), TLSF_PAGE);

		if (!is_used(f) && page < end)
			fn(h, page, end - page);
	}
	return size_of(f) ? off_of(h, f) : 0;
}

static size_t tlsf_usable(const struct mem_heap *h, const void *p)
{
	(void)h;
	return size_of(frag_of(p)) - TLSF_HEAD;
}

static bool tlsf_marked(const struct mem_heap *h, const void *p)
{
	(void)h;
	return frag_of(p)->size & TLSF_MARK;
}

static void tlsf_mark(struct mem_heap *h, void *p, bool on)
{
	HEAP_SET(h, frag_of(p)->size, (frag_of(p)->size & ~(uint64_t)TLSF_MARK) | (on ? TLSF_MARK : 0));
}

static bool tlsf_owns(const struct mem_heap *h, const void *p)
{
	uint64_t at = off_of(h, p) - TLSF_HEAD, end = roots(h)->end, word, size;

	if (at >= end || end > h->len - TLSF_HEAD)
		return false;
	word = frag_at(h, at)->size;
	size = word & ~(uint64_t)TLSF_BITS;
	return (word & TLSF_USED) && !(word & TLSF_BITS & ~(uint64_t)(TLSF_USED | TLSF_MARK)) && size >= TLSF_LEAST &&
	       size <= end - at && frag_at(h, at + size)->prev == size;
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

/** Where the row ends. False: not within what is there. */
static bool get_end(const struct mem_heap *h, uint64_t *ret_end)
{
	*ret_end = HEAP_GET(h, roots(h)->end);
	return *ret_end <= h->len - TLSF_HEAD && *ret_end % TLSF_HEAD == 0 && !HEAP_FAILED(h);
}

/** Size word of the fragment at `at`, below `end`. 0: it leads out of the row. */
static uint64_t get_word(const struct mem_heap *h, uint64_t at, uint64_t end)
{
	uint64_t word = HEAP_GET(h, frag_at(h, at)->size), size = word & ~(uint64_t)TLSF_BITS;

	return size >= TLSF_LEAST && size <= end - at ? word : 0;
}

static uint64_t tlsf_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	uint64_t end, word, size;

	if (!get_end(h, &end) || at % TLSF_HEAD)
		return MEM_WALK_FAULT;
	for (bool more = true; more && at < end && max--; at += size) {
		word = get_word(h, at, end);
		size = word & ~(uint64_t)TLSF_BITS;
		if (!word)
			return MEM_WALK_FAULT;
		more = fn(
			&(struct mem_frag){ frag_at(h, at) + 1, size - TLSF_HEAD, word & TLSF_USED, word & TLSF_MARK },
			arg);
	}
	return HEAP_FAILED(h) ? MEM_WALK_FAULT : at < end ? at : 0;
}

static const char *check_one(const struct mem_heap *h, uint64_t at, uint64_t word, uint64_t before)
{
	if (!word)
		return "size leads out of the heap";
	if (HEAP_GET(h, frag_at(h, at)->prev) != (before & ~(uint64_t)TLSF_BITS))
		return "prev is not the size of the fragment before";
	if (word & TLSF_USED)
		return word & TLSF_BITS & ~(uint64_t)(TLSF_USED | TLSF_MARK) ? "size is not a multiple of 16" : NULL;
	if (word & TLSF_BITS)
		return "a free fragment is marked, or its size is not a multiple of 16";
	return before && !(before & TLSF_USED) ? "free neighbours were not joined" : NULL;
}

/** The row, up to the first fault. Counts its free fragments. */
static const char *check_row(const struct mem_heap *h, uint64_t end, uint64_t *ret_at, uint64_t *ret_free)
{
	uint64_t at = 0, word = TLSF_USED, before = 0;
	const char *what = NULL;

	for (*ret_free = 0; at < end && !what && !HEAP_FAILED(h); at += word & ~(uint64_t)TLSF_BITS, before = word) {
		*ret_at = at;
		word = get_word(h, at, end);
		what = check_one(h, at, word, before);
		*ret_free += !(word & TLSF_USED);
	}
	if (what)
		return what;
	*ret_at = end;
	if (HEAP_GET(h, frag_at(h, end)->size) != TLSF_USED ||
	    HEAP_GET(h, frag_at(h, end)->prev) != (before & ~(uint64_t)TLSF_BITS))
		return "the end mark is damaged";
	return NULL;
}

/** One list, counted down from *left. */
static const char *check_list(const struct mem_heap *h, struct tlsf_place at, uint64_t end, uint64_t *p, uint64_t *left)
{
	uint64_t before = 0;

	for (*p = HEAP_GET(h, roots(h)->head[at.row][at.list]); *p && !HEAP_FAILED(h);
	     before = *p, *p = HEAP_GET(h, links_at(h, *p)->next)) {
		uint64_t word;
		struct tlsf_place own;

		if (!(*left)--)
			return "more fragments in the lists than are free";
		if (*p % TLSF_HEAD || *p < TLSF_HEAD || *p - TLSF_HEAD >= end)
			return "a list leads out of the heap";
		word = get_word(h, *p - TLSF_HEAD, end);
		if (!word || word & TLSF_BITS)
			return "a list leads to what is not a free fragment";
		own = place_of(word);
		if (own.row != at.row || own.list != at.list)
			return "a free fragment is in the list of another size";
		if (HEAP_GET(h, links_at(h, *p)->prev) != before)
			return "a free fragment's prev is not the one before";
	}
	return NULL;
}

static const char *check_lists(const struct mem_heap *h, uint64_t end, uint64_t *ret_at, uint64_t left)
{
	uint64_t rows = HEAP_GET(h, roots(h)->rows), lists;
	const char *what = NULL;

	for (struct tlsf_place at = { 0, 0 }; at.row < TLSF_ROWS && !what; at.row++) {
		lists = HEAP_GET(h, roots(h)->lists[at.row]);
		*ret_at = 0;
		if ((rows >> at.row & 1) != (lists != 0) || rows >> TLSF_ROWS || lists >> TLSF_LISTS)
			return "a row's bit is not what its lists are";
		for (at.list = 0; at.list < TLSF_LISTS && !what && !HEAP_FAILED(h); at.list++) {
			if ((lists >> at.list & 1) != (HEAP_GET(h, roots(h)->head[at.row][at.list]) != 0))
				return "a list's bit is not whether it is empty";
			what = check_list(h, at, end, ret_at, &left);
		}
	}
	return what ? what : left ? "a free fragment is in no list" : NULL;
}

static unsigned tlsf_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)
{
	const char *what = "the end is out of the heap";
	uint64_t end, at = 0, free;

	if (get_end(h, &end)) {
		what = check_row(h, end, &at, &free);
		if (!what)
			what = check_lists(h, end, &at, free);
	}
	if (HEAP_FAILED(h))
		what = "could not be read";
	if (what) /* the first fault: what follows it cannot be judged */
		fn(&(struct mem_fault){ h->base + (at < h->len ? at : 0), what }, arg);
	return what != NULL;
}

static uint64_t tlsf_largest(const struct mem_heap *h)
{
	uint64_t rows = HEAP_GET(h, roots(h)->rows), lists, end, best = 0, p, word;
	unsigned row, looks = MEM_LOOKS;

	if (!rows || !get_end(h, &end) || (row = bits_highest(rows)) >= TLSF_ROWS)
		return 0;
	lists = HEAP_GET(h, roots(h)->lists[row]) & UINT32_MAX;
	if (!lists)
		return 0;
	p = HEAP_GET(h, roots(h)->head[row][bits_highest(lists)]);
	for (; p && looks-- && p % TLSF_HEAD == 0 && p >= TLSF_HEAD && p - TLSF_HEAD < end;
	     p = HEAP_GET(h, links_at(h, p)->next)) {
		word = get_word(h, p - TLSF_HEAD, end);
		if (!word || word & TLSF_BITS)
			break;
		best = word > best ? word : best;
	}
	return best && !HEAP_FAILED(h) ? best - TLSF_HEAD : 0;
}

/* The most stores: an aligned cut with a free piece on both sides; a free between two free neighbours; an extension. */
enum {
	TLSF_TALLY = 2, TLSF_PUSH = 6, TLSF_REMOVE = 4, TLSF_MAKE_FREE = 2 + TLSF_PUSH,
	TLSF_ALIGNED = TLSF_REMOVE + 2 * TLSF_MAKE_FREE + 2 * TLSF_TALLY + 2,
	TLSF_FREE = 2 * TLSF_REMOVE + 2 * MEM_CURSORS + 1 + TLSF_TALLY + TLSF_MAKE_FREE,
	TLSF_MOST = 4 + (TLSF_FREE > TLSF_ALIGNED ? TLSF_FREE : TLSF_ALIGNED),
};

const struct mem_manager_ops MEM_OPS(tlsf) = {
	MEM_OPS_HEAD, .name = "tlsf",
	.summary = "two-level segregated fit: every call in constant time; for servers that must answer in time",
	.domains = MEM_PKG | MEM_SHM, .root_bytes = sizeof(struct tlsf_roots), .max_stores = TLSF_MOST,
	MEM_MUTATORS(.init = tlsf_init, .alloc = tlsf_alloc, .free = tlsf_free, .resize = tlsf_resize,
		     .usable = tlsf_usable, .extend = tlsf_extend, .idle = tlsf_idle, .mark = tlsf_mark,
		     .marked = tlsf_marked, .owns = tlsf_owns)
	.walk = tlsf_walk, .check = tlsf_check, .largest = tlsf_largest,
};
