/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sums over fragments by a number: a hash table that never grows beyond TALLY_MAX rows; what comes after that is summed
 * in row 0. Cost: O(1) a fragment.
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
	bool used;
};

struct tally {
	struct tally_row *row;		/* `size` of them, a power of two; or as many as `count`, once sorted */
	size_t size, count;
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
/** The biggest first, in row[0] to row[count - 1]. The end of adding. */
void tally_sort(struct tally *t);
void tally_free(struct tally *t);

#endif /* DAEMON_TALLY_H */
