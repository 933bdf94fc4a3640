/* SPDX-License-Identifier: BSD-2-Clause */
/* Walks that end otherwise than at the end: late, by longjmp(), in a child, or because somebody has had enough. */
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"

enum { FRAGMENTS = 2000, WALKERS = 8, LATE = 61 };

/* What the library finds as clock_gettime(): a clock that can be put forward, and how often it was asked. */
static _Atomic unsigned forward, asked;

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *now)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, now);

	now->tv_sec += (time_t)atomic_load(&forward);
	atomic_fetch_add(&asked, 1);
	return rc;
}

static int walk(bool shared, mem_fragment_fn *fn, void *arg)
{
	return shared ? shm_api()->xwalk(shm_api()->mem_block, fn, arg)
		      : pkg_api()->xwalk(pkg_api()->mem_block, fn, arg);
}

static bool count(const struct mem_fragment *f, void *arg)
{
	(void)f;
	++*(unsigned *)arg;
	return true;
}

static void expect_whole(bool shared)
{
	unsigned n = 0;

	EXPECT(walk(shared, count, &n) == 0 && n >= FRAGMENTS);
}

static jmp_buf out;

static bool jump(const struct mem_fragment *f, void *arg)
{
	(void)f, (void)arg;
	longjmp(out, 1);
}

static void walks_that_were_left_by_longjmp_expire(bool shared)
{
	unsigned n = 0;

	for (volatile unsigned i = 0; i < WALKERS; i++)
		if (!setjmp(out))
			walk(shared, jump, NULL);
	EXPECT(walk(shared, count, &n) == -EBUSY);
	atomic_fetch_add(&forward, LATE);
	expect_whole(shared);
}

/* In the middle of a walk, all other places are taken and left, and time goes by. */
struct late { bool shared, others; unsigned n; };

static bool come_back_late(const struct mem_fragment *f, void *arg)
{
	struct late *l = arg;

	(void)f;
	if (++l->n != FRAGMENTS / 2)
		return true;
	atomic_fetch_add(&forward, LATE);
	for (volatile unsigned i = 0; l->others && i < WALKERS; i++)
		if (!setjmp(out))
			walk(l->shared, jump, NULL);
	return true;
}

static void who_comes_back_late_goes_on_or_is_told(bool shared)
{
	struct late l = { .shared = shared };

	EXPECT(walk(shared, come_back_late, &l) == 0 && l.n >= FRAGMENTS);
	l = (struct late){ .shared = shared, .others = true };
	EXPECT(walk(shared, come_back_late, &l) == -EBUSY && l.n < FRAGMENTS);
	atomic_fetch_add(&forward, LATE);
	expect_whole(shared);
}

static bool enough(const struct mem_fragment *f, void *arg) { (void)f, (void)arg; return false; }

/* A walk asks for the time with each slice. */
static void who_has_had_enough_waits_for_no_more(bool shared)
{
	for (unsigned i = 0; i < 2 * WALKERS; i++) {
		unsigned before = atomic_load(&asked);

		EXPECT(walk(shared, enough, NULL) == 0);
		EXPECT(atomic_load(&asked) - before <= 4);
	}
	expect_whole(shared);
}

static void a_child_walks_though_its_parent_did(void)
{
	int status;
	pid_t pid;

	for (volatile unsigned i = 0; i < WALKERS; i++)
		if (!setjmp(out))
			walk(false, jump, NULL);
	pid = fork();
	if (pid == 0) {
		expect_whole(false);
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	atomic_fetch_add(&forward, LATE);
}

int main(int argc, char **argv)
{
	if (argc < 2 || pkg_init_manager(argv[1]) || shm_init_manager(argv[1])) {
		fprintf(stderr, "usage: walks MANAGER; %s\n", memapi_error());
		return 2;
	}
	for (unsigned i = 0; i < FRAGMENTS; i++)
		EXPECT(pkg_malloc(2000) && shm_malloc(2000));
	for (unsigned shared = 0; shared < 2; shared++) {
		walks_that_were_left_by_longjmp_expire(shared);
		who_comes_back_late_goes_on_or_is_told(shared);
		who_has_had_enough_waits_for_no_more(shared);
	}
	a_child_walks_though_its_parent_did();
	puts("walks: late, cut short and inherited ones end as they should");
	return 0;
}
