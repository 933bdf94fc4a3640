/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What inline_shm.h compiles into an application: it serves, it knows when not to, and then it calls.
 *
 *	test_inline_shm MANAGER HOW	HOW: inline, or calls (this program was compiled so that it must not be served)
 *
 * As test_inline.c, on a shared pool.
 */
#include <memapi/memapi.h>
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

#define CHECK(what) do {									\
	if (!(what)) {									\
		printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #what);		\
		fflush(stdout);								\
		_exit(1);								\
	}										\
} while (0)

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

static bool sound(void)
{
	struct mem_info info;

	shm_info(&info);
	return !faults;
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

static int status_of(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	return status;
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

static void a_handler_in_between_does_no_harm(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { { 0, 0 }, { 0, 0 } };

	warm_up();
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	while (came < 2000) {
		uint64_t *p = shm_malloc(64), *q = shm_malloc(64);

		CHECK(p && q && p != q);
		p[0] = p[1] = 1;
		q[0] = q[1] = 2;
		CHECK(p[0] == 1 && p[1] == 1);
		shm_free(p);
		shm_free(q);
	}
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	CHECK(sound());
}

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
