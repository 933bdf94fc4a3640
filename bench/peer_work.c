/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What peers.py runs on one allocator after the other: a program that knows malloc() and no more.
 *
 * bench_peer_work WORK [SCALE]: prints a line for each figure, "name value". Times are ns of processor time for a pair
 * of malloc and free, or for a realloc; with two threads they are ns of wall time for a pair of one thread. Memory is
 * resident bytes, beyond those before the work, for each byte that was asked for and is held.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STEP = 20000, SLICES = 9, RING = 512, LARSON_LIVE = 1000, LARSON_TURNS = 20000, TICKS_MAX = 1 << 20 };
#define SLICE_NS 60000000ull
#define HELD_BYTES (64ull << 20)

static double scale = 1;

/* Through pointers, which the compiler knows nothing of. */
static void *(*volatile take)(size_t) = malloc;
static void (*volatile give)(void *) = free;
static void *(*volatile change)(void *, size_t) = realloc;

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint32_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 32);
}

static void *taken(size_t size)
{
	void *p = take(size);

	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	*(volatile uint64_t *)p = size;
	return p;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* ---- one thread ---- */

struct state {
	uint64_t random;
	void **at;
	size_t live, least, most;
};

typedef void step_fn(struct state *s, unsigned n);

/* Median of some slices of the time that a step takes, a unit of it. */
static double timed(step_fn *step, struct state *s, unsigned units)
{
	double slice[SLICES];

	for (unsigned i = 0; i < SLICES; i++) {
		uint64_t from = now(CLOCK_THREAD_CPUTIME_ID), to, steps = 0;

		do {
			step(s, STEP);
			steps++;
			to = now(CLOCK_THREAD_CPUTIME_ID);
		} while ((double)(to - from) < SLICE_NS * scale);
		slice[i] = (double)(to - from) / (double)steps / STEP / units;
	}
	qsort(slice, SLICES, sizeof *slice, by_value);
	return slice[SLICES / 2];
}

static void step_lifo(struct state *s, unsigned n)
{
	while (n--)
		give(taken(s->least));
}

static void step_batches(struct state *s, unsigned n)
{
	for (; n; n -= (unsigned)s->live) {
		if (n < s->live)
			s->live = n;
		for (size_t i = 0; i < s->live; i++)
			s->at[i] = taken(s->least);
		for (size_t i = 0; i < s->live; i++)
			give(s->at[i]);
	}
}

static size_t some_size(struct state *s, uint32_t r) { return s->least + r % (s->most - s->least + 1); }

static void step_random(struct state *s, unsigned n)
{
	while (n--) {
		uint32_t r = next(&s->random);
		void **at = &s->at[(uint64_t)r * s->live >> 32];

		if (*at)
			give(*at);
		*at = taken(some_size(s, r));
	}
}

/* As many blocks between n and 2 n as between 2 n and 4 n. */
static void step_large(struct state *s, unsigned n)
{
	while (n--) {
		uint32_t r = next(&s->random);
		void **at = &s->at[(uint64_t)r * s->live >> 32];
		size_t size = (size_t)4096 << r % 8;

		if (*at)
			give(*at);
		*at = taken(size + next(&s->random) % size);
	}
}

static void step_realloc_alone(struct state *s, unsigned n)
{
	for (; n; n--) {
		s->live = s->at[0] && s->live < 1 << 20 ? s->live + s->live / 4 + 1 : 16;
		if (s->live == 16 && s->at[0]) {
			give(s->at[0]);
			s->at[0] = NULL;
		}
		s->at[0] = change(s->at[0], s->live);
		((volatile char *)s->at[0])[s->live - 1] = 1;
	}
}

static void step_realloc_two(struct state *s, unsigned n)
{
	for (; n; n--) {
		void **at = &s->at[n & 1];

		if (s->live > 65536) {
			give(s->at[0]);
			give(s->at[1]);
			s->at[0] = s->at[1] = NULL;
			s->live = 0;
		}
		s->live += n & 1 ? 0 : 64;
		*at = change(*at, s->live + 64);
		((volatile char *)*at)[s->live] = 1;
	}
}

static const struct one { const char *name; step_fn *step; size_t live, least, most; unsigned units; } ones[] = {
	{ "lifo64", step_lifo, 1, 64, 64, 1 },
	{ "lifo400", step_lifo, 1, 400, 400, 1 },
	{ "batch64", step_batches, 256, 64, 64, 1 },
	{ "random1k", step_random, 1000, 16, 1024, 1 },
	{ "random100k", step_random, 100000, 16, 1024, 1 },
	{ "random1m", step_random, 1000000, 16, 1024, 1 },
	{ "large", step_large, 64, 4096, 1 << 20, 1 },
	{ "realloc1", step_realloc_alone, 2, 16, 1 << 20, 1 },
	{ "realloc2", step_realloc_two, 2, 64, 65536, 1 },
};

static void **places(size_t n)
{
	void **at = calloc(n, sizeof *at);

	if (!at) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return at;
}

static struct state begin(const struct one *w, uint64_t seed)
{
	struct state s = { seed, places(w->live), w->live, w->least, w->most };

	if (w->step == step_random)
		step_random(&s, (unsigned)w->live * 4);	/* nearly all places are held */
	return s;
}

static void run_one(const struct one *w)
{
	struct state s = begin(w, 88172645463325252u);

	w->step(&s, STEP);
	printf("%s %.3f\n", w->name, timed(w->step, &s, w->units));
}

/* ---- two threads ---- */

static pthread_barrier_t both;
static _Atomic bool enough;

struct worker { const struct one *w; uint64_t seed, steps; };

static void *at_work(void *arg)
{
	struct worker *me = arg;
	struct state s = begin(me->w, me->seed);

	me->w->step(&s, STEP);
	pthread_barrier_wait(&both);
	for (; !enough; me->steps++)
		me->w->step(&s, STEP);
	return NULL;
}

static void sleep_ns(double ns)
{
	nanosleep(&(struct timespec){ (time_t)(ns / 1e9), (long)fmod(ns, 1e9) }, NULL);
}

static void run_two(const struct one *w)
{
	struct worker worker[2] = { { w, 88172645463325252u, 0 }, { w, 362436069362436069u, 0 } };
	pthread_t thread[2];
	uint64_t from;

	pthread_barrier_init(&both, NULL, 3);
	for (unsigned i = 0; i < 2; i++)
		if (pthread_create(&thread[i], NULL, at_work, &worker[i]))
			exit(1);
	pthread_barrier_wait(&both);
	from = now(CLOCK_MONOTONIC);
	sleep_ns(SLICES * SLICE_NS * scale);
	enough = true;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	printf("%s_2 %.3f\n", w->name, (double)(now(CLOCK_MONOTONIC) - from) * 2 /
					       ((double)(worker[0].steps + worker[1].steps) * STEP));
}

/* One thread allocates, the other one frees. */
static struct { _Alignas(64) _Atomic uint64_t in; _Alignas(64) _Atomic uint64_t out; void *at[RING]; } ring;

static void *consume(void *arg)
{
	(void)arg;
	for (uint64_t out = 0;; out++) {
		void *p;

		while (atomic_load_explicit(&ring.in, memory_order_acquire) == out)
			;
		p = ring.at[out % RING];
		atomic_store_explicit(&ring.out, out + 1, memory_order_release);
		if (!p)
			return NULL;
		give(p);
	}
}

static void produce(uint64_t in, void *p)
{
	while (in - atomic_load_explicit(&ring.out, memory_order_acquire) == RING)
		;
	ring.at[in % RING] = p;
	atomic_store_explicit(&ring.in, in + 1, memory_order_release);
}

static void run_handover(void)
{
	uint64_t random = 88172645463325252u, in = 0, from, to;
	pthread_t thread;

	if (pthread_create(&thread, NULL, consume, NULL))
		exit(1);
	from = now(CLOCK_MONOTONIC);
	do {
		for (unsigned i = 0; i < STEP; i++)
			produce(in++, taken(16 + next(&random) % 497));
		to = now(CLOCK_MONOTONIC);
	} while ((double)(to - from) < SLICES * SLICE_NS * scale);
	produce(in, NULL);
	pthread_join(thread, NULL);
	printf("handover %.3f\n", (double)(to - from) / (double)in);
}

/*
 * A server whose threads end and hand what they hold to the next (P. Larson, M. Krishnan, "Memory Allocation for
 * Long-Running Server Applications", 1998).
 */
struct shift { void *at[LARSON_LIVE]; uint64_t random, pairs, until; };

static void *serve(void *arg)
{
	struct shift *s = arg;
	struct state state = { s->random, s->at, LARSON_LIVE, 16, 1024 };

	step_random(&state, LARSON_TURNS);
	s->random = state.random;
	s->pairs += LARSON_TURNS;
	return NULL;
}

static void *shifts(void *arg)
{
	struct shift *s = arg;
	pthread_t thread;

	while (now(CLOCK_MONOTONIC) < s->until)
		if (pthread_create(&thread, NULL, serve, s) || pthread_join(thread, NULL))
			exit(1);
	return NULL;
}

static void run_larson(void)
{
	uint64_t from = now(CLOCK_MONOTONIC), until = from + (uint64_t)(SLICES * SLICE_NS * scale);
	static struct shift line[2];
	pthread_t thread[2];

	for (unsigned i = 0; i < 2; i++) {
		line[i] = (struct shift){ .random = 88172645463325252u + i, .until = until };
		if (pthread_create(&thread[i], NULL, shifts, &line[i]))
			exit(1);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	printf("larson %.3f\n", (double)(now(CLOCK_MONOTONIC) - from) * 2 / (double)(line[0].pairs + line[1].pairs));
}

/* ---- single calls ---- */

static void note(unsigned *histogram, uint64_t ns) { histogram[ns < TICKS_MAX ? ns : TICKS_MAX - 1]++; }

static unsigned percentile(const unsigned *histogram, double share)
{
	uint64_t all = 0, seen = 0;

	for (unsigned i = 0; i < TICKS_MAX; i++)
		all += histogram[i];
	for (unsigned i = 0; i < TICKS_MAX; i++) {
		seen += histogram[i];
		if ((double)seen >= share * (double)all)
			return i;
	}
	return TICKS_MAX;
}

/* The clock's own time, some 20 ns, is in it. */
static void run_latency(void)
{
	static unsigned histogram[TICKS_MAX];
	const uint64_t calls = (uint64_t)(4e6 * scale);
	struct state s = { 88172645463325252u, places(10000), 10000, 16, 1024 };

	step_random(&s, 80000);
	for (uint64_t i = 0; i < calls; i++) {
		uint32_t r = next(&s.random);
		void **at = &s.at[(uint64_t)r * s.live >> 32];
		uint64_t from = now(CLOCK_MONOTONIC);

		give(*at);
		*at = take(some_size(&s, r));
		note(histogram, now(CLOCK_MONOTONIC) - from);
	}
	printf("latency_p50 %u\nlatency_p999 %u\nlatency_p99999 %u\n", percentile(histogram, 0.5),
	       percentile(histogram, 0.999), percentile(histogram, 0.99999));
}

/* ---- memory ---- */

static uint64_t resident(void)
{
	unsigned long all, pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f || fscanf(f, "%lu %lu", &all, &pages) != 2)
		exit(1);
	fclose(f);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double a_byte(uint64_t before, uint64_t held)
{
	uint64_t after = resident();

	return (double)(after > before ? after - before : 0) / (double)held;
}

static void run_bytes(const char *name, size_t least, size_t most)
{
	struct state s = { 88172645463325252u, NULL, 0, least, most };
	size_t n = HELD_BYTES / ((least + most) / 2);
	uint64_t held = 0, before;
	void **at = places(n);

	for (size_t i = 0; i < n; i++)
		at[i] = (void *)1;		/* its pages are here before the measure begins */
	before = resident();
	for (size_t i = 0; i < n; i++) {
		size_t size = some_size(&s, next(&s.random));

		at[i] = taken(size);
		memset(at[i], 1, size);
		held += size;
	}
	printf("%s %.4f\n", name, a_byte(before, held));
}

struct held { void *p; size_t size; };

/* Every place gets a block of the new sizes, in random order, until about as many bytes are held as before. */
static uint64_t shift_to(struct held *h, size_t places_n, uint64_t held, size_t least, size_t most, uint64_t *random)
{
	struct state sizes = { 0, NULL, 0, least, most };

	for (size_t n = places_n; n--; ) {	/* Fisher and Yates: all are met once */
		size_t k = next(random) % (n + 1);
		struct held old = h[k];

		h[k] = h[n];
		h[n] = (struct held){ NULL, 0 };
		held -= old.size;
		give(old.p);
		if (held + most <= HELD_BYTES) {
			h[n].size = some_size(&sizes, next(random));
			h[n].p = taken(h[n].size);
			memset(h[n].p, 1, h[n].size);
			held += h[n].size;
		}
	}
	return held;
}

static uint64_t keep_share(struct held *h, size_t n, uint64_t held, double share, uint64_t *random)
{
	const uint64_t target = (uint64_t)((double)held * share);

	while (held > target) {
		struct held *one = &h[next(random) % n];

		give(one->p);
		held -= one->size;
		*one = (struct held){ NULL, 0 };
	}
	return held;
}

static void run_shift(void)
{
	static const size_t phase[][2] = { { 16, 64 },	{ 64, 256 },	{ 200, 1000 },
					   { 32, 128 }, { 1000, 4000 }, { 100, 400 } };
	const size_t n = HELD_BYTES / 40;
	uint64_t random = 88172645463325252u, held = 0, before, from;
	struct held *h = calloc(n, sizeof *h);

	if (!h)
		return;
	memset(h, 0, n * sizeof *h);
	for (size_t i = 0; i < n; i++)
		h[i] = (struct held){ NULL, 0 };
	before = resident();
	from = now(CLOCK_PROCESS_CPUTIME_ID);
	for (unsigned i = 0; i < sizeof phase / sizeof *phase; i++)
		held = shift_to(h, n, held, phase[i][0], phase[i][1], &random);
	printf("shift_cpu %.3f\n", (double)(now(CLOCK_PROCESS_CPUTIME_ID) - from) / 1e6);
	printf("shift %.4f\n", a_byte(before, held));
	held = keep_share(h, n, held, 0.2, &random);
	printf("left20 %.4f\n", a_byte(before, held));
	held = keep_share(h, n, held, 0.5, &random);
	sleep_ns(1e9);
	printf("left10 %.4f\n", a_byte(before, held));
}

int main(int argc, char **argv)
{
	const char *work = argc > 1 ? argv[1] : "";
	const size_t ones_n = sizeof ones / sizeof *ones;
	char two[32];

	scale = argc > 2 ? strtod(argv[2], NULL) : 1;
	for (size_t i = 0; i < ones_n; i++) {
		snprintf(two, sizeof two, "%s_2", ones[i].name);
		if (strcmp(work, ones[i].name) == 0)
			return run_one(&ones[i]), 0;
		if (strcmp(work, two) == 0)
			return run_two(&ones[i]), 0;
	}
	if (strcmp(work, "handover") == 0)
		return run_handover(), 0;
	if (strcmp(work, "larson") == 0)
		return run_larson(), 0;
	if (strcmp(work, "latency") == 0)
		return run_latency(), 0;
	if (strcmp(work, "bytes16") == 0)
		return run_bytes(work, 16, 16), 0;
	if (strcmp(work, "bytes64") == 0)
		return run_bytes(work, 64, 64), 0;
	if (strcmp(work, "bytes_mixed") == 0)
		return run_bytes(work, 16, 1024), 0;
	if (strcmp(work, "shift") == 0)
		return run_shift(), 0;
	fprintf(stderr, "usage: %s WORK [SCALE]; WORK is one of those in bench/peers.py\n", argv[0]);
	return 2;
}
