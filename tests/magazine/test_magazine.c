/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Magazines of the private heap: faster, and nothing else that anybody could tell.
 *
 * A program of its own: with one thread nothing is brought into them, and what Criterion starts does not count as one.
 * Each test is a child with a registry and a heap of its own.
 */
#include "apart.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned faults;
static const char *manager = "fm";	/* with sealed words; or another, as the only argument */
static bool tracked;			/* each test runs without call sites, with them, and guarded */
static uint64_t unit;			/* usable bytes of a request for 64, with its tail */

static void on_fault(const struct mem_fault_report *report) { (void)report, faults++; }

static void come(void)
{
	unit = tracked ? 80 : 64;
	setenv("MEMAPI_PKG_SIZE", "1M", 1);
	come_apart(manager, tracked ? "sites" : "off", on_fault);
}

/* Of the heap: not to be had where anything else is in use. slab has a page for itself, and gives pages. */
static size_t almost_all(void)
{
	return (1 << 20) - (strcmp(manager, "slab") ? 2048 : 4096 + (tracked ? 8 : 0));
}

/* ---- what observers see ---- */

struct sums { uint64_t bytes[3], count[3]; };

static bool add(const struct obs_fragment *f, void *arg)
{
	struct sums *s = arg;

	s->bytes[f->state] += f->size;
	s->count[f->state]++;
	return true;
}

/* Stats are what a walk finds; the heap is what its counters say. */
static bool agree(void)
{
	struct obs_pool *p = own_pool();
	struct sums walked = { .bytes = { 0 } };
	struct obs_check check = { .ok = false };
	struct obs_stats s;
	uint64_t cursor = 0;

	if (!p || obs_stats(p, &s))
		return false;
	do
		if (obs_walk(p, &cursor, 1000, add, &walked))
			return false;
	while (cursor);
	return obs_check(p, &check, NULL, NULL) == 0 && check.ok && walked.bytes[OBS_USED] == s.used &&
	       walked.count[OBS_USED] == s.fragments && walked.bytes[OBS_CACHED] == s.cached &&
	       walked.bytes[OBS_FREE] == s.free && s.real_used + s.cached + s.free == s.committed;
}

static bool count_used(const struct mem_fragment *f, void *arg)
{
	*(unsigned *)arg += f->used;
	return true;
}

static void what_is_freed_is_told_as_cached_and_handed_out_next(void)
{
	void *kept = pkg_malloc(64), *p = pkg_malloc(64);
	struct obs_stats before = seen(), after;
	struct mem_info info;
	unsigned used = 0;

	pkg_free(p);
	after = seen();
	CHECK(after.cached == unit);
	CHECK(after.used == before.used - unit);
	CHECK(after.untracked == (tracked ? 0 : after.fragments));
	CHECK(after.fragments == before.fragments - 1);
	pkg_info(&info);
	CHECK(info.used_size == after.used);
	CHECK(info.real_used == after.real_used);
	CHECK(pkg_api()->xwalk(pkg_api()->mem_block, count_used, &used) == 0);
	CHECK(used == after.fragments);
	CHECK(agree());
	CHECK(pkg_malloc(60) == p);
	CHECK(seen().cached == 0);
	CHECK(seen().stamp == before.stamp + 1);
	CHECK(agree());
	pkg_free(kept);
}

static void a_second_free_is_found(void)
{
	void *p = pkg_malloc(64), *q = pkg_malloc(64);

	pkg_free(p);
	pkg_free(q);
	pkg_free(p);
	CHECK(faults == 1);
	CHECK(!pkg_realloc(p, 10));
	CHECK(faults == 2);
	CHECK(pkg_usable(p) == 0);
	CHECK(pkg_malloc(64) == q);
	CHECK(pkg_malloc(64) == p);
	CHECK(agree());
}

/* What is written into a fragment after its free is its writer's fault; the heap does not take it for its own. */
static void what_is_written_after_the_free_leads_nobody(void)
{
	uint64_t *p = pkg_malloc(64), *q = pkg_malloc(64);

	pkg_free(p);
	memset(p, 0xff, unit);
	CHECK(pkg_malloc(64) == p);
	pkg_free(p);
	pkg_free(q);
	CHECK(faults == 0);
	CHECK(agree());
}

/*
 * What is free is 16 bytes larger than what is asked for, which is too little to be cut off. The manager gives it
 * whole; it is freed to where there is no room, and would be asked for where there is none: each pair a call of the
 * manager.
 */
static void what_the_manager_gave_larger_is_taken_again(void)
{
	enum { MANY = 200 };
	void *larger[MANY], *between[MANY], *p;
	uint64_t cached;

	for (unsigned i = 0; i < MANY; i++) {
		larger[i] = pkg_malloc(80);
		between[i] = pkg_malloc(80);
	}
	for (unsigned i = 0; i < MANY; i++)
		pkg_free(larger[i]);
	pkg_free(pkg_malloc(64));
	cached = seen().cached;
	p = pkg_malloc(64);
	CHECK(seen().cached < cached);
	CHECK(pkg_usable(p) >= 64);
	CHECK(agree());
	pkg_free(p);
	for (unsigned i = 0; i < MANY; i++)
		pkg_free(between[i]);
	CHECK(faults == 0);
	CHECK(agree());
}

/* Bytes of the user that look like a cached fragment's are the user's. */
static void what_was_cached_once_is_not_cached_for_ever(void)
{
	uint64_t tag[8], *p = pkg_malloc(64), *q = pkg_malloc(64);

	pkg_free(p);
	memcpy(tag, p, sizeof tag);
	memcpy(q, tag, sizeof tag);
	pkg_free(q);
	CHECK(faults == 0);
	q = pkg_malloc(64);
	CHECK(tracked || q[1] != tag[1]);
}

struct told { const void *at; struct obs_fragment f; bool found; };

static bool tell(const struct obs_fragment *f, void *arg)
{
	struct told *t = arg;

	if (f->address == (uintptr_t)t->at)
		t->f = *f, t->found = true;
	return true;
}

static struct obs_fragment told_of(const void *p)
{
	struct told t = { .at = p };
	uint64_t cursor = 0;

	do
		CHECK(obs_records(own_pool(), &cursor, 1000, tell, &t) == 0);
	while (cursor);
	CHECK(t.found);
	return t.f;
}

/* One place, to which the call returns. */
__attribute__((noinline)) static void *from_here(size_t size)
{
	void *volatile p = pkg_malloc(size);

	return p;
}

/* Of the last holder nothing is left in the record; who freed it is told until then. */
static void what_is_taken_is_recorded_anew(void)
{
	void *kept = from_here(64), *p = pkg_malloc(60);
	struct obs_fragment first, then;

	if (!tracked)
		return;
	first = told_of(p);
	CHECK(first.requested == 60 && first.state == OBS_USED);
	pkg_free(p);
	then = told_of(p);
	CHECK(then.state == OBS_CACHED && then.size == first.size);
	for (unsigned i = 0; i < 3; i++) {	/* the place is new at first */
		CHECK(from_here(57 + i) == p);
		then = told_of(p);
		CHECK(then.state == OBS_USED && then.requested == 57 + i && then.size == first.size);
		CHECK(then.site == told_of(kept).site);
		CHECK(then.stamp == first.stamp + 1 + i && then.time >= first.time);
		CHECK(then.stamp == seen().stamp);
		pkg_free(p);
	}
	pkg_free(kept);
}

/* From one byte of guards to as many as there are. */
static void an_overrun_of_what_has_waited_is_found(void)
{
	static const size_t sizes[] = { 0, 1, 7, 9, 15, 16, 17, 23, 25, 31, 33, 55, 57, 64, 1001, 1015, 1017, 1024 };
	unsigned before;
	char *p;

	for (size_t i = 0; guarded && i < sizeof sizes / sizeof *sizes; i++) {
		for (unsigned n = 0; n < 3; n++) {
			p = pkg_malloc(sizes[i]);
			memset(p, 0x55, sizes[i]);
			CHECK(pkg_usable(p) == sizes[i]);
			pkg_free(p);
		}
		before = faults;
		CHECK(before == i);
		p = pkg_malloc(sizes[i]);
		p[sizes[i]] ^= 1;
		pkg_free(p);
		CHECK(faults == before + 1);
	}
	CHECK(agree());
}

/* What was guarded once, and what was not, are put the same way when that has changed. */
static void guards_come_and_go(void)
{
	void *p = pkg_malloc(60), *q = pkg_malloc(60);

	for (unsigned n = 0; tracked && n < 4; n++) {
		CHECK(obs_track(own_pool(), n % 2 ? OBS_SITES : OBS_OFF) == 0);
		pkg_free(p);
		p = q;
		q = pkg_malloc(60);
		CHECK(agree());
	}
	CHECK(faults == 0);
	pkg_free(p);
	pkg_free(q);
	CHECK(agree());
}

/* Larger than what magazines hold. There is a shelf while nothing is recorded, where heads are sealed. */
static bool have_shelf(void) { return !tracked && strcmp(manager, "slab"); }

static void a_large_one_that_is_freed_is_told_as_cached_and_handed_out_next(void)
{
	void *kept = pkg_malloc(4000), *p = pkg_malloc(4000);
	uint64_t usable = pkg_usable(p);
	struct obs_stats before = seen(), after;

	pkg_free(p);
	after = seen();
	CHECK(after.used <= before.used - usable && after.fragments == before.fragments - 1);
	CHECK(after.cached == (have_shelf() ? usable : 0));
	CHECK(agree());
	CHECK(pkg_malloc(4000) == p);
	CHECK(seen().used == before.used && seen().cached == 0);
	CHECK(seen().stamp == before.stamp + 1);
	CHECK(agree());
	pkg_free(kept);
}

static void a_second_free_of_a_large_one_is_found(void)
{
	void *p[12], *last = pkg_malloc(3000);

	for (unsigned i = 0; i < 12; i++)
		CHECK(p[i] = pkg_malloc(1100 + 100 * i));
	for (unsigned i = 0; i < 12; i++) {	/* more than are fresh */
		pkg_free(p[i]);
		pkg_free(p[i]);
		CHECK(faults == 2 * i + 1);
		CHECK(!pkg_realloc(p[0], 10));
		CHECK(faults == 2 * i + 2);
		CHECK(pkg_usable(p[i]) == 0);
	}
	pkg_free(last);
	CHECK(agree());
}

static void what_the_shelf_has_is_large_enough(void)
{
	enum { LIVE = 40, CALLS = 40000 };
	static struct { unsigned char *p; size_t size; } live[LIVE];
	uint32_t random = 1;

	for (unsigned n = 0; n < CALLS; n++) {
		unsigned i = (random = random * 1103515245 + 12345) >> 16 & 31;
		size_t size = 1000 + (random >> 8) % 15500;

		if (live[i].p) {
			CHECK(live[i].p[0] == (unsigned char)i && live[i].p[live[i].size - 1] == (unsigned char)i);
			pkg_free(live[i].p);
		}
		live[i].size = size;
		live[i].p = pkg_malloc(size);
		CHECK(live[i].p);
		CHECK(pkg_usable(live[i].p) >= size);
		memset(live[i].p, (int)i, size);
		CHECK(n % 1000 || agree());
	}
	CHECK(faults == 0);
}

static void a_request_for_all_gets_what_is_on_the_shelf(void)
{
	void *p[6];

	for (unsigned i = 0; i < 6; i++)
		CHECK(p[i] = pkg_malloc(4000));
	for (unsigned i = 0; i < 6; i++)
		pkg_free(p[i]);
	CHECK(!have_shelf() || seen().cached >= 6 * 4000);
	CHECK(p[0] = pkg_malloc(almost_all()));
	CHECK(seen().cached == 0);
	pkg_free(p[0]);
	CHECK(agree());
}

static void tracking_switched_on_live_empties_the_shelf(void)
{
	void *p = pkg_malloc(4000), *q;

	pkg_free(p);
	CHECK(obs_track(own_pool(), tracked ? OBS_OFF : OBS_SITES) == 0);
	q = pkg_malloc(5000);
	CHECK(q && seen().cached == 0);
	CHECK(agree());
	pkg_free(q);
	CHECK(obs_track(own_pool(), tracked ? OBS_SITES : OBS_OFF) == 0);
	p = pkg_malloc(6000);
	CHECK(p && seen().cached == 0);
	pkg_free(p);
	CHECK(seen().cached >= (have_shelf() ? 6000u : 0u));
	CHECK(agree());
}

static void a_forked_child_gets_no_shelf_of_its_parents(void)
{
	void *p = pkg_malloc(4000);
	int status;
	pid_t pid;

	pkg_free(p);
	pid = fork();
	if (!pid) {
		void *q = pkg_malloc(4000);

		pkg_free(q);
		_exit(!q || faults);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(agree());
	CHECK(pkg_malloc(4000) == p);
}

static void a_failing_request_gets_what_is_cached(void)
{
	enum { MOST = 20000 };
	static void *p[MOST];
	size_t n = 0;

	while (n < MOST && (p[n] = pkg_malloc(16 + n % 60 * 16)))
		n++;
	CHECK(n < MOST);
	for (size_t i = 0; i < n; i++)
		pkg_free(p[i]);
	CHECK(seen().cached > 0);
	CHECK(pkg_malloc(almost_all()));
	CHECK(seen().cached == 0);
	CHECK(agree());
}

static int in_child(int (*fn)(void *), void *arg)
{
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(fn(arg));
	waitpid(pid, &status, 0);
	return status;
}

static int child_goes_on(void *arg)
{
	void **p = arg;

	pkg_free(p[0]);			/* cached by the parent: found although META is another one now */
	if (faults != 1)
		return 1;
	for (unsigned i = 8; i < 16; i++)
		pkg_free(p[i]);		/* inherited, in use */
	for (unsigned i = 0; i < 64; i++)
		if (!pkg_malloc(64))
			return 2;
	return faults == 1 && agree() ? 0 : 3;
}

static void a_forked_child_goes_on_with_its_own(void)
{
	void *p[16];

	for (unsigned i = 0; i < 16; i++)
		p[i] = pkg_malloc(64);
	for (unsigned i = 0; i < 4; i++)
		pkg_free(p[i]);
	CHECK(in_child(child_goes_on, p) == 0);
	CHECK(seen().cached == 4 * unit);	/* so many places has each heap, whatever is recorded */
	CHECK(agree());
}

static void tracking_switched_on_live_empties_them(void)
{
	void *p = pkg_malloc(64);

	pkg_free(p);
	CHECK(seen().cached == unit);
	CHECK(obs_track(own_pool(), tracked ? OBS_OFF : OBS_SITES) == 0);
	p = mem_pkg_malloc(100, MEM_SITE);
	CHECK(seen().cached == 0);
	CHECK(seen().untracked == tracked);
	pkg_free(p);
	CHECK(seen().cached == 112);
	CHECK(agree());
	CHECK(obs_track(own_pool(), tracked ? OBS_SITES : OBS_OFF) == 0);
	pkg_free(pkg_malloc(64));
	CHECK(seen().cached == unit);
	CHECK(agree());
}

/* ---- threads ---- */

/* Another thread, which does what it is told. */
static struct { pthread_t thread; pthread_barrier_t go, done; void (*task)(void **); void **arg; } other;

static void *work(void *arg)
{
	for (;;) {
		pthread_barrier_wait(&other.go);
		if (!other.task)
			return arg;
		other.task(other.arg);
		pthread_barrier_wait(&other.done);
	}
}

static void other_does(void (*task)(void **), void **arg)
{
	other.task = task;
	other.arg = arg;
	pthread_barrier_wait(&other.go);
	if (task)
		pthread_barrier_wait(&other.done);
	else
		pthread_join(other.thread, NULL);
}

static void other_begins(void)
{
	pthread_barrier_init(&other.go, NULL, 2);
	pthread_barrier_init(&other.done, NULL, 2);
	CHECK(pthread_create(&other.thread, NULL, work, NULL) == 0);
}

enum { SOME = 40 };
static void make_some(void **p) { for (unsigned i = 0; i < SOME; i++) p[i] = pkg_malloc(64); }
static void free_some(void **p) { for (unsigned i = 0; i < SOME; i++) pkg_free(p[i]); }
static void make_one(void **p) { p[0] = pkg_malloc(64); }
static void make_large(void **p) { p[0] = pkg_malloc(20000); }
static void free_one(void **p) { pkg_free(p[0]); }

static void each_thread_has_its_own(void)
{
	void *p = pkg_malloc(64), *q[2];
	struct obs_stats s;

	pkg_free(p);
	CHECK(seen().cached == unit);
	other_begins();
	other_does(make_one, q);
	CHECK(q[0] && q[0] != p);
	CHECK(agree());
	s = seen();
	other_does(free_one, q);
	CHECK(seen().cached == s.cached + unit);
	CHECK(seen().used == s.used - unit && seen().stamp == s.stamp);
	CHECK(agree());
	other_does(make_one, q + 1);
	CHECK(q[1] == q[0]);
	CHECK(seen().cached == s.cached && seen().stamp == s.stamp + 1);
	CHECK(pkg_malloc(64) == p);
	pkg_free(p);
	other_does(NULL, NULL);			/* what it had waits for the next one */
	CHECK(seen().cached == s.cached);
	CHECK(seen().stamp == s.stamp + 2);
	CHECK(agree());
}

static void what_one_makes_another_frees(void)
{
	void *p[SOME], *again[SOME];
	struct mem_info info;

	other_begins();
	for (unsigned round = 0; round < 20; round++) {
		make_some(p);
		other_does(free_some, p);
		CHECK(agree());
		CHECK(seen().fragments == 0);
		pkg_info(&info);
		CHECK(info.used_size == 0);
		other_does(make_some, again);
		free_some(again);
		CHECK(agree());
		CHECK(seen().cached >= unit);
	}
	CHECK(seen().cached <= 3 * 64 * unit);	/* of two threads and the depot */
	other_does(NULL, NULL);
	CHECK(faults == 0);
	CHECK(agree());
}

static void a_second_free_by_another_thread_is_found(void)
{
	void *p[2] = { pkg_malloc(64), pkg_malloc(64) };

	other_begins();
	other_does(free_one, p);
	pkg_free(p[0]);
	CHECK(faults == 1);
	pkg_free(p[1]);
	other_does(free_one, p + 1);
	CHECK(faults == 2);
	CHECK(agree());
	other_does(NULL, NULL);
}

static void others_follow_who_found_no_memory(void)
{
	void *p[SOME], *q;

	other_begins();
	other_does(make_some, p);
	other_does(free_some, p);
	CHECK(seen().cached > 0);
	CHECK(!pkg_malloc(almost_all()));	/* somewhere in there lies what it holds */
	CHECK(seen().cached > 0);
	other_does(make_large, &q);		/* passes by with the lock */
	CHECK(seen().cached == 0);
	CHECK(agree());
	pkg_free(q);
	q = pkg_malloc(almost_all());
	CHECK(q);
	other_does(NULL, NULL);
	CHECK(agree());
}

static void tracking_is_switched_on_thread_by_thread(void)
{
	void *p = pkg_malloc(64), *q[1];

	other_begins();
	other_does(make_one, q);
	other_does(free_one, q);		/* of the old kind: it stays until the thread calls again */
	pkg_free(p);
	CHECK(obs_track(own_pool(), tracked ? OBS_OFF : OBS_SITES) == 0);
	p = mem_pkg_malloc(100, MEM_SITE);
	CHECK(seen().cached >= unit);
	CHECK(seen().untracked == tracked);
	CHECK(seen().fragments == 1);
	CHECK(agree());
	other_does(make_one, q);
	CHECK(seen().untracked == 2 * tracked);
	CHECK(seen().fragments == 2);
	CHECK(agree());
	other_does(free_one, q);
	pkg_free(p);
	CHECK(seen().fragments == 0);
	CHECK(agree());
	other_does(NULL, NULL);
	CHECK(agree());
}

static int child_of_threads(void *arg)
{
	void **p = arg;

	if (!pkg_malloc(10))
		return 1;
	if (seen().fragments != 1 + SOME || seen().cached > 16 * unit || !agree())
		return 2;
	free_some(p);
	pkg_free(p[0]);
	return faults == 1 && agree() && seen().fragments == 1 ? 0 : 3;
}

static void a_child_has_what_was_in_other_threads_magazines(void)
{
	void *p[SOME], *q[SOME];

	other_begins();
	make_some(p);
	other_does(make_some, q);
	other_does(free_some, q);
	CHECK(in_child(child_of_threads, p) == 0);
	CHECK(seen().fragments == SOME);
	free_some(p);
	CHECK(agree());
	other_does(NULL, NULL);
}

static _Atomic bool go_on = true;

static void *busy(void *arg)
{
	void *p[SOME];

	while (go_on) {
		make_some(p);
		free_some(p);
	}
	return arg;
}

static int child_of_busy_threads(void *arg)
{
	void *p[SOME];

	(void)arg;
	for (unsigned round = 0; round < 10; round++) {
		make_some(p);
		free_some(p);
	}
	return faults == 0 && agree() && seen().fragments <= 3 * 2 * SOME + 3 * 64 ? 0 : 1;
}

static void children_are_made_while_threads_are_inside(void)
{
	pthread_t thread[3];

	for (unsigned i = 0; i < 3; i++)
		CHECK(pthread_create(&thread[i], NULL, busy, NULL) == 0);
	for (unsigned round = 0; round < 40; round++)
		CHECK(in_child(child_of_busy_threads, NULL) == 0);
	go_on = false;
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	CHECK(seen().fragments == 0);
	CHECK(agree());
}

static void *short_life(void *arg)
{
	void *p[SOME];

	make_some(p);
	free_some(p);
	return arg;
}

/* Magazines and lines of META are used again. */
static void threads_come_and_go(void)
{
	pthread_t thread[8];

	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 8; i++)
			CHECK(pthread_create(&thread[i], NULL, short_life, NULL) == 0);
		for (unsigned i = 0; i < 8; i++)
			pthread_join(thread[i], NULL);
	}
	CHECK(seen().fragments == 0);
	CHECK(seen().stamp == 200 * 8 * SOME);
	CHECK(seen().cached <= 64 * unit + (1 << 20) / 32);	/* in the depot, and left by threads */
	CHECK(agree());
}

static void one_comes_and_goes(void)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, short_life, NULL) == 0);
	pthread_join(thread, NULL);
}

static int child_finds_what_was_left(void *arg)
{
	(void)arg;
	pkg_free(pkg_malloc(20000));
	CHECK(seen().cached == 0);
	CHECK(agree());
	one_comes_and_goes();
	CHECK(agree());
	return 0;
}

static void what_a_thread_leaves_the_next_one_has(void)
{
	void *p[1], *q[2];
	uint64_t cached;

	pkg_free(pkg_malloc(20000));		/* has its own by now */
	other_begins();
	other_does(make_one, p);
	other_does(free_one, p);
	cached = seen().cached;
	CHECK(cached >= unit);
	other_does(NULL, NULL);
	CHECK(seen().cached == cached);
	CHECK(agree());
	pkg_free(p[0]);				/* found there, too */
	CHECK(faults == 1);
	CHECK(in_child(child_finds_what_was_left, NULL) == 0);
	other_begins();
	other_does(make_one, q);		/* a first call that is not recorded asks the manager */
	other_does(make_one, q + 1);
	CHECK(q[tracked ? 0 : 1] == p[0]);
	other_does(free_one, q);
	other_does(free_one, q + 1);
	CHECK(seen().fragments == 0);
	other_does(NULL, NULL);
	CHECK(agree());
}

static void zeros_come_from_magazines_too(void)
{
	unsigned char *p = pkg_malloc(64), *q;

	memset(p, 0xff, 64);
	pkg_free(p);
	q = pkg_mallocxz(64);
	CHECK(q == p);
	for (unsigned i = 0; i < 64; i++)
		CHECK(q[i] == 0);
	CHECK(agree());
}

/* Or a thread that needs all sizes again and again would never find any ready. */
static void every_other_growth_leaves_magazines_as_they_are(void)
{
	uint64_t committed = seen().committed;
	unsigned emptied = 0, left = 0;

	while (emptied + left < 4) {
		struct obs_stats s;

		pkg_free(pkg_malloc(64));
		CHECK(pkg_malloc(12000));	/* more than what is emptied could serve */
		s = seen();
		if (s.committed > committed && s.cached)
			left++;
		else if (s.committed > committed)
			emptied++;
		committed = s.committed;
	}
	CHECK(emptied == 2 && left == 2);
	CHECK(agree());
}

static void *replace_all_sizes(void *arg)
{
	enum { LIVE = 200 };
	unsigned seed = (unsigned)(uintptr_t)arg;
	void *held[LIVE] = { NULL };

	for (unsigned i = 0; i < 100000; i++) {
		unsigned k = (unsigned)rand_r(&seed) % LIVE;

		pkg_free(held[k]);
		held[k] = pkg_malloc(16 + (size_t)rand_r(&seed) % 1000);
		CHECK(held[k]);
	}
	for (unsigned k = 0; k < LIVE; k++)
		pkg_free(held[k]);
	return NULL;
}

/* What is lent to threads that wait for each other, and what they leave at their end, all comes back. */
static void threads_in_each_others_way_are_counted_rightly(void)
{
	pthread_t thread[2];

	for (unsigned round = 0; round < 3; round++) {
		for (uintptr_t i = 0; i < 2; i++)
			CHECK(pthread_create(&thread[i], NULL, replace_all_sizes, (void *)(round * 2 + i)) == 0);
		for (unsigned i = 0; i < 2; i++)
			pthread_join(thread[i], NULL);
		CHECK(seen().fragments == 0);
		CHECK(agree());
	}
	CHECK(pkg_malloc(almost_all()));
	CHECK(seen().cached == 0);
	CHECK(faults == 0);
}

static void what_a_thread_left_goes_back_when_it_is_needed(void)
{
	pkg_free(pkg_malloc(20000));		/* has its own by now */
	one_comes_and_goes();
	CHECK(seen().cached >= 8 * unit);
	CHECK(pkg_malloc(almost_all()));
	CHECK(seen().cached == 0);
	CHECK(agree());
}

static void what_a_thread_left_goes_back_when_tracking_changes(void)
{
	pkg_free(pkg_malloc(20000));		/* has its own by now */
	one_comes_and_goes();
	CHECK(obs_track(own_pool(), tracked ? OBS_OFF : OBS_SITES) == 0);
	pkg_free(pkg_malloc(20000));
	CHECK(seen().cached == 0);
	one_comes_and_goes();
	CHECK(agree());
}

/* Others can't have it before that thread calls again. */
static void what_a_thread_holds_is_a_small_part_of_a_small_heap(void)
{
	enum { MANY = 16, SIZES = 62 };
	void *p[SIZES][MANY];

	for (unsigned i = 0; i < SIZES; i++)
		for (unsigned k = 0; k < MANY; k++)
			CHECK((p[i][k] = pkg_malloc(16 + 16 * i)));
	for (unsigned i = 0; i < SIZES; i++)
		for (unsigned k = 0; k < MANY; k++)
			pkg_free(p[i][k]);
	CHECK(seen().cached > 0);
	CHECK(seen().cached <= (1 << 20) / 12);
	CHECK(agree());
}

static pthread_barrier_t all_are_here;

static void *fills_and_waits(void *arg)
{
	for (size_t size = 16; size <= 1000; size += 48) {
		void *p = pkg_malloc(size), *q = pkg_malloc(size);

		pkg_free(p);
		pkg_free(q);
	}
	pthread_barrier_wait(&all_are_here);
	pthread_barrier_wait(&all_are_here);	/* it has been looked at */
	return arg;
}

/* Threads that are there at once, and together leave more than may be left. */
static void what_threads_leave_is_bounded(void)
{
	enum { MANY = 30 };
	pthread_t thread[MANY];
	uint64_t full;

	pkg_free(pkg_malloc(20000));
	pthread_barrier_init(&all_are_here, NULL, MANY + 1);
	for (unsigned i = 0; i < MANY; i++)
		CHECK(pthread_create(&thread[i], NULL, fills_and_waits, NULL) == 0);
	pthread_barrier_wait(&all_are_here);
	full = seen().cached;
	pthread_barrier_wait(&all_are_here);
	for (unsigned i = 0; i < MANY; i++)
		pthread_join(thread[i], NULL);
	CHECK(seen().fragments == 0);
	CHECK(full > (1 << 20) / 4);
	CHECK(seen().cached <= (1 << 20) / 8);	/* nothing was full, so that nothing is in the depot */
	CHECK(agree());
}

static void stats_are_what_a_walk_finds_whatever_is_called(void)
{
	enum { LIVE = 200 };
	static struct { unsigned char *p, size; } held[LIVE];

	for (unsigned i = 0; i < 20000; i++) {
		size_t k = (size_t)random() % LIVE, size = (size_t)random() % (random() % 8 ? 256 : 2000);

		for (size_t b = 0; held[k].p && b < held[k].size; b++)
			CHECK(held[k].p[b] == (unsigned char)k);
		if (random() % 4) {
			pkg_free(held[k].p);
			held[k].p = pkg_malloc(size);
		} else {
			held[k].p = pkg_realloc(held[k].p, size + 1);
		}
		CHECK(held[k].p);
		held[k].size = (unsigned char)(size < 200 ? size : 200);
		memset(held[k].p, (int)k, held[k].size);
		if (i % 500 == 0)
			CHECK(agree());
		if (i % 3000 == 2999)	/* some are recorded then, and some are not */
			CHECK(obs_track(own_pool(), random() % 2 ? OBS_SITES : OBS_OFF) == 0);
	}
	CHECK(faults == 0);
}

/* Nor is a byte of it lost, or anything counted wrongly. */
static void an_array_that_grows_moves_now_and_then(void)
{
	enum { MOST = 32768, STEP = 16, MOVES = 20 };
	unsigned char *p = pkg_malloc(STEP), *was;
	unsigned moves = 0;

	CHECK(p);
	memset(p, 1, STEP);
	for (size_t size = 2 * STEP; size <= MOST; size += STEP, moves += p != was) {
		was = p;
		p = pkg_realloc(p, size);
		CHECK(p && pkg_usable(p) >= size);
		memset(p + size - STEP, (int)(size / STEP % 251), STEP);
		CHECK(size % 4096 || agree());
	}
	for (size_t b = STEP; b < MOST; b++)
		CHECK(p[b] == (b / STEP + 1) % 251);
	CHECK(tracked || moves < MOVES);
	pkg_free(p);
	CHECK(agree() && faults == 0);
}

static void an_array_that_shrinks_gives_back(void)
{
	enum { LARGE = 128 << 10 };
	unsigned char *p = NULL;

	for (size_t size = 1024; size <= LARGE; size *= 2) {	/* so that it has room behind it */
		p = pkg_realloc(p, size);
		CHECK(p);
		memset(p, 7, size);
	}
	p = pkg_realloc(p, LARGE / 2);
	CHECK(p && pkg_usable(p) < LARGE / 2 + LARGE / 8);
	p = pkg_realloc(p, 100);
	CHECK(p && pkg_usable(p) < LARGE / 8 && agree());
	for (unsigned b = 0; b < 100; b++)
		CHECK(p[b] == 7);
	pkg_free(p);
	p = pkg_malloc(10000);
	CHECK(p);
	p = pkg_realloc(p, 100);
	CHECK(p && (tracked || pkg_usable(p) < 1000));
	pkg_free(p);
	CHECK(faults == 0);
}

static void a_realloc_of_what_is_cached_is_a_fault(void)
{
	void *p = pkg_malloc(40);

	pkg_free(p);
	CHECK(!pkg_realloc(p, 60) && faults == 1);
	CHECK(agree());
}

/* `alone`: says how many fragments are inside of a process of one thread, which one under ThreadSanitizer is not. */
static const struct { const char *name; void (*run)(void); bool alone; } tests[] = {
	{ "what_is_freed_is_told_as_cached_and_handed_out_next", what_is_freed_is_told_as_cached_and_handed_out_next, true },
	{ "what_the_manager_gave_larger_is_taken_again", what_the_manager_gave_larger_is_taken_again, false },
	{ "a_second_free_is_found", a_second_free_is_found, false },
	{ "what_is_written_after_the_free_leads_nobody", what_is_written_after_the_free_leads_nobody, false },
	{ "what_is_taken_is_recorded_anew", what_is_taken_is_recorded_anew, true },
	{ "an_overrun_of_what_has_waited_is_found", an_overrun_of_what_has_waited_is_found, true },
	{ "guards_come_and_go", guards_come_and_go, true },
	{ "what_was_cached_once_is_not_cached_for_ever", what_was_cached_once_is_not_cached_for_ever, false },
	{ "a_large_one_that_is_freed_is_told_as_cached_and_handed_out_next",
	  a_large_one_that_is_freed_is_told_as_cached_and_handed_out_next, true },
	{ "a_second_free_of_a_large_one_is_found", a_second_free_of_a_large_one_is_found, true },
	{ "what_the_shelf_has_is_large_enough", what_the_shelf_has_is_large_enough, false },
	{ "a_request_for_all_gets_what_is_on_the_shelf", a_request_for_all_gets_what_is_on_the_shelf, false },
	{ "tracking_switched_on_live_empties_the_shelf", tracking_switched_on_live_empties_the_shelf, true },
	{ "a_forked_child_gets_no_shelf_of_its_parents", a_forked_child_gets_no_shelf_of_its_parents, true },
	{ "a_failing_request_gets_what_is_cached", a_failing_request_gets_what_is_cached, false },
	{ "a_forked_child_goes_on_with_its_own", a_forked_child_goes_on_with_its_own, true },
	{ "tracking_switched_on_live_empties_them", tracking_switched_on_live_empties_them, true },
	{ "each_thread_has_its_own", each_thread_has_its_own, true },
	{ "what_one_makes_another_frees", what_one_makes_another_frees, false },
	{ "a_second_free_by_another_thread_is_found", a_second_free_by_another_thread_is_found, false },
	{ "others_follow_who_found_no_memory", others_follow_who_found_no_memory, false },
	{ "tracking_is_switched_on_thread_by_thread", tracking_is_switched_on_thread_by_thread, false },
	{ "a_child_has_what_was_in_other_threads_magazines", a_child_has_what_was_in_other_threads_magazines, false },
	{ "children_are_made_while_threads_are_inside", children_are_made_while_threads_are_inside, false },
	{ "threads_come_and_go", threads_come_and_go, false },
	{ "what_a_thread_leaves_the_next_one_has", what_a_thread_leaves_the_next_one_has, false },
	{ "zeros_come_from_magazines_too", zeros_come_from_magazines_too, true },
	{ "every_other_growth_leaves_magazines_as_they_are", every_other_growth_leaves_magazines_as_they_are, true },
	{ "threads_in_each_others_way_are_counted_rightly", threads_in_each_others_way_are_counted_rightly, false },
	{ "what_a_thread_left_goes_back_when_it_is_needed", what_a_thread_left_goes_back_when_it_is_needed, false },
	{ "what_a_thread_left_goes_back_when_tracking_changes", what_a_thread_left_goes_back_when_tracking_changes,
	  false },
	{ "what_a_thread_holds_is_a_small_part_of_a_small_heap", what_a_thread_holds_is_a_small_part_of_a_small_heap, false },
	{ "what_threads_leave_is_bounded", what_threads_leave_is_bounded, false },
	{ "an_array_that_grows_moves_now_and_then", an_array_that_grows_moves_now_and_then, false },
	{ "an_array_that_shrinks_gives_back", an_array_that_shrinks_gives_back, false },
	{ "a_realloc_of_what_is_cached_is_a_fault", a_realloc_of_what_is_cached_is_a_fault, false },
	{ "stats_are_what_a_walk_finds_whatever_is_called", stats_are_what_a_walk_finds_whatever_is_called, false },
};

/* Arguments: a manager, fm if none is named, and the name of the one test to run, all if none is. */
int main(int argc, char **argv)
{
	enum { TESTS = sizeof tests / sizeof *tests };
	int status, failed = 0;

	manager = argc > 1 ? argv[1] : manager;
	for (size_t n = 0; n < 3 * TESTS; n++) {
		size_t i = n % TESTS;

		tracked = n >= TESTS;
		guarded = n >= 2 * TESTS;
		if (argc > 2 && strcmp(tests[i].name, argv[2]))
			continue;
		if (tests[i].alone && !__libc_single_threaded) {
			printf("skip %s: there is another thread\n", tests[i].name);
			continue;
		}
		fflush(stdout);
		pid_t pid = fork();

		if (!pid) {
			come();
			tests[i].run();
			go();
			exit(0);
		}
		waitpid(pid, &status, 0);
		printf("%s %s%s\n", status ? "FAIL" : "ok  ", tests[i].name, guarded ? ", guarded" : tracked ? ", tracked" : "");
		failed += status != 0;
	}
	return failed != 0;
}
