/* SPDX-License-Identifier: BSD-2-Clause */
/* vq's classes: what one gives back is everybody's, none starves another, and forged pages lead nowhere. */
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "pool.h"

enum { LEN = 1 << 20, SMALL = 1024, PAGE_HEAD = 48, HEAD = 16, CELL = 8, MARK = 2 };

extern const struct mem_manager_ops vq_pkg_ops, vq_shm_ops, vq_view_ops;

static struct undo_log undo;
static struct pool *pool;
static struct mem_heap heap;
static void *held[LEN / 32];
static unsigned most;			/* stores of one call */
static uint64_t seed = 1;

static size_t pick(size_t n) { return pick_from(&seed, n); }

static void set_up(void)
{
	pool = pool_new();
	heap = pool_heap(pool, LEN, &undo);
	heap.base = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(heap.base, MAP_FAILED);
	cr_assert_eq(vq_shm_ops.init(&heap), 0);
	undo_commit(&undo);
}

static void tear_down(void)
{
	munmap(heap.base, LEN);
	free(pool);
}

TestSuite(vq, .init = set_up, .fini = tear_down);

static void done(void)
{
	most = undo_count(&undo) > most ? undo_count(&undo) : most;
	undo_commit(&undo);
}

static void *get(size_t size)
{
	void *p = vq_shm_ops.alloc(&heap, 16, size);

	done();
	return p;
}

static void give(void *p)
{
	vq_shm_ops.free(&heap, p);
	done();
}

/** As many of `size` as there is room for; size 0: of random small sizes. */
static size_t fill(size_t size)
{
	size_t n = 0;

	while ((held[n] = get(size ? size : 16 * (1 + pick(SMALL / 16)))))
		n++;
	return n;
}

static void give_in_random_order(size_t n)
{
	while (n) {
		size_t k = pick(n);

		give(held[k]);
		held[k] = held[--n];
	}
}

static void expect_sound(void)
{
	struct measure m;
	const char *wrong = measure(&vq_shm_ops, &heap, 7, &m);

	cr_assert_null(wrong, "%s", wrong);
}

Test(vq, after_all_is_freed_the_largest_free_block_is_the_start_s)
{
	const struct mem_tally start = *heap.tally;
	const uint64_t largest = vq_shm_ops.largest(&heap);

	for (unsigned round = 0; round < 12; round++) {
		give_in_random_order(fill(round % 3 ? 16u << pick(7) : 0));
		cr_assert_eq(vq_shm_ops.largest(&heap), largest, "round %u", round);
		cr_assert(!memcmp(&start, heap.tally, sizeof start), "round %u", round);
		expect_sound();
	}
	cr_assert_leq(most, vq_shm_ops.max_stores, "%u stores", most);
	cr_assert_geq(most, 64u, "no page of 32 was made: %u stores", most);
}

Test(vq, a_class_leaves_to_another_all_that_it_does_not_hold)
{
	const size_t sizes[] = { 16, 48, 160, 512, 1024 };
	size_t alone[5], n;

	for (unsigned i = 0; i < 5; i++)
		give_in_random_order(alone[i] = fill(sizes[i]));
	for (unsigned i = 0; i < 5; i++)
		for (unsigned k = 0; k < 5; k++) {
			void *kept;

			n = fill(sizes[i]);
			kept = held[n / 2];
			held[n / 2] = held[n - 1];
			give_in_random_order(n - 1);
			n = fill(sizes[k]);
			cr_assert_geq(n, alone[k] - alone[k] / 50, "%zu after %zu: %zu of %zu", sizes[k], sizes[i], n, alone[k]);
			expect_sound();
			give_in_random_order(n);
			give(kept);
		}
}

Test(vq, one_fragment_that_comes_and_goes_does_not_make_a_page_each_time)
{
	unsigned stores = 0, rounds = 1000;

	for (unsigned i = 0; i < rounds; i++) {
		void *p = vq_shm_ops.alloc(&heap, 16, 64);

		stores += undo_count(&undo);
		undo_commit(&undo);
		vq_shm_ops.free(&heap, p);
		stores += undo_count(&undo);
		undo_commit(&undo);
	}
	cr_assert_lt(stores / rounds, 24u, "%u stores a pair", stores / rounds);
}

Test(vq, a_block_that_was_copied_upwards_grows_in_place_the_next_time)
{
	void *p = get(4096), *q = get(8192);

	give(p);
	cr_assert(!vq_shm_ops.resize(&heap, q, 16384));
	cr_assert(vq_shm_ops.resize(&heap, q, 8192 + 4096), "the hole behind it is its own");
	done();
	expect_sound();
}

/* ---- damage ---- */

static void count_fault(const struct mem_fault *f, void *n) { (void)f; ++*(unsigned *)n; }

static bool check_finds(void)
{
	unsigned n = 0;

	return vq_shm_ops.check(&heap, count_fault, &n) > 0 && n > 0;
}

static void flip_each_bit(unsigned char *at, size_t bytes, unsigned but, const char *where)
{
	for (size_t i = 0; i < bytes; i++)
		for (unsigned bit = 0; bit < 8; bit++) {
			if (i == 0 && but >> bit & 1)
				continue;
			at[i] ^= (unsigned char)(1u << bit);
			cr_assert(check_finds(), "%s: byte %zu, bit %u", where, i, bit);
			at[i] ^= (unsigned char)(1u << bit);
		}
}

/** The first of `count` cells, 64 bytes each, of a page that has room. */
static unsigned char *page_with_room(void)
{
	for (size_t n = 0; n < 4 + 4 + 2; n++)		/* 4 blocks, a page of 4, a page of 8 */
		held[n] = get(64);
	return held[8];
}

Test(vq, check_finds_every_bit_that_flips_in_a_header)
{
	unsigned char *cell = page_with_room(), *page = cell - HEAD - PAGE_HEAD, *block = held[0];

	cr_assert(!check_finds());
	flip_each_bit(cell - HEAD, HEAD, MARK, "cell");		/* a used one may be marked */
	flip_each_bit(cell + 3 * (64 + HEAD) - HEAD, HEAD, 0, "free cell");
	flip_each_bit(page, HEAD, 0, "page");
	flip_each_bit(page + 32, 16, 0xff, "used and shape");	/* whether a cell is used, the counters tell */
	for (unsigned bit = 0; bit < 8; bit++) {
		page[32] ^= (unsigned char)(1u << bit);
		cr_assert_not_null(measure(&vq_shm_ops, &heap, 7, &(struct measure){ 0 }), "used, bit %u", bit);
		page[32] ^= (unsigned char)(1u << bit);
	}
	flip_each_bit(block - HEAD, HEAD, MARK, "block");
	flip_each_bit(heap.base + LEN - HEAD, HEAD, 0, "end mark");
	flip_each_bit((unsigned char *)heap.roots, 8, 0, "where the row ends");
	cr_assert(!check_finds());
}

static bool read_here(struct mem_reader *r, uintptr_t at, void *to, size_t bytes)
{
	(void)r;
	memcpy(to, (const void *)at, bytes);
	return true;
}

static unsigned walk_to_an_end(const struct mem_manager_ops *ops, struct mem_heap *h)
{
	struct measure m = { 0 };
	uint64_t at = 0, before;
	unsigned steps = 0;

	do {
		before = at;
		at = ops->walk(h, at, 1, measure_one, &m);
		cr_assert(!at || at > before, "the walk went back");
		steps++;
	} while (at && at != MEM_WALK_FAULT);
	return steps;
}

/** A user's bytes may say that they are a cell, and a damaged page that it has more of them. */
Test(vq, a_forged_cell_leads_neither_back_nor_out)
{
	unsigned char *cell = page_with_room(), *page = cell - HEAD - PAGE_HEAD;
	struct mem_reader reader = { .read = read_here, .root_bytes = vq_view_ops.root_bytes };
	struct mem_heap view = { .base = heap.base, .len = LEN, .roots = heap.roots, .reader = &reader };
	uint64_t *shape = (uint64_t *)(void *)(page + 40), good = *shape, at;

	cr_assert_eq(*shape, 8 | (uint64_t)(64 + HEAD) << 32);
	for (uint64_t i = 8; i < 64; i++) {	/* where cells of a longer page would be */
		uint64_t *forged = (uint64_t *)(void *)(page + PAGE_HEAD + i * (64 + HEAD)), *word = forged;
		const uint64_t kept[2] = { word[0], word[1] };

		for (unsigned longer = 0; longer < 2; longer++) {
			word[0] = (64 + HEAD) | CELL;
			word[1] = (PAGE_HEAD + i * (64 + HEAD)) | i << 32;
			*shape = longer ? good + i - 7 : good;
			*(uint64_t *)(void *)(page + 32) = longer ? UINT64_MAX : 3;
			at = (uint64_t)((unsigned char *)forged - heap.base);
			at = vq_view_ops.walk(&view, at, 1, measure_one, &(struct measure){ 0 });
			cr_assert_eq(at, MEM_WALK_FAULT);
			cr_assert(!vq_pkg_ops.owns(&heap, forged + 2));
			reader.failed = false;
			walk_to_an_end(&vq_view_ops, &view);
			reader.failed = false;
		}
		*shape = good;
		*(uint64_t *)(void *)(page + 32) = 3;
		word[0] = kept[0], word[1] = kept[1];
	}
	((uint64_t *)(void *)cell)[4] = (64 + HEAD) | CELL;	/* inside of a payload: a page before the heap */
	((uint64_t *)(void *)cell)[5] = UINT32_MAX & ~15u;
	cr_assert(!vq_pkg_ops.owns(&heap, cell + 48));
	expect_sound();
}
