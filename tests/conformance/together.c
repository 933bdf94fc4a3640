/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes on one pool, and threads on one heap: each allocates, and frees what another one made. A fragment says in
 * its first words how long it is and what its bytes must be, so that whoever gets it can tell.
 */
#include "conform.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CELLS = 256, CHILDREN = 8, THREADS = 4, SHARE = 8 };

struct parcel { size_t size; uint64_t key; };

typedef _Atomic uintptr_t cell;

static struct parcel *pack(const struct memory *m, uint64_t *seed)
{
	size_t size = sizeof(struct parcel) + some_size(seed) % 3000;
	struct parcel *p = m->alloc(size);

	EXPECT(p);
	*p = (struct parcel){ size, *seed };
	fill(p + 1, size - sizeof *p, *seed);
	return p;
}

static void expect_whole(const struct memory *m, const struct parcel *p)
{
	EXPECT(p->size >= sizeof *p && p->size < 1 << 20 && m->usable(p) >= p->size);
	EXPECT(intact(p + 1, p->size - sizeof *p, p->key));
}

static struct parcel *repack(const struct memory *m, uint64_t *seed, struct parcel *p)
{
	size_t size = sizeof *p + some_size(seed) % 3000, kept = (size < p->size ? size : p->size) - sizeof *p;

	p = m->realloc(p, size);
	EXPECT(p && intact(p + 1, kept, p->key));
	p->size = size;
	fill(p + 1, size - sizeof *p, p->key);
	return p;
}

/** Acquire: what it points at was written before the release by which it came into the cell. */
static struct parcel *trade_one(cell *c, struct parcel *p)
{
	return (struct parcel *)atomic_exchange_explicit(c, (uintptr_t)p, memory_order_acq_rel);
}

static void trade(const struct memory *m, cell *cells, uint64_t seed, unsigned turns)
{
	for (unsigned i = 0; i < turns; i++) {
		struct parcel *p = trade_one(&cells[pick(&seed, CELLS)], pack(m, &seed));

		if (!p)
			continue;
		expect_whole(m, p);
		if (pick(&seed, 4) == 0)
			p = trade_one(&cells[pick(&seed, CELLS)], repack(m, &seed, p));
		if (p)
			expect_whole(m, p);
		m->free(p);
	}
}

static void clear(const struct memory *m, cell *cells)
{
	for (unsigned i = 0; i < CELLS; i++) {
		struct parcel *p = trade_one(&cells[i], NULL);

		if (p)
			expect_whole(m, p);
		m->free(p);
	}
}

static unsigned count(cell *cells)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CELLS; i++)
		n += atomic_load_explicit(&cells[i], memory_order_relaxed) != 0;	/* nobody else is here */
	return n;
}

/* ---- processes ---- */

/** A private heap is each child's own after the fork: it checks what it inherited, goes on with it, and frees it. */
static void in_child(const struct memory *m, cell *cells, unsigned number)
{
	if (!m->shared)
		expect_views_agree(m, count(cells));
	trade(m, cells, 1000 + number, m->turns / SHARE);
	if (!m->shared) {
		clear(m, cells);
		expect_views_agree(m, 0);
	}
	fflush(stdout);
	_exit(0);
}

void processes(const struct memory *m)
{
	static cell private[CELLS];
	cell *cells = m->shared ? m->zeros(sizeof private) : private;
	unsigned own = m->shared;
	uint64_t before;
	size_t whole = 0;

	EXPECT(cells);
	if (counts_free(m))
		whole = largest_served(m);
	trade(m, cells, 1, 2000);
	before = count(cells);
	for (unsigned i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();

		EXPECT(pid != -1);
		if (pid == 0)
			in_child(m, cells, i);
	}
	for (unsigned turn = 0; turn < 6; turn++) {	/* while they are at work */
		watch_otherwise(m, turn);
		trade(m, cells, 50 + turn, m->turns / SHARE / 8);
	}
	for (int status; wait(&status) > 0; )
		EXPECT(status == 0);
	EXPECT(before > CELLS / 2);
	expect_views_agree(m, own + count(cells));
	clear(m, cells);
	expect_views_agree(m, own);
	if (whole)
		EXPECT(largest_served(m) == whole);
}

/* ---- threads ---- */

struct worker { const struct memory *m; cell *cells; unsigned number; };

static void *work(void *arg)
{
	const struct worker *w = arg;

	trade(w->m, w->cells, 2000 + w->number, w->m->turns / SHARE);
	return NULL;
}

void threads(const struct memory *m)
{
	static cell cells[CELLS];
	pthread_t thread[THREADS];
	struct worker worker[THREADS];
	size_t whole = 0;

	if (counts_free(m))
		whole = largest_served(m);
	for (unsigned round = 0; round < 2; round++) {	/* threads end in order, and others come */
		for (unsigned i = 0; i < THREADS; i++) {
			worker[i] = (struct worker){ m, cells, round * THREADS + i };
			EXPECT(pthread_create(&thread[i], NULL, work, &worker[i]) == 0);
		}
		watch_otherwise(m, round);
		for (unsigned i = 0; i < THREADS; i++)
			EXPECT(pthread_join(thread[i], NULL) == 0);
		watch_otherwise(m, round + 1);
		expect_views_agree(m, count(cells));
	}
	clear(m, cells);
	expect_views_agree(m, 0);
	if (whole)
		EXPECT(largest_served(m) == whole);
}
