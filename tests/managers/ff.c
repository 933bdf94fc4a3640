/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ff: first fit over fragments in address order.
 *
 * A row of fragments without gaps, each with one header; a used header of size 0 ends it:
 *
 *	| size|USED prev | payload ... | size prev | payload ... | 0|USED prev |
 *	0                                                         END          len
 *
 * Invariants (ff_check): sizes are multiples of 16 and add up to END; `prev` is the size of
 * the fragment before; no two free fragments are neighbours; a free one is not marked.
 * And for owns: a header that was given up is not USED.
 *
 * alloc O(fragments), free O(1). A manager for the tests alone: small enough to be right by reading.
 * With FF_PLANTED one store of ff_split goes past the log: what the crash harness must find.
 */
#include "memapi/manager.h"

enum { FF_HEAD = 16, FF_USED = 1, FF_MARK = 2, FF_BITS = 15 };
enum { FF_TALLY = 2, FF_SPLIT = 4 + FF_TALLY, FF_SWALLOW = 2 + FF_TALLY + MEM_CURSORS };	/* stores of each */

struct ff_frag { uint64_t size, prev; };	/* size with header, and the bits; prev = 0 for the first */

#define END(h) ((h)->roots[0])		/* offset of the end mark */

static struct ff_frag *ff_at(const struct mem_heap *h, uint64_t off) { return (void *)(h->base + off); }

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

static uint64_t ff_size(const struct ff_frag *f) { return f->size & ~(uint64_t)FF_BITS; }
static bool ff_used(const struct ff_frag *f) { return f->size & FF_USED; }
static struct ff_frag *ff_of(const void *p) { return (struct ff_frag *)(uintptr_t)p - 1; }
static struct ff_frag *ff_next(struct ff_frag *f) { return (void *)((char *)f + ff_size(f)); }
static struct ff_frag *ff_prev(struct ff_frag *f) { return (void *)((char *)f - f->prev); }
static uint64_t ff_off(const struct mem_heap *h, const struct ff_frag *f) { return (uintptr_t)f - (uintptr_t)h->base; }

/** So many bytes and fragments more are free; negative: fewer. */
static void ff_tally(struct mem_heap *h, int64_t bytes, int fragments)
{
	HEAP_SET(h, h->tally->free_bytes, h->tally->free_bytes + (uint64_t)bytes);
	HEAP_SET(h, h->tally->free_fragments, h->tally->free_fragments + (uint64_t)(int64_t)fragments);
}

#ifdef FF_PLANTED
#define FF_SET(h, word, value) ((word) = (value))
#else
#define FF_SET HEAP_SET
#endif

/** Cut `f` after `size` bytes; the rest becomes a free fragment. */
static struct ff_frag *ff_split(struct mem_heap *h, struct ff_frag *f, uint64_t size)
{
	struct ff_frag *rest = (void *)((char *)f + size);

	HEAP_SET(h, rest->size, ff_size(f) - size);
	HEAP_SET(h, rest->prev, size);
	FF_SET(h, ff_next(rest)->prev, ff_size(rest));
	HEAP_SET(h, f->size, size | (f->size & FF_BITS));
	ff_tally(h, ff_used(f) ? (int64_t)ff_size(rest) - FF_HEAD : -FF_HEAD, 1);
	return rest;
}

/** Give the free fragment after `f` to `f`: headers change, bytes stay where they are. */
static void ff_swallow_next(struct mem_heap *h, struct ff_frag *f)
{
	ff_tally(h, ff_used(f) ? FF_HEAD - (int64_t)ff_size(ff_next(f)) : FF_HEAD, -1);
	HEAP_SWALLOWED(h, ff_off(h, ff_next(f)), ff_off(h, f));
	HEAP_SET(h, f->size, f->size + ff_size(ff_next(f)));
	HEAP_SET(h, ff_next(f)->prev, ff_size(f));
}

static void ff_free(struct mem_heap *h, void *p)
{
	struct ff_frag *f = ff_of(p);

	HEAP_SET(h, f->size, ff_size(f));
	ff_tally(h, (int64_t)ff_size(f) - FF_HEAD, 1);
	if (!ff_used(ff_next(f)))
		ff_swallow_next(h, f);
	if (f->prev && !ff_used(ff_prev(f)))
		ff_swallow_next(h, ff_prev(f));
}

/** The old end mark becomes the header of a fragment up to the new one; free joins it with the last. */
static void ff_extend(struct mem_heap *h, uint64_t old_len)
{
	uint64_t off = old_len - FF_HEAD, end = h->len - FF_HEAD;

	HEAP_SET(h, ff_at(h, off)->size, end - off);
	HEAP_SET(h, ff_at(h, end)->size, FF_USED);
	HEAP_SET(h, ff_at(h, end)->prev, end - off);
	HEAP_SET(h, END(h), end);
	ff_free(h, ff_at(h, off) + 1);
}

/* An empty heap is one that has grown from nothing but an end mark. */
static int ff_init(struct mem_heap *h) { ff_extend(h, FF_HEAD); return 0; }

static void *ff_alloc(struct mem_heap *h, size_t align, size_t size)
{
	uint64_t want = size + FF_HEAD;

	for (struct ff_frag *f = ff_at(h, 0); ff_size(f); f = ff_next(f)) {
		uint64_t pad = -(uintptr_t)(f + 1) & (align - 1);

		if (pad == FF_HEAD)				/* too small to be a fragment of its own */
			pad += align;
		if (ff_used(f) || ff_size(f) < pad + want)
			continue;
		if (pad)
			f = ff_split(h, f, pad);
		if (ff_size(f) - want > FF_HEAD)
			ff_split(h, f, want);
		ff_tally(h, FF_HEAD - (int64_t)ff_size(f), -1);
		HEAP_SET(h, f->size, f->size | FF_USED);
		return f + 1;
	}
	return NULL;
}

static bool ff_resize(struct mem_heap *h, void *p, size_t size)
{
	struct ff_frag *f = ff_of(p), *next = ff_next(f);
	uint64_t want = size + FF_HEAD, room = ff_size(f) + (ff_used(next) ? 0 : ff_size(next));

	if (room < want)
		return false;
	if (room > ff_size(f))
		ff_swallow_next(h, f);
	if (room - want > FF_HEAD)
		ff_split(h, f, want);
	return true;
}

static uint64_t ff_idle(struct mem_heap *h, uint64_t at, mem_idle_fn *fn)
{
	struct ff_frag *f = ff_at(h, at);

	for (unsigned max = 64; ff_size(f) && max--; f = ff_next(f)) {
		uint64_t page = (ff_off(h, f) + FF_HEAD + 4095) & ~4095ull, end = ff_off(h, ff_next(f)) & ~4095ull;

		if (!ff_used(f) && page < end)
			fn(h, page, end - page);
	}
	return ff_size(f) ? ff_off(h, f) : 0;
}

static size_t ff_usable(const struct mem_heap *h, const void *p) { (void)h; return ff_size(ff_of(p)) - FF_HEAD; }
static bool ff_marked(const struct mem_heap *h, const void *p) { (void)h; return ff_of(p)->size & FF_MARK; }
static void ff_mark(struct mem_heap *h, void *p, bool on)
{
	HEAP_SET(h, ff_of(p)->size, (ff_of(p)->size & ~(uint64_t)FF_MARK) | (on ? FF_MARK : 0));
}

static bool ff_owns(const struct mem_heap *h, const void *p)
{
	uint64_t at = ff_off(h, ff_of(p)), end = END(h), size;

	if (at >= end)
		return false;
	size = ff_size(ff_at(h, at));
	return ff_used(ff_at(h, at)) && size > FF_HEAD && size <= end - at && ff_at(h, at + size)->prev == size;
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

/** Where the row ends, never beyond what is there. */
static uint64_t ff_end(const struct mem_heap *h)
{
	uint64_t end = HEAP_GET(h, END(h)) & ~(uint64_t)FF_BITS;

	return end <= h->len - FF_HEAD ? end : h->len - FF_HEAD;
}

static uint64_t ff_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	uint64_t end = ff_end(h), word, size;

	if (at % FF_HEAD)
		return MEM_WALK_FAULT;
	for (bool more = true; more && at < end && max--; at += size) {
		word = HEAP_GET(h, ff_at(h, at)->size);
		size = word & ~(uint64_t)FF_BITS;
		if (size <= FF_HEAD || size > end - at)		/* before it is followed */
			return MEM_WALK_FAULT;
		more = fn(&(struct mem_frag){ ff_at(h, at) + 1, size - FF_HEAD, word & FF_USED, word & FF_MARK }, arg);
	}
	return HEAP_FAILED(h) ? MEM_WALK_FAULT : at < end ? at : 0;
}

static unsigned ff_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)
{
	uint64_t at = 0, end = ff_end(h), size = 0, prev = 0, word = FF_USED;
	const char *what = NULL;

	for (; at < end && !what; at += size, prev = size) {
		bool may_be_free = word & FF_USED;

		word = HEAP_GET(h, ff_at(h, at)->size);
		size = word & ~(uint64_t)FF_BITS;
		what = size <= FF_HEAD || size > end - at ? "size leads out of the heap" :
		       HEAP_GET(h, ff_at(h, at)->prev) != prev ? "prev is not the size of the fragment before" :
		       word & FF_USED ? NULL : word & FF_BITS ? "a free fragment is marked" :
		       may_be_free ? NULL : "free neighbours were not joined";
	}
	if (!what && (HEAP_GET(h, ff_at(h, end)->size) != FF_USED || HEAP_GET(h, ff_at(h, end)->prev) != prev))
		what = "end mark is damaged";
	if (HEAP_FAILED(h))
		what = "could not be read";
	if (what)			/* the first fault: what follows it cannot be judged */
		fn(&(struct mem_fault){ ff_at(h, at <= end ? at : end), what }, arg);
	return what != NULL;
}

static uint64_t ff_largest(const struct mem_heap *h)
{
	uint64_t at = 0, end = ff_end(h), best = 0, word, size;

	for (unsigned looks = MEM_LOOKS; at < end && looks--; at += size) {
		word = HEAP_GET(h, ff_at(h, at)->size);
		size = word & ~(uint64_t)FF_BITS;
		if (size <= FF_HEAD || size > end - at)
			break;
		if (!(word & FF_USED) && size - FF_HEAD > best)
			best = size - FF_HEAD;
	}
	return best;
}

const struct mem_manager_ops MEM_OPS(ff) = {
	MEM_OPS_HEAD, .name = "ff", .summary = "first fit in address order",
	.domains = MEM_PKG | MEM_SHM, .root_bytes = 8, .max_stores = 4 + 1 + FF_TALLY + 2 * FF_SWALLOW,
	MEM_MUTATORS(.init = ff_init, .alloc = ff_alloc, .free = ff_free, .resize = ff_resize, .usable = ff_usable,
		     .extend = ff_extend, .idle = ff_idle, .mark = ff_mark, .marked = ff_marked,
		     .owns = ff_owns)
	.walk = ff_walk, .check = ff_check, .largest = ff_largest,
};
