/* SPDX-License-Identifier: BSD-2-Clause */
/* Included before everything else: makes each UNDO_KILL_POINT of undo.h and heap.h a call of the test's kill_point().
 */
#ifndef TESTS_KILL_POINT_H
#define TESTS_KILL_POINT_H

/** Counts, and does not return where the test wants the call to die. */
void kill_point(void);
#define UNDO_KILL_POINT() kill_point()

#endif /* TESTS_KILL_POINT_H */
