/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signal handlers that allocate, free, resize and ask while the thread that they interrupt is doing the same, first
 * after each of its instructions, then by a timer, also with threads: each of their calls is served, or refused with
 * EDEADLK and a report; nothing is lost, and nobody waits for ever.
 */
#include <errno.h>
#include <memapi/memapi.h>
#include <memapi/observe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

enum { THREADS = 2, LIVE = 60, KEPT = 8, SERVED_LEAST = 3000, SECONDS_MOST = 60, FORKED_LEAST = 100 };
enum { ASKED = 4 };			/* one in so many handlers of a stepped thread asks, too */

struct held { unsigned char *p; size_t size; };

static _Atomic unsigned served, refused, told, wrong;
static _Thread_local volatile unsigned refusals;	/* of this thread's calls */
static _Thread_local struct held kept[2][KEPT];	/* what handlers hold on to, of each domain */
static _Thread_local volatile unsigned seed;
static _Atomic bool go_on;
static volatile bool locking;			/* the one thread that is stepped is in shm_lock(), or has it */

static void on_fault(const struct mem_fault_report *report)
{
	refusals++;
	atomic_fetch_add(&told, 1);
	if (report->kind != MEM_DEADLOCK ||
	    !(strstr(report->text, "signal handler") || (locking && strstr(report->text, "holder of the pool's lock"))))
		atomic_fetch_add(&wrong, 1);
}

static void *resize(bool shared, void *p, size_t size) { return shared ? shm_realloc(p, size) : pkg_realloc(p, size); }
static void *get(bool shared, size_t size) { return shared ? shm_malloc(size) : pkg_malloc(size); }
static void let_go(bool shared, void *p)
{
	if (shared)
		shm_free(p);
	else
		pkg_free(p);
}

static unsigned number(void) { return (seed = seed * 1103515245 + 12345) >> 8; }

static void expect_bytes(const struct held *h, int byte)
{
	for (size_t i = 0; i < h->size; i++)
		if (h->p[i] != byte) {
			atomic_fetch_add(&wrong, 1);
			return;
		}
}

static void fill(struct held *h, void *p, size_t size, int byte)
{
	*h = (struct held){ p, size };
	memset(p, byte, size);
}

/* One call in the handler. What was refused has not happened. */
static void call(bool shared, struct held *h)
{
	unsigned before = refusals;
	size_t size = 1 + number() % 30 * 10;
	void *p;

	errno = 0;
	if (h->p && number() % 2) {
		expect_bytes(h, 0xee);
		let_go(shared, h->p);
		if (refusals == before)
			*h = (struct held){ 0 };
	} else {
		p = h->p ? resize(shared, h->p, size) : get(shared, size);
		if (p)
			fill(h, p, size, 0xee);
		else if (errno != EDEADLK || refusals == before)
			atomic_fetch_add(&wrong, 1);
	}
	atomic_fetch_add(refusals == before ? &served : &refused, 1);
}

static const sr_pkg_api_t *pkg_calls;
static const sr_shm_api_t *shm_calls;

static bool stop_there(const struct mem_fragment *f, void *arg)
{
	(void)f, (void)arg;
	return false;
}

/* What a call says that was served, or refused. */
static void judge(bool good, unsigned before)
{
	if (good == (refusals != before))
		atomic_fetch_add(&wrong, 1);
	atomic_fetch_add(refusals == before ? &served : &refused, 1);
}

/* Calls that change nothing, each with the lock. */
static void ask(bool shared, const struct held *h)
{
	static const struct mem_site site = { sizeof site, 1, "handler.c", "f", "m", NULL };
	unsigned before = refusals;
	int rc;

	if (!h->p)
		return;
	judge((shared ? shm_usable(h->p) : pkg_usable(h->p)) >= h->size, before);
	rc = shared ? shm_calls->xwalk(shm_calls->mem_block, stop_there, NULL)
		    : pkg_calls->xwalk(pkg_calls->mem_block, stop_there, NULL);
	if (rc && rc != -EDEADLK)
		atomic_fetch_add(&wrong, 1);
	if (!shared) {
		pkg_calls->xsetfunc(pkg_calls->mem_block, h->p, &site);
		return;
	}
	shm_calls->xsetfunc(shm_calls->mem_block, h->p, &site);
	before = refusals;
	rc = shm_share(h->p);
	judge(rc == 0, before);
	if (rc && rc != -EDEADLK)
		atomic_fetch_add(&wrong, 1);
	shm_lock();
	shm_unlock();
}

/* One signal: a period shorter than a handler's work would let nobody else go on. */
static void arm(long us)
{
	struct itimerval once = { { 0, 0 }, { 0, us } };

	setitimer(ITIMER_REAL, &once, NULL);
}

static void on_signal(int signal)
{
	int saved = errno;

	(void)signal;
	for (unsigned shared = 0; shared < 2; shared++)
		for (unsigned i = 0; i < 3; i++) {
			call(shared, &kept[shared][number() % KEPT]);
			ask(shared, &kept[shared][number() % KEPT]);
		}
	arm(20 + number() % 100);
	errno = saved;
}

/* refusals are the handler's alone */
static void turn(bool shared, struct held *h, unsigned *random, int byte)
{
	size_t size = 1 + (size_t)rand_r(random) % 700;
	void *p;

	expect_bytes(h, byte);
	if (h->p && rand_r(random) % 3) {
		let_go(shared, h->p);
		*h = (struct held){ 0 };
	} else {
		p = h->p ? resize(shared, h->p, size) : get(shared, size);
		if (p)
			fill(h, p, size, byte);
		else
			atomic_fetch_add(&wrong, 1);
	}
}

static void signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(how, &set, NULL);
}

/* Of both domains, with signals blocked: what this thread held, and what its handlers kept. */
static void let_all_go(struct held held[2][LIVE])
{
	for (unsigned shared = 0; shared < 2; shared++) {
		for (unsigned i = 0; i < LIVE; i++)
			let_go(shared, held[shared][i].p);
		for (unsigned i = 0; i < KEPT; i++) {
			expect_bytes(&kept[shared][i], 0xee);
			let_go(shared, kept[shared][i].p);
			kept[shared][i] = (struct held){ 0 };
		}
	}
}

static void *work(void *arg)
{
	unsigned random = (unsigned)(uintptr_t)arg + 1;
	int byte = (int)random;
	struct held held[2][LIVE] = { 0 };

	seed = random;
	pkg_free(pkg_malloc(1));
	shm_free(shm_malloc(1));	/* it has its slot */
	signals(SIG_UNBLOCK);
	while (atomic_load(&go_on))
		for (unsigned shared = 0; shared < 2; shared++)
			turn(shared, &held[shared][(unsigned)rand_r(&random) % LIVE], &random, byte);
	signals(SIG_BLOCK);
	let_all_go(held);
	return NULL;
}

static void run(unsigned threads)
{
	pthread_t thread[THREADS];
	time_t end = time(NULL) + SECONDS_MOST;
	unsigned target = atomic_load(&served) + SERVED_LEAST;

	atomic_store(&go_on, true);
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i);
	arm(10);
	while (atomic_load(&served) < target && time(NULL) < end)
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	atomic_store(&go_on, false);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	EXPECT(atomic_load(&served) >= target);
}

/* One thread, and the library knows it. */
static void run_alone(void)
{
	static struct held held[2][LIVE];
	unsigned random = 7, target = atomic_load(&served) + SERVED_LEAST;
	time_t end = time(NULL) + SECONDS_MOST;

	seed = 1;
	arm(10);
	while (atomic_load(&served) < target && time(NULL) < end)
		for (unsigned shared = 0; shared < 2; shared++)
			turn(shared, &held[shared][(unsigned)rand_r(&random) % LIVE], &random, 1);
	signals(SIG_BLOCK);
	let_all_go(held);
	EXPECT(atomic_load(&served) >= target);
}

/* ---- after each instruction ---- */

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

enum { STEPPED = 60 };

static void on_trap(int signal)
{
	int saved = errno;

	(void)signal;
	call(false, &kept[0][number() % KEPT]);
	if (number() % ASKED == 0)
		ask(false, &kept[0][number() % KEPT]);
	errno = saved;
}

static void on_trap_shared(int signal)
{
	int saved = errno;

	(void)signal;
	call(true, &kept[1][number() % KEPT]);
	if (number() % ASKED == 0)
		ask(true, &kept[1][number() % KEPT]);
	errno = saved;
}

/* The flag is set while the calls run; the kernel clears it for the handler. Below the stack is the red zone. */
#define TRAP(on) __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq $-257, (%%rsp); orq %0, (%%rsp); popfq; "	\
				  "lea 128(%%rsp), %%rsp" : : "i"((on) << 8) : "cc", "memory")

static void run_stepped(bool shared)
{
	struct sigaction action = { .sa_handler = shared ? on_trap_shared : on_trap };
	static struct held held[LIVE / 10];
	unsigned random = 11;

	sigaction(SIGTRAP, &action, NULL);
	for (unsigned i = 0; i < STEPPED; i++) {
		struct held *h = &held[i % (LIVE / 10)];

		TRAP(1);
		turn(shared, h, &random, 3);
		locking = shared;
		if (shared) {
			shm_lock();
			shm_unlock();
		}
		locking = false;
		TRAP(0);
	}
	for (unsigned i = 0; i < LIVE / 10; i++) {
		let_go(shared, held[i].p);
		held[i] = (struct held){ 0 };
	}
	for (unsigned i = 0; i < KEPT; i++) {
		expect_bytes(&kept[shared][i], 0xee);
		let_go(shared, kept[shared][i].p);
		kept[shared][i] = (struct held){ 0 };
	}
}

#else
static void run_stepped(bool shared) { printf("signals: not stepped, %d\n", shared); }
#endif

/* ---- handlers that fork ---- */

static void wait_for_good(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		atomic_fetch_add(&wrong, 1);
}

static _Thread_local volatile bool fork_in_set_up;

/* What the library finds as flock(), in the middle of making a shared pool. */
__attribute__((visibility("default"))) int flock(int fd, int operation)
{
	pid_t pid;

	if (fork_in_set_up) {
		fork_in_set_up = false;
		pid = fork();
		if (pid == 0)
			_exit(0);
		wait_for_good(pid);
	}
	return (int)syscall(SYS_flock, fd, operation);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)	/* which forbid that, as glibc's malloc does */

static _Atomic unsigned forked;

/* In the middle of calls of its thread, and of others' calls. The child allocates. */
static void on_signal_fork(int signal)
{
	int saved = errno;
	pid_t pid = fork();
	void *p;

	(void)signal;
	if (pid == 0) {
		sigaction(SIGALRM, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
		signals(SIG_UNBLOCK);
		alarm(20);
		p = pkg_malloc(100);
		if (p)
			memset(p, 1, 100);
		pkg_free(p);
		_exit(0);
	}
	wait_for_good(pid);
	atomic_fetch_add(&forked, 1);
	arm(200 + number() % 1000);
	errno = saved;
}

static void *large(void *arg)
{
	signals(SIG_UNBLOCK);
	while (atomic_load(&go_on)) {
		void *p = pkg_malloc(40000 + (size_t)number() % 5000 * 8);

		EXPECT(p);
		pkg_free(p);
	}
	signals(SIG_BLOCK);
	return arg;
}

static void run_forking(void)
{
	struct sigaction action = { .sa_handler = on_signal_fork, .sa_flags = SA_RESTART };
	pthread_t thread[THREADS];

	sigaction(SIGALRM, &action, NULL);
	atomic_store(&go_on, true);
	for (unsigned i = 0; i < THREADS; i++)
		EXPECT(pthread_create(&thread[i], NULL, large, NULL) == 0);
	alarm(0);
	arm(100);
	for (unsigned i = 0; i < 600 && atomic_load(&forked) < FORKED_LEAST; i++)
		nanosleep(&(struct timespec){ 0, 100000000 }, NULL);
	EXPECT(atomic_load(&forked) >= FORKED_LEAST);
	atomic_store(&go_on, false);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

#else
static void run_forking(void) { puts("signals: no fork in handlers"); }
#endif

/* ---- */

static void expect_sound(void)
{
	struct obs_check check;
	struct obs_pool *p;
	struct obs *o;

	EXPECT(obs_open(NULL, &o) == 0 && obs_scan(o, NULL, NULL) == 0);
	for (size_t i = 0; (p = obs_at(o, i)); i++) {
		if (obs_info(p)->domain == OBS_PKG && obs_info(p)->pid != getpid())
			continue;
		EXPECT(obs_check(p, &check, NULL, NULL) == 0);
		EXPECT(check.ok || !check.known);
	}
	obs_close(o);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct mem_info pkg, shm;

	fork_in_set_up = true;
	if (argc < 2 || pkg_init_manager(argv[1]) || shm_init_manager(argv[argc - 1])) {
		fprintf(stderr, "usage: signals MANAGER [MANAGER-OF-SHM]; %s\n", memapi_error());
		return 2;
	}
	memapi_on_fault(on_fault);
	sigaction(SIGALRM, &action, NULL);
	pkg_free(pkg_malloc(1));
	shm_free(shm_malloc(1));
	pkg_calls = pkg_api();
	shm_calls = shm_api();
	run_stepped(false);
	run_stepped(true);
	run_alone();
	run(THREADS);
	if (argc == 2)			/* else the manager is a C library's malloc, whose own lock fork() takes */
		run_forking();
	pkg_info(&pkg);
	shm_info(&shm);
	printf("signals: served %u, refused %u, told %u, wrong %u\n", atomic_load(&served), atomic_load(&refused),
	       atomic_load(&told), atomic_load(&wrong));
	EXPECT(atomic_load(&wrong) == 0);
	EXPECT(pkg.used_size == 0 && shm.used_size == 0);
	expect_sound();
	return 0;
}
