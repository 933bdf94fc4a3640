/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 between any two stores of a call, and of the repair after it.
 *
 * The managers are built once more with a kill point before and after each step of undo_note(), HEAP_SET and
 * undo_commit(); undo_rollback() and the commit that ends a repair have them in this file. A call is made again and
 * again from the same start and dies at the first point, the second, …, at last after its last store and before the
 * commit. Then:
 *
 *	the repair dies at its first point, its second, …, and so does the one that comes after it, and is repeated,
 * each time from the same wreck; whatever happened, the pool must equal the last commit byte for byte, and be sound.
 *
 * The same managers are run with a store that is not logged; that this is caught is a test of its own.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <setjmp.h>

#include "scene.h"

enum { CALLS = 1200 };
enum { AGAIN_TURNS = 7 };		/* KILL_POINTS_ALL in the environment: second repairs die at each point */

static struct undo_log undo;
static struct scene scene;

static struct {
	bool in_call, is_heap;		/* zeros are no heap before init */
	unsigned points, die_at;	/* die_at 0: live */
	jmp_buf grave;
	uint64_t ended;			/* transactions, as undo.n tells them */
	/* before the call; when it was killed; when its repair was; at the last commit */
	struct pool start, wreck, second, ref;
	struct undo_log start_log, wreck_log, second_log;
	bool all;
	unsigned inside;		/* commits inside of the call */
	const char *wrong;
	uint64_t deaths, repairs, seconds; /* of the whole run: calls killed, their repairs, the repairs of these */
	unsigned most;			/* entries of a transaction */
} k;

static void copy(struct pool *to, const struct pool *from) { memcpy(to, from, pool_bytes(scene.ops)); }
static bool same(const struct pool *a, const struct pool *b) { return !memcmp(a, b, pool_bytes(scene.ops)); }

void kill_point(void)
{
	if (k.in_call && undo.n >> 16 != k.ended) {
		k.ended = undo.n >> 16;
		k.inside++;
		copy(&k.ref, scene.live);
	}
	if (++k.points == k.die_at)
		longjmp(k.grave, 1);
}

static void wrong(const char *what) { k.wrong = k.wrong ? k.wrong : what; }

/** The pool is what it was at the last commit: no more and no less. */
static void expect_ref(size_t used, const char *what)
{
	struct measure m;
	const char *unsound;

	if (!same(scene.live, &k.ref))
		wrong(what);
	else if (!k.is_heap)
		return;
	else if ((unsound = measure(scene.ops, &scene.heap, 7, &m)))
		wrong(unsound);
	else if (m.used != used)
		wrong("a commit inside of the call, which looks neither done nor not begun");
}

/** One repair of the wreck, which dies at point `at` (0: lives). Returns whether it died. */
static bool repair(unsigned at)
{
	k.points = 0;
	k.die_at = at;
	if (setjmp(k.grave))
		return true;
	undo_rollback(&undo, 0);
	undo_commit(&undo);
	k.die_at = 0;
	return false;
}

/* The repair has died. So does the next one, at each of its points, or at one that the turn picks. */
static void repair_again_in_all_ways(size_t used)
{
	unsigned at = k.all ? 1 : 1 + (unsigned)(k.repairs % AGAIN_TURNS);
	bool died;

	copy(&k.second, scene.live);
	k.second_log = undo;
	do {
		copy(scene.live, &k.second);
		undo = k.second_log;
		died = repair(at++);
		if (died)
			repair(0);
		k.seconds += died;
		expect_ref(used, "two repairs that were killed and repeated do not bring back the last commit");
	} while (k.all && died && !k.wrong);
}

static void repair_in_all_ways(size_t used)
{
	copy(&k.wreck, scene.live);
	k.wreck_log = undo;
	repair(0);
	expect_ref(used, "killed here, the call does not roll back to the last commit");
	for (unsigned at = 1; !k.wrong; at++) {
		copy(scene.live, &k.wreck);
		undo = k.wreck_log;
		if (!repair(at))
			break;
		k.repairs++;
		repair_again_in_all_ways(used);
	}
}

/** The call from its start; dies at point `at`. Returns whether it died. */
static bool attempt(const struct call *c, unsigned at, void **got)
{
	copy(scene.live, &k.start);
	copy(&k.ref, &k.start);
	undo = k.start_log;
	k.ended = undo.n >> 16;
	k.points = k.inside = 0;
	k.die_at = at;
	k.in_call = true;
	if (setjmp(k.grave)) {
		k.in_call = false;
		return true;
	}
	*got = scene_call(&scene, c);
	k.in_call = false;
	k.die_at = 0;
	return false;
}

static void call_in_all_ways(const struct call *c)
{
	void *got = NULL;
	bool died = true;

	copy(&k.start, scene.live);
	k.start_log = undo;
	for (unsigned at = 1; died && !k.wrong; at++) {
		died = attempt(c, at, &got);		/* the last time it lives, up to before the commit */
		k.most = undo_count(&undo) > k.most ? undo_count(&undo) : k.most;
		k.deaths++;
		repair_in_all_ways(k.inside ? scene_used_inside(&scene, c) : scene.used);
	}
	if (k.wrong)
		return;
	attempt(c, 0, &got);
	undo_commit(&undo);
	scene_made(&scene, c, got);
	copy(&k.ref, scene.live);
	k.is_heap = true;
	expect_ref(scene.used, "");
}

/** First thing wrong in a run of random calls, or NULL. */
static const char *run(const struct mem_manager_ops *ops, unsigned calls)
{
	memset(&k, 0, sizeof k);
	k.all = getenv("KILL_POINTS_ALL");
	scene_begin(&scene, ops, &undo, 7);
	/* who has pages of its own serves little of so small a pool, and gets more calls */
	for (unsigned i = 0; (i < calls || (k.deaths <= 10 * calls && i < 4 * calls)) && !k.wrong; i++) {
		struct call c = scene_next(&scene);

		call_in_all_ways(&c);
	}
	free(scene.live);
	return k.wrong;
}

EACH_MANAGER(kill_points, a_call_killed_at_any_store_never_happened_or_is_done)
{
	const char *what = run(c->kill, CALLS);

	cr_assert_null(what, "%s: call %zu: %s", c->name, scene.number, what);
	cr_assert_leq(k.most, c->kill->max_stores, "%s: %u stores in a transaction", c->name, k.most);
	cr_assert_gt(k.deaths, 10u * CALLS, "%s: only %llu deaths", c->name, (unsigned long long)k.deaths);
	cr_log_info("%s: calls killed %llu, their repairs %llu, the repairs of these %llu; %u stores at most", c->name,
		    (unsigned long long)k.deaths, (unsigned long long)k.repairs, (unsigned long long)k.seconds, k.most);
}

extern const struct mem_manager_ops ff_planted_kill_ops;

Test(kill_points, a_store_that_is_not_logged_is_caught)
{
	const char *what = run(&ff_planted_kill_ops, CALLS);

	cr_assert_not_null(what, "the harness is blind");
	cr_assert(strstr(what, "does not roll back"), "%s", what);
	cr_assert_null(run(&ff_kill_ops, 50), "and without it, all is well");
}
