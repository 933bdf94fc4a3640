/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What became of owners of shared memory: an event line for each recovery, and how long a lock has been held.
 *
 * Nobody stamps a lock when it is taken: a turn of it that was seen twice is one hold, at least as old as the first
 * look. Once a second every shared pool is looked at, and with each question for it.
 */
#ifndef DAEMON_WATCH_H
#define DAEMON_WATCH_H

#include "daemon/daemon.h"

int watch_open(struct daemon *d);
void watch_close(struct daemon *d);

/** Seconds for which the lock of these stats has been held, at least; they are noted. 0: it is free, or new. */
double watch_held(struct daemon *d, const char *pool, const struct obs_stats *s);

/** "users", "dead", …, "lock": of a shared pool. */
void watch_row(struct json_writer *w, struct daemon *d, const struct obs_info *i, const struct obs_stats *s);

#endif /* DAEMON_WATCH_H */
