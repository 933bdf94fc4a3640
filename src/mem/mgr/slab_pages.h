/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs of pages, and what is known of each page, out of line.
 *
 *	| H . . . . 63 pages | H . . . . | . . . . . . | . . . . . . | H . . .  |		zones of 64 pages
 *	0                         unit 1: its last run goes on over two zones		end
 *
 * A zone's first page is its header, with a tag for each of its other pages: which kind of run it belongs to and how
 * far into it (slab_kinds.h), and a slot with the bits of the blocks, where a slab begins. A zone without a header
 * belongs, whole, to the last run of the zone before: so that a run may be longer than a zone, and all that is free is
 * one run. A zone with a header, and those that its last run goes on over, are a unit; units are a row without gaps.
 *
 * A request takes the lowest run that fits of a zone whose longest free run is hardly longer than wanted. A zone gets a
 * header when a run begins in it, and loses it when its last page comes back and the run before it is free.
 *
 * Invariants (pages_check): a unit begins where the one before ends, and names it; `free` has a bit for each free page,
 * and the map says the same; a slab's pages are tagged from its first to its last, of a large run the first one; only a
 * last run that is free or large is longer than its zone; a unit that is all free does not follow a free run; each unit
 * with free pages is in the list of its longest free run, and a bit is set exactly where a list is not empty; there are
 * no tags behind the end.
 *
 * All O(1).
 */
#ifndef MGR_SLAB_PAGES_H
#define MGR_SLAB_PAGES_H

#include "mem/mgr/slab_kinds.h"
#include "memapi/manager.h"

enum { ZONE_PAGES = 64, ZONE_SHIFT = 18, ZONE_EXACT = 64, ZONE_LISTS = ZONE_EXACT + 26 * 4, ZONE_LOOKS = 16 };
enum {
	MAP_IN_WORD = 4,
	MAP_WORDS = ZONE_PAGES / MAP_IN_WORD,
	MAP_BITS = 16,
	MAP_KIND = 0x7f,
	MAP_PARITY = 7,
	MAP_BACK = 8
};
#define ZONE_SEAL 0x51ab5ea1d0c0ffe5u
#define LINK_NEXT 0xffffffffull		/* of a word of links: prev above, next below; 0: none */

_Static_assert(ZONE_PAGES *SLAB_PAGE == 1 << ZONE_SHIFT, "a word of bits for the pages of a zone");

/* Where a run begins. Of a slab: in bits[2 j] the free ones of the blocks 64 j ..., in bits[2 j + 1] the marked ones;
 * links: of pages. Of a large fragment: bits[0] is 0, bits[1] whether it is marked, links its usable bytes. */
struct zone_slot { uint64_t bits[6], links; };

struct zone {
	uint64_t map[MAP_WORDS];		/* of each page a tag */
	uint64_t seal, prev;			/* number of the unit before */
	uint64_t extra;				/* pages of the last run that lie behind this zone */
	uint64_t free;				/* a bit for each page */
	uint64_t list, links;			/* by the longest free run; of zones + 1 */
	uint64_t unused[2];
	struct zone_slot slot[ZONE_PAGES];
};
_Static_assert(sizeof(struct zone) <= SLAB_PAGE, "a header is a page");

struct page_roots {
	uint64_t end, last;			/* pages of the heap; number of the last unit */
	uint64_t filled[(ZONE_LISTS + 63) / 64], zones[ZONE_LISTS];
};

static inline struct page_roots *page_roots(const struct mem_heap *h) { return (void *)h->roots; }
static inline struct zone *zone_at(const struct mem_heap *h, uint64_t z)
{
	return (void *)(h->base + (z << ZONE_SHIFT));
}
static inline uint64_t zone_seal(uint64_t z) { return (z + 1) * ZONE_SEAL; }

/** The tag of a page of a run, `back` pages behind its first. Of the kind there is the parity: the blocks of a slab
 * that is full would fit another kind as well. */
static inline uint64_t tag_of(unsigned kind, uint64_t back)
{
	return kind | (uint64_t)__builtin_parity(kind) << MAP_PARITY | back << MAP_BACK;
}

/** So many pages of a run of that kind have tags: all of a slab's, since its blocks begin in each. */
static inline uint64_t tags_of(unsigned kind, uint64_t pages)
{
	return kind < SLAB_FIRST ? kind != SLAB_FREE : pages;
}

/* ---- bits of pages ---- */

/** Bits [from, to) of a word; from < to <= 64. */
static inline uint64_t bits_between(uint64_t from, uint64_t to)
{
	return UINT64_MAX >> (ZONE_PAGES - (to - from)) << from;
}

/** How many of the pages at `from` and behind it are free, within the zone. */
static inline uint64_t bits_run(uint64_t free, uint64_t from)
{
	return ~(free >> from) ? bits_lowest(~(free >> from)) : ZONE_PAGES;
}

/** How many pages the free run at the end of the zone has there. */
static inline uint64_t bits_tail(uint64_t free) { return free >> 63 ? 63 - bits_highest(~free) : 0; }

/** The pages where a run of n free ones begins; n: 1 to 63. */
static inline uint64_t bits_runs_of(uint64_t free, uint64_t n)
{
	for (uint64_t have = 1, step; have < n; have += step) {
		step = have < n - have ? have : n - have;
		free &= free >> step;
	}
	return free;
}

/** The length of the longest run of free pages in a zone. */
static inline uint64_t bits_longest(uint64_t free)
{
	uint64_t of[6], begin, len;
	int i = 0;

	if (!free)
		return 0;
	for (of[0] = free; i < 5 && of[i]; i++)		/* of[i]: where runs of 2^i begin */
		of[i + 1] = of[i] & of[i] >> (1u << i);
	while (!of[i])
		i--;
	for (begin = of[i], len = 1ull << i; i--; )
		if (begin & of[i] >> len) {
			begin &= of[i] >> len;
			len += 1ull << i;
		}
	return len;
}

/** The same, with the pages behind the zone that the last run has. */
static inline uint64_t zone_longest(uint64_t free, uint64_t extra)
{
	uint64_t in_zone = bits_longest(free), last = free >> 63 ? bits_tail(free) + extra : 0;

	return last > in_zone ? last : in_zone;
}

/** The list of zones whose longest free run is `pages`; 0: of none. */
static inline unsigned zone_list(uint64_t pages)
{
	unsigned high;

	if (pages < ZONE_EXACT)
		return (unsigned)pages;
	high = bits_highest(pages);
	return ZONE_EXACT + (high - 6) * 4 + ((unsigned)(pages >> (high - 2)) & 3);
}

/** Bits of the pages that a zone has itself, its header apart, when the unit has `pages` pages. */
static inline uint64_t zone_own(uint64_t pages)
{
	return pages < 2 ? 0 : bits_between(1, pages < ZONE_PAGES ? pages : ZONE_PAGES);
}

/* Stores of each, at most. */
enum {
	PAGES_TALLY = 2, ZONE_LINK = 4, ZONE_UNLINK = 3,
	ZONE_SET = PAGES_TALLY + 3 + ZONE_LINK + ZONE_UNLINK,
	ZONE_NEW = MAP_WORDS + 7 + ZONE_SET,
	ZONE_SPLIT = ZONE_NEW + ZONE_SET,
	ZONE_JOIN = 2 * ZONE_SET + 2,
	PAGES_TAKE = 2 * ZONE_SPLIT + ZONE_SET + MAP_WORDS,
	PAGES_GIVE = ZONE_SET + MAP_WORDS + 2 * ZONE_JOIN + MEM_CURSORS,
	PAGES_EXTEND = 2 + ZONE_NEW,
};

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes the row, or trusts it ---- */

/** So many bytes and fragments more are free; negative: fewer. */
static inline void tally(struct mem_heap *h, uint64_t bytes, int64_t fragments)
{
	HEAP_SET(h, h->tally->free_bytes, h->tally->free_bytes + bytes);
	if (fragments)
		HEAP_SET(h, h->tally->free_fragments, h->tally->free_fragments + (uint64_t)fragments);
}

/** Walks that stand in (from, to) go back to `from`: it is one fragment now. */
static inline void swallow(struct mem_heap *h, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; h->cursors->live && i < MEM_CURSORS; i++)
		if ((h->cursors->live >> i & 1) && h->cursors->at[i] > from && h->cursors->at[i] < to)
			HEAP_SET(h, h->cursors->at[i], from);
}

/* ---- lists of zones ---- */

static inline void zone_link(struct mem_heap *h, uint64_t z, uint64_t list)
{
	struct page_roots *r = page_roots(h);
	uint64_t first = r->zones[list];

	HEAP_SET(h, zone_at(h, z)->links, first);
	if (first) {
		struct zone *next = zone_at(h, first - 1);

		HEAP_SET(h, next->links, (next->links & LINK_NEXT) | (z + 1) << 32);
	} else {
		HEAP_SET(h, r->filled[list / 64], r->filled[list / 64] | 1ull << list % 64);
	}
	HEAP_SET(h, r->zones[list], z + 1);
}

static inline void zone_unlink(struct mem_heap *h, const struct zone *u, uint64_t list)
{
	struct page_roots *r = page_roots(h);
	uint64_t next = u->links & LINK_NEXT, prev = u->links >> 32;

	if (prev)
		HEAP_SET(h, zone_at(h, prev - 1)->links, (zone_at(h, prev - 1)->links & ~LINK_NEXT) | next);
	else
		HEAP_SET(h, r->zones[list], next);
	if (next)
		HEAP_SET(h, zone_at(h, next - 1)->links, (zone_at(h, next - 1)->links & LINK_NEXT) | prev << 32);
	else if (!prev)
		HEAP_SET(h, r->filled[list / 64], r->filled[list / 64] & ~(1ull << list % 64));
}

/** + 1 of a zone with a free run of `pages` or more; 0: there is none that is found. */
static inline uint64_t zone_find(const struct mem_heap *h, uint64_t pages)
{
	const struct page_roots *r = page_roots(h);
	unsigned list = zone_list(pages), looks = ZONE_LOOKS, w;
	uint64_t bits;

	if (pages >= ZONE_EXACT) {	/* lengths in a list differ */
		for (uint64_t z = r->zones[list]; z && looks--; z = zone_at(h, z - 1)->links & LINK_NEXT)
			if (zone_longest(zone_at(h, z - 1)->free, zone_at(h, z - 1)->extra) >= pages)
				return z;
		list++;
	}
	if (list >= ZONE_LISTS)
		return 0;
	w = list / 64;
	bits = r->filled[w] >> list % 64 << list % 64;
	while (!bits)
		if (++w == sizeof r->filled / sizeof *r->filled)
			return 0;
		else
			bits = r->filled[w];
	return r->zones[w * 64 + bits_lowest(bits)];
}

/* ---- units ---- */

static inline uint64_t pages_in(uint64_t free, uint64_t extra)
{
	return bits_count(free) + (free >> 63 ? extra : 0);
}

static inline uint64_t runs_in(uint64_t free) { return bits_count(free & ~(free << 1)); }

/** These pages of unit z are free now, and so many of its last run lie behind the zone. */
static inline void zone_set(struct mem_heap *h, uint64_t z, uint64_t free, uint64_t extra)
{
	struct zone *u = zone_at(h, z);
	uint64_t list = zone_list(zone_longest(free, extra)), was = u->list;

	tally(h, (pages_in(free, extra) - pages_in(u->free, u->extra)) * SLAB_PAGE,
	      (int64_t)(runs_in(free) - runs_in(u->free)));
	HEAP_SET(h, u->free, free);
	if (u->extra != extra)
		HEAP_SET(h, u->extra, extra);
	if (list == was)
		return;
	if (was)
		zone_unlink(h, u, was);
	if (list)
		zone_link(h, z, list);
	HEAP_SET(h, u->list, list);
}

/** The page behind the unit z. */
static inline uint64_t unit_end(const struct mem_heap *h, uint64_t z)
{
	const struct zone *u = zone_at(h, z);
	uint64_t end = (z + 1) * ZONE_PAGES + u->extra;

	return end < page_roots(h)->end ? end : page_roots(h)->end;
}

/** The number of the unit behind z, or 0: there is none. */
static inline uint64_t unit_next(const struct mem_heap *h, uint64_t z)
{
	return z == page_roots(h)->last ? 0 : z + 1 + zone_at(h, z)->extra / ZONE_PAGES;
}

static inline bool unit_is_free(const struct mem_heap *h, uint64_t z)
{
	return zone_at(h, z)->free == zone_own(unit_end(h, z) - z * ZONE_PAGES);
}

/** A header for zone z, behind the unit prev and before `next`, 0: the last. What follows is `pages` free ones. */
static void unit_new(struct mem_heap *h, uint64_t z, uint64_t prev, uint64_t next, uint64_t pages)
{
	struct zone *u = zone_at(h, z);

	HEAP_SET(h, u->map[0], tag_of(SLAB_HEADER, 0));
	for (unsigned i = 1; i < MAP_WORDS; i++)
		if (u->map[i])
			HEAP_SET(h, u->map[i], 0);
	HEAP_SET(h, u->seal, zone_seal(z));
	HEAP_SET(h, u->prev, prev);
	HEAP_SET(h, u->extra, 0);
	HEAP_SET(h, u->free, 0);
	HEAP_SET(h, u->list, 0);
	if (next)
		HEAP_SET(h, zone_at(h, next)->prev, z);
	else
		HEAP_SET(h, page_roots(h)->last, z);
	zone_set(h, z, zone_own(pages), pages > ZONE_PAGES ? pages - ZONE_PAGES : 0);
}

/** The last run of unit z, which goes on over zone y, ends before it: y gets a header, and all behind it is free. */
static void unit_split(struct mem_heap *h, uint64_t z, uint64_t y)
{
	uint64_t next = unit_next(h, z), pages = unit_end(h, z) - y * ZONE_PAGES;

	zone_set(h, z, zone_at(h, z)->free, (y - z - 1) * ZONE_PAGES);
	unit_new(h, y, z, next, pages);
}

/** Unit y, all free, becomes a part of the last run of z before it. */
static void unit_join(struct mem_heap *h, uint64_t z, uint64_t y)
{
	struct zone *u = zone_at(h, z);
	uint64_t next = unit_next(h, y), pages = unit_end(h, y) - y * ZONE_PAGES;

	zone_set(h, y, 0, zone_at(h, y)->extra);
	HEAP_SET(h, zone_at(h, y)->seal, 0);
	if (next)
		HEAP_SET(h, zone_at(h, next)->prev, z);
	else
		HEAP_SET(h, page_roots(h)->last, z);
	zone_set(h, z, u->free, u->extra + pages);
}

/** Tags the pages [from, to) of a zone as a run of that kind; SLAB_FREE has no tags. */
static void map_set(struct mem_heap *h, struct zone *u, uint64_t from, uint64_t to, unsigned kind)
{
	for (uint64_t i = from, step; i < to; i += step) {
		uint64_t word = u->map[i / MAP_IN_WORD], tag;

		for (step = 0; i + step < to && (step == 0 || (i + step) % MAP_IN_WORD); step++) {
			tag = kind ? tag_of(kind, i + step - from) : 0;
			word &= ~(0xffffull << (i + step) % MAP_IN_WORD * MAP_BITS);
			word |= tag << (i + step) % MAP_IN_WORD * MAP_BITS;
		}
		HEAP_SET(h, u->map[i / MAP_IN_WORD], word);
	}
}

/* ---- runs ---- */

/** The free pages [start, start + n), of a run of unit z, are of that kind now. Where the run is longer than its zone
 *  it ends with a zone: what lies between is lost to others. */
static void pages_take(struct mem_heap *h, uint64_t z, uint64_t start, uint64_t n, unsigned kind)
{
	uint64_t y = start / ZONE_PAGES, from = start % ZONE_PAGES, to = from + n, behind;
	struct zone *u = zone_at(h, y);

	if (y != z)
		unit_split(h, z, y);
	behind = to > ZONE_PAGES ? bits_up(to - ZONE_PAGES, ZONE_PAGES) : 0;
	if (to >= ZONE_PAGES && u->extra > behind)
		unit_split(h, y, y + 1 + behind / ZONE_PAGES);
	to = to < ZONE_PAGES ? to : ZONE_PAGES;
	zone_set(h, y, u->free & ~bits_between(from, to), u->extra);
	map_set(h, u, from, from + tags_of(kind, n), kind);
}

/** What was joined: unit z with its neighbours, where there is nothing but free pages between. Returns the unit that
 *  z's first page belongs to now. */
static uint64_t unit_settle(struct mem_heap *h, uint64_t z)
{
	struct zone *u = zone_at(h, z);
	uint64_t next = unit_next(h, z), prev = u->prev;

	if (u->free >> 63 && next && unit_is_free(h, next))
		unit_join(h, z, next);
	if (!z || !unit_is_free(h, z) || !(zone_at(h, prev)->free >> 63))
		return z;
	unit_join(h, prev, z);
	return prev;
}

/** The pages [from, to) of unit z, and those behind it where it is the last, are free. The first `tags` have tags. */
static void pages_give(struct mem_heap *h, uint64_t z, uint64_t from, uint64_t to, uint64_t tags)
{
	struct zone *u = zone_at(h, z);
	uint64_t y, begin, end;

	zone_set(h, z, u->free | bits_between(from, to), u->extra);
	map_set(h, u, from, from + tags, SLAB_FREE);
	y = unit_settle(h, z);
	if (!h->cursors->live)
		return;
	u = zone_at(h, y);		/* all that has become one run */
	begin = y == z ? from : ZONE_PAGES - bits_tail(u->free);
	while (begin && u->free >> (begin - 1) & 1)
		begin--;
	end = begin + bits_run(u->free, begin);
	swallow(h, (y * ZONE_PAGES + begin) * SLAB_PAGE,
		end < ZONE_PAGES ? (y * ZONE_PAGES + end) * SLAB_PAGE : unit_end(h, y) * SLAB_PAGE);
}

/** Where n pages go at the end of unit z, whose last run has so many: they end with a zone if that can be. 0: not, or
 *  only over the end of a zone, where no slab may lie. */
static uint64_t tail_place(const struct mem_heap *h, uint64_t z, uint64_t n, unsigned kind)
{
	uint64_t end = unit_end(h, z), least = (z + 1) * ZONE_PAGES - bits_tail(zone_at(h, z)->free), start;

	if (!(zone_at(h, z)->free >> 63))
		return 0;
	if (n < ZONE_PAGES) {
		start = (z + 1) * ZONE_PAGES + 1;
	} else {
		start = (z + 1) * ZONE_PAGES - (n % ZONE_PAGES ? n % ZONE_PAGES : 1);
		start += start < least ? ZONE_PAGES : 0;
	}
	if ((n < ZONE_PAGES ? start + n : bits_up(start + n, ZONE_PAGES)) <= end)
		return start;
	return least + n <= end && kind < SLAB_FIRST ? least : 0;
}

/** n pages of that kind: the first one, or 0. */
static uint64_t pages_alloc(struct mem_heap *h, uint64_t n, unsigned kind)
{
	uint64_t z = zone_find(h, n), in_zone, start;

	if (!z--)
		return 0;
	in_zone = n < ZONE_PAGES ? bits_runs_of(zone_at(h, z)->free, n) : 0;
	start = in_zone ? z * ZONE_PAGES + bits_lowest(in_zone) : tail_place(h, z, n, kind);
	if (start)
		pages_take(h, z, start, n, kind);
	return start;
}

/* ---- aligned ---- */

/** Bits of the pages of zone z whose addresses are multiples of `align` pages. */
static inline uint64_t bits_aligned(const struct mem_heap *h, uint64_t z, uint64_t align)
{
	uint64_t first = -((uintptr_t)h->base / SLAB_PAGE + z * ZONE_PAGES) & (align - 1);
	uint64_t every = align < ZONE_PAGES ? UINT64_MAX / ((1ull << align) - 1) : 1;

	return first < ZONE_PAGES ? every << first : 0;
}

/** The same as pages_alloc() in zone z, at a multiple of `align` pages. A payload may begin with a zone: then the run
 *  begins a page before it, is of the kind SLAB_SKIP, and *ret_skip is 1. */
static uint64_t aligned_in(struct mem_heap *h, uint64_t z, uint64_t align, uint64_t n, uint64_t *ret_skip)
{
	const struct zone *u = zone_at(h, z);
	uint64_t fits = n < ZONE_PAGES ? bits_runs_of(u->free, n) & bits_aligned(h, z, align) : 0;
	uint64_t start = z * ZONE_PAGES + (fits ? bits_lowest(fits) : ZONE_PAGES - bits_tail(u->free));

	*ret_skip = 0;
	if (!fits) {
		if (!(u->free >> 63))
			return 0;
		start += (-((uintptr_t)h->base / SLAB_PAGE + start)) & (align - 1);
		if (start + n > unit_end(h, z))
			return 0;
		*ret_skip = start % ZONE_PAGES == 0;
	}
	pages_take(h, z, start - *ret_skip, n + *ret_skip, *ret_skip ? SLAB_SKIP : SLAB_LARGE);
	return start - *ret_skip;
}

static uint64_t pages_aligned(struct mem_heap *h, uint64_t align, uint64_t n, uint64_t *ret_skip)
{
	uint64_t z = zone_find(h, n), start = z ? aligned_in(h, z - 1, align, n, ret_skip) : 0;

	if (start || !z)
		return start;
	z = zone_find(h, n + align);	/* there it is certain */
	return z ? aligned_in(h, z - 1, align, n, ret_skip) : 0;
}

/* ---- growth ---- */

/** The heap has grown from `old` pages, 0: it is new. */
static void pages_extend(struct mem_heap *h, uint64_t old)
{
	struct page_roots *r = page_roots(h);
	uint64_t now = h->len / SLAB_PAGE, z = r->last, full = bits_up(old, ZONE_PAGES);
	struct zone *u = zone_at(h, z);

	HEAP_SET(h, r->end, now);
	if (!old) {
		unit_new(h, 0, 0, 0, now);
	} else if (old < (z + 1) * ZONE_PAGES) {	/* the last zone was not whole */
		uint64_t own = now < full ? now : full;

		zone_set(h, z, u->free | bits_between(old - z * ZONE_PAGES, own - z * ZONE_PAGES), now - own);
	} else if (u->free >> 63) {
		zone_set(h, z, u->free, u->extra + now - old);
	} else {					/* a run ends with a zone */
		if (old < full)
			HEAP_SET(h, u->extra, u->extra + (now < full ? now : full) - old);
		if (now > full)
			unit_new(h, full / ZONE_PAGES, z, 0, now - full);
	}
}

#endif	/* ---- what looks at the row, and trusts nothing ---- */

struct unit {
	uint64_t z, end;			/* page behind it */
	uint64_t pages;				/* of the first zone, with the header: up to 64 */
	uint64_t extra, free, list, prev;
};

/** Pages of the heap. False: not within what is there. */
static bool get_end(const struct mem_heap *h, uint64_t *ret_end)
{
	*ret_end = HEAP_GET(h, page_roots(h)->end);
	return *ret_end && *ret_end <= h->len / SLAB_PAGE && *ret_end <= LINK_NEXT && !HEAP_FAILED(h);
}

/** The unit that begins with zone z. False: there is none, or it does not end within `end`. */
static bool get_unit(const struct mem_heap *h, uint64_t z, uint64_t end, struct unit *ret)
{
	uint64_t extra, behind = (z + 1) * ZONE_PAGES;
	const struct zone *u;

	if (z >= end || z * ZONE_PAGES >= end)
		return false;
	u = zone_at(h, z);
	if (HEAP_GET(h, u->seal) != zone_seal(z))
		return false;
	extra = HEAP_GET(h, u->extra);
	if (extra && (behind > end || extra > end - behind || (extra % ZONE_PAGES && behind + extra != end)))
		return false;
	behind = behind < end ? behind : end;
	*ret = (struct unit){ .z = z, .end = behind + extra, .pages = behind - z * ZONE_PAGES, .extra = extra };
	ret->free = HEAP_GET(h, u->free);
	ret->list = HEAP_GET(h, u->list);
	ret->prev = HEAP_GET(h, u->prev);
	return !(ret->free & ~zone_own(ret->pages)) && !HEAP_FAILED(h);
}

static uint64_t get_tag(const struct mem_heap *h, uint64_t z, uint64_t i)
{
	return HEAP_GET(h, zone_at(h, z)->map[i / MAP_IN_WORD]) >> i % MAP_IN_WORD * MAP_BITS & 0xffff;
}

/** Pages of the run that begins with page i of the unit, a page that its zone has; 0: none begins there. */
static uint64_t get_run(const struct mem_heap *h, const struct unit *u, uint64_t i, unsigned *ret_kind)
{
	uint64_t tag = get_tag(h, u->z, i), bytes, n, left = u->pages - i + u->extra;
	bool free = u->free >> i & 1;

	*ret_kind = (unsigned)tag & MAP_KIND;
	if (!tag) {
		n = bits_run(u->free, i);
		return free && !(u->free >> (i - 1) & 1) ? (i + n == ZONE_PAGES ? n + u->extra : n) : 0;
	}
	if (free || *ret_kind >= SLAB_KINDS || tag != tag_of(*ret_kind, 0))
		return 0;			/* or it is in the middle of a run */
	n = slab_kinds[*ret_kind].pages;
	if (*ret_kind == SLAB_LARGE || *ret_kind == SLAB_SKIP) {
		bytes = HEAP_GET(h, zone_at(h, u->z)->slot[i].links);
		n = bytes / SLAB_PAGE + (*ret_kind == SLAB_SKIP);
		if (!bytes || bytes % SLAB_PAGE || bytes / SLAB_PAGE > left)
			return 0;
		if (i + n > ZONE_PAGES && n <= left)	/* and what it cannot use */
			return left - n < ZONE_PAGES ? left : 0;
	}
	return n && n <= u->pages - i ? n : 0;
}

/* ---- check ---- */

/** The unit's pages, one run after the other. `slab` looks into a slab. */
typedef const char *pages_slab_fn(const struct mem_heap *h, uint64_t page, unsigned kind, void *arg);

static const char *check_tags(const struct mem_heap *h, const struct unit *u, uint64_t from, uint64_t to, unsigned kind)
{
	for (uint64_t i = from; i < to; i++)
		if (get_tag(h, u->z, i) != (i - from < tags_of(kind, to - from) ? tag_of(kind, i - from) : 0) ||
		    (u->free >> i & 1) != !kind)
			return "a page's tag is not that of its run";
	return NULL;
}

static const char *check_runs(const struct mem_heap *h, const struct unit *u, pages_slab_fn *slab, void *arg)
{
	const char *what = NULL;
	uint64_t n, i = 1, to = 1;
	unsigned kind = SLAB_HEADER;

	for (; i < u->pages && !what && !HEAP_FAILED(h); i = to) {
		n = get_run(h, u, i, &kind);
		if (!n)
			return "no run begins where one ends";
		to = i + n < ZONE_PAGES ? i + n : ZONE_PAGES;
		what = check_tags(h, u, i, to, kind);
		if (!what && u->extra && to == ZONE_PAGES && i + n != ZONE_PAGES + u->extra)
			what = "a zone goes on, and its last run does not";
		if (!what && kind > SLAB_HEADER)
			what = slab(h, u->z * ZONE_PAGES + i, kind, arg);
	}
	for (i = u->pages; i < ZONE_PAGES && !what; i++)
		if (get_tag(h, u->z, i))
			what = "a page behind the end has a tag";
	return what;
}

static const char *check_unit(const struct mem_heap *h, uint64_t z, uint64_t end, uint64_t prev, bool prev_free,
			      struct unit *u)
{
	if (!get_unit(h, z, end, u))
		return "a unit's header is damaged";
	if (u->prev != prev)
		return "a unit does not name the one before";
	if (z && prev_free && u->free == zone_own(u->pages))
		return "free neighbours were not joined";
	if (u->list != zone_list(zone_longest(u->free, u->extra)))
		return "a zone does not know its longest free run";
	return get_tag(h, z, 0) == tag_of(SLAB_HEADER, 0) ? NULL : "a header's tag is damaged";
}

/** All units, up to the first fault: *ret_at is where. Counts those with free pages. */
static const char *check_units(const struct mem_heap *h, uint64_t end, pages_slab_fn *slab, void *arg, uint64_t *ret_at,
			       uint64_t *ret_listed)
{
	struct unit u = { .end = 0 };
	bool prev_free = false;
	const char *what = NULL;
	uint64_t prev = 0;

	for (uint64_t z = 0; u.end < end && !what && !HEAP_FAILED(h); z = u.end / ZONE_PAGES) {
		*ret_at = z << ZONE_SHIFT;
		what = check_unit(h, z, end, prev, prev_free, &u);
		if (!what)
			what = check_runs(h, &u, slab, arg);
		*ret_listed += u.list != 0;
		prev_free = u.free >> 63;
		prev = z;
	}
	if (!what && HEAP_GET(h, page_roots(h)->last) != prev)
		what = "the last unit is not the one that is named";
	return what;
}

/** Each unit that a list leads to, counted down from *left. */
static const char *check_list(const struct mem_heap *h, unsigned list, uint64_t end, uint64_t *ret_at, uint64_t *left)
{
	uint64_t before = 0, links;
	struct unit u;

	for (uint64_t z = HEAP_GET(h, page_roots(h)->zones[list]); z && !HEAP_FAILED(h); z = links & LINK_NEXT) {
		if (!(*left)--)
			return "more zones in the lists than have free pages";
		if (!get_unit(h, z - 1, end, &u) || u.list != list)
			return "a list leads to a zone that is not of it";
		*ret_at = (z - 1) << ZONE_SHIFT;
		links = HEAP_GET(h, zone_at(h, z - 1)->links);
		if (links >> 32 != before)
			return "a zone's prev is not the one before";
		before = z;
	}
	return NULL;
}

static const char *check_zone_lists(const struct mem_heap *h, uint64_t end, uint64_t *ret_at, uint64_t left)
{
	const char *what = NULL;
	uint64_t filled = 0;

	for (unsigned list = 0; list < (ZONE_LISTS + 63) / 64 * 64 && !what && !HEAP_FAILED(h); list++) {
		filled = list % 64 ? filled : HEAP_GET(h, page_roots(h)->filled[list / 64]);
		*ret_at = 0;
		if ((filled >> list % 64 & 1) != (list < ZONE_LISTS && HEAP_GET(h, page_roots(h)->zones[list])))
			return "a list's bit is not whether it is empty";
		if (list < ZONE_LISTS)
			what = check_list(h, list, end, ret_at, &left);
	}
	return what ? what : left ? "a zone with free pages is in no list" : NULL;
}

/** Bytes of the longest free run, as far as MEM_LOOKS zones tell. */
static uint64_t pages_largest(const struct mem_heap *h, uint64_t end)
{
	unsigned list = ZONE_LISTS, looks = MEM_LOOKS;
	uint64_t best = 0, z = 0, pages;
	struct unit u;

	while (!z && --list)
		z = HEAP_GET(h, page_roots(h)->zones[list]);
	for (; z && looks-- && get_unit(h, z - 1, end, &u); z = HEAP_GET(h, zone_at(h, z - 1)->links) & LINK_NEXT) {
		pages = zone_longest(u.free, u.extra);
		best = pages > best ? pages : best;
	}
	return best * SLAB_PAGE;
}

#endif /* MGR_SLAB_PAGES_H */
