/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * waits MANAGER - what is freed to a manager that keeps its own memory waits for the next request of its size
 *
 * In magazines of its thread, while nothing is tracked; counters are exact all the while, by what the library says of
 * each fragment.
 */
#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <memapi/observe.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "must.h"

enum { SIZES = 1100, TURNS = 3, SHARED = 3000, THREADS = 4, MIXED = 20000 };

static struct obs *o;

static struct obs_pool *mine(void)
{
	char id[64];

	snprintf(id, sizeof id, "pkg:%d:", (int)getpid());
	MUST(obs_scan(o, NULL, NULL) == 0);
	for (size_t i = 0; obs_at(o, i); i++)
		if (!strncmp(obs_info(obs_at(o, i))->id, id, strlen(id)))
			return obs_at(o, i);
	MUST(false);
	return NULL;
}

static struct obs_stats stats(void)
{
	struct obs_stats s;

	MUST(obs_stats(mine(), &s) == 0);
	MUST(s.state == OBS_LIVE);
	return s;
}

static void what_is_freed_serves_the_next_request_of_its_size(void)
{
	struct obs_stats before, s;
	size_t usable;
	void *p, *q;

	pkg_free(pkg_malloc(200));	/* sizes are learned */
	before = stats();
	p = pkg_malloc(200);
	usable = pkg_usable(p);
	MUST(stats().used == before.used + usable && stats().fragments == before.fragments + 1);
	pkg_free(p);
	s = stats();
	MUST(s.used == before.used && s.fragments == before.fragments && s.cached >= usable);
	MUST(s.untracked == s.fragments && s.untracked_bytes == s.used);
	q = pkg_malloc(200);
	MUST(q == p && pkg_usable(q) == usable);
	MUST(stats().cached == s.cached - usable && stats().used == before.used + usable);
	pkg_free(q);
}

static void some_of_each_size_wait(void)
{
	enum { WAIT = 8 };
	void *p[WAIT];
	struct obs_stats before;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < WAIT; i++) {
		p[i] = pkg_malloc(500);
		bytes += pkg_usable(p[i]);
	}
	before = stats();
	for (unsigned i = 0; i < WAIT; i++)
		pkg_free(p[i]);
	MUST(stats().cached == before.cached + bytes);
}

static void used_is_what_the_holders_may_use(void)
{
	static unsigned char *p[SIZES];
	struct obs_stats before = stats();

	for (unsigned turn = 0; turn < TURNS; turn++) {
		uint64_t bytes = 0;

		for (size_t n = 0; n < SIZES; n++) {
			p[n] = n % 7 ? pkg_malloc(n) : pkg_memalign((size_t)16 << n % 5, n);
			MUST(p[n] && pkg_usable(p[n]) >= n);
			memset(p[n], (int)n, pkg_usable(p[n]));
			bytes += pkg_usable(p[n]);
		}
		MUST(stats().used == before.used + bytes && stats().fragments == before.fragments + SIZES);
		for (size_t n = 0; n < SIZES; n++) {
			MUST(p[n][0] == (unsigned char)n && p[n][pkg_usable(p[n]) - 1] == (unsigned char)n);
			pkg_free(p[n]);
		}
		MUST(stats().used == before.used && stats().fragments == before.fragments);
	}
}

static void a_second_free_that_follows_at_once_is_told(void)
{
	uint64_t faults = stats().faults;
	void *p = pkg_malloc(300), *other = pkg_malloc(300), *a, *b;

	pkg_free(p);			/* of a full magazine it is the long way that tells; there is room for two */
	pkg_free(p);
	MUST(stats().faults == faults + 1);
	MUST(pkg_usable(p) == 0 && stats().faults == faults + 1);
	a = pkg_malloc(300);
	b = pkg_malloc(300);
	MUST(a && b && a != b);
	pkg_free(a);
	pkg_free(b);
	pkg_free(other);
	MUST(stats().faults == faults + 1);
}

static uint32_t below(uint32_t n)
{
	static uint64_t random = 88172645463325252u;

	random ^= random << 13, random ^= random >> 7, random ^= random << 17;
	return (uint32_t)((random >> 32) * n >> 32);
}

/* As any program mixes them: pages that held one size hold another, or several, as aligned ones do in mimalloc. */
static void *another(void *p, size_t size)
{
	switch (below(4)) {
	case 0:
		return pkg_realloc(p, size);
	case 1:
		pkg_free(p);
		return pkg_memalign((size_t)16 << below(9), size);
	default:
		pkg_free(p);
		return pkg_malloc(size);
	}
}

/* Sizes come and go, so that pages do, too. */
static void used_is_right_whatever_sizes_a_page_has_had(void)
{
	static void *p[MIXED];
	static size_t usable[MIXED];
	struct obs_stats before = stats();
	uint64_t bytes = 0;

	for (unsigned turn = 0; turn < 12 * MIXED; turn++) {
		size_t least = (size_t)16 << turn / MIXED % 6, i = below(MIXED);

		bytes -= usable[i];
		p[i] = another(p[i], least + below((uint32_t)(least + 200)));
		MUST(p[i]);
		bytes += usable[i] = pkg_usable(p[i]);
		memset(p[i], (int)i, usable[i]);
		MUST(turn % 512 || stats().used == before.used + bytes);
	}
	for (unsigned i = 0; i < MIXED; i++) {
		MUST(!usable[i] || pkg_usable(p[i]) == usable[i]);
		MUST(!usable[i] || ((unsigned char *)p[i])[usable[i] - 1] == (unsigned char)i);
		pkg_free(p[i]);
		p[i] = NULL;
		usable[i] = 0;
	}
	MUST(stats().used == before.used && stats().fragments == before.fragments);
}

static void *shared[THREADS][SHARED];

static void *fill(void *arg)
{
	void **at = arg;

	for (size_t i = 0; i < SHARED; i++)
		MUST((at[i] = pkg_malloc(i % 1000 + 1)) != NULL);
	return NULL;
}

static void *drain(void *arg)
{
	void **at = arg;

	for (size_t i = 0; i < SHARED; i++)
		pkg_free(at[i]);
	return NULL;
}

static void in_threads(void *(*work)(void *arg))
{
	pthread_t t[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		MUST(pthread_create(&t[i], NULL, work, shared[i]) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		MUST(pthread_join(t[i], NULL) == 0);
}

static void other_threads_free_it_as_well(void)
{
	struct obs_stats before = stats();
	uint64_t bytes = 0;

	in_threads(fill);
	for (size_t i = 0; i < (size_t)THREADS * SHARED; i++)
		bytes += pkg_usable(shared[i / SHARED][i % SHARED]);
	MUST(stats().used == before.used + bytes && stats().fragments == before.fragments + (uint64_t)THREADS * SHARED);
	for (unsigned i = 0; i < THREADS / 2; i++)
		drain(shared[i]);
	bytes = 0;
	for (size_t i = (size_t)THREADS / 2 * SHARED; i < (size_t)THREADS * SHARED; i++)
		bytes += pkg_usable(shared[i / SHARED][i % SHARED]);
	MUST(stats().used == before.used + bytes);
	for (unsigned i = 0; i < THREADS / 2; i++)
		fill(shared[i]);
	in_threads(drain);
	MUST(stats().used == before.used && stats().fragments == before.fragments);
}

static void a_child_has_what_its_parent_had_in_use(void)
{
	void *p = pkg_malloc(100);
	struct obs_stats before;
	int status = 1;
	pid_t pid;

	pkg_free(pkg_malloc(400));
	before = stats();
	pid = fork();
	MUST(pid >= 0);
	if (!pid) {
		void *q = pkg_malloc(500);

		MUST(q && obs_open(NULL, &o) == 0);
		MUST(stats().fragments == before.fragments + 1);
		MUST(stats().used == before.used + pkg_usable(q));
		pkg_free(q);
		MUST(stats().cached >= pkg_usable(p));
		pkg_free(p);
		MUST(stats().fragments == before.fragments - 1);
		_exit(0);
	}
	MUST(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	pkg_free(p);
}

static void what_is_tracked_does_not_wait(void)
{
	struct obs_stats s;
	void *p;

	MUST(obs_track(mine(), OBS_SITES) == 0);
	p = pkg_malloc(100);
	s = stats();
	MUST(p && s.cached == 0 && s.untracked == s.fragments - 1);
	pkg_free(p);
	MUST(stats().cached == 0 && stats().fragments == s.fragments - 1);
	MUST(obs_track(mine(), OBS_OFF) == 0);
	pkg_free(pkg_malloc(100));
	MUST(stats().cached == 0);
}

int main(int argc, char **argv)
{
	if (argc < 2 || pkg_init_manager(argv[1])) {
		printf("%s\n", argc < 2 ? "usage: waits MANAGER" : memapi_error());
		return 2;
	}
	MUST(obs_open(NULL, &o) == 0);
	pkg_free(pkg_malloc(1));
	what_is_freed_serves_the_next_request_of_its_size();
	some_of_each_size_wait();
	used_is_what_the_holders_may_use();
	used_is_right_whatever_sizes_a_page_has_had();
	a_second_free_that_follows_at_once_is_told();
	a_child_has_what_its_parent_had_in_use();
	other_threads_free_it_as_well();
	used_is_right_whatever_sizes_a_page_has_had();
	a_child_has_what_its_parent_had_in_use();
	what_is_tracked_does_not_wait();
	obs_close(o);
	return 0;
}
