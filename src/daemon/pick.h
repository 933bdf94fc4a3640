/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pools that a call is about, from its parameters `domain`, `pid` and `pool`.
 *
 * They are remembered by id: between two slices a scan may drop a pool, and a pointer to it would dangle.
 */
#ifndef DAEMON_PICK_H
#define DAEMON_PICK_H

#include "daemon/daemon.h"

struct pick {
	size_t count;
	char (*id)[96];
	bool one;			/* a pool or process was named: what is wrong with it is the call's error */
};

/**
 * pick_pools - look for pools and choose
 * @also: domains that the method is about at all: OBS_PKG | OBS_SHM
 *
 * Returns true, or false after rpc_fail(): a pool or process was named that is not there, or the registry cannot be
 * read.
 */
bool pick_pools(struct rpc_call *call, unsigned also, struct pick *ret_pick);
void pick_free(struct pick *pick);
/**
 * Whether a private heap is among them. Its fragments are read out of the process (process_vm_readv), which holds the
 * process's own page tables meanwhile: who does that must not be one whom nobody lets run.
 */
bool pick_private(const struct pick *pick);

/** The pool, or NULL: it is gone. */
struct obs_pool *pick_at(const struct view *view, const struct pick *pick, size_t i);

/** Fails the call over one pool: -errno of an obs_ function becomes code and reason. */
void pick_fail(struct rpc_call *call, const char *id, int error);
/** The same for a person. */
const char *pick_reason(int error);

/** Scans; a registry that cannot be read is told to the log once. 0 or -errno of obs_scan(). */
int pick_scan(struct view *view, obs_skip_fn *skip, void *arg);
/** Fails the call over an error of pick_scan() or obs_scan(). */
void pick_unread(struct rpc_call *call, int error);

#endif /* DAEMON_PICK_H */
