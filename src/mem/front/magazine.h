/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Magazines of the private heap: small stacks of ready fragments, one for each size up to 1 KiB.
 *
 *	of[1] 16 B   [ p q r . . . . . ]	take: the last one in; put: on top
 *	of[2] 32 B   [ . . . . . . . . ]	(24, 40, ... B where heads have 8 bytes)
 *	...
 *
 * For the manager a fragment in a magazine is in use. While nothing is recorded its last 8 bytes hold the heap's
 *generation and an index that no record has; while calls are recorded all that is inside has its record, which keeps
 *its place and says RECORD_CACHED (the fragment's own bytes are not believed: who uses it after the free may have
 *changed them). So a second free is found, and observers tell it apart. META's live.cached says how many there are.
 *
 * Open only while nobody wants guards and the manager knows its own fragments (owns), and used only while the process
 *has one thread: no lock, and nothing to wait for. Else every call passes by, and what is inside is flushed; so it is
 *when recording begins or ends. A failing request flushes them before the heap grows: nothing is kept from it.
 *
 * 64 B pair, fm: 5 ns; through the manager, with its lock and counters, 19 ns. At most 264 KiB are held.
 */
#ifndef FRONT_MAGAZINE_H
#define FRONT_MAGAZINE_H

#include <sys/single_threaded.h>

#include "mem/base/compiler.h"
#include "mem/pool.h"

enum { MAGAZINE_DEPTH = 8, MAGAZINE_SIZES = CACHED_MOST / 16 + 1 };

struct magazines {
	uint64_t open;			/* sizes in use while nothing is recorded: MAGAZINE_SIZES, or 0: closed */
	uint64_t open_recorded;		/* the same while calls are recorded; never both */
	uint64_t head;			/* of[i] holds 16 i + head usable bytes: 0, or 8 with MEM_HEAD8 */
	uint64_t cached;		/* as live.cached */
	struct magazine { uint64_t count; void *at[MAGAZINE_DEPTH]; } of[MAGAZINE_SIZES];
	uint32_t record[MAGAZINE_SIZES][MAGAZINE_DEPTH];	/* of of[i].at[k], while calls are recorded */
};

extern struct magazines mem_pkg_magazines;

/** After each change of p->features; they are empty. Guards close them: what lies behind a fragment is watched then. */
static inline void magazine_follow(const struct pool *p)
{
	uint64_t open = p->ops->owns && p->ops->marked && !(p->features & (FEATURE_GUARDS | FEATURE_NO_MAGAZINES)) ?
				MAGAZINE_SIZES :
				0;
	bool recorded = p->features & (FEATURE_SITES | FEATURE_STACKS);

	if (p != p->home)		/* they are of shard 0 */
		return;
	mem_pkg_magazines.open = recorded ? 0 : open;
	mem_pkg_magazines.open_recorded = recorded ? open : 0;
	mem_pkg_magazines.head = p->ops->flags & MEM_HEAD8;
}

/** false: every call passes by, and the next one with the lock flushes what is inside. */
static inline bool magazine_ready(void)
{
	return (mem_pkg_magazines.open || mem_pkg_magazines.open_recorded) && __libc_single_threaded;
}

/** What is inside is another process's, or lost with a heap that is not believed. */
static inline void magazine_forget(void)
{
	mem_pkg_magazines.cached = 0;
	for (unsigned i = 0; i < MAGAZINE_SIZES; i++)
		mem_pkg_magazines.of[i].count = 0;
}

static inline uint64_t *magazine_tail(const void *ptr, uint64_t usable)
{
	return (uint64_t *)(void *)((uintptr_t)ptr + usable - TAIL_BYTES);
}

static inline uint64_t magazine_tag(const struct pool *p) { return p->generation | TAIL_CACHED; }

static inline void magazine_count(struct pool *p, struct magazines *m, uint64_t change)
{
	m->cached += change;
	*(volatile uint64_t *)&p->live->cached = m->cached;
}

/** A fragment of `size` bytes or more, or NULL: ask the manager. Of this process's one thread. */
static inline void *magazine_take(struct pool *p, size_t size)
{
	struct magazines *m = &mem_pkg_magazines;
	uint64_t i = size / 16 + (size % 16 > m->head);	/* of any size: a sum would wrap */
	struct magazine *of;
	void *ptr;

	i += !i;
	if (UNLIKELY(i >= m->open) || UNLIKELY(!__libc_single_threaded))
		return NULL;
	of = &m->of[i];
	if (UNLIKELY(!of->count))
		return NULL;
	ptr = of->at[--of->count];
	*magazine_tail(ptr, i * 16 + m->head) = 0;
	magazine_count(p, m, -CACHED_ONE(i * 16 + m->head));
	p->counters.stamp++;
	*(volatile uint64_t *)&p->live->counters.stamp = p->counters.stamp;
	return ptr;
}

enum magazine_answer { MAGAZINE_PUT, MAGAZINE_KNOWN, MAGAZINE_ASK };

/**
 * PUT: `ptr` is a fragment in use that nobody recorded, and is in a magazine now. Else it is for the manager: KNOWN
 * says that it has told so much already, and there was no room, ASK that nothing is known.
 */
static inline enum magazine_answer magazine_put(struct pool *p, void *ptr)
{
	struct magazines *m = &mem_pkg_magazines;
	uint64_t at = (uintptr_t)ptr - (uintptr_t)p->heap.base, usable;
	struct magazine *of;

	if (UNLIKELY(!m->open) || UNLIKELY(!__libc_single_threaded) || UNLIKELY(at >= p->heap.len || at % 16 || !at))
		return MAGAZINE_ASK;
	if (UNLIKELY(!p->ops->owns(&p->heap, ptr)) || UNLIKELY(p->ops->marked(&p->heap, ptr)))
		return MAGAZINE_ASK;
	usable = p->ops->usable(&p->heap, ptr);
	if (UNLIKELY(usable > CACHED_MOST))
		return MAGAZINE_KNOWN;
	of = &m->of[usable / 16];
	if (of->count == MAGAZINE_DEPTH || UNLIKELY(*magazine_tail(ptr, usable) == magazine_tag(p)))
		return MAGAZINE_KNOWN;
	*magazine_tail(ptr, usable) = magazine_tag(p);
	of->at[of->count++] = ptr;
	magazine_count(p, m, CACHED_ONE(usable));
	return MAGAZINE_PUT;
}

/** Number of the magazine for `size` bytes, at most open - 1; 0: none, which has no fragments. */
static inline uint64_t magazine_for(const struct magazines *m, size_t size, uint64_t open)
{
	uint64_t i = (size + 15 - m->head) / 16;

	i += !i;
	return LIKELY(i < open) && LIKELY(__libc_single_threaded) ? i : 0;
}

/** Whether the unmarked fragment `ptr` in use lies in a magazine. */
static inline bool magazine_holds(const struct pool *p, const void *ptr, uint64_t usable)
{
	const struct magazine *of;

	if (LIKELY(!mem_pkg_magazines.cached) || p != p->home || usable > CACHED_MOST ||
	    *magazine_tail(ptr, usable) != magazine_tag(p))
		return false;
	of = &mem_pkg_magazines.of[usable / 16];
	for (uint64_t i = 0; i < of->count; i++)
		if (of->at[i] == ptr)
			return true;
	return false;			/* its bytes look so by themselves */
}

#endif /* FRONT_MAGAZINE_H */
