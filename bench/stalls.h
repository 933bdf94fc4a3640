/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When did the machine itself stand still? A virtual one does whenever its host has other things to do, which no
 * program on it can be blamed for.
 *
 * A thread of real-time priority on each CPU wakes twice a millisecond and notes when it was late. Nothing that runs
 * at normal priority can make it so. Without the right to real-time priority there are none, and nothing is known.
 */
#ifndef BENCH_STALLS_H
#define BENCH_STALLS_H

#include <stdbool.h>
#include <stdint.h>

/** Begins to look, until stalls_end(). Returns false where that is not allowed. */
bool stalls_begin(void);
void stalls_end(void);

/** Did a CPU stand still between the two (CLOCK_REALTIME, ns), or shortly before, so that work was heaped up? */
bool stalls_between(uint64_t from, uint64_t to);

#endif /* BENCH_STALLS_H */
