/* SPDX-License-Identifier: BSD-2-Clause */
/* Contents: realloc in place and moving, and random calls against a model that knows every byte. */
#include "conform.h"

#include <stdint.h>

/* ---- realloc ---- */

enum { STEPS = 24 };

/** Grows by an eighth at a time and shrinks again; `fence` follows it each time it has moved, so that it must move. */
static void ladder(const struct memory *m, bool fenced, unsigned *ret_moved, unsigned *ret_stayed)
{
	size_t size = 100;
	char *p = m->alloc(size), *grown;
	void *fence[2 * STEPS] = { fenced ? m->alloc(1) : NULL };
	unsigned fences = fenced;

	fill(p, size, 5);
	for (unsigned i = 1; i < 2 * STEPS; i++) {
		size_t next = i < STEPS ? size + size / 4 + 40 : size * 3 / 4, kept = next < size ? next : size;

		grown = m->realloc(p, next);
		EXPECT(grown && (uintptr_t)grown % 16 == 0 && m->usable(grown) >= next);
		EXPECT(intact(grown, kept, 5));
		++*(grown == p ? ret_stayed : ret_moved);
		fence[i] = fenced && grown != p ? m->alloc(1) : NULL;
		fences += fence[i] != NULL;
		p = grown;
		size = next;
		fill(p, size, 5);
		expect_views_agree(m, 1 + fences);
	}
	m->free(p);
	for (unsigned i = 0; i < 2 * STEPS; i++)
		m->free(fence[i]);
}

/* Programs use what usable() tells them: all of it is theirs, and moves with it. */
static void usable_moves(const struct memory *m)
{
	for (size_t size = 1; size < 300; size++) {
		char *p = m->alloc(size), *q;
		size_t usable = m->usable(p);

		fill(p, usable, 7);
		q = m->realloc(p, usable + 1000);
		EXPECT(q && intact(q, usable, 7));
		m->free(q);
	}
	expect_views_agree(m, 0);
}

static void xf_frees(const struct memory *m)
{
	char *p = m->alloc(300), *q;

	fill(p, 300, 9);
	q = m->reallocxf(p, 4000);
	EXPECT(q && intact(q, 300, 9));
	fill(q, 4000, 9);
	q = m->reallocxf(q, 60);
	EXPECT(q && intact(q, 60, 9));
	expect_views_agree(m, 1);
	EXPECT(!m->reallocxf(q, m->size * 2) && errno == ENOMEM);
	expect_views_agree(m, 0);
	q = m->reallocxf(NULL, 100);
	EXPECT(q && !m->reallocxf(q, 0));
	expect_views_agree(m, 0);
}

static void resize_loses(const struct memory *m)
{
	char *p;

	if (!m->shared)
		return;
	p = shm_malloc(100);
	p = shm_resize(p, 3000);
	EXPECT(p && shm_usable(p) >= 3000);
	memset(p, 1, 3000);
	p = shm_resize(p, 10);
	EXPECT(p && shm_usable(p) >= 10);
	expect_views_agree(m, 1);
	EXPECT(!shm_resize(p, m->size * 2) && errno == ENOMEM);
	expect_views_agree(m, 0);
}

void grow_and_shrink(const struct memory *m)
{
	unsigned moved = 0, stayed = 0;

	ladder(m, false, &moved, &stayed);
	EXPECT(stayed);				/* nothing is behind it, and it shrinks */
	moved = 0;
	ladder(m, true, &moved, &stayed);
	EXPECT(moved);				/* something was behind it */
	xf_frees(m);
	usable_moves(m);
	resize_loses(m);
}

/* ---- random calls ---- */

enum { LIVE = 600, LIVE_STEP = 40 };

struct held { unsigned char *p; size_t size; uint64_t key; };

struct model { struct held held[LIVE]; unsigned live; uint64_t used, seed, keys; };

static size_t size_of_kind(struct model *d) { return d->live == LIVE ? some_size(&d->seed) : pick(&d->seed, 700); }

static void got(const struct memory *m, struct model *d, struct held *x, void *p, size_t size)
{
	EXPECT(p && (uintptr_t)p % 16 == 0 && m->usable(p) >= size);
	*x = (struct held){ p, size, ++d->keys };
	fill(p, size, x->key);
}

static void *fresh(const struct memory *m, struct model *d, size_t size)
{
	size_t align;
	unsigned char *p;

	switch (pick(&d->seed, 8)) {
	case 0:
		align = (size_t)1 << pick(&d->seed, 13);
		p = m->aligned(align, size);
		EXPECT(p && (uintptr_t)p % align == 0);
		return p;
	case 1:
		p = m->zeros(size);
		for (size_t i = 0; p && i < size; i++)
			EXPECT(p[i] == 0);
		return p;
	case 2:
		return m->realloc(NULL, size);
	case 3:
		if (!m->shared)
			break;
		shm_lock();
		p = shm_malloc_unsafe(size);
		shm_unlock();
		return p;
	default:
		break;
	}
	return m->alloc(size);
}

static void let_go(const struct memory *m, struct model *d, struct held *x)
{
	if (m->shared && pick(&d->seed, 8) == 0) {
		shm_lock();
		shm_free_unsafe(x->p);
		shm_unlock();
	} else {
		m->free(x->p);
	}
	*x = (struct held){ 0 };
	d->used--;
}

static void other_size(const struct memory *m, struct model *d, struct held *x)
{
	size_t size = 1 + size_of_kind(d), kept = size < x->size ? size : x->size;
	void *p;

	if (m->shared && pick(&d->seed, 8) == 0) {
		p = shm_resize(x->p, size);
	} else {
		p = (pick(&d->seed, 2) ? m->realloc : m->reallocxf)(x->p, size);
		EXPECT(p && intact(p, kept, x->key));
	}
	got(m, d, x, p, size);
}

static void one_call(const struct memory *m, struct model *d)
{
	struct held *x = &d->held[pick(&d->seed, d->live)];
	size_t size;

	if (!x->p) {
		size = size_of_kind(d);
		got(m, d, x, fresh(m, d, size), size);
		d->used++;
		return;
	}
	EXPECT(intact(x->p, x->size, x->key));
	if (pick(&d->seed, 3) == 0)
		other_size(m, d, x);
	else
		let_go(m, d, x);
}

static void end(const struct memory *m, struct model *d)
{
	for (unsigned i = 0; i < d->live; i++) {
		EXPECT(!d->held[i].p || intact(d->held[i].p, d->held[i].size, d->held[i].key));
		m->free(d->held[i].p);
	}
	expect_views_agree(m, 0);
}

void random_calls(const struct memory *m)
{
	static struct model d = { .live = LIVE, .seed = 11 };
	unsigned each = m->turns / 16 + 1;

	for (unsigned i = 0; i < m->turns; i++) {
		one_call(m, &d);
		if (i % each == 0) {
			watch_otherwise(m, i / each);
			expect_views_agree(m, d.used);
		}
	}
	end(m, &d);
}

void counters_at_every_step(const struct memory *m)
{
	static struct model d = { .live = LIVE_STEP, .seed = 12 };

	for (unsigned i = 0; i < m->turns / 60 + 100; i++) {
		one_call(m, &d);
		if (i % 64 == 0)
			watch_otherwise(m, i / 64);
		expect_views_agree(m, d.used);
	}
	end(m, &d);
}
