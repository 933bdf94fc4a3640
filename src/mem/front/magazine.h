/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Magazines of the private heap: each thread has small stacks of ready fragments, one for each size up to 1 KiB.
 *
 *	thread A  at[1 S ..] [ 0 p q r . . . . . ]  16 B; top[1] is the place of r. take: the last one in; put: on top
 *	          at[2 S ..] [ 0 . . . . . . . . ]  32 B; empty: top[2] is the place of the 0
 *	thread B  …                                 (24, 40, … B where heads have 8 bytes)
 *	depot     at[1 S ..] [ 0 s t u v . . . . ]  with the heap's lock: what one thread has too much of, for others
 *
 * For the manager a fragment in a magazine is in use. While nothing is recorded it has a tag at CACHED_TAG, the heap's
 * generation and an index that no record has; while calls are recorded all that is inside has its record, which keeps
 * its place and says RECORD_CACHED (the fragment's own bytes are not believed: who uses it after the free may have
 * changed them). So a second free is found, and observers tell it apart. Each thread has a line in META that says how
 * much it holds (struct meta_thread): a copy of its tops, so that nothing is counted; observers add up.
 *
 * The short way, take and put, is 30 instructions a call, without a call of the manager: what a fragment is is read
 * from its sealed word (MEM_SEALED), or from a table of the front end's (MEM_PAGED, starts.h). It is inline.h's, which
 * applications compile in, too: what it touches they know, under a stamp. What it needs to know
 * lies in the thread's own struct, and each test is one for all that may be otherwise: a class that is none, a magazine
 * that is closed, a pointer that begins no fragment, or a fragment that is too large. Whatever it does not serve goes
 * the long way, which finds out why.
 *
 * Threads: take and put touch what is the thread's own, by plain stores. What is in there may be looked at by others,
 * with the lock (magazine_holds). A miss, with several threads, brings a batch that doubles each time; a full one sends
 * half of itself away. A magazine has 8 places, twice as many when it was full or its thread had to wait for the lock,
 * up to 64, and as long as all of them have room for 520 KiB; above 256 KiB nothing is brought. In heaps below 16 MiB
 * large ones have fewer places, and all together room for a 32nd of the heap, and as much more. Where that is what
 * makes a thread wait, both become 128 KiB more, up to 1 MiB more. A request that finds no memory empties those of its
 * thread and the depot; other threads follow when they next come by with the lock. While the process has one thread
 * nothing is brought: there is no lock to be spared.
 *
 * A thread that ends leaves its magazines as they are to the next one that begins. What waits for that, and what
 * threads have beyond 520 KiB, is an eighth of the heap at most, or 4 MiB.
 *
 * Signals: the top of a magazine says that its thread is inside, so that a handler which interrupted it goes to the
 * lock; who holds that itself is refused (would_deadlock). It says, too, who may come in: between what a call looks at
 * and its going in, a handler may have followed other features.
 *
 * Fork: the gate, a page of its own, is zeros in a child of any kind (MADV_WIPEONFORK), so that its first call goes the
 * long way and finds out. There the magazines of threads that are not there go back to the heap, but one whose thread
 * was inside just then: what it holds stays in use, and is untracked.
 *
 * Open only while the manager knows its own fragments (owns). The short way to what has records is recorded.c. In front
 * of one that keeps its own memory and is MEM_CACHEABLE, while nothing has a record: a free knows the size by its page
 * (own_sizes.h), or asks (own_fast.h), which sizes there are is learned from what the manager gives, and nothing has a
 * tag: a fragment that has left the cache is touched by who gets it, not by who frees it. After Bonwick, "Magazines and
 * Vmem", 2001.
 */
#ifndef FRONT_MAGAZINE_H
#define FRONT_MAGAZINE_H

#include <memapi/inline.h>
#include <string.h>
#include <sys/single_threaded.h>

#include "mem/base/compiler.h"
#include "mem/front/own_sizes.h"
#include "mem/front/shelf.h"
#include "mem/pool.h"

enum { MAGAZINES_SHARE = 32, MAGAZINES_GROW = 256 << 10, MAGAZINES_ENOUGH = 256 << 10 };
enum { MAGAZINES_LEND = 128 << 10, MAGAZINES_LENT_MOST = 1 << 20, MAGAZINES_BEYOND = 4 << 20 };
enum { MAGAZINE_STEPS = MEM_INLINE_STEPS };	/* of 8 bytes; sizes from MAGAZINE_SIZES on have no places */
/* Of top[i]: a place, how often its thread is inside, and what is in there: PLAIN fragments, or ones with records. */
enum { MAGAZINE_INSIDE = MEM_INLINE_INSIDE, MAGAZINE_PLACE = MAGAZINE_INSIDE - 1 };
enum { MAGAZINE_PLAIN = 0, MAGAZINE_RECORDED = 1 << 29, MAGAZINE_CLOSED = 1 << 30,
       MAGAZINE_KIND = MAGAZINE_RECORDED | MAGAZINE_CLOSED };

#define GATE(word) MEM_INLINE_GET(word)
#define OWN_SET(word, value) MEM_INLINE_SET(word, value)

/** What lets a thread go the short way, beside what applications look at. Zeros: nothing does. As `in`. */
struct magazine_gate {
	char applications[META_PAGE / 2];
	uint64_t limit;			/* take: of (bytes - 1) / 8 */
	uint64_t starts;		/* as in.steps, where a table says what begins there (starts.h), else 0 */
	uint64_t shelf;			/* take: of bytes - SHELF_LEAST */
	uint64_t recorded;		/* recorded.c. take: of (bytes + 7) / 8 */
	uint64_t places;		/* put: as in.steps */
	uint64_t own_sizes;		/* put: the directory of own_sizes.h, or 0 */
};

/*
 * What a thread's last reallocs made larger, and how large: it is likely to grow once more (plain.c). A guess, which a
 * signal handler may spoil. Of memory that may grow to so many bytes, for `SHARE` of the heap at most.
 */
enum { GROWN = 4, GROWN_SMALL = 64 << 10, GROWN_MOST = 4 << 20, GROWN_SHARE = 64 };
struct grown { const void *ptr; uint64_t size; };

/** Of one thread, or the depot. Only the owner changes it, the depot's is who has the lock; gates who forks, too. */
struct magazines {
	union {
		struct mem_inline in;	/* what applications know, too */
		struct magazine_gate gate;	/* in the same page: zeros in a child */
	};
	const uint64_t *starts;		/* bits of starts.h, and its sizes */
	const uint8_t *sizes;
	uint64_t features;		/* of the heap, as the owner has followed them */
	/* -- not on the short way -- */
	bool open;			/* to takes and puts, recorded or not */
	uint64_t head;			/* fragments of size i have 16 i + head usable bytes: 0, or 8 with MEM_HEAD8 */
	uint64_t trim;			/* of the process, as it was followed */
	uint64_t may_grow;		/* bytes */
	uint64_t lent;			/* bytes that it may have beyond the first; of may_grow, too */
	uint64_t left;			/* bytes that its thread, which has ended, left for the next one */
	struct magazines *next;		/* of all that there ever were */
	bool recorded;			/* what is inside has records */
	bool guarded;			/* what is taken gets guards */
	bool stacks;			/* are wanted, which go the long way */
	bool waited;			/* for the lock, since magazines were looked after */
	bool enough;			/* is inside, as of the last look that added up: nothing is brought */
	uint8_t looks;
	bool owned;
	bool sampled;			/* one take of so many is looked at (sampled.h) */
	uint8_t batch[MAGAZINE_SIZES];	/* fragments that the last miss brought */
	/* Of size i wanted, the size that the manager gave last; 0: as wanted, or larger than these. None of the last
	 * one. */
	uint8_t given[MAGAZINE_SIZES + 1];
	uint8_t grown_next;
	struct grown grown[GROWN];
	bool learned[MAGAZINE_STEPS];	/* in.size_of[k] is what the manager gives, where it keeps its own memory */
	uint64_t records_end;		/* of the heap's records, as far as the owner has heard of them */
	struct shelf shelf;		/* begins in the same page */
	uint32_t record[MAGAZINE_SIZES * MAGAZINE_STRIDE];	/* of in.at[k], while calls are recorded */
} __attribute__((aligned(META_PAGE)));	/* whole pages: the first one is a gate */

/* What inline.h fixes for applications is what META and managers say. in.at: an odd number of cache lines a size, so
 * that no two tops share a set of the cache. */
#define SAME_IN_META(member) (offsetof(struct mem_inline_told, member) == offsetof(struct meta_thread, member))
_Static_assert(SAME_IN_META(taken) && SAME_IN_META(head) && SAME_IN_META(recorded) && SAME_IN_META(top), "");
_Static_assert((int)MEM_INLINE_SIZES == MAGAZINE_SIZES && (int)MEM_INLINE_STRIDE == MAGAZINE_STRIDE, "");
_Static_assert((int)MEM_INLINE_TAG == CACHED_TAG && MEM_INLINE_SEAL == MEM_SEAL, "");
_Static_assert((int)MEM_INLINE_USED == MEM_USED && (int)MEM_INLINE_PREV_FREE == MEM_PREV_FREE, "");
_Static_assert(offsetof(struct mem_inline, wanted) == META_PAGE && !(FEATURES_ALL & MEM_INLINE_OPEN), "");
#undef SAME_IN_META
/* The stamp: who changes any of these has to give it the next number, but for what is appended. */
_Static_assert(MEMAPI_INLINE_STAMP == 2 && offsetof(struct mem_inline, key) == 128, "");
_Static_assert(offsetof(struct mem_inline, from) == 136 && offsetof(struct mem_inline, steps) == 144, "");
_Static_assert(offsetof(struct mem_inline, told) == 4104 && offsetof(struct mem_inline, back) == 4112, "");
_Static_assert(offsetof(struct mem_inline, tag) == 4120 && offsetof(struct mem_inline, size_of) == 4128, "");
_Static_assert(offsetof(struct mem_inline, top) == 4260 && offsetof(struct mem_inline, end) == 4780, "");
_Static_assert(offsetof(struct mem_inline, at) == 5312 && sizeof(struct mem_inline_told) == 152, "");

static inline struct meta_thread *magazine_told(const struct magazines *m)
{
	return (struct meta_thread *)(void *)m->in.told;
}

/*
 * Where `taken` begins while nothing is sampled: never at 0 again. While calls are recorded it stays, and `start` goes
 * down, so that stamp - start is the next one's number.
 */
#define TAKEN_FIRST ((uint64_t)INT64_MIN)
#define TAKEN_RECORDED UINT64_MAX

/** Allocations that counters.stamp has not, signed. */
static inline uint64_t magazine_taken(const struct magazines *m) { return m->in.told->taken - magazine_told(m)->start; }

/** As many have been taken as were to pass (sampled.h): in.key is, or is about to be, 0. */
static inline bool magazine_due(const struct magazines *m)
{
	return m->sampled && !MEM_INLINE_PASSES(m->in.told->taken);
}

/**
 * Takes go the long way for that alone: the next one is looked at. It is the key that says so: a handler that came
 * before the key was closed may have begun to count anew.
 */
static inline bool magazine_trapped(const struct magazines *m)
{
	return m->sampled && GATE(m->gate.limit) && !GATE(m->in.key);
}

/**
 * Of each thread: initial-exec, since a library that is loaded late gets little else, and asking must not allocate.
 * Applications know it as memapi_pkg_self; in here it is our own, also where a program brings another copy of us.
 */
struct magazine_self {
	struct magazines *own;		/* its own, mem_pkg_none, mem_pkg_unsettled */
	uint32_t inside;		/* it has the lock, or waits for it */
};
extern _Thread_local struct magazine_self mem_pkg_self
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/**
 * Closed ones. `none` is of threads that go without, and follows features. A thread that has not called yet is
 * `unsettled`, whose features no heap has.
 */
extern struct magazines mem_pkg_none __attribute__((visibility("hidden")));
extern struct magazines mem_pkg_unsettled __attribute__((visibility("hidden")));
static inline bool magazines_lacking(const struct magazines *m)
{
	return m == &mem_pkg_none || m == &mem_pkg_unsettled;
}

/* ---- one magazine ---- */

/*
 * The owner goes in. false: what is in there is of another kind, or it is in there already, this is a signal handler;
 * it has to go again. One instruction says so: between a look and a store a handler could come and go. The store of the
 * top, last of all, is the way out.
 */
static inline bool magazine_enter_kind(struct magazines *m, uint64_t i, uint32_t kind, uint32_t *ret_top)
{
	*ret_top = mem_inline_enter(&m->in, i) - kind;
	return LIKELY(*ret_top < MAGAZINE_INSIDE);
}

static inline void magazine_leave_kind(struct magazines *m, uint64_t i, uint32_t kind, uint32_t top)
{
	mem_inline_leave(&m->in, i, top + kind);
}

static inline bool magazine_enter(struct magazines *m, uint64_t i, uint32_t *ret_top)
{
	return magazine_enter_kind(m, i, MAGAZINE_PLAIN, ret_top);
}

static inline void magazine_leave(struct magazines *m, uint64_t i, uint32_t top)
{
	magazine_leave_kind(m, i, MAGAZINE_PLAIN, top);
}

/* With the lock: whatever is in there stays of its kind, since handlers follow nothing then. */
static inline uint32_t magazine_kind(const struct magazines *m, uint64_t i) { return m->in.top[i] & MAGAZINE_KIND; }

/** Nobody is inside: what is read is whole. Of the owner, its signal handlers, and a child's only thread. */
static inline bool magazine_quiet(const struct magazines *m)
{
	for (unsigned i = 0; i < MAGAZINE_SIZES; i++)
		if ((*(const volatile uint32_t *)&m->in.top[i] & ~(uint32_t)MAGAZINE_KIND) >= MAGAZINE_INSIDE)
			return false;
	return !*(const volatile uint32_t *)&m->shelf.busy;
}

static inline uint32_t magazine_bottom(uint64_t i) { return (uint32_t)i * MAGAZINE_STRIDE; }
static inline uint32_t magazine_top(const struct magazines *m, uint64_t i) { return m->in.top[i] & MAGAZINE_PLACE; }
static inline uint32_t magazine_count_of(const struct magazines *m, uint64_t i)
{
	return magazine_top(m, i) - magazine_bottom(i);
}

/* Its own, and in its line, which is numbers for people. Pairs with the acquire in pkg_magazine_holds(). Who is inside
 * stays there. */
static inline void magazine_set_top(struct magazines *m, uint64_t i, uint32_t top)
{
	OWN_SET(m->in.top[i], (m->in.top[i] & ~(uint32_t)MAGAZINE_PLACE) | top);
	OWN_SET(m->in.told->top[i], (uint16_t)top);
}

static inline void magazine_push(struct magazines *m, uint64_t i, uint32_t top, const void *ptr)
{
	OWN_SET(m->in.at[top], (uint64_t)(uintptr_t)ptr);
	magazine_set_top(m, i, top);
}

static inline uint64_t *magazine_tag_of(const void *ptr) { return (uint64_t *)((uintptr_t)ptr + CACHED_TAG); }
static inline uint64_t magazine_tag(const struct pool *p) { return p->generation | TAIL_CACHED; }

/* ---- the short way: what inline.h does in applications ---- */

/** What is wanted is what the thread has followed. */
static inline bool magazine_follows(const struct magazines *m)
{
	/* relaxed: a number; what was wished for before is followed by a call that begins after */
	return LIKELY(__atomic_load_n(m->in.wanted, __ATOMIC_RELAXED) == GATE(m->features));
}

/** A fragment of `size` bytes or more, or NULL: ask if the heap is ready, then the manager. */
static inline void *magazine_take(size_t size) { return mem_inline_take(&mem_pkg_self.own->in, size); }

/** The same, of zeros. */
static inline void *magazine_take_zeros(size_t size)
{
	void *ptr = magazine_take(size);

	return LIKELY(ptr) ? memset(ptr, 0, size) : NULL;
}

/* As its sealed word tells it, rotated, or where starts tell: STARTS_LARGE, or above it where no unrecorded fragment
 * begins. */
static inline uint64_t magazine_size(const struct magazines *m, const void *ptr, uint64_t step)
{
	return mem_inline_size(&m->in, (uintptr_t)ptr, step);
}

static inline uint64_t magazine_step(const struct magazines *m, const void *ptr)
{
	return mem_inline_step(&m->in, (uintptr_t)ptr);
}

static inline uint64_t magazine_size_started(const struct magazines *m, uint64_t step)
{
	uint64_t word, i;

	RACY_READS_BEGIN();
	word = m->starts[step / 64];
	i = m->sizes[step / 256];
	RACY_READS_END();
	return LIKELY(word >> step % 64 & 1) ? i : UINT64_MAX;
}

/**
 * true: `ptr` is a fragment in use that nobody recorded, and is in a magazine now. false: the long way finds out.
 * *ret_i: as its sealed word tells it, MAGAZINE_SIZES or more of one that is too large, or of what is no fragment; or 0
 */
static inline bool magazine_put_sized(void *ptr, uint64_t *ret_i)
{
	struct magazines *m = mem_pkg_self.own;
	uint64_t step = magazine_step(m, ptr), i;

	*ret_i = 0;
	if (LIKELY(step < GATE(m->in.steps)))
		*ret_i = i = magazine_size(m, ptr, step);
	else if (LIKELY(step < GATE(m->gate.starts)))
		i = magazine_size_started(m, step);
	else
		return false;
	return mem_inline_push(&m->in, (uintptr_t)ptr, i);
}

static inline bool magazine_put(void *ptr)
{
	uint64_t i;

	return magazine_put_sized(ptr, &i);
}

/* ---- past it ---- */

/** Whether there are magazines in front of such a manager at all. */
static inline bool magazines_possible(const struct mem_manager_ops *ops)
{
	const uint32_t cacheable = MEM_OWN_MEMORY | MEM_CACHEABLE;

	return (ops->owns && ops->marked) || (ops->flags & cacheable) == cacheable;
}

/** Rotated: one compare tells it from sizes that no magazine has. */
static inline uint64_t magazine_of(const struct magazines *m, uint64_t usable)
{
	uint64_t bytes = usable - m->head;

	return bytes >> 4 | bytes << 60;
}

/**
 * A manager that keeps its own memory gave `usable` bytes where `need` were wanted: such requests look for that size
 * from here on.
 */
static inline void magazine_learn(struct magazines *m, uint64_t need, uint64_t usable)
{
	uint64_t step = (need - 1) / 8, i = magazine_of(m, usable);

	if (step < GATE(m->gate.limit) && i < MAGAZINE_SIZES) {
		m->in.size_of[step] = m->in.size_of[step - 1] = (uint8_t)i;
		m->learned[step] = true;
	}
}

/** Usable bytes of a fragment that it gives where `need` are wanted, as it was learned; 0: ask. */
static inline uint64_t magazine_learned(const struct magazines *m, uint64_t need)
{
	uint64_t step = (need - 1) / 8;

	return LIKELY(step < GATE(m->gate.limit)) && LIKELY(m->learned[step]) ? 16ull * m->in.size_of[step] + m->head
									      : 0;
}

/**
 * The same as magazine_put(), of a manager that keeps its own memory, of a size that has a magazine. No tag is looked
 * at, which would wait for memory: of a second free that alone is seen which follows at once.
 */
static inline bool magazine_put_own_sized(struct magazines *m, void *ptr, uint64_t i)
{
	struct mem_inline_told *told;
	uint32_t top;

	(void)magazine_enter(m, i, &top);	/* in there already: behind all ends, too */
	if (UNLIKELY(top >= m->in.end[i]) || UNLIKELY(m->in.at[top] == (uintptr_t)ptr)) {
		magazine_leave(m, i, top);
		return false;
	}
	__builtin_prefetch(ptr, 1);	/* for who gets it next, and whose stores would wait one behind the other */
	told = m->in.told;
	OWN_SET(m->in.at[top + 1], (uint64_t)(uintptr_t)ptr);
	OWN_SET(told->top[i], (uint16_t)(top + 1));
	magazine_leave(m, i, top + 1);
	return true;
}

/** With the usable bytes that the manager told. */
static inline bool magazine_put_own(struct magazines *m, void *ptr, uint64_t usable)
{
	uint64_t i = magazine_of(m, usable);

	return LIKELY(i < MAGAZINE_SIZES) && magazine_put_own_sized(m, ptr, i);
}

/** Where its page tells its size, and nothing need be asked. `ptr` may be anything. */
static inline bool magazine_put_own_known(void *ptr)
{
	struct magazines *m = mem_pkg_self.own;
	struct own_leaf *const *directory = (struct own_leaf *const *)(uintptr_t)GATE(m->gate.own_sizes);
	uint64_t i;

	if (!directory || UNLIKELY(!magazine_follows(m)))
		return false;
	i = own_size(directory, ptr);
	return LIKELY(i - 1 < MAGAZINE_SIZES - 1) && magazine_put_own_sized(m, ptr, i);
}

/** It was the last one that this thread freed of its size: magazine_put_own() says no to it. */
static inline bool magazine_put_before(const struct magazines *m, const void *ptr, uint64_t usable)
{
	uint64_t i = magazine_of(m, usable);

	return i < MAGAZINE_SIZES && m->in.at[magazine_top(m, i)] == (uintptr_t)ptr;
}

/* The owner is inside of its shelf: it holds so much now, and says so. */
static inline void magazine_shelf_holds(struct magazines *m, uint64_t held)
{
	m->shelf.held = held;
	OWN_SET(magazine_told(m)->shelf, held);
}

/** Usable bytes of a sealed fragment that the manager has just given. */
static inline uint64_t magazine_usable(const struct magazines *m, const void *ptr)
{
	uint64_t word = *(const uint64_t *)((uintptr_t)ptr + m->in.back);

	return (word & ((1ull << 48) - 16)) + m->in.back;
}

/** What asks if the heap is ready, then front.c. @caller: where there is no site */
typedef void *pkg_alloc_fn(size_t size, const struct mem_site *site, const void *caller);
typedef void pkg_free_fn(void *ptr, const struct mem_site *site, const void *caller);
typedef void *pkg_realloc_fn(void *ptr, size_t size, const struct mem_site *site, const void *caller);
struct pkg_otherwise { pkg_alloc_fn *alloc; pkg_free_fn *free; pkg_realloc_fn *realloc; };
/** plain.c: by the manager alone, or otherwise. `ptr` is not NULL. */
void *pkg_plain_alloc(size_t size, const struct mem_site *site, const void *caller, pkg_alloc_fn *otherwise);
void pkg_plain_free(void *ptr, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise);
/** It stays where it is, or moves by what the thread has ready. `ptr` may be anything. */
void *pkg_plain_realloc(void *ptr, size_t size, const struct mem_site *site, const void *caller,
			const struct pkg_otherwise *otherwise);
/** The same of what magazine_put_sized() says it is: onto the thread's shelf, if it is not larger than what lies there.
 */
void pkg_shelf_free(void *ptr, uint64_t i, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise);
/** recorded.c: by what waits with its record, or otherwise; zeros: NULL. `ptr` is not NULL. */
void *pkg_recorded_zeros(size_t size, const struct mem_site *site, const void *caller);
void *pkg_recorded_alloc(size_t size, const struct mem_site *site, const void *caller, pkg_alloc_fn *otherwise);
void pkg_recorded_free(void *ptr, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise);
static inline bool magazine_records(const struct magazines *m) { return GATE(m->gate.places); }

static inline void *magazine_recorded_zeros(size_t size, const struct mem_site *site, const void *caller)
{
	return magazine_records(mem_pkg_self.own) ? pkg_recorded_zeros(size, site, caller) : NULL;
}

/** Into a magazine, onto the shelf, or to the manager; NULL is nothing. */
static inline void magazine_free(void *ptr, const struct mem_site *site, const void *caller, pkg_free_fn *otherwise)
{
	uint64_t i;

	if (LIKELY(magazine_put_sized(ptr, &i)))
		return;
	if (i >= MAGAZINE_SIZES)
		pkg_shelf_free(ptr, i, site, caller, otherwise);
	else if (!ptr || magazine_put_own_known(ptr))
		return;
	else if (UNLIKELY(magazine_records(mem_pkg_self.own)))
		pkg_recorded_free(ptr, site, caller, otherwise);
	else
		pkg_plain_free(ptr, site, caller, otherwise);
}

/** What finds no room on the thread's shelf went to the manager, with the lock: may it hold more, or shall less be
 * there? */
void pkg_shelf_unload(struct pool *p, struct magazines *m);
/** Of a process with one thread, which may free one without another: `ptr`, or what leaves the shelf for it. */
void *pkg_shelf_instead(struct pool *p, struct magazines *m, void *ptr, uint64_t usable);
/** Twice as many places where all are taken. false: there is room, as many as may be, or as much as the thread may. */
bool pkg_magazine_grow(struct magazines *m, uint64_t i);

enum magazine_answer { MAGAZINE_PUT, MAGAZINE_KNOWN, MAGAZINE_ASK };

/**
 * What magazine_put() did not serve, once the heap is ready. PUT: it is in a magazine now. Else it is for the manager:
 * KNOWN says that it has told so much already, and there was no room, ASK that nothing is known.
 */
enum magazine_answer pkg_magazine_put(struct pool *p, void *ptr);

/** Number of the magazine for `size` bytes; 0: none, which has no fragments. */
static inline uint64_t magazine_for(const struct magazines *m, size_t size)
{
	uint64_t i = (size - 1) / 8;

	return LIKELY(i < MAGAZINE_STEPS) ? m->in.size_of[i] : 0;
}

/**
 * The manager gave `usable` bytes where `need` were wanted: it had nothing smaller. Freed, these wait with others of
 * their own size, so that who wants size i again finds nothing there, and they find no room: all of them would go to
 * the manager and back. Now they are looked for where they are (magazine_given()), as long as there are any. Not what
 * is larger by more than a quarter, and a size: the heap would grow by that (qm, many small ones: 6 in 100).
 */
static inline void magazine_gave(struct magazines *m, uint64_t need, uint64_t usable)
{
	uint64_t i = need / 16, given = usable / 16;

	if (i < MAGAZINE_SIZES)
		m->given[i] = (uint8_t)(given - i - 1 <= i / 4 && given < MAGAZINE_SIZES ? given : 0);
}

/** Where `size` bytes are looked for: their own magazine, or if that is empty that of what was given last. 0: nowhere.
 */
static inline uint64_t magazine_given(const struct magazines *m, size_t size)
{
	uint64_t i = size ? magazine_for(m, size) : 0;

	return !i || m->in.at[magazine_top(m, i)] ? i : m->given[i];
}

/** As magazine_take(), from there. */
static inline void *magazine_take_given(struct magazines *m, size_t size)
{
	uint64_t i = magazine_given(m, size);

	return i ? mem_inline_take(&m->in, 16 * i + m->head) : NULL;
}

/* ---- with the lock ---- */

bool pkg_magazine_holds(const void *ptr, uint64_t usable);

/** Whether the unmarked fragment `ptr` in use lies in a magazine. Its bytes may look so by themselves. */
static inline bool magazine_holds(const struct pool *p, const void *ptr, uint64_t usable)
{
	return p == p->home && usable < SHELF_END && UNLIKELY(*magazine_tag_of(ptr) == magazine_tag(p)) &&
	       pkg_magazine_holds(ptr, usable);
}

/** Allocations from the thread's magazines get their numbers in the heap's counter. */
static inline void magazine_count(struct pool *p)
{
	struct magazines *m = mem_pkg_self.own;
	uint64_t taken = magazine_taken(m);

	if ((int64_t)taken > 0 && p == p->home) {
		p->counters.stamp += taken;
		signal_add64(&magazine_told(m)->start, taken);
	}
}

/* magazine.c. These take the lock. */

/** Magazines for the calling thread, to be made its own; NULL: no memory, or there are THREADS_MAX. */
struct magazines *pkg_magazines_claim(struct pool *p);
/** Another's from here on, as they are or empty. The thread has put mem_pkg_none in their place. */
void pkg_magazines_release(struct pool *p, struct magazines *m);
/**
 * Shard p follows what is wanted, as far as it `may`; of the heap's first one the calling thread's magazines do, too:
 * what was in them went back. Other threads' do when they next call.
 */
void pkg_magazines_follow(struct pool *p, uint64_t may);

/* These do not. */

/** The heap, or a child, has a META: lines of it. */
void pkg_magazines_attach(struct pool *p);
/**
 * In a child, whose META is still the parent's: what others' magazines hold goes back to the manager, or is lost with
 * the heap. false: this thread was inside of a call when it forked, from a signal handler.
 */
bool pkg_magazines_inherit(struct pool *p, bool lost);
/** Nobody goes the short way while the process forks, with the lock held; then everybody may again, in the parent. */
void pkg_magazines_hold(void);
void pkg_magazines_let_go(const struct pool *p);
/** The heap has grown, with the lock: what lies there may be put, too. */
void pkg_magazines_grown(const struct pool *p);
/** The owner's, with the lock: takes may go the short way again, unless one is due. */
void pkg_magazines_sampled(struct magazines *m);
/** All lines, as live.cached. */
uint64_t pkg_magazines_cached(const struct pool *p);

#endif /* FRONT_MAGAZINE_H */
