/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fm: fast first fit over a size hash.
 *
 * A row of fragments without gaps, each with one header, whose size is sealed by its place while it is used, and above
 * them the top, which was never handed out or has come back whole. The top has a header, too, but of that only `prev`
 * is kept:
 *
 *	| size|USED prev | payload ... | size prev | next prev ... | - prev | never used ... |
 *	0                               free: links in the payload  TOP                      END = len
 *
 * Free fragments are found by size (free_lists.h): one list for each size below 4 KiB, eight for each power of two
 * above. A request takes the first of its list, or the first of up to FM_LOOKS that fits where sizes in a list differ;
 * or one of the next list that is not empty; or a piece of the top. A fragment is cut to size when more than a quarter
 * of the request were left over: else it is taken whole, as it will be asked for again, and is not joined and cut each
 * time. What comes back is joined with free neighbours.
 *
 * Invariants (fm_check): the sizes add up from 0 to TOP, each a multiple of 16 and at least FM_LEAST; `prev` is the
 * size of the fragment before; what is used is sealed, what is free is not, nor marked, and is in the list of its size;
 * where JOIN is FM_JOINS, no two free fragments are neighbours and the last one is used; TOP and END are multiples of
 * 16 with a header's room between. And for owns: a header that was given up, inside of another fragment now or above
 * TOP, is not USED.
 *
 * alloc, free, resize O(1), a failing one too. A request of a page or more can fail though a fragment is large enough,
 * when that is behind FM_LOOKS smaller ones of its list and nothing larger is free.
 */
#include "mem/mgr/free_lists.h"
#include "mem/mgr/row.h"

/* Switch of the build: 0 leaves free neighbours apart, for loads that ask for the same few sizes again and again. */
#ifndef FM_JOIN
#define FM_JOIN 1
#endif

enum { FM_HEAD = 16, FM_LEAST = 32, FM_LOOKS = 24, FM_SPARE = 4 };
enum { FM_USED = MEM_USED, FM_MARK = MEM_MARKED, FM_BITS = 15 };
#define FM_SIZE 0x0000fffffffffff0u
enum { FM_TALLY = ROW_TALLY };
enum { FM_JOINS = 1, FM_APART = 2 };	/* of roots.join: one flipped bit makes neither */

struct fm_frag { uint64_t size, prev; };	/* size with header, the bits, the seal; prev = 0 for the first */

struct fm_roots {
	uint64_t top, end;		/* offsets */
	uint64_t join;			/* FM_JOINS: free neighbours are joined, or FM_APART */
	struct free_lists lists;
};

static struct fm_roots *fm_roots(const struct mem_heap *h) { return (void *)h->roots; }
static struct fm_frag *fm_at(const struct mem_heap *h, uint64_t off) { return (void *)(h->base + off); }

/** Above the size of the used fragment at this offset. */
static uint64_t fm_sealed(uint64_t at) { return mem_seal(at + FM_HEAD) | FM_USED; }

#define TOP(h) (fm_roots(h)->top)
#define END(h) (fm_roots(h)->end)
#define JOIN(h) (fm_roots(h)->join)
#define LISTS(h) (&fm_roots(h)->lists)

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

static uint64_t fm_size(const struct fm_frag *f) { return f->size & FM_SIZE; }
static bool fm_used(const struct fm_frag *f) { return f->size & FM_USED; }
/** Of what stands behind `size` bytes. A damaged one is not free, and is left alone: the front end has not asked. */
static bool fm_is_free(const struct fm_frag *next, uint64_t size)
{
	return !(next->size & ~FM_SIZE) && next->prev == size;
}
static struct fm_frag *fm_of(const void *p) { return (struct fm_frag *)(uintptr_t)p - 1; }
static struct fm_frag *fm_next(struct fm_frag *f) { return (void *)((char *)f + fm_size(f)); }
static uint64_t fm_off(const struct mem_heap *h, const void *at) { return (uintptr_t)at - (uintptr_t)h->base; }
static uint64_t fm_seal(const struct mem_heap *h, const void *f) { return fm_sealed(fm_off(h, f)); }
static bool fm_is_top(const struct mem_heap *h, const struct fm_frag *f) { return fm_off(h, f) == TOP(h); }
static uint64_t fm_room(const struct mem_heap *h) { return END(h) - TOP(h) - FM_HEAD; }	/* usable bytes of the top */

static void fm_list(struct mem_heap *h, struct fm_frag *f, uint64_t size)
{
	lists_push(h, LISTS(h), bins_of(size), fm_off(h, f + 1));
}

static void fm_unlist(struct mem_heap *h, struct fm_frag *f)
{
	lists_remove(h, LISTS(h), bins_of(fm_size(f)), fm_off(h, f + 1));
}

/** The size of `f`, a free fragment in its list, becomes `size`: it stays in the list if that is the right one. */
static void fm_relist(struct mem_heap *h, struct fm_frag *f, uint64_t size)
{
	bool move = bins_of(fm_size(f)) != bins_of(size);

	if (move)
		fm_unlist(h, f);
	HEAP_SET(h, f->size, size);
	if (move)
		fm_list(h, f, size);
}

/** The `size` bytes at `f`, before `next`, become a free fragment; its prev is set by whoever cuts before it. */
static void fm_make_free(struct mem_heap *h, struct fm_frag *f, uint64_t size, struct fm_frag *next)
{
	HEAP_SET(h, f->size, size);
	HEAP_SET(h, next->prev, size);
	fm_list(h, f, size);
}

/** TOP moves, and its count as a free fragment with it: it is one while there is room in it. */
static void fm_set_top(struct mem_heap *h, uint64_t top, uint64_t bytes, int fragments)
{
	bool had = fm_room(h);

	HEAP_SET(h, TOP(h), top);
	row_tally(h, bytes, fragments + (fm_room(h) != 0) - had);
}

static void fm_extend(struct mem_heap *h, uint64_t old_len)
{
	bool had = fm_room(h);

	HEAP_SET(h, END(h), h->len);
	row_tally(h, h->len - old_len, !had);
}

static int fm_init(struct mem_heap *h)
{
	HEAP_SET(h, END(h), h->len);
	HEAP_SET(h, JOIN(h), FM_JOIN ? FM_JOINS : FM_APART);
	row_tally(h, fm_room(h), 1);
	return 0;
}

/* ---- alloc ---- */

static uint64_t fm_pad(const struct fm_frag *f, uint64_t align) { return row_pad(f + 1, align, FM_LEAST); }

/** Cut `need` bytes from the top, behind `pad`, which becomes a fragment. */
static inline void *fm_from_top(struct mem_heap *h, uint64_t need, uint64_t pad)
{
	struct fm_frag *f = fm_at(h, TOP(h)), *taken = (void *)((char *)f + pad);

	if (pad + need > fm_room(h))
		return NULL;
	if (pad)
		fm_make_free(h, f, pad, taken);
	HEAP_SET(h, taken->size, need | fm_seal(h, taken));
	HEAP_SET(h, fm_next(taken)->prev, need);
	fm_set_top(h, TOP(h) + pad + need, -(need + (pad ? FM_HEAD : 0)), pad != 0);
	return taken + 1;
}

/** All of the listed fragment `f`. */
static inline void *fm_take_whole(struct mem_heap *h, struct fm_frag *f)
{
	row_tally(h, FM_HEAD - fm_size(f), -1);
	HEAP_SET(h, f->size, f->size | fm_seal(h, f));
	return f + 1;
}

/** Whether `rest` bytes behind a request of `need` are left to it. */
static inline bool fm_spares(uint64_t rest, uint64_t need) { return rest < FM_LEAST || rest < need / FM_SPARE; }

/** Cut `need` bytes from the start of the listed fragment `f`, or take all. */
static void *fm_cut_front(struct mem_heap *h, struct fm_frag *f, uint64_t need)
{
	uint64_t rest = fm_size(f) - need;
	struct fm_frag *next = fm_next(f), *second = (void *)((char *)f + need);

	fm_unlist(h, f);
	if (fm_spares(rest, need))
		return fm_take_whole(h, f);
	row_tally(h, -need, 0);
	HEAP_SET(h, f->size, need | fm_seal(h, f));
	HEAP_SET(h, second->prev, need);
	fm_make_free(h, second, rest, next);
	return f + 1;
}

/** Cut `need` bytes from where it costs least: from the end when the rest is still right in its list. */
static void *fm_cut(struct mem_heap *h, struct fm_frag *f, uint64_t need)
{
	uint64_t rest = fm_size(f) - need;
	struct fm_frag *next = fm_next(f), *second = (void *)((char *)f + rest);

	if (fm_spares(rest, need) || bins_of(rest) != bins_of(fm_size(f)))
		return fm_cut_front(h, f, need);
	row_tally(h, -need, 0);
	HEAP_SET(h, f->size, rest);
	HEAP_SET(h, second->size, need | fm_seal(h, second));
	HEAP_SET(h, second->prev, rest);
	HEAP_SET(h, next->prev, need);
	return second + 1;
}

/** First of the list's first fragments that has `need` bytes behind an aligned start, or NULL. */
static struct fm_frag *fm_first_fit(const struct mem_heap *h, unsigned bin, uint64_t need, uint64_t align,
				    unsigned *looks)
{
	for (uint64_t p = LISTS(h)->head[bin]; p && *looks; p = lists_links(h, p)->next, --*looks) {
		struct fm_frag *f = fm_at(h, p - FM_HEAD);

		if (fm_size(f) >= fm_pad(f, align) + need)
			return f;
	}
	return NULL;
}

/** The list of `need` bytes is empty, or its fragments are of many sizes. */
static void *fm_alloc_search(struct mem_heap *h, uint64_t need)
{
	unsigned bin = bins_of(need), looks = FM_LOOKS;
	struct fm_frag *f = need < BINS_EXACT ? NULL : fm_first_fit(h, bin, need, FM_HEAD, &looks);

	if (f)
		return fm_cut(h, f, need);
	bin = lists_find(h, LISTS(h), bin + 1);
	if (bin < BINS_COUNT)
		return fm_cut(h, fm_at(h, LISTS(h)->head[bin] - FM_HEAD), need);
	return fm_from_top(h, need, 0);
}

/** Cut `need` bytes from the listed fragment `f`, behind `pad`, which becomes a fragment. */
static void *fm_cut_behind(struct mem_heap *h, struct fm_frag *f, uint64_t pad, uint64_t need)
{
	uint64_t rest = fm_size(f) - pad - need;
	struct fm_frag *next = fm_next(f), *taken = (void *)((char *)f + pad);

	if (!pad)
		return fm_cut_front(h, f, need);
	if (rest < FM_LEAST)
		need += rest, rest = 0;
	row_tally(h, -(need + (rest ? FM_HEAD : 0)), rest != 0);
	fm_relist(h, f, pad);
	HEAP_SET(h, taken->size, need | fm_seal(h, taken));
	HEAP_SET(h, taken->prev, pad);
	HEAP_SET(h, ((struct fm_frag *)(void *)((char *)taken + need))->prev, need);
	if (rest)
		fm_make_free(h, (void *)((char *)taken + need), rest, next);
	return taken + 1;
}

/** Some fragments that may do, then one that must: there every start leaves room behind it. */
static void *fm_alloc_aligned(struct mem_heap *h, uint64_t align, uint64_t need)
{
	unsigned bin = lists_seek(LISTS(h), bins_of(need)), looks = FM_LOOKS;
	unsigned sure = align < h->len ? bins_of(need + align + FM_LEAST) + 1 : BINS_COUNT;
	struct fm_frag *f = NULL;

	for (; !f && looks && bin < BINS_COUNT; bin = lists_seek(LISTS(h), bin + 1))
		f = fm_first_fit(h, bin, need, align, &looks);
	if (!f && (bin = lists_seek(LISTS(h), sure)) < BINS_COUNT)
		f = fm_at(h, LISTS(h)->head[bin] - FM_HEAD);
	return f ? fm_cut_behind(h, f, fm_pad(f, align), need) : fm_from_top(h, need, fm_pad(fm_at(h, TOP(h)), align));
}

static void *fm_alloc(struct mem_heap *h, size_t align, size_t size)
{
	uint64_t need = size + FM_HEAD, *head, p;

	if (align > FM_HEAD)
		return fm_alloc_aligned(h, align, need);
	if (need >= BINS_EXACT || !(p = *(head = &LISTS(h)->head[need / BINS_STEP])))
		return fm_alloc_search(h, need);
	HEAP_SET(h, *head, lists_links(h, p)->next);
	return fm_take_whole(h, fm_at(h, p - FM_HEAD));
}

/* ---- free ---- */

/** `f`, `size` bytes up to the top, becomes a part of it; with the free fragment `prev` before it, unless NULL. */
static void fm_free_into_top(struct mem_heap *h, struct fm_frag *f, uint64_t size, struct fm_frag *prev)
{
	struct fm_frag *first = prev ? prev : f;

	if (prev)
		fm_unlist(h, prev);
	HEAP_SET(h, f->size, size);
	HEAP_SWALLOWED(h, TOP(h), fm_off(h, first));
	fm_set_top(h, fm_off(h, first), size + (prev ? FM_HEAD : 0), prev ? -1 : 0);
}

/** `f` and the free fragments beside it, one at least, become one. NULL: that side is not free. */
static void fm_free_joined(struct mem_heap *h, struct fm_frag *f, uint64_t size, struct fm_frag *prev,
			   struct fm_frag *next)
{
	uint64_t bytes = size - FM_HEAD + (prev ? FM_HEAD : 0) + (next ? FM_HEAD : 0);
	struct fm_frag *first = prev ? prev : f, *behind = (void *)((char *)f + size);

	row_tally(h, bytes, 1 - (prev != NULL) - (next != NULL));
	if (next) {
		HEAP_SWALLOWED(h, fm_off(h, next), fm_off(h, first));
		fm_unlist(h, next);
		behind = fm_next(next);
		size += fm_size(next);
	}
	if (!prev) {
		fm_make_free(h, f, size, behind);
		return;
	}
	HEAP_SET(h, f->size, size);
	size += fm_size(prev);
	fm_relist(h, prev, size);
	HEAP_SET(h, behind->prev, size);
}

static void fm_free(struct mem_heap *h, void *p)
{
	struct fm_frag *f = fm_of(p), *next = fm_next(f), *prev = NULL;
	uint64_t size = fm_size(f);
	bool joins_next;

	if (JOIN(h) == FM_JOINS) {
		prev = f->prev ? (void *)((char *)f - f->prev) : NULL;
		if (prev && fm_used(prev))
			prev = NULL;
		if (prev)
			HEAP_SWALLOWED(h, fm_off(h, f), fm_off(h, prev));
		if (fm_is_top(h, next)) {
			fm_free_into_top(h, f, size, prev);
			return;
		}
		joins_next = fm_is_free(next, size);
		if (prev || joins_next) {
			fm_free_joined(h, f, size, prev, joins_next ? next : NULL);
			return;
		}
	}
	row_tally(h, size - FM_HEAD, 1);
	HEAP_SET(h, f->size, size);
	fm_list(h, f, size);
}

/* ---- resize ---- */

/** `f` gives to the top, or takes from it, what is between its end and `want`. */
static bool fm_resize_at_top(struct mem_heap *h, struct fm_frag *f, uint64_t want)
{
	uint64_t size = fm_size(f), top = fm_off(h, f) + want;

	if (want > size + fm_room(h))
		return false;
	HEAP_SWALLOWED(h, TOP(h), top < TOP(h) ? top : fm_off(h, f));
	HEAP_SET(h, f->size, want | (f->size & ~FM_SIZE));
	HEAP_SET(h, fm_at(h, top)->prev, want);
	fm_set_top(h, top, size - want, 0);
	return true;
}

/** The end of `f` moves into the free fragment behind it, in either direction. */
static bool fm_resize_at_free(struct mem_heap *h, struct fm_frag *f, struct fm_frag *next, uint64_t want)
{
	uint64_t both = fm_size(f) + fm_size(next), rest = both - want, free_before = fm_size(next) - FM_HEAD;
	struct fm_frag *behind = fm_next(next), *cut = (void *)((char *)f + want);

	if (want > both)
		return false;
	HEAP_SWALLOWED(h, fm_off(h, next), fm_off(h, f));
	fm_unlist(h, next);
	if (rest < FM_LEAST) {
		HEAP_SET(h, f->size, both | (f->size & ~FM_SIZE));
		HEAP_SET(h, behind->prev, both);
		row_tally(h, -free_before, -1);
		return true;
	}
	HEAP_SET(h, f->size, want | (f->size & ~FM_SIZE));
	HEAP_SET(h, cut->prev, want);
	fm_make_free(h, cut, rest, behind);
	row_tally(h, rest - FM_HEAD - free_before, 0);
	return true;
}

static bool fm_resize(struct mem_heap *h, void *p, size_t size)
{
	struct fm_frag *f = fm_of(p), *next = fm_next(f), *cut;
	uint64_t want = size + FM_HEAD, had = fm_size(f);

	if (want == had)
		return true;
	if (fm_is_top(h, next))
		return fm_resize_at_top(h, f, want);
	if (!fm_used(next))
		return fm_resize_at_free(h, f, next, want);
	if (want > had)
		return false;
	if (had - want < FM_LEAST)
		return true;
	cut = (void *)((char *)f + want);
	HEAP_SET(h, f->size, want | (f->size & ~FM_SIZE));
	HEAP_SET(h, cut->prev, want);
	fm_make_free(h, cut, had - want, next);
	row_tally(h, had - want - FM_HEAD, 1);
	return true;
}

/* ---- the rest ---- */

/** Names the whole pages of a free fragment, or of the top, that hold neither header nor links. */
static void fm_idle_one(struct mem_heap *h, uint64_t at, uint64_t size, mem_idle_fn *fn)
{
	row_idle(h, at + FM_HEAD + sizeof(struct free_links), at + size, fn);
}

static uint64_t fm_idle(struct mem_heap *h, uint64_t at, mem_idle_fn *fn)
{
	for (unsigned looks = ROW_IDLE_LOOKS; looks--; at += fm_size(fm_at(h, at))) {
		if (at == TOP(h)) {
			fm_idle_one(h, at, END(h) - at, fn);
			return 0;
		}
		if (!fm_used(fm_at(h, at)))
			fm_idle_one(h, at, fm_size(fm_at(h, at)), fn);
	}
	return at;
}

static size_t fm_usable(const struct mem_heap *h, const void *p) { (void)h; return fm_size(fm_of(p)) - FM_HEAD; }
static bool fm_marked(const struct mem_heap *h, const void *p) { (void)h; return fm_of(p)->size & FM_MARK; }
static void fm_mark(struct mem_heap *h, void *p, bool on)
{
	HEAP_SET(h, fm_of(p)->size, (fm_of(p)->size & ~(uint64_t)FM_MARK) | (on ? FM_MARK : 0));
}

static bool fm_owns(const struct mem_heap *h, const void *p)
{
	uint64_t at = fm_off(h, p) - FM_HEAD, top = TOP(h), word, size;

	if (at >= top || top > h->len - FM_HEAD)
		return false;
	word = fm_at(h, at)->size & ~(uint64_t)FM_MARK;
	size = word & FM_SIZE;
	return word == (size | fm_sealed(at)) && size >= FM_LEAST && size <= top - at &&
	       fm_at(h, at + size)->prev == size;
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

/** Where the row and the heap end. False: not within what is there. */
static bool fm_bounds(const struct mem_heap *h, uint64_t *ret_top, uint64_t *ret_end)
{
	uint64_t top = HEAP_GET(h, TOP(h)), end = HEAP_GET(h, END(h));

	if (end > h->len || end < FM_HEAD || top > end - FM_HEAD || top % FM_HEAD || end % FM_HEAD)
		return false;
	*ret_top = top;
	*ret_end = end;
	return true;
}

/** Size word of the fragment at `at`, below `top`. 0: it leads out of the row, or is not sealed as it should be. */
static uint64_t fm_word(const struct mem_heap *h, uint64_t at, uint64_t top)
{
	uint64_t word = HEAP_GET(h, fm_at(h, at)->size), size = word & FM_SIZE;

	uint64_t bits = word & FM_USED ? fm_sealed(at) | (word & FM_MARK) : word & FM_BITS;

	return size >= FM_LEAST && size <= top - at && (word ^ size) == bits ? word : 0;
}

static uint64_t fm_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	uint64_t top, end, word;
	bool more = max;

	if (!fm_bounds(h, &top, &end) || at > top || at % FM_HEAD)
		return MEM_WALK_FAULT;
	for (; more && at < top; at += word & FM_SIZE) {
		word = fm_word(h, at, top);
		if (!word)
			return MEM_WALK_FAULT;
		more = fn(&(struct mem_frag){ fm_at(h, at) + 1, (word & FM_SIZE) - FM_HEAD,
					      word & FM_USED, word & FM_MARK }, arg) && --max;
	}
	if (HEAP_FAILED(h))
		return MEM_WALK_FAULT;
	if (!more)
		return at;		/* may be the top, which the next step tells */
	if (end - top > FM_HEAD)
		fn(&(struct mem_frag){ fm_at(h, top) + 1, end - top - FM_HEAD, false, false }, arg);
	return 0;
}

/** lists_size_fn */
static uint64_t fm_free_size(const struct mem_heap *h, uint64_t p)
{
	uint64_t top, end, word;

	if (!fm_bounds(h, &top, &end) || p % FM_HEAD || p < FM_HEAD || p - FM_HEAD >= top)
		return 0;
	word = fm_word(h, p - FM_HEAD, top);
	return word & FM_BITS ? 0 : word;
}

/** What is wrong with the fragment at `at`, or NULL. `before`: size and bits of the one before. */
static const char *fm_check_one(const struct mem_heap *h, uint64_t at, uint64_t word, uint64_t before)
{
	if (HEAP_GET(h, fm_at(h, at)->prev) != (before & FM_SIZE))
		return "prev is not the size of the fragment before";
	if (word & FM_USED)
		return NULL;
	if (word & FM_BITS)
		return "a free fragment is marked, or its size is not a multiple of 16";
	if (before && !(before & FM_USED) && HEAP_GET(h, JOIN(h)) == FM_JOINS)
		return "free neighbours were not joined";
	return NULL;
}

/** The row: sizes, prevs, neighbours. Counts the free fragments in *ret_free. Ends at a size that leads nowhere. */
static unsigned fm_check_row(const struct mem_heap *h, uint64_t top, uint64_t *ret_free, mem_fault_fn *fn, void *arg)
{
	unsigned faults = 0;
	uint64_t at = 0, word = 0, before = 0, free = 0;
	const char *what;

	for (; at < top; at += word & FM_SIZE, before = word) {
		word = fm_word(h, at, top);
		if (HEAP_FAILED(h))
			return faults;
		what = word ? fm_check_one(h, at, word, before) : "size leads out of the heap, or its seal is broken";
		if (what && !HEAP_FAILED(h)) {
			fn(&(struct mem_fault){ fm_at(h, at), what }, arg);
			faults++;
		}
		if (!word)		/* what follows cannot be found */
			return faults;
		free += !(word & FM_USED);
	}
	what = HEAP_GET(h, fm_at(h, top)->prev) != (before & FM_SIZE) ? "prev of the top is not the last size" :
	       before && !(before & FM_USED) && HEAP_GET(h, JOIN(h)) == FM_JOINS ?
		       "the last fragment is free and not part of the top" :
	       NULL;
	if (what && !HEAP_FAILED(h)) {
		fn(&(struct mem_fault){ fm_at(h, top), what }, arg);
		faults++;
	}
	*ret_free = free;
	return faults;
}

static unsigned fm_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)
{
	uint64_t top, end, free = UINT64_MAX;
	unsigned faults = 0, in_lists;

	if (!fm_bounds(h, &top, &end)) {
		fn(&(struct mem_fault){ h->base, HEAP_FAILED(h) ? "could not be read" : "top or end is out of the heap" }, arg);
		return 1;
	}
	faults = fm_check_row(h, top, &free, fn, arg);
	if (HEAP_GET(h, JOIN(h)) - FM_JOINS > FM_APART - FM_JOINS && !HEAP_FAILED(h)) {
		fn(&(struct mem_fault){ h->base, "whether neighbours are joined was overwritten" }, arg);
		faults++;
	}
	if (free != UINT64_MAX) {		/* the whole row was seen */
		in_lists = lists_check(h, LISTS(h), BINS_COUNT, &free, fm_free_size, fn, arg);
		faults += in_lists ? in_lists : lists_check_left(h, free, fn, arg);
	}
	if (HEAP_FAILED(h)) {
		fn(&(struct mem_fault){ h->base, "could not be read" }, arg);
		faults++;
	}
	return faults;
}

static uint64_t fm_largest(const struct mem_heap *h)
{
	uint64_t top, end, size;

	if (!fm_bounds(h, &top, &end))
		return 0;
	size = lists_largest(h, LISTS(h), MEM_LOOKS, fm_free_size);
	return size > end - top ? size - FM_HEAD : end - top - FM_HEAD;
}

/* The most stores: a search that finds and cuts, an aligned cut, a free between two free neighbours. */
enum {
	FM_FOUND = LISTS_FIND + FM_TALLY + LISTS_REMOVE + LISTS_PUSH + 4,
	FM_ALIGNED = FM_TALLY + LISTS_REMOVE + 2 * LISTS_PUSH + 6,
	FM_JOINED = FM_TALLY + 2 * LISTS_REMOVE + LISTS_PUSH + 3 + 2 * MEM_CURSORS,
	FM_MOST = FM_FOUND > FM_ALIGNED ? FM_FOUND > FM_JOINED ? FM_FOUND : FM_JOINED :
		  FM_ALIGNED > FM_JOINED ? FM_ALIGNED : FM_JOINED,
};

const struct mem_manager_ops MEM_OPS(fm) = {
	MEM_OPS_HEAD, .name = "fm",
	.summary = "fast first fit over a size hash: the choice for servers that ask for the same few sizes again and again",
	.domains = MEM_PKG | MEM_SHM, .flags = MEM_SEALED | MEM_SPARES,
	.root_bytes = sizeof(struct fm_roots), .max_stores = FM_MOST,
	MEM_MUTATORS(.init = fm_init, .alloc = fm_alloc, .free = fm_free, .resize = fm_resize, .usable = fm_usable,
		     .extend = fm_extend, .idle = fm_idle, .mark = fm_mark, .marked = fm_marked, .owns = fm_owns,
		     .size_word = { FM_SIZE, FM_HEAD, FM_HEAD })
	.walk = fm_walk, .check = fm_check, .largest = fm_largest,
};
