/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A task that wakes takes the CPU from one whose slice is longer (EEVDF with PREEMPT_SHORT, Linux 6.12); the usual
 * slice is 0.7 ms on one processor, 2.8 ms on eight and more.
 */
#include "ctl/behind.h"

#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLICE_NS 4000000ull
#define OFFER_NS 50000ull

/* As the kernel's struct sched_attr in its first version; its own header collides with the C library's. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void ctl_go_behind(void)
{
	struct attr a = { .size = sizeof a };

	if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) || a.policy != SCHED_OTHER)
		return;
	a.policy = SCHED_BATCH;
	a.runtime = SLICE_NS;
	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}

void ctl_give_way(void)
{
	static _Thread_local uint64_t offered;
	struct timespec t;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	if (now - offered < OFFER_NS)
		return;
	sched_yield();
	offered = now;
}
