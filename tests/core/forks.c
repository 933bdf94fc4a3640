/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Children of every kind of fork have a META and a slot of their own before their first store to any.
 *
 * The parent goes on allocating, also in a second thread, while each child allocates, frees what it inherited and asks
 * the observer what others see of it. A child tells by its exit status which line of it was wrong.
 */
#include <errno.h>
#include <memapi/memapi.h>
#include <memapi/observe.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPECT(x)										\
	do {											\
		if (!(x)) {									\
			fprintf(stderr, "%s:%d: not true: %s (pid %d)\n", __FILE__, __LINE__, #x, getpid());	\
			_exit(1);								\
		}										\
	} while (0)

enum { INHERITED = 200, ROUNDS = 10 };	/* for each manager */
#ifdef __SANITIZE_ADDRESS__		/* whose shadow each child has, too */
enum { CHILDREN = 60, FEWER = 60 };
#else
enum { CHILDREN = 2000, FEWER = 300 };
#endif

static void *inherited[INHERITED], *shared;

static pid_t by_fork(void) { return fork(); }
static pid_t by_underscore_fork(void) { return _Fork(); }
static pid_t by_clone(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

/* What the library finds as madvise(): a kernel before 4.14, or one that only looks like Linux. It knows fork() alone.
 */
static bool old_kernel;

__attribute__((visibility("default"))) int madvise(void *at, size_t bytes, int advice)
{
	if (old_kernel && advice == MADV_WIPEONFORK) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_madvise, at, bytes, advice);
}

static const struct { const char *name; pid_t (*make)(void); } kinds[] = {
	{ "fork", by_fork }, { "_Fork", by_underscore_fork }, { "raw clone", by_clone },
};

/* The newest of this pid: what another left that had it before may still be there. */
static struct obs_pool *find(struct obs *o, pid_t pid)
{
	struct obs_pool *p, *newest = NULL;

	EXPECT(obs_scan(o, NULL, NULL) == 0);
	for (size_t i = 0; (p = obs_at(o, i)); i++)
		if (obs_info(p)->domain == OBS_PKG && obs_info(p)->pid == pid)
			newest = p;
	EXPECT(newest);
	return newest;
}

static void expect_sound(pid_t pid, uint64_t untracked_least)
{
	struct obs_check check;
	struct obs_stats stats;
	struct obs_pool *p;
	struct obs *o;

	EXPECT(obs_open(NULL, &o) == 0);
	p = find(o, pid);
	EXPECT(obs_info(p)->pid == pid);
	EXPECT(obs_stats(p, &stats) == 0);
	EXPECT(stats.state == OBS_LIVE);
	EXPECT(stats.untracked >= untracked_least);
	EXPECT(stats.real_used + stats.cached + stats.free == stats.committed);
	if (pid == getpid()) {
		EXPECT(obs_check(p, &check, NULL, NULL) == 0);
		EXPECT(check.ok || !check.known);
	}
	obs_close(o);
}

static uint64_t fragments_of_self(void)
{
	struct obs_stats stats;
	struct obs *o;

	EXPECT(obs_open(NULL, &o) == 0);
	EXPECT(obs_stats(find(o, getpid()), &stats) == 0);
	obs_close(o);
	return stats.fragments;
}

/* `heap_is_whole`: nobody was inside of a call of the private heap when this child was made. */
static void child(bool heap_is_whole)
{
	void *p, *q;

	alarm(30);					/* waits for nobody who is not here */
	pkg_free(inherited[0]);				/* a free is a store, too */
	if (heap_is_whole)
		EXPECT(fragments_of_self() == INHERITED - 1);
	p = pkg_malloc(100);
	EXPECT(p && pkg_usable(p) >= 100);
	memset(p, 1, 100);
	p = pkg_realloc(p, 50000);
	EXPECT(p && *(char *)p == 1);
	q = shm_malloc(64);
	EXPECT(q);
	strcpy(shared, "child");
	shm_free(q);
	for (unsigned i = 1; i < INHERITED; i++) {
		EXPECT(memcmp(inherited[i], "inherited", 10) == 0);
		inherited[i] = pkg_realloc(inherited[i], 40 + i);
		EXPECT(inherited[i] && memcmp(inherited[i], "inherited", 10) == 0);
	}
	expect_sound(getpid(), heap_is_whole ? 1 : 0);
	for (unsigned i = 1; i < INHERITED; i++)
		pkg_free(inherited[i]);
	pkg_free(p);
	if (heap_is_whole)
		EXPECT(fragments_of_self() == 0);
	_exit(0);
}

static _Atomic bool go_on;

static void *busy(void *arg)
{
	(void)arg;
	while (atomic_load(&go_on)) {
		void *p = pkg_malloc(200), *q = pkg_malloc(3000);

		pkg_free(p);
		pkg_free(q);
	}
	return NULL;
}

static void *first_call(void *arg)
{
	(void)arg;
	shm_free(shm_malloc(50));
	return NULL;
}

/* Threads come and go: each one's first call of shared memory makes it a slot. */
__attribute__((unused)) static void *churn(void *arg)
{
	pthread_t thread;

	(void)arg;
	while (atomic_load(&go_on))
		if (pthread_create(&thread, NULL, first_call, NULL) == 0)
			pthread_join(thread, NULL);
	return NULL;
}

static void try_kind(size_t kind, bool threads)
{
	pid_t pid, parent = getpid();
	int status = 0;

	pid = kinds[kind].make();
	EXPECT(pid >= 0);
	if (pid == 0)
		child(!threads);
	while (waitpid(pid, &status, WNOHANG) == 0) {	/* meanwhile the parent goes on */
		void *p = pkg_malloc(500), *q = shm_malloc(300);

		EXPECT(p && q);
		pkg_free(p);
		shm_free(q);
	}
	if (status) {
		fprintf(stderr, "child of %s%s: status %#x\n", kinds[kind].name, threads ? " with threads" : "", (unsigned)status);
		exit(1);
	}
	EXPECT(strcmp(shared, "child") == 0);
	expect_sound(parent, 0);
}

static void all_kinds(bool threads)
{
	for (unsigned round = 0; round < ROUNDS; round++)
		for (size_t kind = 0; kind < (old_kernel ? 1 : sizeof kinds / sizeof kinds[0]); kind++) {
			strcpy(shared, "parent");
			try_kind(kind, threads);
		}
}

/* Each call of theirs takes the lock, and so waits for a fork, behind which the next one begins at once. */
static void *large(void *arg)
{
	void *p[8];

	while (atomic_load(&go_on)) {
		for (unsigned i = 0; i < 8; i++)
			EXPECT(p[i] = pkg_malloc(40000));
		for (unsigned i = 0; i < 8; i++)
			pkg_free(p[i]);
	}
	return arg;
}

static void threads_lose_nothing_to_forks(unsigned children)
{
	uint64_t before = fragments_of_self();
	pthread_t thread[3];
	pid_t pid;

	atomic_store(&go_on, true);
	for (unsigned i = 0; i < 3; i++)
		EXPECT(pthread_create(&thread[i], NULL, large, NULL) == 0);
	for (unsigned i = 0; i < children; i++) {
		pid = fork();
		if (!pid)
			_exit(0);
		EXPECT(pid > 0 && waitpid(pid, NULL, 0) == pid);
	}
	atomic_store(&go_on, false);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	EXPECT(fragments_of_self() == before);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	old_kernel = argc > 2 && strcmp(argv[2], "old-kernel") == 0;
	if (argc < 2 || pkg_init_manager(argv[1]) || shm_init_manager(argv[1])) {
		fprintf(stderr, "usage: forks MANAGER [old-kernel]; %s\n", memapi_error());
		return 2;
	}
	shared = shm_malloc(16);
	for (unsigned i = 0; i < INHERITED; i++) {
		inherited[i] = pkg_malloc(20 + i);
		strcpy(inherited[i], "inherited");
	}
	all_kinds(false);
	atomic_store(&go_on, true);
	EXPECT(pthread_create(&thread, NULL, busy, NULL) == 0);
	all_kinds(true);
	atomic_store(&go_on, false);
	pthread_join(thread, NULL);
#ifndef __SANITIZE_ADDRESS__ /* whose own heap is locked for ever in a child that was made while a thread came or went \
			      */
	atomic_store(&go_on, true);
	EXPECT(pthread_create(&thread, NULL, churn, NULL) == 0);
	all_kinds(true);
	atomic_store(&go_on, false);
	pthread_join(thread, NULL);
#endif
	/* no manager takes part in that: with one of them the whole, with the others a little */
	threads_lose_nothing_to_forks(strcmp(argv[1], "fm") == 0 && !old_kernel ? CHILDREN : FEWER);
	for (unsigned i = 0; i < INHERITED; i++)
		pkg_free(inherited[i]);
	EXPECT(fragments_of_self() == 0);
	puts("forks: all children were their own");
	return 0;
}
