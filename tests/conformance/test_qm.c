/* SPDX-License-Identifier: BSD-2-Clause */
/* qm among damage: each broken guard is told at its own address, and the heap goes on around it. */
#include <criterion/criterion.h>

#include "pool.h"

extern const struct mem_manager_ops qm_pkg_ops, qm_view_ops;

enum { SIZE = 64, FRAGMENTS = 8, TOLD = 16, LIVE = 24, LARGE = 1 << 20 };

static struct pool *pool;
static struct mem_heap heap;
static unsigned char *held[FRAGMENTS];

static void set_up(void)
{
	pool = pool_new();
	heap = pool_heap(pool, sizeof pool->data, NULL);
	cr_assert_eq(qm_pkg_ops.init(&heap), 0);
	for (unsigned i = 0; i < FRAGMENTS; i++) {
		held[i] = qm_pkg_ops.alloc(&heap, 16, SIZE);
		cr_assert_not_null(held[i]);
		memset(held[i], 0, SIZE);
	}
}

static void tear_down(void) { free(pool); }

struct told { unsigned count; struct mem_fault fault[TOLD]; };

static void tell(const struct mem_fault *f, void *arg)
{
	struct told *t = arg;

	if (t->count < TOLD)
		t->fault[t->count] = *f;
	t->count++;
}

static bool read_here(struct mem_reader *r, uintptr_t at, void *to, size_t bytes)
{
	(void)r;
	memcpy(to, (const void *)at, bytes);
	return true;
}

/** What check tells; an observer is told the same. */
static struct told check(void)
{
	struct mem_reader reader = { .read = read_here, .root_bytes = qm_view_ops.root_bytes };
	struct mem_heap view = { .base = heap.base, .len = heap.len, .roots = heap.roots, .reader = &reader };
	struct told told = { 0 }, seen = { 0 };

	cr_assert_eq(qm_pkg_ops.check(&heap, tell, &told), told.count);
	cr_assert_eq(qm_view_ops.check(&view, tell, &seen), told.count);
	for (unsigned i = 0; i < told.count && i < TOLD; i++)
		cr_assert(told.fault[i].at == seen.fault[i].at && !strcmp(told.fault[i].what, seen.fault[i].what));
	return told;
}

static void expect_fault(const struct told *t, unsigned i, const void *at, const char *what)
{
	cr_assert_gt(t->count, i, "no fault %u", i);
	cr_assert_eq(t->fault[i].at, at, "fault %u at %p, not %p: %s", i, t->fault[i].at, at, t->fault[i].what);
	cr_assert_str_eq(t->fault[i].what, what);
}

#define BEHIND "guard behind a used fragment was overwritten"
#define BEFORE "guard before a fragment was overwritten"

Test(qm, a_byte_too_far_is_told_at_its_guard, .init = set_up, .fini = tear_down)
{
	struct told t = check();

	cr_assert_eq(t.count, 0u);
	held[2][SIZE] ^= 1;
	t = check();
	cr_assert_eq(t.count, 1u);
	expect_fault(&t, 0, held[2] + SIZE, BEHIND);
	held[3][-1] ^= 0x80;
	held[5][SIZE + 7] ^= 0x80;
	t = check();
	cr_assert_eq(t.count, 3u);
	expect_fault(&t, 1, held[3] - 8, BEFORE);
	expect_fault(&t, 2, held[5] + SIZE, BEHIND);
}

Test(qm, behind_a_head_that_is_gone_the_row_goes_on, .init = set_up, .fini = tear_down)
{
	memset(held[1] + SIZE, 'x', 40);
	held[6][SIZE] ^= 1;
	struct told t = check();

	cr_assert_eq(t.count, 4u);
	expect_fault(&t, 0, held[1] + SIZE, BEHIND);
	expect_fault(&t, 1, held[1] + SIZE + 8, "size behind a fragment is not that before it");
	expect_fault(&t, 2, held[2] - 16, "size and guard before a fragment were overwritten");
	expect_fault(&t, 3, held[6] + SIZE, BEHIND);
	cr_assert(!qm_pkg_ops.owns(&heap, held[2]) && qm_pkg_ops.owns(&heap, held[1]));
}

Test(qm, a_free_fragment_that_was_written_to_is_left_alone, .init = set_up, .fini = tear_down)
{
	for (unsigned i = 1; i < 6; i += 2)
		qm_pkg_ops.free(&heap, held[i]);
	memset(held[3], 0x41, SIZE);	/* its links */
	for (unsigned i = 0; i < 3; i++)
		cr_assert_neq(qm_pkg_ops.alloc(&heap, 16, SIZE), held[3]);
	qm_pkg_ops.free(&heap, held[2]);
	qm_pkg_ops.free(&heap, held[4]);
	cr_assert_gt(check().count, 0u);
}

/* ---- best fit ---- */

struct fit { size_t need, best; const void *got; size_t got_size; };

static bool measure_fit(const struct mem_frag *f, void *arg)
{
	struct fit *fit = arg;

	if (!f->used && f->size >= fit->need && f->size < fit->best)
		fit->best = f->size;
	if (!f->used && fit->got == f->addr)
		fit->got_size = f->size;
	return true;
}

/** Of every magnitude, and many between one page and two. */
static size_t some_size(uint64_t *some)
{
	return pick_from(some, 3) ? 4096 + 16 * pick_from(some, 256)
				  : 16 + 16 * pick_from(some, (size_t)2 << pick_from(some, 13));
}

/** Among holes of all sizes. */
Test(qm, a_request_gets_the_smallest_that_is_large_enough, .init = set_up, .fini = tear_down)
{
	enum { HELD = 1500 };
	unsigned char *data = aligned_alloc(PAGE, 64 * LARGE), *p[HELD];
	uint64_t some = 5;

	memset(data, 0, 64 * LARGE);
	memset(pool->roots, 0, sizeof pool->roots);
	heap.base = data;
	heap.len = 64 * LARGE;
	cr_assert_eq(qm_pkg_ops.init(&heap), 0);
	for (unsigned i = 0; i < HELD; i++) {
		p[i] = qm_pkg_ops.alloc(&heap, 16, some_size(&some));
		cr_assert_not_null(p[i]);
	}
	for (unsigned i = 0; i < 20000; i++) {
		unsigned char **x = &p[pick_from(&some, HELD)];
		struct fit fit = { .need = some_size(&some), .best = SIZE_MAX };
		struct fit again = { .need = SIZE_MAX };

		if (*x) {
			qm_pkg_ops.free(&heap, *x);
			*x = NULL;
			continue;
		}
		qm_pkg_ops.walk(&heap, 0, UINT32_MAX, measure_fit, &fit);
		*x = qm_pkg_ops.alloc(&heap, 16, fit.need);
		cr_assert_eq(*x == NULL, fit.best == SIZE_MAX);
		if (!*x)
			continue;
		qm_pkg_ops.free(&heap, *x);	/* joined with its rest: what it was cut from */
		again.got = *x;
		qm_pkg_ops.walk(&heap, 0, UINT32_MAX, measure_fit, &again);
		cr_assert_eq(again.got_size, fit.best, "%zu for %zu, not %zu", again.got_size, fit.need, fit.best);
		*x = qm_pkg_ops.alloc(&heap, 16, fit.need);
	}
	free(data);
}

/* ---- a program that damages what it can reach, and goes on ---- */

static uint64_t seed = 3;
static size_t pick(size_t n) { return pick_from(&seed, n); }

struct piece { unsigned char *p; size_t size; };

static void damage(unsigned char *at, size_t bytes)
{
	uintptr_t end = (uintptr_t)heap.base + heap.len;

	for (; bytes && (uintptr_t)at + 8 <= end; at += 8, bytes -= 8)
		*(uint64_t *)(void *)at = pick(2) ? 16 * pick(heap.len / 16) : (uint64_t)pick(1u << 31) << 33;
}

/** As the front end: what owns() denies is not freed. Returns whether nothing overlaps what is held. */
static bool one_call(struct piece *live, struct piece *x, size_t size)
{
	unsigned char *was = x->p;

	if (!was) {
		x->p = qm_pkg_ops.alloc(&heap, pick(4) ? 16 : 64, size);
		x->size = x->p ? qm_pkg_ops.usable(&heap, x->p) : 0;
		for (struct piece *y = live; x->p && y < live + LIVE; y++)
			if (y != x && y->p && x->p < y->p + y->size && y->p < x->p + x->size)
				return false;
		return true;
	}
	x->p = NULL;
	if (!qm_pkg_ops.owns(&heap, was))
		return true;
	qm_pkg_ops.free(&heap, was);
	if (pick(8) == 0)		/* used after it was freed */
		damage(was, 16 * pick(4));
	return true;
}

static void go_on(size_t largest)
{
	struct piece live[LIVE] = { 0 };

	memset(pool->roots, 0, sizeof pool->roots);
	pool->tally = (struct mem_tally){ 0 };
	memset(heap.base, 0, heap.len);
	cr_assert_eq(qm_pkg_ops.init(&heap), 0);
	for (unsigned i = 0; i < 400; i++) {
		struct piece *x = &live[pick(LIVE)];

		cr_assert(one_call(live, x, 16 * (1 + pick(largest / 16))), "handed out twice");
		if (x->p && pick(16) == 0)		/* too far */
			damage(x->p + x->size, 8 * pick(6));
	}
	check();
}

Test(qm, the_heap_goes_on_around_damage, .init = set_up, .fini = tear_down)
{
	unsigned char *data = aligned_alloc(PAGE, LARGE);

	for (unsigned round = 0; round < 2000; round++)
		go_on(512);
	heap.base = data;
	heap.len = LARGE;
	for (unsigned round = 0; round < 400; round++)
		go_on(LARGE / 16);
	free(data);
}
