/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory for calls that come when the heap cannot answer: from the loader before this library is relocated, and from
 * the C library while this thread sets the heap up, or forks.
 *
 *	| head | bytes .. | head | bytes ..... | zeros .....
 *	0                                      top          EARLY_BYTES
 *
 * Static, told by its range from every other address. Invariant: from `top` on there are zeros. The last block goes
 * back when it is freed, others stay: there are few. No function of the C library is called, since it may not be there
 * yet.
 */
#ifndef PRELOAD_EARLY_H
#define PRELOAD_EARLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EARLY_BYTES = 1 << 20 };

extern unsigned char early_arena[EARLY_BYTES];

static inline bool early_holds(const void *p) { return (uintptr_t)p - (uintptr_t)early_arena < EARLY_BYTES; }

/** Zeros at a multiple of `align`, a power of two; NULL: no more. Any thread. */
void *early_alloc(size_t align, size_t size);
void early_free(void *p);
size_t early_usable(const void *p);

#endif /* PRELOAD_EARLY_H */
