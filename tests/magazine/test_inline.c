/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What inline.h compiles into an application: it serves, it knows when not to, and then it calls.
 *
 *	test_inline MANAGER HOW		HOW: inline, or calls (this program was compiled so that it must not be served)
 *
 * Calls of the library by this program are counted by the linker's --wrap. Each test is a child with a registry and a
 * heap of its own.
 */
#include "apart.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAIRS = 1000, SIZE_MOST = 1040 };

static unsigned faults;
static const char *manager;
static bool served;			/* HOW: inline */
static bool puts_served;		/* the manager seals its fragments */
static _Thread_local unsigned mallocs, frees;

void *__real_mem_pkg_malloc(size_t size, const struct mem_site *site);
void *__wrap_mem_pkg_malloc(size_t size, const struct mem_site *site);
void *__wrap_mem_pkg_malloc(size_t size, const struct mem_site *site)
{
	mallocs++;
	return __real_mem_pkg_malloc(size, site);
}

void *__real_mem_pkg_mallocxz(size_t size, const struct mem_site *site);
void *__wrap_mem_pkg_mallocxz(size_t size, const struct mem_site *site);
void *__wrap_mem_pkg_mallocxz(size_t size, const struct mem_site *site)
{
	mallocs++;
	return __real_mem_pkg_mallocxz(size, site);
}

void __real_mem_pkg_free(void *p, const struct mem_site *site);
void __wrap_mem_pkg_free(void *p, const struct mem_site *site);
void __wrap_mem_pkg_free(void *p, const struct mem_site *site)
{
	frees++;
	__real_mem_pkg_free(p, site);
}

/* A handler that interrupts the holder of the lock is refused. */
static void on_fault(const struct mem_fault_report *report) { faults += report->kind != MEM_DEADLOCK; }

static void come(void)
{
	setenv("MEMAPI_SAMPLE", "4K", 1);	/* for those that switch it on: one take of 4 or 5 is looked at */
	come_apart(manager, "off", on_fault);
}

static bool sound(void)
{
	struct obs_check check = { .ok = false };
	struct obs_pool *p = own_pool();

	return p && obs_check(p, &check, NULL, NULL) == 0 && check.ok && !faults;
}

/* The first pair of a thread makes its magazines, and fills a place of this size. */
static void warm_up(void)
{
	pkg_free(pkg_malloc(64));
	pkg_free(pkg_malloc(64));
	mallocs = frees = 0;
}

static void pairs(unsigned n)
{
	while (n--) {
		uint64_t *p = pkg_malloc(64);

		CHECK(p && (uintptr_t)p % 16 == 0);
		p[0] = p[1] = p[7] = n;
		pkg_free(p);
	}
}

/* Of PAIRS that were made just now. */
static bool without_calls(void)
{
	return mallocs == (served ? 0 : PAIRS) && frees == (served && puts_served ? 0 : PAIRS);
}

static bool with_calls(void) { return mallocs >= PAIRS && frees >= PAIRS; }

/* ---- */

static void a_pair_needs_no_call(void)
{
	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
	CHECK(sound());
}

static void every_size_is_served_whole(void)
{
	static unsigned char *p[SIZE_MOST + 100];

	for (unsigned turn = 0; turn < 3; turn++) {
		for (size_t size = 0; size < SIZE_MOST + 100; size++) {
			p[size] = turn % 2 ? pkg_mallocxz(size) : pkg_malloc(size);
			CHECK(p[size]);
			for (size_t i = 0; turn % 2 && i < size; i++)
				CHECK(!p[size][i]);
			memset(p[size], (int)size, size);
		}
		for (size_t size = 0; size < SIZE_MOST + 100; size++) {
			for (size_t i = 0; i < size; i++)
				CHECK(p[size][i] == (unsigned char)size);
			CHECK(pkg_usable(p[size]) >= size);
			pkg_free(p[size]);
		}
	}
	CHECK(sound());
}

static void nothing_and_too_much_are_the_librarys(void)
{
	pkg_free(NULL);
	CHECK(!pkg_malloc(SIZE_MAX) && !pkg_malloc((size_t)1 << 62));
	CHECK(pkg_malloc(0) != NULL);
	CHECK(sound());
}

/* By another process, as mmd does: the next call follows. */
static void call_sites_switched_on_live_are_seen_at_once(void)
{
	struct obs_stats before, after;
	void *p;

	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
	before = seen();
	CHECK(obs_track(own_pool(), OBS_SITES) == 0);
	mallocs = 0;
	p = pkg_malloc(64);
	after = seen();
	CHECK(mallocs == 1);
	CHECK(after.fragments == before.fragments + 1 && after.untracked == before.untracked);
	pkg_free(p);
	mallocs = frees = 0;
	pairs(PAIRS);
	CHECK(with_calls());
	CHECK(sound());
	CHECK(obs_track(own_pool(), OBS_OFF) == 0);
	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
	CHECK(sound());
}

static void a_tracked_call_has_its_place(void)
{
	struct mem_counter *list = NULL, *c;
	unsigned found = 0, line;
	void *p;

	warm_up();
	CHECK(obs_track(own_pool(), OBS_SITES) == 0);
	line = __LINE__, p = mem_inline_malloc(64, MEM_SITE);
	pkg_api()->xmodstats(pkg_api()->mem_block, &list);
	for (c = list; c; c = c->next)
		found += c->line == line && strstr(c->file, "test_inline.c");
	CHECK(found == 1);
	pkg_api()->xfmodstats(list);
	pkg_free(p);
}

static void a_second_free_is_found(void)
{
	void *p = pkg_malloc(64), *q = pkg_malloc(64);

	pkg_free(p);
	pkg_free(p);
	CHECK(faults == 1);
	pkg_free(q);
	pkg_free(p);
	CHECK(faults == 2);
	pkg_free((char *)pkg_malloc(64) + 16);
	CHECK(faults == 3);
}

static int child(void)
{
	void *inherited = pkg_malloc(64);

	if (!inherited || mallocs != 1)		/* it has found out that it is a child */
		return 1;
	pkg_free(inherited);
	warm_up();
	pairs(PAIRS);
	return !without_calls() || !sound() ? 2 : 0;
}

static void a_child_of_any_kind_finds_out(void)
{
	pid_t pid;

	warm_up();
	pairs(PAIRS);
	mallocs = frees = 0;
	pid = fork();
	if (!pid)
		_exit(child());
	CHECK(status_of(pid) == 0);
	/* behind the library's back */
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		_exit(child());
	CHECK(status_of(pid) == 0);
	pairs(PAIRS);
	CHECK(without_calls());
	CHECK(sound());
}

static volatile sig_atomic_t came;

static void on_alarm(int sig)
{
	void *p[4];

	(void)sig;
	for (unsigned i = 0; i < 4; i++) {
		p[i] = pkg_malloc(64);
		if (p[i])
			memset(p[i], 0xa5, 64);
	}
	for (unsigned i = 0; i < 4; i++)
		pkg_free(p[i]);
	came++;
}

static void a_handler_in_between_does_no_harm(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { { 0, 0 }, { 0, 0 } };

	warm_up();
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	while (came < 2000) {
		uint64_t *p = pkg_malloc(64), *q = pkg_malloc(64);

		if (p && q && p != q) {
			p[0] = p[1] = 1;
			q[0] = q[1] = 2;
			CHECK(p[0] == 1 && p[1] == 1);
		} else {
			CHECK(p && q);
		}
		pkg_free(p);
		pkg_free(q);
	}
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	CHECK(sound());
}

static void *in_thread(void *arg)
{
	void **p = arg;

	for (unsigned i = 0; i < 64; i++)
		pkg_free(p[i]);
	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
	return NULL;
}

static void each_thread_is_served(void)
{
	pthread_t thread[4];
	void *p[4][64];

	for (unsigned t = 0; t < 4; t++) {
		for (unsigned i = 0; i < 64; i++)
			CHECK((p[t][i] = pkg_malloc(64)) != NULL);
		CHECK(pthread_create(&thread[t], NULL, in_thread, p[t]) == 0);
	}
	for (unsigned t = 0; t < 4; t++)
		pthread_join(thread[t], NULL);
	CHECK(sound());
}

/* ---- samples ---- */

static void begin_to_sample(void)
{
	warm_up();
	CHECK(obs_track(own_pool(), OBS_SAMPLED) == 0);
	warm_up();
}

/* Calls are those that are looked at, and not all. Of PAIRS that were made just now. */
static bool sampling(void) { return served ? mallocs > PAIRS / 20 && mallocs < PAIRS / 2 : mallocs == PAIRS; }

static bool count_sampled(const struct obs_fragment *f, void *arg)
{
	*(unsigned *)arg += f->state == OBS_USED && f->sampled;
	return true;
}

static unsigned samples(void)
{
	unsigned found = 0;
	uint64_t at = 0;

	CHECK(own_pool());
	do
		CHECK(obs_records(own_pool(), &at, 100000, count_sampled, &found) == 0);
	while (at);
	return found;
}

/* What is kept finds what the pair before it has freed: of 4000 times 64 bytes 62 are samples, give or take 8. */
static void what_is_due_calls_and_all_others_are_served(void)
{
	static void *kept[4 * PAIRS];
	struct obs_stats before;

	begin_to_sample();
	pairs(PAIRS);
	CHECK(sampling());
	before = seen();
	for (unsigned i = 0; i < 4 * PAIRS; i++) {
		pkg_free(pkg_malloc(64));
		CHECK((kept[i] = pkg_malloc(64)) != NULL);
	}
	CHECK(seen().fragments == before.fragments + 4 * PAIRS);
	CHECK(seen().stamp == before.stamp + 8 * PAIRS);
	CHECK(samples() > 25 && samples() < 120);
	CHECK(sound());
	for (unsigned i = 0; i < 4 * PAIRS; i++)
		pkg_free(kept[i]);
	CHECK(samples() == 0 && seen().fragments == before.fragments);
	CHECK(obs_track(own_pool(), OBS_OFF) == 0);
	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
	CHECK(sound());
}

static void a_child_samples_too(void)
{
	pid_t pid;

	begin_to_sample();
	pid = fork();
	if (!pid) {
		warm_up();
		pairs(PAIRS);
		_exit(!sampling() || !sound());
	}
	CHECK(status_of(pid) == 0);
	mallocs = 0;
	pairs(PAIRS);
	CHECK(sampling());
}

#ifdef STEP_BY_STEP
enum { HANDLED = 17 };

static void on_step(int sig)
{
	void *p;

	(void)sig;
	if (++came % HANDLED)
		return;
	p = pkg_malloc(64);
	if (p)
		memset(p, 0xa5, 64);
	pkg_free(p);
}

/* At any instruction: a handler may take the one that is due before the way is closed, and so open it. */
static void a_handler_leaves_the_way_as_it_should_be(void)
{
	struct sigaction action = { .sa_handler = on_step };

	begin_to_sample();
	CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
	STEP_ON();
	for (unsigned i = 0; i < PAIRS / 4; i++)
		pkg_free(pkg_malloc(64));
	STEP_OFF();
	CHECK(came > PAIRS / 4);
	mallocs = 0;
	pairs(PAIRS);
	CHECK(sampling());
	CHECK(sound());
}
#endif

static const struct { const char *name; void (*run)(void); } tests[] = {
	{ "a_pair_needs_no_call", a_pair_needs_no_call },
	{ "every_size_is_served_whole", every_size_is_served_whole },
	{ "nothing_and_too_much_are_the_librarys", nothing_and_too_much_are_the_librarys },
	{ "call_sites_switched_on_live_are_seen_at_once", call_sites_switched_on_live_are_seen_at_once },
	{ "a_tracked_call_has_its_place", a_tracked_call_has_its_place },
	{ "a_second_free_is_found", a_second_free_is_found },
	{ "a_child_of_any_kind_finds_out", a_child_of_any_kind_finds_out },
	{ "a_handler_in_between_does_no_harm", a_handler_in_between_does_no_harm },
	{ "each_thread_is_served", each_thread_is_served },
	{ "what_is_due_calls_and_all_others_are_served", what_is_due_calls_and_all_others_are_served },
	{ "a_child_samples_too", a_child_samples_too },
#ifdef STEP_BY_STEP
	{ "a_handler_leaves_the_way_as_it_should_be", a_handler_leaves_the_way_as_it_should_be },
#endif
};

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc != 3)
		return 2;
	manager = argv[1];
	served = !strcmp(argv[2], "inline");
	puts_served = strcmp(manager, "slab") != 0;
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
		int status;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (!pid) {
			come();
			tests[i].run();
			go();
			exit(0);
		}
		status = status_of(pid);
		printf("%s %s\n", status ? "FAIL" : "ok  ", tests[i].name);
		failed += status != 0;
	}
	return failed != 0;
}
