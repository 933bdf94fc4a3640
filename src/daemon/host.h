/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hosted pools: `default` and those of [pool.NAME]. They live while mmd lives, with or without users, and outlive a
 * restart and a kill -9 of it.
 */
#ifndef DAEMON_HOST_H
#define DAEMON_HOST_H

#include "daemon/daemon.h"

int host_new(struct daemon *d, struct host **ret_host);
/** The end: unused pools without `keep` go, unless it is a restart. */
void host_free(struct host *h, bool restart);
/** After the configuration changed: pools that are new in it are made. */
void host_configure(struct host *h);

/** Why a pool does not follow a change of the manager, or "". */
void host_held_back(const struct daemon *d, const struct obs_info *info, char *text, size_t bytes);
/** Adds "pool NAME" for each that holds the manager of `next` back. */
void host_holders(const struct daemon *d, const struct conf *next, char *text, size_t bytes);

#endif /* DAEMON_HOST_H */
