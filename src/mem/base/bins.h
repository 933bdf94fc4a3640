/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A size hash: which bin holds fragments of a size.
 *
 *	size	0 16 32 ... 4080 | 4096 4608 5120 ... 7680 | 8192 9216 ...
 *	bin	0  1  2 ...  255 |  256  257  258 ...  263 |  264  265 ...
 *
 * Below BINS_EXACT a bin holds one size; from there each power of two has BINS_SUB bins, so that sizes in a bin
 * differ by less than 1/BINS_SUB. Each size in a bin is greater than all in the bins before.
 */
#ifndef BASE_BINS_H
#define BASE_BINS_H

#include "mem/base/bits.h"

enum { BINS_STEP = 16, BINS_EXACT_LOG = 12, BINS_SUB_LOG = 3, BINS_TOP_LOG = 47 };
enum {
	BINS_EXACT = 1 << BINS_EXACT_LOG,
	BINS_SUB = 1 << BINS_SUB_LOG,
	BINS_COUNT = BINS_EXACT / BINS_STEP + (BINS_TOP_LOG - BINS_EXACT_LOG + 1) * BINS_SUB,
	BINS_WORDS = (BINS_COUNT + 63) / 64,	/* of a bitmap of all */
};

/** Bin of a size from BINS_EXACT on. */
static inline unsigned bins_of_large(uint64_t size)
{
	unsigned log = bits_highest(size);

	if (log > BINS_TOP_LOG)		/* more than there are addresses: a damaged size */
		return BINS_COUNT - 1;
	return BINS_EXACT / BINS_STEP + ((log - BINS_EXACT_LOG) << BINS_SUB_LOG) +
	       ((unsigned)(size >> (log - BINS_SUB_LOG)) & (BINS_SUB - 1));
}

static inline unsigned bins_of(uint64_t size)
{
	return size < BINS_EXACT ? (unsigned)size / BINS_STEP : bins_of_large(size);
}

#endif /* BASE_BINS_H */
