/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The conformance suite at the level of a program: manager x domain x way of watching x build, through memapi.h alone.
 *
 * conform.c makes a process of its own for each part, whose pool is made at its first call; a part that returns has
 * passed. conform and conform_dbg are the same sources without and with DBG_SR_MEMORY.
 */
#ifndef CONFORMANCE_CONFORM_H
#define CONFORMANCE_CONFORM_H

#include <errno.h>
#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <memapi/observe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** How the heap is watched: nothing but what the domain always does, call sites, guards too, or switched while it runs.
 */
enum watch { OFF, SITES, GUARDS, SWITCHED, WATCHES };

struct memory {
	const char *domain, *manager;
	bool shared;
	enum watch watch;
	size_t size;			/* of the pool */
	unsigned turns;			/* calls of the long parts */
	void *(*alloc)(size_t size);
	void *(*zeros)(size_t size);
	void *(*aligned)(size_t align, size_t size);
	void *(*realloc)(void *p, size_t size);
	void *(*reallocxf)(void *p, size_t size);
	void (*free)(void *p);
	size_t (*usable)(const void *p);
	void (*info)(struct mem_info *info);
};

/** What is not true ends the process with its line. Also from a thread. */
#define EXPECT(x)	 ((x) ? (void)0 : fail(__FILE__, __LINE__, #x))
__attribute__((noreturn)) void fail(const char *file, int line, const char *what);

/** The parts. */
void bad_arguments(const struct memory *m);
void alignments(const struct memory *m);
void grow_and_shrink(const struct memory *m);
void random_calls(const struct memory *m);
void counters_at_every_step(const struct memory *m);
void exhaustion(const struct memory *m);
void fragmentation(const struct memory *m);
void processes(const struct memory *m);
void threads(const struct memory *m);

/* ---- what they share ---- */

/** A number below `n`, n not 0. */
size_t pick(uint64_t *seed, size_t n);
/** Most of them small, few large: up to 64 KiB. */
size_t some_size(uint64_t *seed);

/** Bytes that depend on `key`, and whether they are still there. */
void fill(void *p, size_t size, uint64_t key);
bool intact(const void *p, size_t size, uint64_t key);

/** Every view of the heap says the same: info, report, walk, and what an observer sees. `used`: fragments that we hold.
 */
void expect_views_agree(const struct memory *m, uint64_t used);
/** The observer's view of this process's pool, made at the first call. */
struct obs_pool *observed(const struct memory *m);
/** Whether the observer can count what is free: managers with memory of their own cannot. */
bool counts_free(const struct memory *m);
/** Failures so far; the newest in *ret_last unless NULL. */
uint64_t failures(const struct memory *m, struct obs_failure *ret_last);
/** The next way of watching, for SWITCHED. */
void watch_otherwise(const struct memory *m, unsigned turn);

/** Usable bytes of the largest request that is served now. */
size_t largest_served(const struct memory *m);

#endif /* CONFORMANCE_CONFORM_H */
