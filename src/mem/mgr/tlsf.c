/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tlsf: two-level segregated fit, after Masmano, Ripoll, Crespo, Real, "TLSF: a new dynamic memory allocator for
 * real-time systems" (ECRTS 2004) and their "A constant-time dynamic storage allocator" (2008).
 *
 * A row of fragments without gaps, each with one head of 8 bytes; a used head of size 0 ends it. A used fragment's head
 * has a seal above its size, made of where it is: few bytes of a user pass for a head.
 *
 *	| -  size|USED | payload ...... size|PREV_FREE| payload ... | before 0|USED |
 *	0            16: payloads are multiples of 16, and end in the next fragment's `before`: END		len
 *
 *	free:	       | prev next ... before ...		links in the payload, and its size in its last 8 bytes
 *
 * Free fragments are in lists by size, two levels: rows 0 and 1 have sizes below 1024 in steps of 16, each further row
 * a power of two, in 32 steps; a bitmap of the rows that are not empty, and one for each row of its lists:
 *
 *	rows  ..1.1     lists[row]  ...1..1.     head[list] -> next -> next -> 0
 *					       <- prev <- prev	the prev of the first one is not kept
 *
 * A request takes the first of its own list if that is large enough, else the first of the next list that is not
 * empty: every fragment there is. What is too much is cut off, what comes back is joined with free neighbours at once.
 *
 * Invariants (tlsf_check): sizes are multiples of 16, at least TLSF_LEAST, and add up to END; what is used is sealed,
 * what is free is not; PREV_FREE is set exactly behind a free fragment, whose size is in `before` then; no two free
 * fragments are neighbours; a free one is not marked and is in the list of its size; a bit is set exactly where a list
 * is not empty. And for owns: a head that was given up is not USED, nor is any link.
 *
 * 8 bytes a fragment. alloc, free, resize O(1) in the worst case, without a loop. A request of 1 KiB and more fails
 * though a fragment of its own list would do when that is not the first one: at most 1/32 of its size is lost to that.
 * Where no cache has the heap, alloc waits for one head, or for two at once, free for its own and then for those of
 * both neighbours at once; what is behind a free fragment is written, and never waited for.
 */
#include "memapi/manager.h"
#include "mem/base/bits.h"

enum { TLSF_HEAD = 8, TLSF_STEP = 16, TLSF_LEAST = 32 };
enum { TLSF_USED = MEM_USED, TLSF_MARK = MEM_MARKED, TLSF_PREV_FREE = MEM_PREV_FREE, TLSF_BITS = 15 };
#define TLSF_SIZE 0x0000fffffffffff0u

enum { TLSF_ROW_LOG = 5, TLSF_IN_ROW = 1 << TLSF_ROW_LOG, TLSF_ROWS = 40, TLSF_LISTS = TLSF_ROWS * TLSF_IN_ROW };
enum { TLSF_SMALL_LOG = 9, TLSF_EXACT = 2 * TLSF_IN_ROW, TLSF_MANY = 2048 }; /* lists below EXACT: of one size each */
enum { TLSF_PAGE = 4096, TLSF_IDLE_LOOKS = 64 };

/* At a multiple of 16. before: the last word of the fragment before, its size while it is free, else the user's. */
struct tlsf_frag { uint64_t before, size; };	/* size with the head, the bits, and the seal */
struct tlsf_links { uint64_t prev, next; };	/* of payloads; prev of 0: the word at 0 */

struct tlsf_roots {
	uint64_t end;				/* offset of the end mark */
	uint64_t rows, lists[TLSF_ROWS];	/* bitmaps */
	uint64_t head[TLSF_LISTS];		/* offsets of payloads, 0: empty */
};

static struct tlsf_roots *roots(const struct mem_heap *h) { return (void *)h->roots; }
static struct tlsf_frag *frag_at(const struct mem_heap *h, uint64_t off) { return (void *)(h->base + off); }
static struct tlsf_links *links_at(const struct mem_heap *h, uint64_t p) { return (void *)(h->base + p); }

/** The list of fragments of `size` bytes, their head included. */
static inline unsigned list_of(uint64_t size)
{
	unsigned high = bits_highest(size | 1u << TLSF_SMALL_LOG);	/* without a branch: sizes come at random */

	return (high - TLSF_SMALL_LOG) * TLSF_IN_ROW + (unsigned)(size >> (high - TLSF_ROW_LOG));
}

/** Above the size of a used fragment at `at`. */
static inline uint64_t seal(uint64_t at) { return mem_seal(at + sizeof(struct tlsf_frag)); }

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

static uint64_t size_of(const struct tlsf_frag *f) { return f->size & TLSF_SIZE; }
static bool is_used(const struct tlsf_frag *f) { return f->size & TLSF_USED; }
static struct tlsf_frag *frag_of(const void *p) { return (struct tlsf_frag *)(uintptr_t)p - 1; }
static struct tlsf_frag *behind(struct tlsf_frag *f, uint64_t bytes) { return (void *)((char *)f + bytes); }
static struct tlsf_frag *next_of(struct tlsf_frag *f) { return behind(f, size_of(f)); }
static struct tlsf_frag *prev_of(struct tlsf_frag *f) { return (void *)((char *)f - f->before); }
static uint64_t off_of(const struct mem_heap *h, const void *at) { return (uintptr_t)at - (uintptr_t)h->base; }

/** So many bytes and fragments more are free; negative: fewer. */
static inline void tally(struct mem_heap *h, uint64_t bytes, int fragments)
{
	HEAP_SET(h, h->tally->free_bytes, h->tally->free_bytes + bytes);
	if (fragments)
		HEAP_SET(h, h->tally->free_fragments, h->tally->free_fragments + (uint64_t)(int64_t)fragments);
}

/* ---- lists ---- */

/*
 * Whether a list is empty, before a push or after a removal, is as good as random while few fragments are free: so no
 * branch asks. A store that has no fragment to go to goes to the word at 0, which is nobody's, and a bit is stored
 * though it may be what it was. Where many are free a list is next to never empty, and there such a store would make
 * the next search wait until the line of a fragment has come from memory: a branch is right, and free.
 */
static inline bool many_are_free(const struct mem_heap *h) { return h->tally->free_fragments > TLSF_MANY; }

static inline void list_push(struct mem_heap *h, struct tlsf_frag *f, uint64_t size)
{
	struct tlsf_roots *r = roots(h);
	unsigned list = list_of(size), row = list / TLSF_IN_ROW;
	uint64_t p = off_of(h, f + 1), first = r->head[list];

	HEAP_SET(h, links_at(h, p)->next, first);
	HEAP_SET(h, links_at(h, first)->prev, p);
	HEAP_SET(h, r->head[list], p);
	if (many_are_free(h) && first)
		return;
	HEAP_SET(h, r->lists[row], r->lists[row] | 1ull << list % TLSF_IN_ROW);
	if (!(r->rows >> row & 1))
		HEAP_SET(h, r->rows, r->rows | 1ull << row);
}

/** The list has lost one, and its last one if `empty`. */
static inline void list_lost(struct mem_heap *h, unsigned list, bool empty)
{
	struct tlsf_roots *r = roots(h);
	unsigned row = list / TLSF_IN_ROW;

	if (many_are_free(h) && !empty)
		return;
	HEAP_SET(h, r->lists[row], r->lists[row] & ~((uint64_t)empty << list % TLSF_IN_ROW));
	if (!r->lists[row])
		HEAP_SET(h, r->rows, r->rows & ~(1ull << row));
}

/** The first one of a list, which is followed by `next`. */
static inline void list_pop(struct mem_heap *h, unsigned list, uint64_t next)
{
	HEAP_SET(h, roots(h)->head[list], next);
	list_lost(h, list, !next);
}

static inline void list_remove(struct mem_heap *h, struct tlsf_frag *f)
{
	struct tlsf_links *links = (void *)(f + 1);
	unsigned list = list_of(size_of(f));
	uint64_t *head = &roots(h)->head[list], next = links->next;
	bool first = *head == off_of(h, links);
	uint64_t *named = first ? head : &links_at(h, links->prev)->next;

	HEAP_SET(h, *named, next);
	HEAP_SET(h, links_at(h, first ? 0 : next)->prev, links->prev);
	list_lost(h, list, first && !next);
}

/** First of the first list from *list on that is not empty; 0: there is none. */
static inline uint64_t list_first(const struct mem_heap *h, unsigned *list)
{
	const struct tlsf_roots *r = roots(h);
	unsigned row = *list / TLSF_IN_ROW;
	uint64_t lists = r->lists[row] >> *list % TLSF_IN_ROW << *list % TLSF_IN_ROW, rows;

	if (!lists) {
		rows = r->rows & ~1ull << row;
		if (!rows)
			return 0;
		row = bits_lowest(rows);
		lists = r->lists[row];
	}
	*list = row * TLSF_IN_ROW + bits_lowest(lists);
	return r->head[*list];
}

/** A listed fragment of `need` bytes or more, the first in *ret_list: offset of its payload, or 0. */
static inline uint64_t list_find(const struct mem_heap *h, uint64_t need, unsigned *ret_list)
{
	unsigned list = list_of(need);
	uint64_t p, larger;

	*ret_list = list;
	if (list < TLSF_EXACT)
		return list_first(h, ret_list);
	++*ret_list;			/* of a row that exists: no heap has 2^47 bytes */
	larger = list_first(h, ret_list);
	__builtin_prefetch(frag_of(links_at(h, larger)));	/* while the other one's head comes from memory */
	p = roots(h)->head[list];
	if (!p || size_of(frag_of(links_at(h, p))) < need)
		return larger;
	*ret_list = list;
	return p;
}

/* ---- fragments ---- */

/*
 * The `size` bytes at `f`, before `next`, become a free fragment in its list. The one before is in use. `told`: `next`
 * is behind a free one already, and is only written: nobody waits for it.
 */
static inline void make_free(struct mem_heap *h, struct tlsf_frag *f, uint64_t size, struct tlsf_frag *next, bool told)
{
	HEAP_SET(h, f->size, size);
	HEAP_SET(h, next->before, size);
	if (!told)
		HEAP_SET(h, next->size, next->size | TLSF_PREV_FREE);
	list_push(h, f, size);
}

/*
 * `f`, unlisted and `have` bytes long, becomes used with `need` of them; the rest is free if it makes a fragment.
 * `told`: the last of them were free.
 */
static inline void *take(struct mem_heap *h, struct tlsf_frag *f, uint64_t have, uint64_t need, uint64_t bits,
			 bool told)
{
	struct tlsf_frag *next = behind(f, have);

	if (have - need < TLSF_LEAST) {
		tally(h, TLSF_HEAD - have, -1);
		HEAP_SET(h, f->size, have | bits | seal(off_of(h, f)));
		HEAP_SET(h, next->size, next->size & ~(uint64_t)TLSF_PREV_FREE);
		return f + 1;
	}
	tally(h, -need, 0);
	HEAP_SET(h, f->size, need | bits | seal(off_of(h, f)));
	make_free(h, behind(f, need), have - need, next, told);
	return f + 1;
}

/** Bytes to skip for an aligned payload: none, or as many as make a fragment. */
static uint64_t pad_of(const struct tlsf_frag *f, uint64_t align)
{
	uint64_t pad = -(uintptr_t)(f + 1) & (align - 1);

	return pad && pad < TLSF_LEAST ? pad + align : pad;
}

static void *alloc_aligned(struct mem_heap *h, uint64_t align, uint64_t need)
{
	struct tlsf_frag *f, *start;
	uint64_t p, have, pad;
	unsigned list;

	p = align > h->len ? 0 : list_find(h, need + align + TLSF_LEAST, &list);
	if (!p)
		return NULL;
	f = frag_of(links_at(h, p));
	have = size_of(f);
	pad = pad_of(f, align);
	list_pop(h, list, links_at(h, p)->next);
	if (!pad)
		return take(h, f, have, need, TLSF_USED, true);
	start = behind(f, pad);
	HEAP_SET(h, f->size, pad);
	HEAP_SET(h, start->before, pad);
	list_push(h, f, pad);
	tally(h, -(uint64_t)TLSF_HEAD, 1);
	return take(h, start, have - pad, need, TLSF_USED | TLSF_PREV_FREE, true);
}

static void *tlsf_alloc(struct mem_heap *h, size_t align, size_t size)
{
	uint64_t need = size + TLSF_HEAD, p;
	struct tlsf_frag *f;
	unsigned list;

	if (align > TLSF_STEP)
		return alloc_aligned(h, align, need);
	p = list_find(h, need, &list);
	if (!p)
		return NULL;
	f = frag_of(links_at(h, p));
	list_pop(h, list, links_at(h, p)->next);
	return take(h, f, size_of(f), need, TLSF_USED, true);
}

static void tlsf_free(struct mem_heap *h, void *p)
{
	struct tlsf_frag *f = frag_of(p), *next = next_of(f), *first = f;
	uint64_t size = size_of(f), bytes = size - TLSF_HEAD;
	int fragments = 1;
	bool told = !is_used(next);

	if (told) {
		HEAP_SWALLOWED(h, off_of(h, next), off_of(h, f));
		list_remove(h, next);
		size += size_of(next);
		bytes += TLSF_HEAD, fragments--;
		next = next_of(next);
	}
	if (f->size & TLSF_PREV_FREE) {
		first = prev_of(f);
		HEAP_SWALLOWED(h, off_of(h, f), off_of(h, first));
		HEAP_SET(h, f->size, size_of(f));	/* given up: not USED */
		list_remove(h, first);
		size += size_of(first);
		bytes += TLSF_HEAD, fragments--;
	}
	tally(h, bytes, fragments);
	make_free(h, first, size, next, told);
}

static bool tlsf_resize(struct mem_heap *h, void *p, size_t size)
{
	struct tlsf_frag *f = frag_of(p), *next = next_of(f);
	uint64_t need = size + TLSF_HEAD, had = size_of(f), have = had;

	bool joins = !is_used(next);

	if (!joins && (need > had || had - need < TLSF_LEAST))
		return need <= had;
	if (joins) {
		have += size_of(next);
		if (need > have)
			return false;
		HEAP_SWALLOWED(h, off_of(h, next), off_of(h, f));
		list_remove(h, next);
		tally(h, had, 0);		/* as if f were free with it; take() counts what it takes */
	} else {
		tally(h, had - TLSF_HEAD, 1);
	}
	take(h, f, have, need, f->size & TLSF_BITS, joins);
	return true;
}

/** The old end mark becomes the head of a fragment up to the new one; free joins it with the last. */
static void tlsf_extend(struct mem_heap *h, uint64_t old_len)
{
	uint64_t off = old_len - sizeof(struct tlsf_frag), end = h->len - sizeof(struct tlsf_frag);
	struct tlsf_frag *f = frag_at(h, off);

	HEAP_SET(h, f->size, (end - off) | TLSF_USED | (f->size & TLSF_PREV_FREE) | seal(off));
	HEAP_SET(h, frag_at(h, end)->size, TLSF_USED);
	HEAP_SET(h, roots(h)->end, end);
	tlsf_free(h, f + 1);
}

/* An empty heap is one that has grown from nothing but an end mark. */
static int tlsf_init(struct mem_heap *h)
{
	tlsf_extend(h, sizeof(struct tlsf_frag));
	return 0;
}

static uint64_t tlsf_idle(struct mem_heap *h, uint64_t at, mem_idle_fn *fn)
{
	struct tlsf_frag *f = frag_at(h, at);

	for (unsigned looks = TLSF_IDLE_LOOKS; size_of(f) && looks--; f = next_of(f)) {
		uint64_t off = off_of(h, f),
			 page = bits_up(off + sizeof(struct tlsf_frag) + sizeof(struct tlsf_links), TLSF_PAGE);
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
	uint64_t at = off_of(h, p) - sizeof(struct tlsf_frag), end = roots(h)->end, word, size;

	if (at >= end || end > h->len - sizeof(struct tlsf_frag))
		return false;
	word = frag_at(h, at)->size & ~(uint64_t)(TLSF_MARK | TLSF_PREV_FREE);
	size = word & TLSF_SIZE;
	return word == (size | TLSF_USED | seal(at)) && size >= TLSF_LEAST && size <= end - at;
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

/** Where the row ends. False: not within what is there. */
static bool get_end(const struct mem_heap *h, uint64_t *ret_end)
{
	*ret_end = HEAP_GET(h, roots(h)->end);
	return *ret_end <= h->len - sizeof(struct tlsf_frag) && *ret_end % TLSF_STEP == 0 && !HEAP_FAILED(h);
}

/** Size word of the fragment at `at`, below `end`. 0: it leads out of the row, or is not sealed as it should be. */
static uint64_t get_word(const struct mem_heap *h, uint64_t at, uint64_t end)
{
	uint64_t word = HEAP_GET(h, frag_at(h, at)->size), size = word & TLSF_SIZE;
	uint64_t sealed = word & TLSF_USED ? seal(at) : 0;

	return size >= TLSF_LEAST && size <= end - at && (word & ~(TLSF_SIZE | TLSF_BITS)) == sealed ? word : 0;
}

static uint64_t tlsf_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	uint64_t end, word, size;

	if (!get_end(h, &end) || at % TLSF_STEP)
		return MEM_WALK_FAULT;
	for (bool more = true; more && at < end && max--; at += size) {
		word = get_word(h, at, end);
		size = word & TLSF_SIZE;
		if (!word)
			return MEM_WALK_FAULT;
		more = fn(
			&(struct mem_frag){ frag_at(h, at) + 1, size - TLSF_HEAD, word & TLSF_USED, word & TLSF_MARK },
			arg);
	}
	return HEAP_FAILED(h) ? MEM_WALK_FAULT : at < end ? at : 0;
}

/** `before`: size and bits of the fragment before, of one in use where there is none. */
static const char *check_one(const struct mem_heap *h, uint64_t at, uint64_t word, uint64_t before)
{
	if (!word)
		return "its head leads out of the heap, or its seal is broken";
	if ((word & TLSF_PREV_FREE) == (before & TLSF_USED) * TLSF_PREV_FREE)
		return "what it knows of the fragment before is wrong";
	if ((word & TLSF_PREV_FREE) && HEAP_GET(h, frag_at(h, at)->before) != before)
		return "the last word of the free fragment before is not its size";
	if (word & TLSF_USED)
		return word & TLSF_BITS & ~(uint64_t)(TLSF_USED | TLSF_MARK | TLSF_PREV_FREE) ?
			       "size is not a multiple of 16" : NULL;
	if (word & TLSF_PREV_FREE)
		return "free neighbours were not joined";
	return word & TLSF_BITS ? "a free fragment is marked, or its size is not a multiple of 16" : NULL;
}

/** The row, up to the first fault. Counts its free fragments. */
static const char *check_row(const struct mem_heap *h, uint64_t end, uint64_t *ret_at, uint64_t *ret_free)
{
	uint64_t at = 0, word = TLSF_USED, before = TLSF_USED;
	const char *what = NULL;

	for (*ret_free = 0; at < end && !what && !HEAP_FAILED(h); at += word & TLSF_SIZE, before = word) {
		*ret_at = at;
		word = get_word(h, at, end);
		what = check_one(h, at, word, before);
		*ret_free += !(word & TLSF_USED);
	}
	if (what)
		return what;
	*ret_at = end;
	word = HEAP_GET(h, frag_at(h, end)->size);
	if ((word & ~(uint64_t)TLSF_PREV_FREE) != TLSF_USED)
		return "the end mark is damaged";
	return check_one(h, end, word, before);
}

/** Size of the free fragment with payload `p`; 0: none is there. */
static uint64_t free_size(const struct mem_heap *h, uint64_t p, uint64_t end)
{
	uint64_t at = p - sizeof(struct tlsf_frag), word;

	if (p % TLSF_STEP || at >= end)
		return 0;
	word = get_word(h, at, end);
	return word & TLSF_BITS ? 0 : word;
}

/** One list, counted down from *left. */
static const char *check_list(const struct mem_heap *h, unsigned list, uint64_t end, uint64_t *p, uint64_t *left)
{
	uint64_t before = 0, size;

	for (*p = HEAP_GET(h, roots(h)->head[list]); *p && !HEAP_FAILED(h);
	     before = *p, *p = HEAP_GET(h, links_at(h, *p)->next)) {
		if (!(*left)--)
			return "more fragments in the lists than are free";
		size = free_size(h, *p, end);
		if (!size)
			return "a list leads to what is not a free fragment";
		if (list_of(size) != list)
			return "a free fragment is in the list of another size";
		if (before && HEAP_GET(h, links_at(h, *p)->prev) != before)
			return "a free fragment's prev is not the one before";
	}
	return NULL;
}

static const char *check_lists(const struct mem_heap *h, uint64_t end, uint64_t *ret_at, uint64_t left)
{
	uint64_t rows = HEAP_GET(h, roots(h)->rows), lists = 0;
	const char *what = NULL;

	for (unsigned list = 0; list < TLSF_LISTS && !what && !HEAP_FAILED(h); list++) {
		unsigned row = list / TLSF_IN_ROW, bit = list % TLSF_IN_ROW;

		*ret_at = 0;
		lists = bit ? lists : HEAP_GET(h, roots(h)->lists[row]);
		if ((rows >> row & 1) != (lists != 0) || rows >> TLSF_ROWS || lists >> TLSF_IN_ROW)
			return "a row's bit is not what its lists are";
		if ((lists >> bit & 1) != (HEAP_GET(h, roots(h)->head[list]) != 0))
			return "a list's bit is not whether it is empty";
		what = check_list(h, list, end, ret_at, &left);
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
	uint64_t rows = HEAP_GET(h, roots(h)->rows), lists, end, best = 0, p, size;
	unsigned row, looks = MEM_LOOKS;

	if (!rows || !get_end(h, &end) || (row = bits_highest(rows)) >= TLSF_ROWS)
		return 0;
	lists = HEAP_GET(h, roots(h)->lists[row]) & UINT32_MAX;
	if (!lists)
		return 0;
	p = HEAP_GET(h, roots(h)->head[row * TLSF_IN_ROW + bits_highest(lists)]);
	for (; p && looks-- && (size = free_size(h, p, end)); p = HEAP_GET(h, links_at(h, p)->next))
		best = size > best ? size : best;
	return best && !HEAP_FAILED(h) ? best - TLSF_HEAD : 0;
}

/* The most stores: an aligned cut with a free piece on both sides; a free between two free neighbours; an extension. */
enum {
	TLSF_TALLY = 2, TLSF_PUSH = 5, TLSF_REMOVE = 4, TLSF_MAKE_FREE = 3 + TLSF_PUSH,
	TLSF_TAKE = TLSF_TALLY + 1 + TLSF_MAKE_FREE,
	TLSF_ALIGNED = TLSF_REMOVE + 2 + TLSF_PUSH + TLSF_TALLY + TLSF_TAKE,
	TLSF_FREE = 2 * TLSF_REMOVE + 2 * MEM_CURSORS + 1 + TLSF_TALLY + TLSF_MAKE_FREE,
	TLSF_EXTEND = 3 + TLSF_FREE,
	TLSF_RESIZE = MEM_CURSORS + TLSF_REMOVE + TLSF_TALLY + TLSF_TAKE,
};
_Static_assert((int)TLSF_EXTEND >= (int)TLSF_ALIGNED && (int)TLSF_EXTEND >= (int)TLSF_RESIZE, "an extension has the most");

const struct mem_manager_ops MEM_OPS(tlsf) = {
	MEM_OPS_HEAD,
	.name = "tlsf",
	.summary = "two-level segregated fit: every call in constant time; for servers that must answer in time",
	.domains = MEM_PKG | MEM_SHM,
	.flags = MEM_HEAD8 | MEM_SEALED,
	.root_bytes = sizeof(struct tlsf_roots),
	.max_stores = TLSF_EXTEND,
	MEM_MUTATORS(.init = tlsf_init, .alloc = tlsf_alloc, .free = tlsf_free, .resize = tlsf_resize,
		     .usable = tlsf_usable, .extend = tlsf_extend, .idle = tlsf_idle, .mark = tlsf_mark,
		     .marked = tlsf_marked, .owns = tlsf_owns,
		     .size_word = { TLSF_SIZE, TLSF_HEAD, TLSF_HEAD })
		.walk = tlsf_walk,
	.check = tlsf_check,
	.largest = tlsf_largest,
};
