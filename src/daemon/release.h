/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls of pool.release wait for children without a turn of the loop. */
#ifndef DAEMON_RELEASE_H
#define DAEMON_RELEASE_H

#include "ctl/rpc.h"

/** A child of mmd's has ended, or a second has gone by: each call that waits looks whether it can go on. */
void release_look_again(void);

/** Fails the call: no hosted pool has that name. */
void release_no_such(struct rpc_call *call);

#endif /* DAEMON_RELEASE_H */
