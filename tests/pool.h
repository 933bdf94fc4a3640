/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pool for tests of managers: everything that a transaction may change lies in one struct, to be copied and compared.
 * And the table of the managers under test: those of the build, ff, the tests' own, and the example of a module.
 */
#ifndef TESTS_POOL_H
#define TESTS_POOL_H

#include <stdlib.h>
#include <string.h>

#include "memapi/manager.h"

enum { PAGE = 4096, PAGES = 4, ROOTS_BYTES = 16384 };

struct pool {
	_Alignas(PAGE) unsigned char data[PAGES * PAGE];
	struct mem_cursors cursors;
	struct mem_tally tally;
	uint64_t roots[ROOTS_BYTES / 8];	/* last: what a manager does not use of it need not be copied */
};

static inline size_t pool_bytes(const struct mem_manager_ops *ops)
{
	return offsetof(struct pool, roots) + ops->root_bytes;
}

static inline struct mem_heap pool_heap(struct pool *p, uint64_t len, struct undo_log *log)
{
	return (struct mem_heap){ .base = p->data, .len = len, .roots = p->roots, .tally = &p->tally,
				  .cursors = &p->cursors, .log = log };
}

static inline struct pool *pool_new(void)
{
	struct pool *p = aligned_alloc(PAGE, sizeof *p);

	memset(p, 0, sizeof *p);
	return p;
}

/** Bytes that a heap which grows begins with: a page, or, where that is all the manager's own, all but the last. */
static inline uint64_t pool_first(const struct mem_manager_ops *ops)
{
	struct pool *p = pool_new();
	struct undo_log *log = calloc(1, sizeof *log);
	struct mem_heap h = pool_heap(p, PAGE, log);
	uint64_t first = ops->init(&h) == 0 && h.tally->free_fragments ? PAGE : (PAGES - 1) * PAGE;

	free(log);
	free(p);
	return first;
}

/* A small generator of our own: `random` of the C library costs more than an allocation. */
static inline size_t pick_from(uint64_t *seed, size_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(*seed >> 33) % n;
}

/* ---- what walk tells, and what the tally says ---- */

struct measure { uint64_t used, marked, free_bytes, free_fragments, largest; };

static inline bool measure_one(const struct mem_frag *f, void *arg)
{
	struct measure *m = arg;

	m->used += f->used;
	m->marked += f->marked;
	if (!f->used) {
		m->free_bytes += f->size;
		m->free_fragments++;
		m->largest = f->size > m->largest ? f->size : m->largest;
	}
	return true;
}

static inline void measure_fault(const struct mem_fault *f, void *what) { *(const char **)what = f->what; }

/** What is wrong with a heap at a commit, or NULL: walk, tally, check and largest agree. */
static inline const char *measure(const struct mem_manager_ops *ops, struct mem_heap *h, unsigned step,
				  struct measure *m)
{
	const char *what = NULL;
	uint64_t at = 0;

	*m = (struct measure){ 0 };
	do
		at = ops->walk(h, at, step, measure_one, m);
	while (at && at != MEM_WALK_FAULT);
	if (at)
		return "walk met damage";
	if (ops->check(h, measure_fault, &what))
		return what;
	if (m->free_bytes != h->tally->free_bytes)
		return "tally of free bytes is not what walk tells";
	if (m->free_fragments != h->tally->free_fragments)
		return "tally of free fragments is not what walk tells";
	if (ops->largest && ops->largest(h) != m->largest && m->free_fragments <= MEM_LOOKS)
		return "largest is not what walk tells";
	return NULL;
}

#define MANAGER(m) extern const struct mem_manager_ops m##_pkg_ops, m##_shm_ops, m##_view_ops, m##_kill_ops;
#include "managers.def"
#define MANAGER(m) extern const struct mem_manager_ops m##_pkg_ops, m##_shm_ops, m##_view_ops, m##_kill_ops;
MANAGER(ff)
MANAGER(stack)
#undef MANAGER

#ifdef TESTS_KILL_POINT_H
#define KILL_OPS(m) &m##_kill_ops
#else
#define KILL_OPS(m) NULL
#endif

static const struct mgr_case { const char *name; const struct mem_manager_ops *pkg, *shm, *view, *kill; } managers[] = {
#define MANAGER(m) { #m, &m##_pkg_ops, &m##_shm_ops, &m##_view_ops, KILL_OPS(m) },
#include "managers.def"
#define MANAGER(m) { #m, &m##_pkg_ops, &m##_shm_ops, &m##_view_ops, KILL_OPS(m) },
	MANAGER(ff)
	MANAGER(stack)
#undef MANAGER
};

/* A parameter crosses into another process: an index, never a pointer. */
#define EACH_MANAGER(suite, test)								\
	ParameterizedTestParameters(suite, test)						\
	{											\
		static size_t index[sizeof managers / sizeof managers[0]];			\
		for (size_t i = 0; i < sizeof index / sizeof index[0]; i++)			\
			index[i] = i;								\
		return cr_make_param_array(size_t, index, sizeof index / sizeof index[0]);	\
	}											\
	static void suite##_##test(const struct mgr_case *c);					\
	ParameterizedTest(size_t *index, suite, test) { suite##_##test(&managers[*index]); }	\
	static void suite##_##test(const struct mgr_case *c)

#endif /* TESTS_POOL_H */
