/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What inline_shm.h compiles into an application: it serves, it knows when not to, and then it calls.
 *
 *	test_inline_shm MANAGER HOW	HOW: inline, or calls (this program was compiled so that it must not be served)
 *
 * As test_inline.c, on a shared pool.
 */
#include "check.h"

#include <memapi/memapi.h>
#include <memapi/observe.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAIRS = 1000, SIZE_MOST = 1040 };

static unsigned faults;
static bool served;			/* HOW: inline */
static _Thread_local unsigned mallocs, frees;

#define COUNTED_MALLOC(name, type)				\
void *__real_##name(size_t size, type arg);			\
void *__wrap_##name(size_t size, type arg);			\
void *__wrap_##name(size_t size, type arg) { mallocs++; return __real_##name(size, arg); }
#define COUNTED_FREE(name, type)				\
void __real_##name(void *p, type arg);				\
void __wrap_##name(void *p, type arg);				\
void __wrap_##name(void *p, type arg) { frees++; __real_##name(p, arg); }
COUNTED_MALLOC(mem_shm_malloc, const struct mem_site *)
COUNTED_MALLOC(mem_shm_malloc_here, uint32_t *)
COUNTED_FREE(mem_shm_free, const struct mem_site *)
COUNTED_FREE(mem_shm_free_here, uint32_t *)

static void on_fault(const struct mem_fault_report *report) { faults += report->kind != MEM_DEADLOCK; }

/* A handler's calls are in here, too. */
__attribute__((noinline)) static void pairs(unsigned n)
{
	while (n--) {
		uint64_t *p = shm_malloc(64);

		CHECK(p && (uintptr_t)p % 16 == 0);
		p[0] = p[1] = p[7] = n;
		shm_free(p);
	}
}

static void some_time(unsigned ms) { nanosleep(&(struct timespec){ .tv_nsec = (long)ms * 1000000 }, NULL); }

/* The first pairs of a thread claim its slot, fill a place of this size, and tell the numbers of both places in code.
 */
static void warm_up(void)
{
	pairs(10);
	mallocs = frees = 0;
}

/* Of PAIRS that were made just now; once a second the clock is asked for. */
static bool without_calls(void) { return served ? mallocs <= 3 && frees <= 1 : mallocs == PAIRS && frees == PAIRS; }
static bool with_calls(void) { return mallocs >= PAIRS && frees >= PAIRS; }

/* The shared pool of this test's registry. */
static struct obs_pool *pool_here(void)
{
	static struct obs *o;
	struct obs_pool *p;

	if (!o && obs_open(NULL, &o))
		return NULL;
	obs_scan(o, NULL, NULL);
	for (size_t i = 0; (p = obs_at(o, i)); i++)
		if (obs_info(p)->domain == OBS_SHM)
			break;
	return p;
}

static bool sound(void)
{
	struct obs_check check = { .ok = false };
	struct obs_pool *p = pool_here();

	return p && obs_check(p, &check, NULL, NULL) == 0 && check.ok && !faults;
}

/* What programs have, without what lies in magazines. */
static uint64_t handed_out(void)
{
	struct obs_stats s = { .fragments = UINT64_MAX };

	CHECK(pool_here() && obs_stats(pool_here(), &s) == 0);
	return s.fragments;
}

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
	static unsigned char *p[SIZE_MOST];

	for (unsigned turn = 0; turn < 3; turn++) {
		for (size_t size = 0; size < SIZE_MOST; size++) {
			p[size] = shm_malloc(size);
			CHECK(p[size] && shm_usable(p[size]) >= size);
			memset(p[size], (int)size, size);
		}
		for (size_t size = 0; size < SIZE_MOST; size++) {
			for (size_t i = 0; i < size; i++)
				CHECK(p[size][i] == (unsigned char)size);
			shm_free(p[size]);
		}
	}
	CHECK(sound());
}

static void nothing_and_too_much_are_the_librarys(void)
{
	shm_free(NULL);
	CHECK(!shm_malloc(SIZE_MAX) && !shm_malloc((size_t)1 << 62));
	CHECK(shm_malloc(0) != NULL);
	CHECK(sound());
}

static void who_holds_the_lock_is_refused(void)
{
	void *p;

	warm_up();
	p = shm_malloc(64);
	shm_lock();
	CHECK(!shm_malloc(64));
	shm_unlock();
	shm_free(p);
	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
}

static void a_trim_gives_back_what_is_known(void)
{
	void *p[40];

	for (unsigned turn = 0; turn < 4; turn++) {
		for (unsigned i = 0; i < 40; i++)
			CHECK((p[i] = shm_malloc(64)) != NULL);
		for (unsigned i = 0; i < 40; i++)
			shm_free(p[i]);
		shm_trim();
	}
	CHECK(sound());
}

static void a_second_free_is_found(void)
{
	void *p = shm_malloc(64), *q = shm_malloc(64);

	shm_free(p);
	shm_free(p);
	CHECK(faults == 1);
	shm_free(q);
	shm_free(p);
	CHECK(faults == 2);
	shm_free((char *)shm_malloc(64) + 16);
	CHECK(faults == 3);
}

static int child(void)
{
	unsigned before = mallocs;
	void *p = shm_malloc(64);

	if (!p || mallocs != before + 1)	/* it has found out that it is a child */
		return 1;
	shm_free(p);
	warm_up();
	pairs(PAIRS);
	return !without_calls() || !sound() ? 2 : 0;
}

static void a_child_of_any_kind_finds_out(void)
{
	pid_t pid;

	warm_up();
	pid = fork();
	if (!pid)
		_exit(child());
	CHECK(status_of(pid) == 0);
	/* behind the library's back */
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		_exit(child());
	CHECK(status_of(pid) == 0);
	warm_up();
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
		p[i] = shm_malloc(64);
		if (p[i])
			memset(p[i], 0xa5, 64);
	}
	for (unsigned i = 0; i < 4; i++)
		shm_free(p[i]);
	came++;
}

/* Nobody else is given what the first one got. Inlined: a handler may come at any of its instructions. */
__attribute__((always_inline)) static inline void two_at_once(size_t size)
{
	uint64_t *p = shm_malloc(64), *q = shm_malloc(size);

	CHECK(p && q && p != q);
	p[0] = p[1] = 1;
	q[0] = q[1] = 2;
	CHECK(p[0] == 1 && p[1] == 1);
	shm_free(p);
	shm_free(q);
}

static void a_handler_in_between_does_no_harm(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval soon = { { 0, 0 }, { 0, 50 } };

	warm_up();
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	while (came < 2000) {
		sig_atomic_t before = came;

		/* once: who is refused reports that, which may take longer than the next one needs to come */
		CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
		while (came == before)
			two_at_once(64);
	}
	CHECK(sound());
}

#ifdef STEP_BY_STEP
static sig_atomic_t handled = 1;	/* at every so many instructions */
static void (*in_handler)(void);

static void on_step(int sig)
{
	(void)sig;
	if (++came % handled == 0)
		in_handler();
}

static void step_pairs(unsigned n, int every, void (*handler)(void))
{
	struct sigaction action = { .sa_handler = on_step };

	came = 0;
	handled = every;
	in_handler = handler;
	CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
	STEP_ON();
	while (n--)
		two_at_once(200);
	STEP_OFF();
	CHECK(came > 0);
}

static void some_pairs(void)
{
	void *p[2];

	for (unsigned i = 0; i < 2; i++)
		if ((p[i] = shm_malloc(i ? 200 : 64)))
			memset(p[i], 0xa5, 64);
	for (unsigned i = 0; i < 2; i++)
		shm_free(p[i]);
}

static void a_trim(void)
{
	some_pairs();
	shm_trim();
}

/* Handlers that allocate, and that empty the magazines. */
static void a_handler_at_any_instruction_does_no_harm(void)
{
	uint64_t before;

	warm_up();
	some_pairs();
	before = handed_out();
	step_pairs(20, 1, some_pairs);
	CHECK(sound() && handed_out() == before);
	step_pairs(40, 7, a_trim);
	CHECK(sound() && handed_out() == before);
	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
}

/* It has found out that it is a child; what its parent was about to do is the parent's. */
static void a_fork(void)
{
	pid_t pid = came / handled % 2 ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	uint64_t *p;

	if (pid) {
		CHECK(status_of(pid) == 0);
		return;
	}
	mallocs = 0;
	p = shm_malloc(64);
	CHECK(p && mallocs == 1);
	*p = 3;
	shm_free(p);
	pairs(20);
	_exit(0);
}

/* Who forks has no lock meanwhile, as long as no call needs one: all places are known, and the magazines have some. */
static void a_child_of_any_instruction_is_served(void)
{
	uint64_t before;

	warm_up();
	step_pairs(8, INT_MAX, NULL);
	before = handed_out();
	step_pairs(25, 37, a_fork);
	shm_reap();
	CHECK(sound() && handed_out() == before);
}
#endif

static void *in_thread(void *arg)
{
	void **p = arg;

	for (unsigned i = 0; i < 64; i++)
		shm_free(p[i]);
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
			CHECK((p[t][i] = shm_malloc(64)) != NULL);
		CHECK(pthread_create(&thread[t], NULL, in_thread, p[t]) == 0);
	}
	for (unsigned t = 0; t < 4; t++)
		pthread_join(thread[t], NULL);
	CHECK(sound());
}

static volatile bool going;

static void *pairs_in_thread(void *arg)
{
	(void)arg;
	while (going) {
		void *p[24];

		for (unsigned i = 0; i < 24; i++)
			CHECK((p[i] = shm_malloc(16 + 40 * i)) != NULL);
		for (unsigned i = 0; i < 24; i++)
			memset(p[i], (int)i, 16 + 40 * i);
		for (unsigned i = 0; i < 24; i++) {
			for (unsigned n = 0; n < 16 + 40 * i; n++)
				CHECK(((unsigned char *)p[i])[n] == i);
			shm_free(p[i]);
		}
	}
	shm_trim();
	return NULL;
}

/* By others than who has the chains: their own trims, and what an operator wishes. */
static void what_changes_meanwhile_is_followed(void)
{
	pthread_t thread[3];
	uint64_t before;

	warm_up();
	before = handed_out();
	going = true;
	for (unsigned t = 0; t < 3; t++)
		CHECK(pthread_create(&thread[t], NULL, pairs_in_thread, NULL) == 0);
	for (unsigned i = 0; i < 60; i++) {
		CHECK(obs_track(pool_here(), i % 2 ? OBS_SITES : OBS_STACKS) == 0);
		some_time(3);
		shm_trim();
	}
	going = false;
	for (unsigned t = 0; t < 3; t++)
		pthread_join(thread[t], NULL);
	CHECK(sound() && handed_out() == before);
	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
}

/* The next call follows, and so does the thread that another one has followed for. */
static void stacks_switched_on_live_are_seen_at_once(void)
{
	pthread_t thread;

	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
	CHECK(obs_track(pool_here(), OBS_STACKS) == 0);
	going = false;
	CHECK(pthread_create(&thread, NULL, pairs_in_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
	mallocs = frees = 0;
	CHECK(shm_malloc(64) && mallocs == 1);
	mallocs = frees = 0;
	pairs(PAIRS);
	CHECK(with_calls());
	CHECK(obs_track(pool_here(), OBS_SITES) == 0);
	warm_up();
	pairs(PAIRS);
	CHECK(without_calls());
	CHECK(sound());
}

static void closed_magazines_are_the_librarys(void)
{
	warm_up();
	pairs(PAIRS);
	CHECK(with_calls());
}

static const struct { const char *name; void (*run)(void); } tests[] = {
	{ "a_pair_needs_no_call", a_pair_needs_no_call },
	{ "every_size_is_served_whole", every_size_is_served_whole },
	{ "nothing_and_too_much_are_the_librarys", nothing_and_too_much_are_the_librarys },
	{ "who_holds_the_lock_is_refused", who_holds_the_lock_is_refused },
	{ "a_trim_gives_back_what_is_known", a_trim_gives_back_what_is_known },
	{ "a_second_free_is_found", a_second_free_is_found },
	{ "a_child_of_any_kind_finds_out", a_child_of_any_kind_finds_out },
	{ "a_handler_in_between_does_no_harm", a_handler_in_between_does_no_harm },
	{ "each_thread_is_served", each_thread_is_served },
	{ "stacks_switched_on_live_are_seen_at_once", stacks_switched_on_live_are_seen_at_once },
	{ "what_changes_meanwhile_is_followed", what_changes_meanwhile_is_followed },
#ifdef STEP_BY_STEP
	{ "a_handler_at_any_instruction_does_no_harm", a_handler_at_any_instruction_does_no_harm },
	{ "a_child_of_any_instruction_is_served", a_child_of_any_instruction_is_served },
#endif
	{ "closed_magazines_are_the_librarys", closed_magazines_are_the_librarys },
};

static void run(const char *manager, void (*test)(void))
{
	char place[] = "/tmp/memapi-inline-XXXXXX", command[64];
	int status;
	pid_t pid;

	CHECK(mkdtemp(place));
	pid = fork();
	if (!pid) {
		setenv("MEMAPI_REGISTRY", place, 1);
		setenv("XDG_STATE_HOME", place, 1);
		setenv("MEMAPI_CONFIG", "/dev/null", 1);
		setenv("MEMAPI_DEBUG", "no", 1);
		setenv("MEMAPI_MAGAZINES", test == closed_magazines_are_the_librarys ? "no" : "yes", 1);
		CHECK(shm_init_manager(manager) == 0);
		memapi_on_fault(on_fault);
		test();
		exit(0);
	}
	status = status_of(pid);
	snprintf(command, sizeof command, "rm -rf %s", place);
	CHECK(system(command) == 0);
	if (status)
		_exit(1);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	served = !strcmp(argv[2], "inline");
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
		printf("%s\n", tests[i].name);
		fflush(stdout);
		run(argv[1], tests[i].run);
	}
	return 0;
}
