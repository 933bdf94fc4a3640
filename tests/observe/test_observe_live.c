/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The observer beside real programs: children of this test use the library, run, stop anywhere, are killed anywhere.
 *
 * The child does; this process alone observes and asserts.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef DBG_SR_MEMORY
#define DBG_SR_MEMORY
#endif
#include "memapi/memapi.h"
#include "memapi/memcore.h"
#include "memapi/observe.h"

#include "../own_registry.h"

static void make(void) { make_registry("sites"); }

TestSuite(live, .init = make, .fini = drop_registry, .timeout = 100);

/* ---- children ---- */

typedef void child_fn(int ready);	/* writes a byte when the observer may begin */

static pid_t start(child_fn *fn)
{
	int pipes[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fn(pipes[1]);
		_exit(0);
	}
	close(pipes[1]);
	cr_assert_eq(read(pipes[0], &byte, 1), 1, "the child did not come up");
	close(pipes[0]);
	return pid;
}

static void end(pid_t pid, int sig)
{
	kill(pid, SIGCONT);
	kill(pid, sig);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static struct obs_pool *pool_of(struct obs *o, enum obs_domain domain, pid_t pid)
{
	struct obs_pool *p;

	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	for (size_t i = 0; (p = obs_at(o, i)); i++)
		if (obs_info(p)->domain == domain && obs_info(p)->pid == pid)
			return p;
	cr_assert_fail("no pool of the child in the registry");
	return NULL;
}

/** Random calls in both domains, for ever. */
static void load(int ready)
{
	void *pkg[200] = { 0 }, *shm[200] = { 0 };
	uint64_t seed = (uint64_t)getpid() * 77;
	bool said = false;

	for (uint64_t n = 0;; n++) {
		size_t i, size;
		void **p;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		i = (seed >> 40) % 200, size = (seed >> 33) % 5 ? (seed >> 50) % 300 : (seed >> 50) % 9000;
		p = seed >> 63 ? &pkg[i] : &shm[i];
		if (p == &pkg[i])
			*p = *p ? pkg_realloc(*p, (seed >> 20) % 3 ? 0 : size + 1) : pkg_malloc(size);
		else
			*p = *p ? shm_realloc(*p, (seed >> 20) % 3 ? 0 : size + 1) : shm_malloc(size);
		if (n > 5000 && !said)
			said = write(ready, "x", 1) == 1;
	}
}

enum { HELD = 50 };

/** Some of known sizes, then nothing. */
static void hold(int ready)
{
	for (size_t i = 1; i <= HELD; i++) {
		void *pkg = pkg_malloc(10 * i), *shm = shm_malloc(20 * i);

		if (!pkg || !shm)
			_exit(1);
		if (i % 5 == 0)
			pkg_free(pkg_malloc(5000)), shm_free(shm_malloc(5000));
	}
	if (write(ready, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* ---- answers ---- */

static void say(uint64_t at, const char *what, void *arg)
{
	size_t len = strlen(arg);

	snprintf((char *)arg + len, 1024 - len, "%#llx: %s\n", (unsigned long long)at, what);
}

static void cr_assert_clean(struct obs_pool *p, const char *when)
{
	char text[1024] = "";
	struct obs_check c;

	cr_assert_eq(obs_check(p, &c, say, text), 0);
	cr_assert(c.known && c.ok, "%s, %s: %s", obs_info(p)->id, when, text);
	cr_assert_eq(c.walked.used, c.counted.used);
	cr_assert_eq(c.walked.fragments, c.counted.fragments);
}

struct seen { uint64_t used, bytes, requested, unknown; const char *file; struct obs_pool *p; };

static bool see(const struct obs_fragment *f, void *arg)
{
	struct seen *s = arg;
	struct obs_site site;
	struct obs_owner owner;

	if (f->state != OBS_USED)
		return true;
	s->used++;
	s->bytes += f->size;
	s->requested += f->requested;
	obs_site(s->p, f->site, &site);
	obs_owner(s->p, f->slot, &owner);
	s->unknown += f->index == OBS_UNKNOWN || !strstr(site.file, "test_observe_live.c") || !owner.alive ||
		      strcmp(site.function, "hold") || f->time > (uint64_t)time(NULL) || f->time + 100 < (uint64_t)time(NULL);
	return true;
}

Test(live, stats_walk_and_ledger_are_what_the_program_did)
{
	pid_t pid = start(hold);
	struct obs *o;

	cr_assert_eq(obs_open(NULL, &o), 0);
	for (enum obs_domain d = OBS_PKG; d <= OBS_SHM; d++) {
		struct obs_pool *p = pool_of(o, d, pid);
		struct seen records = { .p = p }, walked = { .p = p };
		uint64_t cursor = 0, want = (d == OBS_PKG ? 10u : 20u) * HELD * (HELD + 1) / 2;
		struct obs_stats s;

		cr_assert_eq(obs_stats(p, &s), 0);
		cr_assert_eq(s.state, OBS_LIVE);
		cr_assert_eq(s.tracking, OBS_SITES);
		cr_assert_eq(s.fragments, HELD);
		cr_assert_eq(s.untracked, 0u);
		cr_assert_eq(s.users, 1u);
		cr_assert_eq(s.real_used + s.cached + s.free, s.committed);
		cr_assert_neq(s.largest_free, OBS_UNKNOWN);
		cr_assert_geq(s.max_used, s.used);
		cr_assert_clean(p, "at rest");
		cr_assert_eq(obs_records(p, &cursor, UINT64_MAX, see, &records), 0);
		cr_assert_eq(obs_walk(p, &cursor, UINT64_MAX, see, &walked), 0);
		cr_assert_eq(records.used, HELD);
		cr_assert_eq(records.requested, want);
		cr_assert_eq(records.bytes, s.used);
		cr_assert_eq(records.unknown, 0u);
		cr_assert_eq(walked.used, HELD);
		cr_assert_eq(walked.requested, want);
		cr_assert_eq(walked.bytes, s.used);
		cr_assert_eq(walked.unknown, 0u);
	}
	end(pid, SIGKILL);
	obs_close(o);
}

Test(live, what_a_killed_program_held_stays_readable)
{
	pid_t pid = start(hold);
	struct obs *o;
	struct obs_pool *pkg, *shm;
	struct obs_stats s;
	struct seen seen = { 0 };
	uint64_t cursor = 0;

	cr_assert_eq(obs_open(NULL, &o), 0);
	end(pid, SIGKILL);
	pkg = pool_of(o, OBS_PKG, pid);
	shm = pool_of(o, OBS_SHM, pid);
	cr_assert_eq(obs_stats(pkg, &s), 0);
	cr_assert_eq(s.state, OBS_CRASHED);
	cr_assert_eq(s.fragments, HELD);
	seen.p = pkg;
	cr_assert_eq(obs_records(pkg, &cursor, UINT64_MAX, see, &seen), 0);
	cr_assert_eq(seen.used, HELD);
	cr_assert_eq(obs_walk(pkg, &cursor, 10, see, &seen), -ESRCH);
	cr_assert_eq(obs_stats(shm, &s), 0);
	cr_assert_eq(s.state, OBS_CRASHED);
	cr_assert_eq(s.users, 0u);
	cr_assert_eq(s.dead, 1u);
	cr_assert_clean(shm, "left behind");
	obs_close(o);
}

Test(live, a_program_is_dead_before_its_parent_has_asked)
{
	pid_t pid = start(hold);
	struct obs *o;
	struct obs_stats s;

	cr_assert_eq(obs_open(NULL, &o), 0);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT), 0);
	cr_assert_eq(kill(pid, 0), 0, "a zombie still has its pid");
	for (enum obs_domain d = OBS_PKG; d <= OBS_SHM; d++) {
		cr_assert_eq(obs_stats(pool_of(o, d, pid), &s), 0);
		cr_assert_eq(s.state, OBS_CRASHED);
		cr_assert_eq(s.users, 0u);
	}
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	obs_close(o);
}

static void leave(int ready)
{
	setenv("MEMAPI_KEEP_EXITED", "yes", 1);
	if (!pkg_malloc(100) || !shm_malloc(100) || write(ready, "x", 1) != 1)
		_exit(1);
	exit(0);
}

Test(live, what_a_program_left_in_order_says_so)
{
	pid_t pid = start(leave);
	struct obs *o;
	struct obs_stats s;

	cr_assert_eq(obs_open(NULL, &o), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	for (enum obs_domain d = OBS_PKG; d <= OBS_SHM; d++) {
		struct obs_pool *p = pool_of(o, d, pid);

		cr_assert_eq(obs_stats(p, &s), 0);
		cr_assert_eq(s.state, OBS_EXITED);
		cr_assert_eq(s.fragments, 1u);
		cr_assert_eq(obs_track(p, OBS_STACKS), -ESRCH);
	}
	obs_close(o);
}

static void another_program(int ready)
{
	char text[16];

	if (!pkg_malloc(100) || !shm_malloc(100))
		_exit(1);
	snprintf(text, sizeof text, "echo>&%d", ready);
	execl("/bin/bash", "bash", "-c", strcat(strcpy((char[64]){ 0 }, text), "; sleep 1000"), NULL);
	_exit(1);
}

Test(live, a_heap_that_an_exec_left_is_not_live)
{
	pid_t pid = start(another_program);
	struct obs *o;
	struct obs_stats s;
	uint64_t cursor = 0;

	cr_assert_eq(obs_open(NULL, &o), 0);
	cr_assert_eq(obs_stats(pool_of(o, OBS_PKG, pid), &s), 0);
	cr_assert_eq(s.state, OBS_EXITED);
	cr_assert_eq(obs_walk(pool_of(o, OBS_PKG, pid), &cursor, 10, see, NULL), -ESRCH);
	cr_assert_eq(obs_stats(pool_of(o, OBS_SHM, pid), &s), 0);
	cr_assert_eq(s.state, OBS_CRASHED);
	cr_assert_eq(s.users, 0u, "the kernel says so when it gives the robust list back");
	cr_assert_eq(s.dead, 1u);
	end(pid, SIGKILL);
	obs_close(o);
}

static void nap(unsigned us) { nanosleep(&(struct timespec){ .tv_nsec = us * 1000l }, NULL); }

/** Stopped: the kernel says T, and no instruction of it runs any more. */
static void stop(pid_t pid)
{
	int status;

	cr_assert_eq(kill(pid, SIGSTOP), 0);
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert(WIFSTOPPED(status));
}

Test(live, a_program_may_be_stopped_anywhere)
{
	pid_t pid = start(load);
	struct obs *o;
	struct obs_pool *pkg, *shm;
	unsigned inside = 0, pkg_known = 0;

	cr_assert_eq(obs_open(NULL, &o), 0);
	pkg = pool_of(o, OBS_PKG, pid);
	shm = pool_of(o, OBS_SHM, pid);
	srandom(5);
	for (unsigned i = 0; i < 300; i++) {
		struct obs_stats s, again;
		char text[1024] = "";
		struct obs_check c;

		nap(200 + (unsigned)random() % 500);
		stop(pid);
		cr_assert_eq(obs_stats(shm, &s), 0);
		cr_assert_eq(obs_stats(shm, &again), 0);
		cr_assert_eq(memcmp(&s, &again, sizeof s), 0);
		cr_assert_eq(s.state, OBS_LIVE, "%s", s.reason);
		cr_assert_eq(s.real_used + s.cached + s.free, s.committed);
		inside += s.lock_pid == pid;
		cr_assert_clean(shm, "stopped");
		cr_assert_eq(obs_stats(pkg, &s), 0);
		cr_assert_eq(s.state, OBS_LIVE, "%s", s.reason);
		cr_assert_eq(s.real_used + s.cached + s.free, s.committed);
		cr_assert_eq(obs_check(pkg, &c, say, text), 0);
		cr_assert(!c.known || c.ok, "stopped: %s", text);
		pkg_known += c.known;
		cr_assert_eq(kill(pid, SIGCONT), 0);
	}
	cr_assert_gt(inside, 10u, "hardly ever stopped inside a call: nothing was tested");
	cr_assert_gt(pkg_known, 50u);
	end(pid, SIGKILL);
	obs_close(o);
}

Test(live, a_program_may_be_killed_anywhere)
{
	struct obs *o;
	unsigned inside = 0;

	cr_assert_eq(obs_open(NULL, &o), 0);
	srandom(6);
	for (unsigned i = 0; i < 40; i++) {
		pid_t pid = start(load);
		struct obs_pool *shm;
		struct obs_stats s;

		nap((unsigned)random() % 3000);
		end(pid, SIGKILL);
		shm = pool_of(o, OBS_SHM, pid);
		cr_assert_eq(obs_stats(shm, &s), 0);
		cr_assert_eq(s.state, OBS_CRASHED, "%s", s.reason);
		inside += s.lock_pid == pid;
		cr_assert_clean(shm, "killed");
		cr_assert_eq(obs_stats(pool_of(o, OBS_PKG, pid), &s), 0);
		cr_assert_eq(s.state, OBS_CRASHED, "%s", s.reason);
		cr_assert_eq(s.real_used + s.cached + s.free, s.committed);
	}
	cr_assert_gt(inside, 2u, "hardly ever killed inside a call: nothing was tested");
	obs_close(o);
}

static bool see_any(const struct obs_fragment *f, void *arg) { (void)f; ++*(uint64_t *)arg; return true; }

Test(live, a_busy_program_is_never_called_damaged)
{
	pid_t pid = start(load);
	struct timespec begin, now;
	struct obs *o;
	struct obs_pool *p[2];
	unsigned rounds = 0, known = 0;

	cr_assert_eq(obs_open(NULL, &o), 0);
	p[0] = pool_of(o, OBS_PKG, pid);
	p[1] = pool_of(o, OBS_SHM, pid);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		for (size_t i = 0; i < 2; i++) {
			char text[1024] = "";
			uint64_t cursor = 0, told = 0;
			struct obs_stats s;
			struct obs_check c;
			int e;

			cr_assert_eq(obs_stats(p[i], &s), 0);
			cr_assert_eq(s.state, OBS_LIVE, "%s", s.reason);
			cr_assert_eq(s.real_used + s.cached + s.free, s.committed);
			cr_assert(s.largest_free == OBS_UNKNOWN || s.largest_free <= s.free);
			cr_assert_eq(obs_check(p[i], &c, say, text), 0);
			cr_assert(!c.known || c.ok, "%s: %s", obs_info(p[i])->id, text);
			known += c.known;
			cr_assert_eq(obs_records(p[i], &cursor, UINT64_MAX, see_any, &told), 0);
			do
				e = obs_walk(p[i], &cursor, 50, see_any, &told);
			while (!e && cursor);
			cr_assert(e == 0 || e == -EAGAIN, "%s", strerror(-e));
		}
		rounds++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < begin.tv_sec + 2);
	cr_assert_gt(rounds, 5u);
	cr_assert_gt(known, rounds, "%u of %u checks came to an end", known, 2 * rounds);
	end(pid, SIGKILL);
	obs_close(o);
}

static void call_now_and_then(int ready)
{
	if (!pkg_malloc(10) || !shm_malloc(10) || write(ready, "x", 1) != 1)
		_exit(1);
	for (;;) {
		pkg_free(pkg_malloc(20));
		shm_free(shm_malloc(20));
		nap(1000);
	}
}

static bool becomes(struct obs_pool *p, enum obs_tracking want)
{
	struct obs_stats s;

	for (unsigned i = 0; i < 1000; i++, nap(2000)) {
		cr_assert_eq(obs_stats(p, &s), 0);
		if (s.tracking == want)
			return true;
	}
	return false;
}

Test(live, tracking_follows_at_the_next_call)
{
	pid_t pid;
	struct obs *o;
	struct obs_pool *p;
	struct obs_stats s;

	setenv("MEMAPI_TRACK", "off", 1);
	pid = start(call_now_and_then);
	cr_assert_eq(obs_open(NULL, &o), 0);
	p = pool_of(o, OBS_PKG, pid);
	cr_assert_eq(obs_stats(p, &s), 0);
	cr_assert_eq(s.tracking, OBS_OFF);
	cr_assert_geq(s.untracked, 1u);
	cr_assert_eq(obs_track(p, OBS_SITES), 0);
	cr_assert(becomes(p, OBS_SITES));
	cr_assert_eq(obs_track(p, OBS_OFF), 0);
	cr_assert(becomes(p, OBS_OFF));
	stop(pid);
	cr_assert_clean(p, "between calls");
	end(pid, SIGKILL);
	cr_assert_eq(obs_track(p, OBS_SITES), -ESRCH);
	obs_close(o);
}

static void with_children(int ready)
{
	void *p = pkg_malloc(100), *q = pkg_malloc(200);

	if (!p || !q || !shm_malloc(50))
		_exit(1);
	if (fork() == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pkg_free(p);
		if (!pkg_malloc(300) || !shm_malloc(60) || write(ready, "x", 1) != 1)
			_exit(1);
	}
	for (;;)
		pause();
}

Test(live, a_forked_child_has_a_pool_of_its_own_and_what_it_inherited_is_untracked)
{
	pid_t pid = start(with_children);
	struct obs *o;
	struct obs_pool *p;
	struct obs_stats s;
	bool child = false;

	cr_assert_eq(obs_open(NULL, &o), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	for (size_t i = 0; (p = obs_at(o, i)); i++) {
		cr_assert_eq(obs_stats(p, &s), 0);
		cr_assert_eq(s.state, OBS_LIVE);
		cr_assert_clean(p, "after a fork");
		cr_assert_eq(s.fragments, 2u, "%s has %llu", obs_info(p)->id, (unsigned long long)s.fragments);
		if (obs_info(p)->domain == OBS_SHM)
			cr_assert_eq(s.users, 2u);
		else if (obs_info(p)->pid != pid) {
			child = true;
			cr_assert_eq(s.untracked, 1u);
			cr_assert_geq(s.untracked_bytes, 200u);
		} else {
			cr_assert_eq(s.untracked, 0u);
		}
	}
	cr_assert(child, "the child is not to be seen");
	end(pid, SIGKILL);
	obs_close(o);
}
