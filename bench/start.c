/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does the library add to the start of a program?
 *
 * 300 starts by posix_spawn of a program that returns at once: bare, linked with libmemapi, and with one pkg_malloc or
 * one shm_malloc. What a round tells is the mean time of a start, wall and CPU; ratios are to the bare one of the same
 * round.
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

static struct kind {
	const char *name, *program;
	struct bench_series wall, cpu, ratio;	/* us, us, wall to bare */
	double now;
	bool failed;
} kinds[] = {
	{ .name = "bare", .program = "bench_start_bare" },
	{ .name = "linked", .program = "bench_start_linked" },
	{ .name = "one pkg_malloc", .program = "bench_start_pkg" },
	{ .name = "one shm_malloc", .program = "bench_start_shm" },
};
enum { KINDS = sizeof kinds / sizeof *kinds, STARTS = 300 };

static char *beside(const char *self, const char *program)
{
	static char path[4096];
	char *copy = strdup(self);

	snprintf(path, sizeof path, "%s/%s", copy ? dirname(copy) : ".", program);
	free(copy);
	return path;
}

static bool start_once(char *path)
{
	char *args[] = { path, NULL };
	int status;
	pid_t pid;

	if (posix_spawn(&pid, path, NULL, NULL, args, environ))
		return false;
	while (waitpid(pid, &status, 0) == -1)
		if (errno != EINTR)
			return false;
	return status == 0;
}

static double children_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void one_round(struct kind *k, const char *self, unsigned starts)
{
	char *path = beside(self, k->program);
	double cpu = children_us();
	uint64_t from = bench_ns(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < starts; i++)
		if (!start_once(path)) {
			k->failed = true;
			return;
		}
	k->now = (double)(bench_ns(CLOCK_MONOTONIC) - from) / 1e3 / starts;
	bench_add(&k->wall, k->now);
	bench_add(&k->cpu, (children_us() - cpu) / starts);
}

static void print(const struct bench_options *o, const struct kind *k)
{
	struct bench_spread ratio = bench_spread(&k->ratio);

	if (!o->json) {
		if (k->failed)
			printf("%-16s did not run\n", k->name);
		else
			printf("%-16s %8.0f us wall %8.0f us CPU   %.2f [%.2f-%.2f] x bare\n", k->name,
			       bench_spread(&k->wall).median, bench_spread(&k->cpu).median, ratio.median, ratio.min,
			       ratio.max);
		return;
	}
	printf("{\"bench\":\"start\",\"program\":\"%s\",", k->name);
	bench_json_series(stdout, "wall_us", &k->wall);
	putchar(',');
	bench_json_series(stdout, "cpu_us", &k->cpu);
	putchar(',');
	bench_json_series(stdout, "to_bare", &k->ratio);
	puts("}");
}

int main(int argc, char **argv)
{
	struct bench_options o;

	bench_options(argc, argv, "Times 300 starts of programs with and without the library.", &o);
	bench_sandbox();
	bench_machine(&o, "start");
	for (unsigned round = 0; round < o.rounds; round++) {
		for (unsigned i = 0; i < KINDS; i++)
			one_round(&kinds[round % 2 ? KINDS - 1 - i : i], argv[0], (unsigned)(STARTS * o.scale));
		for (unsigned i = 0; i < KINDS; i++)
			if (!kinds[i].failed)
				bench_add(&kinds[i].ratio, kinds[i].now / kinds[0].now);
	}
	for (unsigned i = 0; i < KINDS; i++)
		print(&o, &kinds[i]);
	if (!o.json)
		putchar('\n');
	return bench_goal(&o, "start", "300 starts of a program linked with libmemapi: <= 1.15 x bare", &kinds[1].ratio, 1.15) ? 0 : 1;
}
