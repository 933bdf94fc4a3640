/* SPDX-License-Identifier: BSD-2-Clause */
/* What threads that report have in common: who is observed goes first, and signals are the loop's. */
#ifndef DAEMON_THREAD_H
#define DAEMON_THREAD_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "ctl/memory.h"

/**
 * The calling thread runs where nobody else wants to: whoever wakes up gets its CPU at once (Linux, SCHED_IDLE; between
 * tasks of one group). There is no way back without privilege. On a busy machine it gets some 0.3 % of a CPU: whatever
 * must end needs another way to. A thread's first allocation sets up its magazines with the heap's lock, which takes
 * page faults: that is done before, or the loop would wait for the lock.
 */
static inline void thread_idle(void)
{
	ctl_free(ctl_zalloc(1));
	(void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 });
}

/** A thread that no signal disturbs; `name`, 15 bytes at most, is for who looks at mmd's. Returns 0 or an error number.
 */
static inline int thread_start(pthread_t *ret_thread, const char *name, void *(*body)(void *), void *arg)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(ret_thread, NULL, body, arg);
	if (!error)
		(void)pthread_setname_np(*ret_thread, name);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return error;
}

#endif /* DAEMON_THREAD_H */
