/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pkg, memory.track = sampled: of all allocations a few get a record, with their stack, and all others nothing.
 *
 *	p(bytes) = 1 - e^(-bytes / memory.sample)	that an allocation is one of them
 *	1 / p(bytes)					how many it then stands for, in its record (weight_code())
 *
 * That is a Poisson process over the bytes that a program allocates, one point each memory.sample bytes on average; who
 * has a point in it is sampled. So the sum over all records of weight, or of weight times size, is what the program
 * holds, on average over what the dice might have been, for each call site, whatever else goes on: nothing is hit more
 * often for being the first after another, or in step with one. The process and the weights are those of tcmalloc's and
 * jemalloc's heap profiles (jemalloc, doc_internal/PROFILING_INTERNALS.md, which derives them).
 *
 * Where nobody counts bytes, points are found otherwise. Points in bytes that do not overlap know nothing of each
 * other, so that there may be two such processes:
 *
 *	takes from magazines	each is looked at with the same probability, that of the largest size q = p(1032): how
 *				many go by until then is drawn at once (geometric), and counted by what counts takes
 *				anyway: `taken` comes to 0. The one that is looked at is sampled with p(its bytes) / q
 *	all others		go the long way, or to the shelf: bytes are counted down from what was drawn
 *				(exponential)
 *
 * A fragment that grows counts by what it grows, and stays what it is, in its place or moved; when what it grows by has
 * the point it moves, once, to one with a record. Its weight is then that of its largest size.
 *
 * So a take has one instruction more, a jump that is not taken, whether there are samples or not; a free has none, as
 * what has a record is no fragment of magazines' already. A sample costs some 10 us, one take in 500 some 100 ns.
 */
#ifndef FRONT_SAMPLED_H
#define FRONT_SAMPLED_H

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/front/magazine.h"
#include "mem/pool.h"

/** What a thread has drawn. Zeros: nothing yet. */
struct sampling {
	uint64_t left;			/* bytes, not from magazines, that are to pass */
	uint64_t random;		/* state of the generator; 0: it has none */
	uint32_t carried;		/* weight that the next FRONT_SAMPLED has at most; 0: none */
	bool busy;			/* a stack is being taken, which may allocate */
	bool missed;			/* the take that was looked at is none of these: it is the first to pass */
};
extern _Thread_local struct sampling mem_pkg_sampling
	__attribute__((tls_model("initial-exec"), visibility("hidden")));

/** memory.sample: before the heap is made. */
void pkg_sample_every(uint64_t bytes);
/** Numbers of all threads from here on, for tests; of those that have drawn none yet. 0: by chance. */
void pkg_sample_seed(uint64_t seed);

/** A magazine would serve such a request: it is a take. */
static inline bool sample_is_take(const struct magazines *m, size_t size)
{
	return m->in.at[magazine_top(m, magazine_given(m, size))];
}

/** Whether what goes the long way is to be looked at. `need`: with all that the manager adds. */
static inline bool sample_due(const struct magazines *m, size_t size, uint64_t need)
{
	return need > mem_pkg_sampling.left || (magazine_trapped(m) && sample_is_take(m, size));
}

/** It was not due, and is the caller's now. */
static inline void sample_pass(uint64_t need)
{
	uint64_t left = mem_pkg_sampling.left;

	mem_pkg_sampling.left = left > need ? left - need : 0;	/* a signal handler may have been here */
}

/** The take after this one is not due. */
static inline bool sample_far(const struct magazines *m) { return (int64_t)m->in.told->taken < -1; }

/** That was no take to be looked at. */
static inline void sample_uncount(struct magazines *m)
{
	signal_add64(&magazine_told(m)->start, -1ull);
	signal_add64(&m->in.told->taken, -1ull);
}

/** Whether so many bytes that a fragment shall grow by have the point in them. Nothing is drawn. */
static inline bool sample_growth_due(uint64_t bytes) { return bytes > mem_pkg_sampling.left; }

/**
 * pkg_sample - is it one that gets a record?
 * @need: bytes that the manager is asked for, without a record's
 *
 * Of a request that came the long way, without the lock. FRONT_MISSED: no magazine served it. FRONT_SAMPLED: it is, in
 * any case. FRONT_PASSED: it is not. 0, or its weight_code().
 */
uint32_t pkg_sample(const struct front_call *call, size_t size, uint64_t need);
/** Of a sampled one of so many bytes; one that has grown in place has it as if it had been sampled at this size. */
uint32_t pkg_sample_weight(uint64_t bytes);
/** Magazines begin, or end, to be sampled. The caller is their owner, has the lock, or is alone. */
void pkg_sample_follow(const struct pool *p, struct magazines *m, bool sampled);
/** The take that pkg_sample() has just looked at, from its magazine, if it is not sampled. NULL: it is another request.
 */
void *pkg_sample_take(size_t size);
/** In a child: its numbers are its own. */
void pkg_sample_forget(void);

#endif /* FRONT_SAMPLED_H */
