/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long do others wait when the holder of a shared pool's lock is killed?
 *
 * A holder allocates and frees without pause and is killed at a random time; kills that find it outside of the lock are
 * not counted. A waiter does the same all the time, and notes when its first call after a take-over is done. Told is
 * the time from the kernel's word (the pidfd is readable) to that call's end, in a pool of 1,000 and of 1,000,000
 * fragments; the kernel marks the dead owner's slot a little earlier, so that a waiter may be done before: that counts
 * as 0. Beside it the time from kill(), which has the kernel's own part in it, and what the roll-back alone took. The
 * waiter and the clock run in real time where that is permitted, and sleep most of it: asked is how long the library
 * waits, not who else is on the machine.
 */
#include "bench.h"

#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/pool.h"

enum { SAMPLES = 300, SAMPLES_MOST = 1500, HELD = 64, TRIES = 6 };

/* One anonymous page that the three share. */
static struct stage {
	_Atomic unsigned ready, done;		/* the holder is at work; calls of the waiter after a take-over */
	_Atomic uint64_t done_ns;		/* when the last of these ended */
	double sample[3][SAMPLES_MOST];		/* us: from the kernel's word, from kill(), the roll-back */
	unsigned count, kills;
	char error[160];
} * stage;

static void traffic(uint64_t seed, void (*after)(void))
{
	void *held[HELD] = { 0 };

	for (;;) {
		void **p = &held[bench_random(&seed) % HELD];

		shm_free(*p);
		*p = shm_malloc(16 + bench_random(&seed) % 1000);
		if (after)
			after();
	}
}

static uint64_t recoveries(void) { return atomic_load_explicit(&mem_shm_pool.live->recoveries, memory_order_relaxed); }

static void look_for_recovery(void)
{
	static uint64_t seen;
	uint64_t ended = bench_ns(CLOCK_MONOTONIC), now = recoveries();

	nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	if (now == seen)
		return;
	seen = now;
	atomic_store(&stage->done_ns, ended);
	atomic_fetch_add(&stage->done, 1);
}

static bool in_real_time(void)
{
	return sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &(struct sched_param){ .sched_priority = 1 }) ==
	       0;
}

static pid_t holder(unsigned n)
{
	pid_t pid = fork();

	if (pid == 0) {
		bench_pin(0);
		if (!shm_malloc(16))
			_exit(1);
		atomic_store(&stage->ready, 1);
		traffic(n * 2654435761u + 1, NULL);
	}
	return pid;
}

static double us(uint64_t to, uint64_t from) { return to > from ? (double)(to - from) / 1e3 : 0; }

static double last_rollback_us(void)
{
	const struct meta_recovery *ring = (const void *)(mem_shm_pool.meta + META_RECOVERIES);

	return (double)ring[(recoveries() - 1) % RING_MAX].ns / 1e3;
}

/* One kill. Returns NULL, or what went wrong. */
static const char *kill_one(unsigned n, uint64_t *seed)
{
	uint64_t killed, certified, before = recoveries();
	unsigned done = atomic_load(&stage->done);
	struct timespec pause = { .tv_nsec = 100000 + bench_random(seed) % 2000000 };
	struct pollfd word = { .events = POLLIN };
	pid_t pid;

	atomic_store(&stage->ready, 0);
	pid = holder(n);
	word.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid == -1 || word.fd == -1)
		return "no child, or no pidfd";
	while (!atomic_load(&stage->ready))
		usleep(50);
	nanosleep(&pause, NULL);
	killed = bench_ns(CLOCK_MONOTONIC);
	kill(pid, SIGKILL);
	poll(&word, 1, -1);
	certified = bench_ns(CLOCK_MONOTONIC);
	close(word.fd);
	waitpid(pid, NULL, 0);
	stage->kills++;
	for (unsigned i = 0; i < 40 && recoveries() == before; i++)	/* 20 ms: long enough for any waiter */
		usleep(500);
	if (recoveries() == before)
		return NULL;		/* it did not hold the lock */
	for (unsigned i = 0; i < 20000 && atomic_load(&stage->done) == done; i++)
		usleep(500);
	if (atomic_load(&stage->done) == done)
		return "the waiter is stuck";
	stage->sample[0][stage->count] = us(atomic_load(&stage->done_ns), certified);
	stage->sample[1][stage->count] = us(atomic_load(&stage->done_ns), killed);
	stage->sample[2][stage->count++] = last_rollback_us();
	return NULL;
}

struct job { const char *manager; size_t fragments; unsigned samples; };

static const char *play(const struct job *job)
{
	uint64_t seed = 88172645463325252ull;
	const char *error = NULL;
	char size[32];
	pid_t waiter;

	in_real_time();			/* of this child, too */
	snprintf(size, sizeof size, "%zu", job->fragments * 160 + (32u << 20));
	setenv("MEMAPI_SHM_SIZE", size, 1);
	setenv("MEMAPI_SHARDS", "1", 1);
	setenv("MEMAPI_MAGAZINES", "no", 1);	/* the holder shall hold the lock */
	if (shm_init_manager(job->manager))
		return memapi_error();
	for (size_t i = 0; i < job->fragments; i++)
		if (!shm_malloc(64))
			return "the pool is too small";
	waiter = fork();
	if (waiter == 0) {
		in_real_time();
		bench_pin(1);
		traffic(7, look_for_recovery);
	}
	for (unsigned n = 0; !error && stage->count < job->samples && n < job->samples * TRIES; n++)
		error = kill_one(n, &seed);
	kill(waiter, SIGKILL);
	waitpid(waiter, NULL, 0);
	return error ? error : stage->count < 10 ? "too few kills met the lock" : NULL;
}

static void measure(const void *arg, struct bench_result *result)
{
	const char *error = play(arg);

	if (error)
		snprintf(result->error, sizeof result->error, "%s", error);
	_exit(0);				/* a million fragments need not be freed one by one */
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* value[0..2]: p50, p99, max */
static void percentiles(double *sample, unsigned count, double value[3])
{
	qsort(sample, count, sizeof *sample, by_value);
	value[0] = sample[count / 2];
	value[1] = sample[(count - 1) * 99 / 100];
	value[2] = sample[count - 1];
}

static void print(const struct bench_options *o, const struct job *job, const char *error, double of[3][3])
{
	static const char *const names[3] = { "certified", "killed", "rollback" };

	if (o->json) {
		printf("{\"bench\":\"recovery\",\"manager\":\"%s\",\"fragments\":%zu,\"kills\":%u,\"samples\":%u", job->manager,
		       job->fragments, stage->kills, stage->count);
		for (unsigned i = 0; i < 3 && !*error; i++)
			printf(",\"%s_us\":{\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f}", names[i], of[i][0], of[i][1], of[i][2]);
		if (*error)
			printf(",\"error\":"), bench_json_string(stdout, error);
		puts("}");
	} else if (*error) {
		printf("%-6s %9zu  %s\n", job->manager, job->fragments, error);
	} else {
		printf("%-6s %9zu %7u |", job->manager, job->fragments, stage->count);
		for (unsigned i = 0; i < 3; i++)
			printf(" %8.1f %8.1f %8.1f |", of[i][0], of[i][1], of[i][2]);
		putchar('\n');
	}
	fflush(stdout);
}

/* Adds the median and the 99th percentile to the goals' series. */
static bool run(const struct bench_options *o, const struct job *job, struct bench_series *p50,
		struct bench_series *p99)
{
	struct bench_result result = { .error = "" };
	double of[3][3] = { 0 };

	memset(stage, 0, sizeof *stage);
	bench_in_child(measure, job, &result);
	for (unsigned i = 0; i < 3 && !result.error[0]; i++)
		percentiles(stage->sample[i], stage->count, of[i]);
	print(o, job, result.error, of);
	if (result.error[0])
		return false;
	bench_add(p50, of[0][0] / 1e3);
	bench_add(p99, of[0][1] / 1e3);
	return true;
}

int main(int argc, char **argv)
{
	static const size_t fragments[] = { 1000, 1000000 };
	struct bench_series p50 = { .n = 0 }, p99 = { .n = 0 };
	const struct mem_manager *m;
	struct bench_options o;
	bool ok = true;

	bench_options(argc, argv, "Times how long others wait for a lock whose holder was killed.", &o);
	bench_sandbox();
	stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED)
		return 1;
	if (!in_real_time() && !o.json)
		puts("no right to run in real time: what else runs on this machine is in the figures");
	bench_machine(&o, "recovery");
	if (!o.json)
		printf("%-6s %9s %7s | %-26s | %-26s | %-26s |\n%24s | %8s %8s %8s | %8s %8s %8s | %8s %8s %8s |\n", "", "fragments",
		       "samples", "from the kernel's word, us", "from kill(), us", "roll-back alone, us", "", "p50", "p99",
		       "max", "p50", "p99", "max", "p50", "p99", "max");
	for (size_t i = 0; (m = mem_manager_at(i)); i++)
		for (unsigned k = 0; k < 2 && m->shm && m->shards <= 1; k++) {
			double samples = SAMPLES * o.scale;
			struct job job = { m->name, fragments[k],
					   samples < SAMPLES_MOST ? (unsigned)samples : SAMPLES_MOST };

			if (!o.only || strstr(m->name, o.only))
				ok &= run(&o, &job, &p50, &p99);
		}
	if (!o.json)
		putchar('\n');
	ok &= bench_goal(&o, "recovery", "others go on after the kernel's word, median of a pool's kills, ms: <= 2", &p50, 2);
	ok &= bench_goal(&o, "recovery", "others go on after the kernel's word, 99 of 100 kills, ms: <= 2", &p99, 2);
	return ok ? 0 : 1;
}
