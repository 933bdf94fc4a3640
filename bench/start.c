/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does the library add to the start of a program?
 *
 * 300 starts by posix_spawn of a program that returns at once: bare, linked with libmemapi, and with one pkg_malloc or
 * one shm_malloc. "linked" and what follows finds the library at once, as an installed one is found by the loader's
 * cache; "by RUNPATH" is a program as it is built in this tree, for which the loader first looks into a dozen
 * directories that are not there: what any library costs that is not installed.
 *
 * All kinds take turns, start by start, on one CPU, so that what else the machine does meets all of them. What a round
 * tells is the median of its starts, of the time until the child is waited for and of the CPU that it took; ratios are
 * to the bare one of the same round.
 */
#include "bench.h"

#include <errno.h>
#include <libgen.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { STARTS = 300, STARTS_MAX = 3000 };

/** us of each start of a round. */
struct starts { double wall[STARTS_MAX], cpu[STARTS_MAX]; };

static struct kind {
	const char *name, *program;
	struct bench_series wall, cpu, wall_ratio, cpu_ratio;	/* us, us, to bare */
	struct starts now;
	char path[4096];
	bool failed;
} kinds[] = {
	{ .name = "bare", .program = "bench_start_bare" },
	{ .name = "linked", .program = "bench_start_linked" },
	{ .name = "by RUNPATH", .program = "bench_start_runpath" },
	{ .name = "one pkg_malloc", .program = "bench_start_pkg" },
	{ .name = "one shm_malloc", .program = "bench_start_shm" },
};
enum { KINDS = sizeof kinds / sizeof *kinds, BARE = 0, LINKED = 1 };

static void find_programs(const char *self)
{
	char *copy = strdup(self);
	const char *dir = copy ? dirname(copy) : ".";

	for (unsigned i = 0; i < KINDS; i++)
		snprintf(kinds[i].path, sizeof kinds[i].path, "%s/%s", dir, kinds[i].program);
	free(copy);
}

static double microseconds(const struct timeval *t) { return (double)t->tv_sec * 1e6 + (double)t->tv_usec; }

static bool start_once(char *path, double *ret_wall, double *ret_cpu)
{
	uint64_t from = bench_ns(CLOCK_MONOTONIC);
	char *args[] = { path, NULL };
	struct rusage used;
	int status;
	pid_t pid;

	if (posix_spawn(&pid, path, NULL, NULL, args, environ))
		return false;
	while (wait4(pid, &status, 0, &used) == -1)
		if (errno != EINTR)
			return false;
	*ret_wall = (double)(bench_ns(CLOCK_MONOTONIC) - from) / 1e3;
	*ret_cpu = microseconds(&used.ru_utime) + microseconds(&used.ru_stime);
	return status == 0;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof *v, by_size);
	return v[n / 2];
}

static void one_round(unsigned starts)
{
	double wall[KINDS], cpu[KINDS];

	for (unsigned n = 0; n < starts; n++)
		for (unsigned i = 0; i < KINDS; i++) {
			struct kind *k = &kinds[n % 2 ? KINDS - 1 - i : i];

			if (!k->failed && !start_once(k->path, &k->now.wall[n], &k->now.cpu[n]))
				k->failed = true;
		}
	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &kinds[i];

		if (k->failed)
			continue;
		bench_add(&k->wall, wall[i] = median(k->now.wall, starts));
		bench_add(&k->cpu, cpu[i] = median(k->now.cpu, starts));
		if (kinds[BARE].failed)
			continue;
		bench_add(&k->wall_ratio, wall[i] / wall[BARE]);
		bench_add(&k->cpu_ratio, cpu[i] / cpu[BARE]);
	}
}

static void print(const struct bench_options *o, const struct kind *k)
{
	struct bench_spread wall = bench_spread(&k->wall_ratio), cpu = bench_spread(&k->cpu_ratio);

	if (!o->json) {
		if (k->failed)
			printf("%-16s did not run\n", k->name);
		else
			printf("%-16s %8.0f us wall   %.2f [%.2f-%.2f] x bare %8.0f us CPU   %.2f [%.2f-%.2f] x bare\n",
			       k->name, bench_spread(&k->wall).median, wall.median, wall.min, wall.max,
			       bench_spread(&k->cpu).median, cpu.median, cpu.min, cpu.max);
		return;
	}
	printf("{\"bench\":\"start\",\"program\":\"%s\",", k->name);
	bench_json_series(stdout, "wall_us", &k->wall);
	putchar(',');
	bench_json_series(stdout, "cpu_us", &k->cpu);
	putchar(',');
	bench_json_series(stdout, "to_bare", &k->wall_ratio);
	putchar(',');
	bench_json_series(stdout, "cpu_to_bare", &k->cpu_ratio);
	puts("}");
}

int main(int argc, char **argv)
{
	struct bench_options o;
	double starts;

	bench_options(argc, argv, "Times 300 starts of programs with and without the library.", &o);
	bench_sandbox();
	bench_machine(&o, "start");
	bench_pin(0);
	find_programs(argv[0]);
	starts = STARTS * o.scale;
	for (unsigned round = 0; round < o.rounds; round++)
		one_round(starts < 1 ? 1 : starts > STARTS_MAX ? STARTS_MAX : (unsigned)starts);
	for (unsigned i = 0; i < KINDS; i++)
		print(&o, &kinds[i]);
	if (!o.json)
		putchar('\n');
	return bench_goal(&o, "start", "300 starts of a program linked with libmemapi: <= 1.15 x bare",
			  &kinds[LINKED].wall_ratio, 1.15)
		       ? 0
		       : 1;
}
