/* SPDX-License-Identifier: BSD-2-Clause */
/* Bit scans and power-of-two arithmetic. */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdbool.h>
#include <stdint.h>

/** Number of the lowest set bit; `word` is not 0. */
static inline unsigned bits_lowest(uint64_t word) { return (unsigned)__builtin_ctzll(word); }

/** Number of the highest set bit; `word` is not 0. */
static inline unsigned bits_highest(uint64_t word) { return 63u - (unsigned)__builtin_clzll(word); }

/** How many bits are set; without a call, which the compiler makes where the CPU may be an old one. */
static inline unsigned bits_count(uint64_t word)
{
	word -= word >> 1 & 0x5555555555555555u;
	word = (word & 0x3333333333333333u) + (word >> 2 & 0x3333333333333333u);
	return (unsigned)(((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu) * 0x0101010101010101u >> 56);
}

/** `x` up to a multiple of `align`, a power of two. */
static inline uint64_t bits_up(uint64_t x, uint64_t align) { return (x + align - 1) & ~(align - 1); }

/** `x` down to a multiple of `align`, a power of two. */
static inline uint64_t bits_down(uint64_t x, uint64_t align) { return x & ~(align - 1); }

#endif /* BASE_BITS_H */
