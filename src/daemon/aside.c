/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *	loop: first slice, here ─> waiting ─> pipe ─> thread: a slice ─> pipe ─> loop: not done: waiting ─> …
 *	                              │                                            ├─ done: the call is woken, answered
 *	                              └─ the thread does not come on:              └─ its peer is gone: dropped
 *	                                 woken, slices in the loop
 *
 * One call at a time is lent to the thread, as a copy with its output; it is the thread's until its address came back.
 * The loop takes no lock of the reports' that the thread could hold, since one that nobody lets run would hold it for
 * long; mmd's own heap has one, held for the length of a call. What is lent to such a thread waits for its slice:
 * SLICE_NS at 0.3 % of a CPU. After that the thread is tried again only when the loop has worked for PATIENCE times as
 * long, so that reports lose a tenth by trying.
 */
#include "daemon/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include "ctl/memory.h"
#include "daemon/pick.h"
#include "daemon/thread.h"

#define FIRST_NS 100000ull		/* what was done by then never sees the thread */
#define SLICE_NS 2000000ull
#define STARVED_NS 100000000ull		/* a slice that takes so long does not come on */
#define SCAN_NS 1000000000ull		/* between two looks for pools that came and went */
enum { PATIENCE = 10 };

enum place { HERE, WAITING, LENT };

struct aside {
	rpc_handler *step;
	rpc_drop_fn *drop;
	void *state;
	struct rpc_call *call;		/* NULL: its peer is gone */
	enum place place;
	bool done, stays, went_on;	/* stays: never lent; went_on: has had a slice */
	bool *is_long;			/* of its kind */
	/* what the thread gets */
	struct rpc_call copy;
	struct rpc_peer peer;
	struct json_writer out;
	uint64_t ended, cpu_ns;		/* rpc_now() when the slice was done; what it took */
	bool scanned;			/* the thread knows the pools that were chosen */
	TAILQ_ENTRY(aside) next;
};

static TAILQ_HEAD(, aside) waiting = TAILQ_HEAD_INITIALIZER(waiting);
static int to[2] = { -1, -1 }, back[2] = { -1, -1 };
static struct event *readable, *tick;
static struct view *view;		/* the thread's */
static pthread_t thread;
static bool runs;
static struct aside *lent;
static uint64_t lent_at, alone_until;	/* rpc_now(); alone: the thread is not tried */

/* ---- a slice ---- */

static void lend(struct aside *a)
{
	a->copy = *a->call;
	a->copy.peer = &a->peer;
	a->copy.out = &a->out;
	a->copy.state = a->state;
	a->copy.step = a->step;
	a->out = *a->call->out;
	*a->call->out = (struct json_writer){ 0 };
}

static void take_back(struct aside *a)
{
	a->done = !a->copy.step || a->copy.error.code;
	*a->call->out = a->out;
	a->out = (struct json_writer){ 0 };
	a->call->error = a->copy.error;
}

static void slice(struct aside *a, struct view *through, uint64_t deadline)
{
	a->copy.context = through;
	a->copy.deadline = deadline;
	a->step(&a->copy);
}

static void slice_here(struct aside *a, uint64_t deadline)
{
	lend(a);
	slice(a, a->call->context, deadline);
	take_back(a);
}

/* ---- the thread ---- */

/* Without all of them the report would leave some out, and not say so. */
static bool look_for_pools(struct aside *a)
{
	static uint64_t scanned;
	int error;

	if (a->scanned && rpc_now() - scanned <= SCAN_NS)
		return true;
	error = obs_scan(view->obs, NULL, NULL);	/* the loop does so too, and logs what is wrong */
	if (error) {
		pick_unread(&a->copy, error);
		return false;
	}
	scanned = rpc_now();
	a->scanned = true;
	return true;
}

static uint64_t thread_cpu(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void *body(void *arg)
{
	struct aside *a;
	uint64_t began;
	bool good;

	(void)arg;
	thread_idle();
	while (read(to[0], &a, sizeof a) == (ssize_t)sizeof a && a) {
		good = look_for_pools(a);
		began = thread_cpu();
		if (good)
			slice(a, view, rpc_now() + SLICE_NS);
		a->cpu_ns = thread_cpu() - began;
		a->ended = rpc_now();
		while (write(back[1], &a, sizeof a) == -1 && errno == EINTR)
			;
	}
	return NULL;
}

static void hand_over(struct aside *a)
{
	while (write(to[1], &a, sizeof a) == -1 && errno == EINTR)
		;
}

/* ---- whose turn it is ---- */

static bool starved(void)
{
	uint64_t now = rpc_now();

	return !runs || now < alone_until || (lent && now - lent_at > STARVED_NS);
}

static void pump(void)
{
	static const struct timeval starved_after = { 0, STARVED_NS / 1000 };
	struct aside *a = TAILQ_FIRST(&waiting);

	if (lent || !a)
		return;
	TAILQ_REMOVE(&waiting, a, next);
	lend(a);
	a->place = LENT;
	lent = a;
	lent_at = rpc_now();
	event_add(tick, &starved_after);
	hand_over(a);
}

static void wait_for_turn(struct aside *a)
{
	a->place = WAITING;
	TAILQ_INSERT_TAIL(&waiting, a, next);
}

static void aside_free(struct aside *a)
{
	a->drop(a->state);
	json_object_put(a->copy.params);
	jw_free(&a->out);
	ctl_free(a);
}

/* A turn of the call in the loop. */
static void turn(struct rpc_call *call)
{
	struct aside *a = call->state;

	if (!a->done && (a->stays || starved()))
		slice_here(a, call->deadline);
	if (a->done) {
		rpc_done(call);
		return;
	}
	if (a->stays || starved())
		return;			/* another turn here */
	wait_for_turn(a);
	rpc_wait(call);
	pump();
}

static void come_back(struct aside *a)
{
	uint64_t took = a->ended - lent_at;	/* that the loop comes late to the pipe is not the thread's fault */

	lent = NULL;
	event_del(tick);
	if (took > STARVED_NS)
		alone_until = rpc_now() + took * PATIENCE;
	a->place = HERE;
	if (!a->call) {
		aside_free(a);
		return;
	}
	take_back(a);
	if (a->done && !a->went_on)
		*a->is_long = a->cpu_ns > FIRST_NS;
	a->went_on = true;
	if (a->done || starved())
		rpc_wake(a->call);
	else
		wait_for_turn(a);
}

/* Those that wait go on in the loop. */
static void wake_the_waiting(void)
{
	struct aside *a;

	while ((a = TAILQ_FIRST(&waiting))) {
		TAILQ_REMOVE(&waiting, a, next);
		a->place = HERE;
		rpc_wake(a->call);
	}
}

static void on_back(evutil_socket_t fd, short what, void *arg)
{
	struct aside *a;

	(void)what, (void)arg;
	if (read(fd, &a, sizeof a) != (ssize_t)sizeof a)
		return;
	come_back(a);
	if (starved())
		wake_the_waiting();
	else
		pump();
}

/* The one that is lent does not come back. A timer may be early by a tick of the kernel: it is the timer that counts.
 */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	alone_until = rpc_now() + STARVED_NS;
	wake_the_waiting();
}

/* ---- of the call ---- */

static void gone(void *arg)
{
	struct aside *a = arg;

	a->call = NULL;
	if (a->place == WAITING)
		TAILQ_REMOVE(&waiting, a, next);
	if (a->place != LENT)
		aside_free(a);
}

/*
 * What went beyond its first slice does so again, most likely. Then that slice is work of the loop, at normal priority,
 * that a worker of an observed program may have to wait for: it goes to the thread at once, until one of its kind
 * needed no more CPU time there.
 */
void aside_later(struct rpc_call *call, rpc_handler *step, void *state, rpc_drop_fn *drop, bool stays, bool *is_long)
{
	struct aside *a = ctl_zalloc(sizeof *a);
	uint64_t first = rpc_now() + FIRST_NS;

	if (!a) {
		drop(state);
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
		return;
	}
	*a = (struct aside){ .step = step, .drop = drop, .state = state, .call = call, .stays = stays,
			     .is_long = is_long, .peer = *call->peer };
	a->copy.params = json_object_get(call->params);
	rpc_later(call, turn, a, gone);
	runs = runs || !thread_start(&thread, "mmd-report", body, NULL);
	if (stays || starved() || !*is_long) {
		slice_here(a, first < call->deadline ? first : call->deadline);
		a->went_on = true;
		*is_long = !a->done;
	}
	turn(call);
}

/* ---- life ---- */

int aside_open(struct daemon *d)
{
	if (pipe2(to, O_CLOEXEC) || pipe2(back, O_CLOEXEC))
		return -errno;
	view = ctl_zalloc(sizeof *view);
	if (!view)
		return -ENOMEM;
	view->d = d;
	readable = event_new(d->base, back[0], EV_READ | EV_PERSIST, on_back, NULL);
	tick = event_new(d->base, -1, 0, on_tick, NULL);
	if (!readable || !tick || event_add(readable, NULL))
		return -ENOMEM;
	return obs_open(NULL, &view->obs);
}

void aside_close(void)
{
	struct aside *a;

	if (runs) {
		hand_over(NULL);
		pthread_join(thread, NULL);
	}
	runs = false;
	if (lent && read(back[0], &a, sizeof a) == (ssize_t)sizeof a)
		come_back(a);
	if (readable)
		event_free(readable);
	if (tick)
		event_free(tick);
	readable = tick = NULL;
	if (view)
		obs_close(view->obs);
	ctl_free(view);
	view = NULL;
	for (unsigned i = 0; i < 2; i++) {
		close(to[i]);
		close(back[i]);
	}
}
