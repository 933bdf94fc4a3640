/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slab: pages of blocks of one size, after Bonwick, "The slab allocator" (USENIX 1994), with all tags out of line, as
 * in Evans, "A scalable concurrent malloc implementation for FreeBSD" (2006); large fragments are runs of pages.
 *
 *	| header | slab of 64 B   | large fragment          | slab of 80 B   | free ...
 *	  |  |      b b b b ... b                              b b b ... b
 *	  |  slots: a bit for each block, free or not
 *	  map: page -> kind, and where its run begins
 *
 * slab_kinds.h says what sizes there are, slab_pages.h how pages become runs. No fragment has a byte of ours in it or
 * beside it: what an application overruns is its own next block, and any address is told from a fragment by its tags.
 *
 * A small request takes the lowest free block of the slab of its size that had room last; when none has, a new slab is
 * made, or, where no run of so many pages is free, a large fragment. A slab whose last block comes back is free pages
 * at once. `rooms` are lists of slabs with a free block, by kind.
 *
 * Invariants (slab_check): those of slab_pages.h; a slab has a used block; no bits but its blocks'; what is free is not
 * marked; it is in the list of its kind exactly when a block is free, and its prev is the one before.
 *
 * 1/64 of the pages are headers. alloc, free, resize O(1): no loop but over three words of bits, and the tags of pages.
 */
#include "mem/mgr/slab_pages.h"

enum { SLAB_IDLE_LOOKS = 64 };

struct slab_roots {
	struct page_roots pages;
	uint64_t rooms[SLAB_KINDS];		/* pages where slabs begin, 0: none */
};

static struct slab_roots *roots(const struct mem_heap *h) { return (void *)h->roots; }

static inline struct zone_slot *slot_at(const struct mem_heap *h, uint64_t page)
{
	return &zone_at(h, page / ZONE_PAGES)->slot[page % ZONE_PAGES];
}

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

/** What lies at an address: the run, and which of its blocks. Of any offset below h->len; nothing is followed. */
struct spot { const struct slab_kind *kind; struct zone_slot *slot; uint64_t page, block; unsigned number; };

static inline struct spot spot_of(const struct mem_heap *h, uint64_t off)
{
	uint64_t page = off / SLAB_PAGE, tag, first;
	struct zone *u;
	struct spot s;

	page -= page && page % ZONE_PAGES == 0;	/* a payload that begins with a zone: its run begins before it */
	u = zone_at(h, page / ZONE_PAGES);
	tag = u->map[page % ZONE_PAGES / MAP_IN_WORD] >> page % MAP_IN_WORD * MAP_BITS;
	first = (page - (tag >> MAP_BACK)) % ZONE_PAGES;
	s.number = (unsigned)tag & MAP_KIND;
	s.kind = &slab_kinds[s.number];
	s.slot = &u->slot[first];
	s.page = page / ZONE_PAGES * ZONE_PAGES + first;
	s.block = (off - s.page * SLAB_PAGE) * s.kind->reciprocal >> 32;
	return s;
}

static uint64_t off_of(const struct mem_heap *h, const void *p) { return (uintptr_t)p - (uintptr_t)h->base; }

/* ---- slabs ---- */

static void room_link(struct mem_heap *h, unsigned kind, uint64_t page)
{
	uint64_t *room = &roots(h)->rooms[kind], first = *room;

	HEAP_SET(h, slot_at(h, page)->links, first);
	if (first)
		HEAP_SET(h, slot_at(h, first)->links, (slot_at(h, first)->links & LINK_NEXT) | page << 32);
	HEAP_SET(h, *room, page);
}

static void room_unlink(struct mem_heap *h, unsigned kind, uint64_t page)
{
	uint64_t links = slot_at(h, page)->links, next = links & LINK_NEXT, prev = links >> 32;

	if (prev)
		HEAP_SET(h, slot_at(h, prev)->links, (slot_at(h, prev)->links & ~LINK_NEXT) | next);
	else
		HEAP_SET(h, roots(h)->rooms[kind], next);
	if (next)
		HEAP_SET(h, slot_at(h, next)->links, (slot_at(h, next)->links & LINK_NEXT) | prev << 32);
}

/** A slab of free blocks, the first of its list: its first page, or 0. */
static uint64_t slab_new(struct mem_heap *h, unsigned kind)
{
	const struct slab_kind *k = &slab_kinds[kind];
	uint64_t page = k->pages ? pages_alloc(h, k->pages, kind) : 0;
	struct zone_slot *s;

	if (!page)
		return 0;
	s = slot_at(h, page);
	for (unsigned j = 0; j < slab_words(k); j++) {
		HEAP_SET(h, s->bits[2 * j], slab_mask(k, j));
		HEAP_SET(h, s->bits[2 * j + 1], 0);
	}
	room_link(h, kind, page);
	tally(h, (uint64_t)k->count * k->size, k->count);
	return page;
}

/** Whether all words of a slab's free blocks but word j, are none (`full`) or all. */
static inline bool others_are(const struct zone_slot *s, const struct slab_kind *k, unsigned j, bool full)
{
	for (unsigned i = 0; i < slab_words(k); i++)
		if (i != j && s->bits[2 * i] != (full ? 0 : slab_mask(k, i)))
			return false;
	return true;
}

static inline void *alloc_block(struct mem_heap *h, unsigned kind)
{
	const struct slab_kind *k = &slab_kinds[kind];
	uint64_t page = roots(h)->rooms[kind], free, left;
	struct zone_slot *s;
	unsigned j = 0;

	if (!page && !(page = slab_new(h, kind)))
		return NULL;
	s = slot_at(h, page);
	while (!(free = s->bits[2 * j]))
		j++;
	left = free & (free - 1);
	HEAP_SET(h, s->bits[2 * j], left);
	if (!left && others_are(s, k, j, true))
		room_unlink(h, kind, page);
	tally(h, -(uint64_t)k->size, -1);
	return h->base + page * SLAB_PAGE + (j * 64 + bits_lowest(free)) * (uint64_t)k->size;
}

/** The slab, with one used block, becomes free pages. */
static void slab_give(struct mem_heap *h, unsigned kind, uint64_t page)
{
	const struct slab_kind *k = &slab_kinds[kind];
	uint64_t free = k->count - 1u, from = page % ZONE_PAGES;

	room_unlink(h, kind, page);
	tally(h, -free * k->size, -(int64_t)free);
	pages_give(h, page / ZONE_PAGES, from, from + k->pages, k->pages);
}

static inline void free_block(struct mem_heap *h, const struct spot *s)
{
	unsigned j = (unsigned)s->block / 64;
	uint64_t bit = 1ull << s->block % 64, was = s->slot->bits[2 * j], marks = s->slot->bits[2 * j + 1];

	if (marks & bit)
		HEAP_SET(h, s->slot->bits[2 * j + 1], marks & ~bit);
	if ((was | bit) == slab_mask(s->kind, j) && others_are(s->slot, s->kind, j, false)) {
		slab_give(h, s->number, s->page);
		return;
	}
	HEAP_SET(h, s->slot->bits[2 * j], was | bit);
	if (!was && others_are(s->slot, s->kind, j, true))
		room_link(h, s->number, s->page);
	tally(h, s->kind->size, 1);
}

/* ---- large fragments ---- */

static void *alloc_large(struct mem_heap *h, uint64_t align, uint64_t size)
{
	uint64_t n = bits_up(size, SLAB_PAGE) / SLAB_PAGE, skip = 0, page;
	struct zone_slot *s;

	if (align > h->len)
		return NULL;
	page = align > SLAB_PAGE ? pages_aligned(h, align / SLAB_PAGE, n, &skip) : pages_alloc(h, n, SLAB_LARGE);
	if (!page)
		return NULL;
	s = slot_at(h, page);
	HEAP_SET(h, s->bits[0], 0);
	HEAP_SET(h, s->bits[1], 0);
	HEAP_SET(h, s->links, n * SLAB_PAGE);
	return h->base + (page + skip) * SLAB_PAGE;
}

/** The page behind all that the large fragment at `page` has, `pages` of it to be used. */
static uint64_t large_end(const struct mem_heap *h, uint64_t page, uint64_t pages)
{
	uint64_t zone_end = bits_up(page + 1, ZONE_PAGES);

	return page + pages <= zone_end ? page + pages : unit_end(h, page / ZONE_PAGES);
}

static void free_large(struct mem_heap *h, uint64_t page, uint64_t pages)
{
	uint64_t from = page % ZONE_PAGES, to = from + pages;

	pages_give(h, page / ZONE_PAGES, from, to < ZONE_PAGES ? to : ZONE_PAGES, 1);
}

/** The pages from `end` on, up to `old`, are not the fragment's any more, which begins in unit z. */
static void large_cut(struct mem_heap *h, uint64_t z, uint64_t end, uint64_t old)
{
	uint64_t zone_end = (z + 1) * ZONE_PAGES, y = bits_up(end, ZONE_PAGES) / ZONE_PAGES;

	if (end < zone_end) {
		pages_give(h, z, end % ZONE_PAGES, old < zone_end ? old - z * ZONE_PAGES : ZONE_PAGES, 0);
	} else if (y * ZONE_PAGES < old) {
		unit_split(h, z, y);
		unit_settle(h, y);
		swallow(h, (y * ZONE_PAGES + 1) * SLAB_PAGE, unit_end(h, y) * SLAB_PAGE);
	}
}

/** The fragment, which begins at `page` and ends at `old`, takes what is free behind it, up to `end`. */
static bool large_grow(struct mem_heap *h, uint64_t page, uint64_t old, uint64_t end)
{
	uint64_t z = page / ZONE_PAGES, zone_end = (z + 1) * ZONE_PAGES, next = 0, had = zone_at(h, z)->extra, last;
	struct zone *u = zone_at(h, z);

	last = old < zone_end ? old + bits_run(u->free, old % ZONE_PAGES) : zone_end;
	if (old < zone_end && last == zone_end) {
		last += had;				/* its neighbour goes on behind the zone */
	} else if (old >= zone_end) {
		next = unit_next(h, z);
		last = next && unit_is_free(h, next) ? unit_end(h, next) : old;
	}
	if (last < end)
		return false;
	if (next)
		unit_join(h, z, next);
	/* all of it is the fragment's, which is longer than it shall be: the rest is free again */
	swallow(h, page * SLAB_PAGE, (end < zone_end ? end : bits_up(end, ZONE_PAGES)) * SLAB_PAGE);
	if (old < zone_end) {
		uint64_t to = end < zone_end ? end : zone_end;

		if (end >= zone_end && zone_end + bits_up(end - zone_end, ZONE_PAGES) < zone_end + u->extra)
			unit_split(h, z, bits_up(end, ZONE_PAGES) / ZONE_PAGES);
		zone_set(h, z, u->free & ~bits_between(old % ZONE_PAGES, to - z * ZONE_PAGES), u->extra);
	} else if (bits_up(end, ZONE_PAGES) < zone_end + u->extra) {
		unit_split(h, z, bits_up(end, ZONE_PAGES) / ZONE_PAGES);
	}
	return true;
}

static bool resize_large(struct mem_heap *h, const struct spot *s, uint64_t size)
{
	uint64_t skip = s->kind->skip / SLAB_PAGE, n = bits_up(size, SLAB_PAGE) / SLAB_PAGE;
	uint64_t had = s->slot->links / SLAB_PAGE, old = large_end(h, s->page, had + skip), end = s->page + skip + n;

	if (n == had)
		return true;
	if (end > old && !large_grow(h, s->page, old, end))
		return false;
	if (end < old)
		large_cut(h, s->page / ZONE_PAGES, end, old);
	HEAP_SET(h, s->slot->links, n * SLAB_PAGE);
	return true;
}

/* ---- the calls ---- */

static void *slab_alloc(struct mem_heap *h, size_t align, size_t size)
{
	uint64_t want = align > 16 ? bits_up(size, align) : size;	/* then each block is aligned */
	void *p;

	if (want <= SLAB_MOST && align <= SLAB_PAGE && (p = alloc_block(h, slab_kind_for(want))))
		return p;
	return alloc_large(h, align, size);
}

static void slab_free(struct mem_heap *h, void *p)
{
	struct spot s = spot_of(h, off_of(h, p));

	if (s.kind->size)
		free_block(h, &s);
	else
		free_large(h, s.page, s.slot->links / SLAB_PAGE + s.kind->skip / SLAB_PAGE);
}

static bool slab_resize(struct mem_heap *h, void *p, size_t size)
{
	struct spot s = spot_of(h, off_of(h, p));

	return s.kind->size ? size <= s.kind->size : resize_large(h, &s, size);
}

static void slab_extend(struct mem_heap *h, uint64_t old_len) { pages_extend(h, old_len / SLAB_PAGE); }

static int slab_init(struct mem_heap *h)
{
	pages_extend(h, 0);
	return 0;
}

static uint64_t slab_idle(struct mem_heap *h, uint64_t at, mem_idle_fn *fn)
{
	uint64_t page = at / SLAB_PAGE, end, n;
	struct unit u;
	unsigned kind;

	if (!get_end(h, &end))
		return 0;
	for (unsigned looks = SLAB_IDLE_LOOKS; looks-- && page < end; page += n) {
		page += page % ZONE_PAGES == 0;
		if (page >= end || !get_unit(h, page / ZONE_PAGES, end, &u) ||
		    !(n = get_run(h, &u, page % ZONE_PAGES, &kind)))
			return 0;
		if (kind == SLAB_FREE)
			fn(h, page * SLAB_PAGE, n * SLAB_PAGE);
	}
	return page < end ? page * SLAB_PAGE : 0;
}

static size_t slab_usable(const struct mem_heap *h, const void *p)
{
	uint64_t off = off_of(h, p);
	struct spot s;

	if (off >= h->len)
		return 0;
	s = spot_of(h, off);
	return s.kind->size ? s.kind->size : s.slot->links;
}

static bool slab_marked(const struct mem_heap *h, const void *p)
{
	uint64_t off = off_of(h, p);
	struct spot s;

	if (off >= h->len)
		return false;
	s = spot_of(h, off);
	return s.block < s.kind->count && s.slot->bits[s.block / 64 * 2 + 1] >> s.block % 64 & 1;
}

static void slab_mark(struct mem_heap *h, void *p, bool on)
{
	struct spot s = spot_of(h, off_of(h, p));
	uint64_t *marks = &s.slot->bits[s.block / 64 * 2 + 1], bit = 1ull << s.block % 64;

	HEAP_SET(h, *marks, on ? *marks | bit : *marks & ~bit);
}

static bool slab_owns(const struct mem_heap *h, const void *p)
{
	uint64_t off = off_of(h, p);
	struct spot s;

	if (off >= h->len)
		return false;
	s = spot_of(h, off);
	return s.block < s.kind->count && off == s.page * SLAB_PAGE + s.block * s.kind->size + s.kind->skip &&
	       !(s.slot->bits[s.block / 64 * 2] >> s.block % 64 & 1) &&
	       zone_at(h, s.page / ZONE_PAGES)->seal == zone_seal(s.page / ZONE_PAGES);
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

/** The fragment at `at`, below the end, and what follows it. False: there is none. */
static bool get_frag(const struct mem_heap *h, uint64_t at, uint64_t end, struct mem_frag *ret, uint64_t *ret_next)
{
	uint64_t z = at >> ZONE_SHIFT, page = at / SLAB_PAGE, first, block, n, bits[2];
	const struct slab_kind *k;
	struct zone_slot *s;
	unsigned kind;
	struct unit u;

	if (!get_unit(h, z, end, &u))
		return false;
	first = page - (get_tag(h, z, page % ZONE_PAGES) >> MAP_BACK);
	if (first > page || first <= z * ZONE_PAGES)
		return false;
	n = get_run(h, &u, first % ZONE_PAGES, &kind);
	if (!n || first + n <= page)
		return false;
	k = &slab_kinds[kind];
	block = k->size ? (at - first * SLAB_PAGE) / k->size : 0;
	if (at != first * SLAB_PAGE + block * k->size || (k->size && block >= k->count))
		return false;
	*ret_next = (first + n) * SLAB_PAGE;
	*ret = (struct mem_frag){ h->base + at, n * SLAB_PAGE, false, false };
	if (kind == SLAB_FREE)
		return true;
	s = slot_at(h, first);
	bits[0] = HEAP_GET(h, s->bits[block / 64 * 2]);
	bits[1] = HEAP_GET(h, s->bits[block / 64 * 2 + 1]);
	*ret = (struct mem_frag){ h->base + at + k->skip, k->size ? k->size : HEAP_GET(h, s->links),
				  !(bits[0] >> block % 64 & 1), bits[1] >> block % 64 & 1 };
	if (k->size && block + 1 < k->count)
		*ret_next = at + k->size;
	return true;
}

static uint64_t slab_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	struct mem_frag frag;
	uint64_t end;

	if (!get_end(h, &end) || at % 16)
		return MEM_WALK_FAULT;
	end *= SLAB_PAGE;
	for (bool more = true; more && at < end && max; max--) {
		if (at % (1 << ZONE_SHIFT) == 0)	/* a header */
			at += SLAB_PAGE;
		if (at >= end)
			break;
		if (!get_frag(h, at, end / SLAB_PAGE, &frag, &at))
			return MEM_WALK_FAULT;
		more = fn(&frag, arg);
	}
	return HEAP_FAILED(h) ? MEM_WALK_FAULT : at < end ? at : 0;
}

/** pages_slab_fn: the bits of a slab or of a large fragment. *arg counts the slabs with room. */
static const char *check_slab(const struct mem_heap *h, uint64_t page, unsigned kind, void *arg)
{
	const struct zone_slot *s = slot_at(h, page);
	const struct slab_kind *k = &slab_kinds[kind];
	uint64_t free, marks, mask;
	bool some = false, all = true;

	for (unsigned j = 0; j < slab_words(k); j++) {
		mask = slab_mask(k, j);
		free = HEAP_GET(h, s->bits[2 * j]);
		marks = HEAP_GET(h, s->bits[2 * j + 1]);
		if ((free | marks) & ~mask)
			return "a slab has bits of blocks that it does not have";
		if (free & marks)
			return "a free block is marked";
		some |= free;
		all &= free == mask;
	}
	*(uint64_t *)arg += some;
	return all ? "a slab has no used block" : NULL;
}

/** Whether a slab of that kind begins with `page`. */
static bool get_slab(const struct mem_heap *h, uint64_t page, unsigned kind, uint64_t end)
{
	struct unit u;
	unsigned is;

	return page < end && page % ZONE_PAGES && get_unit(h, page / ZONE_PAGES, end, &u) &&
	       get_run(h, &u, page % ZONE_PAGES, &is) && is == kind;
}

/** Each slab that a list of rooms leads to, counted down from *left. */
static const char *check_room(const struct mem_heap *h, unsigned kind, uint64_t end, uint64_t *ret_at, uint64_t *left)
{
	uint64_t before = 0, links, free;

	for (uint64_t page = HEAP_GET(h, roots(h)->rooms[kind]); page && !HEAP_FAILED(h); page = links & LINK_NEXT) {
		if (!(*left)--)
			return "more slabs in the lists than have room";
		if (!get_slab(h, page, kind, end))
			return "a list leads to what is not a slab of its kind";
		*ret_at = page * SLAB_PAGE;
		free = 0;
		for (unsigned j = 0; j < slab_words(&slab_kinds[kind]); j++)
			free |= HEAP_GET(h, slot_at(h, page)->bits[2 * j]);
		if (!free)
			return "a slab without room is in a list";
		links = HEAP_GET(h, slot_at(h, page)->links);
		if (links >> 32 != before)
			return "a slab's prev is not the one before";
		before = page;
	}
	return NULL;
}

static const char *check_all(const struct mem_heap *h, uint64_t *ret_at)
{
	uint64_t end, listed = 0, rooms = 0;
	const char *what;

	if (!get_end(h, &end))
		return "the end is out of the heap";
	what = check_units(h, end, check_slab, &rooms, ret_at, &listed);
	if (!what)
		what = check_zone_lists(h, end, ret_at, listed);
	for (unsigned kind = 0; kind < SLAB_KINDS && !what; kind++) {
		*ret_at = 0;
		if (kind < SLAB_FIRST && HEAP_GET(h, roots(h)->rooms[kind]))
			what = "a list of slabs of no kind";
		else
			what = check_room(h, kind, end, ret_at, &rooms);
	}
	return what ? what : rooms ? "a slab with room is in no list" : NULL;
}

static unsigned slab_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)
{
	uint64_t at = 0;
	const char *what = check_all(h, &at);

	if (HEAP_FAILED(h))
		what = "could not be read";
	if (what) /* the first fault: what follows it cannot be judged */
		fn(&(struct mem_fault){ h->base + (at < h->len ? at : 0), what }, arg);
	return what != NULL;
}

static uint64_t slab_largest(const struct mem_heap *h)
{
	uint64_t end, run, block = 0;

	if (!get_end(h, &end))
		return 0;
	run = pages_largest(h, end);
	for (unsigned kind = SLAB_KINDS; !block && --kind >= SLAB_FIRST; )
		block = get_slab(h, HEAP_GET(h, roots(h)->rooms[kind]), kind, end) ? slab_kinds[kind].size : 0;
	return HEAP_FAILED(h) ? 0 : block > run ? block : run;
}

/* The most stores: a large fragment that is cut out of the middle of what is free. */
enum {
	SLAB_ROOM = 3, SLAB_ALLOC_LARGE = PAGES_TAKE + 3,
	SLAB_ALLOC = ZONE_SPLIT + ZONE_SET + 5 + 6 + SLAB_ROOM + PAGES_TALLY + 1 + SLAB_ROOM + PAGES_TALLY,
	SLAB_FREES = 1 + SLAB_ROOM + PAGES_TALLY + PAGES_GIVE,
	SLAB_RESIZE = ZONE_JOIN + ZONE_SPLIT + ZONE_SET + MAP_WORDS + MEM_CURSORS + 1,
};
_Static_assert((int)SLAB_ALLOC_LARGE >= (int)SLAB_ALLOC && (int)SLAB_ALLOC_LARGE >= (int)SLAB_FREES &&
		       (int)SLAB_ALLOC_LARGE >= (int)SLAB_RESIZE && (int)SLAB_ALLOC_LARGE >= (int)PAGES_EXTEND,
	       "the most");

const struct mem_manager_ops MEM_OPS(slab) = {
	MEM_OPS_HEAD,
	.name = "slab",
	.summary = "pages of blocks of one size, all tags out of line: the least memory for small fragments",
	.domains = MEM_PKG | MEM_SHM,
	.flags = MEM_PAGED,
	.root_bytes = sizeof(struct slab_roots),
	.max_stores = SLAB_ALLOC_LARGE,
	MEM_MUTATORS(.init = slab_init, .alloc = slab_alloc, .free = slab_free, .resize = slab_resize,
		     .usable = slab_usable, .extend = slab_extend, .idle = slab_idle, .mark = slab_mark,
		     .marked = slab_marked, .owns = slab_owns)
		.walk = slab_walk,
	.check = slab_check,
	.largest = slab_largest,
};
