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
#define BUSY_NS 1000000ull		/* somebody took more than a request takes */
enum { BUSY_PATIENCE = 10 };

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

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Who yields gives up all of its slice (Linux 6.18): beside who computes all the time it would get next to nothing. */
void ctl_give_way(void)
{
	static _Thread_local uint64_t next;
	uint64_t began = now_ns(), ended;

	if (began < next)
		return;
	sched_yield();
	ended = now_ns();
	next = ended + (ended - began < BUSY_NS ? OFFER_NS : (ended - began) * BUSY_PATIENCE);
}
