/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stack: what is freed last-in first-out is had again at once, anything else when all behind it is free.
 *
 *	| size|bits prev | payload ... | size prev | hole ... | size|bits prev | payload ... | never used ... |
 *	0                                                      TOP - LAST                    TOP              END
 *
 * Invariants (stack_check): the sizes from 0 add up to TOP, each a multiple of 16; `prev` is the size of the fragment
 * before, LAST that of the last one, 0: none; HOLES and HOLE_BYTES count what is free below TOP.
 *
 * alloc O(1), free O(1) amortised. For programs that free in the reverse order: parsers, requests, recursions.
 */
#include <memapi/manager.h>

struct head { uint64_t size, prev; };		/* size with head; prev = 0 for the first */

enum { HEAD = sizeof(struct head), USED = 1, MARK = 2, BITS = 15, ROOTS = 5 * 8, TALLY = 2 };

#define TOP(h) ((h)->roots[0])
#define LAST(h) ((h)->roots[1])
#define HOLES(h) ((h)->roots[2])
#define HOLE_BYTES(h) ((h)->roots[3])
#define END(h) ((h)->roots[4])			/* what it was told of h->len: a word of the transaction */

static struct head *head_at(const struct mem_heap *h, uint64_t off) { return (void *)(h->base + off); }

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

static struct head *head_of(const void *p) { return (struct head *)(uintptr_t)p - 1; }
static uint64_t size_of(const struct head *f) { return f->size & ~(uint64_t)BITS; }
static size_t stack_usable(const struct mem_heap *h, const void *p) { (void)h; return size_of(head_of(p)) - HEAD; }
static bool stack_marked(const struct mem_heap *h, const void *p) { (void)h; return head_of(p)->size & MARK; }

/** Whose head is in use, and whose neighbour behind knows its size. */
static bool stack_owns(const struct mem_heap *h, const void *p)
{
	uint64_t off = (uintptr_t)p - (uintptr_t)h->base - HEAD, size;

	if (off >= TOP(h) || !(head_of(p)->size & USED))	/* below the first head off is huge */
		return false;
	size = size_of(head_of(p));
	if (size <= HEAD || size > TOP(h) - off)
		return false;
	return size == (off + size == TOP(h) ? LAST(h) : head_at(h, off + size)->prev);
}

/** The rest is a free fragment, too, once a head has room in it. */
static void tell(struct mem_heap *h)
{
	uint64_t rest = END(h) - TOP(h) > HEAD ? END(h) - TOP(h) - HEAD : 0;

	HEAP_SET(h, h->tally->free_bytes, HOLE_BYTES(h) + rest);
	HEAP_SET(h, h->tally->free_fragments, HOLES(h) + (rest != 0));
}

static void stack_extend(struct mem_heap *h, uint64_t old_len)
{
	(void)old_len;
	HEAP_SET(h, END(h), h->len);
	tell(h);
}

static int stack_init(struct mem_heap *h) { stack_extend(h, 0); return 0; }
static void stack_mark(struct mem_heap *h, void *p, bool on)
{
	HEAP_SET(h, head_of(p)->size, (head_of(p)->size & ~(uint64_t)MARK) | (on ? MARK : 0));
}

static void *stack_alloc(struct mem_heap *h, size_t align, size_t size)
{
	uint64_t need = size + HEAD;
	struct head *f = head_at(h, TOP(h));

	(void)align;				/* MEM_ALIGN16: always 16 */
	if (need > END(h) - TOP(h))
		return NULL;
	HEAP_SET(h, f->size, need | USED);
	HEAP_SET(h, f->prev, LAST(h));
	HEAP_SET(h, LAST(h), need);
	HEAP_SET(h, TOP(h), TOP(h) + need);
	tell(h);
	return f + 1;
}

static void stack_free(struct mem_heap *h, void *p)
{
	struct head *f = head_of(p);

	HEAP_SET(h, f->size, size_of(f));
	HEAP_SET(h, HOLES(h), HOLES(h) + 1);
	HEAP_SET(h, HOLE_BYTES(h), HOLE_BYTES(h) + f->size - HEAD);
	tell(h);
	while (LAST(h) && !((f = head_at(h, TOP(h) - LAST(h)))->size & USED)) {
		HEAP_COMMIT(h);			/* p is free; each step down is a transaction of its own */
		HEAP_SWALLOWED(h, TOP(h), TOP(h) - f->size);
		HEAP_SET(h, TOP(h), TOP(h) - f->size);
		HEAP_SET(h, LAST(h), f->prev);
		HEAP_SET(h, HOLES(h), HOLES(h) - 1);
		HEAP_SET(h, HOLE_BYTES(h), HOLE_BYTES(h) - (f->size - HEAD));
		tell(h);
	}
}

static bool stack_resize(struct mem_heap *h, void *p, size_t size)
{
	struct head *f = head_of(p);
	uint64_t off = (uint64_t)((unsigned char *)f - h->base), need = size + HEAD;

	if (off + LAST(h) != TOP(h) || need > END(h) - off)
		return need <= size_of(f);	/* only the last one has anything to grow into */
	HEAP_SWALLOWED(h, TOP(h), off + need < TOP(h) ? off + need : off);
	HEAP_SET(h, f->size, need | (f->size & BITS));
	HEAP_SET(h, LAST(h), need);
	HEAP_SET(h, TOP(h), off + need);
	tell(h);
	return true;
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

static uint64_t stack_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	uint64_t top = HEAP_GET(h, TOP(h)), end = HEAP_GET(h, END(h)), word, size;

	if (end > h->len || top > end || (top | end | at) % 16)
		return MEM_WALK_FAULT;
	for (bool more = true; more && at < end && end - at > HEAD && max--; at += size) {
		word = at < top ? HEAP_GET(h, head_at(h, at)->size) : end - at;
		size = word & ~(uint64_t)BITS;
		if (size <= HEAD || size > (at < top ? top : end) - at)	/* before it is followed */
			return MEM_WALK_FAULT;
		more = fn(&(struct mem_frag){ head_at(h, at) + 1, size - HEAD, word & USED, word & MARK }, arg);
	}
	return HEAP_FAILED(h) ? MEM_WALK_FAULT : at < end && end - at > HEAD ? at : 0;
}

static unsigned stack_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)
{
	uint64_t at = 0, top = HEAP_GET(h, TOP(h)), size, prev = 0, holes = 0, bytes = 0, word;

	for (; HEAP_GET(h, END(h)) <= h->len && top <= HEAP_GET(h, END(h)) && top % 16 == 0 && at < top;
	     at += size, prev = size) {
		word = HEAP_GET(h, head_at(h, at)->size);
		size = word & ~(uint64_t)BITS;
		if (size <= HEAD || size > top - at || HEAP_GET(h, head_at(h, at)->prev) != prev)
			break;
		holes += !(word & USED);
		bytes += word & USED ? 0 : size - HEAD;
	}
	if (at == top && prev == HEAP_GET(h, LAST(h)) && holes == HEAP_GET(h, HOLES(h)) &&
	    bytes == HEAP_GET(h, HOLE_BYTES(h)) && !HEAP_FAILED(h))
		return 0;
	fn(&(struct mem_fault){ h->base + at, "sizes, links and holes do not lead to top" }, arg);
	return 1;
}

const struct mem_manager_ops MEM_OPS(stack) = {
	MEM_OPS_HEAD, .name = "stack", .summary = "a stack: for programs that free in the reverse order of allocation",
	.domains = MEM_PKG | MEM_SHM, .flags = MEM_ALIGN16, .root_bytes = ROOTS, .max_stores = 4 + TALLY + MEM_CURSORS,
	MEM_MUTATORS(.init = stack_init, .alloc = stack_alloc, .free = stack_free, .resize = stack_resize,
		     .usable = stack_usable, .extend = stack_extend, .mark = stack_mark, .marked = stack_marked,
		     .owns = stack_owns)
	.walk = stack_walk, .check = stack_check,
};
