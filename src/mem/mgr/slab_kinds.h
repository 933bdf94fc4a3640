/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a run of pages of the slab manager is used for: its kind, one byte.
 *
 *	0 free	1 a zone's header	2, 3 one large fragment	4 ... 115 a slab: blocks of one size
 *
 * Blocks have 16, 32, 48 ... 1024 bytes (every size that a magazine has), then 16 sizes to a doubling up to 4 KiB, 8 up
 * to 15 KiB. A slab has the fewest pages of which at most 1/25 is left over behind the last block, where there are any:
 * what it holds back from other sizes is little. Sizes that are whole pages have no slabs: they are large fragments.
 */
#ifndef MGR_SLAB_KINDS_H
#define MGR_SLAB_KINDS_H

#include <stdint.h>

#include "mem/base/bits.h"

enum { SLAB_PAGE = 4096, SLAB_BLOCKS = 192 /* of one slab, at most */, SLAB_MOST = 16384 /* bytes of a block */ };

/* The payload of a SLAB_SKIP fragment begins with its second page. */
enum { SLAB_FREE, SLAB_HEADER, SLAB_LARGE, SLAB_SKIP, SLAB_FIRST, SLAB_KINDS = SLAB_FIRST + 112 };

/* size: of a block, 0: of none; reciprocal: x * reciprocal >> 32 is x / size for any x within a slab; skip: bytes
 * before the first block */
struct slab_kind { uint32_t size, reciprocal; uint16_t pages, count, skip; };

#define K(size, pages) {									\
	size, (uint32_t)(((1ull << 32) + size - 1) / size), pages,				\
	pages * SLAB_PAGE / size < SLAB_BLOCKS ? pages * SLAB_PAGE / size : SLAB_BLOCKS, 0	\
}

/* By kind; 128: a damaged one leads nowhere. */
static const struct slab_kind slab_kinds[128] = {
	{ 0 }, { 0 }, { .count = 1 }, { .count = 1, .skip = SLAB_PAGE },
	K(16, 1), K(32, 1), K(48, 1), K(64, 1), K(80, 1), K(96, 1), K(112, 1), K(128, 1), K(144, 1), K(160, 1),
	K(176, 1), K(192, 1), K(208, 1), K(224, 1), K(240, 1), K(256, 1), K(272, 1), K(288, 1), K(304, 1),
	K(320, 2), K(336, 1), K(352, 2), K(368, 1), K(384, 2), K(400, 1), K(416, 2), K(432, 3), K(448, 1),
	K(464, 2), K(480, 2), K(496, 1), K(512, 1), K(528, 2), K(544, 2), K(560, 4), K(576, 1), K(592, 3),
	K(608, 2), K(624, 2), K(640, 3), K(656, 1), K(672, 1), K(688, 4), K(704, 3), K(720, 2), K(736, 2),
	K(752, 3), K(768, 3), K(784, 5), K(800, 1), K(816, 1), K(832, 4), K(848, 3), K(864, 3), K(880, 2),
	K(896, 2), K(912, 3), K(928, 3), K(944, 3), K(960, 4), K(976, 6), K(992, 1), K(1008, 1), K(1024, 1),
	K(1088, 3), K(1152, 2), K(1216, 3), K(1280, 5), K(1344, 1), K(1408, 5), K(1472, 4), K(1536, 3),
	K(1600, 2), K(1664, 5), K(1728, 3), K(1792, 4), K(1856, 5), K(1920, 8), K(1984, 1), K(2048, 1),
	K(2176, 6), K(2304, 4), K(2432, 3), K(2560, 5), K(2688, 2), K(2816, 5), K(2944, 8), K(3072, 3),
	K(3200, 4), K(3328, 5), K(3456, 6), K(3584, 7), K(3712, 10), K(3840, 15), K(3968, 2), { 0 },
	K(4608, 7), K(5120, 5), K(5632, 7), K(6144, 3), K(6656, 5), K(7168, 7), K(7680, 15), { 0 }, K(9216, 7),
	K(10240, 5), K(11264, 11), { 0 }, K(13312, 10), K(14336, 7), K(15360, 15), { 0 }
};

#undef K

/** The kind of slab with the smallest blocks of `size` bytes or more; size: a multiple of 16, at most SLAB_MOST. One of
 *  no pages: there are no such slabs. */
static inline unsigned slab_kind_for(uint64_t size)
{
	unsigned high;

	if (size <= 1024)
		return SLAB_FIRST - 1 + (unsigned)size / 16;
	high = bits_highest(size - 1);
	if (size <= 4096)
		return SLAB_FIRST + 64 + (high - 10) * 16 + ((unsigned)((size - 1) >> (high - 4)) & 15);
	return SLAB_FIRST + 96 + (high - 12) * 8 + ((unsigned)((size - 1) >> (high - 3)) & 7);
}

/** Words of a slab that hold a bit for each of its blocks; the bits of word `j` that are a block's. */
static inline unsigned slab_words(const struct slab_kind *k) { return (k->count + 63u) / 64; }
static inline uint64_t slab_mask(const struct slab_kind *k, unsigned j)
{
	return k->count >= 64 * (j + 1) ? UINT64_MAX : (1ull << k->count % 64) - 1;
}

#endif /* MGR_SLAB_KINDS_H */
