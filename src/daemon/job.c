/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *	loop: job_start ─> thread: run ─> pipe ─> loop: on_done ─> the call is woken ─> done
 *	         └─ it got no CPU for a while ─> second thread: run ─┘     └─ its peer is gone: dropped
 *
 * A try belongs to its thread until its address came through the pipe; all else is the loop's alone. A job lives until
 * its call has ended and its threads have.
 */
#include "daemon/job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "ctl/memory.h"
#include "daemon/thread.h"

#define LOOK_NS 100000000ull		/* between two looks at a thread's CPU time */
enum { CLOSE_MS = 1000, THREADS_MAX = 2 * JOBS_MAX };
enum { SHARE = 10 };			/* one that got less than a tenth of a CPU does not come on */

struct try {
	struct job *job;
	bool idle, ok, runs;
	pthread_t thread;
	struct json_writer out;
};

struct job {
	job_fn *run;
	rpc_handler *done;
	rpc_drop_fn *drop;
	void *state;
	struct rpc_call *call;		/* NULL: it has ended, or its peer is gone */
	struct try first, second;
	struct try *found;		/* the one that was done first */
	uint64_t cpu_ns, looked;	/* of the first thread, at the last look; rpc_now() of that */
	struct job *next;
};

static int ends[2] = { -1, -1 };
static struct event *readable, *look;
static struct job *jobs;
static unsigned calls, threads;		/* that wait; that run, of calls whose peer is gone too */

static bool try_ready(const struct try *t) { return t->ok && !t->out.failed; }

static void job_free(struct job *j)
{
	struct job **at = &jobs;

	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	j->drop(j->state);
	jw_free(&j->first.out);
	jw_free(&j->second.out);
	ctl_free(j);
}

static void free_if_over(struct job *j)
{
	if (!j->call && !j->first.runs && !j->second.runs)
		job_free(j);
}

static void *body(void *arg)
{
	struct try *t = arg;

	if (t->idle)
		thread_idle();
	t->ok = t->job->run(t->job->state, &t->out);
	while (write(ends[1], &t, sizeof t) == -1 && errno == EINTR)
		;
	return NULL;
}

static bool try_start(struct job *j, struct try *t, bool idle)
{
	t->job = j;
	t->idle = idle;
	t->runs = !thread_start(&t->thread, "mmd-check", body, t);
	threads += t->runs;
	return t->runs;
}

static void take_one(struct try *t)
{
	struct job *j = t->job;

	pthread_join(t->thread, NULL);
	t->runs = false;
	threads--;
	if (!j->found) {
		j->found = t;
		if (j->call)
			rpc_wake(j->call);
	}
	free_if_over(j);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct try *t;

	(void)what, (void)arg;
	if (read(fd, &t, sizeof t) == (ssize_t)sizeof t)
		take_one(t);
}

/* ---- threads that do not come on ---- */

/* One still does not, although its job was begun anew: no other is tried meanwhile, nor left behind. */
static bool starved(void)
{
	for (const struct job *j = jobs; j; j = j->next)
		if (j->first.runs && j->second.job)
			return true;
	return false;
}

static bool comes_on(struct job *j)
{
	uint64_t was = j->cpu_ns, took = rpc_now() - j->looked;
	struct timespec t;
	clockid_t clock;

	if (took < LOOK_NS || pthread_getcpuclockid(j->first.thread, &clock) || clock_gettime(clock, &t))
		return true;			/* too early to tell, or it has just ended */
	j->cpu_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	j->looked += took;
	return j->cpu_ns - was >= took / SHARE;
}

static void look_again(void)
{
	static const struct timeval soon = { 0, LOOK_NS / 1000 };

	if (!event_pending(look, EV_TIMEOUT, NULL))
		event_add(look, &soon);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	bool more = false;

	(void)fd, (void)what, (void)arg;
	for (struct job *j = jobs; j; j = j->next)
		if (j->call && !j->found && j->first.idle && !j->second.runs) {
			if (!comes_on(j))
				(void)try_start(j, &j->second, false);
			more = true;
		}
	if (more)
		look_again();
}

/* ---- life ---- */

int jobs_open(struct event_base *base)
{
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	readable = event_new(base, ends[0], EV_READ | EV_PERSIST, on_done, NULL);
	look = event_new(base, -1, 0, on_look, NULL);
	return readable && look && !event_add(readable, NULL) ? 0 : -ENOMEM;
}

static bool wait_for(struct pollfd *done)
{
	uint64_t until = rpc_now() + CLOSE_MS * 1000000ull, now;
	int rc = -1;

	while (rc == -1 && (now = rpc_now()) < until) {	/* a child's end interrupts */
		rc = poll(done, 1, (int)((until - now) / 1000000) + 1);
		if (rc == -1 && errno != EINTR)
			break;
	}
	return rc > 0;
}

void jobs_close(void)
{
	struct pollfd done = { .fd = ends[0], .events = POLLIN };
	struct try *t;

	while (threads && wait_for(&done) && read(ends[0], &t, sizeof t) == (ssize_t)sizeof t)
		take_one(t);
	if (readable)
		event_free(readable);
	if (look)
		event_free(look);
	readable = look = NULL;
	if (threads)			/* they write there when they are done */
		return;
	close(ends[0]);
	close(ends[1]);
}

/* ---- of the call ---- */

static void call_gone(void *arg)
{
	struct job *j = arg;

	j->call = NULL;
	calls--;
	free_if_over(j);
}

static void call_woken(struct rpc_call *call)
{
	struct job *j = call->state;

	j->done(call);
	rpc_done(call);
}

const struct json_writer *job_found(const struct rpc_call *call)
{
	const struct job *j = call->state;

	return try_ready(j->found) ? &j->found->out : NULL;
}

bool job_start(struct rpc_call *call, job_fn *run, rpc_handler *done, rpc_drop_fn *drop, void *state, bool idle)
{
	bool room = calls < JOBS_MAX && threads < THREADS_MAX;
	struct job *j = room ? ctl_zalloc(sizeof *j) : NULL;

	if (!j) {
		rpc_fail(call, RPC_LIMIT, NULL, room ? "out of memory" : "too many checks run; try again");
		return false;
	}
	*j = (struct job){
		.run = run, .done = done, .drop = drop, .state = state, .call = call, .looked = rpc_now(), .next = jobs
	};
	if (!try_start(j, &j->first, idle && !starved())) {
		ctl_free(j);
		rpc_fail(call, RPC_LIMIT, NULL, "no thread for the check");
		return false;
	}
	jobs = j;
	calls++;
	look_again();
	rpc_later(call, call_woken, j, call_gone);
	rpc_wait(call);
	return true;
}
