/* SPDX-License-Identifier: BSD-2-Clause */
/* The contract is in stalls.h. What was noted is published by its number, the oldest is forgotten. */
#include "stalls.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "bench.h"

enum { CPUS_MAX = 64, KEPT = 1024 };
enum { PERIOD_NS = 500000, LATE_NS = 200000, PRIORITY = 50 };
#define BACK_NS 1000000000ull			/* how far back a stall may still matter */

struct stall { _Atomic uint64_t from, to; };

static struct watcher {
	pthread_t thread;
	struct stall stall[KEPT];
	_Atomic unsigned count;
} watchers[CPUS_MAX];

static unsigned count;
static _Atomic bool over;

static void note(struct watcher *w, uint64_t late)
{
	uint64_t now = bench_ns(CLOCK_REALTIME);
	unsigned n = atomic_load(&w->count);

	atomic_store(&w->stall[n % KEPT].from, now - late);
	atomic_store(&w->stall[n % KEPT].to, now);
	atomic_store(&w->count, n + 1);
}

static void *watch(void *arg)
{
	struct watcher *w = arg;
	uint64_t due = bench_ns(CLOCK_MONOTONIC), now;

	while (!atomic_load(&over)) {
		struct timespec at = { (time_t)(due / 1000000000u), (long)(due % 1000000000u) };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		now = bench_ns(CLOCK_MONOTONIC);
		if (now - due > LATE_NS)
			note(w, now - due);
		due = (now - due > LATE_NS ? now : due) + PERIOD_NS;
	}
	return NULL;
}

static bool watcher_start(struct watcher *w, size_t cpu)
{
	pthread_attr_t attr;
	cpu_set_t one;
	bool ok;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	atomic_store(&w->count, 0);
	pthread_attr_init(&attr);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &(struct sched_param){ .sched_priority = PRIORITY });
	pthread_attr_setaffinity_np(&attr, sizeof one, &one);
	ok = !pthread_create(&w->thread, &attr, watch, w);
	pthread_attr_destroy(&attr);
	return ok;
}

bool stalls_begin(void)
{
	cpu_set_t cpus;

	count = 0;
	atomic_store(&over, false);
	if (sched_getaffinity(0, sizeof cpus, &cpus))
		return false;
	for (size_t cpu = 0; cpu < CPU_SETSIZE && count < CPUS_MAX; cpu++)
		if (CPU_ISSET(cpu, &cpus)) {
			if (!watcher_start(&watchers[count], cpu))
				break;
			count++;
		}
	return count;
}

void stalls_end(void)
{
	atomic_store(&over, true);
	while (count)
		pthread_join(watchers[--count].thread, NULL);
}

bool stalls_between(uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < count; i++) {
		struct watcher *w = &watchers[i];
		unsigned n = atomic_load(&w->count), oldest = n > KEPT ? n - KEPT : 0;

		while (n-- > oldest) {
			uint64_t began = atomic_load(&w->stall[n % KEPT].from),
				 ended = atomic_load(&w->stall[n % KEPT].to);

			if (ended + BACK_NS < from)
				break;
			if (from < ended + (ended - began) + PERIOD_NS && to + PERIOD_NS > began)
				return true;
		}
	}
	return false;
}
