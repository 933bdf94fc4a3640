/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The view objects on heaps that nobody should trust.
 *
 * The observed addresses are a mapping without access: a load that does not go through the
 * reader kills the test. The reader's bytes have their exact size, for ASan, and it counts
 * every request for anything else.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <sys/mman.h>

#include "pool.h"

enum { LEN = 2 * PAGE, ROOTS = 64 };

struct source {
	struct mem_reader reader;	/* first: read() gets its address */
	uintptr_t base, roots_at;
	unsigned char *data;
	uint64_t *roots;
	unsigned outside, reads, fail_at;	/* fail_at: the read that is refused, 0: none */
};

static bool source_read(struct mem_reader *r, uintptr_t at, void *to, size_t bytes)
{
	struct source *s = (struct source *)(void *)r;
	uint64_t in_data = at - s->base, in_roots = at - s->roots_at, roots = r->root_bytes;

	if (++s->reads == s->fail_at)
		return false;
	if (in_data < LEN && bytes <= LEN - in_data)
		memcpy(to, s->data + in_data, bytes);
	else if (in_roots < roots && bytes <= roots - in_roots)
		memcpy(to, (unsigned char *)s->roots + in_roots, bytes);
	else
		return s->outside++, false;
	return true;
}

static struct mem_heap view_new(struct source *s, size_t root_bytes)
{
	unsigned char *no_access = mmap(NULL, LEN + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*s = (struct source){ .reader = { .read = source_read, .root_bytes = root_bytes },
			      .base = (uintptr_t)no_access,
			      .roots_at = (uintptr_t)no_access + LEN,
			      .data = malloc(LEN),
			      .roots = malloc(root_bytes) };
	return (struct mem_heap){
		.base = no_access, .len = LEN, .roots = (uint64_t *)s->roots_at, .reader = &s->reader
	};
}

static void source_free(struct source *s)
{
	munmap((void *)s->base, LEN + PAGE);
	free(s->data);
	free(s->roots);
}

static uint64_t seed = 1;
static size_t pick(size_t n) { return pick_from(&seed, n); }

static uint64_t some_damage(void)
{
	const uint64_t words[] = { 0,
				   1,
				   15,
				   16,
				   17,
				   32,
				   LEN - 16,
				   LEN,
				   LEN + 16,
				   UINT64_MAX,
				   UINT64_MAX - 15,
				   1ull << 63,
				   pick(2 * LEN),
				   16 * pick(2 * LEN / 16) + 1,
				   (uint64_t)pick(1u << 31) << 33 ^ pick(1u << 31) };

	return words[pick(sizeof words / sizeof words[0])];
}

struct seen { const struct mem_heap *h; size_t count; bool outside; };

static bool see(const struct mem_frag *f, void *arg)
{
	struct seen *s = arg;
	uint64_t at = (uintptr_t)f->addr - (uintptr_t)s->h->base;

	s->count++;
	s->outside |= at > LEN || f->size > LEN - at;
	return true;
}

static uint64_t walk_all(const struct mem_manager_ops *ops, struct seen *s, uint64_t at)
{
	s->count = 0;
	do
		at = ops->walk(s->h, at, (unsigned)(1 + pick(9)), see, s);
	while (at && at != MEM_WALK_FAULT && s->count <= LEN / 16);
	return at;
}

static void count_fault(const struct mem_fault *f, void *n) { (void)f; ++*(unsigned *)n; }

/** A heap after random calls, in the source. */
static size_t make_heap(const struct mem_manager_ops *ops, struct source *s, struct pool *pool)
{
	struct mem_heap h = pool_heap(memset(pool, 0, sizeof *pool), LEN, NULL);
	struct seen seen = { .h = &h };
	void *held[16] = { 0 };
	size_t sizes = pick(2) ? 2 : 16;	/* few: some managers have a part for those */

	cr_assert_eq(ops->init(&h), 0);
	for (unsigned i = 0; i < 60; i++) {
		void **p = &held[pick(16)];

		if (*p)
			ops->free(&h, *p), *p = NULL;
		else
			*p = ops->alloc(&h, 16, mem_round(ops, 16 * (1 + pick(sizes))));
	}
	memcpy(s->data, pool->data, LEN);
	memcpy(s->roots, pool->roots, s->reader.root_bytes);
	cr_assert_eq(walk_all(ops, &seen, 0), 0u);
	return seen.count;
}

EACH_MANAGER(view, a_damaged_heap_is_read_within_bounds_to_an_end)
{
	struct pool *pool = pool_new();
	struct source s;
	struct mem_heap h = view_new(&s, c->pkg->root_bytes);
	struct seen seen = { .h = &h };

	for (unsigned i = 0; i < 20000; i++) {
		size_t count = make_heap(c->pkg, &s, pool);
		unsigned faults = 0;

		s.reads = s.fail_at = 0, s.reader.failed = false;
		cr_assert_eq(walk_all(c->view, &seen, 0), 0u, "%s", c->name);
		cr_assert_eq(seen.count, count, "%s: the view saw %zu of %zu", c->name, seen.count, count);
		cr_assert_eq(c->view->check(&h, count_fault, &faults), 0u, "%s", c->name);

		s.fail_at = 1 + (unsigned)pick(s.reads), s.reads = 0;	/* the process went away */
		uint64_t end = walk_all(c->view, &seen, 0);
		cr_assert_eq(s.reader.failed, end == MEM_WALK_FAULT, "%s: a refused read was believed", c->name);
		unsigned told = c->view->check(&h, count_fault, &faults);
		cr_assert_eq(s.reader.failed, told == 1, "%s: a refused read was believed", c->name);

		for (size_t n = 1 + pick(8); n--; )
			((uint64_t *)(void *)s.data)[pick(LEN / 8)] = some_damage();
		if (pick(2))
			s.roots[pick(s.reader.root_bytes / 8)] = some_damage();
		s.fail_at = 0, s.reader.failed = false;
		walk_all(c->view, &seen, pick(2) ? 0 : some_damage());
		if (c->view->largest)
			cr_assert_leq(c->view->largest(&h), LEN, "%s", c->name);
		cr_assert_leq(seen.count, LEN / 16u, "%s: a walk without end", c->name);
		faults = 0;
		cr_assert_eq(c->view->check(&h, count_fault, &faults), faults, "%s", c->name);
		cr_assert(!seen.outside && !s.outside, "%s: read or told of bytes outside the heap", c->name);
	}
	free(pool);
	source_free(&s);
}

Test(view, a_load_outside_of_data_and_roots_is_refused_for_good)
{
	struct source s;
	struct mem_heap h = view_new(&s, ROOTS);
	const uintptr_t bad[] = { s.base - 8, s.base - 1, s.base + LEN - 7, s.roots_at + ROOTS - 7, s.roots_at + ROOTS,
				  0, UINTPTR_MAX - 7 };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		memset(s.data, 1, LEN);
		s.reader.failed = false;
		cr_assert_eq(heap_load(&h, (const uint64_t *)(s.base + LEN - 8)), 0x0101010101010101u);
		cr_assert_eq(heap_load(&h, (const uint64_t *)bad[i]), 0u);
		cr_assert(HEAP_FAILED(&h));
		cr_assert_eq(heap_load(&h, (const uint64_t *)s.base), 0u);
	}
	cr_assert_eq(s.outside, 0u);
	source_free(&s);
}
