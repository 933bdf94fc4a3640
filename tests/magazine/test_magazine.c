/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Magazines of the private heap: faster, and nothing else that anybody could tell.
 *
 * A program of its own: magazines are for processes of one thread, and what Criterion starts does not count as one.
 * Each test is a child with a registry and a heap of its own.
 */
#include <ftw.h>
#include <memapi/memapi.h>
#include <memapi/observe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) do {									\
	if (!(what)) {									\
		printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #what);		\
		fflush(stdout);								\
		_exit(1);								\
	}										\
} while (0)

static char place[] = "/tmp/memapi-magazine-XXXXXX";
static struct obs *obs;
static unsigned faults;
static bool tracked;			/* each test runs with call sites and without */
static uint64_t unit;			/* usable bytes of a request for 64, with its tail */

static void on_fault(const struct mem_fault_report *report) { (void)report, faults++; }

static void come(void)
{
	char path[64];
	FILE *conf;

	CHECK(mkdtemp(place));
	snprintf(path, sizeof path, "%s/registry", place);
	setenv("MEMAPI_REGISTRY", path, 1);
	setenv("XDG_STATE_HOME", place, 1);
	snprintf(path, sizeof path, "%s/mmd.conf", place);
	setenv("MEMAPI_CONFIG", path, 1);
	conf = fopen(path, "w");
	CHECK(conf);
	fclose(conf);
	setenv("MEMAPI_TRACK", tracked ? "sites" : "off", 1);
	unit = tracked ? 80 : 64;
	setenv("MEMAPI_DEBUG", "no", 1);
	setenv("MEMAPI_PKG_SIZE", "1M", 1);
	CHECK(pkg_init_manager("fm") == 0);
	memapi_on_fault(on_fault);
	CHECK(obs_open(NULL, &obs) == 0);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	return remove(path);
}

static void go(void)
{
	obs_close(obs);
	nftw(place, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- what observers see ---- */

static struct obs_pool *own_pool(void)
{
	char id[32];

	snprintf(id, sizeof id, "pkg:%d:1", getpid());
	obs_scan(obs, NULL, NULL);
	return obs_find(obs, id);
}

static struct obs_stats seen(void)
{
	struct obs_stats s = { .used = 0 };
	struct obs_pool *p = own_pool();

	CHECK(p && obs_stats(p, &s) == 0);
	return s;
}

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
	CHECK(tracked || q[7] != tag[7]);
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
	CHECK(pkg_malloc((1 << 20) - 4096));
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
	for (unsigned i = 0; i < 8; i++)
		pkg_free(p[i]);
	CHECK(in_child(child_goes_on, p) == 0);
	CHECK(seen().cached == 8 * unit);
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

static void *wait_for(void *arg)
{
	pthread_barrier_wait(arg);
	return NULL;
}

static void a_second_thread_closes_them(void)
{
	pthread_barrier_t end;
	pthread_t thread;

	pkg_free(pkg_malloc(64));
	CHECK(seen().cached == unit);
	pthread_barrier_init(&end, NULL, 2);
	CHECK(pthread_create(&thread, NULL, wait_for, &end) == 0);
	pkg_free(pkg_malloc(64));
	CHECK(seen().cached == 0);
	CHECK(agree());
	pthread_barrier_wait(&end);
	pthread_join(thread, NULL);
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

static const struct { const char *name; void (*run)(void); } tests[] = {
	{ "what_is_freed_is_told_as_cached_and_handed_out_next", what_is_freed_is_told_as_cached_and_handed_out_next },
	{ "a_second_free_is_found", a_second_free_is_found },
	{ "what_is_written_after_the_free_leads_nobody", what_is_written_after_the_free_leads_nobody },
	{ "what_was_cached_once_is_not_cached_for_ever", what_was_cached_once_is_not_cached_for_ever },
	{ "a_failing_request_gets_what_is_cached", a_failing_request_gets_what_is_cached },
	{ "a_forked_child_goes_on_with_its_own", a_forked_child_goes_on_with_its_own },
	{ "tracking_switched_on_live_empties_them", tracking_switched_on_live_empties_them },
	{ "a_second_thread_closes_them", a_second_thread_closes_them },
	{ "stats_are_what_a_walk_finds_whatever_is_called", stats_are_what_a_walk_finds_whatever_is_called },
};

int main(void)
{
	enum { TESTS = sizeof tests / sizeof *tests };
	int status, failed = 0;

	for (size_t n = 0; n < 2 * TESTS; n++) {
		size_t i = n % TESTS;

		tracked = n >= TESTS;
		fflush(stdout);
		pid_t pid = fork();

		if (!pid) {
			come();
			tests[i].run();
			go();
			exit(0);
		}
		waitpid(pid, &status, 0);
		printf("%s %s%s\n", status ? "FAIL" : "ok  ", tests[i].name, tracked ? ", tracked" : "");
		failed += status != 0;
	}
	return failed != 0;
}
