/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *	loop: job_start ─> thread: run ─> pipe ─> loop: on_done ─> the call is woken ─> done
 *	                                                        └─ its peer is gone: dropped
 *
 * A job belongs to the thread until its address came through the pipe; `call` is the loop's alone.
 */
#include "daemon/job.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "ctl/memory.h"

struct job {
	job_fn *run;
	rpc_handler *done;
	rpc_drop_fn *drop;
	void *state;
	struct rpc_call *call;		/* NULL: its peer is gone */
	bool finished;
	pthread_t thread;
};

static int ends[2] = { -1, -1 };
static struct event *readable;
static unsigned running;

static void job_free(struct job *j)
{
	j->drop(j->state);
	ctl_free(j);
}

static void *body(void *arg)
{
	struct job *j = arg;

	j->run(j->state);
	while (write(ends[1], &j, sizeof j) == -1 && errno == EINTR)
		;
	return NULL;
}

static void take_one(struct job *j)
{
	pthread_join(j->thread, NULL);
	running--;
	j->finished = true;
	if (j->call)
		rpc_wake(j->call);
	else
		job_free(j);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct job *j;

	(void)what, (void)arg;
	if (read(fd, &j, sizeof j) == (ssize_t)sizeof j)
		take_one(j);
}

int jobs_open(struct event_base *base)
{
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	readable = event_new(base, ends[0], EV_READ | EV_PERSIST, on_done, NULL);
	return readable && !event_add(readable, NULL) ? 0 : -ENOMEM;
}

void jobs_close(void)
{
	struct job *j;

	while (running && read(ends[0], &j, sizeof j) == (ssize_t)sizeof j)
		take_one(j);
	if (readable)
		event_free(readable);
	readable = NULL;
	close(ends[0]);
	close(ends[1]);
}

/* ---- of the call ---- */

static void call_gone(void *arg)
{
	struct job *j = arg;

	j->call = NULL;
	if (j->finished)
		job_free(j);
}

static void call_woken(struct rpc_call *call)
{
	struct job *j = call->state;

	j->done(call);
	rpc_done(call);
}

void *job_state(const struct rpc_call *call) { return ((struct job *)call->state)->state; }

bool job_start(struct rpc_call *call, job_fn *run, rpc_handler *done, rpc_drop_fn *drop, void *state)
{
	struct job *j = running < JOBS_MAX ? ctl_zalloc(sizeof *j) : NULL;
	sigset_t all, old;
	int error;

	if (!j) {
		rpc_fail(call, RPC_LIMIT, NULL, running < JOBS_MAX ? "out of memory" : "too many checks run; try again");
		return false;
	}
	*j = (struct job){ .run = run, .done = done, .drop = drop, .state = state, .call = call };
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);	/* signals are the loop's */
	error = pthread_create(&j->thread, NULL, body, j);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error) {
		ctl_free(j);
		rpc_fail(call, RPC_LIMIT, NULL, "no thread for the check");
		return false;
	}
	running++;
	rpc_later(call, call_woken, j, call_gone);
	rpc_wait(call);
	return true;
}
