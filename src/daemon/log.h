/* SPDX-License-Identifier: BSD-2-Clause */
/* The daemon's log: one line a message, to stderr or syslog. Bytes that a terminal would obey are shown as ?. */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdbool.h>
#include <syslog.h>

/** Where lines go from now on. Before the first call: stderr. */
void log_to(bool to_syslog);

/** `priority` as in syslog(3); LOG_DEBUG is dropped. */
__attribute__((format(printf, 2, 3))) void log_line(int priority, const char *format, ...);

#endif /* DAEMON_LOG_H */
