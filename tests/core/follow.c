/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An operator asks for other features while a thread is held up between two instructions of a call, at each of them in
 * turn: a signal handler does meanwhile what its own thread, another one, or the operator would do.
 *
 *	follow MANAGER[+SHARDS]		in its private heap, then in a shared pool
 *
 * Whatever is wanted in the end is what is followed after one more call of anybody, and every fragment is what its heap
 * believes it to be: no free of a good one is refused, and a check finds nothing.
 */
#include <memapi/memapi.h>
#include <memapi/observe.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

#include "expect.h"
#include "mem/pool.h"
#include "mem/reap/reap.h"

enum { SHORT = 100, LONG = 250, CALL_MOST = 5000, SIZES = 7, SMALL = 64 };

static const uint64_t wishes[] = { 0, FEATURE_SITES, FEATURE_SITES | FEATURE_GUARDS };
enum { WISHES = sizeof wishes / sizeof *wishes };

static unsigned faults;
static char last[160];
static unsigned reaped;

size_t __real_reap_pool(struct pool *p, struct owner *o);
size_t __wrap_reap_pool(struct pool *p, struct owner *o);
size_t __wrap_reap_pool(struct pool *p, struct owner *o)
{
	reaped++;
	return __real_reap_pool(p, o);
}

static void on_fault(const struct mem_fault_report *report)
{
	if (report->kind == MEM_DEADLOCK)
		return;			/* a handler's call inside of another one: it has not happened */
	faults++;
	snprintf(last, sizeof last, "%.159s", report->text);
}

/* ---- held up at an instruction ---- */

static void (*meanwhile)(void);
static volatile unsigned long left;
static volatile bool came;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)sig, (void)info;
	if (--left)
		return;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)0x100;
	came = true;
	meanwhile();
	errno = saved;
}

/* The flag is set while the call runs; the kernel clears it for the handler. Below the stack is the red zone. */
#define TRAP(on) __asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq $-257, (%%rsp); orq %0, (%%rsp); popfq; "	\
				  "lea 128(%%rsp), %%rsp" : : "i"((on) << 8) : "cc", "memory")

/* false: the call has fewer instructions. */
static bool held_up(unsigned long n, void (*call)(void), void (*others)(void))
{
	meanwhile = others;
	left = n;
	came = false;
	TRAP(1);
	call();
	TRAP(0);
	return came;
}

/* ---- the calls ---- */

static bool shared;
static void *held, *other_held[2 * SIZES];
static uint64_t now, next;

static void *get(size_t size) { return shared ? shm_malloc(size) : pkg_malloc(size); }
static void let_go(void *p)
{
	if (shared)
		shm_free(p);
	else
		pkg_free(p);
}

static unsigned shards(void) { return shared ? mem_shm_shards : mem_pkg_shards; }
static struct pool *pool(unsigned k) { return shared ? &mem_shm_pools[k] : &mem_pkg_pools[k]; }

static void wish(uint64_t features)
{
	for (unsigned k = 0; k < shards(); k++)
		atomic_store(&pool(k)->live->wanted, features);
}

static void take_one(void) { held = get(SMALL); }
static void put_one(void)
{
	let_go(held);
	held = NULL;
}

/* Some of each size near SMALL: whatever the heads and tails, some are of the size that the call is about. */
static void come_and_go(void)
{
	void *p[2 * SIZES];

	for (unsigned i = 0; i < 2 * SIZES; i++)
		p[i] = get(SMALL - 24 + i / 2 * 8);
	for (unsigned i = 0; i < 2 * SIZES; i++) {
		if (p[i])
			memset(p[i], 0xa5, SMALL - 24);
		let_go(p[i]);
	}
}

static void take_some(void)
{
	for (unsigned i = 0; i < 2 * SIZES; i++) {
		other_held[i] = get(SMALL - 24 + i / 2 * 8);
		if (other_held[i])
			memset(other_held[i], 0xa5, SMALL - 24);
	}
}

static void put_some(void)
{
	for (unsigned i = 0; i < 2 * SIZES; i++)
		let_go(other_held[i]);
}

/* ---- another thread ---- */

static pthread_barrier_t go, done;
static void (*task)(void);

static void *work(void *arg)
{
	for (;;) {
		pthread_barrier_wait(&go);
		if (!task)
			return arg;
		task();
		pthread_barrier_wait(&done);
	}
}

static void other_does(void (*fn)(void))
{
	task = fn;
	pthread_barrier_wait(&go);
	if (fn)
		pthread_barrier_wait(&done);
}

static bool locked(void)
{
	for (unsigned k = 0; k < shards(); k++)
		if (shared ? atomic_load(&pool(k)->live->lock) != 0 : atomic_load(&pool(k)->mutex) != 0)
			return true;
	return false;
}

/* ---- what happens meanwhile ---- */

static void handler_follows(void)
{
	wish(next);
	come_and_go();
}

static bool due;

/* `now` is wanted again, and the other one does what it wants; who waits for the lock has found a dead owner. */
static void others_go_back(void)
{
	wish(now);
	if (!locked())
		other_does(come_and_go);
	if (!shared)
		return;
	reaped = 0;
	due = true;
	atomic_fetch_or(&mem_shm_pool.features, POOL_REAP_DUE);
}

/* ---- afterwards ---- */

static struct obs *obs;

static void expect_sound(unsigned long n)
{
	char id[64];

	snprintf(id, sizeof id, shared ? "shm:%d:1" : "pkg:%d:1", getpid());
	EXPECT(obs_scan(obs, NULL, NULL) == 0);

	struct obs_pool *p = obs_find(obs, id);
	struct obs_check check = { .ok = false };

	EXPECT(p && obs_check(p, &check, NULL, NULL) == 0);
	if (faults || (check.known && !check.ok))
		fprintf(stderr, "%s, %#lx -> %#lx, at instruction %lu: %s\n", shared ? "shm" : "pkg", (unsigned long)now,
			(unsigned long)next, n, faults ? last : "a check finds something");
	EXPECT(!faults && (check.ok || !check.known));
}

static void expect_followed(unsigned long n, uint64_t wanted)
{
	uint64_t may = shared || mem_can_track(mem_pkg_pool.ops) ? UINT64_MAX : FEATURES_ALWAYS;
	uint64_t features = (wanted & may) | (shared ? FEATURE_SITES : 0);

	for (unsigned k = 0; k < shards(); k++) {
		struct pool *p = pool(k);
		bool closed = features & (FEATURE_GUARDS | FEATURE_NO_MAGAZINES);

		if (shards() > 1 && p->features != p->live->wanted)
			continue;	/* a shard that the thread does not come to */
		if (p->features != features || p->live->features != features || p->live->wanted != features)
			fprintf(stderr, "%s, %#lx -> %#lx -> back, at instruction %lu: follows %#lx\n",
				shared ? "shm" : "pkg", (unsigned long)now, (unsigned long)next, n,
				(unsigned long)p->features);
		EXPECT(p->features == features && p->live->features == features && p->live->wanted == features);
		if (shared)
			EXPECT(closed == !p->magazine_most && (closed || p->magazine_quick || shards() > 1));
	}
	if (due)
		EXPECT(reaped && !(mem_shm_pool.features & POOL_REAP_DUE));
}

static void settle(uint64_t features)
{
	wish(features);
	come_and_go();
	come_and_go();
}

/* ---- the tests ---- */

static unsigned long points;

/* Each instruction up to one, and a few of what is long: to come to the nth costs n traps. */
static unsigned long step_from(unsigned long n, unsigned long dense) { return n < dense ? 1 : n / 2 + points % 7; }

/* The handler's own thread: what it did is done when the interrupted call goes on. */
static void a_handler_follows(void (*call)(void))
{
	for (unsigned long n = 1; n < CALL_MOST; n += step_from(n, SHORT)) {
		settle(now);
		held = call == put_one ? get(SMALL) : NULL;
		if (!held_up(n, call, handler_follows))
			n = CALL_MOST;
		points++;
		EXPECT(call == put_one || held);
		come_and_go();
		take_some();
		if (held)
			put_one();
		put_some();
		expect_sound(n);
		expect_followed(n, came ? next : now);
	}
}

/* It has looked at a wish that is not wanted any more when it goes on, and never calls again. */
static void a_wish_comes_and_goes(void)
{
	for (unsigned long n = 1; n < CALL_MOST; n += step_from(n, LONG)) {
		settle(now);
		other_does(come_and_go);
		due = false;
		wish(next);
		if (!held_up(n, take_one, others_go_back)) {
			n = CALL_MOST;
			wish(now);
		}
		points++;
		other_does(come_and_go);
		expect_followed(n, now);
		let_go(held);
		expect_sound(n);
	}
	due = false;
}

static void each_pair(bool threads)
{
	for (unsigned i = 0; i < WISHES * WISHES; i++) {
		now = wishes[i / WISHES];
		next = wishes[i % WISHES];
		if (now == next)
			continue;
		if (threads) {
			a_wish_comes_and_goes();
		} else {
			a_handler_follows(take_one);
			a_handler_follows(put_one);
		}
	}
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 2 || pkg_init_manager(argv[1]) || shm_init_manager(argv[argc - 1])) {
		fprintf(stderr, "usage: follow MANAGER [MANAGER-OF-SHM]; %s\n", memapi_error());
		return 2;
	}
	EXPECT(obs_open(NULL, &obs) == 0);
	memapi_on_fault(on_fault);
	sigaction(SIGTRAP, &(struct sigaction){ .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO }, NULL);
	for (unsigned domain = 0; domain < 2; domain++) {
		shared = domain;
		each_pair(false);
	}
	pthread_barrier_init(&go, NULL, 2);
	pthread_barrier_init(&done, NULL, 2);
	EXPECT(pthread_create(&thread, NULL, work, NULL) == 0);
	for (unsigned domain = 0; domain < 2; domain++) {
		shared = domain;
		each_pair(true);
	}
	other_does(NULL);
	pthread_join(thread, NULL);
	obs_close(obs);
	printf("%lu points\n", points);
	return 0;
}
