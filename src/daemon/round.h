/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One sample: the live bytes of each call site, summed in a thread of idle priority.
 *
 *	loop: round_start ─> thread: sums ─> pipe ─> loop: done() looks at them ─> the next may start
 *
 * The sums are the thread's while a round runs, the loop's afterwards.
 */
#ifndef DAEMON_ROUND_H
#define DAEMON_ROUND_H

#include <event2/event.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROUND_SITES = 8192, ROUND_TABLE = ROUND_SITES * 2 };

/** Of one site. pool: round_pool() of its id. */
struct round_row {
	uint64_t pool;
	uint32_t site;
	bool used;
	uint64_t sum;
};

struct round {
	struct round_row row[ROUND_TABLE];	/* where `used`, by hash */
	unsigned count;
	bool full;				/* a site found no room */
	/* the rest is of round.c */
	void (*done)(void *arg);
	void *arg;
	struct obs *obs;
	struct event *readable;
	int ends[2];
	bool runs;
	_Atomic bool stop;
	uint64_t pool, seen;
	pthread_t thread;
};

/** @done: called by the loop after each round. Returns 0 or -ENOMEM, -EMFILE. Free it by round_free(). */
int round_new(struct event_base *base, void (*done)(void *arg), void *arg, struct round **ret_round);
/** Does nothing while the last one still runs: that sample is left out. */
void round_start(struct round *r);
/** Ends what runs. NULL is fine. */
void round_free(struct round *r);

uint64_t round_pool(const char *id);
/** Index of the site's row in a table of ROUND_TABLE, or of the one that is not `used` where it belongs. */
size_t round_place(const struct round_row *rows, uint64_t pool, uint32_t site);

#endif /* DAEMON_ROUND_H */
