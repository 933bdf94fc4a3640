/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Free fragments by size: a list for each bin of base/bins.h, and a bitmap of the bins that are not empty.
 *
 *	summary  ....1...1		bit w: map[w] may be not 0
 *	map      [ ..1.. | ... ]	bit b: list b may be not empty
 *	head     [ p0 ] -> next -> next -> 0
 *		    <- prev <- prev		the prev of the first one is not kept: head says that it is the first
 *
 * A fragment is named by the offset of its payload, never 0, and links through the first 16 bytes of it.
 *
 * Invariants (lists_check): a list that is not empty has its bits set; a word of the map that is not 0 has its bit in
 * the summary; there are no bits beyond the last list; each fragment in a list is free, has the bin's size, and its
 * prev is the one before. A bit may be set though the list is empty, so that taking the last fragment and giving it
 * back does not touch the bitmap; the next search that comes by clears it.
 *
 * push 2 to 5 stores, remove 1 or 2, a search at most LISTS_FIND; all O(1).
 */
#ifndef MGR_FREE_LISTS_H
#define MGR_FREE_LISTS_H

#include "memapi/manager.h"
#include "mem/base/bins.h"

struct free_lists { uint64_t summary, map[BINS_WORDS], head[BINS_COUNT]; };
struct free_links { uint64_t next, prev; };

enum { LISTS_PUSH = 5, LISTS_REMOVE = 2, LISTS_FIND = BINS_WORDS + 1 };	/* stores of each, at most */

_Static_assert(BINS_WORDS <= 64, "summary is one word");

static inline struct free_links *lists_links(const struct mem_heap *h, uint64_t p)
{
	return (void *)(h->base + p);
}

/** Size of the free fragment with this payload, as its header tells it; 0: it is not free, or not in the heap. */
typedef uint64_t lists_size_fn(const struct mem_heap *h, uint64_t p);

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes the lists, or trusts them ---- */

static inline void lists_set_bit(struct mem_heap *h, struct free_lists *l, unsigned bin)
{
	uint64_t *word = &l->map[bin / 64], bit = 1ull << bin % 64;

	if (*word & bit)
		return;
	HEAP_SET(h, *word, *word | bit);
	if (!(l->summary >> bin / 64 & 1))
		HEAP_SET(h, l->summary, l->summary | 1ull << bin / 64);
}

/** `p` becomes the first of its list. */
static inline void lists_push(struct mem_heap *h, struct free_lists *l, unsigned bin, uint64_t p)
{
	uint64_t first = l->head[bin];

	HEAP_SET(h, lists_links(h, p)->next, first);
	if (first)
		HEAP_SET(h, lists_links(h, first)->prev, p);
	HEAP_SET(h, l->head[bin], p);
	lists_set_bit(h, l, bin);
}

static inline void lists_remove(struct mem_heap *h, struct free_lists *l, unsigned bin, uint64_t p)
{
	struct free_links *links = lists_links(h, p);

	if (l->head[bin] == p) {
		HEAP_SET(h, l->head[bin], links->next);
		return;
	}
	HEAP_SET(h, lists_links(h, links->prev)->next, links->next);
	if (links->next)
		HEAP_SET(h, lists_links(h, links->next)->prev, links->prev);
}

/** Whether all that a removal of `p` would touch names `p` in turn; for a heap that may be damaged, with a size_of that
 *  gives 0 for what is not a free fragment. */
static inline bool lists_agree(const struct mem_heap *h, const struct free_lists *l, unsigned bin, uint64_t p,
			       lists_size_fn *size_of)
{
	struct free_links *links = lists_links(h, p);

	if (links->next && (!size_of(h, links->next) || lists_links(h, links->next)->prev != p))
		return false;
	return l->head[bin] == p || (size_of(h, links->prev) && lists_links(h, links->prev)->next == p);
}

/** lists_find() where the first bit, if there is one in its word, leads nowhere. */
__attribute__((noinline, unused))
static unsigned lists_find_on(struct mem_heap *h, struct free_lists *l, unsigned from)
{
	uint64_t words = from < BINS_COUNT ? l->summary >> from / 64 << from / 64 : 0, empty = 0;
	unsigned found = BINS_COUNT;

	for (; words && found == BINS_COUNT; words &= words - 1) {
		unsigned w = bits_lowest(words);
		uint64_t bits = w == from / 64 ? l->map[w] >> from % 64 << from % 64 : l->map[w], stale = 0;

		for (; bits && found == BINS_COUNT; bits &= bits - 1)
			if (l->head[w * 64 + bits_lowest(bits)])
				found = w * 64 + bits_lowest(bits);
			else
				stale |= bits & -bits;
		if (stale)
			HEAP_SET(h, l->map[w], l->map[w] & ~stale);
		if (!l->map[w])
			empty |= 1ull << w;
	}
	if (empty)
		HEAP_SET(h, l->summary, l->summary & ~empty);
	return found;
}

/** First bin from `from` on that is not empty, or BINS_COUNT. Clears the bits that led nowhere. */
static inline unsigned lists_find(struct mem_heap *h, struct free_lists *l, unsigned from)
{
	uint64_t bits = from < BINS_COUNT ? l->map[from / 64] >> from % 64 : 0;
	unsigned first = bits ? from + bits_lowest(bits) : 0;

	return bits && l->head[first] ? first : lists_find_on(h, l, from);
}

/** The same without a store. */
static inline unsigned lists_seek(const struct free_lists *l, unsigned from)
{
	for (; from < BINS_COUNT; from++) {
		uint64_t bits = l->map[from / 64] >> from % 64;

		if (!bits) {
			from |= 63;	/* on to the next word */
			continue;
		}
		from += bits_lowest(bits);
		if (l->head[from])
			return from;
	}
	return BINS_COUNT;
}

#endif	/* ---- what looks at lists, and trusts nothing ---- */

/** First fragment of the topmost list that is not empty, or 0; its bin in *ret_bin. */
static inline uint64_t lists_topmost(const struct mem_heap *h, const struct free_lists *l, unsigned *ret_bin)
{
	for (unsigned w = BINS_WORDS; w--; ) {
		uint64_t bits = HEAP_GET(h, l->map[w]), p;

		for (; bits; bits &= ~(1ull << bits_highest(bits))) {
			*ret_bin = w * 64 + bits_highest(bits);
			if (*ret_bin < BINS_COUNT && (p = HEAP_GET(h, l->head[*ret_bin])))
				return p;
		}
	}
	return 0;
}

/** Size of the largest fragment in the topmost list, looking at `looks` fragments at most; 0: none. */
static inline uint64_t lists_largest(const struct mem_heap *h, const struct free_lists *l, unsigned looks,
				     lists_size_fn *size_of)
{
	uint64_t best = 0, size;
	unsigned bin;

	for (uint64_t p = lists_topmost(h, l, &bin); p && looks--; p = HEAP_GET(h, lists_links(h, p)->next)) {
		size = size_of(h, p);
		if (!size)		/* damaged: what it links to means nothing */
			return best;
		best = size > best ? size : best;
	}
	return best;
}

static inline bool lists_has_bit(const struct mem_heap *h, const struct free_lists *l, unsigned bin)
{
	return (HEAP_GET(h, l->map[bin / 64]) >> bin % 64 & 1) && (HEAP_GET(h, l->summary) >> bin / 64 & 1);
}

/** One list. Returns what is wrong at *p, or NULL; counts its fragments down from *left. */
static inline const char *lists_check_one(const struct mem_heap *h, const struct free_lists *l, unsigned bin,
					  uint64_t *p, uint64_t *left, lists_size_fn *size_of)
{
	uint64_t before = 0, size;

	*p = HEAP_GET(h, l->head[bin]);
	if (!*p)
		return NULL;
	if (!lists_has_bit(h, l, bin))
		return "a list of free fragments has no bit in the bitmap";
	for (; *p; before = *p, *p = HEAP_GET(h, lists_links(h, *p)->next)) {
		if (!(*left)--)
			return "more fragments in the lists than are free";
		size = size_of(h, *p);
		if (!size)
			return "a list leads to what is not a free fragment";
		if (bins_of(size) != bin)
			return "a free fragment is in the list of another size";
		if (before && HEAP_GET(h, lists_links(h, *p)->prev) != before)
			return "a free fragment's prev is not the one before";
	}
	return NULL;
}

/** What is wrong with the bitmap by itself, or NULL. */
static inline const char *lists_check_map(const struct mem_heap *h, const struct free_lists *l)
{
	uint64_t summary = HEAP_GET(h, l->summary);
	const unsigned last = BINS_COUNT % 64;		/* bits of the last word, 0: all */

	if (BINS_WORDS < 64 && summary >> BINS_WORDS % 64)
		return "the summary has a bit beyond the last word";
	for (unsigned w = 0; w < BINS_WORDS; w++)
		if (HEAP_GET(h, l->map[w]) && !(summary >> w & 1))
			return "a word of the bitmap is not in the summary";
	return last && HEAP_GET(h, l->map[BINS_WORDS - 1]) >> last ? "the bitmap has a bit beyond the last list" : NULL;
}

/** Tells `fn` each of the first `bins` lists that breaks the rules, and the bitmap. Counts fragments down from *left,
 * of all that are free; UINT64_MAX then: there were more, and nothing can be said of what follows. Returns the number
 * of faults. */
static inline unsigned lists_check(const struct mem_heap *h, const struct free_lists *l, unsigned bins, uint64_t *left,
				   lists_size_fn *size_of, mem_fault_fn *fn, void *arg)
{
	const char *wrong = lists_check_map(h, l);
	unsigned faults = 0;
	uint64_t p = 0;

	if (wrong && !HEAP_FAILED(h)) {
		fn(&(struct mem_fault){ h->base, wrong }, arg);
		faults++;
	}
	for (unsigned bin = 0; bin < bins && *left != UINT64_MAX && !HEAP_FAILED(h); bin++) {
		const char *what = lists_check_one(h, l, bin, &p, left, size_of);

		if (what && !HEAP_FAILED(h)) {
			fn(&(struct mem_fault){ h->base + (p < h->len ? p : 0), what }, arg);
			faults++;
		}
	}
	return faults;
}

/** After all lists were seen without a fault: whether `left` more fragments are free. Returns the number of faults. */
static inline unsigned lists_check_left(const struct mem_heap *h, uint64_t left, mem_fault_fn *fn, void *arg)
{
	if (!left || HEAP_FAILED(h))
		return 0;
	fn(&(struct mem_fault){ h->base, "a free fragment is in no list" }, arg);
	return 1;
}

#endif /* MGR_FREE_LISTS_H */
