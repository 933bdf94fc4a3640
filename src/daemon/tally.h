/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sums over fragments by a number: a hash table that never grows beyond TALLY_MAX rows; what comes after that is summed
 * in row 0. Cost: O(1) a fragment. At the end the rows become a heap, in pieces, and are taken from it, the biggest
 * one first: O(log n) each.
 *
 *	index, by hash ─> row 0 | row 1 | … as they came      ordered: the heap: `left` rows | taken, the last one first
 *
 * A fragment that was sampled counts as often as it stands for: then the sums are estimates.
 */
#ifndef DAEMON_TALLY_H
#define DAEMON_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memapi/observe.h"

enum { TALLY_MAX = 1 << 15, TALLY_EXAMPLES = 3 };

struct tally_row {
	uint64_t key, count, bytes;	/* of fragments, each for itself */
	double more_count, more_bytes;	/* what sampled ones stand for beyond themselves */
	uint64_t sampled;		/* of `count` */
	bool estimated;			/* some were, or it is a rest that was not */
	uint64_t largest, oldest;	/* oldest: CLOCK_REALTIME, OBS_UNKNOWN: not known */
	uint64_t example[TALLY_EXAMPLES];	/* addresses, the first ones */
	uint32_t text, text_len;	/* the user's: where its name lies */
};

struct tally {
	struct tally_row *row;		/* `count` of them */
	uint32_t *index;		/* `size` of them, a power of two: number of a row + 1, 0: free */
	size_t size, count;
	size_t unordered, left;		/* rows whose place in the heap is not looked at yet; rows in the heap */
	bool ordered;			/* or begun */
	bool failed;			/* no memory: the sums are too small */
};

/** The row of a key, made with zeros; NULL: no memory. Valid until the next call. */
struct tally_row *tally_at(struct tally *t, uint64_t key);
void tally_add(struct tally *t, uint64_t key, const struct obs_fragment *f);
/** Of a row, with what its sampled ones stand for. */
uint64_t tally_count(const struct tally_row *row);
uint64_t tally_bytes(const struct tally_row *row);
/** The same into one row, which is nobody's. */
void tally_row_add(struct tally_row *row, const struct obs_fragment *f);
/** Adds a row's sums to another. */
void tally_merge(struct tally_row *to, const struct tally_row *from);
/** A piece of the way to tally_pop(), some 10 us; true: it is done. The end of adding. */
bool tally_order(struct tally *t);
/** The biggest row that was not taken yet; NULL: no more. Valid until tally_free(). */
const struct tally_row *tally_pop(struct tally *t);
void tally_free(struct tally *t);

#endif /* DAEMON_TALLY_H */
