/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A scene for kills: one pool, what is held of it, and random calls of every kind, one after the other.
 * A call is data, so that it can be made again from the same start and be killed somewhere else.
 */
#ifndef TESTS_SCENE_H
#define TESTS_SCENE_H

#include "pool.h"

enum { LIVE = 16 };

enum call_kind { CALL_INIT, CALL_ALLOC, CALL_FREE, CALL_RESIZE, CALL_MARK, CALL_EXTEND };

struct call {
	enum call_kind kind;
	size_t k, align, size;		/* k: which of scene.held */
	bool on;
};

struct scene {
	const struct mem_manager_ops *ops;
	struct mem_heap heap;
	struct pool *live;
	void *held[LIVE];
	size_t used, number;		/* held now; calls made */
	uint64_t seed;
};

static inline size_t scene_pick(struct scene *s, size_t n) { return pick_from(&s->seed, n); }

static inline bool scene_nothing(const struct mem_frag *f, void *arg) { (void)f, (void)arg; return true; }

/** Somebody walks meanwhile, and stands somewhere. */
static inline void scene_walker(struct scene *s)
{
	size_t cursor = scene_pick(s, MEM_CURSORS);
	unsigned steps = (unsigned)(1 + scene_pick(s, LIVE));

	s->live->cursors.at[cursor] = s->ops->walk(&s->heap, 0, steps, scene_nothing, NULL);
	s->live->cursors.live |= 1u << cursor;
}

static inline struct call scene_next(struct scene *s)
{
	struct call c = { .k = scene_pick(s, LIVE), .size = 16 * (1 + scene_pick(s, scene_pick(s, 8) ? 24 : 100)) };

	c.size = mem_round(s->ops, c.size);
	c.align = s->ops->flags & MEM_ALIGN16 ? 16 : (size_t)16 << scene_pick(s, 5);
	c.on = scene_pick(s, 2);
	if (s->number++ == 0)
		c.kind = CALL_INIT;
	else if (s->number % 500 == 0 && s->ops->extend && s->heap.len < sizeof s->live->data)
		c.kind = CALL_EXTEND;
	else if (!s->held[c.k])
		c.kind = CALL_ALLOC;
	else if (s->ops->mark && scene_pick(s, 4) == 0)
		c.kind = CALL_MARK;
	else
		c.kind = scene_pick(s, 3) ? CALL_FREE : CALL_RESIZE;
	if (s->number % 4 == 0)
		scene_walker(s);
	if (c.kind == CALL_EXTEND)
		s->heap.len += PAGE;
	return c;
}

/** The call itself. Returns what alloc gave, else NULL. */
static inline void *scene_call(struct scene *s, const struct call *c)
{
	switch (c->kind) {
	case CALL_INIT:
		s->ops->init(&s->heap);
		break;
	case CALL_ALLOC:
		return s->ops->alloc(&s->heap, c->align, c->size);
	case CALL_FREE:
		s->ops->free(&s->heap, s->held[c->k]);
		break;
	case CALL_RESIZE:
		s->ops->resize(&s->heap, s->held[c->k], c->size);
		break;
	case CALL_MARK:
		s->ops->mark(&s->heap, s->held[c->k], c->on);
		break;
	case CALL_EXTEND:
		s->ops->extend(&s->heap, s->heap.len - PAGE);
		break;
	}
	return NULL;
}

/** Fragments that are used when a transaction of the call ends before the call does. */
static inline size_t scene_used_inside(const struct scene *s, const struct call *c)
{
	return c->kind == CALL_FREE ? s->used - 1 : s->used;
}

/** The call is made and committed: the application writes to what it has. */
static inline void scene_made(struct scene *s, const struct call *c, void *got)
{
	if (c->kind == CALL_ALLOC && (s->held[c->k] = got))
		s->used++;
	if (c->kind == CALL_FREE)
		s->held[c->k] = NULL, s->used--;
	if (s->held[c->k])
		memset(s->held[c->k], (int)c->k + 1, s->ops->usable(&s->heap, s->held[c->k]));
}

static inline void scene_begin(struct scene *s, const struct mem_manager_ops *ops, struct undo_log *log, uint64_t seed)
{
	*s = (struct scene){ .ops = ops, .live = pool_new(), .seed = seed };
	s->heap = pool_heap(s->live, ops->extend ? pool_first(ops) : 2 * PAGE, log);
	memset(log, 0, sizeof *log);
}

#endif /* TESTS_SCENE_H */
