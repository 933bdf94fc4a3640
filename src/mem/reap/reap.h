/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the dead left in the registry: retention of private heaps, and shared pools that nobody has.
 *
 * Run by mmd, by a creation that failed for want of room, and by one start in 64. Idempotent; several may run at once.
 */
#ifndef REAP_REAP_H
#define REAP_REAP_H

/**
 * reap_registry - unlink what retention does not keep
 * @dir: the registry
 *
 * Kept: the living, other pid namespaces, what cannot be judged, and of the crashed and exited the newest 32 files or
 * 16 MiB. Returns how many files went.
 */
int reap_registry(int dir);

#endif
