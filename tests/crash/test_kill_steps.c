/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 at every instruction of a call, on the code that ships.
 *
 * The call runs with the processor's trap flag set. After each instruction a copy of the pool is
 * rolled back with the log as it is, and must equal the pool at the last commit, byte for byte.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <signal.h>
#include <ucontext.h>

#include "scene.h"

enum { CALLS = 500, TRAP_FLAG = 0x100 };

static struct undo_log undo;
static struct scene scene;

static struct {
	volatile sig_atomic_t on;
	struct pool ref, copy;		/* at the last commit; now, rolled back */
	uint64_t n;			/* of the log, when looked at last */
	unsigned most, commits, steps;
	size_t used_inside;		/* fragments, at a commit inside of the call */
	const char *wrong;		/* first thing: told by the test, not by the handler */
} step;

static void wrong(const char *what) { step.wrong = step.wrong ? step.wrong : what; }

/** The pool at a commit is sound, and the call is done or not begun. */
static void look_at_commit(void)
{
	struct mem_heap h = scene.heap;
	struct measure m;
	const char *unsound;

	h.base = step.ref.data, h.roots = step.ref.roots, h.tally = &step.ref.tally;
	if ((unsound = measure(scene.ops, &h, 1000, &m)))
		wrong(unsound);
	else if (m.used != step.used_inside)
		wrong("commit inside of a call that is not done");
}

static void look(void)
{
	uint64_t n = *(volatile uint64_t *)&undo.n;

	step.steps++;
	if (n >> 16 != step.n >> 16) {
		memcpy(&step.ref, scene.live, pool_bytes(scene.ops));
		step.commits++;
		look_at_commit();
	}
	step.n = n;
	if (undo_count(&undo) > step.most)
		step.most = undo_count(&undo);
	for (unsigned i = 0; i < undo_count(&undo); i++)
		if ((uintptr_t)undo.e[i].word - (uintptr_t)scene.live >= pool_bytes(scene.ops)) {
			wrong("an entry counts before it is written");
			return;
		}
	memcpy(&step.copy, scene.live, pool_bytes(scene.ops));
	undo_rollback(&undo, (uintptr_t)&step.copy - (uintptr_t)scene.live);
	if (memcmp(&step.copy, &step.ref, pool_bytes(scene.ops)))
		wrong("killed here, it does not roll back");
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

	(void)sig, (void)info;
	*flags = step.on ? *flags | TRAP_FLAG : *flags & ~(greg_t)TRAP_FLAG;
	if (step.on && !step.wrong)
		look();
}

static void *stepped_call(const struct call *c)
{
	void *got;

	for (unsigned i = 0; i < UNDO_MAX; i++)		/* what an earlier call left there is not to be mistaken */
		undo.e[i].word = NULL;
	memcpy(&step.ref, scene.live, pool_bytes(scene.ops));
	step.n = undo.n;
	step.used_inside = scene_used_inside(&scene, c);
	step.on = 1;
	raise(SIGTRAP);
	got = scene_call(&scene, c);
	step.on = 0;
	look();				/* after the last store, before the commit */
	return got;
}

/** First thing wrong in a run of random calls, or NULL. */
static const char *run(const struct mem_manager_ops *ops, unsigned calls)
{
	memset(&step, 0, sizeof step);
	scene_begin(&scene, ops, &undo, 11);
	sigaction(SIGTRAP, &(struct sigaction){ .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO }, NULL);
	for (unsigned i = 0; i < calls && !step.wrong; i++) {
		struct call c = scene_next(&scene);
		void *got = stepped_call(&c);

		undo_commit(&undo);
		scene_made(&scene, &c, got);
		memcpy(&step.ref, scene.live, pool_bytes(ops));
		step.used_inside = scene.used;
		look_at_commit();
	}
	free(scene.live);
	return step.wrong;
}

EACH_MANAGER(kill_steps, a_call_killed_at_any_instruction_never_happened_or_is_done)
{
	const char *what = run(c->shm, CALLS);

	cr_assert_null(what, "%s: call %zu: %s", c->name, scene.number, what);
	cr_assert_leq(step.most, c->shm->max_stores, "%s: %u stores", c->name, step.most);
	cr_assert_gt(step.steps, 10u * CALLS, "%s: the processor did not step", c->name);
	cr_log_info("%s: %u instructions, %u commits inside of calls", c->name, step.steps, step.commits);
}

extern const struct mem_manager_ops ff_planted_shm_ops;

Test(kill_steps, a_store_that_is_not_logged_is_caught)
{
	const char *what = run(&ff_planted_shm_ops, CALLS);

	cr_assert_not_null(what, "the harness is blind");
	cr_assert_str_eq(what, "killed here, it does not roll back");
}
