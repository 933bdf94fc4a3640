/* SPDX-License-Identifier: BSD-2-Clause */
/* Every manager in both domains passes the same tests: a manager is added here by being in managers.def. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <sys/mman.h>

#include "mem/base/bits.h"
#include "pool.h"

enum { LIVE = 48 };

struct held { unsigned char *p; size_t size; bool mark; };
struct model { struct held held[LIVE]; size_t count, marked; };

static struct undo_log undo;
static uint64_t seed = 1;

static size_t pick(size_t n) { return pick_from(&seed, n); }
static size_t some_size(const struct mem_manager_ops *ops)
{
	return mem_round(ops, 16 * (1 + pick(pick(8) ? 16 : 128)));
}

static void fill(struct held *x, int k) { memset(x->p, k, x->size); }
static bool intact(const struct held *x, int k)
{
	for (size_t i = 0; i < x->size; i++)
		if (x->p[i] != k)
			return false;
	return true;
}

/* What trim does: the kernel gives zeros when such a page is touched again. */
static void punch(struct mem_heap *h, uint64_t at, uint64_t len)
{
	cr_assert(at % PAGE == 0 && len % PAGE == 0 && len && at < h->len && len <= h->len - at, "idle names no pages");
	memset(h->base + at, 0, len);
}

static void expect_sound(const char *name, const struct mem_manager_ops *ops, struct mem_heap *h, const struct model *m)
{
	struct measure seen;
	const char *wrong = measure(ops, h, 7, &seen);

	cr_assert_null(wrong, "%s: %s", name, wrong);
	cr_assert_eq(seen.used, m->count, "%s: walk saw %zu, we hold %zu", name, (size_t)seen.used, m->count);
	cr_assert_eq(seen.marked, m->marked, "%s: walk saw %zu marks of %zu", name, (size_t)seen.marked, m->marked);
}

static size_t some_align(const struct mem_manager_ops *ops)
{
	return ops->flags & MEM_ALIGN16 ? 16 : (size_t)16 << pick(pick(4) ? 1 : 9);
}

static void call_alloc(const char *name, const struct mem_manager_ops *ops, struct mem_heap *h, struct model *m,
		       size_t k)
{
	struct held *x = &m->held[k];
	size_t size = some_size(ops), align = some_align(ops);

	x->p = ops->alloc(h, align, size);
	if (!x->p)
		return;
	cr_assert_eq((uintptr_t)x->p % align, 0u, "%s: not aligned to %zu", name, align);
	x->size = ops->usable(h, x->p);
	cr_assert_geq(x->size, size, "%s", name);
	if (ops->marked)
		cr_assert(!ops->marked(h, x->p), "%s: marked from the start", name);
	m->count++;
}

static void call_resize(const char *name, const struct mem_manager_ops *ops, struct mem_heap *h, struct held *x,
			size_t k)
{
	size_t size = some_size(ops), kept = size < x->size ? size : x->size;

	if (ops->resize(h, x->p, size)) {
		cr_assert_geq(ops->usable(h, x->p), size, "%s", name);
		cr_assert(intact(&(struct held){ .p = x->p, .size = kept }, (int)k), "%s: resize moved bytes", name);
	} else {
		cr_assert_gt(size, x->size, "%s: refused to shrink", name);
		cr_assert_eq(ops->usable(h, x->p), x->size, "%s: refused, and changed", name);
	}
	x->size = ops->usable(h, x->p);
	if (ops->marked)
		cr_assert_eq(ops->marked(h, x->p), x->mark, "%s: resize lost the mark", name);
}

static void one_call(const char *name, const struct mem_manager_ops *ops, struct mem_heap *h, struct model *m, size_t k)
{
	struct held *x = &m->held[k];

	cr_assert(!x->p || intact(x, (int)k), "%s: bytes of a fragment changed", name);
	if (!x->p) {
		call_alloc(name, ops, h, m, k);
	} else if (ops->mark && pick(4) == 0) {
		m->marked += (size_t)!x->mark - (size_t)x->mark;
		ops->mark(h, x->p, x->mark = !x->mark);
		cr_assert_eq(ops->marked(h, x->p), x->mark, "%s", name);
	} else if (pick(3) == 0) {
		call_resize(name, ops, h, x, k);
	} else {
		ops->free(h, x->p);
		m->count--;
		m->marked -= x->mark;
		*x = (struct held){ 0 };
	}
	if (x->p)
		fill(x, (int)k);
	undo_commit(&undo);
}

static void random_calls(const char *name, const struct mem_manager_ops *ops)
{
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, ops->extend ? pool_first(ops) : sizeof pool->data, &undo);
	struct model m = { .count = 0 };

	cr_assert_leq(ops->root_bytes, (size_t)ROOTS_BYTES, "%s", name);
	cr_assert_eq(ops->init(&h), 0);
	undo_commit(&undo);
	for (unsigned i = 0; i < 20000; i++) {
		one_call(name, ops, &h, &m, pick(LIVE));
		if (i % 5000 == 4999 && ops->extend && h.len < sizeof pool->data) {
			h.len += PAGE;
			ops->extend(&h, h.len - PAGE);
			undo_commit(&undo);
		}
		if (i % 16 == 0 && ops->idle)
			for (uint64_t at = 0; (at = ops->idle(&h, at, punch)); )
				;
		if (i % 8 == 0)
			expect_sound(name, ops, &h, &m);
	}
	free(pool);
}

EACH_MANAGER(conformance, random_calls_agree_with_a_model)
{
	random_calls(c->name, c->pkg);
	random_calls(c->name, c->shm);
}

EACH_MANAGER(conformance, the_three_builds_are_of_one_manager)
{
	const struct mem_manager_ops *const ops[] = { c->pkg, c->shm, c->view };

	for (size_t i = 0; i < 3; i++) {
		cr_assert_str_eq(ops[i]->name, c->name);
		cr_assert(ops[i]->size == sizeof *ops[i] && ops[i]->abi == MEM_MANAGER_ABI, "%s", c->name);
		cr_assert(ops[i]->summary && ops[i]->summary[0] && !strchr(ops[i]->summary, '\n'), "%s", c->name);
		cr_assert(ops[i]->domains & (MEM_PKG | MEM_SHM), "%s", c->name);
		cr_assert_eq(ops[i]->root_bytes % 8, 0u, "%s", c->name);
		cr_assert(ops[i]->walk && ops[i]->check, "%s", c->name);
		cr_assert_eq(!ops[i]->mark, !ops[i]->marked, "%s", c->name);
		cr_assert(i == 2 || !memcmp(&ops[i]->size_word, &c->pkg->size_word, sizeof ops[i]->size_word), "%s",
			  c->name);
	}
	cr_assert_lt(c->shm->max_stores, UNDO_MAX, "%s", c->name);
	cr_assert(c->shm->init && c->shm->alloc && c->shm->free && c->shm->resize && c->shm->usable, "%s", c->name);
	cr_assert(!c->view->init && !c->view->alloc && !c->view->free, "%s: an observer can change heaps", c->name);
}

EACH_MANAGER(conformance, a_full_heap_serves_again_after_extend)
{
	const struct mem_manager_ops *ops = c->shm;
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, pool_first(ops), &undo);
	struct model m = { .count = 0 };

	if (!ops->extend)
		cr_skip("%s keeps its first size", c->name);
	cr_assert_eq(ops->init(&h), 0);
	for (undo_commit(&undo); h.len < sizeof pool->data; undo_commit(&undo)) {
		for (; ops->alloc(&h, 16, mem_round(ops, 64)); undo_commit(&undo))
			m.count++;
		h.len += PAGE;
		ops->extend(&h, h.len - PAGE);
		undo_commit(&undo);
		cr_assert(ops->alloc(&h, 16, mem_round(ops, PAGE / 2)), "%s: no room after extend", c->name);
		m.count++;
		expect_sound(c->name, ops, &h, &m);
	}
	free(pool);
}

EACH_MANAGER(conformance, all_that_was_free_can_be_had_again_as_one)
{
	const struct mem_manager_ops *ops = c->shm;
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, sizeof pool->data, &undo);
	void *held[PAGES * PAGE / 32];
	size_t n;

	cr_assert_eq(ops->init(&h), 0);
	undo_commit(&undo);
	for (unsigned round = 0; round < 8; round++) {
		for (n = 0; (held[n] = ops->alloc(&h, 16, mem_round(ops, 16 * (1 + pick(8))))); n++)
			undo_commit(&undo);
		for (size_t left = n; left; undo_commit(&undo)) {
			size_t k = pick(left);

			ops->free(&h, held[k]);
			held[k] = held[--left];
		}
		cr_assert((held[0] = ops->alloc(&h, 16, mem_round(ops, 3 * sizeof pool->data / 4))), "%s: in pieces", c->name);
		ops->free(&h, held[0]);
		undo_commit(&undo);
		expect_sound(c->name, ops, &h, &(struct model){ .count = 0 });
	}
	free(pool);
}

EACH_MANAGER(conformance, every_alignment_up_to_2_MiB_is_served_and_given_back)
{
	const struct mem_manager_ops *ops = c->shm;
	const size_t len = 16 << 20;
	unsigned char *data = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, len, &undo);

	if (ops->flags & MEM_ALIGN16)
		cr_skip("%s serves 16 alone", c->name);
	cr_assert_neq(data, MAP_FAILED);
	h.base = data;
	cr_assert_eq(ops->init(&h), 0);
	undo_commit(&undo);
	for (unsigned round = 0; round < 200; round++) {
		struct model m = { .count = 0 };

		for (size_t k = 0; k < LIVE; k++, undo_commit(&undo)) {
			size_t align = (size_t)16 << pick(18);

			m.held[k].p = ops->alloc(&h, align, some_size(ops));
			cr_assert_eq((uintptr_t)m.held[k].p % align, 0u, "%s: %p at %zu", c->name, (void *)m.held[k].p, align);
			m.count += m.held[k].p != NULL;
		}
		cr_assert_gt(m.count, 20u, "%s: %zu served", c->name, m.count);
		expect_sound(c->name, ops, &h, &m);
		for (size_t k = 0; k < LIVE; k++, undo_commit(&undo))
			if (m.held[k].p)
				ops->free(&h, m.held[k].p);
		m.count = 0;
		expect_sound(c->name, ops, &h, &m);
	}
	munmap(data, len);
	free(pool);
}

struct pages { uint64_t at, len; bool used; const struct mem_heap *h; };

static bool overlaps(const struct mem_frag *f, void *arg)
{
	struct pages *idle = arg;
	uint64_t at = (uint64_t)((const unsigned char *)f->addr - idle->h->base);

	idle->used |= f->used && at < idle->at + idle->len && idle->at < at + f->size;
	return true;
}

static const struct mem_manager_ops *idle_ops;		/* mem_idle_fn has no argument */

static void nothing_used(struct mem_heap *h, uint64_t at, uint64_t len)
{
	struct pages idle = { .at = at, .len = len, .h = h };

	cr_assert(at % PAGE == 0 && len % PAGE == 0 && len && at < h->len && len <= h->len - at, "idle names no pages");
	idle_ops->walk(h, 0, UINT32_MAX, overlaps, &idle);
	cr_assert(!idle.used, "%s: idle names pages in use", idle_ops->name);
}

/** As the random calls above, from 16 bytes to a megabyte: what serves large sizes is another part of most managers. */
EACH_MANAGER(conformance, sizes_of_every_magnitude_agree_with_a_model)
{
	const struct mem_manager_ops *ops = c->shm;
	const size_t len = 24 << 20;
	unsigned char *data = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, len, &undo);
	struct model m = { .count = 0 };
	void *held[4 * LIVE] = { 0 };

	cr_assert_neq(data, MAP_FAILED);
	h.base = data;
	cr_assert_eq(ops->init(&h), 0);
	undo_commit(&undo);
	for (unsigned i = 0; i < 40000; i++, undo_commit(&undo)) {
		void **p = &held[pick(4 * LIVE)];
		size_t size = mem_round(ops, 1 + pick((size_t)32 << pick(16))), align = pick(8) ? 16 : some_align(ops);

		if (!*p) {
			*p = ops->alloc(&h, align, size);
			m.count += *p != NULL;
		} else if (pick(4) == 0) {
			ops->resize(&h, *p, size);
		} else {
			ops->free(&h, *p);
			*p = NULL;
			m.count--;
		}
		if (i % 8 == 0)
			expect_sound(c->name, ops, &h, &m);
		idle_ops = ops;
		if (i % 64 == 0 && ops->idle)
			for (uint64_t at = 0; (at = ops->idle(&h, at, nothing_used)); )
				;
	}
	munmap(data, len);
	free(pool);
}

EACH_MANAGER(conformance, usable_and_marked_of_any_address_come_back)
{
	const struct mem_manager_ops *ops = c->pkg;
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, sizeof pool->data, NULL);
	_Alignas(16) uint64_t words[4];
	uint64_t usable;

	cr_assert_eq(ops->init(&h), 0);
	for (unsigned i = 0; i < 100000; i++) {
		for (size_t k = 0; k < 4; k++)
			words[k] = (uint64_t)pick(1u << 31) << 33 ^ (uint64_t)pick(1u << 31) << pick(20);
		usable = ops->usable(&h, &words[2]);
		if (ops->size_word.mask)
			cr_assert_eq(mem_size_word(&ops->size_word, &words[2]), usable, "%s: size_word lies", c->name);
		if (ops->marked)
			ops->marked(&h, &words[2]);
	}
	free(pool);
}

/* ---- owns ---- */

static const struct held *held_at(const struct model *m, const unsigned char *p)
{
	for (size_t k = 0; k < LIVE; k++)
		if (m->held[k].p == p)
			return &m->held[k];
	return NULL;
}

/** What stands before a payload, MEM_PREV_FREE aside, where MEM_SEALED says that it tells all. */
static void expect_sealed(const char *name, const struct mem_manager_ops *ops, const struct mem_heap *h, uint64_t at,
			  const struct held *x)
{
	const uint64_t size_bits = (1ull << 48) - 16, head = ops->flags & MEM_HEAD8 ? 8 : 16;
	uint64_t word = *(const uint64_t *)(const void *)(h->base + at - head) & ~(uint64_t)MEM_PREV_FREE;
	uint64_t expected;

	if (x) {
		expected = mem_seal(at) | (ops->usable(h, x->p) + head) | MEM_USED |
			   (ops->marked(h, x->p) ? MEM_MARKED : 0);
		cr_assert_eq(word, expected, "%s: offset %zu: %#zx", name, (size_t)at, (size_t)word);
	} else {
		cr_assert_neq(word & ~size_bits & ~(uint64_t)MEM_MARKED, mem_seal(at) | MEM_USED, "%s: offset %zu", name,
			      (size_t)at);
	}
}

/** MEM_PAGED says that those that begin in one page have one size, and that the heap begins with none. */
static void expect_paged(const char *name, const struct mem_manager_ops *ops, const struct mem_heap *h,
			 const struct model *m)
{
	static size_t usable[PAGES];

	memset(usable, 0, sizeof usable);
	for (size_t k = 0; k < LIVE; k++) {
		const unsigned char *p = m->held[k].p;
		size_t *of_page = p ? &usable[(size_t)(p - h->base) / PAGE] : NULL;

		cr_assert(!p || p != h->base, "%s", name);
		cr_assert(!p || !*of_page || *of_page == ops->usable(h, p), "%s: two sizes begin in a page", name);
		if (p)
			*of_page = ops->usable(h, p);
	}
}

/** Every address that could be a fragment's is asked for: those held are owned, no others. */
static void expect_owned(const char *name, const struct mem_manager_ops *ops, const struct mem_heap *h,
			 const struct model *m)
{
	for (uint64_t at = 16; at < h->len; at += 16) {
		const struct held *x = held_at(m, h->base + at);

		cr_assert_eq(ops->owns(h, h->base + at), x != NULL, "%s: offset %zu", name, (size_t)at);
		if (ops->flags & MEM_SEALED)
			expect_sealed(name, ops, h, at, x);
	}
}

/** Nothing writes into the fragments: what the manager left there must not look like one. */
static void owns_without_user_bytes(const char *name, const struct mem_manager_ops *ops)
{
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, sizeof pool->data, &undo);
	struct model m = { .count = 0 };

	cr_assert_eq(ops->init(&h), 0);
	undo_commit(&undo);
	for (unsigned i = 0; i < 8000; i++, undo_commit(&undo)) {
		struct held *x = &m.held[pick(LIVE)];

		if (!x->p)
			x->p = ops->alloc(&h, some_align(ops), some_size(ops));
		else if (pick(4) == 0)
			ops->resize(&h, x->p, some_size(ops));
		else if (ops->mark && pick(4) == 0)
			ops->mark(&h, x->p, pick(2));
		else
			ops->free(&h, x->p), x->p = NULL;
		expect_owned(name, ops, &h, &m);
		if (ops->flags & MEM_PAGED)
			expect_paged(name, ops, &h, &m);
	}
	free(pool);
}

EACH_MANAGER(conformance, owns_tells_what_is_held_from_all_else)
{
	if (!c->pkg->owns)
		cr_skip("%s cannot tell", c->name);
	owns_without_user_bytes(c->name, c->pkg);
	owns_without_user_bytes(c->name, c->shm);
}

/** User bytes may deceive owns, but not make it read outside: behind the heap is nothing. */
EACH_MANAGER(conformance, owns_faults_nowhere_whatever_the_bytes)
{
	const struct mem_manager_ops *ops = c->pkg;
	const size_t len = pool_first(ops);
	unsigned char *data = mmap(NULL, len + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, len, NULL);

	if (!ops->owns)
		cr_skip("%s cannot tell", c->name);
	cr_assert_neq(data, MAP_FAILED);
	cr_assert_eq(mprotect(data, len, PROT_READ | PROT_WRITE), 0);
	h.base = data;
	cr_assert_eq(ops->init(&h), 0);
	for (size_t size = PAGE / 2; size; )
		if (!ops->alloc(&h, 16, mem_round(ops, size)))
			size = bits_down(size / 2, 16);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t *words = (uint64_t *)(void *)(data + 16 * pick(len / 16));

		words[0] =
			pick(2) ? 16 * pick(2 * len / 16) + pick(8) : (uint64_t)pick(1u << 31) << 33 ^ pick(1u << 31);
		words[1] = pick(2) ? 16 * pick(2 * len / 16) : UINT64_MAX - pick(64);
		ops->owns(&h, data + 16 * pick(len / 16));
	}
	munmap(data, len + PAGE);
	free(pool);
}

/* ---- walks go up ---- */

struct ladder { const struct mem_heap *h; uint64_t at, from; bool wrong; };

static bool climb(const struct mem_frag *f, void *arg)
{
	struct ladder *l = arg;
	uint64_t at = (uintptr_t)f->addr - (uintptr_t)l->h->base;

	l->wrong |= at <= l->at || at < l->from;
	l->at = at;
	return true;
}

EACH_MANAGER(conformance, a_walk_goes_up_and_goes_on_between_what_it_told_and_what_follows)
{
	const struct mem_manager_ops *ops = c->shm;
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, sizeof pool->data, &undo);
	struct model m = { .count = 0 };

	cr_assert_eq(ops->init(&h), 0);
	undo_commit(&undo);
	for (unsigned i = 0; i < 4000; i++) {
		struct ladder l = { .h = &h };

		one_call(c->name, ops, &h, &m, pick(LIVE));
		do {
			l.from = ops->walk(&h, l.from, (unsigned)(1 + pick(7)), climb, &l);
			cr_assert(!l.wrong, "%s: told below what was told before", c->name);
			cr_assert(!l.from || (l.from > l.at && l.from < h.len), "%s: goes on below what it told", c->name);
		} while (l.from);
	}
	free(pool);
}

/* ---- a walk that lets the lock go after 7 fragments ---- */

struct tour { struct model *m; unsigned visits[LIVE]; uint64_t at, end; bool stands; const struct mem_heap *h; };

static bool visit(const struct mem_frag *f, void *arg)
{
	struct tour *t = arg;

	for (size_t k = 0; k < LIVE; k++)
		t->visits[k] += f->used && t->m->held[k].p == f->addr;
	return true;
}

static void free_one(const struct mem_manager_ops *ops, struct mem_heap *h, struct model *m, size_t k)
{
	if (m->held[k].p)
		ops->free(h, m->held[k].p);
	m->held[k].p = NULL;
	undo_commit(&undo);
}

static bool first_addr(const struct mem_frag *f, void *arg)
{
	*(const void **)arg = f->addr;
	return false;
}

struct starts { const void *wanted; bool found; };

static bool is_start(const struct mem_frag *f, void *arg)
{
	struct starts *s = arg;

	s->found |= f->addr == s->wanted;
	return !s->found;
}

/** Where the walk would go on is where a whole walk finds a fragment, too, or the end. */
static bool stands_well(const struct mem_manager_ops *ops, const struct mem_heap *h, uint64_t at)
{
	struct starts s = { .wanted = NULL };
	uint64_t end = ops->walk(h, at, 1, first_addr, &s.wanted);

	if (end == MEM_WALK_FAULT || !s.wanted)
		return end == 0;
	ops->walk(h, 0, UINT32_MAX, is_start, &s);
	return s.found;
}

/** Of what is held the last one before `at`: it ends where the walk stands. */
static size_t last_before(const struct model *m, const unsigned char *at)
{
	size_t last = 0;

	for (size_t k = 0; k < LIVE; k++)
		if (m->held[k].p && m->held[k].p < at && (!m->held[last].p || m->held[k].p > m->held[last].p))
			last = k;
	return last;
}

EACH_MANAGER(conformance, a_walk_in_steps_sees_all_that_stays_while_others_free)
{
	const struct mem_manager_ops *ops = c->shm;
	struct pool *pool = pool_new();
	struct mem_heap h = pool_heap(pool, sizeof pool->data, &undo);

	cr_assert_eq(ops->init(&h), 0);
	undo_commit(&undo);
	for (unsigned round = 0; round < 1000; round++) {
		struct model m = { .count = 0 };
		struct tour t = { .m = &m, .h = &h };
		uint64_t *at = &pool->cursors.at[round % MEM_CURSORS];
		size_t k;

		for (k = 0; k < LIVE; k++, undo_commit(&undo))
			m.held[k].p = ops->alloc(&h, 16, mem_round(ops, 16 * (1 + pick(16))));
		pool->cursors.live = 1u << round % MEM_CURSORS;
		for (*at = 0; (*at = ops->walk(&h, *at, 7, visit, &t)); ) {
			cr_assert_neq(*at, MEM_WALK_FAULT, "%s: round %u", c->name, round);
			for (size_t n = pick(16); n--; ) {
				free_one(ops, &h, &m, pick(LIVE));
				cr_assert(stands_well(ops, &h, *at), "%s: round %u: cursor inside a fragment", c->name, round);
			}
			if (pick(4) == 0) {	/* what joins and splits meanwhile, and holds nothing after */
				void *p = ops->alloc(&h, 16, mem_round(ops, 16 * (1 + pick(128))));

				undo_commit(&undo);
				cr_assert(stands_well(ops, &h, *at), "%s: round %u: cursor inside a fragment", c->name, round);
				if (p)
					ops->free(&h, p);
				undo_commit(&undo);
			}
			if (m.held[k = pick(2) ? last_before(&m, h.base + *at) : pick(LIVE)].p) {
				m.held[k].mark |= ops->resize(&h, m.held[k].p, mem_round(ops, 16 * (1 + pick(32))));
				undo_commit(&undo);
				cr_assert(stands_well(ops, &h, *at), "%s: round %u: cursor inside a fragment", c->name, round);
			}
		}
		pool->cursors.live = 0;
		for (k = 0; k < LIVE; k++) {
			cr_assert(!m.held[k].p || t.visits[k] == 1 || (m.held[k].mark && t.visits[k]), "%s: seen %u times",
				  c->name, t.visits[k]);
			free_one(ops, &h, &m, k);
		}
	}
	free(pool);
}
