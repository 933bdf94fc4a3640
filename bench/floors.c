/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does this machine ask for the steps that an allocation consists of?
 *
 * Each step runs in a loop, timed in slices of a millisecond, one step after the other in each round; a figure is the
 * fastest slice, less that of a step that does nothing. The last one is the pair of malloc and free in which the other
 * benches count: what a pair of ours takes is made of such steps (docs/performance.md).
 */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLICES = 20, SLICE_NS = 1000000, MANY = 64, LINE = 64, PAGE = 4096, TOUCHED = 2048 };

struct floor_state {
	pthread_mutex_t plain, robust;
	void **circle;			/* of lines, in an order that no prefetcher guesses */
	unsigned char *pages;
	unsigned touched;
	int flags;			/* of the mapping whose pages are touched */
};

static struct floor_state state;
static __thread volatile uint64_t own_counter;
static __thread void *volatile own_top;
static uint64_t word;

/* ---- steps ---- */

#define KEEP(value) __asm__ volatile("" : "+r"(value) : : "memory")
#define MANY_TIMES for (unsigned step = 0; step < MANY; step++)

static void nothing(void)
{
	MANY_TIMES __asm__ volatile("" : : : "memory");
}

static void thread_local_word(void)
{
	MANY_TIMES own_counter = own_counter + 1;
}

/* The least that a pair can be: the newest one off a list of the thread's own, and onto it again. */
static void list(void)
{
	MANY_TIMES {
		void **first = own_top;

		own_top = *first;
		KEEP(first);
		*first = own_top;
		own_top = first;
	}
}

static void calls(void)
{
	static long (*volatile far)(long) = labs;	/* by a word, as functions of libraries are */

	MANY_TIMES {
		far((long)step);
		far((long)step);
	}
}

static void exchange(void)
{
	MANY_TIMES __atomic_exchange_n(&word, 1, __ATOMIC_ACQ_REL);
}

static void lock(void)
{
	MANY_TIMES {
		uint64_t free = 0;

		__atomic_compare_exchange_n(&word, &free, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
		__atomic_store_n(&word, 0, __ATOMIC_RELEASE);
	}
}

static void mutex(void)
{
	MANY_TIMES {
		pthread_mutex_lock(&state.plain);
		pthread_mutex_unlock(&state.plain);
	}
}

static void robust(void)
{
	MANY_TIMES {
		pthread_mutex_lock(&state.robust);
		pthread_mutex_unlock(&state.robust);
	}
}

static void seconds(void) { MANY_TIMES(void) time(NULL); }

static void nanoseconds(void)
{
	struct timespec t;

	MANY_TIMES clock_gettime(CLOCK_MONOTONIC, &t);
}

static void system_call(void)
{
	MANY_TIMES syscall(SYS_gettid);
}

static void follow(void)
{
	void **at = state.circle;

	MANY_TIMES at = *at;
	state.circle = at;
}

static void touch(void)
{
	if (!state.pages || state.touched == TOUCHED) {
		if (state.pages)
			munmap(state.pages, (size_t)TOUCHED * PAGE);
		state.pages = mmap(NULL, (size_t)TOUCHED * PAGE, PROT_READ | PROT_WRITE, state.flags, -1, 0);
		if (state.pages == MAP_FAILED)
			_exit(1);
		state.touched = 0;
	}
	MANY_TIMES state.pages[(size_t)state.touched++ * PAGE] = 1;
}

static void pair(void)
{
	MANY_TIMES {
		void *p = malloc(64);

		KEEP(p);
		free(p);
	}
}

static const struct {
	const char *name;
	void (*steps)(void);
	size_t bytes;			/* of the circle that is followed */
	int flags;			/* of the pages that are touched */
} floors[] = {
	{ "nothing", nothing, 0, 0 },	/* the loop itself */
	{ "increment of a thread-local word", thread_local_word, 0, 0 },
	{ "newest off a thread's list, and onto it", list, 0, 0 },
	{ "two calls of another library", calls, 0, 0 },
	{ "exchange", exchange, 0, 0 },
	{ "compare-and-exchange, and a plain store", lock, 0, 0 },
	{ "mutex, locked and unlocked", mutex, 0, 0 },
	{ "robust mutex of several processes", robust, 0, 0 },
	{ "time()", seconds, 0, 0 },
	{ "clock_gettime(CLOCK_MONOTONIC)", nanoseconds, 0, 0 },
	{ "a system call", system_call, 0, 0 },
	{ "a load that waits for the one before, 16 KiB", follow, 16 << 10, 0 },
	{ "the same, 256 KiB", follow, 256 << 10, 0 },
	{ "the same, 8 MiB", follow, 8 << 20, 0 },
	{ "the same, 256 MiB", follow, 256 << 20, 0 },
	{ "first touch of a private page", touch, 0, MAP_PRIVATE | MAP_ANONYMOUS },
	{ "first touch of a shared page", touch, 0, MAP_SHARED | MAP_ANONYMOUS },
	{ "malloc(64) and free() of the C library", pair, 0, 0 },
};
enum { FLOORS = sizeof floors / sizeof *floors };

/* ---- what they need ---- */

/* Sattolo's shuffle: one circle through all lines. */
static void **circle(size_t bytes)
{
	size_t lines = bytes / LINE;
	uint32_t *at = malloc(lines * sizeof *at);
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t random = 88172645463325252u;

	if (!at || memory == MAP_FAILED)
		return NULL;
	for (size_t i = 0; i < lines; i++)
		at[i] = (uint32_t)i;
	for (size_t i = lines - 1; i > 0; i--) {
		size_t j = (size_t)(((uint64_t)bench_random(&random) * i) >> 32);
		uint32_t was = at[i];

		at[i] = at[j];
		at[j] = was;
	}
	for (size_t i = 0; i < lines; i++)
		*(void **)(void *)(memory + i * LINE) = memory + (size_t)at[i] * LINE;
	free(at);
	return (void **)(void *)memory;
}

static bool prepare(unsigned n)
{
	static void *only[2];
	pthread_mutexattr_t shared;

	only[0] = &only[1];
	own_top = only;
	state.flags = floors[n].flags;
	state.circle = floors[n].bytes ? circle(floors[n].bytes) : NULL;
	return !pthread_mutexattr_init(&shared) && !pthread_mutexattr_setrobust(&shared, PTHREAD_MUTEX_ROBUST) &&
	       !pthread_mutexattr_setpshared(&shared, PTHREAD_PROCESS_SHARED) &&
	       !pthread_mutex_init(&state.plain, NULL) && !pthread_mutex_init(&state.robust, &shared) &&
	       !(floors[n].bytes && !state.circle);
}

struct job { unsigned n; double scale; };

/* value[0]: ns a step with its share of the loop, of the fastest slice */
static void measure(const void *arg, struct bench_result *result)
{
	const struct job *job = arg;
	unsigned n = job->n;
	double least = 0;

	alarm(60);
	bench_pin(0);
	if (!prepare(n)) {
		snprintf(result->error, sizeof result->error, "no memory for the benchmark itself");
		return;
	}
	for (unsigned slice = 0; slice < SLICES; slice++) {
		uint64_t from = bench_ns(CLOCK_MONOTONIC), to, count = 0;

		do {
			floors[n].steps();
			count += MANY;
			to = bench_ns(CLOCK_MONOTONIC);
		} while ((double)(to - from) < SLICE_NS * job->scale);
		if (!slice || (double)(to - from) / (double)count < least)
			least = (double)(to - from) / (double)count;
	}
	result->value[0] = least;
}

/* ---- output ---- */

static void print(const struct bench_options *o, unsigned n, const struct bench_series *ns,
		  const struct bench_series *pairs)
{
	struct bench_spread is = bench_spread(ns), of = bench_spread(pairs);

	if (o->json) {
		printf("{\"bench\":\"floors\",\"step\":\"%s\",", floors[n].name);
		bench_json_series(stdout, "ns", ns);
		putchar(',');
		bench_json_series(stdout, "x_pair", pairs);
		puts("}");
	} else {
		printf("%-46s %9.2f [%.2f-%.2f] %12.2f [%.2f-%.2f]\n", floors[n].name, is.median, is.min, is.max, of.median, of.min, of.max);
	}
}

static bool one_round(const struct bench_options *o, unsigned round, struct bench_series *ns,
		      struct bench_series *pairs)
{
	double took[FLOORS];

	for (unsigned i = 0; i < FLOORS; i++) {
		struct job job = { round % 2 ? FLOORS - 1 - i : i, o->scale };
		struct bench_result result = { .error = "" };

		bench_in_child(measure, &job, &result);
		if (result.error[0]) {
			fprintf(stderr, "%s: %s\n", floors[job.n].name, result.error);
			return false;
		}
		took[job.n] = result.value[0];
	}
	for (unsigned n = 1; n < FLOORS; n++) {
		bench_add(&ns[n], took[n] - took[0]);
		bench_add(&pairs[n], (took[n] - took[0]) / (took[FLOORS - 1] - took[0]));
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct bench_series ns[FLOORS], pairs[FLOORS];
	struct bench_options o;

	bench_options(argc, argv, "Times the steps that an allocation consists of.", &o);
	bench_machine(&o, "floors");
	if (!o.json)
		printf("%-46s %9s %20s\n", "", "ns", "x the C library's pair");
	for (unsigned round = 0; round < o.rounds; round++)
		if (!one_round(&o, round, ns, pairs))
			return 1;
	for (unsigned n = 1; n < FLOORS; n++)
		if (!o.only || strstr(floors[n].name, o.only))
			print(&o, n, &ns[n], &pairs[n]);
	return 0;
}
