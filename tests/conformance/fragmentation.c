/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool that was full is as good as new: after everything was freed, in whatever order, the largest request that is
 * served and the largest free fragment are what they were. And loads that leave holes are served as long as enough of
 * the pool is free: two thirds, or what filled_by_design[] says.
 */
#include "conform.h"

#include <stdint.h>

enum { MOST = 1 << 20 };

struct held { void *p; size_t size; };
struct load { struct held *held; size_t first, count; uint64_t bytes, most, seed; };

/* Percent of the pool up to which a load of any shape is served. */
enum { FILLED = 33 };
static const struct { const char *manager; unsigned percent; const char *why; } filled_by_design[] = {
	{ "vq", 15, "a page stays with its size until its last cell is free" },
	{ "slab", 30, "a page stays with its size until its last block is free" },
};

static struct load empty(const struct memory *m)
{
	static struct held held[MOST];
	unsigned percent = FILLED;

	for (size_t i = 0; i < sizeof filled_by_design / sizeof *filled_by_design; i++)
		if (strcmp(filled_by_design[i].manager, m->manager) == 0)
			percent = filled_by_design[i].percent;
	return (struct load){ .held = held, .most = m->size / 100 * percent, .seed = 21 };
}

static bool take(const struct memory *m, struct load *l, size_t size)
{
	void *p = l->first + l->count < MOST ? m->alloc(size) : NULL;

	if (!p)
		return false;
	l->held[l->first + l->count++] = (struct held){ p, size };
	l->bytes += size;
	fill(p, size, size);
	return true;
}

static void give(const struct memory *m, struct load *l, struct held x)
{
	EXPECT(intact(x.p, x.size, x.size));
	m->free(x.p);
	l->bytes -= x.size;
}

static void give_newest(const struct memory *m, struct load *l) { give(m, l, l->held[l->first + --l->count]); }

static void give_oldest(const struct memory *m, struct load *l)
{
	l->count--;
	give(m, l, l->held[l->first++]);
}

static void give_some(const struct memory *m, struct load *l)
{
	struct held *x = &l->held[l->first + pick(&l->seed, l->count)], gone = *x;

	*x = l->held[l->first + --l->count];
	give(m, l, gone);
}

typedef void give_fn(const struct memory *m, struct load *l);

/* ---- as at the start ---- */

struct whole { size_t served; uint64_t largest, fragments; };

static struct whole whole(const struct memory *m)
{
	struct whole w = { .served = largest_served(m) };
	struct obs_stats s;

	if (m->shared)		/* several heaps: what was served by one left the others' magazines as they are */
		shm_trim();
	EXPECT(obs_stats(observed(m), &s) == 0 && s.fragments == 0 && s.used == 0);
	w.largest = s.largest_free;
	w.fragments = s.free_fragments;
	return w;
}

static void expect_whole(const struct memory *m, const struct whole *w)
{
	struct whole now;

	expect_views_agree(m, 0);
	now = whole(m);
	EXPECT(now.served == w->served);
	EXPECT(now.largest == w->largest && now.fragments == w->fragments);
}

/* ---- exhaustion ---- */

/** Until NULL. The record says why, and what is there is not touched. */
static void take_all(const struct memory *m, struct load *l, size_t most)
{
	struct obs_failure f;
	uint64_t before = failures(m, NULL);
	struct mem_info info;
	size_t size;

	do
		size = most < 16 ? most : 1 + pick(&l->seed, most);
	while (take(m, l, size));
	EXPECT(errno == ENOMEM && l->count < MOST);
	EXPECT(failures(m, &f) == before + 1 && f.requested == size);
	EXPECT(strcmp(f.verdict, "exhausted") == 0 || strcmp(f.verdict, "fragmented") == 0);
	m->info(&info);
	EXPECT(info.used_size > m->size / 4);
}

void exhaustion(const struct memory *m)
{
	static give_fn *const order[] = { give_newest, give_oldest, give_some };
	size_t most[] = { 1, 100, 1000, 5000, 100000, 0 };
	struct whole w;

	if (!counts_free(m)) {
		printf("\tits memory is not the pool's: it has no end that could be tested\n");
		return;
	}
	w = whole(m);
	most[sizeof most / sizeof *most - 1] = w.served;
	for (size_t i = 0; i < sizeof most / sizeof *most; i++)
		for (size_t k = 0; k < 3; k++) {
			struct load l = empty(m);

			take_all(m, &l, most[i]);
			expect_views_agree(m, l.count);
			for (size_t n = l.count / 2; n; n--)
				order[k](m, &l);
			while (!take(m, &l, most[i])) { /* it can be had again, at the latest when all is free */
				EXPECT(l.count);
				order[k](m, &l);
			}
			while (l.count)
				order[k](m, &l);
			expect_whole(m, &w);
		}
}

/* ---- fragmentation ---- */

static void must_take(const struct memory *m, struct load *l, size_t size) { EXPECT(take(m, l, size)); }

static void give_down_to(const struct memory *m, struct load *l, size_t count)
{
	while (l->count > count)
		give_some(m, l);
}

/** Small requests, `percent` of which are freed, then larger ones, and so on. */
static void sizes_that_shift(const struct memory *m, struct load *l, unsigned percent)
{
	for (size_t most = 64; most < m->size / 64; most *= 3) {
		while (l->bytes < l->most)
			must_take(m, l, most / 2 + pick(&l->seed, most / 2));
		expect_views_agree(m, l->count);
		give_down_to(m, l, l->count * (100 - percent) / 100);
	}
}

static void shift_80(const struct memory *m, struct load *l) { sizes_that_shift(m, l, 80); }
static void shift_90(const struct memory *m, struct load *l) { sizes_that_shift(m, l, 90); }

static void many_small_few_large(const struct memory *m, struct load *l)
{
	for (unsigned i = 0; i < 20000; i++) {
		size_t size =
			pick(&l->seed, 500) ? 1 + pick(&l->seed, 128) : m->size / 32 + pick(&l->seed, m->size / 32);

		while (l->bytes + size > l->most || (l->count && pick(&l->seed, 5) < 2))
			give_some(m, l);
		must_take(m, l, size);
	}
}

static void fifo(const struct memory *m, struct load *l)
{
	for (unsigned i = 0; i < 20000; i++) {
		while (l->bytes > l->most)
			give_oldest(m, l);
		must_take(m, l, 1 + some_size(&l->seed));
	}
}

static void lifo(const struct memory *m, struct load *l)
{
	for (unsigned i = 0; i < 20000; i++) {
		while (l->bytes > l->most)
			for (size_t n = l->count / 2; n; n--)
				give_newest(m, l);
		must_take(m, l, 1 + some_size(&l->seed));
	}
}

static void random_lives(const struct memory *m, struct load *l)
{
	for (unsigned i = 0; i < 8; i++) {
		while (l->bytes < l->most)
			must_take(m, l, 1 + some_size(&l->seed));
		give_down_to(m, l, l->count / 5);
	}
}

void fragmentation(const struct memory *m)
{
	static void (*const loads[])(const struct memory *m,
				     struct load *l) = { shift_80, shift_90, many_small_few_large,
							 fifo,	   lifo,     random_lives };
	bool whole_told = counts_free(m);
	struct whole w = { 0 };

	if (whole_told)
		w = whole(m);
	for (size_t i = 0; i < sizeof loads / sizeof *loads; i++) {
		struct load l = empty(m);

		loads[i](m, &l);
		expect_views_agree(m, l.count);
		while (l.count)
			give_some(m, &l);
		if (whole_told)
			expect_whole(m, &w);
		else
			expect_views_agree(m, 0);
	}
}
