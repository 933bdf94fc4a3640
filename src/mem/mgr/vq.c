/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vq: "very quick". Small requests are served by size classes, each with pages of its own that are never split or
 * searched; large ones by a stack of blocks that grows towards the pages. After the idea of vq_malloc of the SIP
 * Express Router (2002); docs/history.md says what was kept of it, and what was mended.
 *
 * A row of blocks without gaps, each with one header; a used header of size 0 ends it. Pages are cut from the low end
 * of a free block, large blocks from its high end, so that they meet in the middle of what is free:
 *
 *	| page | page | page |  free  ...                 ... | block | block | block | 0|USED prev |
 *	0                      ->                           <-                        END          len
 *
 *	block	| size|USED prev | payload ...			free: the links of its list in the payload
 *	page	| size|USED|PAGE prev | next prev | used shape | cell | cell | cell ...
 *	cell	| stride|CELL place | payload ...		place: bytes from the page's start, and which cell
 *
 * A page is a block that is cut into cells of one size, 16 to 1024 bytes of payload in steps of 16: a class for each,
 * so that nothing is rounded up. Its word `used` has a bit for each cell and is the one truth about them; a cell's
 * header stays as it is for the life of the page. `rooms` are lists of the pages that have a free cell, by the size of
 * their cells; `blocks` lists of the free blocks by theirs (free_lists.h).
 *
 * A small request takes the lowest free cell of the first page of its class. When no page has one, the class gets a
 * block for each of its first VQ_ASKS requests, then pages of 4, 8, 16, 32 cells; when there is no room for a page, a
 * block again. So a class that holds little takes little, and none takes what another could not have. A page whose last
 * cell comes back is a free block at once, joined with its free neighbours; when it was the last with room, the class
 * begins anew.
 *
 * Invariants (vq_check): sizes are multiples of 16, at least VQ_LEAST, and add up to END; `prev` is the size of the
 * block before; no two free blocks are neighbours; a free one is in the list of its size; a page has 2 cells or more,
 * within its size, one of them used at least; it is in the list of its class exactly when a cell is free; a cell's
 * header is that of its place; what is free is not marked. And for owns: a header that was given up is not USED.
 *
 * alloc, free, resize O(1); a new page up to 32 cells' headers. A block of a page or more is the first that fits of the
 * first VQ_LOOKS of its list, or the first of the next list; it can fail though one behind those would do.
 */
#include "mem/mgr/free_lists.h"

enum { VQ_HEAD = 16, VQ_LEAST = 32, VQ_USED = 1, VQ_MARK = 2, VQ_PAGE = 4, VQ_CELL = 8, VQ_BITS = 15 };
enum { VQ_SMALL = 1024, VQ_LOOKS = 16, VQ_IDLE_LOOKS = 64, VQ_OS_PAGE = 4096 };
enum { VQ_ASKS = 4, VQ_ASKS_MOST = VQ_ASKS + 3, VQ_FIRST_CELLS = 4, VQ_CELLS = 32, VQ_PAGE_BYTES = 8192 };

struct vq_head { uint64_t size, place; };	/* size with header, and the bits; place: prev, 0 for the first block */

struct vq_page {
	struct vq_head head;
	struct free_links rooms;
	uint64_t used, shape;			/* a bit for each cell; their number, and above it their size */
};

struct vq_roots {
	uint64_t end;				/* offset of the end mark */
	struct free_lists blocks, rooms;
	uint64_t asked[(VQ_SMALL + VQ_HEAD) / BINS_STEP + 1];	/* by class: how often no page had room */
};

enum { VQ_PAGE_HEAD = sizeof(struct vq_page), VQ_INDEX_SHIFT = 32, VQ_STRIDE_SHIFT = 32 };

_Static_assert(VQ_PAGE_HEAD % VQ_HEAD == 0 && offsetof(struct vq_page, rooms) == VQ_HEAD, "links are in the payload");
_Static_assert(VQ_PAGE_HEAD + 2 * (VQ_SMALL + VQ_HEAD) <= VQ_PAGE_BYTES, "a page with one used cell has room");
_Static_assert(VQ_FIRST_CELLS << (VQ_ASKS_MOST - VQ_ASKS) == VQ_CELLS && VQ_SMALL + VQ_HEAD < BINS_EXACT, "classes");

static struct vq_roots *roots(const struct mem_heap *h) { return (void *)h->roots; }
static struct vq_head *head_at(const struct mem_heap *h, uint64_t off) { return (void *)(h->base + off); }
static struct vq_page *page_at(const struct mem_heap *h, uint64_t off) { return (void *)(h->base + off); }

/** One bit for each of the `count` cells of a page. */
static uint64_t all_cells(uint64_t count) { return UINT64_MAX >> (64 - count); }

/** What the header of a cell says, bits apart. */
static uint64_t place_of(uint64_t stride, uint64_t i) { return (VQ_PAGE_HEAD + i * stride) | i << VQ_INDEX_SHIFT; }

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

static uint64_t size_of(const struct vq_head *f) { return f->size & ~(uint64_t)VQ_BITS; }
static bool is_used(const struct vq_head *f) { return f->size & VQ_USED; }
static struct vq_head *head_of(const void *p) { return (struct vq_head *)(uintptr_t)p - 1; }
static struct vq_head *next_of(struct vq_head *f) { return (void *)((char *)f + size_of(f)); }
static struct vq_head *prev_of(struct vq_head *f) { return (void *)((char *)f - f->place); }
static uint64_t off_of(const struct mem_heap *h, const void *at) { return (uintptr_t)at - (uintptr_t)h->base; }
static struct vq_head *behind(struct vq_head *f, uint64_t bytes) { return (void *)((char *)f + bytes); }

/** So many bytes and fragments more are free; negative: fewer. */
static inline void tally(struct mem_heap *h, uint64_t bytes, int fragments)
{
	HEAP_SET(h, h->tally->free_bytes, h->tally->free_bytes + bytes);
	if (fragments)
		HEAP_SET(h, h->tally->free_fragments, h->tally->free_fragments + (uint64_t)(int64_t)fragments);
}

/* ---- blocks ---- */

static void list(struct mem_heap *h, struct vq_head *f, uint64_t size)
{
	lists_push(h, &roots(h)->blocks, bins_of(size), off_of(h, f + 1));
}

static void unlist(struct mem_heap *h, struct vq_head *f)
{
	lists_remove(h, &roots(h)->blocks, bins_of(size_of(f)), off_of(h, f + 1));
}

/** The size of `f`, a free block in its list, becomes `size`: it stays in the list if that is the right one. */
static void relist(struct mem_heap *h, struct vq_head *f, uint64_t size)
{
	bool move = bins_of(size_of(f)) != bins_of(size);

	if (move)
		unlist(h, f);
	HEAP_SET(h, f->size, size);
	if (move)
		list(h, f, size);
}

/** The `size` bytes at `f`, before `next`, become a free block; its prev is set by whoever cuts before it. */
static void make_free(struct mem_heap *h, struct vq_head *f, uint64_t size, struct vq_head *next)
{
	HEAP_SET(h, f->size, size);
	HEAP_SET(h, next->place, size);
	list(h, f, size);
}

/** A free block of `need` bytes or more, or NULL. */
static struct vq_head *find(struct mem_heap *h, uint64_t need)
{
	struct free_lists *l = &roots(h)->blocks;
	unsigned bin = bins_of(need), looks = VQ_LOOKS;

	if (need >= BINS_EXACT) {	/* sizes in a list differ */
		for (uint64_t p = l->head[bin]; p && looks--; p = lists_links(h, p)->next)
			if (size_of(head_at(h, p - VQ_HEAD)) >= need)
				return head_at(h, p - VQ_HEAD);
		bin++;
	}
	bin = lists_find(h, l, bin);
	return bin < BINS_COUNT ? head_at(h, l->head[bin] - VQ_HEAD) : NULL;
}

/** Cut `need` bytes from the free block `f`, behind `pad` bytes that stay free; what is left behind them is free, too,
 *  if it makes a block. Returns the header, which is used, with `bits`. */
static struct vq_head *carve(struct mem_heap *h, struct vq_head *f, uint64_t pad, uint64_t need, unsigned bits)
{
	uint64_t have = size_of(f), rest = have - pad - need;
	struct vq_head *next = next_of(f), *taken = behind(f, pad);

	if (rest < VQ_LEAST)
		need += rest, rest = 0;
	tally(h, VQ_HEAD - have + (pad ? pad - VQ_HEAD : 0) + (rest ? rest - VQ_HEAD : 0),
	      (pad != 0) + (rest != 0) - 1);
	if (pad) {
		relist(h, f, pad);
		HEAP_SET(h, taken->place, pad);
	} else {
		unlist(h, f);
	}
	HEAP_SET(h, taken->size, need | VQ_USED | bits);
	if (rest) {
		HEAP_SET(h, behind(taken, need)->place, need);
		make_free(h, behind(taken, need), rest, next);
	} else if (pad) {
		HEAP_SET(h, next->place, need);
	}
	return taken;
}

/** A block from the high end of what is free. */
static void *alloc_block(struct mem_heap *h, uint64_t need)
{
	struct vq_head *f = find(h, need);
	uint64_t pad;

	if (!f)
		return NULL;
	pad = size_of(f) - need;
	return carve(h, f, pad < VQ_LEAST ? 0 : pad, need, 0) + 1;
}

/** The same, its payload at the last multiple of `align` that leaves room for it. */
static void *alloc_aligned(struct mem_heap *h, uint64_t align, uint64_t need)
{
	struct vq_head *f = align > h->len ? NULL : find(h, need + align + VQ_LEAST);
	uintptr_t payload;

	if (!f)
		return NULL;
	payload = ((uintptr_t)next_of(f) - (need - VQ_HEAD)) & ~(align - 1);
	return carve(h, f, payload - VQ_HEAD - (uintptr_t)f, need, 0) + 1;
}

/** The used block `f` is free now, one with its free neighbours. */
static void give(struct mem_heap *h, struct vq_head *f)
{
	struct vq_head *next = next_of(f), *prev = f->place && !is_used(prev_of(f)) ? prev_of(f) : NULL;
	uint64_t size = size_of(f), bytes = size - VQ_HEAD;
	int fragments = 1;

	if (!is_used(next)) {
		HEAP_SWALLOWED(h, off_of(h, next), off_of(h, f));
		unlist(h, next);
		size += size_of(next);
		bytes += VQ_HEAD, fragments--;
		next = next_of(next);
	}
	if (prev) {
		HEAP_SWALLOWED(h, off_of(h, f), off_of(h, prev));
		HEAP_SET(h, f->size, size_of(f));	/* given up: not USED, no page */
		size += size_of(prev);
		bytes += VQ_HEAD, fragments--;
		relist(h, prev, size);
		HEAP_SET(h, next->place, size);
	} else {
		make_free(h, f, size, next);
	}
	tally(h, bytes, fragments);
}

/** The end of the used block `f` moves into the free block behind it, in either direction, or makes one. */
static bool resize_block(struct mem_heap *h, struct vq_head *f, uint64_t need)
{
	struct vq_head *next = next_of(f), *behind_both = next;
	uint64_t had = size_of(f), have = had, rest, free_before = 0;

	if (!is_used(next)) {
		have += size_of(next);
		free_before = size_of(next) - VQ_HEAD;
		behind_both = next_of(next);
	}
	if (need > have)
		return false;
	rest = have - need;
	if (need == had || (have == had && rest < VQ_LEAST))
		return true;
	if (have > had) {
		HEAP_SWALLOWED(h, off_of(h, next), off_of(h, f));
		unlist(h, next);
	}
	if (rest < VQ_LEAST)
		need += rest, rest = 0;
	HEAP_SET(h, f->size, need | (f->size & VQ_BITS));
	if (rest) {
		HEAP_SET(h, behind(f, need)->place, need);
		make_free(h, behind(f, need), rest, behind_both);
	} else {
		HEAP_SET(h, behind_both->place, need);
	}
	tally(h, (rest ? rest - VQ_HEAD : 0) - free_before, (rest != 0) - (have > had));
	return true;
}

/* ---- pages ---- */

static uint64_t page_count(const struct vq_page *page) { return page->shape & UINT32_MAX; }
static struct vq_head *cell(struct vq_page *page, uint64_t stride, uint64_t i)
{
	return (void *)((char *)(page + 1) + i * stride);
}

/** A page of free cells of `stride` bytes, header included, in its list; the more the class has asked, the more.
 *  NULL: a block will do. */
static struct vq_page *page_new(struct mem_heap *h, uint64_t stride)
{
	uint64_t *times = &roots(h)->asked[stride / BINS_STEP], asked = *times;
	uint64_t count, most = (VQ_PAGE_BYTES - VQ_PAGE_HEAD) / stride;
	struct vq_head *f;
	struct vq_page *page;

	if (asked < VQ_ASKS_MOST)
		HEAP_SET(h, *times, asked + 1);
	if (asked < VQ_ASKS)
		return NULL;
	count = (uint64_t)VQ_FIRST_CELLS << (asked - VQ_ASKS);
	if (count > most)
		count = most;
	f = find(h, VQ_PAGE_HEAD + count * stride);
	if (!f)
		return NULL;
	page = (void *)carve(h, f, 0, VQ_PAGE_HEAD + count * stride, VQ_PAGE);
	HEAP_SET(h, page->used, 0);
	HEAP_SET(h, page->shape, count | stride << VQ_STRIDE_SHIFT);
	for (uint64_t i = 0; i < count; i++) {
		HEAP_SET(h, cell(page, stride, i)->size, stride | VQ_CELL);
		HEAP_SET(h, cell(page, stride, i)->place, place_of(stride, i));
	}
	lists_push(h, &roots(h)->rooms, (unsigned)(stride / BINS_STEP), off_of(h, &page->rooms));
	tally(h, count * (stride - VQ_HEAD), (int)count);
	return page;
}

static void *alloc_cell(struct mem_heap *h, uint64_t stride)
{
	unsigned bin = (unsigned)(stride / BINS_STEP), i;
	uint64_t p = roots(h)->rooms.head[bin], free;
	struct vq_page *page = p ? page_at(h, p - VQ_HEAD) : page_new(h, stride);

	if (!page)
		return NULL;
	free = ~page->used & all_cells(page_count(page));
	i = bits_lowest(free);
	HEAP_SET(h, page->used, page->used | 1ull << i);
	if (!(free & (free - 1)))
		lists_remove(h, &roots(h)->rooms, bin, off_of(h, &page->rooms));
	tally(h, VQ_HEAD - stride, -1);
	return cell(page, stride, i) + 1;
}

/** The page, with one used cell, becomes a free block. */
static void page_give(struct mem_heap *h, struct vq_page *page, uint64_t stride)
{
	struct vq_roots *r = roots(h);
	uint64_t count = page_count(page);
	unsigned bin = (unsigned)(stride / BINS_STEP);

	lists_remove(h, &r->rooms, bin, off_of(h, &page->rooms));
	if (!r->rooms.head[bin])		/* else a page would come and go with one fragment */
		HEAP_SET(h, r->asked[bin], 0);
	tally(h, (VQ_HEAD - stride) * (count - 1), 1 - (int)count);
	for (uint64_t i = 0; h->cursors->live && i < count; i++)
		HEAP_SWALLOWED(h, off_of(h, cell(page, stride, i)), off_of(h, page));
	give(h, &page->head);
}

static void free_cell(struct mem_heap *h, struct vq_head *f)
{
	uint64_t stride = size_of(f), i = f->place >> VQ_INDEX_SHIFT, used, left;
	struct vq_page *page = (void *)((char *)f - (f->place & UINT32_MAX));

	if (f->size & VQ_MARK)
		HEAP_SET(h, f->size, stride | VQ_CELL);
	used = page->used;
	left = used & ~(1ull << i);
	if (!left) {
		page_give(h, page, stride);
		return;
	}
	HEAP_SET(h, page->used, left);
	if (used == all_cells(page_count(page)))
		lists_push(h, &roots(h)->rooms, (unsigned)(stride / BINS_STEP), off_of(h, &page->rooms));
	tally(h, stride - VQ_HEAD, 1);
}

/* ---- the calls ---- */

static void *vq_alloc(struct mem_heap *h, size_t align, size_t size)
{
	void *p;

	if (align > VQ_HEAD)
		return alloc_aligned(h, align, size + VQ_HEAD);
	if (size <= VQ_SMALL && (p = alloc_cell(h, size + VQ_HEAD)))
		return p;
	return alloc_block(h, size + VQ_HEAD);
}

static void vq_free(struct mem_heap *h, void *p)
{
	struct vq_head *f = head_of(p);

	if (f->size & VQ_CELL)
		free_cell(h, f);
	else
		give(h, f);
}

static bool vq_resize(struct mem_heap *h, void *p, size_t size)
{
	struct vq_head *f = head_of(p);

	if (f->size & VQ_CELL)
		return size <= size_of(f) - VQ_HEAD;
	return resize_block(h, f, size + VQ_HEAD);
}

/** The old end mark becomes the header of a block up to the new one, which joins the last if that is free: the stack's
 *  next blocks come from there. */
static void vq_extend(struct mem_heap *h, uint64_t old_len)
{
	uint64_t off = old_len - VQ_HEAD, end = h->len - VQ_HEAD;

	HEAP_SET(h, head_at(h, off)->size, (end - off) | VQ_USED);
	HEAP_SET(h, head_at(h, end)->size, VQ_USED);
	HEAP_SET(h, head_at(h, end)->place, end - off);
	HEAP_SET(h, roots(h)->end, end);
	give(h, head_at(h, off));
}

/* An empty heap is one that has grown from nothing but an end mark. */
static int vq_init(struct mem_heap *h)
{
	vq_extend(h, VQ_HEAD);
	return 0;
}

static uint64_t vq_idle(struct mem_heap *h, uint64_t at, mem_idle_fn *fn)
{
	struct vq_head *f = head_at(h, at);

	for (unsigned looks = VQ_IDLE_LOOKS; size_of(f) && looks--; f = next_of(f)) {
		uint64_t off = off_of(h, f), page = bits_up(off + VQ_HEAD + sizeof(struct free_links), VQ_OS_PAGE);
		uint64_t end = bits_down(off + size_of(f), VQ_OS_PAGE);

		if (!is_used(f) && page < end)
			fn(h, page, end - page);
	}
	return size_of(f) ? off_of(h, f) : 0;
}

static size_t vq_usable(const struct mem_heap *h, const void *p) { (void)h; return size_of(head_of(p)) - VQ_HEAD; }
static bool vq_marked(const struct mem_heap *h, const void *p) { (void)h; return head_of(p)->size & VQ_MARK; }
static void vq_mark(struct mem_heap *h, void *p, bool on)
{
	HEAP_SET(h, head_of(p)->size, (head_of(p)->size & ~(uint64_t)VQ_MARK) | (on ? VQ_MARK : 0));
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

struct page { uint64_t off, size, used, count, stride; };

/** Where the row ends. False: not within what is there. */
static bool get_end(const struct mem_heap *h, uint64_t *ret_end)
{
	*ret_end = HEAP_GET(h, roots(h)->end);
	return *ret_end <= h->len - VQ_HEAD && *ret_end % VQ_HEAD == 0 && !HEAP_FAILED(h);
}

/** Size word of the block at `at`, below `end`. 0: it leads out of the row, or is no block's. */
static uint64_t get_word(const struct mem_heap *h, uint64_t at, uint64_t end)
{
	uint64_t word = HEAP_GET(h, head_at(h, at)->size), size = word & ~(uint64_t)VQ_BITS;

	return size >= VQ_LEAST && size <= end - at && !(word & VQ_CELL) ? word : 0;
}

/** The page at `off`, a multiple of 16 below `end`. False: there is none, or its cells do not fit into it. */
static bool get_page(const struct mem_heap *h, uint64_t off, uint64_t end, struct page *ret)
{
	uint64_t word = get_word(h, off, end), shape;

	if ((word & VQ_BITS) != (VQ_USED | VQ_PAGE) || word < VQ_PAGE_HEAD)
		return false;
	shape = HEAP_GET(h, page_at(h, off)->shape);
	*ret = (struct page){ .off = off, .size = word & ~(uint64_t)VQ_BITS, .used = HEAP_GET(h, page_at(h, off)->used),
			      .count = shape & UINT32_MAX, .stride = shape >> VQ_STRIDE_SHIFT };
	return ret->count >= 2 && ret->count <= VQ_CELLS && ret->stride % VQ_HEAD == 0 && ret->stride >= VQ_LEAST &&
	       ret->stride <= VQ_SMALL + VQ_HEAD && VQ_PAGE_HEAD + ret->count * ret->stride <= ret->size;
}

/** The fragment whose header is the cell at `at`, and what follows it. False: there is none. */
static bool get_cell(const struct mem_heap *h, uint64_t at, uint64_t end, struct mem_frag *ret, uint64_t *ret_next)
{
	uint64_t word = HEAP_GET(h, head_at(h, at)->size), place = HEAP_GET(h, head_at(h, at)->place);
	uint64_t back = place & UINT32_MAX, i = place >> VQ_INDEX_SHIFT;
	struct page page;

	if (!(word & VQ_CELL) || back > at || back % VQ_HEAD || !get_page(h, at - back, end, &page) ||
	    i >= page.count || place != place_of(page.stride, i) ||
	    (word & ~(uint64_t)VQ_MARK) != (page.stride | VQ_CELL))
		return false;
	*ret = (struct mem_frag){ head_at(h, at) + 1, page.stride - VQ_HEAD, page.used >> i & 1, word & VQ_MARK };
	*ret_next = i + 1 < page.count ? at + page.stride : page.off + page.size;
	return true;
}

/** The fragment at `at`, a multiple of 16 below `end`: a block, a cell, or the first cell of a page. */
static bool get_frag(const struct mem_heap *h, uint64_t at, uint64_t end, struct mem_frag *ret, uint64_t *ret_next)
{
	uint64_t word = HEAP_GET(h, head_at(h, at)->size), size;

	if (word & VQ_CELL)
		return get_cell(h, at, end, ret, ret_next);
	word = get_word(h, at, end);
	size = word & ~(uint64_t)VQ_BITS;
	if (!word)
		return false;
	if (word & VQ_PAGE)
		return size > VQ_PAGE_HEAD && get_cell(h, at + VQ_PAGE_HEAD, end, ret, ret_next);
	*ret = (struct mem_frag){ head_at(h, at) + 1, size - VQ_HEAD, word & VQ_USED, word & VQ_MARK };
	*ret_next = at + size;
	return true;
}

static uint64_t vq_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	struct mem_frag frag;
	uint64_t end;

	if (!get_end(h, &end) || at % VQ_HEAD)
		return MEM_WALK_FAULT;
	for (bool more = true; more && at < end && max--; ) {
		if (!get_frag(h, at, end, &frag, &at))
			return MEM_WALK_FAULT;
		more = fn(&frag, arg);
	}
	return HEAP_FAILED(h) ? MEM_WALK_FAULT : at < end ? at : 0;
}

#ifndef MEM_DOMAIN_VIEW
static bool vq_owns(const struct mem_heap *h, const void *p)
{
	uint64_t at = off_of(h, p) - VQ_HEAD, end, word, size, next;
	struct mem_frag frag;

	if (!get_end(h, &end) || at >= end)
		return false;
	if (head_at(h, at)->size & VQ_CELL)
		return get_cell(h, at, end, &frag, &next) && frag.used;
	word = get_word(h, at, end);
	size = word & ~(uint64_t)VQ_BITS;
	return (word & VQ_USED) && !(word & VQ_PAGE) && head_at(h, at + size)->place == size;
}
#endif

/** lists_size_fn of the free blocks */
static uint64_t free_size(const struct mem_heap *h, uint64_t p)
{
	uint64_t end, word;

	if (!get_end(h, &end) || p % VQ_HEAD || p < VQ_HEAD || p - VQ_HEAD >= end)
		return 0;
	word = get_word(h, p - VQ_HEAD, end);
	return word & VQ_BITS ? 0 : word;
}

/** lists_size_fn of the pages with room: the size of their cells */
static uint64_t room_size(const struct mem_heap *h, uint64_t p)
{
	struct page page;
	uint64_t end;

	if (!get_end(h, &end) || p % VQ_HEAD || p < VQ_HEAD || p - VQ_HEAD >= end)
		return 0;
	return get_page(h, p - VQ_HEAD, end, &page) && page.used != all_cells(page.count) ? page.stride : 0;
}

static const char *check_page(const struct mem_heap *h, uint64_t at, uint64_t end, uint64_t *rooms)
{
	struct mem_frag frag;
	struct page page;
	uint64_t next;

	if (!get_page(h, at, end, &page))
		return "the cells of a page do not fit into it";
	if (!page.used || page.used & ~all_cells(page.count))
		return "a page has no used cell, or more than it has";
	*rooms += page.used != all_cells(page.count);
	for (uint64_t i = 0; i < page.count; i++) {
		if (!get_cell(h, at + VQ_PAGE_HEAD + i * page.stride, end, &frag, &next) ||
		    next != (i + 1 < page.count ? at + VQ_PAGE_HEAD + (i + 1) * page.stride : at + page.size))
			return "the header of a cell is not that of its place";
		if (frag.marked && !frag.used)
			return "a free cell is marked";
	}
	return NULL;
}

static const char *check_one(const struct mem_heap *h, uint64_t at, uint64_t word, uint64_t before)
{
	if (!word)
		return "size leads out of the heap, or is no block's";
	if (HEAP_GET(h, head_at(h, at)->place) != (before & ~(uint64_t)VQ_BITS))
		return "prev is not the size of the block before";
	if (word & VQ_USED)
		return word & VQ_PAGE && word & VQ_MARK ? "a page is marked" : NULL;
	if (word & VQ_BITS)
		return "a free block is marked, or a page";
	return before && !(before & VQ_USED) ? "free neighbours were not joined" : NULL;
}

/** The row, up to the first fault. Counts its free blocks, and the pages with room. */
static const char *check_row(const struct mem_heap *h, uint64_t end, uint64_t *ret_at, uint64_t *free, uint64_t *rooms)
{
	uint64_t at = 0, word = VQ_USED, before = 0;
	const char *what = NULL;

	for (; at < end && !what && !HEAP_FAILED(h); at += word & ~(uint64_t)VQ_BITS, before = word) {
		*ret_at = at;
		word = get_word(h, at, end);
		what = check_one(h, at, word, before);
		if (!what && word & VQ_PAGE)
			what = check_page(h, at, end, rooms);
		*free += !(word & VQ_USED);
	}
	if (what)
		return what;
	*ret_at = end;
	if (HEAP_GET(h, head_at(h, end)->size) != VQ_USED ||
	    HEAP_GET(h, head_at(h, end)->place) != (before & ~(uint64_t)VQ_BITS))
		return "the end mark is damaged";
	return NULL;
}

static const char *check_asked(const struct mem_heap *h)
{
	for (unsigned i = 0; i < sizeof roots(h)->asked / sizeof roots(h)->asked[0]; i++)
		if (HEAP_GET(h, roots(h)->asked[i]) > VQ_ASKS_MOST)
			return "a class has asked more often than is counted";
	return NULL;
}

static unsigned vq_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)
{
	const char *what = "the end is out of the heap";
	uint64_t end, at = 0, free = 0, rooms = 0;
	unsigned faults = 0;

	if (get_end(h, &end)) {
		what = check_row(h, end, &at, &free, &rooms);
		what = what ? what : check_asked(h);
	}
	if (what && !HEAP_FAILED(h)) {		/* the first fault: what follows it cannot be judged */
		fn(&(struct mem_fault){ h->base + at, what }, arg);
		return 1;
	}
	faults += lists_check(h, &roots(h)->blocks, BINS_COUNT, &free, free_size, fn, arg);
	faults += lists_check(h, &roots(h)->rooms, BINS_COUNT, &rooms, room_size, fn, arg);
	if (!faults)
		faults = lists_check_left(h, free + rooms, fn, arg);
	if (HEAP_FAILED(h)) {
		fn(&(struct mem_fault){ h->base, "could not be read" }, arg);
		faults++;
	}
	return faults;
}

static uint64_t vq_largest(const struct mem_heap *h)
{
	uint64_t block = lists_largest(h, &roots(h)->blocks, MEM_LOOKS, free_size);
	uint64_t in_page = lists_largest(h, &roots(h)->rooms, 1, room_size);
	uint64_t most = block > in_page ? block : in_page;

	return most && !HEAP_FAILED(h) ? most - VQ_HEAD : 0;
}

/* The most stores: a first cell of a new page. Then, a last cell, whose page joins both neighbours. */
enum {
	VQ_TALLY = 2, VQ_RELIST = 1 + LISTS_REMOVE + LISTS_PUSH, VQ_MAKE_FREE = 2 + LISTS_PUSH,
	VQ_CARVE = VQ_TALLY + VQ_RELIST + 3 + VQ_MAKE_FREE,
	VQ_NEW = 1 + LISTS_FIND + VQ_CARVE + 2 + 2 * VQ_CELLS + LISTS_PUSH + VQ_TALLY,
	VQ_FIRST = VQ_NEW + 1 + LISTS_REMOVE + VQ_TALLY,
	VQ_GIVE = 2 * MEM_CURSORS + LISTS_REMOVE + 1 + VQ_RELIST + 1 + VQ_TALLY,
	VQ_LAST = 1 + LISTS_REMOVE + 1 + VQ_TALLY + MEM_CURSORS /* each stands on one cell */ + VQ_GIVE,
};
_Static_assert(VQ_FIRST > VQ_LAST && VQ_LAST > VQ_GIVE + 4 && LISTS_FIND + VQ_CARVE < 2 * VQ_CELLS, "VQ_FIRST is the most");

const struct mem_manager_ops MEM_OPS(vq) = {
	MEM_OPS_HEAD, .name = "vq",
	.summary = "very quick: pages of one size for what is small, a stack of blocks for the rest",
	.domains = MEM_PKG | MEM_SHM, .root_bytes = sizeof(struct vq_roots), .max_stores = VQ_FIRST,
	MEM_MUTATORS(.init = vq_init, .alloc = vq_alloc, .free = vq_free, .resize = vq_resize, .usable = vq_usable,
		     .extend = vq_extend, .idle = vq_idle, .mark = vq_mark, .marked = vq_marked, .owns = vq_owns,
		     .size_word = { ~(uint64_t)VQ_BITS, VQ_HEAD, VQ_HEAD })
	.walk = vq_walk, .check = vq_check, .largest = vq_largest,
};
