/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hosted pools: `default` and those of [pool.NAME], which live while mmd lives, with or without users, across a
 * restart, and beyond a kill -9. What they are is mem/host.h's; here is when: at the start, after a SIGHUP, every
 * second, when a child has ended, at the end.
 */
#ifndef DAEMON_HOSTED_H
#define DAEMON_HOSTED_H

#include "daemon/daemon.h"

struct mem_release;

/** Makes or takes over what the configuration names; what cannot be made is told to the log. 0 or -errno. */
int hosted_open(struct daemon *d);
/** The end: unused pools without `keep` go, unless it is a restart. */
void hosted_close(struct daemon *d);
/** As mem_release_step(), in children of mmd's. */
int hosted_release_step(struct daemon *d, struct mem_release *r, uint64_t *ret_freed);
/** After the configuration changed: pools that are new in it are made. What runs stays on its manager. */
void hosted_configure(struct daemon *d);

/** Why a pool does not follow a change of the manager, or "". */
void hosted_held_back(const struct daemon *d, const struct obs_info *info, char *text, size_t bytes);
/** Adds "pool NAME" for each that keeps the shared manager of `next` from its users, commas between. */
void hosted_holders(const struct daemon *d, const struct conf *next, char *text, size_t bytes);

#endif /* DAEMON_HOSTED_H */
