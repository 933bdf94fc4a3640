/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Does a manager do better than the reference implementation of its algorithm?
 *
 *	bench_reference --against tlsf=PATH.so [--against MANAGER=PATH.so ...] [OPTIONS]
 *
 * PATH.so is an adapter (reference.h) around a foreign allocator; none is a part of this project. Both sides work on
 * private memory, one thread, without tracking:
 *
 *	algorithm	the manager's own functions, called on a region as the front end calls them
 *	pkg		pkg_malloc and pkg_free, whole: lock, counters, what others may see, magazines
 *	reference	the adapter's functions on a region
 *
 * Pairs: one of so many live fragments is replaced by one of another size, its first word is written. The three sides
 * take turns of 20 ms within one process; a ratio is of one process, a round is a process for each row.
 * "apart": each pair ends before the next one begins; told, and not judged.
 * Calls: each single call is timed in 8 or 32 runs that are alike, after one that has touched all memory they
 * need and given it back; of each call the shortest counts, for what interrupted it (the clock, another guest of the
 * machine that takes the cache) does not come back at the same call. Two bytes a call are stored: the caches are the
 * allocator's. Page faults and context switches of one run are told, by getrusage. Footprint: bytes of private memory
 * that a side has touched at its peak, heap and bookkeeping, by smaps_rollup; each fragment is written whole. It
 * depends on nothing but the allocator, so one run tells it.
 */
#include "bench.h"
#include "reference.h"

#include <dlfcn.h>
#include <memapi/manager.h>
#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { REFERENCES_MAX = 16, TURN_NS = 20000000, TURNS = 4, STEP = 1000, PAGE = 4096 };
enum { LATENCY_CALLS = 10000000, TICKS_MAX = 1 << 16 };
enum { BUCKETS = 32 };			/* of a histogram: two for each doubling, from 8 ns on */
#define REGION_BYTES ((size_t)2 << 30)
#define LATENCY_REGION ((size_t)1 << 30)

/* Half of so many places are held on average. */
static const struct { const char *name; unsigned places, runs; } latencies[] = {
	{ "single calls, 1k live", 2000, 32 },	/* in the caches, but for what is touched at peaks alone */
	{ "single calls, 100k live", 200000, 8 },	/* out of them */
};
enum { LATENCIES = sizeof latencies / sizeof *latencies };

enum side { ALGORITHM, PKG, REFERENCE, SIDES };

static const char *const side_name[] = { "algorithm", "pkg", "reference" };

/* Until all that came before is done: in a loop of calls that need nothing of each other, the CPU waits for the memory
 * of several at once, which it cannot where a program does something with what it got. */
#ifdef __x86_64__
#define APART() __builtin_ia32_lfence()
#endif

struct load { const char *name; unsigned live; uint32_t least, most; bool apart; };

static const struct load loads[] = {
	{ "16 B-1 KiB, 1k live", 1000, 16, 1024, false },
	{ "16 B-1 KiB, 100k live", 100000, 16, 1024, false },
	{ "16 B-8 KiB, 1k live", 1000, 16, 8192, false },
	{ "16 B-8 KiB, 100k live", 100000, 16, 8192, false },
#ifdef APART
	{ "same, calls apart", 100000, 16, 8192, true },
#endif
};
enum { LOADS = sizeof loads / sizeof *loads };

/* ---- the sides: each is called through one function of its own and one pointer ---- */

static struct mem_heap heap;
static const struct mem_manager_ops *ops;
static const struct bench_reference *foreign;
static void *foreign_heap;

static void *algorithm_alloc(size_t size) { return ops->alloc(&heap, 16, mem_round(ops, size)); }
static void algorithm_free(void *p) { ops->free(&heap, p); }
static void *pkg_alloc(size_t size) { return mem_pkg_malloc(size, NULL); }
static void pkg_release(void *p) { mem_pkg_free(p, NULL); }
static void *reference_alloc(size_t size) { return foreign->malloc(foreign_heap, size); }
static void reference_free(void *p) { foreign->free(foreign_heap, p); }

static void *(*const side_alloc[])(size_t) = { algorithm_alloc, pkg_alloc, reference_alloc };
static void (*const side_free[])(void *) = { algorithm_free, pkg_release, reference_free };

/* `populate`: every page is there before it is asked for. */
static void *region(size_t bytes, bool populate)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (populate ? MAP_POPULATE : 0), -1, 0);

	if (p == MAP_FAILED)
		abort();
	return p;
}

/* Roots, tally and cursors are private memory too. */
static const char *algorithm_open(const char *manager, size_t bytes, bool populate)
{
	const struct mem_manager *m = mem_manager_find(manager);
	char *words;

	if (!m || !m->pkg)
		return "no such manager of private memory in this build";
	ops = m->pkg;
	words = region((size_t)ops->root_bytes + PAGE, populate);
	heap = (struct mem_heap){ .base = region(bytes, populate), .len = bytes, .roots = (void *)(words + PAGE),
				  .tally = (void *)words, .cursors = (void *)(words + 256) };
	return ops->init(&heap) ? "the manager refused the region" : NULL;
}

static const char *reference_load(const char *path)
{
	void *so;

	if (foreign)
		return NULL;
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!so)
		return dlerror();
	foreign = dlsym(so, "bench_reference");
	if (!foreign)
		return "it has no symbol bench_reference";
	return foreign->abi == BENCH_REFERENCE_ABI ? NULL : "it was built for another bench_reference";
}

static const char *side_open(enum side side, const char *manager, const char *path, size_t bytes, bool populate)
{
	const char *error;

	switch (side) {
	case ALGORITHM:
		return algorithm_open(manager, bytes, populate);
	case PKG:
		setenv("MEMAPI_TRACK", "off", 1);
		return pkg_init_manager(manager) ? memapi_error() : NULL;
	default:
		error = reference_load(path);
		foreign_heap = error ? NULL : foreign->open(region(bytes, populate), bytes);
		return error ? error : foreign_heap ? NULL : "the reference refused the region";
	}
}

struct job {
	const char *manager, *path;
	const struct load *load;
	unsigned work;			/* footprint, single calls: which */
	enum side side;
	double scale;
	uint64_t *buckets;		/* single calls: how many took so long; shared with the child */
};

static void give_up(struct bench_result *result, const char *error)
{
	snprintf(result->error, sizeof result->error, "%s", error);
}

/* ---- pairs ---- */

struct pairs {
	void *(*alloc)(size_t);
	void (*free)(void *);
	void **at;
	uint64_t random;
	unsigned live;
	uint32_t least, span;
};

static bool replace(struct pairs *s, unsigned n)
{
	while (n--) {
		uint32_t r = bench_random(&s->random);
		void **at = &s->at[((uint64_t)r * s->live) >> 32];

		if (*at)
			s->free(*at);
		*at = s->alloc(s->least + r % s->span);
		if (!*at)
			return false;
		*(volatile uint64_t *)*at = r;
	}
	return true;
}

#ifdef APART
static bool replace_apart(struct pairs *s, unsigned n)
{
	for (; n; n--) {
		APART();
		if (!replace(s, 1))
			return false;
	}
	return true;
}
#else
#define replace_apart replace
#endif

static const char *pairs_open(struct pairs *s, enum side side, const struct job *job)
{
	const char *error = side_open(side, job->manager, job->path, REGION_BYTES, false);

	*s = (struct pairs){
		side_alloc[side], side_free[side],  calloc(job->load->live, sizeof(void *)), 88172645463325252u,
		job->load->live,  job->load->least, job->load->most - job->load->least + 1
	};
	return error ? error : s->at && replace(s, 20000 + 8 * s->live) ? NULL : "out of memory";
}

/* value[side]: ns a pair. */
static void measure_pairs(const void *arg, struct bench_result *result)
{
	const struct job *job = arg;
	struct pairs s[SIDES];
	double ns[SIDES] = { 0 }, count[SIDES] = { 0 };
	unsigned turns = (unsigned)(TURNS * job->scale) + 1;
	const char *error = NULL;

	alarm(300);
	bench_pin(0);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (enum side i = 0; i < SIDES && !error; i++)
		error = pairs_open(&s[i], i, job);
	for (unsigned turn = 0; turn < turns * SIDES && !error; turn++) {
		enum side i = turn % SIDES;
		uint64_t from = bench_ns(CLOCK_THREAD_CPUTIME_ID), now;

		do {
			if (!(job->load->apart ? replace_apart : replace)(&s[i], STEP))
				error = "out of memory";
			now = bench_ns(CLOCK_THREAD_CPUTIME_ID);
			count[i] += STEP;
		} while (now - from < TURN_NS && !error);
		ns[i] += (double)(now - from);
	}
	for (enum side i = 0; i < SIDES; i++)
		result->value[i] = count[i] > 0 ? ns[i] / count[i] : 0;
	if (error)
		give_up(result, error);
}

/* ---- single calls ---- */

#if defined __x86_64__
static inline uint64_t ticks(void)
{
	uint64_t t;

	__builtin_ia32_lfence();	/* what came before is done, what follows has not begun */
	t = __builtin_ia32_rdtsc();
	__builtin_ia32_lfence();
	return t;
}
#else
static inline uint64_t ticks(void) { return bench_ns(CLOCK_MONOTONIC); }
#endif

/* What the clock itself takes: the least of many. */
static uint64_t ticks_overhead(void)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < 100000; i++) {
		uint64_t from = ticks(), took = ticks() - from;

		least = took < least ? took : least;
	}
	return least;
}

/*
 * took: the least of all runs, in 16 bits, since more would take more of the caches from what is measured. Stores that
 * go past the caches made calls behind them wait now and then, always the same ones. most: of one run.
 */
struct latency { uint16_t *took; unsigned calls, places; uint64_t overhead, most; };

static inline void note(struct latency *l, unsigned i, uint64_t from, uint64_t to)
{
	uint64_t took = to - from > l->overhead ? to - from - l->overhead : 0;

	l->most = took > l->most ? took : l->most;
	if (took < l->took[i])
		l->took[i] = (uint16_t)took;
}

/* Half of the places are held; a call fills a place at random, or empties it. The same calls each time. */
static bool latency_run(struct latency *l, enum side side, void **at)
{
	uint64_t random = 88172645463325252u, from, to;

	memset(at, 0, l->places * sizeof *at);
	for (unsigned i = 0; i < l->calls + 4 * l->places; i++) {
		uint32_t r = bench_random(&random);
		void **p = &at[((uint64_t)r * l->places) >> 32];
		bool had = *p;

		from = ticks();
		if (had)
			side_free[side](*p);
		else
			*p = side_alloc[side](16 + r % (8192 - 16 + 1));
		to = ticks();
		if (!had && !*p)
			return false;
		if (had)
			*p = NULL;
		else
			*(volatile uint64_t *)*p = r;
		if (i >= 4 * l->places)
			note(l, i - 4 * l->places, from, to);
	}
	for (unsigned i = 0; i < l->places; i++)
		if (at[i])
			side_free[side](at[i]);
	return true;
}

/* In ticks: median, 99, 99.9 percentile, most. */
static void percentiles(const struct latency *l, double *ret_ticks)
{
	static const double share[] = { 0.5, 0.99, 0.999 };
	static unsigned histogram[TICKS_MAX];
	uint16_t most = 0;
	double below = 0;
	unsigned next = 0;

	memset(histogram, 0, sizeof histogram);
	for (unsigned i = 0; i < l->calls; i++) {
		most = l->took[i] > most ? l->took[i] : most;
		histogram[l->took[i]]++;
	}
	for (unsigned t = 0; t < TICKS_MAX && next < 3; t++)
		for (below += histogram[t]; next < 3 && below >= share[next] * l->calls; next++)
			ret_ticks[next] = t;
	ret_ticks[3] = most;
}

/* The least ns of a bucket. */
static double bucket_from(unsigned bucket)
{
	return bucket ? 8 * (bucket % 2 ? 1 : 1.41421356) * (1u << (bucket - 1) / 2) : 0;
}

static void count_buckets(const struct latency *l, double ns, uint64_t *buckets)
{
	memset(buckets, 0, BUCKETS * sizeof *buckets);
	for (unsigned i = 0; i < l->calls; i++) {
		unsigned b = 0;

		while (b + 1 < BUCKETS && bucket_from(b + 1) <= l->took[i] * ns)
			b++;
		buckets[b]++;
	}
}

/* value[0..3]: ns of the median, 99, 99.9 percentile, worst; [4]: worst of a single run; [5]: its page faults and
 * context switches. */
static void measure_calls(const void *arg, struct bench_result *result)
{
	const struct job *job = arg;
	struct latency l = { .calls = (unsigned)(LATENCY_CALLS * job->scale),
			     .places = latencies[job->work].places,
			     .overhead = ticks_overhead() };
	void **at = region(l.places * sizeof *at, true);
	uint64_t begun = bench_ns(CLOCK_MONOTONIC), ticked = ticks();
	const char *error = NULL;
	double ns;

	alarm(300);
	bench_pin(0);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	(void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);	/* as who minds the worst call does: no page goes */
	l.took = region(l.calls * sizeof *l.took, true);
	error = side_open(job->side, job->manager, job->path, LATENCY_REGION, true);
	for (unsigned run = 0; run <= latencies[job->work].runs && !error; run++) {
		struct rusage before, after;

		if (run <= 1)		/* the first run only touches what the others will */
			memset(l.took, 0xff, l.calls * sizeof *l.took), l.most = 0;
		getrusage(RUSAGE_SELF, &before);
		if (!latency_run(&l, job->side, at))
			error = "out of memory";
		getrusage(RUSAGE_SELF, &after);
		percentiles(&l, result->value);
		if (run == 1) {
			result->value[4] = (double)l.most;
			result->value[5] = (double)(after.ru_minflt - before.ru_minflt + after.ru_nivcsw -
						    before.ru_nivcsw);
		}
	}
	ns = (double)(bench_ns(CLOCK_MONOTONIC) - begun) / (double)(ticks() - ticked);
	count_buckets(&l, ns, job->buckets);
	for (unsigned i = 0; i < 5; i++)
		result->value[i] *= ns;
	if (error)
		give_up(result, error);
}

/* ---- footprint ---- */

/* Private bytes that this process has touched. */
static double touched(void)
{
	char line[128];
	double kb = 0;
	FILE *in = fopen("/proc/self/smaps_rollup", "r");

	while (in && fgets(line, sizeof line, in))
		if (sscanf(line, "Anonymous: %lf", &kb) == 1)
			break;
	if (in)
		fclose(in);
	return kb * 1024;
}

struct filling {
	void *(*alloc)(size_t);
	void (*free)(void *);
	struct place {
		void *p;
		size_t size;
	} * at;
	uint64_t random;
	double live, before, peak, live_peak;	/* bytes */
};

static bool put(struct filling *f, unsigned i, size_t size)
{
	struct place *at = &f->at[i];

	if (at->p)
		f->free(at->p);
	f->live += (double)size - (double)at->size;
	f->live_peak = f->live > f->live_peak ? f->live : f->live_peak;
	*at = (struct place){ f->alloc(size), size };
	if (at->p)
		memset(at->p, 1, size);
	return at->p;
}

static uint32_t below(struct filling *f, uint32_t n)
{
	return (uint32_t)((uint64_t)bench_random(&f->random) * n >> 32);
}

/* Between `least` and twice that. */
static uint32_t about(struct filling *f, uint32_t least) { return least + below(f, least + 1); }

static void look(struct filling *f)
{
	double now = touched() - f->before;

	f->peak = now > f->peak ? now : f->peak;
}

/* 20,000 live ones of 16 B to 8 KiB, each power of two as often as the others, are replaced 2,000,000 times. */
static bool mixed(struct filling *f)
{
	for (unsigned i = 0; i < 2000000; i++) {
		if (!put(f, below(f, 20000), about(f, 16u << below(f, 9))))
			return false;
		if (i % 200000 == 0)
			look(f);
	}
	return true;
}

/* 60,000 live ones: first of 16 to 32 B, in the end of 4 to 8 KiB; one in seven outlives its time. */
static bool shifting(struct filling *f)
{
	for (unsigned shift = 0; shift < 9; shift++) {
		for (unsigned i = 0; i < 120000; i++)
			if (!put(f, below(f, 60000), about(f, 16u << shift)))
				return false;
		look(f);
	}
	return true;
}

/* 300,000 of 16 to 128 B, and 64 of 32 KiB to 1 MiB that are replaced now and then. */
static bool small_and_large(struct filling *f)
{
	for (unsigned i = 0; i < 3000000; i++) {
		if (!put(f, 64 + below(f, 300000), about(f, 16u << below(f, 3))))
			return false;
		if (i % 1000 == 0 && !put(f, below(f, 64), about(f, 32768u << below(f, 5))))
			return false;
		if (i % 300000 == 0)
			look(f);
	}
	return true;
}

static const struct work { const char *name; bool (*run)(struct filling *f); } works[] = {
	{ "mixed, with turnover", mixed },
	{ "sizes shift upwards", shifting },
	{ "many small, few large", small_and_large },
};
enum { WORKS = sizeof works / sizeof *works, PLACES = 300064 };

/* value[0]: bytes touched at the peak, [1]: bytes asked for at theirs. */
static void measure_footprint(const void *arg, struct bench_result *result)
{
	const struct job *job = arg;
	struct filling f = { side_alloc[job->side], side_free[job->side], region(PLACES * sizeof *f.at, true),
			     .random = 88172645463325252u };
	const char *error;

	alarm(300);
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	f.before = touched();
	error = side_open(job->side, job->manager, job->path, REGION_BYTES, false);
	if (!error && !works[job->work].run(&f))
		error = "out of memory";
	look(&f);
	result->value[0] = f.peak;
	result->value[1] = f.live_peak;
	if (error)
		give_up(result, error);
}

/* ---- what is asked for, and known ---- */

static struct against {
	char manager[32];
	const char *path;
	struct { struct bench_series ns[SIDES], ratio[SIDES]; char error[160]; } pairs[LOADS];
	struct { struct bench_series bytes, asked, ratio; char error[160]; } footprint[WORKS][SIDES];
	struct calls {
		struct bench_series ns[5], ratio, disturbed;
		uint64_t buckets[BUCKETS];
		char error[160];
	} calls[LATENCIES][SIDES];
} againsts[REFERENCES_MAX];
static unsigned against_count;

/* The most that a pair may cost, in pairs of the reference: the goals of issue 4, which for tlsf speak of 16 B to 8
 * KiB.
 */
static double limit_of(const char *manager)
{
	return !strcmp(manager, "tlsf") ? 0.9 : !strcmp(manager, "fm") || !strcmp(manager, "qm") ? 0.8 : 1.0;
}

static bool against_add(const char *text)
{
	const char *equals = strchr(text, '=');
	struct against *a = &againsts[against_count];

	if (!equals || against_count == REFERENCES_MAX || (size_t)(equals - text) >= sizeof a->manager)
		return false;
	snprintf(a->manager, sizeof a->manager, "%.*s", (int)(equals - text), text);
	a->path = equals + 1;
	against_count++;
	return true;
}

/* Takes --against MANAGER=PATH out of the arguments; what is left is for bench_options. */
static int againsts_of(int argc, char **argv)
{
	int left = 1;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--against")) {
			argv[left++] = argv[i];
		} else if (++i == argc || !against_add(argv[i])) {
			fprintf(stderr, "%s: --against takes MANAGER=PATH.so, %u at most\n", argv[0], REFERENCES_MAX);
			exit(2);
		}
	}
	argv[left] = NULL;
	return left;
}

/* -k TEXT: rows as they are named in the goals */
static bool wanted(const struct bench_options *o, const struct against *a, const char *row)
{
	char name[128];

	snprintf(name, sizeof name, "%.31s %s", a->manager, row);
	return !o->only || strstr(name, o->only);
}

static void round_of_pairs(struct against *a, const struct load *load, double scale)
{
	struct job job = { .manager = a->manager, .path = a->path, .load = load, .scale = scale };
	struct bench_result result = { .error = "" };
	unsigned n = (unsigned)(load - loads);

	if (a->pairs[n].error[0])
		return;
	bench_in_child(measure_pairs, &job, &result);
	memcpy(a->pairs[n].error, result.error, sizeof result.error);
	for (enum side i = 0; i < SIDES && !result.error[0]; i++) {
		bench_add(&a->pairs[n].ns[i], result.value[i]);
		bench_add(&a->pairs[n].ratio[i], result.value[i] / result.value[REFERENCE]);
	}
}

static void footprints(const struct bench_options *o, struct against *a)
{
	for (unsigned w = 0; w < WORKS; w++) {
		double bytes[SIDES] = { 0 };

		for (enum side i = 0; i < SIDES && wanted(o, a, works[w].name); i++) {
			struct job job = { .manager = a->manager, .path = a->path, .work = w, .side = i };
			struct bench_result result = { .error = "" };

			bench_in_child(measure_footprint, &job, &result);
			memcpy(a->footprint[w][i].error, result.error, sizeof result.error);
			bytes[i] = result.error[0] ? 0 : result.value[0];
			if (bytes[i] > 0) {
				bench_add(&a->footprint[w][i].bytes, result.value[0]);
				bench_add(&a->footprint[w][i].asked, result.value[1]);
			}
		}
		for (enum side i = 0; i < SIDES; i++)
			if (bytes[i] > 0 && bytes[REFERENCE] > 0)
				bench_add(&a->footprint[w][i].ratio, bytes[i] / bytes[REFERENCE]);
	}
}

static void single_calls(struct against *a, unsigned n, double scale)
{
	uint64_t *buckets =
		mmap(NULL, BUCKETS * sizeof *buckets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (buckets == MAP_FAILED)
		abort();
	for (enum side side = 0; side < SIDES; side++) {
		struct job job = { .manager = a->manager, .path = a->path, .work = n, .side = side, .scale = scale,
				   .buckets = buckets };
		struct bench_result result = { .error = "" };
		struct calls *c = &a->calls[n][side];

		bench_in_child(measure_calls, &job, &result);
		memcpy(c->error, result.error, sizeof result.error);
		if (result.error[0])
			continue;
		memcpy(c->buckets, buckets, sizeof c->buckets);
		for (unsigned i = 0; i < 5; i++)
			bench_add(&c->ns[i], result.value[i]);
		bench_add(&c->ratio, result.value[3] / result.value[2]);
		bench_add(&c->disturbed, result.value[5]);
	}
	munmap(buckets, BUCKETS * sizeof *buckets);
}

/* ---- output ---- */

static void print_pairs(const struct bench_options *o, const struct against *a, unsigned n)
{
	if (a->pairs[n].error[0])
		printf(o->json ? "{\"bench\":\"reference\",\"manager\":\"%s\",\"load\":\"%s\",\"error\":" : "  %s, %s: ",
		       a->manager, loads[n].name);
	if (a->pairs[n].error[0] && o->json)
		bench_json_string(stdout, a->pairs[n].error);
	if (a->pairs[n].error[0])
		puts(o->json ? "}" : a->pairs[n].error);
	for (enum side i = 0; i < SIDES && a->pairs[n].ns[i].n; i++) {
		struct bench_spread ratio = bench_spread(&a->pairs[n].ratio[i]);

		if (!o->json) {
			printf("  %-23s %-10s %8.1f ns   %.2f [%.2f-%.2f]\n", i ? "" : loads[n].name, side_name[i],
			       bench_spread(&a->pairs[n].ns[i]).median, ratio.median, ratio.min, ratio.max);
			continue;
		}
		printf("{\"bench\":\"reference\",\"manager\":\"%s\",\"load\":\"%s\",\"side\":\"%s\",", a->manager, loads[n].name,
		       side_name[i]);
		bench_json_series(stdout, "ns", &a->pairs[n].ns[i]);
		putchar(',');
		bench_json_series(stdout, "to_reference", &a->pairs[n].ratio[i]);
		puts("}");
	}
}

static void print_footprint(const struct bench_options *o, const struct against *a, unsigned w)
{
	for (enum side i = 0; i < SIDES; i++) {
		const double bytes = bench_spread(&a->footprint[w][i].bytes).median;
		const double asked = bench_spread(&a->footprint[w][i].asked).median;

		if (!a->footprint[w][i].bytes.n && !a->footprint[w][i].error[0])
			continue;
		if (o->json) {
			printf("{\"bench\":\"reference\",\"manager\":\"%s\",\"footprint\":\"%s\",\"side\":\"%s\",", a->manager,
			       works[w].name, side_name[i]);
			bench_json_series(stdout, "bytes", &a->footprint[w][i].bytes);
			putchar(',');
			bench_json_series(stdout, "to_reference", &a->footprint[w][i].ratio);
			printf(",\"error\":");
			bench_json_string(stdout, a->footprint[w][i].error);
			puts("}");
		} else if (a->footprint[w][i].error[0]) {
			printf("  %-23s %-10s %s\n", i ? "" : works[w].name, side_name[i], a->footprint[w][i].error);
		} else {
			printf("  %-23s %-10s %8.1f MiB  %.3f   %.3f x asked for\n", i ? "" : works[w].name, side_name[i],
			       bytes / 1048576, bench_spread(&a->footprint[w][i].ratio).median, bytes / asked);
		}
	}
}

static void print_buckets_json(const uint64_t *buckets)
{
	const char *comma = "";

	printf(",\"histogram\":[");
	for (unsigned b = 0; b < BUCKETS; b++)
		if (buckets[b]) {
			printf("%s{\"from_ns\":%.1f,\"calls\":%llu}", comma, bucket_from(b), (unsigned long long)buckets[b]);
			comma = ",";
		}
	putchar(']');
}

static void print_buckets(const struct calls *calls)
{
	printf("  %-23s", "calls, from ns");
	for (enum side i = 0; i < SIDES; i++)
		printf(" %12s", side_name[i]);
	putchar('\n');
	for (unsigned b = 0; b < BUCKETS; b++) {
		if (!(calls[ALGORITHM].buckets[b] | calls[PKG].buckets[b] | calls[REFERENCE].buckets[b]))
			continue;
		printf("  %23.0f", bucket_from(b));
		for (enum side i = 0; i < SIDES; i++)
			printf(" %12llu", (unsigned long long)calls[i].buckets[b]);
		putchar('\n');
	}
}

static void print_calls(const struct bench_options *o, const struct against *a, unsigned n)
{
	static const char *const what[] = { "p50", "p99", "p99.9", "worst", "worst of one run" };
	const struct calls *calls = a->calls[n];

	if (!o->json && calls[ALGORITHM].ratio.n)
		printf("  %-23s %-10s %8s %8s %8s %8s %17s %17s\n", latencies[n].name, "", "p50, ns", "p99", "p99.9", "worst",
		       what[4], "faults, switches");
	for (enum side i = 0; i < SIDES; i++) {
		if (!calls[i].ratio.n && !calls[i].error[0])
			continue;
		if (o->json) {
			printf("{\"bench\":\"reference\",\"manager\":\"%s\",\"calls\":\"%s\",\"side\":\"%s\"", a->manager,
			       latencies[n].name, side_name[i]);
			for (unsigned k = 0; k < 5; k++) {
				putchar(',');
				bench_json_series(stdout, what[k], &calls[i].ns[k]);
			}
			print_buckets_json(calls[i].buckets);
			printf(",\"error\":");
			bench_json_string(stdout, calls[i].error);
			puts("}");
		} else if (calls[i].error[0]) {
			printf("  %-23s %-10s %s\n", "", side_name[i], calls[i].error);
		} else {
			printf("  %-23s %-10s", "", side_name[i]);
			for (unsigned k = 0; k < 4; k++)
				printf(" %8.0f", bench_spread(&calls[i].ns[k]).median);
			printf(" %17.0f %17.0f\n", bench_spread(&calls[i].ns[4]).median,
			       bench_spread(&calls[i].disturbed).median);
		}
	}
	if (!o->json && calls[ALGORITHM].ratio.n)
		print_buckets(calls);
}

static bool goals(const struct bench_options *o, const struct against *a)
{
	double limit = limit_of(a->manager);
	bool ok = true;
	char goal[160];

	for (unsigned n = 0; n < LOADS; n++)
		for (enum side i = 0; i < REFERENCE; i++) {
			snprintf(goal, sizeof goal, "%.31s %s, %s: <= %.1f x %.40s", a->manager, side_name[i], loads[n].name, limit,
				 foreign->name);
			if (wanted(o, a, loads[n].name) && !loads[n].apart && (strcmp(a->manager, "tlsf") || loads[n].most == 8192))
				ok &= bench_goal(o, "reference", goal, &a->pairs[n].ratio[i], limit);
		}
	for (unsigned w = 0; w < WORKS; w++)
		for (enum side i = 0; i < REFERENCE; i++) {
			snprintf(goal, sizeof goal, "%.31s %s, %s: footprint <= 1.05 x %.40s", a->manager, side_name[i],
				 works[w].name, foreign->name);
			if (wanted(o, a, works[w].name))
				ok &= bench_goal(o, "reference", goal, &a->footprint[w][i].ratio, 1.05);
		}
	for (unsigned n = 0; n < LATENCIES; n++) {
		if (strcmp(a->manager, "tlsf") || !wanted(o, a, latencies[n].name))
			continue;
		for (enum side i = 0; i < REFERENCE; i++) {
			snprintf(goal, sizeof goal, "tlsf %s, %s: worst <= 2 x the 99.9 percentile", side_name[i],
				 latencies[n].name);
			ok &= bench_goal(o, "reference", goal, &a->calls[n][i].ratio, 2);
		}
	}
	return ok;
}

int main(int argc, char **argv)
{
	struct bench_options o;
	bool ok = true;

	argc = againsts_of(argc, argv);
	bench_options(argc, argv,
		      "Times managers beside reference implementations: --against MANAGER=PATH.so, an adapter by "
		      "bench/reference.h, as often as there are references.",
		      &o);
	if (!against_count) {
		fprintf(stderr, "%s: nothing to compare with: --against MANAGER=PATH.so\n", argv[0]);
		return 2;
	}
	bench_sandbox();
	bench_machine(&o, "reference");
	for (unsigned round = 0; round < o.rounds; round++) {
		if (isatty(2))
			fprintf(stderr, "round %u of %u%c", round + 1, o.rounds, round + 1 < o.rounds ? '\r' : '\n');
		for (unsigned i = 0; i < against_count * LOADS; i++) {
			unsigned k = round % 2 ? against_count * LOADS - 1 - i : i;

			if (wanted(&o, &againsts[k / LOADS], loads[k % LOADS].name))
				round_of_pairs(&againsts[k / LOADS], &loads[k % LOADS], o.scale);
		}
	}
	for (struct against *a = againsts; a < againsts + against_count; a++) {
		const char *error;

		foreign = NULL;
		error = reference_load(a->path);
		if (error) {
			printf("%s: %s: %s\n", a->manager, a->path, error);
			ok = false;
			continue;
		}
		footprints(&o, a);
		for (unsigned n = 0; n < LATENCIES; n++)
			if (wanted(&o, a, latencies[n].name))
				single_calls(a, n, o.scale);
		if (!o.json)
			printf("%s beside %s (%s)\n", a->manager, foreign->name, foreign->version);
		for (unsigned n = 0; n < LOADS; n++)
			print_pairs(&o, a, n);
		for (unsigned w = 0; w < WORKS; w++)
			print_footprint(&o, a, w);
		for (unsigned n = 0; n < LATENCIES; n++)
			print_calls(&o, a, n);
		ok &= goals(&o, a);
		if (!o.json)
			putchar('\n');
	}
	return ok ? 0 : 1;
}
