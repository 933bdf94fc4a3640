/* SPDX-License-Identifier: BSD-2-Clause */
/* Readiness for a service manager: the protocol of sd_notify(3), without its library. */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/** Sends `state` ("READY=1", lines with newlines between) to NOTIFY_SOCKET. Nothing happens without one. */
void notify(const char *state);

/** RELOADING=1 with the clock that the protocol asks for. */
void notify_reloading(void);

#endif /* DAEMON_NOTIFY_H */
