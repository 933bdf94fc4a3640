/* SPDX-License-Identifier: BSD-2-Clause */
/* A sharded pool is one pool to who looks: sound, in motion, in pieces, and hostile. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ask_everything.h"
#include "meta_fixture.h"

TestSuite(shards, .fini = fixture_registry_drop, .timeout = 100);

enum { N = 4, GROUP = 0x5ead, FRAGMENTS = 60 };

struct skipped { unsigned count; char text[4096]; };

static void skip(const char *file, const char *reason, void *arg)
{
	struct skipped *s = arg;
	size_t len = strlen(s->text);

	s->count++;
	snprintf(s->text + len, sizeof s->text - len, "%s: %s\n", file, reason);
}

static struct obs_stats stats_of(struct obs_pool *p)
{
	struct obs_stats s;

	cr_assert_eq(obs_stats(p, &s), 0);
	return s;
}

/** Shard 0 last, as the library makes them. */
static void make_shm(struct fixture *f[], unsigned n, const char *name)
{
	for (unsigned k = n; k--; )
		f[k] = fixture_shm_shard(name, 1, k, n, GROUP);
}

static void make_pkg(struct fixture *f[], unsigned n)
{
	for (unsigned k = n; k--; )
		f[k] = fixture_pkg_shard(getpid(), 1, k, n, GROUP);
}

/** Each shard another number of fragments, from sites that shard 0 has. */
static void fill(struct fixture *f[], unsigned n)
{
	void *held[FRAGMENTS];

	for (unsigned i = 0; i < 3; i++)
		fixture_site(f[0], "reg.c", 10 + i);
	for (unsigned k = 0; k < n; k++) {
		for (unsigned i = 0; i < FRAGMENTS - k; i++)
			cr_assert(held[i] = fixture_alloc(f[k], 20 + 7 * i, 1 + i % 3));
		for (unsigned i = 0; i < FRAGMENTS - k; i += 4)
			fixture_free(f[k], held[i]);
	}
}

static unsigned used_of(struct fixture *f[], unsigned n)
{
	unsigned sum = 0;

	for (unsigned k = 0; k < n; k++)
		sum += (unsigned)f[k]->live->counters.fragments;
	return sum;
}

static void free_all(struct fixture *f[], unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		fixture_free_pool(f[k]);
}

static void drop_file(const struct fixture *f)
{
	char path[256];

	cr_assert_eq(unlink(fixture_path(path, f->file)), 0);
}

static void take_name(const struct fixture *f, const char *name)
{
	char from[256], to[256];

	cr_assert_eq(rename(fixture_path(from, f->file), fixture_path(to, name)), 0);
}

static void say(uint64_t address, const char *what, void *arg)
{
	size_t len = strlen(arg);

	snprintf((char *)arg + len, 2048 - len, "%#llx: %s\n", (unsigned long long)address, what);
}

static void cr_assert_clean(struct obs_pool *p)
{
	char text[2048] = "";
	struct obs_check c;

	cr_assert_eq(obs_check(p, &c, say, text), 0);
	cr_assert(c.known && c.ok && !c.errors, "%s", text);
}

/* ---- what is told ---- */

struct seen { unsigned count, used; uint64_t index[1000], bytes; unsigned shard[SHARDS_MAX]; };

static bool see(const struct obs_fragment *f, void *arg)
{
	struct seen *s = arg;

	s->count++;
	if (f->state != OBS_USED)
		return true;
	s->index[s->used++] = f->index;
	s->bytes += f->size;
	s->shard[f->slot >> 16]++;
	return true;
}

static bool each_is_another(const struct seen *s)
{
	for (unsigned i = 0; i < s->used; i++)
		for (unsigned k = 0; k < i; k++)
			if (s->index[i] == s->index[k])
				return false;
	return true;
}

typedef int list_fn(struct obs_pool *p, uint64_t *cursor, uint64_t max, obs_fragment_fn *fn, void *arg);

static void list_all(struct obs_pool *p, list_fn *list, uint64_t step, struct seen *s)
{
	uint64_t cursor = 0;

	*s = (struct seen){ 0 };
	do
		cr_assert_eq(list(p, &cursor, step, see, s), 0);
	while (cursor);
}

Test(shards, are_one_pool_with_the_sums_of_all)
{
	struct fixture *f[N];
	struct skipped skipped = { 0 };
	uint64_t used = 0, free = 0, largest = 0;
	struct obs_stats s;
	struct obs_check c;
	struct obs *o;

	make_shm(f, N, "table");
	fill(f, N);
	o = fixture_observer(skip, &skipped);
	cr_assert_eq(skipped.count, 0u, "%s", skipped.text);
	cr_assert(obs_at(o, 0));
	cr_assert_null(obs_at(o, 1));
	cr_assert_str_eq(obs_info(obs_at(o, 0))->id, "shm:table:1");
	cr_assert_eq(obs_find(o, "shm:table:1"), obs_at(o, 0));
	cr_assert_null(obs_find(o, "shm:table:1+1"));
	cr_assert_eq(obs_info(obs_at(o, 0))->shards, (unsigned)N);

	fixture_failure(f[2], 1, 0);
	f[1]->live->takeovers = 2;
	f[3]->live->rollbacks = 3;
	s = stats_of(obs_at(o, 0));
	for (unsigned k = 0; k < N; k++) {
		used += f[k]->live->counters.used;
		free += f[k]->live->counters.tally.free_bytes;
	}
	cr_assert_eq(s.state, OBS_LIVE);
	cr_assert_eq(s.used, used);
	cr_assert_eq(s.free, free);
	cr_assert_eq(s.fragments, used_of(f, N));
	cr_assert_eq(s.size, (uint64_t)N * FIXTURE_SIZE);
	cr_assert_eq(s.committed, (uint64_t)N * FIXTURE_SIZE);
	cr_assert_eq(s.real_used + s.cached + s.free, s.committed);
	cr_assert_eq(s.stamp, (uint64_t)N * FRAGMENTS - 6);
	cr_assert_eq(s.failures, 1u);
	cr_assert_eq(s.takeovers, 2u);
	cr_assert_eq(s.rollbacks, 3u);
	cr_assert_eq(s.users, 1u);
	cr_assert_eq(s.slots, 1u);
	cr_assert_eq(obs_check(obs_at(o, 0), &c, NULL, NULL), 0);
	cr_assert(c.ok);
	cr_assert_eq(c.walked.used, used);
	cr_assert_eq(c.counted.fragments, s.fragments);
	largest = c.walked.largest_free;
	cr_assert(largest && largest < FIXTURE_SIZE, "of one shard, no sum");
	cr_assert(s.largest_free == OBS_UNKNOWN || s.largest_free <= largest);
	obs_close(o);
	free_all(f, N);
}

Test(shards, of_a_private_heap_are_one_heap)
{
	struct fixture *f[N];
	struct seen s;
	struct obs *o;
	char id[64];

	make_pkg(f, N);
	fill(f, N);
	o = fixture_observer(NULL, NULL);
	snprintf(id, sizeof id, "pkg:%d:1", getpid());
	cr_assert(obs_find(o, id));
	cr_assert_null(obs_at(o, 1));
	cr_assert_eq(stats_of(obs_at(o, 0)).fragments, used_of(f, N));
	cr_assert_eq(stats_of(obs_at(o, 0)).users, 1u);
	list_all(obs_at(o, 0), obs_walk, 11, &s);
	cr_assert_eq(s.used, used_of(f, N));
	cr_assert(each_is_another(&s));
	list_all(obs_at(o, 0), obs_records, 11, &s);
	cr_assert_eq(s.used, used_of(f, N));
	cr_assert_clean(obs_at(o, 0));
	obs_close(o);
	free_all(f, N);
}

Test(shards, a_pool_without_is_told_as_before)
{
	struct fixture *f = fixture_shm("one", 1, NULL, 0, 0);
	struct obs *o = fixture_observer(NULL, NULL);
	uint64_t past = 1ull << 60;

	cr_assert_eq(obs_info(obs_at(o, 0))->shards, 1u);
	f->live->state = POOL_DAMAGED;
	snprintf(f->live->reason, sizeof f->live->reason, "a reason");
	cr_assert_str_eq(stats_of(obs_at(o, 0)).reason, "a reason");
	cr_assert_eq(obs_records(obs_at(o, 0), &past, 10, see, NULL), -EINVAL);
	cr_assert_eq(obs_walk(obs_at(o, 0), &past, 10, see, NULL), -EINVAL);
	obs_close(o);
	fixture_free_pool(f);
}

Test(shards, lists_go_through_all_in_steps_of_any_size)
{
	static const uint64_t steps[] = { 1, 7, 45, 46, 1000, UINT64_MAX };
	list_fn *const lists[] = { obs_records, obs_walk };
	struct fixture *f[N];
	struct obs *o;
	struct seen s;

	make_shm(f, N, "table");
	fill(f, N);
	o = fixture_observer(NULL, NULL);
	for (unsigned l = 0; l < 2; l++)
		for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
			list_all(obs_at(o, 0), lists[l], steps[i], &s);
			cr_assert_eq(s.used, used_of(f, N), "list %u, step %u", l, i);
			cr_assert(each_is_another(&s));
			cr_assert_eq(s.bytes, stats_of(obs_at(o, 0)).used);
			for (unsigned k = 0; k < N; k++)
				cr_assert_eq(s.shard[k], f[k]->live->counters.fragments);
		}
	obs_close(o);
	free_all(f, N);
}

static bool stop_at_7(const struct obs_fragment *f, void *arg) { return see(f, arg) && ((struct seen *)arg)->used % 7; }

Test(shards, a_list_that_was_stopped_goes_on_behind_the_last_one)
{
	list_fn *const lists[] = { obs_records, obs_walk };
	struct fixture *f[N];
	struct seen s;
	struct obs *o;

	make_shm(f, N, "table");
	fill(f, N);
	o = fixture_observer(NULL, NULL);
	for (unsigned l = 0; l < 2; l++) {
		uint64_t cursor = 0;

		s = (struct seen){ 0 };
		do
			cr_assert_eq(lists[l](obs_at(o, 0), &cursor, 1000, stop_at_7, &s), 0);
		while (cursor);
		cr_assert_eq(s.used, used_of(f, N));
		cr_assert(each_is_another(&s));
	}
	obs_close(o);
	free_all(f, N);
}

Test(shards, a_cursor_with_a_shard_that_is_not_there_is_refused)
{
	struct fixture *f[N];
	struct seen s = { 0 };
	struct obs *o;

	make_shm(f, N, "table");
	fill(f, N);
	o = fixture_observer(NULL, NULL);
	for (uint64_t k = N; k < 16; k++)
		for (uint64_t at = 0; at < 64; at += 16) {
			uint64_t cursor = k << 60 | at;

			cr_assert_eq(obs_records(obs_at(o, 0), &cursor, 10, see, &s), -EINVAL);
			cr_assert_eq(obs_walk(obs_at(o, 0), &cursor, 10, see, &s), -EINVAL);
			cr_assert_eq(cursor, k << 60 | at);
		}
	for (uint64_t k = 0; k < N; k++) {
		uint64_t cursor = k << 60 | FIXTURE_SIZE;

		cr_assert_eq(obs_walk(obs_at(o, 0), &cursor, 10, see, &s), -EINVAL);
		cr_assert_eq(obs_records(obs_at(o, 0), &cursor, 10, see, &s), -EINVAL);
	}
	cr_assert_eq(s.count, 0u);
	obs_close(o);
	free_all(f, N);
}

/* ---- owners and sites ---- */

struct places { struct obs_pool *p; const char *wrong; unsigned count, of_3; };

static bool see_places(const struct obs_fragment *f, void *arg)
{
	struct places *s = arg;
	struct obs_owner owner;
	struct obs_site site;

	obs_site(s->p, f->site, &site);
	obs_owner(s->p, f->slot, &owner);
	s->count++;
	if (strcmp(site.file, "reg.c"))
		s->wrong = "the site is not shard 0's";
	if (f->slot >> 16 == 3) {
		s->of_3++;
		if (owner.pid != 1234567 || strcmp(owner.command, "in shard 3") || owner.alive)
			s->wrong = "the owner is not shard 3's";
	} else if (owner.pid != getpid() || strcmp(owner.command, "test_observe") || !owner.alive) {
		s->wrong = "the owner is not his shard's";
	}
	return true;
}

Test(shards, sites_are_shard_0s_and_owners_each_shards_own)
{
	struct fixture *f[N];
	struct places s = { 0 };
	struct obs_owner owner;
	uint64_t cursor = 0;
	struct obs *o;

	make_shm(f, N, "table");
	fill(f, N);
	for (unsigned i = 0; i < 3; i++)
		fixture_site(f[3], "of nobody", i);
	fixture_slot(f[3], 0, SLOT_DEAD, 1234567, "in shard 3");
	o = fixture_observer(NULL, NULL);
	s.p = obs_at(o, 0);
	cr_assert_eq(obs_records(s.p, &cursor, 1000, see_places, &s), 0);
	cr_assert(!s.wrong, "%s", s.wrong);
	cr_assert_eq(s.count, used_of(f, N));
	cr_assert_eq(s.of_3, f[3]->live->counters.fragments);
	cr_assert_eq(stats_of(s.p).dead, 1u);
	cr_assert_eq(stats_of(s.p).state, OBS_LIVE);
	for (uint32_t k = 0; k < 20; k++) {
		obs_owner(s.p, k << 16, &owner);
		cr_assert_eq(owner.pid, k == 3 ? 1234567 : k < N ? getpid() : 0);
		obs_owner(s.p, k << 16 | SLOTS_MAX, &owner);
		cr_assert_eq(owner.pid, 0);
	}
	obs_owner(s.p, UINT32_MAX, &owner);
	cr_assert_eq(owner.pid, 0);
	fixture_slot(f[1], 7, SLOT_LIVE, getpid(), "far");
	cr_assert_eq(stats_of(s.p).slots, 8u);
	cr_assert_eq(stats_of(s.p).users, 1u, "each has a slot in shard 0");
	obs_close(o);
	free_all(f, N);
}

Test(shards, the_lock_that_is_told_is_the_first_that_is_held)
{
	struct fixture *f[N];
	struct obs_stats before, now;
	struct obs *o;

	make_shm(f, N, "table");
	fill(f, N);
	o = fixture_observer(NULL, NULL);
	before = stats_of(obs_at(o, 0));
	cr_assert_eq(before.lock_pid, 0);
	fixture_begin(f[3]);
	cr_assert(fixture_alloc_open(f[3], 1000, 1));
	fixture_begin(f[2]);
	cr_assert(fixture_alloc_open(f[2], 1000, 1));
	now = stats_of(obs_at(o, 0));
	cr_assert_eq(now.lock_pid, getpid());
	cr_assert_eq(now.lock_turn, 2ull << 32 | f[2]->live->lock >> 32, "no other shard's hold looks the same");
	cr_assert_eq(now.used, before.used, "as before the open calls");
	cr_assert_eq(now.fragments, before.fragments);
	cr_assert_clean(obs_at(o, 0));
	f[2]->heap.log->n = 0;
	f[2]->live->lock &= ~0xffffffffull;
	cr_assert_neq(stats_of(obs_at(o, 0)).lock_turn, now.lock_turn, "another hold");
	obs_close(o);
	free_all(f, N);
}

/* ---- rings ---- */

struct rung { unsigned count; uint64_t requested[300], times[300]; unsigned stop_at; };

static bool see_failure(const struct obs_failure *f, void *arg)
{
	struct rung *s = arg;

	s->times[s->count] = f->time;
	s->requested[s->count++] = f->requested;
	return s->count != s->stop_at;
}

static bool see_fault(const struct obs_fault *f, void *arg)
{
	struct rung *s = arg;

	s->times[s->count] = f->time;
	s->requested[s->count++] = f->address;
	return s->count != s->stop_at;
}

Test(shards, failures_and_faults_of_all_are_told_newest_first)
{
	struct fixture *f[N];
	struct rung s = { 0 };
	struct obs *o;

	make_shm(f, N, "table");
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(obs_failures(obs_at(o, 0), see_failure, &s), 0);
	cr_assert_eq(s.count, 0u);
	for (unsigned k = 1; k < N; k++)		/* the k-th event of a ring happens at 1000 + k */
		for (unsigned i = 0; i < 20 * k + 10; i++) {
			fixture_failure(f[k], k, i % 5);
			fixture_fault(f[k], i % 4, k);
		}
	cr_assert_eq(obs_failures(obs_at(o, 0), see_failure, &s), 0);
	cr_assert_eq(s.count, 30u + 50 + 64);
	cr_assert_eq(s.times[0], 1069u);
	for (unsigned i = 1; i < s.count; i++)
		cr_assert_leq(s.times[i], s.times[i - 1]);
	cr_assert_eq(s.requested[s.count - 1], 2u);
	s = (struct rung){ 0 };
	cr_assert_eq(obs_faults(obs_at(o, 0), see_fault, &s), 0);
	cr_assert_eq(s.count, 30u + 50 + 64);
	cr_assert_eq(s.times[0], 2069u);
	s = (struct rung){ .stop_at = 5 };
	cr_assert_eq(obs_failures(obs_at(o, 0), see_failure, &s), 0);
	cr_assert_eq(s.count, 5u);
	cr_assert_eq(stats_of(obs_at(o, 0)).failures, 30u + 50 + 70);
	obs_close(o);
	free_all(f, N);
}

Test(shards, tracking_is_asked_of_all)
{
	struct fixture *f[N];
	struct obs *o;

	make_pkg(f, N);
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(obs_track(obs_at(o, 0), OBS_STACKS), 0);
	for (unsigned k = 0; k < N; k++)
		cr_assert_eq(f[k]->live->wanted, FEATURE_SITES | FEATURE_STACKS);
	drop_file(f[2]);
	cr_assert_eq(obs_track(obs_at(o, 0), OBS_OFF), -ENOENT);
	for (unsigned k = 0; k < N; k++)
		cr_assert_eq(f[k]->live->wanted, k == 2 ? FEATURE_SITES | FEATURE_STACKS : 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_eq(obs_track(obs_at(o, 0), OBS_SITES), -EUCLEAN);
	obs_close(o);
	free_all(f, N);
}

/* ---- damage ---- */

Test(shards, damage_in_one_is_the_pools_and_named)
{
	struct fixture *f[N];
	char text[2048] = "";
	struct obs_check c;
	struct obs_stats s;
	struct obs *o;

	make_shm(f, N, "table");
	fill(f, N);
	o = fixture_observer(NULL, NULL);
	f[2]->live->state = POOL_DAMAGED;
	snprintf(f[2]->live->reason, sizeof f[2]->live->reason, "a rollback failed");
	s = stats_of(obs_at(o, 0));
	cr_assert_eq(s.state, OBS_DAMAGED);
	cr_assert_str_eq(s.reason, "shard 2: a rollback failed");
	f[0]->live->state = POOL_DAMAGED;
	snprintf(f[0]->live->reason, sizeof f[0]->live->reason, "that too");
	cr_assert_str_eq(stats_of(obs_at(o, 0)).reason, "shard 0: that too");
	memset(f[2]->live->reason, 'x', sizeof f[2]->live->reason);	/* does not end */
	f[0]->live->state = POOL_EXITED;
	s = stats_of(obs_at(o, 0));
	cr_assert(!strncmp(s.reason, "shard 2: xxx", 12) && strlen(s.reason) == 95, "%s", s.reason);
	f[0]->live->state = f[2]->live->state = POOL_LIVE;

	f[1]->live->counters.used += 16;
	f[3]->live->counters.fragments--;
	cr_assert_eq(obs_check(obs_at(o, 0), &c, say, text), 0);
	cr_assert(c.known && !c.ok);
	cr_assert(strstr(text, ": shard 1: used bytes differ"), "%s", text);
	cr_assert(strstr(text, ": shard 3: used fragments differ"), "%s", text);
	cr_assert_null(strstr(text, "shard 2"), "%s", text);
	f[1]->live->counters.used -= 16;
	f[3]->live->counters.fragments++;
	cr_assert_clean(obs_at(o, 0));
	f[2]->live->counters.used = UINT64_MAX;
	s = stats_of(obs_at(o, 0));
	cr_assert_eq(s.state, OBS_DAMAGED);
	cr_assert(!strncmp(s.reason, "shard 2: counters are impossible", 32), "%s", s.reason);
	obs_close(o);
	free_all(f, N);
}

/** What is not there of a pool: everything else of it is told. */
static void cr_assert_lacks(struct obs *o, struct fixture *f[], unsigned k, const char *reason)
{
	struct obs_stats s;
	struct obs_check c;
	struct seen seen;
	char text[2048] = "", want[128];

	cr_assert(obs_at(o, 0));
	cr_assert_null(obs_at(o, 1));
	s = stats_of(obs_at(o, 0));
	cr_assert_eq(s.state, OBS_DAMAGED);
	snprintf(want, sizeof want, "shard %u of %u: %s", k, (unsigned)N, reason);
	cr_assert(!strncmp(s.reason, want, strlen(want)), "%s, not %s", s.reason, want);
	cr_assert_eq(s.used, OBS_UNKNOWN);
	cr_assert_eq(s.committed, OBS_UNKNOWN);
	list_all(obs_at(o, 0), obs_records, 7, &seen);
	cr_assert_eq(seen.used, used_of(f, N) - f[k]->live->counters.fragments);
	list_all(obs_at(o, 0), obs_walk, 7, &seen);
	cr_assert_eq(seen.used, used_of(f, N) - f[k]->live->counters.fragments);
	cr_assert_eq(obs_check(obs_at(o, 0), &c, say, text), 0);
	cr_assert(c.known && !c.ok && c.errors == 1, "%s", text);
	snprintf(want, sizeof want, "shard %u: it is not there", k);
	cr_assert(strstr(text, want), "%s", text);
}

Test(shards, a_pool_without_one_of_them_is_damaged_until_it_is_there)
{
	struct fixture *f[N];
	struct skipped skipped = { 0 };
	char from[256], to[256];
	struct obs *o;

	make_shm(f, N, "table");
	fill(f, N);
	take_name(f[2], ".away");
	o = fixture_observer(skip, &skipped);
	cr_assert_lacks(o, f, 2, "it is not there");
	cr_assert_eq(skipped.count, 0u, "%s", skipped.text);
	usleep(100000);
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);	/* the directory stands still */
	cr_assert_lacks(o, f, 2, "it is not there");
	cr_assert_eq(rename(fixture_path(from, ".away"), fixture_path(to, f[2]->file)), 0);
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_eq(stats_of(obs_at(o, 0)).state, OBS_LIVE);
	cr_assert_clean(obs_at(o, 0));
	take_name(f[3], ".away");			/* one that was known */
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_lacks(o, f, 3, "it is not there");
	obs_close(o);
	free_all(f, N);
}

Test(shards, one_that_is_not_believed_is_skipped_with_a_reason_and_missing)
{
	static const char file[] = "shm-table-1+2";
	struct fixture *f[N];
	struct meta_identity was, *id;
	struct skipped skipped;
	struct obs *o;
	char path[256], want[256];

	make_shm(f, N, "table");
	fill(f, N);
	id = f[2]->id;
	was = *id;
	const struct { const char *what; uint64_t at, value; unsigned bytes; const char *reason; } no[] = {
#define WORD(field, value, reason) { #field, offsetof(struct meta_identity, field), value, sizeof id->field, reason }
		WORD(magic, 0, "not a pool"),
		WORD(shard, 0, "its identity does not agree"),
		WORD(shard, 1, "its identity does not agree"),		/* claims what another file is */
		WORD(shard, 3, "its identity does not agree"),
		WORD(shard, N, "its identity does not agree"),
		WORD(shard, UINT32_MAX, "its identity does not agree"),
		WORD(shards, 0, "damaged: impossible shards"),
		WORD(shards, 1, "damaged: impossible shards"),
		WORD(shards, 2, "damaged: impossible shards"),
		WORD(shards, SHARDS_MAX + 1, "damaged: impossible shards"),
		WORD(shards, UINT32_MAX, "damaged: impossible shards"),
		WORD(shards, 3, "a shard of another pool"),
		WORD(shards, N + 1, "a shard of another pool"),
		WORD(group, 0, "damaged: impossible shards"),
		WORD(group, GROUP + 1, "a shard of another pool"),
		WORD(incarnation, 2, "its identity does not agree"),
		WORD(base, 1, "damaged: impossible addresses"),
		WORD(manager, 'x', "a shard with another manager"),
#undef WORD
	};
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
		for (int before = 0; before < 2; before++) {
			cr_assert_eq(obs_open(fixture_registry(), &o), 0);
			if (!before)
				cr_assert_eq(obs_scan(o, NULL, NULL), 0);
			memset((char *)id + no[i].at, 0, no[i].bytes);
			memcpy((char *)id + no[i].at, &no[i].value, no[i].bytes < 8 ? no[i].bytes : 8);
			for (int again = 0; again < 2; again++) {
				skipped = (struct skipped){ 0 };
				cr_assert_eq(obs_scan(o, skip, &skipped), 0);
				snprintf(want, sizeof want, "%s: %s", file, no[i].reason);
				cr_assert(skipped.count == 1 && strstr(skipped.text, want), "%s: %s", no[i].what,
					  skipped.text);
				cr_assert_lacks(o, f, 2, no[i].reason);
			}
			memcpy(id, &was, sizeof was);
			cr_assert_eq(obs_scan(o, NULL, NULL), 0);
			cr_assert_eq(stats_of(obs_at(o, 0)).state, OBS_LIVE);
			obs_close(o);
		}
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(truncate(fixture_path(path, file), 4096), 0);
	cr_assert_eq(stats_of(obs_at(o, 0)).state, OBS_DAMAGED);	/* under the observer, before it scans again */
	cr_assert_str_eq(stats_of(obs_at(o, 0)).reason, "shard 2: META is truncated");
	cr_assert_eq(stats_of(obs_at(o, 0)).used, OBS_UNKNOWN);
	ask_everything(o);
	skipped = (struct skipped){ 0 };
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert(strstr(skipped.text, "shm-table-1+2: truncated"), "%s", skipped.text);
	cr_assert_eq(ftruncate(f[2]->fd, (off_t)f[2]->meta_bytes), 0);
	memcpy(id, &was, sizeof was);
	obs_close(o);
	free_all(f, N);
}

Test(shards, shard_0_is_believed_only_with_a_sound_identity)
{
	struct fixture *f[2];
	struct skipped skipped;
	struct meta_identity was;
	struct obs *o;
	const struct { uint32_t shard, shards; uint64_t group; const char *reason; } no[] = {
		{ 0, 0, GROUP, "impossible shards" }, { 0, 1, GROUP, "impossible shards" }, { 0, 2, 0, "impossible shards" },
		{ 0, 0, 0, "impossible shards" }, { 0, 17, GROUP, "impossible shards" },
		{ 0, UINT32_MAX, GROUP, "impossible shards" }, { 1, 2, GROUP, "does not agree" },
	};

	make_shm(f, 2, "h");
	was = *f[0]->id;
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		f[0]->id->shard = no[i].shard;
		f[0]->id->shards = no[i].shards;
		f[0]->id->group = no[i].group;
		skipped = (struct skipped){ 0 };
		o = fixture_observer(skip, &skipped);
		cr_assert_null(obs_at(o, 0));
		cr_assert(strstr(skipped.text, no[i].reason), "%zu: %s", i, skipped.text);
		obs_close(o);
		*f[0]->id = was;
	}
	free_all(f, 2);
}

Test(shards, names_are_read_strictly)
{
	static const char *const no[] = {
		"shm-a-1+", "shm-a-1+0", "shm-a-1+01", "shm-a-1+16", "shm-a-1+1x", "shm-a-1+-1", "shm-a-1+1+1", "shm-a-1++1",
		"shm-a-1+4294967297", "shm-a-1+ 1", "shm-a+1-1", "shm-a-+1", "shm-a-1.data+1", "shm-a-1+1.dat", "pkg-5-1+",
		"pkg-5-1+0", "pkg-5-1+16", "pkg-5-1+1.data", "pkg-5+1-1", "shm-a-1+16.data",
	};
	struct skipped skipped = { 0 };
	char path[256], want[256];
	struct obs *o;

	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
		close(open(fixture_path(path, no[i]), O_WRONLY | O_CREAT, 0600));
	close(open(fixture_path(path, "shm-a-1+15.data"), O_WRONLY | O_CREAT, 0600));	/* DATA of nobody: the reaper's */
	o = fixture_observer(skip, &skipped);
	cr_assert_null(obs_at(o, 0));
	cr_assert_eq(skipped.count, sizeof no / sizeof no[0], "%s", skipped.text);
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		snprintf(want, sizeof want, "%s: not the name of a pool\n", no[i]);
		cr_assert(strstr(skipped.text, want), "%s in\n%s", no[i], skipped.text);
	}
	obs_close(o);
}

/* ---- shards without a pool ---- */

Test(shards, without_their_pool_are_no_pools_and_told_once_they_are_no_more_young)
{
	struct fixture *f[N], *one = fixture_shm("one", 1, NULL, 0, 0);
	struct skipped skipped = { 0 };
	struct obs *o;

	for (unsigned k = N; --k; )
		f[k] = fixture_shm_shard("table", 1, k, N, GROUP);
	o = fixture_observer(skip, &skipped);
	cr_assert_str_eq(obs_info(obs_at(o, 0))->id, "shm:one:1");
	cr_assert_null(obs_at(o, 1));
	cr_assert_eq(skipped.count, 0u, "in the making: %s", skipped.text);
	sleep(4);
	for (int i = 0; i < 2; i++) {
		skipped = (struct skipped){ 0 };
		cr_assert_eq(obs_scan(o, skip, &skipped), 0);
		cr_assert_null(obs_at(o, 1));
		cr_assert_eq(skipped.count, 3u, "%s", skipped.text);
		cr_assert(strstr(skipped.text, "shm-table-1+3: a shard without its pool"), "%s", skipped.text);
	}
	f[0] = fixture_shm_shard("table", 1, 0, N, GROUP);
	fill(f, 1);		/* to write into the others may make them young again */
	skipped = (struct skipped){ 0 };
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_eq(skipped.count, 0u, "%s", skipped.text);
	cr_assert_eq(stats_of(obs_find(o, "shm:table:1")).fragments, used_of(f, N));
	drop_file(f[0]);
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_null(obs_at(o, 1));
	cr_assert_eq(skipped.count, 3u, "%s", skipped.text);
	obs_close(o);
	free_all(f, N);
	fixture_free_pool(one);
}

Test(shards, more_files_than_the_pool_has_shards_are_told_at_once)
{
	struct fixture *f[2], *more = fixture_shm_shard("h", 1, 2, 3, GROUP), *one = fixture_shm("one", 1, NULL, 0, 0);
	struct fixture *of_one = fixture_shm_shard("one", 1, 1, 2, GROUP);
	struct skipped skipped = { 0 };
	struct obs *o;

	make_shm(f, 2, "h");
	o = fixture_observer(skip, &skipped);
	cr_assert_eq(skipped.count, 2u, "%s", skipped.text);
	cr_assert(strstr(skipped.text, "shm-h-1+2: a shard that its pool does not have"), "%s", skipped.text);
	cr_assert(strstr(skipped.text, "shm-one-1+1: a shard that its pool does not have"), "%s", skipped.text);
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(stats_of(obs_at(o, i)).state, OBS_LIVE);
	cr_assert_null(obs_at(o, 2));
	obs_close(o);
	free_all(f, 2);
	fixture_free_pool(more);
	fixture_free_pool(one);
	fixture_free_pool(of_one);
}

Test(shards, of_another_user_are_not_taken_into_a_pool)
{
	struct fixture *f[N];
	struct skipped skipped = { 0 };
	struct obs *o;
	char path[256];

	make_shm(f, N, "table");
	fill(f, N);
	if (geteuid() == 0) {		/* only root may make such files */
		cr_assert_eq(chown(fixture_path(path, f[1]->file), 12345, 12345), 0);
		o = fixture_observer(skip, &skipped);
		cr_assert(strstr(skipped.text, "shm-table-1+1: belongs to another user"), "%s", skipped.text);
		cr_assert_lacks(o, f, 1, "belongs to another user");
		obs_close(o);
		cr_assert_eq(chown(fixture_registry(), 12345, 12345), 0);	/* the pool is root's */
		skipped = (struct skipped){ 0 };
		o = fixture_observer(skip, &skipped);
		cr_assert(strstr(skipped.text, "shm-table-1+1: a shard that belongs to another user"), "%s", skipped.text);
		cr_assert_lacks(o, f, 1, "a shard that belongs to another user");
		obs_close(o);
	}
	free_all(f, N);
}

/* ---- in motion ---- */

Test(shards, may_be_exchanged_under_the_observer)
{
	struct fixture *f[N], *other;
	struct skipped skipped = { 0 };
	struct obs_pool *p;
	struct obs *o;
	char path[280];

	make_shm(f, N, "table");
	fill(f, N);
	o = fixture_observer(NULL, NULL);
	p = obs_at(o, 0);
	cr_assert_eq(stats_of(p).state, OBS_LIVE);
	drop_file(f[2]);
	snprintf(path, sizeof path, "%s.data", fixture_path((char[256]){ 0 }, f[2]->file));
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(stats_of(p).fragments, used_of(f, N), "what is open stays what it was");
	other = fixture_shm_shard("table", 1, 2, N, GROUP + 1);
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_eq(obs_at(o, 0), p);
	cr_assert(strstr(skipped.text, "shm-table-1+2: a shard of another pool"), "%s", skipped.text);
	cr_assert_lacks(o, f, 2, "a shard of another pool");
	other->id->group = GROUP;
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_eq(stats_of(p).state, OBS_LIVE);
	cr_assert_eq(stats_of(p).fragments, used_of(f, N) - f[2]->live->counters.fragments);
	cr_assert_clean(p);
	for (unsigned k = 0; k < N; k++)
		drop_file(f[k]);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_null(obs_at(o, 0));
	obs_close(o);
	free_all(f, N);
	fixture_free_pool(other);
}

struct mover { struct fixture **f; atomic_bool stop; };

static void *move(void *arg)
{
	struct mover *m = arg;

	for (unsigned i = 0; !atomic_load(&m->stop); i++)
		fixture_free(m->f[i % N], fixture_alloc(m->f[i % N], 16 + i % 500, 1));
	return NULL;
}

Test(shards, in_motion_are_never_called_damaged)
{
	struct fixture *f[N];
	struct mover m = { .f = f };
	uint64_t end = (uint64_t)time(NULL) + 3;
	unsigned still;
	pthread_t t;
	struct obs *o;

	make_shm(f, N, "table");
	fill(f, N);
	still = used_of(f, N);
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(pthread_create(&t, NULL, move, &m), 0);
	while ((uint64_t)time(NULL) < end) {
		struct obs_stats s = stats_of(obs_at(o, 0));
		struct seen seen = { 0 };
		struct obs_check c;
		uint64_t cursor = 0;
		char text[2048] = "";

		cr_assert_eq(s.state, OBS_LIVE);
		cr_assert_eq(s.real_used + s.cached + s.free, s.committed);
		cr_assert(s.fragments >= still && s.fragments <= still + N);
		cr_assert_eq(obs_records(obs_at(o, 0), &cursor, UINT64_MAX, see, &seen), 0);
		cr_assert(seen.used >= still && seen.used <= still + N);
		cr_assert_eq(obs_check(obs_at(o, 0), &c, say, text), 0);
		cr_assert(c.ok || !c.known, "%s", text);
	}
	atomic_store(&m.stop, true);
	pthread_join(t, NULL);
	cr_assert_clean(obs_at(o, 0));
	obs_close(o);
	free_all(f, N);
}

Test(shards, more_of_them_than_descriptors_are_seen_all_the_same)
{
	struct rlimit was, few;
	struct fixture *f[3][SHARDS_MAX];
	unsigned want = 0;
	struct seen s;
	struct obs *o;

	for (unsigned i = 0; i < 3; i++) {
		make_shm(f[i], SHARDS_MAX, (const char *[]){ "a", "b", "c" }[i]);
		fill(f[i], SHARDS_MAX);
		want += used_of(f[i], SHARDS_MAX);
	}
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	few = (struct rlimit){ 48, was.rlim_max };
	for (unsigned i = 0; i < 3; i++)
		for (unsigned k = 0; k < SHARDS_MAX; k++) {
			close(f[i][k]->fd);
			f[i][k]->fd = -1;
		}
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	o = fixture_observer(NULL, NULL);
	for (unsigned round = 0; round < 3; round++) {
		unsigned got = 0;

		for (unsigned i = 0; i < 3; i++) {
			cr_assert_eq(stats_of(obs_at(o, i)).state, OBS_LIVE);
			cr_assert_eq(stats_of(obs_at(o, i)).fragments, used_of(f[i], SHARDS_MAX));
			list_all(obs_at(o, i), obs_walk, 100, &s);
			got += s.used;
			cr_assert_clean(obs_at(o, i));
		}
		cr_assert_eq(got, want);
		cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	}
	obs_close(o);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
	for (unsigned i = 0; i < 3; i++)
		free_all(f[i], SHARDS_MAX);
}
