/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The large bins of free_lists.h in order of size: a binary trie in each.
 *
 *	head[bin] -> [ 5 ]			all sizes of a bin begin with the same bits; the next ones lead the way:
 *		  0 /	  \ 1			below child[b] of a node at depth d all sizes have bit d = b
 *		[ 3 ]	  [ 9 ] -> [ 9 ]	same size: a chain, whose first one is in the trie
 *
 * A node may stand at any depth of its path, so that a trie has no more nodes than sizes, and is no deeper than a size
 * has bits: whatever was freed in whatever order, all here is O(bits of a size) looks, no balancing.
 *
 * Invariants (trie_check): a node is free and has the bin's size; its bits are those of its path, its parent is the
 * node above, 0 for the first; a chain's fragments have one size and name the one before, the first one in it names 0.
 *
 * The first half trusts links, but may be given a size_of that gives 0 for what is not a large free fragment: then
 * nothing below such a node is touched, and an insert that meets one takes its place. So qm lives on with damage.
 *
 * insert at most TRIE_INSERT stores, remove TRIE_REMOVE.
 */
#ifndef MGR_SIZE_TRIE_H
#define MGR_SIZE_TRIE_H

#include "mem/mgr/free_lists.h"

/* In the payload of a free fragment. The first two as in struct free_links. */
struct trie_node { uint64_t next, prev, child[2], parent; };

enum { TRIE_FIRST = BINS_EXACT / BINS_STEP };		/* bins from here on are tries */
enum { TRIE_INSERT = 8, TRIE_REMOVE = 7, TRIE_DEPTH = BINS_TOP_LOG };

static inline struct trie_node *trie_node(const struct mem_heap *h, uint64_t p) { return (void *)(h->base + p); }

/** The bits of a size that its bin does not tell, from the top: the way through the trie. */
static inline uint64_t trie_key(uint64_t size)
{
	return size << (63 - bits_highest(size | 1)) << 1 << BINS_SUB_LOG;
}

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a trie, or trusts it ---- */

/** Where the trie names `p`, which is the first of its chain. */
static inline uint64_t *trie_slot(const struct mem_heap *h, struct free_lists *l, unsigned bin, uint64_t p)
{
	uint64_t parent = trie_node(h, p)->parent;

	return parent ? &trie_node(h, parent)->child[trie_node(h, parent)->child[1] == p] : &l->head[bin];
}

/** `p` becomes the second of the chain of `first`. */
static inline void trie_chain(struct mem_heap *h, uint64_t first, uint64_t p, lists_size_fn *size_of)
{
	struct trie_node *n = trie_node(h, p), *f = trie_node(h, first);
	uint64_t next = f->next && size_of(h, f->next) ? f->next : 0;

	HEAP_SET(h, n->next, next);
	HEAP_SET(h, n->prev, first);
	if (next)
		HEAP_SET(h, trie_node(h, next)->prev, p);
	HEAP_SET(h, f->next, p);
}

/* Not inlined, as trie_remove() and trie_best() are not: around it the path of small fragments stays short. */
__attribute__((noinline, unused))
static void trie_insert(struct mem_heap *h, struct free_lists *l, uint64_t p, uint64_t size,
			       lists_size_fn *size_of)
{
	unsigned bin = bins_of(size);
	uint64_t *slot = &l->head[bin], parent = 0, key = trie_key(size), there;
	struct trie_node *n = trie_node(h, p);

	for (unsigned depth = 0; *slot && depth < TRIE_DEPTH && (there = size_of(h, *slot)); depth++) {
		parent = *slot;
		if (there == size) {
			trie_chain(h, parent, p, size_of);
			return;
		}
		slot = &trie_node(h, parent)->child[key >> 63];
		key <<= 1;
	}
	HEAP_SET(h, n->next, 0);
	HEAP_SET(h, n->prev, 0);
	HEAP_SET(h, n->child[0], 0);
	HEAP_SET(h, n->child[1], 0);
	HEAP_SET(h, n->parent, parent);
	HEAP_SET(h, *slot, p);
	lists_set_bit(h, l, bin);
}

/** What takes the place of `p`: the second of its chain, or a leaf below it, taken from there; 0: nothing. */
static inline uint64_t trie_heir(struct mem_heap *h, uint64_t p, lists_size_fn *size_of)
{
	struct trie_node *n = trie_node(h, p);
	uint64_t heir = n->next, *slot = NULL;

	if (heir) {
		HEAP_SET(h, trie_node(h, heir)->prev, 0);
		return heir;
	}
	for (unsigned depth = 0, b = 2; b-- && depth < TRIE_DEPTH; )
		if (n->child[b] && size_of(h, n->child[b])) {
			slot = &n->child[b];
			n = trie_node(h, *slot);
			depth++;
			b = 2;
		}
	if (!slot)
		return 0;
	heir = *slot;
	HEAP_SET(h, *slot, 0);
	return heir;
}

static inline void trie_remove(struct mem_heap *h, struct free_lists *l, uint64_t p, uint64_t size,
			       lists_size_fn *size_of)
{
	struct trie_node *n = trie_node(h, p), *in_place;
	uint64_t *slot, heir;

	if (n->prev) {
		HEAP_SET(h, trie_node(h, n->prev)->next, n->next);
		if (n->next)
			HEAP_SET(h, trie_node(h, n->next)->prev, n->prev);
		return;
	}
	slot = trie_slot(h, l, bins_of(size), p);
	heir = trie_heir(h, p, size_of);
	if (heir) {
		in_place = trie_node(h, heir);
		HEAP_SET(h, in_place->parent, n->parent);
		for (unsigned b = 0; b < 2; b++) {
			HEAP_SET(h, in_place->child[b], n->child[b]);
			if (n->child[b] && size_of(h, n->child[b]))
				HEAP_SET(h, trie_node(h, n->child[b])->parent, heir);
		}
	}
	HEAP_SET(h, *slot, heir);
}

/** `p` goes into the list or the trie of its size. */
static inline void trie_or_list_insert(struct mem_heap *h, struct free_lists *l, uint64_t p, uint64_t size,
				       lists_size_fn *size_of)
{
	if (size < BINS_EXACT)
		lists_push(h, l, bins_of(size), p);
	else
		trie_insert(h, l, p, size, size_of);
}

static inline void trie_or_list_remove(struct mem_heap *h, struct free_lists *l, uint64_t p, uint64_t size,
				       lists_size_fn *size_of)
{
	if (size < BINS_EXACT)
		lists_remove(h, l, bins_of(size), p);
	else
		trie_remove(h, l, p, size, size_of);
}

/** The smallest below `p`, if it is smaller than *ret_best, whose size is *ret_size. */
static inline void trie_least(const struct mem_heap *h, uint64_t p, uint64_t *ret_best, uint64_t *ret_size,
			      lists_size_fn *size_of)
{
	uint64_t size;

	for (unsigned depth = 0; p && depth <= TRIE_DEPTH && (size = size_of(h, p)); depth++) {
		if (size < *ret_size)
			*ret_best = p, *ret_size = size;
		p = trie_node(h, p)->child[trie_node(h, p)->child[0] == 0];
	}
}

/** The smallest of the bin that has `need` bytes or more; of those, one that is cheap to remove. 0: none. */
static inline uint64_t trie_best(const struct mem_heap *h, const struct free_lists *l, unsigned bin, uint64_t need,
				 lists_size_fn *size_of)
{
	uint64_t best = 0, best_size = UINT64_MAX, larger = 0, p = l->head[bin], key, size;

	if (bins_of(need) != bin) {		/* all are larger */
		larger = p;
		p = 0;
	}
	key = trie_key(need);
	for (unsigned depth = 0; p && best_size != need && depth <= TRIE_DEPTH && (size = size_of(h, p)); depth++) {
		struct trie_node *n = trie_node(h, p);

		if (size >= need && size < best_size)
			best = p, best_size = size;
		if (!(key >> 63) && n->child[1])
			larger = n->child[1];	/* the last one has the smallest of them */
		p = n->child[key >> 63];
		key <<= 1;
	}
	if (best_size != need)
		trie_least(h, larger, &best, &best_size, size_of);
	if (!best)
		return 0;
	p = trie_node(h, best)->next;
	return p && size_of(h, p) ? p : best;
}

/** Whether all that a removal of `p` would touch names `p` in turn. */
static inline bool trie_agrees(const struct mem_heap *h, struct free_lists *l, unsigned bin, uint64_t p,
			       lists_size_fn *size_of)
{
	struct trie_node *n = trie_node(h, p);

	if (n->next && (!size_of(h, n->next) || trie_node(h, n->next)->prev != p))
		return false;
	if (n->prev)
		return size_of(h, n->prev) && trie_node(h, n->prev)->next == p;
	for (unsigned b = 0; b < 2; b++)
		if (n->child[b] && (!size_of(h, n->child[b]) || trie_node(h, n->child[b])->parent != p))
			return false;
	return (!n->parent || size_of(h, n->parent)) && *trie_slot(h, l, bin, p) == p;
}

#endif	/* ---- what looks at a trie, and trusts nothing ---- */

/** Size of the largest fragment of the trie of `p`; 0: it is damaged. */
static inline uint64_t trie_largest(const struct mem_heap *h, uint64_t p, lists_size_fn *size_of)
{
	uint64_t best = 0, size, right;

	for (unsigned depth = 0; p && depth <= TRIE_DEPTH; depth++) {
		size = size_of(h, p);
		if (size < BINS_EXACT)		/* no node has room there, and what it names means nothing */
			return best;
		best = size > best ? size : best;
		right = HEAP_GET(h, trie_node(h, p)->child[1]);
		p = right ? right : HEAP_GET(h, trie_node(h, p)->child[0]);
	}
	return best;
}

/** A walk through a trie: the nodes from the first one to where it stands. */
struct trie_walk { uint64_t path[TRIE_DEPTH + 1]; unsigned depth; };

/** Bytes of the node at `p`, or 0 where what it names means nothing. */
static inline uint64_t trie_size(const struct mem_heap *h, uint64_t p, unsigned bin, lists_size_fn *size_of)
{
	uint64_t size = size_of(h, p);

	return size >= BINS_EXACT && bins_of(size) == bin ? size : 0;
}

/** What is wrong with the node, at *ret_at, and its chain, or NULL. */
static inline const char *trie_check_chain(const struct mem_heap *h, unsigned bin, uint64_t *left,
					   lists_size_fn *size_of, uint64_t *ret_at)
{
	uint64_t before = 0, size = trie_size(h, *ret_at, bin, size_of);

	for (uint64_t p = *ret_at; p; before = p, p = HEAP_GET(h, trie_node(h, p)->next)) {
		*ret_at = p;
		if (!(*left)--)
			return "more fragments in the lists than are free";
		if (!size_of(h, p))
			return "a list leads to what is not a free fragment";
		if (!size || size_of(h, p) != size)
			return "a free fragment is in the list of another size";
		if (HEAP_GET(h, trie_node(h, p)->prev) != before)
			return "a free fragment's prev is not the one before";
	}
	return NULL;
}

/** What is wrong with where the walk stands, or NULL: the node above, and the bits of the path to here. */
static inline const char *trie_check_place(const struct mem_heap *h, const struct trie_walk *w, lists_size_fn *size_of)
{
	uint64_t p = w->path[w->depth], above = w->depth ? w->path[w->depth - 1] : 0, key, differ;
	unsigned depth = w->depth - 1;			/* of the node above */

	if (HEAP_GET(h, trie_node(h, p)->parent) != above)
		return "a free fragment's parent is not the one above";
	if (!above)
		return NULL;
	key = trie_key(size_of(h, p));
	differ = key ^ trie_key(size_of(h, above));
	if ((depth && differ >> (64 - depth)) || HEAP_GET(h, trie_node(h, above)->child[key << depth >> 63]) != p)
		return "a free fragment is in the trie at the place of another size";
	return NULL;
}

/** On to a child, or up to where a second child was not seen yet. false: that was all, or it is too deep. */
static inline bool trie_step(const struct mem_heap *h, struct trie_walk *w)
{
	uint64_t from = 0, to;

	for (;; w->depth--) {
		to = from ? 0 : HEAP_GET(h, trie_node(h, w->path[w->depth])->child[0]);
		to = to ? to : HEAP_GET(h, trie_node(h, w->path[w->depth])->child[1]);
		if (to && to != from) {
			if (w->depth == TRIE_DEPTH)
				return false;
			w->path[++w->depth] = to;
			return true;
		}
		from = w->path[w->depth];
		if (!w->depth || HEAP_FAILED(h))
			return false;
	}
}

/** One trie. Returns what is wrong at *ret_at, or NULL; counts its fragments down from *left. */
static inline const char *trie_check_one(const struct mem_heap *h, const struct free_lists *l, unsigned bin,
					 uint64_t *left, lists_size_fn *size_of, uint64_t *ret_at)
{
	struct trie_walk w = { .path = { HEAP_GET(h, l->head[bin]) } };
	const char *what = NULL;

	*ret_at = w.path[0];
	if (!w.path[0])
		return NULL;
	if (!lists_has_bit(h, l, bin))
		return "a list of free fragments has no bit in the bitmap";
	do {
		*ret_at = w.path[w.depth];
		what = trie_check_chain(h, bin, left, size_of, ret_at);
		what = what ? what : trie_check_place(h, &w, size_of);
	} while (!what && !HEAP_FAILED(h) && trie_step(h, &w));
	return what;
}

/** As lists_check(), for the bins above the lists. */
static inline unsigned trie_check(const struct mem_heap *h, const struct free_lists *l, uint64_t *left,
				  lists_size_fn *size_of, mem_fault_fn *fn, void *arg)
{
	unsigned faults = 0;
	uint64_t p = 0;

	for (unsigned bin = TRIE_FIRST; bin < BINS_COUNT && *left != UINT64_MAX && !HEAP_FAILED(h); bin++) {
		const char *what = trie_check_one(h, l, bin, left, size_of, &p);

		if (what && !HEAP_FAILED(h)) {
			fn(&(struct mem_fault){ h->base + (p < h->len ? p : 0), what }, arg);
			faults++;
		}
	}
	return faults;
}

/** Lists and tries, after a row in which `left` fragments are free. Returns the number of faults. */
static inline unsigned trie_check_all(const struct mem_heap *h, const struct free_lists *l, uint64_t left,
				      lists_size_fn *size_of, mem_fault_fn *fn, void *arg)
{
	unsigned faults = lists_check(h, l, TRIE_FIRST, &left, size_of, fn, arg);

	faults += trie_check(h, l, &left, size_of, fn, arg);
	return faults ? faults : lists_check_left(h, left, fn, arg);
}

/** Size of the largest fragment in lists and tries, 0: none. */
static inline uint64_t trie_largest_of_all(const struct mem_heap *h, const struct free_lists *l,
					   lists_size_fn *size_of)
{
	unsigned bin = 0;
	uint64_t p = lists_topmost(h, l, &bin);

	return !p ? 0 : bin < TRIE_FIRST ? size_of(h, p) : trie_largest(h, p, size_of);
}

#endif /* MGR_SIZE_TRIE_H */
