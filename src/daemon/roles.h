/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may do what: mmd's own uid and root administer, control.operators operate, control.group read, others nothing. */
#ifndef DAEMON_ROLES_H
#define DAEMON_ROLES_H

#include <stddef.h>

#include "conf/conf.h"
#include "ctl/server.h"

struct roles { gid_t readers, operators; };	/* (gid_t)-1: nobody */

/** Looks the groups up. Returns 0, or -ENOENT: `why` names the key and the group that is not there. */
int roles_load(const struct conf *conf, struct roles *ret_roles, char *why, size_t bytes);

enum rpc_role roles_of(const struct roles *roles, const struct server_peer *peer);

#endif /* DAEMON_ROLES_H */
