/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A call that takes long goes on beside the loop, in a thread that runs where nobody else wants to: what is observed
 * goes first. Where the machine is so busy that the thread does not come on, the loop does its slices.
 */
#ifndef DAEMON_ASIDE_H
#define DAEMON_ASIDE_H

#include "daemon/daemon.h"

/** Makes what aside_later() needs. Returns 0 or -errno. */
int aside_open(struct daemon *d);
/** When all peers are gone. Waits for the slice that runs. */
void aside_close(void);

/**
 * aside_later - like rpc_later(), and the first slice is done at once, here, if the last such call needed no second
 * @step: runs in the loop or in the thread, never in both. Between two slices pools may come and go. It looks through
 *	view_of(call), leaves the rest of the daemon alone, and reads the call's parameters, but makes none known (refs)
 *
 * @stays: it is never lent to the thread
 * @is_long: whether the last call of this kind went beyond its first slice; static, false at first, and not the
 *	caller's to change
 *
 * Frees the state by `drop`, in the loop.
 */
void aside_later(struct rpc_call *call, rpc_handler *step, void *state, rpc_drop_fn *drop, bool stays, bool *is_long);

#endif /* DAEMON_ASIDE_H */
