/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Work that cannot be cut into slices runs in a thread of its own, and the call waits for it without a turn of the
 * loop.
 *
 * The thread touches nothing of the daemon's: it has its own observer and its own memory. It runs where nobody else
 * wants to; if it does not come on there, a second one begins the work anew at normal priority, and the first that is
 * done counts. JOBS_MAX calls at a time.
 */
#ifndef DAEMON_JOB_H
#define DAEMON_JOB_H

#include "daemon/daemon.h"

enum { JOBS_MAX = 4 };

/** Leaves `state` as it is, since two may run; writes what it found to `out`. Returns false when it could not. */
typedef bool job_fn(const void *state, struct json_writer *out);

/** Makes what job_start() needs. Returns 0 or -errno. */
int jobs_open(struct event_base *base);
/** Waits for the threads that run, and leaves those alone that take longer than a second: the process ends. */
void jobs_close(void);

/**
 * job_start - run(state) in a thread, then `done` in the loop, where it writes the call's result
 * @drop: frees `state`, after all of that, also when the peer went away meanwhile
 * @idle: where no other program wants the CPU, as long as it comes on there
 *
 * Returns true, or false after rpc_fail(); then `state` is still the caller's.
 */
bool job_start(struct rpc_call *call, job_fn *run, rpc_handler *done, rpc_drop_fn *drop, void *state, bool idle);

/** In `done`: what was written; NULL: run() could not, or there was no memory. */
const struct json_writer *job_found(const struct rpc_call *call);

#endif /* DAEMON_JOB_H */
