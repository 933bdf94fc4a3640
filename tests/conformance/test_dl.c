/* SPDX-License-Identifier: BSD-2-Clause */
/* What dl alone promises: 8 bytes a fragment, where requests are cut from, and that check sees each broken invariant.
 */
#include <criterion/criterion.h>

#include "pool.h"

extern const struct mem_manager_ops dl_pkg_ops;

enum { SIZE = 72, STEP = SIZE + 8, FRAGMENTS = 12, FREE = 3, ROOT_TOP = 0, ROOT_DV = 2, ROOT_DV_END = 3 };

static struct pool *pool;
static struct mem_heap heap;
static unsigned char *held[FRAGMENTS];

static unsigned char *get(size_t size)
{
	unsigned char *p = dl_pkg_ops.alloc(&heap, 16, size);

	cr_assert_not_null(p);
	return p;
}

static void set_up(void)
{
	pool = pool_new();
	heap = pool_heap(pool, sizeof pool->data, NULL);
	cr_assert_eq(dl_pkg_ops.init(&heap), 0);
	for (unsigned i = 0; i < FRAGMENTS; i++)
		held[i] = memset(get(SIZE), 0, SIZE);
}

static void tear_down(void) { free(pool); }

static void give_back(unsigned i)
{
	dl_pkg_ops.free(&heap, held[i]);
	held[i] = NULL;
}

static void expect_sound(void)
{
	struct measure m;
	const char *wrong = measure(&dl_pkg_ops, &heap, 7, &m);

	cr_assert_null(wrong, "%s", wrong);
}

/** A victim of 4 * STEP - 24 - 8 bytes: the first of it follows what was asked for. */
static unsigned char *make_victim(void)
{
	for (unsigned i = 2; i < 6; i++)
		give_back(i);
	return get(24);
}

Test(dl, a_fragment_costs_8_bytes, .init = set_up, .fini = tear_down)
{
	cr_assert_eq(held[0] - pool->data, 16);
	for (unsigned i = 1; i < FRAGMENTS; i++)
		cr_assert_eq(held[i] - held[i - 1], SIZE + 8);
}

Test(dl, small_requests_are_cut_from_the_victim_one_behind_the_other, .init = set_up, .fini = tear_down)
{
	unsigned char *first = make_victim();

	give_back(9); /* fits them, too, but no better than the victim for what comes together */
	cr_assert_eq(get(40) - first, 32);
	cr_assert_eq(get(24) - first, 32 + 48);
	expect_sound();
}

Test(dl, a_request_of_a_listed_size_takes_that, .init = set_up, .fini = tear_down)
{
	unsigned char *exact = held[9];

	make_victim();
	give_back(9);
	cr_assert_eq(get(SIZE), exact);
	expect_sound();
}

Test(dl, a_large_request_takes_the_smallest_that_is_large_enough, .init = set_up, .fini = tear_down)
{
	static const size_t sizes[] = { 1032, 328, 456, 392, 904 };
	unsigned char *p[5];

	for (unsigned i = 0; i < 5; i++) {
		p[i] = get(sizes[i]);
		get(24);
	}
	for (unsigned i = 0; i < 5; i++)
		dl_pkg_ops.free(&heap, p[i]);
	cr_assert_eq(get(360), p[3]);
	cr_assert_eq(get(424), p[2]);
	cr_assert_eq(get(264), p[1]);
	cr_assert_eq(get(488), p[4]);
	expect_sound();
}

Test(dl, a_large_request_takes_the_victim_only_where_that_fits_best, .init = set_up, .fini = tear_down)
{
	unsigned char *victim, *smaller = get(264), *larger;

	get(24), larger = get(1032), get(24);
	victim = make_victim() + 32;
	dl_pkg_ops.free(&heap, larger);
	dl_pkg_ops.free(&heap, smaller);
	cr_assert_eq(get(264), smaller);
	cr_assert_eq(get(264), victim);
	cr_assert_eq(get(264), larger);
	expect_sound();
}

Test(dl, a_victim_that_is_replaced_is_found_by_its_size, .init = set_up, .fini = tear_down)
{
	unsigned char *victim = make_victim() + 32;

	give_back(8), give_back(9);
	get(248);				/* all of the victim but 32 bytes */
	get(56);				/* more than is left: from 8 and 9, whose rest is the victim now */
	expect_sound();
	cr_assert_eq(get(24), victim + 256);
	expect_sound();
}

Test(dl, sizes_in_user_bytes_do_not_pass_for_a_head, .init = set_up, .fini = tear_down)
{
	for (uint64_t word = 0; word < 256; word++) {
		for (unsigned i = 0; i < SIZE / 8; i++)
			((uint64_t *)(void *)held[4])[i] = word;
		for (unsigned at = 16; at < SIZE; at += 16)
			cr_assert(!dl_pkg_ops.owns(&heap, held[4] + at), "%#zx at %u", (size_t)word, at);
	}
	cr_assert(dl_pkg_ops.owns(&heap, held[4]) && dl_pkg_ops.owns(&heap, held[5]));
}

static void first_fault(const struct mem_fault *f, void *what)
{
	if (!*(const char **)what)
		*(const char **)what = f->what;
}

/** With `word` changed check tells this first; then it is as it was. */
static void expect_told(uint64_t *word, uint64_t value, const char *what)
{
	uint64_t was = *word;
	const char *told = NULL;

	*word = value;
	cr_assert_gt(dl_pkg_ops.check(&heap, first_fault, &told), 0u, "not seen: %s", what);
	cr_assert_str_eq(told, what);
	*word = was;
	expect_sound();
}

static uint64_t *word_of(unsigned char *p, int i) { return (uint64_t *)(void *)p + i; }

Test(dl, check_sees_what_is_wrong_with_a_head_or_a_foot, .init = set_up, .fini = tear_down)
{
	unsigned char *listed = held[FREE];
	uint64_t *head = word_of(held[7], -1), *behind = word_of(held[FREE + 1], -1), *free_head = word_of(listed, -1);

	give_back(FREE);
	for (uint64_t bit = 1; bit; bit *= 2)
		if (bit == MEM_PREV_FREE)
			expect_told(head, *head ^ bit, "a fragment is wrong about the one before");
		else if (bit != MEM_MARKED)		/* which may be */
			expect_told(head, *head ^ bit, "the head of a fragment was overwritten");
	expect_told(behind, *behind ^ MEM_PREV_FREE, "a fragment is wrong about the one before");
	expect_told(word_of(listed + SIZE, -1), STEP + 16, "the foot of a free fragment is not its size");
	expect_told(free_head, STEP | MEM_MARKED, "the head of a fragment was overwritten");
	expect_told(free_head, STEP + 16, "the head of a fragment was overwritten");
}

Test(dl, check_sees_what_is_wrong_with_the_lists, .init = set_up, .fini = tear_down)
{
	unsigned char *listed = held[FREE];

	give_back(FREE);
	expect_told(word_of(listed, 0), (uint64_t)(listed - pool->data), "more fragments in the lists than are free");
	give_back(FREE + 2);			/* before the other one, which is its next */
	expect_told(word_of(listed + 2 * STEP, 0), (uint64_t)(held[7] - pool->data),
		    "a list leads to what is not a free fragment");
	expect_told(word_of(listed, 1), 0, "a free fragment's prev is not the one before");
}

Test(dl, check_sees_what_is_wrong_with_victim_and_top, .init = set_up, .fini = tear_down)
{
	const char out[] = "top, end or victim is out of the heap";
	uint64_t *roots = pool->roots, top = roots[ROOT_TOP];

	make_victim();
	cr_assert_gt(roots[ROOT_DV], 0u);
	expect_told(&roots[ROOT_DV], 0, out);
	expect_told(&roots[ROOT_DV], roots[ROOT_DV] + 8, out);
	expect_told(&roots[ROOT_DV_END], top, out);
	expect_told(&roots[ROOT_DV_END], roots[ROOT_DV], out);
	expect_told(&roots[ROOT_TOP], heap.len, out);
	expect_told(&roots[ROOT_TOP], top - 48, "the head of a fragment was overwritten");
	roots[ROOT_DV] = roots[ROOT_DV_END] = 0;
	cr_assert_gt(dl_pkg_ops.check(&heap, first_fault, &(const char *){ NULL }), 0u, "a victim that is lost");
}
