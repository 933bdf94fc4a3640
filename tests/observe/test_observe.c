/* SPDX-License-Identifier: BSD-2-Clause */
/* What the observer tells of sound pools, and of pools caught inside a call. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "meta_fixture.h"

TestSuite(observe, .fini = fixture_registry_drop, .timeout = 60);

static struct obs_stats stats_of(struct obs_pool *p)
{
	struct obs_stats s;

	cr_assert_eq(obs_stats(p, &s), 0);
	return s;
}

static void cr_assert_sum(const struct obs_stats *s)
{
	cr_assert_eq(s->real_used + s->cached + s->free, s->committed, "real_used + cached + free is not what is committed");
	cr_assert_leq(s->used + s->cached, s->real_used);
}

struct seen { unsigned count, used, cached, freed; uint64_t bytes, last; unsigned stop_at; };

static bool see(const struct obs_fragment *f, void *arg)
{
	struct seen *s = arg;

	s->count++;
	s->used += f->state == OBS_USED;
	s->cached += f->state == OBS_CACHED;
	s->freed += f->state == OBS_FREE;
	if (f->state == OBS_USED)
		s->bytes += f->size;
	s->last = f->address;
	return s->count != s->stop_at;
}

static void say(uint64_t address, const char *what, void *arg)
{
	size_t len = strlen(arg);

	snprintf((char *)arg + len, 1024 - len, "%#llx: %s\n", (unsigned long long)address, what);
}

static void cr_assert_clean(struct obs_pool *p)
{
	char text[1024] = "";
	struct obs_check c;

	cr_assert_eq(obs_check(p, &c, say, text), 0);
	cr_assert(c.known && c.ok && !c.errors, "%s", text);
	cr_assert_eq(c.walked.used, c.counted.used);
	cr_assert_eq(c.walked.free, c.counted.free);
}

/** Some that stay and some that were freed. */
static void fill(struct fixture *f, void *held[100])
{
	uint32_t site[3];

	for (unsigned i = 0; i < 3; i++)
		site[i] = fixture_site(f, "reg.c", 10 + i);
	for (unsigned i = 0; i < 100; i++)
		cr_assert(held[i] = fixture_alloc(f, 20 + 7 * i, site[i % 3]));
	for (unsigned i = 0; i < 100; i += 4) {
		fixture_free(f, held[i]);
		held[i] = NULL;
	}
}

static void both(struct fixture *f[2])
{
	f[0] = fixture_pkg(getpid(), 1, NULL);
	f[1] = fixture_shm("table", 3, NULL, 0, 0);
}

Test(observe, pools_are_found_by_their_files_and_told_in_order)
{
	struct fixture *f[5] = { fixture_shm("b", 1, NULL, 0, 0), fixture_shm("a", 10, NULL, 0, 0), fixture_shm("a", 9, NULL, 0, 0),
				 fixture_pkg(getpid(), 2, NULL), fixture_pkg(1, 1, NULL) };
	struct obs *o = fixture_observer(NULL, NULL);
	char mine[64];
	const char *want[] = { "pkg:1:1", mine, "shm:a:9", "shm:a:10", "shm:b:1" };
	const struct obs_info *i;

	snprintf(mine, sizeof mine, "pkg:%d:2", getpid());
	for (size_t k = 0; k < 5; k++)
		cr_assert_str_eq(obs_info(obs_at(o, k))->id, want[k]);
	cr_assert_null(obs_at(o, 5));
	for (size_t k = 0; k < 5; k++)
		cr_assert_eq(obs_find(o, want[k]), obs_at(o, k));
	const char *no[] = { "shm:a:8", "shm:a", "shm:a:9x", "shm:a:09", "pkg:1", "pkg:1:2", "pkg::1", "shm::1", "a", "", ":::" };
	for (size_t k = 0; k < sizeof no / sizeof no[0]; k++)
		cr_assert_null(obs_find(o, no[k]), "%s", no[k]);
	i = obs_info(obs_find(o, "shm:a:9"));
	cr_assert_str_eq(i->name, "a");
	cr_assert_str_eq(i->command, "test_observe");
	cr_assert_eq(i->domain, OBS_SHM);
	cr_assert_eq(i->pid, getpid());
	cr_assert(!i->foreign && !i->hosted && !i->keep);
	obs_close(o);
	for (size_t k = 0; k < 5; k++)
		fixture_free_pool(f[k]);
}

Test(observe, a_pool_keeps_its_address_until_its_file_goes)
{
	struct fixture *a = fixture_shm("a", 1, NULL, 0, 0), *b;
	struct obs *o = fixture_observer(NULL, NULL);
	struct obs_pool *p = obs_find(o, "shm:a:1");
	char path[256];

	cr_assert(p);
	for (int i = 0; i < 3; i++) {
		usleep(60000);
		cr_assert_eq(obs_scan(o, NULL, NULL), 0);
		cr_assert_eq(obs_find(o, "shm:a:1"), p);
	}
	b = fixture_pkg(77, 1, NULL);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_eq(obs_find(o, "shm:a:1"), p);
	cr_assert(obs_find(o, "pkg:77:1"));
	unlink(fixture_path(path, a->file));
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_null(obs_find(o, "shm:a:1"));
	cr_assert(obs_find(o, "pkg:77:1"));
	obs_close(o);
	fixture_free_pool(a);
	fixture_free_pool(b);
}

Test(observe, a_registry_that_is_not_there_is_empty_until_it_is)
{
	char path[256];
	struct obs *o;

	fixture_path(path, "later");
	cr_assert_eq(obs_open(path, &o), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_null(obs_at(o, 0));
	setenv("X", path, 1);
	cr_assert_eq(system("mkdir -m 0700 \"$X\""), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_null(obs_at(o, 0));
	obs_close(o);
}

Test(observe, stats_are_the_counters_and_their_sum_holds)
{
	void *held[100];
	struct fixture *f[2];
	struct obs *o;

	both(f);
	fill(f[0], held);
	fill(f[1], held);
	o = fixture_observer(NULL, NULL);
	for (size_t i = 0; i < 2; i++) {
		struct obs_pool *p = obs_at(o, i);
		struct obs_stats s = stats_of(p);
		const struct meta_counters *c = &f[i]->live->counters;

		cr_assert_eq(s.state, OBS_LIVE);
		cr_assert_eq(s.used, c->used);
		cr_assert_eq(s.fragments, 75u);
		cr_assert_eq(s.free, c->tally.free_bytes);
		cr_assert_eq(s.free_fragments, c->tally.free_fragments);
		cr_assert_eq(s.max_used, c->max_used);
		cr_assert_eq(s.stamp, 100u);
		cr_assert_eq(s.untracked, 0u);
		cr_assert_eq(s.untracked_bytes, 0u);
		cr_assert_eq(s.users, 1u);
		cr_assert_eq(s.tracking, OBS_SITES);
		if (f[i]->ops->largest)
			cr_assert_eq(s.largest_free, f[i]->ops->largest(&f[i]->heap));
		cr_assert_sum(&s);
		cr_assert_clean(p);
	}
	obs_close(o);
	for (size_t i = 0; i < 2; i++)
		fixture_free_pool(f[i]);
}

Test(observe, untracked_fragments_are_counted_as_what_they_are)
{
	struct fixture *f = fixture_pkg(getpid(), 1, NULL);
	struct obs *o = fixture_observer(NULL, NULL);
	struct obs_stats s;

	fixture_alloc(f, 100, 1);
	f->live->features = 0;
	fixture_alloc(f, 100, 0);
	fixture_alloc(f, 100, 0);
	s = stats_of(obs_at(o, 0));
	cr_assert_eq(s.fragments, 3u);
	cr_assert_eq(s.untracked, 2u);
	cr_assert_eq(s.untracked_bytes, s.used / 3 * 2);
	cr_assert_eq(s.tracking, OBS_OFF);
	cr_assert_clean(obs_at(o, 0));
	obs_close(o);
	fixture_free_pool(f);
}

Test(observe, records_tell_what_was_asked_for_by_whom_and_where)
{
	struct fixture *f = fixture_shm("r", 1, NULL, 0, 0);
	struct obs *o = fixture_observer(NULL, NULL);
	struct obs_pool *p = obs_at(o, 0);
	struct seen s = { 0 };
	struct obs_owner owner;
	struct obs_site site;
	uint64_t cursor = 0;
	void *held[100];

	fill(f, held);
	cr_assert_eq(obs_records(p, &cursor, UINT64_MAX, see, &s), 0);
	cr_assert_eq(cursor, 0u);
	cr_assert_eq(s.used, 75u);
	cr_assert_eq(s.bytes, f->live->counters.used);
	/* in pieces of any size, and stopped by the callback */
	for (unsigned step = 1; step < 40; step += 7) {
		s = (struct seen){ .stop_at = 13 };
		cursor = 0;
		do
			cr_assert_eq(obs_records(p, &cursor, step, see, &s), 0);
		while (cursor);
		cr_assert_eq(s.used, 75u, "in steps of %u", step);
	}
	cursor = f->id->records_max + 1;
	cr_assert_eq(obs_records(p, &cursor, 1, see, &s), -EINVAL);

	obs_site(p, 2, &site);
	cr_assert_str_eq(site.file, "reg.c");
	cr_assert_eq(site.line, 11u);
	cr_assert_str_eq(site.function, "function_of_11");
	obs_site(p, 0, &site);
	cr_assert(!*site.file && !site.line);
	obs_site(p, UINT32_MAX, &site);
	cr_assert(!*site.file && !site.line);
	obs_owner(p, 0, &owner);
	cr_assert(owner.alive && owner.pid == getpid());
	cr_assert_str_eq(owner.command, "test_observe");
	obs_owner(p, 1, &owner);
	cr_assert(!owner.alive && !owner.pid);
	obs_owner(p, UINT32_MAX, &owner);
	cr_assert(!owner.alive && !owner.pid);
	obs_close(o);
	fixture_free_pool(f);
}

static bool first_record(const struct obs_fragment *f, void *arg) { *(struct obs_fragment *)arg = *f; return false; }

Test(observe, a_record_has_its_sizes_time_and_stamp)
{
	struct fixture *f = fixture_shm("r", 1, NULL, 0, 0);
	struct obs *o = fixture_observer(NULL, NULL);
	struct obs_fragment got;
	uint64_t cursor = 0, stamps[] = { 0, 1, 0xfffffff0, 0x100000001, 0x1fffffffff };
	void *p;

	for (size_t i = 0; i < sizeof stamps / sizeof stamps[0]; i++) {
		f->live->counters.stamp = stamps[i];
		p = fixture_alloc(f, 50, 7);
		cursor = 0;
		cr_assert_eq(obs_records(obs_at(o, 0), &cursor, 10, first_record, &got), 0);
		cr_assert_eq(got.address, (uintptr_t)p);
		cr_assert_eq(got.requested, 50u);
		cr_assert_geq(got.size, 58u);
		cr_assert_eq(got.site, 7u);
		cr_assert_eq(got.slot, 0u);
		cr_assert_eq(got.time, f->id->created + 10);
		cr_assert_eq(got.stamp, stamps[i] + 1, "%#llx", (unsigned long long)got.stamp);
		cr_assert_eq(got.state, OBS_USED);
		fixture_free(f, p);
	}
	obs_close(o);
	fixture_free_pool(f);
}

Test(observe, a_walk_tells_each_fragment_once_and_what_its_record_knows)
{
	struct fixture *f[2];
	struct obs *o;
	void *held[100];

	both(f);
	fill(f[0], held);
	fill(f[1], held);
	o = fixture_observer(NULL, NULL);
	for (size_t i = 0; i < 2; i++)
		for (unsigned step = 1; step < 300; step = step * 3 + 1) {
			struct seen s = { .stop_at = 5 };
			uint64_t cursor = 0;
			int e;

			do {
				e = obs_walk(obs_at(o, i), &cursor, step, see, &s);
				cr_assert_eq(e, 0, "%s", strerror(-e));
			} while (cursor);
			cr_assert_eq(s.used, 75u);
			cr_assert_eq(s.freed, f[i]->live->counters.tally.free_fragments);
			cr_assert_eq(s.bytes, f[i]->live->counters.used);
		}
	obs_close(o);
	for (size_t i = 0; i < 2; i++)
		fixture_free_pool(f[i]);
}

static bool want_record(const struct obs_fragment *f, void *arg)
{
	if (f->state == OBS_USED) {
		cr_assert_neq(f->index, OBS_UNKNOWN);
		cr_assert_eq(f->requested, 33u);
		cr_assert_eq(f->site, 1u);
		++*(unsigned *)arg;
	}
	return true;
}

Test(observe, a_walk_of_a_heap_with_records_names_sites)
{
	struct fixture *f[2];
	struct obs *o;

	both(f);
	o = fixture_observer(NULL, NULL);
	for (size_t i = 0; i < 2; i++) {
		unsigned n = 0;
		uint64_t cursor = 0;

		fixture_site(f[i], "x.c", 1);
		for (int k = 0; k < 10; k++)
			fixture_alloc(f[i], 33, 1);
		cr_assert_eq(obs_walk(obs_at(o, i), &cursor, 1000, want_record, &n), 0);
		cr_assert_eq(n, 10u);
	}
	obs_close(o);
	for (size_t i = 0; i < 2; i++)
		fixture_free_pool(f[i]);
}

/* Every state that a stop or kill inside a call can leave: the observer shows the heap as it was before the call. */
Test(observe, a_heap_whose_owner_stopped_inside_a_call_is_seen_as_before_it)
{
	struct fixture *f = fixture_shm("s", 1, NULL, 0, 0);
	struct obs *o = fixture_observer(NULL, NULL);
	struct obs_pool *p = obs_at(o, 0);
	struct obs_stats before, now;
	struct seen s = { 0 };
	uint64_t cursor = 0;
	void *held[100];

	fill(f, held);
	before = stats_of(p);
	fixture_begin(f);
	cr_assert(fixture_alloc_open(f, 1000, 1));
	cr_assert_gt(undo_count(f->heap.log), 5u);
	now = stats_of(p);
	cr_assert_eq(now.used, before.used);
	cr_assert_eq(now.fragments, before.fragments);
	cr_assert_eq(now.free, before.free);
	cr_assert_eq(now.free_fragments, before.free_fragments);
	cr_assert_eq(now.lock_pid, getpid());
	cr_assert_eq(now.lock_turn, before.lock_turn + 1);
	cr_assert_sum(&now);
	cr_assert_clean(p);
	cr_assert_eq(obs_records(p, &cursor, 1000, see, &s), 0);
	cr_assert_eq(s.used, 75u);
	s = (struct seen){ 0 };
	cr_assert_eq(obs_walk(p, &cursor, 1000, see, &s), 0);
	cr_assert_eq(s.used, 75u);
	fixture_end(f);
	now = stats_of(p);
	cr_assert_eq(now.fragments, before.fragments + 1);
	cr_assert_eq(now.lock_pid, 0);
	cr_assert_clean(p);
	obs_close(o);
	fixture_free_pool(f);
}

Test(observe, a_private_heap_that_is_being_changed_is_not_called_damaged)
{
	struct fixture *f = fixture_pkg(getpid(), 1, NULL);
	struct obs *o = fixture_observer(NULL, NULL);
	struct obs_check c;
	char text[1024] = "";
	void *held[100];
	struct obs_stats s;

	fill(f, held);
	f->live->turn++;		/* stopped inside a call, heap half changed */
	f->live->counters.used -= 16;
	cr_assert_eq(obs_check(obs_at(o, 0), &c, say, text), 0);
	cr_assert(!c.known && !c.ok);
	cr_assert(strstr(text, "changed too fast"), "%s", text);
	s = stats_of(obs_at(o, 0));
	cr_assert_eq(s.state, OBS_LIVE);
	cr_assert_eq(s.real_used + s.cached + s.free, s.committed);
	obs_close(o);
	fixture_free_pool(f);
}

Test(observe, damage_is_found_by_check_and_named)
{
	void *held[100];
	struct fixture *f = fixture_shm("d", 1, NULL, 0, 0);
	struct obs *o = fixture_observer(NULL, NULL);
	struct obs_pool *p = obs_at(o, 0);
	struct obs_check c;
	char text[1024];
	uint64_t *words, usable;

	fill(f, held);
	cr_assert_clean(p);
#define DAMAGED(change, undo, want) do {					\
	change;									\
	text[0] = 0;								\
	cr_assert_eq(obs_check(p, &c, say, text), 0);				\
	cr_assert(c.known && !c.ok && c.errors, want);				\
	cr_assert(strstr(text, want), "%s", text);				\
	undo;									\
	cr_assert_clean(p);							\
} while (0)
	DAMAGED(f->live->counters.used += 16, f->live->counters.used -= 16, "records differ");
	DAMAGED(f->live->counters.tally.free_fragments++, f->live->counters.tally.free_fragments--, "free fragments differ");
	DAMAGED(f->live->counters.tally.free_bytes -= 16, f->live->counters.tally.free_bytes += 16, "free bytes differ");
	DAMAGED(f->live->counters.fragments++, f->live->counters.fragments--, "used fragments differ");
	DAMAGED(f->live->counters.committed = 1, f->live->counters.committed = f->heap.len, "impossible");
	DAMAGED(f->live->lock |= 0x1ffe, f->live->lock &= ~0xffffffffull, "no slot");
	usable = f->ops->usable(&f->heap, held[1]);
	words = (void *)((char *)held[1] + usable - 8);
	DAMAGED(*words ^= 1ull << 40, *words ^= 1ull << 40, "differ in number");
	DAMAGED(*words ^= 2, *words ^= 2, "do not belong together");
	words = (void *)((char *)held[5] - 16);
	{
		uint64_t was = *words;

		DAMAGED(*words = 0x123450, *words = was, "");
		DAMAGED(*words = UINT64_MAX, *words = was, "");
	}
	DAMAGED(f->records[3].address += 16, f->records[3].address -= 16, "do not belong together");
	DAMAGED(f->live->counters.records_free = 2, f->live->counters.records_free = 97, "");
	obs_close(o);
	fixture_free_pool(f);
}

static unsigned meanwhiles;
static void count_meanwhile(void) { meanwhiles++; }

Test(observe, who_asked_for_it_is_called_all_through_a_check)
{
	struct fixture *f = fixture_shm("d", 1, NULL, 0, 0);
	struct obs *o = fixture_observer(NULL, NULL);
	uint64_t count = 0;

	while (fixture_alloc(f, 64, 0))
		count++;
	cr_assert_gt(count, 1000);
	obs_meanwhile(o, count_meanwhile);
	cr_assert_clean(obs_at(o, 0));
	cr_assert_geq(meanwhiles, 2 * count / 256 - 1, "%u times: of the walk and of the ledger", meanwhiles);
	obs_meanwhile(o, NULL);
	meanwhiles = 0;
	cr_assert_clean(obs_at(o, 0));
	cr_assert_eq(meanwhiles, 0);
	obs_close(o);
	fixture_free_pool(f);
}

struct told { unsigned count; uint64_t requested[200]; const char *verdict[200]; };

static bool tell_failure(const struct obs_failure *f, void *arg)
{
	struct told *t = arg;

	t->requested[t->count] = f->requested;
	t->verdict[t->count++] = f->verdict;
	return t->count != 199;
}

static bool tell_fault(const struct obs_fault *f, void *arg)
{
	struct told *t = arg;

	t->requested[t->count] = f->address;
	t->verdict[t->count++] = f->kind;
	return true;
}

Test(observe, the_last_64_failures_and_faults_are_told_newest_first)
{
	struct fixture *f = fixture_pkg(getpid(), 1, NULL);
	struct obs *o = fixture_observer(NULL, NULL);
	struct meta_failure *ring = (void *)(f->meta + META_FAILURES);
	struct told t = { 0 };

	cr_assert_eq(obs_failures(obs_at(o, 0), tell_failure, &t), 0);
	cr_assert_eq(t.count, 0u);
	for (unsigned i = 0; i < 100; i++) {
		fixture_failure(f, 1000 + i, i % 5);
		fixture_fault(f, i % 4, 500 + i);
	}
	cr_assert_eq(obs_failures(obs_at(o, 0), tell_failure, &t), 0);
	cr_assert_eq(t.count, 64u);
	cr_assert_eq(t.requested[0], 1099u);
	cr_assert_str_eq(t.verdict[0], "deadlock");
	cr_assert_eq(t.requested[63], 1036u);
	cr_assert_str_eq(t.verdict[63], "fragmented");
	ring[99 % RING_MAX].seq = 0;		/* being written */
	ring[98 % RING_MAX].verdict = 77;
	t.count = 0;
	cr_assert_eq(obs_failures(obs_at(o, 0), tell_failure, &t), 0);
	cr_assert_eq(t.count, 62u);
	cr_assert_eq(t.requested[0], 1097u);
	t.count = 0;
	cr_assert_eq(obs_faults(obs_at(o, 0), tell_fault, &t), 0);
	cr_assert_eq(t.count, 64u);
	cr_assert_str_eq(t.verdict[0], "deadlock");
	cr_assert_str_eq(t.verdict[1], "overrun");
	cr_assert_eq(t.requested[0], 599u);
	obs_close(o);
	fixture_free_pool(f);
}

Test(observe, tracking_is_asked_for_and_other_features_stay)
{
	struct fixture *f[2];
	struct obs *o;

	both(f);
	o = fixture_observer(NULL, NULL);
	f[0]->live->wanted = FEATURE_GUARDS | FEATURE_ABORT;
	cr_assert_eq(obs_track(obs_at(o, 0), OBS_STACKS), 0);
	cr_assert_eq(f[0]->live->wanted, FEATURE_GUARDS | FEATURE_ABORT | FEATURE_SITES | FEATURE_STACKS);
	cr_assert_eq(obs_track(obs_at(o, 0), OBS_SITES), 0);
	cr_assert_eq(f[0]->live->wanted, FEATURE_GUARDS | FEATURE_ABORT | FEATURE_SITES);
	cr_assert_eq(obs_track(obs_at(o, 0), OBS_OFF), 0);
	cr_assert_eq(f[0]->live->wanted, FEATURE_GUARDS | FEATURE_ABORT);
	cr_assert_eq(obs_track(obs_at(o, 1), OBS_OFF), -ENOTSUP);
	cr_assert_eq(obs_track(obs_at(o, 1), OBS_STACKS), 0);
	f[0]->live->state = POOL_EXITED;
	cr_assert_eq(obs_track(obs_at(o, 0), OBS_SITES), -ESRCH);
	obs_close(o);
	for (size_t i = 0; i < 2; i++)
		fixture_free_pool(f[i]);
}

/* ---- life and death ---- */

static pid_t a_dead_pid(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	return pid;
}

Test(observe, a_private_heap_lives_exits_or_crashes_with_its_process)
{
	struct fixture *mine = fixture_pkg(getpid(), 1, NULL), *dead = fixture_pkg(a_dead_pid(), 1, NULL);
	struct obs *o;
	struct obs_pool *p, *q;
	struct seen s = { 0 };
	struct obs_check c;
	char text[1024] = "", id[64];
	uint64_t cursor = 0;

	fixture_alloc(dead, 100, 1);
	o = fixture_observer(NULL, NULL);
	snprintf(id, sizeof id, "pkg:%lld:1", (long long)dead->id->pid);
	q = obs_find(o, id);
	snprintf(id, sizeof id, "pkg:%d:1", getpid());
	p = obs_find(o, id);
	cr_assert_eq(stats_of(p).state, OBS_LIVE);
	cr_assert_eq(stats_of(q).state, OBS_CRASHED);
	cr_assert_eq(stats_of(q).users, 0u);
	cr_assert_eq(stats_of(q).fragments, 1u);
	cr_assert_eq(obs_walk(q, &cursor, 10, see, &s), -ESRCH);
	cr_assert_eq(obs_records(q, &cursor, 10, see, &s), 0);
	cr_assert_eq(s.used, 1u);
	cr_assert_eq(obs_check(q, &c, say, text), 0);
	cr_assert(!c.known && strstr(text, "process is gone"), "%s", text);
	dead->live->state = POOL_EXITED;
	cr_assert_eq(stats_of(q).state, OBS_EXITED);
	dead->live->state = POOL_DAMAGED;
	snprintf(dead->live->reason, sizeof dead->live->reason, "tree\nfell");
	cr_assert_eq(stats_of(q).state, OBS_DAMAGED);
	cr_assert_str_eq(stats_of(q).reason, "tree?fell");
	obs_close(o);

	mine->id->start_time--;		/* the pid was given to another process */
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(stats_of(obs_find(o, id)).state, OBS_CRASHED);
	obs_close(o);
	mine->id->pid_namespace++;		/* whose pids mean nothing here */
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(stats_of(obs_find(o, id)).state, OBS_LIVE);
	cr_assert(obs_info(obs_find(o, id))->foreign);
	cr_assert_eq(obs_walk(obs_find(o, id), &cursor, 10, see, &s), -EACCES);
	obs_close(o);
	fixture_free_pool(mine);
	fixture_free_pool(dead);
}

Test(observe, a_heap_that_an_exec_took_away_is_not_live)
{
	struct fixture *f = fixture_pkg(getpid(), 1, NULL);
	struct obs *o;
	struct seen s = { 0 };
	uint64_t cursor = 0;

	f->id->base = 0x10000;		/* nothing is mapped there */
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(stats_of(obs_at(o, 0)).state, OBS_EXITED);
	cr_assert_eq(obs_walk(obs_at(o, 0), &cursor, 10, see, &s), -ESRCH);
	obs_close(o);
	fixture_free_pool(f);
}

Test(observe, a_heap_that_an_exec_took_away_has_not_crashed_when_its_process_has_ended)
{
	pid_t dead = a_dead_pid();
	struct fixture *first = fixture_pkg(dead, 1, NULL), *last = fixture_pkg(dead, 2, NULL);
	struct obs *o = fixture_observer(NULL, NULL);

	cr_assert_eq(obs_info(obs_at(o, 0))->incarnation, 1u);
	cr_assert_eq(stats_of(obs_at(o, 0)).state, OBS_EXITED);
	cr_assert_eq(stats_of(obs_at(o, 1)).state, OBS_CRASHED);
	obs_close(o);
	last->id->start_time++;		/* another process, by the same number */
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(stats_of(obs_at(o, 0)).state, OBS_CRASHED);
	obs_close(o);
	fixture_free_pool(first);
	fixture_free_pool(last);
}

Test(observe, a_shared_pool_is_judged_by_its_slots)
{
	struct fixture *f = fixture_shm("p", 1, NULL, 0, 0);
	pid_t dead = a_dead_pid();
	struct obs *o = fixture_observer(NULL, NULL);
	struct obs_pool *p = obs_at(o, 0);
	struct meta_slot *slot = (void *)(f->meta + META_SLOTS);
	struct obs_owner owner;
	struct obs_stats s;
	uint32_t life = 12345 | 0x40000000;

	fixture_slot(f, 1, SLOT_LIVE, dead, "worker");
	fixture_slot(f, 2, SLOT_LEFT, dead, "polite");
	fixture_slot(f, 40, SLOT_LIVE, getpid(), "far");
	s = stats_of(p);
	cr_assert_eq(s.users, 2u);
	cr_assert_eq(s.dead, 1u);
	cr_assert_eq(s.state, OBS_LIVE);
	obs_owner(p, 1, &owner);
	cr_assert(!owner.alive && owner.pid == dead);
	cr_assert_str_eq(owner.command, "worker");
	memcpy(&slot->life, &life, sizeof life); /* the kernel's word: this thread is gone, whatever its pid says */
	fixture_slot(f, 40, SLOT_FREE, 0, "");
	s = stats_of(p);
	cr_assert_eq(s.users, 0u);
	cr_assert_eq(s.dead, 2u);
	fixture_slot(f, 41, SLOT_LIVE, getpid(), "mmd");
	((struct meta_slot *)(void *)(f->meta + META_SLOTS + 41 * SLOT_BYTES))->observer = 1; /* reading is not using */
	cr_assert_eq(stats_of(p).users, 0u);
	cr_assert_eq(stats_of(p).state, OBS_CRASHED);
	life = 12345; /* its maker lives */
	memcpy(&slot->life, &life, sizeof life);
	f->live->state = POOL_DRAINING;
	cr_assert_eq(stats_of(p).state, OBS_DRAINING);
	life |= 0x40000000;
	memcpy(&slot->life, &life, sizeof life);
	obs_close(o);

	f->id->pid = dead;
	f->id->start_time = 1;
	o = fixture_observer(NULL, NULL);
	p = obs_at(o, 0);
	cr_assert_eq(stats_of(p).state, OBS_CRASHED);
	fixture_slot(f, 0, SLOT_LEFT, dead, "");
	fixture_slot(f, 1, SLOT_LEFT, dead, "");
	cr_assert_eq(stats_of(p).state, OBS_EXITED);
	obs_close(o);
	f->id->hosted = 1;
	f->live->state = POOL_LIVE;
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(stats_of(obs_at(o, 0)).state, OBS_LIVE);
	obs_close(o);
	fixture_free_pool(f);
}

/* ---- heaps that change between the slices of a walk ---- */

enum { MANY = 6000 };

struct lived { const void *address[MANY]; unsigned char told[MANY]; unsigned twice, never; };

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

static bool see_lived(const struct obs_fragment *f, void *arg)
{
	struct lived *l = arg;
	uintptr_t at = f->address;
	const void **found = bsearch(&at, l->address, MANY / 2, sizeof l->address[0], by_address);

	if (found && f->state == OBS_USED)
		l->twice += l->told[found - l->address]++;
	l->never += f->state == OBS_USED && f->index == OBS_UNKNOWN;	/* each that there is has a record */
	return true;
}

/** Some of `passing` become others, first those next to where the walk stands; what lay there becomes noise. */
static void stir(struct fixture *f, void **passing, uintptr_t at)
{
	for (unsigned k = 0; k < MANY / 2; k++) {
		uintptr_t off = (uintptr_t)passing[k] - at + 200;
		size_t size = 16 + (unsigned)random() % 100;

		if (passing[k] && off >= 400 && random() % 500)
			continue;
		if (passing[k])
			fixture_free(f, passing[k]);
		passing[k] = fixture_alloc(f, size, 1);
		/* words that look like headers, as those that lay there */
		for (size_t w = 0; passing[k] && w < size / 8; w++)
			((uint64_t *)passing[k])[w] = 16 * (2 + (uint64_t)random() % 6) + 1;
	}
}

/* Half of the fragments live all through; the others come and go around the place where the walk stands. */
Test(observe, a_fragment_that_lives_all_through_a_walk_is_told_once)
{
	static void *passing[MANY];
	static struct lived l;
	struct fixture *f[2] = { fixture_pkg(getpid(), 1, NULL), fixture_shm("w", 1, NULL, 0, 0) };
	struct obs *o = fixture_observer(NULL, NULL);

	srandom(3);
	for (size_t i = 0; i < 2; i++)
		for (unsigned step = 3; step < 3000; step *= 9) {
			uint64_t cursor = 0;
			unsigned slices = 0;
			int e;

			memset(&l, 0, sizeof l);
			for (unsigned k = 0; k < MANY / 2; k++) {
				cr_assert(l.address[k] = fixture_alloc(f[i], 16 + (unsigned)random() % 60, 1));
				cr_assert(passing[k] = fixture_alloc(f[i], 16 + (unsigned)random() % 100, 1));
			}
			qsort(l.address, MANY / 2, sizeof l.address[0], by_address);
			do {
				e = obs_walk(obs_at(o, i), &cursor, step, see_lived, &l);
				cr_assert_eq(e, 0, "%s", strerror(-e));
				stir(f[i], passing, (uintptr_t)f[i]->heap.base + cursor);
				cr_assert_lt(slices++, 20000u);
			} while (cursor);
			cr_assert_eq(l.never, 0u, "%u that never were in steps of %u", l.never, step);
			cr_assert_eq(l.twice, 0u, "%u told twice in steps of %u", l.twice, step);
			for (unsigned k = 0; k < MANY / 2; k++) {
				cr_assert_eq(l.told[k], 1, "missed in steps of %u", step);
				fixture_free(f[i], (void *)(uintptr_t)l.address[k]);
				if (passing[k])
					fixture_free(f[i], passing[k]);
			}
		}
	obs_close(o);
	fixture_free_pool(f[0]);
	fixture_free_pool(f[1]);
}

/* ---- all users' registries ---- */

static void move_to(const struct fixture *f, const char *dir, uid_t uid)
{
	char command[1024];

	mkdir(dir, 0700);
	cr_assert_eq(chown(dir, uid, uid), 0);
	snprintf(command, sizeof command, "cp --sparse=always '%s/%s'* %s/ && chown %u %s/*", fixture_registry(), f->file, dir,
		 (unsigned)uid, dir);
	cr_assert_eq(system(command), 0);
}

static void skip_text(const char *file, const char *reason, void *arg)
{
	size_t len = strlen(arg);

	snprintf((char *)arg + len, 1024 - len, "%s: %s\n", file, reason);
}

Test(observe, root_sees_every_users_pools_and_tells_them_apart)
{
	struct fixture *f;
	char skipped[1024] = "";
	struct obs *o;

	/* a /dev/shm of the test's own, where that may be had */
	if (geteuid() || unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL))
		cr_skip_test("not root, or not allowed");
	f = fixture_shm("default", 1, NULL, 0, 0);
	move_to(f, "/dev/shm/mmd-0", 0);
	move_to(f, "/dev/shm/mmd-777", 777);
	move_to(f, "/dev/shm/mmd-778", 778);
	move_to(f, "/dev/shm/mmd-779", 999);		/* a trap: not its user's */
	unsetenv("MEMAPI_REGISTRY");
	cr_assert_eq(obs_open(NULL, &o), 0);
	for (int i = 0; i < 3; i++) {
		*skipped = '\0';
		cr_assert_eq(obs_scan(o, skip_text, skipped), 0);
		cr_assert_str_eq(obs_info(obs_at(o, 0))->id, "shm:default:1");
		cr_assert_eq(obs_info(obs_at(o, 0))->uid, 0u);
		cr_assert_str_eq(obs_info(obs_at(o, 1))->id, "shm:default:1@777");
		cr_assert_str_eq(obs_info(obs_at(o, 2))->id, "shm:default:1@778");
		cr_assert_null(obs_at(o, 3));
		cr_assert_eq(obs_find(o, "shm:default:1@777"), obs_at(o, 1));
		cr_assert_eq(obs_find(o, "shm:default:1"), obs_at(o, 0));
		cr_assert_null(obs_find(o, "shm:default:1@779"));
		cr_assert(strstr(skipped, "mmd-779: a registry that is not its user's"), "%s", skipped);
	}
	cr_assert_eq(system("rm -r /dev/shm/mmd-0"), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_str_eq(obs_info(obs_at(o, 0))->id, "shm:default:1");
	cr_assert_eq(obs_info(obs_at(o, 0))->uid, 777u);
	cr_assert_eq(system("rm -r /dev/shm/mmd-*"), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert_null(obs_at(o, 0));
	obs_close(o);
	fixture_free_pool(f);
}
