/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests of every size and alignment: what cannot be served is NULL, errno, a failure record, and the caller goes on.
 */
#include "conform.h"

#include <stdint.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20, ALIGNED_MOST = 64 };

/* ---- what cannot be served ---- */

struct before { uint64_t used, fragments, failures; };

static struct before now(const struct memory *m)
{
	struct obs_stats s;

	EXPECT(obs_stats(observed(m), &s) == 0);
	return (struct before){ s.used, s.fragments, s.failures };
}

/** `p` is the answer to a request of `size` bytes that no pool can serve. */
static void expect_refused(const struct memory *m, const void *p, size_t size, const struct before *b, unsigned nth)
{
	struct obs_failure last;
	void *next;

	EXPECT(!p && errno == ENOMEM);
	EXPECT(failures(m, &last) == b->failures + nth);
	EXPECT(last.requested == size && last.pid == getpid());
	EXPECT(strcmp(last.verdict, "limit") == 0);
	next = m->alloc(100);			/* the caller carries on */
	EXPECT(next);
	m->free(next);
	EXPECT(now(m).used == b->used && now(m).fragments == b->fragments);
}

static void huge_sizes(const struct memory *m)
{
	const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 7, SIZE_MAX - 15, SIZE_MAX - 31, SIZE_MAX - 63,
				 SIZE_MAX - 4095, SIZE_MAX / 2 + 1, PTRDIFF_MAX, PTRDIFF_MAX - 15, (size_t)1 << 48,
				 m->size * 2, m->size + 1 };
	char *held = m->alloc(100);
	struct before b;

	fill(held, 100, 1);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t size = sizes[i];
		unsigned nth = 0;

		b = now(m);
		errno = 0;
		expect_refused(m, m->alloc(size), size, &b, ++nth);
		expect_refused(m, m->zeros(size), size, &b, ++nth);
		expect_refused(m, m->realloc(NULL, size), size, &b, ++nth);
		expect_refused(m, m->realloc(held, size), size, &b, ++nth);
		expect_refused(m, m->aligned(4096, size), size, &b, ++nth);
		EXPECT(intact(held, 100, 1));	/* realloc that failed left it */
	}
	b = now(m);
	EXPECT(!m->reallocxf(held, SIZE_MAX) && errno == ENOMEM);
	EXPECT(now(m).fragments == b.fragments - 1 && now(m).failures == b.failures + 1);
}

/* calloc and reallocarray forms are calls with a product: mallocxz and realloc get SIZE_MAX - n when it does not fit.
 */
static void zero_sizes(const struct memory *m)
{
	void *a = m->alloc(0), *b = m->alloc(0), *c = m->zeros(0), *d = m->aligned(64, 0), *e = m->realloc(NULL, 0);

	EXPECT(a && b && c && d && e);
	EXPECT(a != b && b != c && c != d && d != e && (uintptr_t)d % 64 == 0);
	expect_views_agree(m, 5);
	EXPECT(!m->realloc(a, 0) && !m->reallocxf(b, 0));	/* free */
	m->free(c);
	m->free(d);
	m->free(e);
	m->free(NULL);
	EXPECT(m->usable(NULL) == 0);
	expect_views_agree(m, 0);
}

static void bad_alignments(const struct memory *m)
{
	const size_t bad[] = {
		0, 3, 5, 6, 7, 12, 24, 48, 100, 4095, 4097, 3 << 20, SIZE_MAX, SIZE_MAX - 1, PTRDIFF_MAX
	};
	const size_t beyond[] = { m->size * 2, (size_t)1 << 47, (size_t)1 << 62, (size_t)1 << 63 };
	struct before b = now(m);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		EXPECT(!m->aligned(bad[i], 100) && errno == EINVAL);
		errno = 0;
		EXPECT(!m->aligned(bad[i], 0) && errno == EINVAL);
	}
	EXPECT(now(m).failures == b.failures);		/* it is the call that is wrong, not that memory lacks */
	for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
		size_t align = beyond[i];

		while (align & (align - 1))
			align &= align - 1;
		b = now(m);
		errno = 0;
		EXPECT(!m->aligned(align, 100) && errno == ENOMEM);
		EXPECT(now(m).failures == b.failures + 1);
	}
	expect_views_agree(m, 0);
}

void bad_arguments(const struct memory *m)
{
	expect_views_agree(m, 0);
	zero_sizes(m);
	bad_alignments(m);
	huge_sizes(m);
	expect_views_agree(m, 0);
}

/* ---- every alignment ---- */

static void *aligned_of(const struct memory *m, uint64_t *seed, size_t align, size_t size, uint64_t key)
{
	void *p = m->aligned(align, size);

	EXPECT(p && (uintptr_t)p % align == 0 && (uintptr_t)p % 16 == 0);
	EXPECT(m->usable(p) >= size);
	fill(p, size, key);
	(void)seed;
	return p;
}

/** Fragments at multiples of `align` beside others, some moved by realloc, all intact. */
static void one_alignment(const struct memory *m, uint64_t *seed, size_t align)
{
	struct { void *p, *beside; size_t size; } held[ALIGNED_MOST];
	size_t count = align > 65536 ? 6 : ALIGNED_MOST;

	for (size_t i = 0; i < count; i++) {
		held[i].size = some_size(seed) % 5000;
		held[i].p = aligned_of(m, seed, align, held[i].size, i);
		held[i].beside = m->alloc(pick(seed, 200));
		EXPECT(held[i].beside && (uintptr_t)held[i].beside % 16 == 0);
	}
	expect_views_agree(m, 2 * count);
	for (size_t i = 0; i < count; i++) {
		EXPECT(intact(held[i].p, held[i].size, i));
		if (i % 2) {
			held[i].p = m->realloc(held[i].p, held[i].size + 100);
			EXPECT(held[i].p && intact(held[i].p, held[i].size, i));
		}
		m->free(i % 3 ? held[i].p : held[i].beside);
	}
	for (size_t i = 0; i < count; i++) {
		if (i % 3 == 0)
			EXPECT(intact(held[i].p, held[i].size, i));
		m->free(i % 3 ? held[i].beside : held[i].p);
	}
	expect_views_agree(m, 0);
}

void alignments(const struct memory *m)
{
	uint64_t seed = 3;
	size_t whole;

	for (size_t align = 1; align <= HUGE_PAGE; align *= 2)
		one_alignment(m, &seed, align);
	whole = largest_served(m);
	for (size_t align = 8; align <= HUGE_PAGE; align *= 2)
		one_alignment(m, &seed, align);
	if (counts_free(m))
		EXPECT(largest_served(m) == whole);	/* what was skipped to be aligned is free again */
}
