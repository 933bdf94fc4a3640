/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the benchmarks share: a place of their own, children that measure, spreads, verdicts, two forms of output.
 *
 * The machine is never quiet, so no figure stands alone: what is compared runs in turns within one run, the order is
 * reversed every other round, a ratio is taken within its round, and what is told is the median of the rounds with
 * the least and the most. A goal is called met or missed only when the middle half of the rounds agrees on it.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>
#include <time.h>

enum { ROUNDS_MAX = 64 };

struct bench_options {
	bool json;			/* -o json: one object a line, else a table */
	unsigned rounds;		/* -r N */
	const char *only; /* -k TEXT: rows whose name contains it (what ratios rest on runs anyway), or NULL */
	double scale;			/* -s FACTOR: of the time, or of the number of things, that a bench takes */
};

/** Reads -o, -r, -k, -s; exits 2 with the usage on anything else. `what`: one line for the usage. */
void bench_options(int argc, char **argv, const char *what, struct bench_options *ret_options);

/** A directory of this run alone: registry, state and configuration of whatever it starts. Removed at exit. */
const char *bench_sandbox(void);

uint64_t bench_ns(clockid_t clock);
/** This thread runs on the n-th CPU that the process may use, modulo their number. */
void bench_pin(unsigned n);
/** A number that differs from call to call, xorshift. */
static inline uint32_t bench_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 32);
}

/* ---- children ---- */

enum { BENCH_VALUES = 8 };

/** What a measuring child tells. error: "" or why there is no figure. */
struct bench_result {
	double value[BENCH_VALUES];
	char error[160];
};

/** Runs `fn` in a forked child, so that what it chooses for its process ends with it. A child that dies is an error
 * too. */
typedef void bench_child_fn(const void *arg, struct bench_result *result);
void bench_in_child(bench_child_fn *fn, const void *arg, struct bench_result *ret_result);

/* ---- figures ---- */

/** One figure of each round; rounds that failed are left out. */
struct bench_series {
	double v[ROUNDS_MAX];
	unsigned n;
};
struct bench_spread { double median, min, max, q1, q3; };

void bench_add(struct bench_series *s, double v);
struct bench_spread bench_spread(const struct bench_series *s);

enum bench_verdict { MET, MISSED, NOISY, UNKNOWN };
/** Is the figure at most `limit`? The middle half of the rounds must agree. */
enum bench_verdict bench_judge(const struct bench_series *s, double limit);

/** A goal with its figure and verdict, in the chosen form. Returns true unless it is missed. */
bool bench_goal(const struct bench_options *o, const char *bench, const char *goal, const struct bench_series *s,
		double limit);

/* ---- output ---- */

/** `"text"` with what JSON demands escaped. */
void bench_json_string(FILE *out, const char *text);
/** `"name":{"median":…,"min":…,"max":…,"n":…}` or `"name":null` for an empty series. */
void bench_json_series(FILE *out, const char *name, const struct bench_series *s);
/** The machine: as a JSON object with its own line and bench name, or as a line of text. */
void bench_machine(const struct bench_options *o, const char *bench);

#endif /* BENCH_BENCH_H */
