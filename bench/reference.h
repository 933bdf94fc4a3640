/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a shared object offers so that bench_reference can time a foreign allocator beside a manager of memapi.
 *
 * It defines one symbol, `bench_reference`, of the type below. The memory is the benchmark's: an anonymous mapping of
 * zeros in which the allocator keeps all that it has, its own bookkeeping too, so that the pages it touched are counted
 * alike for all. It serves one thread and takes no lock.
 *
 * Example, of an allocator that never takes anything back:
 *	static void *bump_open(void *region, size_t bytes) { *(size_t *)region = 16; return region; }
 *	static void *bump_malloc(void *heap, size_t size)
 *	{
 *		size_t at = *(size_t *)heap;
 *
 *		*(size_t *)heap = at + (size + 15) / 16 * 16;
 *		return (char *)heap + at;
 *	}
 *	static void bump_free(void *heap, void *p) { (void)heap, (void)p; }
 *	const struct bench_reference bench_reference = {
 *		BENCH_REFERENCE_ABI, "bump", "1", bump_open, bump_malloc, bump_free,
 *	};
 */
#ifndef BENCH_REFERENCE_H
#define BENCH_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

enum { BENCH_REFERENCE_ABI = 1 };

struct bench_reference {
	uint32_t abi;			/* BENCH_REFERENCE_ABI, as it was compiled */
	const char *name, *version;	/* of the allocator; version: release or commit */
	/** Makes an empty heap in `region`, which is page aligned; returns what the others get as `heap`, NULL: failed.
	 */
	void *(*open)(void *region, size_t bytes);
	/** `size` bytes, NULL: no fit. */
	void *(*malloc)(void *heap, size_t size);
	void (*free)(void *heap, void *p);
};

#endif /* BENCH_REFERENCE_H */
