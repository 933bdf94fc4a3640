/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The short way of private memory, compiled into the application: memapi.h includes this, nobody else needs to.
 *
 * pkg_malloc(), pkg_mallocxz() and pkg_free() of small fragments take from and put into the calling thread's magazines
 * here, without a call; of a size that the compiler knows it works out the rest. Whatever is not served here is a call
 * of the library, which serves all. So it is what the library's own call begins with, and behaves the same.
 *
 * What is off costs one branch, which the CPU guesses: a thread that has not called yet, a child, call sites, stacks or
 * guards switched on, also live and by others, a heap that has no magazines. Each of them closes `key` and `steps`, or
 * makes `*wanted` another word than `key` was made of. Where a few allocations are sampled, takes count up to the one
 * that is looked at, and close `key` before it.
 *
 * The stamp. An application may run with a library of another version. A library opens its own stamp's gate alone; an
 * application with another one finds zeros, which is a closed gate, and calls. That needs three things to stay as they
 * are for all stamps: memapi_pkg_self, the page of gates, and `wanted` behind it. Whatever else here changes, but for
 * what is appended, gets the next stamp.
 *
 * Not compiled in: with MEMAPI_NO_INLINE, which is for those who put something of their own in the place of
 * mem_pkg_malloc(), too; without optimisation or for size; for ThreadSanitizer, which shall look into the library; and
 * where this is not measured: other CPUs than x86-64. Some 100 bytes of code a malloc, 180 a free.
 */
#ifndef MEMAPI_INLINE_H
#define MEMAPI_INLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define MEM_INLINE_WATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MEM_INLINE_WATCHED 1
#endif
#endif

#if defined(__GNUC__) && defined(__x86_64__) && defined(__LP64__) && defined(__OPTIMIZE__) && \
	!defined(__OPTIMIZE_SIZE__) && !defined(MEM_INLINE_WATCHED) && !defined(MEMAPI_NO_INLINE)
#define MEMAPI_INLINE 1			/* as opposed to calls */
#endif

#ifdef __GNUC__

#ifdef __cplusplus
extern "C" {
#endif

#ifndef MEMAPI_INLINE_STAMP
#define MEMAPI_INLINE_STAMP 2		/* 1 to 31 */
#endif

/* Sizes of 16 bytes, the last one from 1,024 on; steps of 8; places of a size, of which a few lie between. */
enum { MEM_INLINE_SIZES = 65, MEM_INLINE_STEPS = 2 * MEM_INLINE_SIZES, MEM_INLINE_STRIDE = 72 };
/* Of top[i]: a place, and how often its thread is inside; more of it: what is in there is not served here. */
enum { MEM_INLINE_INSIDE = 1 << 16 };
/* Of key: open. No feature has this bit. */
#define MEM_INLINE_OPEN 0x40000000u
/* Of the word before a fragment: a seal above its size, in use, and whether the one before it is free (manager.h). */
#define MEM_INLINE_SEAL 0x715f000000000000u
enum { MEM_INLINE_USED = 1, MEM_INLINE_PREV_FREE = 4, MEM_INLINE_TAG = 8 };

/** What the thread tells observers, in META. */
struct mem_inline_told {
	uint64_t taken;			/* allocations, from somewhere below 0 on; 0: the next one is to call */
	uint32_t head, recorded;
	uint16_t top[MEM_INLINE_SIZES];	/* as below */
};

/** Of a thread, in private memory. */
struct mem_inline {
	/* -- a page of gates, zeros in a forked child -- */
	char other_stamps[64 * MEMAPI_INLINE_STAMP];
	uint64_t key;			/* take: *wanted | OPEN */
	uint64_t from;			/* put: the first place of a payload */
	uint64_t steps;			/* places at multiples of 16 behind it */
	char more_stamps[4096 - 64 * MEMAPI_INLINE_STAMP - 24];
	/* -- */
	const uint64_t *wanted;		/* features that an operator wants, or a word of nobody's */
	/* -- of this stamp -- */
	struct mem_inline_told *told;
	uint64_t back;			/* from a payload to the word before it, modulo 2^64 */
	uint64_t tag;			/* of what lies in a magazine */
	uint8_t size_of[MEM_INLINE_STEPS];	/* of (bytes - 1) / 8 */
	uint32_t top[MEM_INLINE_STEPS];	/* place of the newest fragment of a size, or of the 0 below the oldest */
	uint32_t end[MEM_INLINE_STEPS];	/* where the topmost may be */
	__attribute__((aligned(64))) uint64_t at[MEM_INLINE_SIZES * MEM_INLINE_STRIDE];	/* addresses */
};

/** Of the calling thread. initial-exec: libmemapi is there from the start, or has its few bytes of TLS all the same. */
struct mem_inline_self { struct mem_inline *own; };
extern __thread struct mem_inline_self memapi_pkg_self __attribute__((tls_model("initial-exec"), visibility("default")));

/* ---- words ---- */

/* The user's fragment is of whatever type he stores there. */
typedef uint64_t __attribute__((may_alias)) mem_inline_word;

/*
 * GET: its owner reads it, and whoever forks may just be closing it, who does not care whether that is seen now or
 * soon. SET: its owner writes it, and others may look at it, who find what was written before it: a release store,
 * which gcc makes two instructions more of than the plain one that it is here. RACY: reads of words that others may be
 * writing, whatever they find.
 */
#if defined(MEM_INLINE_WATCHED) || !defined(__x86_64__)
#define MEM_INLINE_GET(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#define MEM_INLINE_SET(word, value) __atomic_store_n(&(word), (value), __ATOMIC_RELEASE)
#else
#define MEM_INLINE_GET(word) (word)
#define MEM_INLINE_SET(word, value) (*(volatile __typeof__(word) *)&(word) = (value))
#endif
#ifdef MEM_INLINE_WATCHED
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define MEM_INLINE_RACY_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define MEM_INLINE_RACY_END() AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#else
#define MEM_INLINE_RACY_BEGIN() ((void)0)
#define MEM_INLINE_RACY_END() ((void)0)
#endif

/* always: a place in the code is where the call behind it returns to */
#define MEM_INLINE_FN static inline __attribute__((always_inline, unused))

/* Of `taken`, as the signed number that it is. */
#define MEM_INLINE_PASSES(taken) ((int64_t)(taken) < 0)

/*
 * One instruction, so that a signal handler of the thread finds the word before it or after it. Others only read. The
 * step, by one, tells whether there may be more.
 */
#if defined(__x86_64__) && !defined(MEM_INLINE_WATCHED)
MEM_INLINE_FN void mem_inline_add32(uint32_t *word, uint32_t n)
{
	__asm__ volatile("addl %1, %0" : "+m"(*word) : "er"(n) : "cc", "memory");
}

MEM_INLINE_FN bool mem_inline_step64(uint64_t *word)
{
	/* one jump: gcc makes three instructions of a flag that is a result, when it puts others in between */
	__asm__ goto("addq $1, %0\n\tjns %l1" : : "m"(*word) : "cc", "memory" : none);
	return true;
none:
	return false;
}
#else
MEM_INLINE_FN void mem_inline_add32(uint32_t *word, uint32_t n) { __atomic_fetch_add(word, n, __ATOMIC_RELAXED); }
MEM_INLINE_FN bool mem_inline_step64(uint64_t *word)
{
	return MEM_INLINE_PASSES(__atomic_add_fetch(word, 1, __ATOMIC_RELAXED));
}
#endif

MEM_INLINE_FN bool mem_inline_rarely(bool what) { return __builtin_expect(what, 0); }

MEM_INLINE_FN mem_inline_word *mem_inline_tag_of(uintptr_t fragment)
{
	return (mem_inline_word *)(fragment + MEM_INLINE_TAG);
}

/* For the compiler: it is worked out here, and not again from what it was made of. */
MEM_INLINE_FN uint32_t mem_inline_once(uint32_t n)
{
	__asm__("" : "+r"(n));
	return n;
}

/* ---- one magazine ---- */

/*
 * The owner goes in, and has to go again, whatever the answer. MEM_INLINE_INSIDE or more: it is in there already, this
 * is a signal handler, or what is in there is of another kind than is served here. One instruction says so: between a
 * look and a store a handler could come and go. The store of the top, last of all, is the way out.
 */
MEM_INLINE_FN uint32_t mem_inline_enter(struct mem_inline *own, uint64_t i)
{
	mem_inline_add32(&own->top[i], MEM_INLINE_INSIDE);
	return *(const volatile uint32_t *)&own->top[i] - MEM_INLINE_INSIDE;
}

MEM_INLINE_FN void mem_inline_leave(struct mem_inline *own, uint64_t i, uint32_t top)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	MEM_INLINE_SET(own->top[i], top);
}

/* Who goes in twice here, or where it is closed, is behind the end, too: it finds no room. */
MEM_INLINE_FN bool mem_inline_push(struct mem_inline *own, uintptr_t fragment, uint64_t i)
{
	struct mem_inline_told *told;
	uint64_t tag = own->tag;
	uint32_t top;

	if (mem_inline_rarely(i >= MEM_INLINE_SIZES) || mem_inline_rarely(*mem_inline_tag_of(fragment) == tag))
		return false;
	top = mem_inline_enter(own, i);
	if (mem_inline_rarely(top >= own->end[i])) {
		mem_inline_leave(own, i, top);
		return false;
	}
	told = own->told;		/* inside: no handler takes it away any more */
	*mem_inline_tag_of(fragment) = tag;
	top = mem_inline_once(top + 1);
	MEM_INLINE_SET(own->at[top], (uint64_t)fragment);
	MEM_INLINE_SET(told->top[i], (uint16_t)top);
	mem_inline_leave(own, i, top);
	return true;
}

/* ---- take ---- */

/** What is wanted is what the thread has followed, and it may. */
MEM_INLINE_FN bool mem_inline_open(const struct mem_inline *own)
{
	/* relaxed: a number; what was wished for before is followed by a call that begins after */
	return !mem_inline_rarely((__atomic_load_n(own->wanted, __ATOMIC_RELAXED) | MEM_INLINE_OPEN) !=
				  MEM_INLINE_GET(own->key));
}

/** A fragment of `bytes` or more, or NULL: call. */
MEM_INLINE_FN void *mem_inline_take(struct mem_inline *own, size_t bytes)
{
	uint64_t step = (bytes - 1) / 8, i;
	struct mem_inline_told *told;
	uintptr_t fragment;
	uint32_t top;

	if (mem_inline_rarely(step >= MEM_INLINE_STEPS) || !mem_inline_open(own))
		return NULL;
	i = own->size_of[step];
	top = mem_inline_enter(own, i);
	if (mem_inline_rarely(top >= MEM_INLINE_INSIDE) || mem_inline_rarely(!own->at[top])) {
		mem_inline_leave(own, i, top);
		return NULL;
	}
	told = own->told;
	fragment = (uintptr_t)own->at[top];
	top = mem_inline_once(top - 1);
	MEM_INLINE_SET(told->top[i], (uint16_t)top);
	if (mem_inline_rarely(!mem_inline_step64(&told->taken)))
		MEM_INLINE_SET(own->key, 0);	/* and so again, should another open it just now */
	mem_inline_leave(own, i, top);
	*mem_inline_tag_of(fragment) = 0; /* beside the caller's first store there: a pair takes 4 % less by that */
	return (void *)fragment;
}

/* ---- put ---- */

/** Which place for a payload it is, counted from the heap's first; one that there is none of: it is none. */
MEM_INLINE_FN uint64_t mem_inline_step(const struct mem_inline *own, uintptr_t fragment)
{
	uint64_t at = fragment - MEM_INLINE_GET(own->from);

	return at >> 4 | at << 60;
}

/*
 * Its size i, of the fragment in use there, rotated, so that one compare tells it from all that it is not. Its words
 * may be others' just now, who free the fragment before it: what they change is let go.
 */
MEM_INLINE_FN uint64_t mem_inline_size(const struct mem_inline *own, uintptr_t fragment, uint64_t step)
{
	uint64_t word;

	MEM_INLINE_RACY_BEGIN();
	word = *(const mem_inline_word *)(fragment + (uintptr_t)own->back);
	MEM_INLINE_RACY_END();
	word = ((word & ~(uint64_t)MEM_INLINE_PREV_FREE) ^ step << 48) - (MEM_INLINE_SEAL | MEM_INLINE_USED) - 16;
	return word >> 4 | word << 60;
}

/** true: it was a fragment in use that nobody recorded, and is in a magazine now. false: call. */
MEM_INLINE_FN bool mem_inline_put(struct mem_inline *own, void *fragment)
{
	uintptr_t at = (uintptr_t)fragment;
	uint64_t step;

	__asm__("" : "+r"(at));		/* for the compiler: of whatever object, its head is there, too */
	step = mem_inline_step(own, at);
	return !mem_inline_rarely(step >= MEM_INLINE_GET(own->steps)) &&
	       mem_inline_push(own, at, mem_inline_size(own, at, step));
}

#ifdef __cplusplus
}
#endif
#endif /* __GNUC__ */
#endif /* MEMAPI_INLINE_H */
