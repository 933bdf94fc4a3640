/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is estimated from samples, against what was allocated.
 *
 * Of allocations of B bytes in all, where one in N bytes is sampled, the estimate is off by sqrt(N * B) on average (the
 * sum over all of size^2 (1 - p) / p, which is at most that). BOUND times that is what is allowed. The seed is fixed,
 * so that a test gives the same figures in each run; other seeds, by hand: SAMPLED_SEED=n.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../own_registry.h"
#include "mem/front/sampled.h"
#include "memapi/memapi.h"
#include "memapi/memcore.h"
#include "memapi/observe.h"

#define APART __attribute__((noinline))

enum { BOUND = 4, MANY = 100000, EACH = 16 << 10 };	/* EACH: memory.sample here, bytes */

static void *kept[MANY];

static void make(void)
{
	make_registry("sampled");
	setenv("MEMAPI_SAMPLE", "16K", 1);
}

TestSuite(sampled, .init = make, .fini = drop_registry, .timeout = 100);

static const char *manager(void)
{
	const char *name = getenv("SAMPLED_MANAGER");

	return name ? name : "fm";
}

static void begin(void)
{
	const char *seed = getenv("SAMPLED_SEED");

	pkg_sample_seed(seed ? strtoull(seed, NULL, 10) : 20);
	cr_assert_eq(pkg_init_manager(manager()), 0, "%s", memapi_error());
}

/* ---- what an observer sees ---- */

struct estimate { double count, bytes; unsigned samples, exact; };
struct question { struct obs_pool *pool; const char *from; struct estimate answer; };

static bool add(const struct obs_fragment *f, void *arg)
{
	struct question *q = arg;
	struct obs_site site;

	obs_site(q->pool, f->site, &site);
	if (f->state != OBS_USED || (q->from && !strstr(site.function, q->from)))
		return true;
	q->answer.count += f->weight;
	q->answer.bytes += f->weight * (double)f->alike;
	f->sampled ? q->answer.samples++ : q->answer.exact++;
	return true;
}

/* Of the heap of process `pid`, by functions whose stack has this name in it; NULL: all. */
static struct estimate look_at(pid_t pid, const char *from, struct obs_stats *ret_stats)
{
	struct question q = { .from = from };
	struct obs *o;
	uint64_t at = 0;

	cr_assert_eq(obs_open(NULL, &o), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	for (size_t i = 0; (q.pool = obs_at(o, i)) && obs_info(q.pool)->pid != pid; i++)
		;
	cr_assert(q.pool);
	if (ret_stats)
		cr_assert_eq(obs_stats(q.pool, ret_stats), 0);
	do
		cr_assert_eq(obs_records(q.pool, &at, 100000, add, &q), 0);
	while (at);
	obs_close(o);
	return q.answer;
}

static struct estimate look(const char *from) { return look_at(getpid(), from, NULL); }

static void track(enum obs_tracking mode)
{
	struct obs *o;

	cr_assert_eq(obs_open(NULL, &o), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_eq(obs_track(obs_at(o, 0), mode), 0);
	obs_close(o);
	pkg_free(pkg_malloc(1));	/* it follows */
}

static double root(double x)
{
	double r = x > 1 ? x : 1;

	for (unsigned i = 0; i < 200; i++)
		r = (r + x / r) / 2;
	return r;
}

/* Within BOUND deviations: of bytes, and of how many there are, which vary by the sum over all of 1 / p. */
static void near(const char *what, struct estimate e, double bytes, double count, double least)
{
	double off = root(EACH * bytes), off_count = root(count * EACH / least);

	fprintf(stderr, "%s: %.0f of %.0f bytes, %.0f of %.0f fragments, by %u samples: %+.1f, %+.1f deviations\n", what,
		e.bytes, bytes, e.count, count, e.samples, (e.bytes - bytes) / off, (e.count - count) / off_count);
	cr_expect(e.bytes > bytes - BOUND * off && e.bytes < bytes + BOUND * off, "%s: bytes", what);
	cr_expect(e.count > count - BOUND * off_count && e.count < count + BOUND * off_count, "%s: count", what);
	cr_expect_lt(e.samples, count / 4, "a sample of so many is none");
	cr_expect_geq(e.samples, 10);
}

/* ---- loads ---- */

static size_t size_at(unsigned i) { return 1 + (i * 2654435761u >> 16) % 600; }

/* Bytes that the manager is asked for: heads have 16 bytes, or 8. */
static uint64_t rounded(size_t size)
{
	static uint64_t head = 1;
	void *ask[8];

	for (unsigned i = 0; head == 1 && i < 8; i++)
		ask[i] = pkg_malloc(100);
	if (head == 1) {
		head = pkg_usable(ask[0]) < pkg_usable(ask[1]) ? pkg_usable(ask[0]) % 16 : pkg_usable(ask[1]) % 16;
		for (unsigned i = 0; i < 8; i++)
			pkg_free(ask[i]);
	}
	return size > 16 + head ? ((size - head + 15) & ~15ull) + head : 16 + head;
}

static double sum(unsigned from, unsigned to)
{
	uint64_t bytes = 0;

	for (unsigned i = from; i < to; i++)
		bytes += rounded(size_at(i));
	return (double)bytes;
}

static void drop_all(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		pkg_free(kept[i]);
		kept[i] = NULL;
	}
}

static APART void of_all_sizes(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		kept[i] = pkg_malloc(size_at(i));
		cr_assert(kept[i]);
	}
}

Test(sampled, the_estimate_of_a_load_is_within_its_bound)
{
	struct obs_stats s;
	struct estimate e;

	begin();
	of_all_sizes(0, MANY);
	e = look_at(getpid(), NULL, &s);
	near("all sizes", e, sum(0, MANY), MANY, 100);
	cr_expect_eq(s.tracking, OBS_SAMPLED);
	cr_expect_eq(s.untracked, s.fragments - e.samples, "those without a record are counted, too");
	cr_expect_eq(e.exact, 0u);
}

/* Of a bias little would be seen in one estimate; of many, which know nothing of each other, the mean tells. */
Test(sampled, over_many_draws_the_estimate_is_right_on_average)
{
	enum { TIMES = 60, EVERY_TIME = 10000 };
	struct estimate all = { 0 }, e;

	begin();
	for (unsigned i = 0; i < TIMES; i++) {
		of_all_sizes(0, EVERY_TIME);
		e = look(NULL);
		drop_all(0, EVERY_TIME);
		all.bytes += e.bytes;
		all.count += e.count;
		all.samples += e.samples;
	}
	near("sixty times", all, TIMES * sum(0, EVERY_TIME), TIMES * EVERY_TIME, 100);
}

/* The first half of each turn finds the magazine empty, the second one what the last turn has freed. */
static APART void *from_the_manager(void) { void *volatile p = pkg_malloc(48); return p; }
static APART void *from_a_magazine(void) { void *volatile p = pkg_malloc(80); return p; }

Test(sampled, what_magazines_serve_is_sampled_as_what_the_manager_gives)
{
	enum { TURN = 8 };
	void *ready[TURN];
	struct estimate hits, misses;

	begin();
	for (unsigned i = 0; i + 2 * TURN <= MANY; i += 2 * TURN) {
		for (unsigned k = 0; k < TURN; k++)
			ready[k] = pkg_malloc(80);
		for (unsigned k = 0; k < TURN; k++)
			pkg_free(ready[k]);
		for (unsigned k = 0; k < TURN; k++) {
			kept[i + 2 * k] = from_the_manager();
			kept[i + 2 * k + 1] = from_a_magazine();
		}
	}
	hits = look("from_a_magazine");
	misses = look("from_the_manager");
	near("magazines", hits, MANY / 2 * (double)rounded(80), MANY / 2, 80);
	near("the manager", misses, MANY / 2 * (double)rounded(48), MANY / 2, 48);
}

/* After each take that is counted comes one that is none: it must not be hit for that. */
static APART void *by_realloc(void) { void *volatile p = pkg_realloc(NULL, 64); return p; }
static APART void *by_malloc(void) { void *volatile p = pkg_malloc(64); return p; }

Test(sampled, who_comes_after_another_is_not_hit_for_that)
{
	void *ready;

	begin();
	for (unsigned i = 0; i + 2 <= MANY; i += 2) {
		ready = pkg_malloc(64);
		pkg_free(ready);
		kept[i] = by_malloc();
		kept[i + 1] = by_realloc();
	}
	near("by malloc", look("by_malloc"), MANY / 2 * (double)rounded(64), MANY / 2, 64);
	near("by realloc", look("by_realloc"), MANY / 2 * (double)rounded(64), MANY / 2, 64);
}

static APART void *cleared(size_t size) { void *volatile p = pkg_mallocxz(size); return p; }

Test(sampled, zeros_and_larger_ones_are_sampled_too)
{
	begin();
	for (unsigned i = 0; i < MANY / 4; i++) {
		pkg_free(pkg_malloc(64));
		kept[i] = cleared(64);
		pkg_free(pkg_malloc(2000));
		if (i % 8 == 0)
			kept[MANY / 2 + i] = pkg_malloc(2000);
	}
	near("zeros", look("cleared"), MANY / 4 * (double)rounded(64), MANY / 4, 64);
	drop_all(0, MANY / 2);
	near("2000 bytes", look(NULL), MANY / 32 * (double)rounded(2000), MANY / 32, 2000);
}

Test(sampled, what_is_much_larger_than_the_interval_is_always_one)
{
	struct estimate e;

	begin();
	for (unsigned i = 0; i < 20; i++)
		kept[i] = pkg_malloc(50 * EACH);
	e = look(NULL);
	cr_expect_eq(e.samples, 20u);
	cr_expect_eq(e.count, 20.0, "and stands for itself");
	drop_all(0, 20);
	cr_expect_eq(look(NULL).samples, 0u);
}

Test(sampled, what_is_freed_is_not_counted_any_more)
{
	struct obs_stats s;
	struct estimate e;

	begin();
	of_all_sizes(0, MANY);
	drop_all(0, MANY / 2);
	e = look_at(getpid(), NULL, &s);
	near("half of it", e, sum(MANY / 2, MANY), MANY / 2, 100);
	drop_all(MANY / 2, MANY);
	e = look_at(getpid(), NULL, &s);
	cr_expect_eq(e.samples, 0u);
	cr_expect_eq(s.used, 0u);
	cr_expect_eq(s.fragments, 0u);
	cr_expect_eq(s.failures + s.faults, 0u);
}

Test(sampled, a_program_changes_no_byte_of_what_it_holds)
{
	begin();
	for (unsigned i = 0; i < MANY; i++) {
		size_t size = 1 + i % 300;

		kept[i] = pkg_malloc(size);
		cr_assert_geq(pkg_usable(kept[i]), size);
		memset(kept[i], (int)(i % 251), size);
	}
	for (unsigned i = 0; i < MANY; i++)
		for (size_t k = 0; k < 1 + i % 300; k++)
			cr_assert_eq(((unsigned char *)kept[i])[k], i % 251);
}

/* ---- sizes that change ---- */

static APART void *grown_in_steps(size_t size)
{
	void *volatile p = NULL;

	for (size_t have = 64; have <= size; have += 64)
		p = pkg_realloc(p, have);
	return p;
}

Test(sampled, what_grows_is_estimated_at_its_size)
{
	enum { ARRAYS = 600, SIZE = 16384 };
	struct estimate e;
	double bytes, off;

	begin();
	for (unsigned i = 0; i < ARRAYS; i++) {
		kept[i] = grown_in_steps(SIZE);
		memset(kept[i], (int)i, SIZE);
		kept[ARRAYS + i] = pkg_malloc(16);	/* not all of them have room behind them */
	}
	bytes = ARRAYS * (double)rounded(SIZE);
	e = look("grown_in_steps");
	fprintf(stderr, "grown: %.0f of %.0f bytes by %u samples\n", e.bytes, bytes, e.samples);
	off = 0.15;			/* three deviations */
	cr_expect(e.bytes > (1 - off) * bytes && e.bytes < (1 + off) * bytes);
	for (unsigned i = 0; i < ARRAYS; i++)
		for (unsigned k = 0; k < SIZE; k += 1000)
			cr_assert_eq(((unsigned char *)kept[i])[k], (unsigned char)i);
}

/* ---- switched ---- */

Test(sampled, it_is_switched_on_and_off_while_a_program_runs)
{
	unsigned third = MANY / 3;
	struct obs_stats s;
	struct estimate e;

	setenv("MEMAPI_TRACK", "off", 1);
	begin();
	of_all_sizes(0, third);
	cr_expect_eq(look(NULL).samples, 0u);
	track(OBS_SAMPLED);
	of_all_sizes(third, 2 * third);
	e = look_at(getpid(), NULL, &s);
	cr_expect_eq(s.tracking, OBS_SAMPLED);
	near("since then", e, sum(third, 2 * third), third, 100);
	track(OBS_OFF);
	of_all_sizes(2 * third, 3 * third);
	cr_expect_eq(look_at(getpid(), NULL, &s).samples, e.samples);
	cr_expect_eq(s.tracking, OBS_OFF);
	drop_all(third, 2 * third);
	cr_expect_eq(look(NULL).samples, 0u, "and are freed as others");
	drop_all(0, third);
	drop_all(2 * third, 3 * third);
	look_at(getpid(), NULL, &s);
	cr_expect_eq(s.used, 0u);
}

Test(sampled, exact_records_and_samples_lie_side_by_side)
{
	struct estimate e;

	setenv("MEMAPI_TRACK", "sites", 1);
	begin();
	of_all_sizes(0, 1000);
	track(OBS_SAMPLED);
	of_all_sizes(1000, MANY);
	e = look(NULL);
	cr_expect_eq(e.exact, 1000u);
	near("both", e, sum(0, MANY), MANY, 100);
	track(OBS_STACKS);
	kept[0] = pkg_malloc(10);
	cr_expect_geq(look(NULL).exact, 1001u);
}

/* ---- threads and children ---- */

static void *a_thread(void *arg)
{
	unsigned from = *(unsigned *)arg;

	for (unsigned i = 0; i < 1000; i++)
		pkg_free(pkg_malloc(100));
	of_all_sizes(from, from + MANY / 4);
	for (unsigned i = from; i < from + MANY / 4; i += 2)	/* another one's, too: an eighth from it */
		pkg_free(pkg_malloc(40));
	return NULL;
}

Test(sampled, threads_draw_for_themselves)
{
	pthread_t thread[4];
	unsigned from[4];
	struct obs_stats s;

	begin();
	for (unsigned i = 0; i < 4; i++) {
		from[i] = i * (MANY / 4);
		cr_assert_eq(pthread_create(&thread[i], NULL, a_thread, &from[i]), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	near("four threads", look_at(getpid(), "of_all_sizes", &s), sum(0, MANY), MANY, 100);
	drop_all(0, MANY);		/* by one that has allocated none of it */
	cr_expect_eq(look("of_all_sizes").samples, 0u);
}

Test(sampled, a_child_counts_what_it_inherits_as_untracked)
{
	struct obs_stats s;
	struct estimate e;
	int go[2], ready[2];
	char byte = 0;
	int status;
	pid_t pid;

	begin();
	of_all_sizes(0, MANY / 2);
	cr_assert_eq(pipe(go) | pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		of_all_sizes(MANY / 2, MANY);
		if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(1);
		for (unsigned i = 0; i < MANY; i++)	/* the parent's samples, too */
			pkg_free(kept[i]);
		_exit(pkg_usable(pkg_malloc(10)) < 10);
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	e = look_at(pid, NULL, &s);
	near("the child's", e, sum(MANY / 2, MANY), MANY / 2, 100);
	cr_expect_eq(s.tracking, OBS_SAMPLED);
	near("the parent's", look(NULL), sum(0, MANY / 2), MANY / 2, 100);
	cr_assert_eq(write(go[1], &byte, 1), 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(status, 0);
}

/* ---- the code in a record ---- */

Test(sampled, a_weight_survives_its_sixteen_bits)
{
	cr_expect_eq(weight_of(0), 1.0);
	cr_expect_eq(weight_of(weight_code(1)), 1.0);
	for (double w = 1; w < 1e9; w *= 1.01) {
		double back = weight_of(weight_code(w));

		cr_assert_leq(weight_code(w), 0xffffu);
		cr_assert_geq(weight_code(w), 1u);
		cr_assert(back > w * 0.9997 && back < w * 1.0003, "%f is %f", w, back);
	}
}
