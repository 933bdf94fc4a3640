/* SPDX-License-Identifier: BSD-2-Clause */
/* The allocators that are timed: each is a row of functions that all call in the same way. */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct row {
	char name[48];
	/* Makes the heap, once a process; NULL or why it cannot be. A shared one is made before the processes fork. */
	const char *(*setup)(const struct row *row, size_t bytes);
	void *(*alloc)(size_t size);
	void (*free)(void *p);
	void *(*realloc)(void *p, size_t size);
	bool shared;			/* one heap for all processes, else one in each */
	bool threads;			/* several threads may use it */
	char manager[32];		/* of memapi */
	bool track;			/* with call sites */
	bool bare;			/* without magazines */
	bool inlined; /* as the header serves it in the loop itself; `alloc` and `free` are the calls */
};

enum { ROWS_MAX = 64 };
enum { ROW_GLIBC, ROW_BOOST };		/* the first two: what the others are compared with */

/** Fills `rows` with all there are; returns their number. */
unsigned rows_all(struct row *rows);

/** Of rows_boost.cc, or of the file in its place when Boost is not there. */
void row_boost(struct row *row);

#ifdef __cplusplus
}
#endif
#endif /* BENCH_ROWS_H */
