/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * slab's rows of zones, in heaps of many: transactions that are rolled back whole, sizes that shift, damaged headers.
 */
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "pool.h"

enum { ZONE = 64 * PAGE, MOST_ZONES = 16, LIVE = 400 };

extern const struct mem_manager_ops slab_pkg_ops, slab_shm_ops, slab_view_ops;

static struct undo_log undo;
static struct pool *pool;
static struct mem_heap heap;
static unsigned most;			/* stores of one call */
static uint64_t seed = 1;

static size_t pick(size_t n) { return pick_from(&seed, n); }

static void set_up(void)
{
	pool = pool_new();
	heap = pool_heap(pool, MOST_ZONES * ZONE, &undo);
	heap.base = mmap(NULL, MOST_ZONES * ZONE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(heap.base, MAP_FAILED);
	cr_assert_eq(slab_shm_ops.init(&heap), 0);
	undo_commit(&undo);
}

static void tear_down(void)
{
	munmap(heap.base, MOST_ZONES * ZONE);
	free(pool);
}

TestSuite(slab, .init = set_up, .fini = tear_down);

static void expect_sound(void)
{
	struct measure m;
	const char *wrong = measure(&slab_shm_ops, &heap, 7, &m);

	cr_assert_null(wrong, "%s", wrong);
}

static void done(void)
{
	most = undo_count(&undo) > most ? undo_count(&undo) : most;
	undo_commit(&undo);
}

static void *get(size_t align, size_t size)
{
	void *p = slab_shm_ops.alloc(&heap, align, size);

	done();
	return p;
}

static void give(void *p)
{
	slab_shm_ops.free(&heap, p);
	done();
}

/* ---- random calls over all zones, each rolled back before it is made ---- */

struct held { unsigned char *p; size_t size; };
struct call { unsigned kind; struct held *x; size_t align, size; };

static size_t some_size(void)
{
	static const size_t magnitude[] = { 64, 1024, 8192, 65536, 700000, 1500000 };

	return mem_round(&slab_shm_ops, 1 + pick(magnitude[pick(pick(4) ? 3 : 6)]));
}

static bool make(const struct call *c, void **ret)
{
	*ret = NULL;
	switch (c->kind) {
	case 0:
		*ret = slab_shm_ops.alloc(&heap, c->align, c->size);
		return *ret != NULL;
	case 1:
		slab_shm_ops.free(&heap, c->x->p);
		return true;
	case 2:
		return slab_shm_ops.resize(&heap, c->x->p, c->size);
	default:
		slab_shm_ops.mark(&heap, c->x->p, pick(2));
		return true;
	}
}

/** What a call that does not serve, or is rolled back, leaves is what there was, in headers and everywhere else. */
static void make_twice(const struct call *c, unsigned char *copy, struct pool *words, void **ret)
{
	memcpy(copy, heap.base, heap.len);
	memcpy(words, pool, sizeof *pool);
	make(c, ret);
	cr_assert_leq(undo_count(&undo), slab_shm_ops.max_stores, "%u stores", undo_count(&undo));
	undo_rollback(&undo, 0);
	undo_commit(&undo);
	cr_assert(!memcmp(copy, heap.base, heap.len) && !memcmp(words, pool, sizeof *pool), "a store is not logged");
	if (!make(c, ret)) {
		cr_assert(!memcmp(copy, heap.base, heap.len) && !memcmp(words, pool, sizeof *pool), "refused, and changed");
		if (c->kind == 2)
			cr_assert_gt(c->size, c->x->size, "refused to shrink");
	}
	done();
}

static struct call next_call(struct held *held)
{
	struct held *x = &held[pick(LIVE)];

	return (struct call){ .kind = x->p ? (unsigned)(1 + pick(3)) : 0, .x = x, .size = some_size(),
			      .align = pick(6) ? 16 : (size_t)16 << pick(18) };
}

static void expect_intact(const struct held *x, int k, size_t size)
{
	for (size_t i = 0; i < size; i += 16)
		cr_assert_eq(x->p[i], (unsigned char)k, "a byte of a fragment changed");
}

Test(slab, calls_over_many_zones_that_are_rolled_back_leave_nothing, .timeout = 100)
{
	static struct held held[LIVE];
	unsigned char *copy = malloc(MOST_ZONES * ZONE);
	struct pool *words = pool_new();
	void *p;

	munmap(heap.base, MOST_ZONES * ZONE);		/* it grows, too: by a page, by a zone and a bit */
	heap.base = mmap(NULL, MOST_ZONES * ZONE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(pool, 0, sizeof *pool);
	heap.len = 3 * PAGE;
	cr_assert_eq(slab_shm_ops.init(&heap), 0);
	undo_commit(&undo);
	pool->cursors.live = 0xff;
	for (unsigned i = 0; i < 6000; i++) {
		struct call c = next_call(held);
		int k = (int)(c.x - held);
		size_t was = c.x->size;

		if (i % 40 == 39 && heap.len < MOST_ZONES * ZONE) {
			uint64_t step = pick(2) ? PAGE * (1 + pick(70)) : ZONE + PAGE * pick(3), old = heap.len;

			heap.len = old + step < MOST_ZONES * ZONE ? old + step : MOST_ZONES * ZONE;
			slab_shm_ops.extend(&heap, old);
			done();
			expect_sound();
		}
		pool->cursors.at[pick(MEM_CURSORS)] =
			slab_shm_ops.walk(&heap, 0, (unsigned)(1 + pick(300)), measure_one, &(struct measure){ 0 });
		make_twice(&c, copy, words, &p);
		if (c.kind == 0 && p) {
			c.x->p = p;
			cr_assert_eq((uintptr_t)p % c.align, 0u);
		} else if (c.kind == 1) {
			*c.x = (struct held){ 0 };
		}
		if (c.x->p) {
			c.x->size = slab_shm_ops.usable(&heap, c.x->p);
			cr_assert(slab_shm_ops.owns(&heap, c.x->p));
			if (c.kind)
				expect_intact(c.x, k, was < c.x->size ? was : c.x->size);
			memset(c.x->p, k, c.x->size);
		}
		for (unsigned n = 0; n < MEM_CURSORS; n++)
			cr_assert_neq(
				slab_shm_ops.walk(&heap, pool->cursors.at[n], 1, measure_one, &(struct measure){ 0 }),
				MEM_WALK_FAULT, "a cursor stands where nothing begins");
		if (i % 8 == 0)
			expect_sound();
	}
	pool->cursors.live = 0;
	for (unsigned k = 0; k < LIVE; k++)
		if (held[k].p)
			give(held[k].p);
	expect_sound();
	cr_assert_eq(heap.tally->free_fragments, 1u, "not one again");
	cr_assert_gt(most, 50u, "no run was cut out of the middle of zones: %u stores", most);
	free(words);
	free(copy);
}

/* ---- runs of pages ---- */

Test(slab, after_all_is_freed_the_largest_free_run_is_the_start_s)
{
	const struct mem_tally start = *heap.tally;
	static void *held[MOST_ZONES * ZONE / 16];

	cr_assert_eq(slab_shm_ops.largest(&heap), (size_t)(MOST_ZONES * ZONE - PAGE));
	for (unsigned round = 0; round < 8; round++) {
		size_t n = 0;

		while ((held[n] = get(16, round % 4 == 3 ? some_size() : 16u << round)))
			n++;
		while (n) {
			size_t k = pick(n);

			give(held[k]);
			held[k] = held[--n];
		}
		cr_assert(!memcmp(&start, heap.tally, sizeof start), "round %u", round);
		expect_sound();
	}
}

Test(slab, a_large_fragment_grows_where_it_is_over_zones_that_are_free_and_shrinks_again)
{
	unsigned char *p = get(16, 20 * PAGE), *fence = get(16, 100 * PAGE), *q;

	for (size_t n = 21; n <= 40; n++) {
		cr_assert_eq(slab_shm_ops.resize(&heap, p, n * PAGE), p + n * PAGE <= fence || fence < p, "%zu", n);
		done();
	}
	give(fence);
	for (size_t n = 21; n < 900; n += 13) {
		cr_assert(slab_shm_ops.resize(&heap, p, n * PAGE), "%zu", n);
		done();
		cr_assert_eq(slab_shm_ops.usable(&heap, p), n * PAGE);
		expect_sound();
		q = get(16, 48);
		cr_assert(q && (q < p || q >= p + n * PAGE));
		give(q);
	}
	for (size_t n = 880; n; n -= n > 17 ? 17 : 1) {
		cr_assert(slab_shm_ops.resize(&heap, p, n * PAGE), "%zu", n);
		done();
		expect_sound();
	}
	give(p);
	cr_assert_eq(heap.tally->free_fragments, 1u);
}

/* A fragment that ends where a zone does. */
static unsigned char *up_to_a_zone_s_end(size_t *ret_size)
{
	for (*ret_size = ZONE / 2; *ret_size < 2 * ZONE; *ret_size += PAGE) {
		unsigned char *p = get(16, *ret_size);

		if ((size_t)(p + *ret_size - heap.base) % ZONE == 0)
			return p;
		give(p);
	}
	return NULL;
}

Test(slab, a_walk_in_a_zone_goes_on_when_a_fragment_grows_into_it_by_a_page)
{
	size_t size;
	unsigned char *p = up_to_a_zone_s_end(&size), *behind = get(16, 20 * PAGE);
	uint64_t *at = &pool->cursors.at[0], zone;

	cr_assert_not_null(p);
	zone = (uint64_t)(p + size - heap.base);
	cr_assert(behind > p && (uint64_t)(behind - heap.base) < zone + ZONE);
	pool->cursors.live = 1;
	for (*at = 0; *at <= zone; )
		*at = slab_shm_ops.walk(&heap, *at, 1, measure_one, &(struct measure){ 0 });
	give(behind);
	cr_assert(slab_shm_ops.resize(&heap, p, size + PAGE));
	done();
	cr_assert_neq(slab_shm_ops.walk(&heap, *at, 64, measure_one, &(struct measure){ 0 }), MEM_WALK_FAULT);
	pool->cursors.live = 0;
	expect_sound();
}

Test(slab, a_run_at_2_MiB_may_begin_where_a_header_would_be)
{
	for (size_t n = 1; n < 400; n += 37) {
		unsigned char *p = get(2 << 20, n * PAGE);

		cr_assert(p && (uintptr_t)p % (2 << 20) == 0, "%zu pages", n);
		cr_assert_eq(slab_shm_ops.usable(&heap, p), n * PAGE);
		cr_assert(slab_shm_ops.owns(&heap, p) && !slab_shm_ops.owns(&heap, p - PAGE));
		memset(p, 0xff, n * PAGE);
		slab_shm_ops.mark(&heap, p, true);
		cr_assert(slab_shm_ops.resize(&heap, p, (n + 1) * PAGE) && slab_shm_ops.marked(&heap, p));
		done();
		expect_sound();
		give(p);
	}
}

Test(slab, no_slab_lies_over_the_end_of_a_zone)
{
	unsigned char *p;

	for (size_t extra = 1; extra < 12; extra++)
		for (size_t size = 1152; size < 12000; size += 256) {
			memset(pool, 0, sizeof *pool);
			memset(heap.base, 0, 2 * ZONE);
			heap.len = ZONE + extra * PAGE;
			cr_assert_eq(slab_shm_ops.init(&heap), 0);
			undo_commit(&undo);
			get(16, 62 * PAGE);		/* a page of the zone is left, and what lies behind it */
			p = get(16, size);
			expect_sound();
			if (p)
				memset(p, 0xff, slab_shm_ops.usable(&heap, p));
			expect_sound();
		}
}

/* ---- memory ---- */

Test(slab, small_fragments_cost_a_little_more_than_their_bytes)
{
	static const struct {
		size_t size, bytes;
	} goals[] = { { 16, 24 }, { 32, 34 }, { 64, 66 }, { 112, 117 }, { 1008, 1050 } };

	for (size_t i = 0; i < sizeof goals / sizeof *goals; i++) {
		size_t n = 0;

		while (get(16, goals[i].size))
			n++;
		cr_assert_leq(heap.len / n, goals[i].bytes, "%zu of %zu bytes", n, goals[i].size);
		memset(pool, 0, sizeof *pool);
		memset(heap.base, 0, heap.len);
		cr_assert_eq(slab_shm_ops.init(&heap), 0);
		undo_commit(&undo);
	}
}

Test(slab, pages_of_one_size_are_another_s_once_they_are_empty)
{
	static void *held[MOST_ZONES * ZONE / 16];
	size_t n = 0, again = 0;

	while ((held[n] = get(16, 48)))
		n++;
	for (size_t k = 0; k < n; k++)
		if (k % 850 >= 85)		/* one page in ten stays */
			give(held[k]);
	while (get(16, 512))
		again++;
	cr_assert_gt(again * 512, heap.len * 85 / 100, "%zu bytes", again * 512);
	expect_sound();
}

/* ---- damage in headers behind the first ---- */

static void count_fault(const struct mem_fault *f, void *n) { (void)f; ++*(unsigned *)n; }

static bool told(void)
{
	unsigned n = 0;

	return slab_shm_ops.check(&heap, count_fault, &n) > 0 ||
	       measure(&slab_shm_ops, &heap, 7, &(struct measure){ 0 });
}

Test(slab, check_or_the_counters_find_every_bit_that_flips_in_what_a_zone_knows_of_its_pages)
{
	unsigned char *header = heap.base + ZONE, *p;

	for (unsigned i = 0; i < 200; i++)
		get(16, 16 * (1 + pick(200)));
	get(16, 70 * PAGE);
	p = get(16, 3 * PAGE);
	get(16, PAGE);
	give(p);
	cr_assert(!told());
	for (size_t byte = 0; byte < 128 + 5 * 8; byte++)	/* map, seal, prev, extra, free, list */
		for (unsigned bit = 0; bit < 8; bit++) {
			header[byte] ^= (unsigned char)(1u << bit);
			cr_assert(told(), "byte %zu, bit %u", byte, bit);
			header[byte] ^= (unsigned char)(1u << bit);
		}
	cr_assert(!told());
}
