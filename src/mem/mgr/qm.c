/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * qm: best fit between guards. For debugging: damage is seen where it happened.
 *
 * A row of fragments without gaps from 0 to END, each with a head and a foot that both know its size:
 *
 *	| size|USED seal | payload ... | guard size | size seal | next prev ... | guard size |
 *	0   head                          foot       a free one: links in the payload		 END = len
 *
 * The size in a head, without the foot, is sealed by its place while the fragment is used (MEM_SEALED). `seal` is made
 * of size and place, `guard` of the place: a byte written past either end of the payload breaks one of them, and no
 * bytes copied from elsewhere pass for a head.
 *
 * Free fragments are found by size: a list for each size below a page (free_lists.h), above that a trie of sizes
 * (size_trie.h) for each eighth of a power of two. A request takes the smallest fragment that is large enough, whole or
 * its first part. What comes back is joined with free neighbours. A free fragment whose tags or links are damaged is
 * neither handed out nor joined, nor are its links followed: the heap lives on around it, and check goes on telling.
 *
 * Invariants (qm_check): the sizes add up from 0 to END, each a multiple of 16 and at least QM_LEAST; seal and guard
 * are whole, and the foot's size is the head's; no two free fragments are neighbours, unless one is damaged; a free one
 * is neither marked nor sealed and is in the list of its size. And for owns: a head that was given up has no size.
 *
 * 32 bytes a fragment. alloc, free, resize O(1): some 40 looks at most, a failing one too.
 */
#include "mem/mgr/row.h"
#include "mem/mgr/size_trie.h"

enum { QM_HEAD = 16, QM_OVER = 32, QM_FOOT = 16, QM_LEAST = 48 };
enum { QM_USED = MEM_USED, QM_MARK = MEM_MARKED, QM_BITS = 15 };
enum { QM_ALIGN_LOOKS = 8, QM_FIND_LOOKS = 6, QM_RESYNC = 1 << 16 };

#define QM_SIZE 0x0000fffffffffff0u
#define QM_SEAL 0xf0f0f0f0a5a5a5a5u
#define QM_GUARD 0xc0c0c0c0abcdefedu

struct qm_head { uint64_t size, seal; };	/* size with the head, the bits, and above them what seals a used one */
struct qm_foot { uint64_t guard, size; };	/* size of all */

struct qm_roots {
	uint64_t end;			/* offset */
	struct free_lists lists;
};

static struct qm_roots *qm_roots(const struct mem_heap *h) { return (void *)h->roots; }
static struct qm_head *qm_at(const struct mem_heap *h, uint64_t off) { return (void *)(h->base + off); }

#define END(h) (qm_roots(h)->end)
#define LISTS(h) (&qm_roots(h)->lists)

static uint64_t qm_seal(uint64_t at, uint64_t size) { return QM_SEAL ^ at ^ size << 20; }
static uint64_t qm_guard(uint64_t at) { return QM_GUARD ^ at; }

/** Bytes of the whole fragment with this word in its head. */
static uint64_t qm_bytes(uint64_t word) { return (word & QM_SIZE) + QM_FOOT; }

/** What stands in the word of the fragment at `at` with these bits, above and below its size. */
static uint64_t qm_around(uint64_t at, uint64_t bits) { return bits & QM_USED ? mem_seal(at + QM_HEAD) | bits : bits; }

/** Foot of the fragment of `size` bytes at `at`. */
static struct qm_foot *qm_foot(const struct mem_heap *h, uint64_t at, uint64_t size)
{
	return (struct qm_foot *)(void *)(h->base + at + size) - 1;
}

/** Whether `size` bytes at `at` can be a fragment: to be asked before it is followed. */
static bool qm_fits(uint64_t at, uint64_t size, uint64_t end)
{
	return at < end && size >= QM_LEAST && size <= end - at;
}

#ifndef MEM_DOMAIN_VIEW	/* ---- what changes a heap, or trusts it ---- */

static uint64_t qm_off(const struct mem_heap *h, const void *p) { return (uintptr_t)p - (uintptr_t)h->base - QM_HEAD; }
static uint64_t qm_size(const struct mem_heap *h, uint64_t at) { return qm_bytes(qm_at(h, at)->size); }
static void *qm_payload(const struct mem_heap *h, uint64_t at) { return h->base + at + QM_HEAD; }

/** lists_size_fn: the size of the fragment with payload `p`; 0: none is there that is free and has all its tags. */
static uint64_t qm_whole_free(const struct mem_heap *h, uint64_t p)
{
	uint64_t word, size, end = END(h), at = p - QM_HEAD;

	if (at >= end || p % 16)
		return 0;
	word = qm_at(h, at)->size;
	size = qm_bytes(word);
	return !(word & ~QM_SIZE) && qm_fits(at, size, end) && qm_at(h, at)->seal == qm_seal(at, size) &&
			       qm_foot(h, at, size)->guard == qm_guard(at) && qm_foot(h, at, size)->size == size
		       ? size
		       : 0;
}

/** lists_size_fn of the tries: a node needs the room of a large one. */
static uint64_t qm_whole_large(const struct mem_heap *h, uint64_t p)
{
	uint64_t size = qm_whole_free(h, p);

	return size >= BINS_EXACT ? size : 0;
}

static void qm_list(struct mem_heap *h, uint64_t at, uint64_t size)
{
	uint64_t *head = &LISTS(h)->head[bins_of(size)];

	if (size < BINS_EXACT && *head && !qm_whole_free(h, *head))	/* damaged, and so is what it links to */
		HEAP_SET(h, *head, 0);
	trie_or_list_insert(h, LISTS(h), at + QM_HEAD, size, qm_whole_large);
}

static void qm_unlist(struct mem_heap *h, uint64_t at)
{
	trie_or_list_remove(h, LISTS(h), at + QM_HEAD, qm_size(h, at), qm_whole_large);
}

/** `size` bytes at `at` are a fragment, its tags whole. What of them is right already is not stored again. */
static void qm_shape(struct mem_heap *h, uint64_t at, uint64_t size, uint64_t bits)
{
	struct qm_head *head = qm_at(h, at);
	struct qm_foot *foot = qm_foot(h, at, size);

	HEAP_SET(h, head->size, (size - QM_FOOT) | qm_around(at, bits));
	if (head->seal != qm_seal(at, size))
		HEAP_SET(h, head->seal, qm_seal(at, size));
	if (foot->guard != qm_guard(at))
		HEAP_SET(h, foot->guard, qm_guard(at));
	if (foot->size != size)
		HEAP_SET(h, foot->size, size);
}

static void qm_make_free(struct mem_heap *h, uint64_t at, uint64_t size)
{
	qm_shape(h, at, size, 0);
	qm_list(h, at, size);
}

/** The head at `at` is inside of another fragment now. */
static void qm_give_up(struct mem_heap *h, uint64_t at) { HEAP_SET(h, qm_at(h, at)->size, 0); }

/** Whether a free fragment is at `at`, with nothing wrong about its tags and links: only then it is touched. */
static bool qm_sound(const struct mem_heap *h, uint64_t at)
{
	uint64_t p = at + QM_HEAD, size = qm_whole_free(h, p);

	return size && (size < BINS_EXACT ? lists_agree(h, LISTS(h), bins_of(size), p, qm_whole_free) :
					    trie_agrees(h, LISTS(h), bins_of(size), p, qm_whole_large));
}

/** The free fragment before `at` that it can be joined with; `at`: there is none. */
static uint64_t qm_sound_before(const struct mem_heap *h, uint64_t at)
{
	uint64_t size = at ? qm_foot(h, 0, at)->size : 0;

	return size && size <= at && size % 16 == 0 && qm_sound(h, at - size) && qm_size(h, at - size) == size ?
	       at - size : at;
}

/** `size` free bytes at `at`, behind the row, become a part of it. */
static void qm_append(struct mem_heap *h, uint64_t at, uint64_t size)
{
	uint64_t first = qm_sound_before(h, at);

	if (first != at)
		qm_unlist(h, first);
	HEAP_SET(h, END(h), at + size);
	qm_make_free(h, first, at - first + size);
	row_tally(h, first != at ? size : size - QM_OVER, first == at);
}

static void qm_extend(struct mem_heap *h, uint64_t old_len) { qm_append(h, old_len, h->len - old_len); }

static int qm_init(struct mem_heap *h)
{
	qm_append(h, 0, h->len);
	return 0;
}

/* ---- alloc ---- */

/** The smallest fragment of the bin that has `need` bytes or more: offset of its payload, or 0. */
static uint64_t qm_find_in(const struct mem_heap *h, unsigned bin, uint64_t need)
{
	uint64_t p = bin < TRIE_FIRST ? LISTS(h)->head[bin] : trie_best(h, LISTS(h), bin, need, qm_whole_large);

	return p && qm_sound(h, p - QM_HEAD) ? p : 0;
}

/** The smallest fragment of `need` bytes or more, in QM_FIND_LOOKS bins: the first one has it, unless it is damaged. */
static uint64_t qm_find(struct mem_heap *h, uint64_t need)
{
	unsigned bin = bins_of(need);
	uint64_t p = 0;

	for (unsigned looks = 0; !p && bin < BINS_COUNT && looks < QM_FIND_LOOKS; looks++) {
		p = LISTS(h)->head[bin] ? qm_find_in(h, bin, need) : 0;
		if (!p)
			bin = lists_find(h, LISTS(h), bin + 1);
	}
	return p;
}

/** The same without a store. */
static uint64_t qm_seek(const struct mem_heap *h, uint64_t need)
{
	uint64_t p = 0;

	for (unsigned bin = bins_of(need); !p && bin < BINS_COUNT; bin = lists_seek(LISTS(h), bin + 1))
		p = LISTS(h)->head[bin] ? qm_find_in(h, bin, need) : 0;
	return p;
}

/** Cut `need` bytes from the listed fragment at `at`, behind `pad`, which becomes a fragment, as does the rest. */
static void *qm_cut(struct mem_heap *h, uint64_t at, uint64_t pad, uint64_t need)
{
	uint64_t size = qm_size(h, at), rest = size - pad - need;

	qm_unlist(h, at);
	if (rest < QM_LEAST)
		need += rest, rest = 0;
	qm_shape(h, at + pad, need, QM_USED);
	if (pad)
		qm_make_free(h, at, pad);
	if (rest)
		qm_make_free(h, at + pad + need, rest);
	row_tally(h, QM_OVER - size + (pad ? pad - QM_OVER : 0) + (rest ? rest - QM_OVER : 0),
		  (pad != 0) + (rest != 0) - 1);
	return qm_payload(h, at + pad);
}

/** Some fragments that may do, the smallest first, then one that must: there every start leaves room behind it. */
static void *qm_alloc_aligned(struct mem_heap *h, uint64_t align, uint64_t need)
{
	uint64_t p, at, pad, want = need;

	for (unsigned looks = 0; looks <= QM_ALIGN_LOOKS; looks++, want = qm_size(h, at) + 16) {
		if (looks == QM_ALIGN_LOOKS && want < need + align + QM_LEAST)
			want = need + align + QM_LEAST;
		if (want > h->len || !(p = qm_seek(h, want)))
			return NULL;
		at = p - QM_HEAD;
		pad = row_pad(qm_payload(h, at), align, QM_LEAST);
		if (qm_size(h, at) >= pad + need)
			return qm_cut(h, at, pad, need);
	}
	return NULL;
}

static void *qm_alloc(struct mem_heap *h, size_t align, size_t size)
{
	uint64_t need = size + QM_OVER, p;

	if (align > QM_HEAD)
		return align < h->len ? qm_alloc_aligned(h, align, need) : NULL;
	p = qm_find(h, need);
	return p ? qm_cut(h, p - QM_HEAD, 0, need) : NULL;
}

/* ---- free and resize ---- */

static void qm_free(struct mem_heap *h, void *p)
{
	uint64_t at = qm_off(h, p), size = qm_size(h, at), first = qm_sound_before(h, at), next = at + size, behind = 0;

	if (qm_sound(h, next))
		behind = qm_size(h, next);
	row_tally(h, size - QM_OVER + (first != at ? QM_OVER : 0) + (behind ? QM_OVER : 0),
		  1 - (first != at) - (behind != 0));
	if (behind) {
		HEAP_SWALLOWED(h, next, first);
		qm_unlist(h, next);
		qm_give_up(h, next);
	}
	if (first != at) {
		HEAP_SWALLOWED(h, at, first);
		qm_unlist(h, first);
		qm_give_up(h, at);
	}
	qm_make_free(h, first, at - first + size + behind);
}

static bool qm_resize(struct mem_heap *h, void *p, size_t size)
{
	uint64_t at = qm_off(h, p), had = qm_size(h, at), next = at + had, want = size + QM_OVER, behind = 0, rest;

	if (qm_sound(h, next))
		behind = qm_size(h, next);
	if (want > had + behind)
		return false;
	rest = had + behind - want;
	if (rest < QM_LEAST)
		want += rest, rest = 0;
	if (want == had)
		return true;
	if (behind) {
		HEAP_SWALLOWED(h, next, at);
		qm_unlist(h, next);
		qm_give_up(h, next);
	}
	qm_shape(h, at, want, qm_at(h, at)->size & QM_BITS);
	if (rest)
		qm_make_free(h, at + want, rest);
	row_tally(h, (rest ? rest - QM_OVER : 0) - (behind ? behind - QM_OVER : 0), (rest != 0) - (behind != 0));
	return true;
}

/* ---- the rest ---- */

static uint64_t qm_idle(struct mem_heap *h, uint64_t at, mem_idle_fn *fn)
{
	for (unsigned looks = ROW_IDLE_LOOKS; looks-- && at < END(h); at += qm_size(h, at))
		if (!(qm_at(h, at)->size & QM_USED))
			row_idle(h, at + QM_HEAD + sizeof(struct trie_node),
				 at + qm_size(h, at) - sizeof(struct qm_foot), fn);
	return at < END(h) ? at : 0;
}

static size_t qm_usable(const struct mem_heap *h, const void *p) { return qm_size(h, qm_off(h, p)) - QM_OVER; }
static bool qm_marked(const struct mem_heap *h, const void *p) { return qm_at(h, qm_off(h, p))->size & QM_MARK; }
static void qm_mark(struct mem_heap *h, void *p, bool on)
{
	struct qm_head *head = qm_at(h, qm_off(h, p));

	HEAP_SET(h, head->size, (head->size & ~(uint64_t)QM_MARK) | (on ? QM_MARK : 0));
}

static bool qm_owns(const struct mem_heap *h, const void *p)
{
	uint64_t at = qm_off(h, p), end = END(h), word;

	if (end > h->len || at >= end)
		return false;
	word = qm_at(h, at)->size;
	return (word & ~(QM_SIZE | QM_MARK)) == qm_around(at, QM_USED) && qm_fits(at, qm_bytes(word), end) &&
	       qm_at(h, at)->seal == qm_seal(at, qm_bytes(word));
}

#endif	/* ---- what looks at a heap, and trusts nothing ---- */

/** Where the row ends. false: not within what is there. */
static bool qm_bounds(const struct mem_heap *h, uint64_t *ret_end)
{
	uint64_t end = HEAP_GET(h, END(h));

	if (end > h->len || end < QM_LEAST || end % 16)
		return false;
	*ret_end = end;
	return true;
}

static bool qm_sealed(const struct mem_heap *h, uint64_t at, uint64_t size)
{
	return HEAP_GET(h, qm_at(h, at)->seal) == qm_seal(at, size);
}

/** Size word of the fragment at `at`, which two of its tags agree on. 0: it cannot be followed. */
static uint64_t qm_word(const struct mem_heap *h, uint64_t at, uint64_t end)
{
	uint64_t word = HEAP_GET(h, qm_at(h, at)->size), size = qm_bytes(word);

	if (!qm_fits(at, size, end) ||
	    (!qm_sealed(h, at, size) && (HEAP_GET(h, qm_foot(h, at, size)->size) != size ||
					 HEAP_GET(h, qm_foot(h, at, size)->guard) != qm_guard(at))))
		return 0;
	return word;
}

static uint64_t qm_walk(const struct mem_heap *h, uint64_t at, unsigned max, mem_walk_fn *fn, void *arg)
{
	uint64_t end, word, size;
	bool more = max;

	if (!qm_bounds(h, &end) || at > end || at % 16)
		return MEM_WALK_FAULT;
	for (; more && at < end; at += size) {
		word = qm_word(h, at, end);
		size = qm_bytes(word);
		if (!word)
			return MEM_WALK_FAULT;
		more = fn(&(struct mem_frag){ h->base + at + QM_HEAD, size - QM_OVER, word & QM_USED, word & QM_MARK },
			  arg) &&
		       --max;
	}
	return HEAP_FAILED(h) ? MEM_WALK_FAULT : at < end ? at : 0;
}

/** lists_size_fn of a heap that nobody should trust */
static uint64_t qm_free_size(const struct mem_heap *h, uint64_t p)
{
	uint64_t end, word;

	if (!qm_bounds(h, &end) || p % 16 || p < QM_HEAD || p - QM_HEAD >= end)
		return 0;
	word = qm_word(h, p - QM_HEAD, end);
	return !word || word & QM_BITS ? 0 : qm_bytes(word);
}

struct qm_checking {
	uint64_t end, free;		/* free fragments */
	bool lost, after_free;		/* a part of the row was not seen; the last one is free and whole */
	unsigned faults;
	mem_fault_fn *fn;
	void *arg;
};

static void qm_fault(const struct mem_heap *h, struct qm_checking *c, const void *at, const char *what)
{
	if (HEAP_FAILED(h))		/* the reason for all that is wrong since then; told once, at the end */
		return;
	c->fn(&(struct mem_fault){ at, what }, c->arg);
	c->faults++;
}

/** Every tag of the fragment at `at`, each broken one told at its own address. */
static void qm_check_one(const struct mem_heap *h, struct qm_checking *c, uint64_t at, uint64_t word)
{
	uint64_t size = qm_bytes(word), faults = c->faults;
	struct qm_foot *foot = qm_foot(h, at, size);
	bool used = word & QM_USED;

	if (!qm_sealed(h, at, size))
		qm_fault(h, c, &qm_at(h, at)->seal, "guard before a fragment was overwritten");
	if (HEAP_GET(h, foot->guard) != qm_guard(at))
		qm_fault(h, c, &foot->guard, used ? "guard behind a used fragment was overwritten" :
						    "guard behind a free fragment was overwritten");
	if (HEAP_GET(h, foot->size) != size)
		qm_fault(h, c, &foot->size, "size behind a fragment is not that before it");
	if ((word & ~QM_SIZE) != (used ? qm_around(at, QM_USED | (word & QM_MARK)) : 0))
		qm_fault(h, c, qm_at(h, at), used ? "size is not a multiple of 16, or not sealed" :
						    "a free fragment is marked, or its size is not a multiple of 16");
	else if (!used && c->after_free && c->faults == faults)
		qm_fault(h, c, qm_at(h, at), "free neighbours were not joined");
	c->after_free = !used && c->faults == faults;
	c->free += !used;
}

/** The next head behind damage, or `end`: none nearby. */
static uint64_t qm_resync(const struct mem_heap *h, uint64_t at, uint64_t end)
{
	for (unsigned looks = QM_RESYNC; looks-- && (at += 16) < end && !HEAP_FAILED(h); ) {
		uint64_t size = qm_bytes(HEAP_GET(h, qm_at(h, at)->size));

		if (qm_fits(at, size, end) && qm_sealed(h, at, size))
			return at;
	}
	return end;
}

static void qm_check_row(const struct mem_heap *h, struct qm_checking *c)
{
	uint64_t word;

	for (uint64_t at = 0; at < c->end && !HEAP_FAILED(h); ) {
		word = qm_word(h, at, c->end);
		if (word) {
			qm_check_one(h, c, at, word);
			at += qm_bytes(word);
			continue;
		}
		qm_fault(h, c, qm_at(h, at), "size and guard before a fragment were overwritten");
		c->lost = true;
		c->after_free = false;
		at = qm_resync(h, at, c->end);
	}
}

static unsigned qm_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)
{
	struct qm_checking c = { .fn = fn, .arg = arg };

	if (qm_bounds(h, &c.end)) {
		qm_check_row(h, &c);
		if (!c.lost)
			c.faults += trie_check_all(h, LISTS(h), c.free, qm_free_size, fn, arg);
	} else {
		qm_fault(h, &c, h->base, "end is out of the heap");
	}
	if (HEAP_FAILED(h)) {
		fn(&(struct mem_fault){ h->base, "could not be read" }, arg);
		c.faults++;
	}
	return c.faults;
}

static uint64_t qm_largest(const struct mem_heap *h)
{
	uint64_t size = trie_largest_of_all(h, LISTS(h), qm_free_size);

	return size ? size - QM_OVER : 0;
}

/* The most stores: a search that finds and cuts on both sides, a free between two free neighbours. */
enum {
	QM_SHAPE = 4,
	QM_MAKE = QM_SHAPE + TRIE_INSERT,	/* or with 1 + LISTS_PUSH */
	QM_CUT = QM_FIND_LOOKS * 2 + LISTS_FIND + TRIE_REMOVE + QM_SHAPE + 2 * QM_MAKE + 2,
	QM_JOIN = 2 * (MEM_CURSORS + TRIE_REMOVE + 1) + QM_MAKE + 2,
};

const struct mem_manager_ops MEM_OPS(qm) = {
	MEM_OPS_HEAD, .name = "qm",
	.summary = "best fit between guards: finds overruns, double and foreign frees; for development and for hunts",
	.domains = MEM_PKG | MEM_SHM, .flags = MEM_DEBUGS | MEM_SEALED, .root_bytes = sizeof(struct qm_roots),
	.max_stores = QM_CUT > QM_JOIN ? QM_CUT : QM_JOIN,
	MEM_MUTATORS(.init = qm_init, .alloc = qm_alloc, .free = qm_free, .resize = qm_resize, .usable = qm_usable,
		     .extend = qm_extend, .idle = qm_idle, .mark = qm_mark, .marked = qm_marked, .owns = qm_owns,
		     .size_word = { QM_SIZE, QM_HEAD, QM_HEAD })
	.walk = qm_walk, .check = qm_check, .largest = qm_largest,
};
