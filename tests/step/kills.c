/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same program stopped and killed for real, at instructions that chance picks, while another one works in the pool.
 *
 *	A is stepped to an instruction of a call, or of its attaching, and stays there
 *	B works meanwhile: it may wait for nothing but a lock that A has
 *	A gets SIGKILL; it is waited for at once, or stays a zombie
 *	B goes on, though nobody but itself can mend what A has left; how long that took is told
 *	B pauses, slots are reaped: all agrees, B has what it says, and after a reclaim there is nothing else
 *
 * With `hosted` the pool is mmd's, B pauses while A is killed where it can, and who reaps is mmd alone.
 *
 * Usage: step_kills MANAGER KILLS [SEED [MMD]]. MMD: the program, for a hosted pool. Exit status 0, 1: a fault was
 * found, 2: it could not be run.
 */
#include <errno.h>
#include <memapi/memapi.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "look.h"
#include "mem/front/shards.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"
#include "trace.h"

enum { CALLS_MOST = 60, STEPS_MOST = 1200, ATTACH_STEPS = 30000, OPS = 32, PATIENCE_MS = 10000 };
#define POOL_BYTES (2ull << 20)

static struct victim a, b;
static struct pool *pools;
static uint64_t dice;
static struct { uint64_t kills, in_calls, holding, zombies, hosted, rollbacks; double worst_ms, sum_ms; } seen;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- what A has ---- */

static bool holds_lock(pid_t pid)
{
	for (struct pool *p = pools; p < pools + mem_shm_shards; p++) {
		uint32_t slot = LOCK_SLOT(p->live->lock);

		if (slot && SLOT_PID(pool_slot(p, slot - 1)->state) == pid)
			return true;
	}
	return false;
}

static bool has_slot(pid_t pid)
{
	for (struct pool *p = pools; p < pools + mem_shm_shards; p++)
		for (uint32_t i = 0; i < p->live->slots_used; i++) {
			uint64_t state = pool_slot(p, i)->state;

			if (SLOT_PID(state) == pid &&
			    (SLOT_STATE(state) == SLOT_LIVE || SLOT_STATE(state) == SLOT_CLAIMING))
				return true;
		}
	return false;
}

/* ---- B ---- */

/* false: it made fewer than `ops` calls in that time. */
static bool b_works(unsigned ops, double ms)
{
	uint64_t from = b.board->worked;
	double end = now_ms() + ms;

	while (b.board->worked < from + ops) {
		if (now_ms() > end)
			return false;
		usleep(50);
	}
	return true;
}

static bool b_pauses(double ms)
{
	double end = now_ms() + ms;

	b.board->pause = 1;
	while (!b.board->paused) {
		if (now_ms() > end)
			return false;
		usleep(50);
	}
	return true;
}

static void b_resumes(void)
{
	b.board->pause = 0;
	while (b.board->paused)
		usleep(50);
}

/* ---- a kill ---- */

/* A at an instruction that chance picks. false: it ended, or it cannot be stepped. */
static bool bring_to_a_point(const char *program)
{
	uint64_t calls = step_pick(&dice, CALLS_MOST), steps;

	steps = 1 + step_pick(&dice, calls ? STEPS_MOST : ATTACH_STEPS);
	a.text = a.text_end = 0;
	if (!victim_start(&a, program, "step", dice, "1000000", true))
		return false;
	while (calls--)
		if (!victim_next(&a))
			return false;
	while (steps--)
		if (victim_step(&a) == STEP_ENDED)
			return false;
	return true;
}

static const char *look_while_paused(struct owner *const o[], bool reclaim)
{
	const char *what = NULL;
	uint64_t of_b = 0, all = 0;

	for (unsigned k = 0; !what && k < mem_shm_shards; k++) {
		struct pool *p = &pools[k];

		reap_pool(p, o[k]);
		if (reclaim) {
			uint32_t on_death = p->id->on_death;

			p->id->on_death = ON_DEATH_RECLAIM;
			reap_pool(p, o[k]);
			p->id->on_death = on_death;
		}
		what = look_pool(p, true);
		of_b += look_records_of(p, b.pid);
		all += p->live->counters.fragments - CACHED_COUNT(slot_cached(p));
	}
	if (what)
		return what;
	if (of_b != b.board->holds)
		return "B has not what it says";
	return reclaim && all != of_b ? "something is left of the dead" : NULL;
}

/* mmd alone: nobody else works, and we only look. */
static const char *wait_for_mmd(pid_t dead)
{
	double end = now_ms() + PATIENCE_MS;
	uint64_t all;

	do {
		all = 0;
		for (unsigned k = 0; k < mem_shm_shards; k++)
			all += pools[k].live->counters.fragments - CACHED_COUNT(slot_cached(&pools[k]));
		if (!has_slot(dead) && all == b.board->holds)
			return NULL;
		usleep(1000);
	} while (now_ms() < end);
	return has_slot(dead) ? "mmd does not see that the owner is dead" : "mmd does not reclaim what the dead had";
}

static const char *kill_one(const char *program, struct owner *const o[], bool hosted)
{
	bool zombie = step_pick(&dice, 2), in_call, holding, paused = false;
	pid_t pid;
	double from;

	if (!bring_to_a_point(program))
		return a.board->wrong[0] ? a.board->wrong : "the program cannot be stepped: is ptrace() allowed here?";
	pid = a.pid;
	holding = holds_lock(pid);
	in_call = a.at - a.text < a.text_end - a.text;
	if (!holding && !b_works(OPS, PATIENCE_MS))
		return "B waits for one who stands still and has no lock";
	if (holding)
		b_works(OPS, 2);	/* it may work in another shard */
	if (hosted && !holding)
		paused = b_pauses(PATIENCE_MS);
	from = now_ms();
	kill(pid, SIGKILL);
	if (!zombie)
		victim_reap(&a);
	if (paused) {
		const char *what = wait_for_mmd(pid);

		seen.hosted++;
		b_resumes();
		if (what)
			return what;
	}
	if (!b_works(1, PATIENCE_MS))
		return "B does not go on after the owner of the lock was killed";
	if (holding) {
		seen.sum_ms += now_ms() - from;
		seen.worst_ms = now_ms() - from > seen.worst_ms ? now_ms() - from : seen.worst_ms;
	}
	if (!b_works(OPS, PATIENCE_MS) || !b_pauses(PATIENCE_MS))
		return "B does not go on after another was killed";
	victim_reap(&a);
	seen.kills++;
	seen.in_calls += in_call;
	seen.holding += holding;
	seen.zombies += zombie;
	if (a.board->wrong[0])
		return a.board->wrong;
	if (b.board->wrong[0])
		return b.board->wrong;
	return look_while_paused(o, step_pick(&dice, 4) != 0);
}

/* ---- a pool ---- */

extern char **environ;

static pid_t start_mmd(const char *mmd, const char *registry, const char *manager)
{
	char conf[300], sock[300];
	char *argv[] = {
		(char *)(uintptr_t)mmd, (char *)(uintptr_t) "-c", conf, (char *)(uintptr_t) "--socket", sock, NULL
	};
	posix_spawn_file_actions_t quiet;
	pid_t pid;
	FILE *f;

	snprintf(conf, sizeof conf, "%s/mmd.conf", registry);
	snprintf(sock, sizeof sock, "%s/mmd.sock", registry);
	f = fopen(conf, "we");
	if (!f)
		return -1;
	fprintf(f, "[pool.step]\nsize = 2M\nmanager = %s\non_death = reclaim\n", manager);
	if (fclose(f))
		return -1;
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", 1, 0);
	if (posix_spawn(&pid, mmd, &quiet, NULL, argv, environ))
		pid = -1;
	posix_spawn_file_actions_destroy(&quiet);
	for (unsigned i = 0; pid > 0 && i < 500 && access(sock, F_OK); i++)
		usleep(10000);
	return pid;
}

static int run(const char *manager, uint64_t kills, const char *program, bool hosted)
{
	struct owner *o[SHARDS_MAX];
	const char *what = NULL;
	double end = now_ms() + PATIENCE_MS;
	int rc;

	while ((rc = hosted ? shm_attach("step") : shm_create("step", POOL_BYTES)) == -ENOENT && now_ms() < end)
		usleep(1000);		/* mmd has its socket before its pools */
	if (rc == 0 && mem_shm_ready(&o[0]))
		pools = mem_shm_pools;
	for (unsigned k = 1; pools && k < mem_shm_shards; k++) {
		struct pool *p;

		if (!mem_shm_use(&p, &o[k], k))
			pools = NULL;
	}
	if (!pools || !board_make(&a) || !board_make(&b) || !victim_start(&b, program, "step", dice, "works", false)) {
		fprintf(stderr, "step_kills: %s: %s\n", manager, memapi_error());
		return 2;
	}
	if (!b_works(OPS, PATIENCE_MS))
		what = "B does not begin";
	while (!what && seen.kills < kills) {
		what = kill_one(program, o, hosted);
		if (!what)
			b_resumes();
	}
	if (what)
		fprintf(stderr, "%s: kill %llu, call %llu (kind %u, %llu bytes) of A, at %#lx of the text: %s\n", manager,
			(unsigned long long)seen.kills, (unsigned long long)a.board->number, a.board->call.kind,
			(unsigned long long)a.board->call.size, (unsigned long)(a.at - a.text + a.text_from), what);
	for (unsigned k = 0; k < mem_shm_shards; k++)
		seen.rollbacks += pools[k].live->rollbacks;
	victim_kill(&a);
	victim_kill(&b);
	return what != NULL;
}

int main(int argc, char **argv)
{
	uint64_t kills = argc > 2 ? strtoull(argv[2], NULL, 10) : 0, seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	const char *registry = registry_make();
	double from = now_ms();
	char program[512];
	ssize_t n = readlink("/proc/self/exe", program, sizeof program - 20);
	pid_t mmd = 0;
	int rc;

	if (!kills || !registry || n <= 0) {
		fprintf(stderr, "usage: step_kills MANAGER KILLS [SEED [MMD]]\n");
		return 2;
	}
	program[n] = 0;
	strcpy(strrchr(program, '/') + 1, "step_victim");
	dice = seed;
	setenv("MEMAPI_CONFIG", "/dev/null", 1);
	setenv("MEMAPI_REGISTRY", registry, 1);
	setenv("MEMAPI_SHM_MANAGER", argv[1], 1);
	if (argc > 4)
		mmd = start_mmd(argv[4], registry, argv[1]);
	rc = mmd == -1 ? 2 : run(argv[1], kills, program, argc > 4);
	if (mmd > 0) {
		kill(mmd, SIGKILL);
		waitpid(mmd, NULL, 0);
	}
	printf("%s: %llu kills from seed %llu, %llu of them inside libmemapi.so, %llu with a lock held, %llu left as zombies, "
	       "%llu found by mmd alone; %llu rollbacks; after the death of a holder others went on in %.2f ms, at most %.1f ms; %.0f s\n",
	       argv[1], (unsigned long long)seen.kills, (unsigned long long)seed, (unsigned long long)seen.in_calls,
	       (unsigned long long)seen.holding, (unsigned long long)seen.zombies, (unsigned long long)seen.hosted,
	       (unsigned long long)seen.rollbacks, seen.holding ? seen.sum_ms / (double)seen.holding : 0.0,
	       seen.worst_ms, (now_ms() - from) / 1e3);
	registry_remove(registry);
	_exit(fflush(stdout) || rc ? rc ? rc : 2 : 0);
}
