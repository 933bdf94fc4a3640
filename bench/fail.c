/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does an allocation cost that fails, in a full pool?
 *
 * The pool is filled with 64 B fragments until there is no room, then every second one is freed: half a million holes
 * that do not join, and a request that fits into none of them. Asked for are sizes just above a hole's and far above
 * it: a manager that searches its bins one by one, or a bin to its end, shows here. Told are the first failure (it may
 * look for memory of dead owners before it gives up), the median for the size that costs most, and the longest of all.
 */
#include "bench.h"
#include "rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRAGMENTS = 1000000, TRIES = ROUNDS_MAX, SIZES = 5 };

static const size_t sizes[SIZES] = { 160, 256, 1000, 4096, 1 << 20 };
static struct row rows[ROWS_MAX];

struct job { const struct row *row; size_t fragments; };

/* What a pool needs for so many fragments of 64 B, whatever a manager adds to each: the tries must fail. */
static size_t fill(const struct row *row, void **at, size_t max)
{
	size_t n = 0;

	while (n < max && (at[n] = row->alloc(64)))
		n++;
	return n;
}

/* As fill, with what is left where 64 B no longer fit: nothing at the end of the pool may serve a try. */
static void fill_up(const struct row *row)
{
	for (size_t size = 1 << 20; size >= 128; size /= 2)
		while (row->alloc(size))
			;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x > y) - (x < y);
}

/* What TRIES failures of one size cost. Returns NULL, or what went wrong. */
static const char *fail(const struct row *row, size_t want, struct bench_result *result)
{
	struct bench_series all = { .n = 0 };
	double us;

	for (unsigned t = 0; t < TRIES; t++) {
		uint64_t from = bench_ns(CLOCK_MONOTONIC);
		void *p = row->alloc(want);

		us = (double)(bench_ns(CLOCK_MONOTONIC) - from) / 1e3;
		if (p)
			return "a full pool had room";
		if (!(result->value[1] > 0))
			result->value[1] = us;
		else
			bench_add(&all, us);
	}
	us = bench_spread(&all).median;
	if (us > result->value[2]) {
		result->value[2] = us;
		result->value[3] = (double)want;
	}
	result->value[4] = fmax(result->value[4], bench_spread(&all).max);
	return NULL;
}

/* value[0]: fragments; [1]: us of the first failure; [2]: us, median for the worst size; [3]: that size; [4]: us, most
 */
static void measure(const void *arg, struct bench_result *result)
{
	const struct job *job = arg;
	size_t bytes = job->fragments * 112, count;
	void **at = calloc(job->fragments * 2, sizeof *at);
	char size[32];
	const char *error;

	alarm(300);
	snprintf(size, sizeof size, "%zu", bytes);
	setenv("MEMAPI_PKG_SIZE", size, 1);
	error = at ? job->row->setup(job->row, bytes) : "no memory for the benchmark itself";
	if (!error) {
		count = fill(job->row, at, job->fragments * 2);
		fill_up(job->row);
		/* magazines hand out neighbours in any order: no two of these that are freed may be joined */
		qsort(at, count, sizeof *at, by_address);
		for (size_t i = 0; i < count; i += 2)
			job->row->free(at[i]);
		result->value[0] = (double)count;
	}
	for (unsigned i = 0; i < SIZES && !error; i++)
		error = fail(job->row, sizes[i], result);
	if (error)
		snprintf(result->error, sizeof result->error, "%s", error);
	_exit(0);				/* a million fragments need not be freed one by one */
}

static void print(const struct bench_options *o, const struct row *row, const struct bench_result *r)
{
	if (o->json) {
		printf("{\"bench\":\"fail\",\"allocator\":\"%s\",", row->name);
		if (r->error[0]) {
			printf("\"error\":");
			bench_json_string(stdout, r->error);
		} else {
			printf("\"fragments\":%.0f,\"first_us\":%.3f,\"median_us\":%.3f,\"size\":%.0f,\"longest_us\":%.3f",
			       r->value[0], r->value[1], r->value[2], r->value[3], r->value[4]);
		}
		puts("}");
	} else if (r->error[0]) {
		printf("%-24s %s\n", row->name, r->error);
	} else {
		printf("%-24s %9.0f %12.1f %9.2f (%7.0f B) %12.1f\n", row->name, r->value[0], r->value[1], r->value[2],
		       r->value[3], r->value[4]);
	}
}

int main(int argc, char **argv)
{
	struct bench_series longest = { .n = 0 };
	struct bench_options o;
	unsigned count;

	bench_options(argc, argv, "Times allocations that fail in a pool of a million fragments.", &o);
	bench_sandbox();
	count = rows_all(rows);
	bench_machine(&o, "fail");
	if (!o.json)
		printf("%-24s %9s %12s %21s %12s\n", "", "fragments", "first, us", "worst, us", "longest, us");
	for (unsigned r = 0; r < count; r++) {
		struct job job = { &rows[r], (size_t)(FRAGMENTS * o.scale) };
		struct bench_result result = { .error = "" };

		if (r == ROW_GLIBC || (o.only && !strstr(rows[r].name, o.only)))	/* glibc's heap has no end */
			continue;
		bench_in_child(measure, &job, &result);
		print(&o, &rows[r], &result);
		if (r > ROW_BOOST && !result.error[0])
			bench_add(&longest, result.value[2]);
	}
	if (!o.json)
		putchar('\n');
	return bench_goal(&o, "fail", "a failing allocation among 1,000,000 fragments, any manager: <= 20 us", &longest, 20) ? 0 : 1;
}
