/* SPDX-License-Identifier: BSD-2-Clause */
/* The managers of both domains, now and next: for manager.* and status. */
#ifndef DAEMON_CHOICE_H
#define DAEMON_CHOICE_H

#include "daemon/daemon.h"

/** A conf_manager_fn: the managers of this build, and modules, which it loads. */
bool choice_is_manager(struct conf_ask *ask);

/** "pkg": {now, next, from, held_back}, "shm": {…}; and what holds anything back, or "". */
void choice_write(const struct daemon *d, struct json_writer *w, char *held_back, size_t bytes);

#endif /* DAEMON_CHOICE_H */
