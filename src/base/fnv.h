/* SPDX-License-Identifier: BSD-2-Clause */
/* FNV-1a, 64 bits: for tables and sums that nobody attacks. */
#ifndef BASE_FNV_H
#define BASE_FNV_H

#include <stddef.h>
#include <stdint.h>

#define FNV_START 0xcbf29ce484222325ull

/** `hash` with one word more. */
static inline uint64_t fnv_word(uint64_t hash, uint64_t word) { return (hash ^ word) * 0x100000001b3ull; }

/** The same, byte by byte. */
static inline uint64_t fnv_bytes(uint64_t hash, const void *from, size_t bytes)
{
	for (const unsigned char *c = from; bytes--; c++)
		hash = fnv_word(hash, *c);
	return hash;
}

/** Of a whole text, from FNV_START. */
static inline uint64_t fnv_text(const char *text)
{
	uint64_t hash = FNV_START;

	while (*text)
		hash = fnv_word(hash, (unsigned char)*text++);
	return hash;
}

#endif /* BASE_FNV_H */
